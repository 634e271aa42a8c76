//! What the head of an answer tells about the call: has anything run, and would it help to call again?
//!
//! Each backend reads it in its own way (`api_gateway/verdict.rs`, `lambda/verdict.rs`); `resilience/retry.rs` and
//! `resilience/circuit_breaker.rs` act on it.

/// What an answer's head tells about the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The function has run, or will not whatever is tried: the answer is for the client.
    Final,
    /// Too many calls; nothing has run.
    Throttled,
    /// What the function needs is not there yet; nothing has run.
    NotReady,
    /// The function took too long to start; its handler has not run. A second try is worth it, a third is not.
    SlowStart,
    /// The keys have expired before their time; nothing has run.
    KeysExpired,
    /// The signature was dated by a clock that is wrong, by how much is now known; nothing has run. No backend says so:
    /// `proxy/call.rs` does.
    ClockWrong,
    /// AWS itself has failed. Nobody knows how far the call came.
    Unavailable,
}
