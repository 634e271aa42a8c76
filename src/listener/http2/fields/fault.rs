//! The fault of a malformed head, on its way through `h2`.
//!
//! `rewrite.rs` finds the fault and replaces the head by a minimal request with a mark, for which
//! `translate.rs` answers. The mark is a header whose name begins with a quotation mark: `http` accepts that
//! in names, RFC 9110 (5.1) does not, and `rewrite.rs` refuses such names of clients, so no client can forge
//! a mark.

use http::{HeaderName, HeaderValue};

use crate::message::error::{ErrorKind, ProxyError};

/// The mark of a malformed head; the value names the fault.
pub const FAULT: HeaderName = HeaderName::from_static("\"fault");
/// The mark of an authority that `http::Uri` does not parse; the value is the authority.
pub const AUTHORITY: HeaderName = HeaderName::from_static("\"authority");

/// The first fault of a head (RFC 9113, 8.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldFault {
    /// A header's name is no token or has a capital.
    Name,
    /// A header's value has a control byte.
    Value,
    /// A header belongs to the connection (RFC 9113, 8.2.2).
    OfConnection,
    /// A `content-length` is no number, or differs from another one, or there is no body for it.
    Length,
    /// A pseudo-header is none of requests.
    UnknownPseudo,
    /// A pseudo-header comes twice, or behind a header.
    MisplacedPseudo,
    /// A required pseudo-header is missing, or CONNECT has one that it must not have.
    Pseudo,
    /// The method is no token.
    Method,
    Scheme,
    /// The path has a blank or a control byte, or does not begin with a slash.
    Path,
    /// The path is longer than any setting allows.
    LongPath,
    /// The authority is empty or has a control byte.
    Authority,
    /// The header list is too large.
    TooLarge,
}

impl FieldFault {
    const ALL: [Self; 13] = [
        Self::Name,
        Self::Value,
        Self::OfConnection,
        Self::Length,
        Self::UnknownPseudo,
        Self::MisplacedPseudo,
        Self::Pseudo,
        Self::Method,
        Self::Scheme,
        Self::Path,
        Self::LongPath,
        Self::Authority,
        Self::TooLarge,
    ];

    /// The value of the mark.
    pub fn mark(self) -> [u8; 1] {
        [b'a' + self as u8]
    }

    /// The fault that the value of a mark stands for.
    pub fn of(mark: &HeaderValue) -> Option<Self> {
        Self::ALL.into_iter().find(|fault| fault.mark() == mark.as_bytes())
    }

    /// The error that the request is answered with; `max_uri` is the limit of the path's bytes.
    pub fn error(self, max_uri: u64) -> ProxyError {
        match self {
            Self::TooLarge => {
                ProxyError::new(ErrorKind::HeadersTooLarge, format!("HTTP/2: {}", self.cause()))
            }
            Self::LongPath => ErrorKind::UriTooLong { limit: max_uri }.into(),
            _ => ProxyError::new(ErrorKind::InvalidRequest, format!("HTTP/2: {}", self.cause())),
        }
    }

    /// The cause for the log.
    pub fn cause(self) -> &'static str {
        match self {
            Self::TooLarge => {
                "the header list has 256 KiB or more, or repeats more than 16 KiB of the dynamic table"
            }
            Self::LongPath => "`:path` is too long",
            Self::Name => "a header name has an upper-case letter or another invalid byte",
            Self::Value => "a header value has a control character",
            Self::OfConnection => {
                "a connection-specific header, which HTTP/2 does not allow (RFC 9113, 8.2.2)"
            }
            Self::Length => "`content-length` is not a number or not the length of the body",
            Self::UnknownPseudo => "an unknown pseudo-header",
            Self::MisplacedPseudo => "a pseudo-header is repeated or follows a regular header",
            Self::Pseudo => {
                "`:method`, `:scheme` or `:path` is missing, or CONNECT has one that it must not have"
            }
            Self::Method => "`:method` is not a method",
            Self::Scheme => "`:scheme` is not a scheme",
            Self::Path => "`:path` has a space or a control character, or does not begin with a slash",
            Self::Authority => "`:authority` is empty or has a control character",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_comes_back_from_its_mark() {
        for fault in FieldFault::ALL {
            assert_eq!(FieldFault::of(&HeaderValue::from_bytes(&fault.mark()).unwrap()), Some(fault));
        }
        assert_eq!(FieldFault::of(&HeaderValue::from_static("")), None);
    }
}
