//! A request body in an event: text or base64.
//!
//! The mode decides which bodies may be text. Bytes that are not UTF-8 are always sent as base64, so nothing
//! is lost (`peers.md` K21, K27; API Gateway corrupts them).

use base64::{display::Base64Display, engine::general_purpose::STANDARD};
use serde::{Serialize, Serializer};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventBody<'a> {
    /// No body: `null`, or no member.
    Nothing,
    Text(&'a str),
    /// Bytes that are written as base64.
    Base64(&'a [u8]),
}

impl<'a> EventBody<'a> {
    pub fn new(bytes: &'a [u8], may_be_text: bool) -> Self {
        if bytes.is_empty() {
            return Self::Nothing;
        }
        match str::from_utf8(bytes) {
            Ok(text) if may_be_text => Self::Text(text),
            _ => Self::Base64(bytes),
        }
    }

    pub fn is_nothing(&self) -> bool {
        *self == Self::Nothing
    }

    /// Estimated size in an event: base64 has four characters for three bytes, and escapes make most texts no
    /// longer.
    pub fn likely_length(&self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Text(text) => text.len().div_ceil(3).saturating_mul(4),
            Self::Base64(bytes) => bytes.len().div_ceil(3).saturating_mul(4),
        }
    }

    pub fn is_base64(&self) -> bool {
        matches!(self, Self::Base64(_))
    }
}

impl Serialize for EventBody<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Nothing => serializer.serialize_none(),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Base64(bytes) => serializer.collect_str(&Base64Display::new(bytes, &STANDARD)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(bytes: &[u8], may_be_text: bool) -> (String, bool) {
        let body = EventBody::new(bytes, may_be_text);
        (serde_json::to_string(&body).unwrap(), body.is_base64())
    }

    #[test]
    fn text_is_text_only_where_it_may_be_and_other_bytes_never_are() {
        assert_eq!(json(b"{\"a\":1}", true), (r#""{\"a\":1}""#.to_owned(), false));
        assert_eq!(json(b"test", false), ("\"dGVzdA==\"".to_owned(), true));
        assert_eq!(json(b"\xFF", true), ("\"/w==\"".to_owned(), true));
        assert_eq!(json(b"", false), ("null".to_owned(), false));
    }
}
