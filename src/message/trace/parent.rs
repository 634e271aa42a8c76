//! `traceparent`: W3C Trace Context, level 1.
//!
//! `message/trace.rs` reads the client's here and writes the one that goes out.

use super::{Id, Span, is_digit, name};
use crate::text::hexadecimal::digits;

/// Somebody may have recorded the step before.
pub const SAMPLED: u8 = 1;
/// The flags that have a meaning; level 2 adds that the trace's name is at random. Others have to be zero.
const KNOWN: u8 = SAMPLED | 2;
/// `00-`, 32 digits, `-`, 16 digits, `-`, two digits.
pub const LENGTH: usize = 55;

/// What a client says of its trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parent {
    pub id: Id,
    /// The client's step.
    pub span: Span,
    /// Those flags that are known.
    pub flags: u8,
}

impl Parent {
    /// Reads a header's value; `None` where it is not one (3.2.2, and 3.2.4 for versions to come).
    pub fn read(value: &[u8]) -> Option<Self> {
        let (known, rest) = value.split_at_checked(LENGTH)?;
        let [version @ .., b'-'] = &known[..3] else { return None };
        let version = byte(version)?;
        let may_go_on = version != 0 && rest.first() == Some(&b'-');
        if version == 0xff || !(rest.is_empty() || may_go_on) || known[35] != b'-' || known[52] != b'-' {
            return None;
        }
        let (id, span) = (name(&known[3..35])?, name(&known[36..52])?);
        Some(Self { id, span, flags: byte(&known[53..])? & KNOWN })
    }
}

/// Writes the value that goes out.
pub fn write(value: &mut Vec<u8>, id: &Id, span: &Span, flags: u8) {
    for part in [&b"00-"[..], id, b"-", span, b"-", &digits::<2>(&[flags])] {
        value.extend_from_slice(part);
    }
}

/// Two digits.
fn byte(text: &[u8]) -> Option<u8> {
    let text = text.iter().all(|digit| is_digit(*digit)).then_some(text)?;
    u8::from_str_radix(str::from_utf8(text).ok()?, 16).ok()
}
