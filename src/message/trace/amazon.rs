//! `X-Amzn-Trace-Id`: AWS X-Ray's header (docs.aws.amazon.com, X-Ray, tracing header).
//!
//! `message/trace.rs` writes one where the client has none, and reads the client's where there is no `traceparent`.

use super::{Id, Span, name};

/// `Root=1-`, 8 digits, `-`, 24 digits, `;Parent=`, 16 digits, `;Sampled=`, one digit.
pub const LENGTH: usize = 74;

/// What a header's value says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Root {
    pub id: Id,
    /// The step before, if it is told: a load balancer tells of none.
    pub span: Option<Span>,
    /// Whether the trace is recorded, if that has been decided.
    pub sampled: Option<bool>,
}

/// The trace of a header's value.
pub fn read(value: &[u8]) -> Option<Root> {
    let (mut id, mut span, mut sampled) = (None, None, None);
    for field in value.split(|byte| *byte == b';').map(<[u8]>::trim_ascii) {
        if let Some(root) = field.strip_prefix(b"Root=") {
            id = Some(read_root(root)?);
        }
        if let Some(parent) = field.strip_prefix(b"Parent=") {
            span = name(parent);
        }
        match field {
            b"Sampled=1" => sampled = Some(true),
            b"Sampled=0" => sampled = Some(false),
            _ => {}
        }
    }
    Some(Root { id: id?, span, sampled })
}

fn read_root(root: &[u8]) -> Option<Id> {
    let (time, rest) = root.strip_prefix(b"1-")?.split_at_checked(8)?;
    let rest = rest.strip_prefix(b"-")?;
    let mut joined = [0; 32];
    joined[..8].copy_from_slice(time);
    joined[8..].copy_from_slice(<&[u8; 24]>::try_from(rest).ok()?);
    name(&joined)
}

/// Writes the value that goes out. Without `Sampled` AWS decides by its own rules.
pub fn write(value: &mut Vec<u8>, id: &Id, span: &Span, sampled: Option<bool>) {
    let (time, rest) = id.split_at(8);
    let decision: &[u8] = match sampled {
        Some(true) => b";Sampled=1",
        Some(false) => b";Sampled=0",
        None => b"",
    };
    for part in [&b"Root=1-"[..], time, b"-", rest, b";Parent=", span, decision] {
        value.extend_from_slice(part);
    }
}
