//! AWS error types: how to parse them from a response, and the classes that retries and diagnosis need.

use actix_http::header::HeaderMap;

use super::ERROR_TYPE;

/// The AWS interface that a route calls; errors and the advice about them differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AwsApi {
    /// An API of API Gateway or a Function URL.
    #[default]
    Gateway,
    Lambda,
    /// Amazon S3 and its relatives, whose errors are XML.
    ObjectStore,
}

/// The error type without namespace and URI (AWS restJson1 protocol, operation error serialization). A
/// response of an API's own backend has none.
pub fn error_type(headers: &HeaderMap) -> Option<&str> {
    headers.get(ERROR_TYPE)?.to_str().ok().map(bare_name)
}

/// The bare name of an error type: `ns#Name:http://…` becomes `Name`.
pub fn bare_name(error_type: &str) -> &str {
    let name = error_type.split(':').next().unwrap_or(error_type);
    name.rsplit('#').next().unwrap_or(name).trim()
}

/// Maximum characters of an error type in a log line.
const MAX_LOGGED: usize = 100;

/// Escapes an error type into one word of a log line: the header may contain spaces, quotes and `key=value`.
pub fn log_word(name: &str) -> String {
    let mut word = String::with_capacity(name.len().min(MAX_LOGGED));
    let mut chars = name.chars();
    for char in chars.by_ref().take(MAX_LOGGED) {
        match char {
            '.' | '_' | '-' => word.push(char),
            letter if letter.is_alphanumeric() => word.push(letter),
            control if control.is_control() => word.extend(control.escape_default()),
            other => word.extend(other.escape_unicode()),
        }
    }
    if chars.next().is_some() {
        word.push('…');
    }
    word
}

/// True for the error types of throttling (botocore `retries/standard.py`, those that API Gateway and Lambda
/// may send). API Gateway's `LimitExceededException` is excluded: that quota lasts for a day or longer.
pub fn is_throttling(error_type: &str) -> bool {
    let name = error_type.strip_suffix("Exception").unwrap_or(error_type);
    matches!(
        name,
        "RequestLimitExceeded" | "RequestThrottled" | "Throttled" | "Throttling" | "TooManyRequests"
    )
}

/// True for the error types of expired credentials.
pub fn is_expiry(error_type: &str) -> bool {
    error_type.starts_with("ExpiredToken")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k6_any_error_type_is_one_word_of_a_log_line() {
        assert_eq!(log_word("AccessDeniedException"), "AccessDeniedException");
        assert_eq!(log_word("a\tb c=\"d\"\n"), "a\\tb\\u{20}c\\u{3d}\\u{22}d\\u{22}\\n");
        assert_eq!(log_word(&"x".repeat(101)), format!("{}…", "x".repeat(100)));
    }
}
