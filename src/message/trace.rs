//! Trace context of a request: extracted from the client's headers or generated, and injected into the
//! request to AWS.
//!
//! `proxy.rs` calls [`Trace::begin`] first, so that the access log (`proxy/record.rs`) contains the trace id
//! and the exporter gets the spans of a sampled trace (`spans.rs`). `inbound.rs` replaces the client's
//! headers ([`Trace::pass_on`]); backends and Lambda events take the trace context from there. The headers
//! are those of W3C Trace Context (`parent.rs`) and of AWS X-Ray (`amazon.rs`). They are never signed.

mod amazon;
mod parent;

use std::time::{SystemTime, UNIX_EPOCH};

use actix_http::header::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;

use self::{
    amazon::AmazonTrace,
    parent::{SAMPLED, TraceParent},
};
use crate::{
    settings::Tracing,
    text::hexadecimal::{digits, text},
};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
const AMAZON_TRACE_ID: HeaderName = HeaderName::from_static("x-amzn-trace-id");

/// Trace id in lower-case hexadecimal.
pub type TraceId = [u8; 32];
/// Span id in lower-case hexadecimal.
pub type SpanId = [u8; 16];

/// Trace context of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trace {
    pub id: TraceId,
    /// The sidecar's span, the parent of AWS's.
    pub span: SpanId,
    /// The client's span, if its headers name one.
    pub parent: Option<SpanId>,
    pub flags: u8,
    /// The sampling decision, if one was made.
    sampled: Option<bool>,
    /// True if the client's `tracestate` belongs to the trace.
    has_state: bool,
}

impl Trace {
    /// Continues the client's trace or starts a new one; `None` if propagation is off.
    pub fn begin(headers: &HeaderMap, settings: &Tracing, now: SystemTime) -> Option<Self> {
        if !settings.propagate {
            return None;
        }
        let trace = match only(headers, &TRACEPARENT).and_then(TraceParent::read) {
            Some(TraceParent { id, span, flags }) => {
                let sampled = Some(flags & SAMPLED != 0);
                Self { id, span: new_span(), parent: Some(span), flags, sampled, has_state: true }
            }
            None => match only(headers, &AMAZON_TRACE_ID).and_then(amazon::read) {
                Some(AmazonTrace { id, span, sampled }) => {
                    // a load balancer starts traces without a sampling decision
                    let sampled = sampled.or_else(|| sampling_decision(settings.sample));
                    Self { parent: span, ..Self::start(id, new_span(), sampled) }
                }
                None => Self::new(settings.sample, now),
            },
        };
        Some(trace)
    }

    /// Starts a trace, sampled at the rate of `sample`.
    ///
    /// The id starts with the time, because X-Ray reads it there (docs.aws.amazon.com, X-Ray, trace IDs). The
    /// span id is the end of the trace id, which saves a second random number: a span id only needs to be
    /// unique within its trace.
    fn new(sample: Option<f64>, now: SystemTime) -> Self {
        // an id of zeros is invalid
        let mut bytes = (fastrand::u128(..) | 1).to_be_bytes();
        let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        // the last four bytes suffice until 2106
        bytes[..4].copy_from_slice(&seconds.to_be_bytes()[4..]);
        Self::start(digits(&bytes), digits(&bytes[8..]), sampling_decision(sample))
    }

    /// Without a decision the sampled flag is 0 (W3C Trace Context, sampled flag).
    fn start(id: TraceId, span: SpanId, sampled: Option<bool>) -> Self {
        let flags = if sampled == Some(true) { SAMPLED } else { 0 };
        Self { id, span, parent: None, flags, sampled, has_state: false }
    }

    /// True if the exporter must export the trace.
    pub fn is_recorded(&self) -> bool {
        self.sampled == Some(true)
    }

    /// Starts another span for the next attempt.
    pub fn step(&mut self) -> TraceStep {
        let before = std::mem::replace(&mut self.span, new_span());
        TraceStep { before, now: self.span }
    }

    pub fn id(&self) -> &str {
        text(&self.id)
    }

