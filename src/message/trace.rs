//! The trace that a request belongs to: taken from the client's headers or begun here, and told to AWS.
//!
//! `proxy.rs` asks [`Trace::begin`] before anything else, so that the access log (`proxy/record.rs`) can name the
//! trace, and a collector is told of it if it is recorded (`spans.rs`); `inbound.rs` has it written over the client's
//! headers ([`Trace::pass_on`]), from where the backends and the events of functions have it. The headers are W3C
//! Trace Context's (`parent.rs`) and AWS's own (`amazon.rs`). None of them is ever signed.

mod amazon;
mod parent;

use std::time::{SystemTime, UNIX_EPOCH};

use actix_http::header::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;

use self::{
    amazon::Root,
    parent::{Parent, SAMPLED},
};
use crate::{
    settings::Tracing,
    text::hexadecimal::{digits, text},
};

const PARENT: HeaderName = HeaderName::from_static("traceparent");
const STATE: HeaderName = HeaderName::from_static("tracestate");
const AMAZON: HeaderName = HeaderName::from_static("x-amzn-trace-id");

/// What a trace is called, in lower-case hexadecimal.
pub type Id = [u8; 32];
/// What one step of it is called.
pub type Span = [u8; 16];

/// A request's place in a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trace {
    /// What the trace is called.
    pub id: Id,
    /// Our own step, which AWS has for its parent.
    pub span: Span,
    /// The client's step, if it has told of one.
    pub parent: Option<Span>,
    flags: u8,
    /// Whether the trace is recorded, if anybody has decided that.
    sampled: Option<bool>,
    /// Whether the client's `tracestate` belongs to it.
    has_state: bool,
}

impl Trace {
    /// The client's trace, or a new one; none if the settings want none.
    pub fn begin(headers: &HeaderMap, settings: &Tracing, now: SystemTime) -> Option<Self> {
        if !settings.propagate {
            return None;
        }
        let trace = match only(headers, &PARENT).and_then(Parent::read) {
            Some(Parent { id, span, flags }) => {
                let sampled = Some(flags & SAMPLED != 0);
                Self { id, span: new_span(), parent: Some(span), flags, sampled, has_state: true }
            }
            None => match only(headers, &AMAZON).and_then(amazon::read) {
                Some(Root { id, span, sampled }) => {
                    // a load balancer begins traces and leaves it to others whether they are recorded
                    let sampled = sampled.or_else(|| lot(settings.sample));
                    Self { parent: span, ..Self::beginning(id, new_span(), sampled) }
                }
                None => Self::new(settings.sample, now),
            },
        };
        Some(trace)
    }

    /// A new trace, recorded by lot if `sample` says how often.
    ///
    /// It begins with the time, since X-Ray reads it there (docs.aws.amazon.com, X-Ray, trace IDs). The first step of
    /// a trace may have the same name as anything outside of it: the end of the trace's own saves a second number.
    fn new(sample: Option<f64>, now: SystemTime) -> Self {
        // neither name may be nothing but zeros
        let mut bytes = (fastrand::u128(..) | 1).to_be_bytes();
        let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        // its last four bytes, which suffice until 2106
        bytes[..4].copy_from_slice(&seconds.to_be_bytes()[4..]);
        Self::beginning(digits(&bytes), digits(&bytes[8..]), lot(sample))
    }

    /// Without a decision the flag is not set (W3C Trace Context, sampled flag: the default of who begins a trace).
    fn beginning(id: Id, span: Span, sampled: Option<bool>) -> Self {
        let flags = if sampled == Some(true) { SAMPLED } else { 0 };
        Self { id, span, parent: None, flags, sampled, has_state: false }
    }

    /// Whether a collector is to be told of it.
    pub fn is_recorded(&self) -> bool {
        self.sampled == Some(true)
    }

    /// Goes on to another step.
    pub fn step(&mut self) -> TraceStep {
        let before = std::mem::replace(&mut self.span, new_span());
        TraceStep { before, now: self.span }
    }

    pub fn flags(&self) -> u8 {
        self.flags
    }

