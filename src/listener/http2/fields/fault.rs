//! Faults of malformed heads, and the marks that carry them through `h2`.
//!
//! `rewrite.rs` replaces a malformed head by a minimal request with a mark; `translate.rs` answers the mark
//! with an error. A mark is a header whose name begins with a quotation mark: `http` accepts such names, RFC
//! 9110 (5.1) does not, and `rewrite.rs` refuses them from clients, so no client can forge a mark.

use http::{HeaderName, HeaderValue};

use crate::message::error::{ErrorKind, ProxyError};

/// The mark of a malformed head; its value is the cause of the fault.
pub const FAULT: HeaderName = HeaderName::from_static("\"fault");
/// The mark of an authority that `http::Uri` does not parse; its value is the authority.
pub const AUTHORITY: HeaderName = HeaderName::from_static("\"authority");

/// The first fault of a head (RFC 9113, 8.1.1), by its cause for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldFault(pub &'static str);

impl FieldFault {
    pub const NAME: Self = Self("a header name has an upper-case letter or another invalid byte");
    pub const VALUE: Self = Self("a header value has a control character");
    pub const CONNECTION_SPECIFIC: Self =
        Self("a connection-specific header, which HTTP/2 does not allow (RFC 9113, 8.2.2)");
    pub const LENGTH: Self = Self("`content-length` is not a number or not the length of the body");
    pub const UNKNOWN_PSEUDO: Self = Self("an unknown pseudo-header");
    pub const MISPLACED_PSEUDO: Self = Self("a pseudo-header is repeated or follows a regular header");
    pub const MISSING_PSEUDO: Self =
        Self("`:method`, `:scheme` or `:path` is missing, or CONNECT has one that it must not have");
    pub const METHOD: Self = Self("`:method` is not a method");
    pub const SCHEME: Self = Self("`:scheme` is not a scheme");
    pub const PATH: Self = Self("`:path` has a space or a control character, or does not begin with a slash");
    pub const LONG_PATH: Self = Self("`:path` is too long");
    pub const AUTHORITY: Self = Self("`:authority` is empty or has a control character");
    pub const TOO_LARGE: Self =
        Self("the header list has 256 KiB or more, or repeats more than 16 KiB of the dynamic table");

    /// The error for a request with the mark [`FAULT`]; `max_uri` is the limit of the path in bytes.
    pub fn error(mark: &HeaderValue, max_uri: u64) -> ProxyError {
        if mark == Self::LONG_PATH.0 {
            return ErrorKind::UriTooLong { limit: max_uri }.into();
        }
        let kind =
            if mark == Self::TOO_LARGE.0 { ErrorKind::HeadersTooLarge } else { ErrorKind::InvalidRequest };
        ProxyError::new(kind, format!("HTTP/2: {}", String::from_utf8_lossy(mark.as_bytes())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_of_a_fault_gives_the_kind_of_the_error_and_its_cause() {
        for (fault, kind) in [
            (FieldFault::NAME, ErrorKind::InvalidRequest),
            (FieldFault::TOO_LARGE, ErrorKind::HeadersTooLarge),
            (FieldFault::LONG_PATH, ErrorKind::UriTooLong { limit: 7 }),
        ] {
            assert_eq!(FieldFault::error(&HeaderValue::from_static(fault.0), 7).kind, kind);
        }
        let error = FieldFault::error(&HeaderValue::from_static(FieldFault::NAME.0), 7);
        assert!(error.to_string().contains(FieldFault::NAME.0), "{error}");
    }
}
