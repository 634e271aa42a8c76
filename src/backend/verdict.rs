//! What the head of an answer tells about the call: has anything run, and would it help to call again?
//!
//! Each backend reads it in its own way (`api_gateway/verdict.rs`, `lambda/verdict.rs`); `retry.rs` and
//! `circuit_breaker.rs` act on it.

use actix_http::header::HeaderMap;

use crate::client::ERROR_TYPE;

/// What an answer's head tells about the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The function has run, or will not whatever is tried: the answer is for the client.
    Settled,
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

/// The name of AWS's reason for a refusal, out of what may come before and after it (AWS restJson1 protocol,
/// operation error serialization). What an API's own function answers has none.
pub fn error_type(headers: &HeaderMap) -> Option<&str> {
    headers.get(ERROR_TYPE)?.to_str().ok().map(bare)
}

/// The name alone.
pub fn bare(said: &str) -> &str {
    let said = said.split(':').next().unwrap_or(said);
    said.rsplit('#').next().unwrap_or(said).trim()
}

/// The names by which AWS's services turn away too many calls (botocore `retries/standard.py`, those of them that
/// API Gateway and Lambda may use). API Gateway's `LimitExceededException` is not among them: that quota lasts for
/// a day or longer.
pub fn is_throttling(error_type: &str) -> bool {
    let name = error_type.strip_suffix("Exception").unwrap_or(error_type);
    matches!(
        name,
        "RequestLimitExceeded" | "RequestThrottled" | "Throttled" | "Throttling" | "TooManyRequests"
    )
}

/// Whether AWS calls the keys expired.
pub fn is_expiry(error_type: &str) -> bool {
    error_type.starts_with("ExpiredToken")
}