    /// Replaces a client's trace headers. A client's `X-Amzn-Trace-Id` stays.
    pub fn pass_on(&self, headers: &mut HeaderMap) {
        // one buffer for both values
        let mut text = Vec::with_capacity(parent::LENGTH + amazon::LENGTH);
        parent::write(&mut text, &self.id, &self.span, self.flags);
        let end = text.len();
        let made = !headers.contains_key(AMAZON_TRACE_ID);
        if made {
            amazon::write(&mut text, &self.id, &self.span, self.sampled);
        }
        let text = Bytes::from(text);
        headers.insert(TRACEPARENT, value(text.slice(..end)));
        if made {
            headers.insert(AMAZON_TRACE_ID, value(text.slice(end..)));
        }
        if !self.has_state {
            headers.remove(TRACESTATE);
        }
    }
}

/// The change from one span to the next.
#[derive(Debug, Clone, Copy)]
pub struct TraceStep {
    before: SpanId,
    now: SpanId,
}

impl TraceStep {
    /// Replaces the previous span id in headers that [`Trace::pass_on`] has written.
    pub fn pass_on(self, headers: &mut HeaderMap) {
        for name in [TRACEPARENT, AMAZON_TRACE_ID] {
            let line = headers.get(&name).and_then(|line| self.rewrite(line.as_bytes()));
            if let Some(line) = line {
                headers.insert(name, value(Bytes::from(line)));
            }
        }
    }

    /// Replaces the previous span id in a text that may contain these headers; `None` if it does not.
    pub fn rewrite(self, text: &[u8]) -> Option<Vec<u8>> {
        // a trace that starts here contains the span id in its trace id too
        let places: Vec<usize> = [&b"-"[..], b"Parent="]
            .iter()
            .flat_map(|before| {
                let quoted = [before, &self.before[..]].concat();
                let found = text.windows(quoted.len()).enumerate().filter(move |(_, own)| *own == quoted);
                found.map(|(at, _)| at + before.len()).collect::<Vec<_>>()
            })
            .collect();
        let mut text = (!places.is_empty()).then(|| text.to_vec())?;
        for at in places {
            text[at..at + self.now.len()].copy_from_slice(&self.now);
        }
        Some(text)
    }
}

/// The client's `tracestate`, if it belongs to the trace.
pub fn state(trace: &Trace, headers: &HeaderMap) -> String {
    let lines = headers.get_all(TRACESTATE).filter(|_| trace.has_state);
    lines.filter_map(|line| line.to_str().ok()).collect::<Vec<_>>().join(",")
}

/// Removes every header but those of a trace.
pub fn retain_trace(headers: &mut HeaderMap) {
    headers.retain(|name, _| is_trace_header(name.as_str()));
}

/// True for a trace header.
pub fn is_trace_header(name: &str) -> bool {
    matches!(name, "traceparent" | "tracestate" | "x-amzn-trace-id")
}

/// The trace headers whose values differ per request, for `explain`.
pub fn varying(headers: &HeaderMap, settings: &Tracing) -> impl Iterator<Item = &'static str> + use<> {
    let propagates = settings.propagate;
    let made = propagates && !headers.contains_key(AMAZON_TRACE_ID);
    let names = [("traceparent", propagates), ("x-amzn-trace-id", made)];
    names.into_iter().filter_map(|(name, varies)| varies.then_some(name))
}

/// The value of a header that occurs once; of several lines none is used.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    let mut lines = headers.get_all(name);
    let first = lines.next()?;
    lines.next().is_none().then(|| first.as_bytes())
}

/// A random sampling decision at the rate of `sample`, if there is one.
fn sampling_decision(sample: Option<f64>) -> Option<bool> {
    sample.map(|sample| fastrand::f64() < sample)
}

/// A random span id.
pub fn new_span() -> SpanId {
    // an id of zeros is invalid
    digits(&fastrand::u64(1..).to_be_bytes())
}

/// Parses an id: the required length, lower-case hexadecimal digits, not all zeros.
fn parse_id<const LENGTH: usize>(text: &[u8]) -> Option<[u8; LENGTH]> {
    let id: [u8; LENGTH] = text.try_into().ok()?;
    let is_valid = id.iter().all(|digit| is_digit(*digit)) && id.iter().any(|digit| *digit != b'0');
    is_valid.then_some(id)
}

fn is_digit(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

#[expect(clippy::expect_used, reason = "ids, flags and separators are visible ASCII")]
fn value(text: Bytes) -> HeaderValue {
    HeaderValue::from_maybe_shared(text).expect("the value of a trace header")
}

#[cfg(test)]
mod tests;
