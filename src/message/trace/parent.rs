//! `traceparent` of W3C Trace Context, level 1.
//!
//! `message/trace.rs` reads the client's and writes the one that is sent.

use super::{SpanId, TraceId, is_digit, parse_id};
use crate::text::hexadecimal::digits;

/// The sampled flag.
pub const SAMPLED: u8 = 1;
/// The defined flags; level 2 adds the random flag. Others must be 0.
const DEFINED_FLAGS: u8 = SAMPLED | 2;
/// `00-`, 32 digits, `-`, 16 digits, `-`, two digits.
pub const LENGTH: usize = 55;

/// The fields of the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    pub id: TraceId,
    /// The client's span.
    pub span: SpanId,
    /// The defined flags.
    pub flags: u8,
}

impl TraceParent {
    /// Parses a header's value; `None` if it is invalid (3.2.2, and 3.2.4 for future versions).
    pub fn read(value: &[u8]) -> Option<Self> {
        let (known, rest) = value.split_at_checked(LENGTH)?;
        let [version @ .., b'-'] = &known[..3] else { return None };
        let version = byte(version)?;
        let may_go_on = version != 0 && rest.first() == Some(&b'-');
        if version == 0xff || !(rest.is_empty() || may_go_on) || known[35] != b'-' || known[52] != b'-' {
            return None;
        }
        let (id, span) = (parse_id(&known[3..35])?, parse_id(&known[36..52])?);
        Some(Self { id, span, flags: byte(&known[53..])? & DEFINED_FLAGS })
    }
}

/// Appends the header's value.
pub fn write(value: &mut Vec<u8>, id: &TraceId, span: &SpanId, flags: u8) {
    for part in [&b"00-"[..], id, b"-", span, b"-", &digits::<2>(&[flags])] {
        value.extend_from_slice(part);
    }
}

/// Parses two hexadecimal digits.
fn byte(text: &[u8]) -> Option<u8> {
    let text = text.iter().all(|digit| is_digit(*digit)).then_some(text)?;
    u8::from_str_radix(str::from_utf8(text).ok()?, 16).ok()
}
