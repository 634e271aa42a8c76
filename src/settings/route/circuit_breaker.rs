//! The section `circuit_breaker` of a route: when calls are not even tried. The same keys for every backend.
//!
//! `upstream.rs` reads it with the other keys about the way to AWS; `crate::resilience::circuit_breaker` acts on it.

use std::time::Duration;

use super::upstream::SHORTEST;
use crate::{settings::source::key_type::DAY, text::units::WrittenDuration};

section! {
    /// When calls are not even tried, checked.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct CircuitBreakerSettings, read as WrittenCircuitBreaker, present "a table with `failures` and `open_for`";

    /// Failures in a row that open the circuit breaker; `0` for none.
    failures: u32 [0..=10_000] = 5;
    /// How long it then lets nothing through.
    open_for: WrittenDuration [SHORTEST..=DAY] = Duration::from_secs(10);
}
