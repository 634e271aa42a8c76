//! Limits, retries and circuit breakers around calls.

pub mod admission;
pub mod circuit_breaker;
pub mod retry;
