//! The types of AWS's errors: who sends them, their names, and the kinds that calls have to tell apart.

use actix_http::header::HeaderMap;

use super::ERROR_TYPE;

/// The interfaces of AWS that a route may call: their refusals differ, and so does the advice about them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AwsApi {
    /// An API of API Gateway or a Function URL.
    #[default]
    Gateway,
    Lambda,
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

/// Characters of a name that a log line has at most.
const LONGEST_SHOWN: usize = 100;

/// The name as a word of a log line: whoever sends the header may write blanks, quotes and `key=value` into it.
pub fn shown(name: &str) -> String {
    let mut word = String::with_capacity(name.len().min(LONGEST_SHOWN));
    let mut chars = name.chars();
    for char in chars.by_ref().take(LONGEST_SHOWN) {
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

/// True for the error types of expired keys.
pub fn is_expiry(error_type: &str) -> bool {
    error_type.starts_with("ExpiredToken")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k6_a_name_is_one_word_of_a_log_line_whatever_it_holds() {
        assert_eq!(shown("AccessDeniedException"), "AccessDeniedException");
        assert_eq!(shown("a\tb c=\"d\"\n"), "a\\tb\\u{20}c\\u{3d}\\u{22}d\\u{22}\\n");
        assert_eq!(shown(&"x".repeat(101)), format!("{}…", "x".repeat(100)));
    }
}
