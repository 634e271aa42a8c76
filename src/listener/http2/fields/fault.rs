//! Faults of a request's head, on their way through `h2`.
//!
//! `rewrite.rs` finds them, and `translate.rs` answers them. In between the request is a minimal one with a mark: a
//! header whose name begins with a quotation mark, which `http` takes in names and RFC 9110 (5.1) does not, so that
//! no client can send it.

use http::{HeaderName, HeaderValue};

use crate::error::{ErrorKind, ProxyError};

/// The mark of a fault.
pub const FAULT: HeaderName = HeaderName::from_static("\"fault");
/// The mark of an authority that `http::Uri` does not take.
pub const AUTHORITY: HeaderName = HeaderName::from_static("\"authority");

/// The first thing that is wrong with a head (RFC 9113, 8.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A name that is no token or has a capital.
    Name,
    /// A control byte in a value.
    Value,
    /// A header that belongs to connections.
    OfConnection,
    /// A length that is none, or differs from another one or from the body.
    Length,
    /// A pseudo-header that requests do not have.
    UnknownPseudo,
    /// A pseudo-header that is there twice, or behind a header.
    MisplacedPseudo,
    /// Pseudo-headers that a request has to have are missing, or it has one that its method does not take.
    Pseudo,
    /// A method that is no token.
    Method,
    /// A scheme that is none.
    Scheme,
    /// A path with bytes that no escape is made of, or without a slash at its beginning.
    Path,
    /// A path longer than any setting allows.
    LongPath,
    /// No authority, or one with control bytes.
    Authority,
    /// More than is taken.
    TooLarge,
}

impl Fault {
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

    /// The value of its mark.
    pub fn mark(self) -> [u8; 1] {
        [b'a' + self as u8]
    }

    /// The fault that a mark's value stands for.
    pub fn of(mark: &HeaderValue) -> Option<Self> {
        Self::ALL.into_iter().find(|fault| fault.mark() == mark.as_bytes())
    }

    /// The error that it is answered with; paths may have `max_uri` bytes.
    pub fn error(self, max_uri: u64) -> ProxyError {
        let cause = match self {
            Self::TooLarge => return ErrorKind::HeadersTooLarge.into(),
            Self::LongPath => return ErrorKind::UriTooLong { limit: max_uri }.into(),
            Self::Name => "a header's name has a capital or another byte that is not allowed in names",
            Self::Value => "a header's value has a control byte",
            Self::OfConnection => "a header of connections, which HTTP/2 does not have (RFC 9113, 8.2.2)",
            Self::Length => "a `content-length` that is no number, or not the length of the body",
            Self::UnknownPseudo => "a pseudo-header that requests do not have",
            Self::MisplacedPseudo => "a pseudo-header that is there twice, or behind a header",
            Self::Pseudo => "`:method`, `:scheme` and `:path` are not all there, or too many for CONNECT",
            Self::Method => "`:method` is not a method",
            Self::Scheme => "`:scheme` is not a scheme",
            Self::Path => "`:path` has a blank or a control byte, or does not begin with a slash",
            Self::Authority => "`:authority` is empty or has a control byte",
        };
        ProxyError::new(ErrorKind::InvalidRequest, format!("HTTP/2: {cause}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_comes_back_from_its_mark() {
        for fault in Fault::ALL {
            assert_eq!(Fault::of(&HeaderValue::from_bytes(&fault.mark()).unwrap()), Some(fault));
        }
        assert_eq!(Fault::of(&HeaderValue::from_static("")), None);
    }
}