    /// The trace's name, for the log.
    pub fn id(&self) -> &str {
        text(&self.id)
    }

    /// Writes it over a client's headers. What the client says to AWS in AWS's own words stays.
    pub fn pass_on(&self, headers: &mut HeaderMap) {
        // both in one buffer, which copies of the headers then share
        let mut text = Vec::with_capacity(parent::LENGTH + amazon::LENGTH);
        parent::write(&mut text, &self.id, &self.span, self.flags);
        let end = text.len();
        let made = !headers.contains_key(AMAZON);
        if made {
            amazon::write(&mut text, &self.id, &self.span, self.sampled);
        }
        let text = Bytes::from(text);
        headers.insert(PARENT, value(text.slice(..end)));
        if made {
            headers.insert(AMAZON, value(text.slice(end..)));
        }
        if !self.has_state {
            headers.remove(STATE);
        }
    }
}

/// From one step to the next.
#[derive(Debug, Clone, Copy)]
pub struct TraceStep {
    before: Span,
    now: Span,
}

impl TraceStep {
    /// Writes the step over the one before, where [`Trace::pass_on`] has written that.
    pub fn pass_on(self, headers: &mut HeaderMap) {
        for name in [PARENT, AMAZON] {
            let line = headers.get(&name).and_then(|line| self.rewrite(line.as_bytes()));
            if let Some(line) = line {
                headers.insert(name, value(Bytes::from(line)));
            }
        }
    }

    /// A text that may quote these headers, with the step in them; `None` if it does not.
    pub fn rewrite(self, text: &[u8]) -> Option<Vec<u8>> {
        // a trace that begins here has the same digits in its name
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

/// The client's `tracestate`, if it belongs to its trace.
pub fn state(trace: &Trace, headers: &HeaderMap) -> String {
    let lines = headers.get_all(STATE).filter(|_| trace.has_state);
    lines.filter_map(|line| line.to_str().ok()).collect::<Vec<_>>().join(",")
}

/// Removes all headers of a client that are not of its trace.
pub fn retain_trace(headers: &mut HeaderMap) {
    headers.retain(|name, _| is_of_one(name.as_str()));
}

/// Whether a header tells of a trace.
pub fn is_of_one(name: &str) -> bool {
    matches!(name, "traceparent" | "tracestate" | "x-amzn-trace-id")
}

/// The headers that another request would have otherwise, for who explains one.
pub fn varying(headers: &HeaderMap, settings: &Tracing) -> impl Iterator<Item = &'static str> + use<> {
    let propagates = settings.propagate;
    let made = propagates && !headers.contains_key(AMAZON);
    let names = [("traceparent", propagates), ("x-amzn-trace-id", made)];
    names.into_iter().filter_map(|(name, varies)| varies.then_some(name))
}

/// The value of a header that stands once: of several nobody knows which one is meant.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    let mut lines = headers.get_all(name);
    let first = lines.next()?;
    lines.next().is_none().then(|| first.as_bytes())
}

/// Draws lots whether a trace is recorded, if `sample` says how often.
fn lot(sample: Option<f64>) -> Option<bool> {
    sample.map(|sample| fastrand::f64() < sample)
}

/// A new step's name.
pub fn new_span() -> Span {
    // all zeros is no name
    digits(&fastrand::u64(1..).to_be_bytes())
}

/// A name as it stands in a header: of the length that is asked for, not all zeros, in lower case.
fn name<const LENGTH: usize>(text: &[u8]) -> Option<[u8; LENGTH]> {
    let name: [u8; LENGTH] = text.try_into().ok()?;
    let is_one = name.iter().all(|digit| is_digit(*digit)) && name.iter().any(|digit| *digit != b'0');
    is_one.then_some(name)
}

fn is_digit(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

#[expect(clippy::expect_used, reason = "names, flags and what stands between them are visible ASCII")]
fn value(text: Bytes) -> HeaderValue {
    HeaderValue::from_maybe_shared(text).expect("the value of a trace's header")
}

#[cfg(test)]
mod tests;
