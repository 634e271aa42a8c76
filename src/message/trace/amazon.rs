//! `X-Amzn-Trace-Id`, the header of AWS X-Ray (docs.aws.amazon.com, X-Ray, tracing header).
//!
//! `message/trace.rs` writes it if the client sent none, and reads the client's if there is no `traceparent`.

use super::{SpanId, TraceId, parse_id};

/// `Root=1-`, 8 digits, `-`, 24 digits, `;Parent=`, 16 digits, `;Sampled=`, one digit.
pub const LENGTH: usize = 74;

/// The fields of the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AmazonTrace {
    pub id: TraceId,
    /// The parent span; a load balancer sends none.
    pub span: Option<SpanId>,
    /// The sampling decision, if one was made.
    pub sampled: Option<bool>,
}

/// Parses a header's value.
pub fn read(value: &[u8]) -> Option<AmazonTrace> {
    let (mut id, mut span, mut sampled) = (None, None, None);
    for field in value.split(|byte| *byte == b';').map(<[u8]>::trim_ascii) {
        if let Some(root) = field.strip_prefix(b"Root=") {
            id = Some(read_root(root)?);
        }
        if let Some(parent) = field.strip_prefix(b"Parent=") {
            span = parse_id(parent);
        }
        match field {
            b"Sampled=1" => sampled = Some(true),
            b"Sampled=0" => sampled = Some(false),
            _ => {}
        }
    }
    Some(AmazonTrace { id: id?, span, sampled })
}

fn read_root(root: &[u8]) -> Option<TraceId> {
    let (time, rest) = root.strip_prefix(b"1-")?.split_at_checked(8)?;
    let rest = rest.strip_prefix(b"-")?;
    let mut joined = [0; 32];
    joined[..8].copy_from_slice(time);
    joined[8..].copy_from_slice(<&[u8; 24]>::try_from(rest).ok()?);
    parse_id(&joined)
}

/// Appends the header's value. Without `Sampled`, AWS makes the sampling decision.
pub fn write(value: &mut Vec<u8>, id: &TraceId, span: &SpanId, sampled: Option<bool>) {
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
