//! The types of AWS's errors: their names, and the kinds that calls have to tell apart.

use actix_http::header::HeaderMap;

use super::ERROR_TYPE;

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
