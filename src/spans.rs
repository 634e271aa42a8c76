//! Spans of recorded requests for a collector: one for the request and one for each call to AWS.
//!
//! `proxy/record.rs` starts a [`Recording`] if the trace is sampled (`message/trace.rs`), records each call
//! in it, and ends it with the request. `spans/exporter.rs` then queues it and sends it on another thread,
//! encoded by `spans/otlp.rs`.

mod delivery;
mod exporter;
mod otlp;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, SystemTime},
};

use actix_http::{
    HttpMessage as _, Method, Request, StatusCode, Version,
    header::{self, HeaderValue},
};

pub use self::exporter::Exporter;
use crate::{
    message::{
        client_address::ClientAddress,
        error::{ErrorCode, Side},
        inbound::RequestBody,
        outbound::OutboundRequest,
        trace::{self, SpanId, Trace, new_span},
    },
    settings::Scheme,
    text::log_safe::log_safe,
};

/// Characters of a path in a span.
const LONGEST_PATH: usize = 1 << 10;
/// Characters of `tracestate` that every participant must propagate (W3C Trace Context, 3.3.1.5).
const LONGEST_STATE: usize = 512;

/// The recording of a request in flight.
#[derive(Debug)]
pub struct Recording {
    exporter: Arc<Exporter>,
    span: RequestSpan,
}

/// A completed request.
#[derive(Debug)]
pub struct RequestSpan {
    trace: Trace,
    /// The span id of the request; each call has its own.
    step: SpanId,
    begun: SystemTime,
    scheme: Scheme,
    version: Version,
    method: Method,
    /// Without the query, which may hold secrets.
    path: Arc<str>,
    state: String,
    peer: Option<SocketAddr>,
    client_ip: Option<IpAddr>,
    route: Option<RouteNames>,
    calls: Vec<CallSpan>,
    end: SpanEnd,
}

/// The parts of a span that a route decides.
#[derive(Debug)]
struct RouteNames {
    id: Arc<str>,
    pattern: String,
}

/// One call to AWS.
#[derive(Debug)]
struct CallSpan {
    step: SpanId,
    /// Time since the start of the request; `None` until the call is sent.
    begun: Option<Duration>,
    /// Time since the start of the request; `None` until the call ends.
    ended: Option<Duration>,
    method: Method,
    scheme: Scheme,
    authority: HeaderValue,
    path: Arc<str>,
    /// Bytes of the body.
    bytes: u64,
    status: Option<StatusCode>,
    /// The request id of AWS.
    request_id: Option<HeaderValue>,
    failure: Option<&'static str>,
}

#[derive(Debug, Default)]
pub struct SpanEnd {
    /// Time since the start of the request.
    pub took: Duration,
    /// The status sent to the client; `None` if it closed the connection before.
    pub status: Option<StatusCode>,
    /// The error code of a failed request.
    pub code: Option<&'static ErrorCode>,
    pub request_id: Option<HeaderValue>,
    /// True if the client closed the connection before the end of the response.
    pub is_left: bool,
    /// Bytes of the response body.
    pub bytes_out: u64,
}

impl RequestSpan {
    /// The approximate size in memory.
    fn weight(&self) -> usize {
        let calls = self.calls.len() * size_of::<CallSpan>();
        // all calls of a request share one path
        let texts = self.path.len() + self.state.len() + self.calls.first().map_or(0, |call| call.path.len());
        size_of::<Self>() + calls + texts
    }
}

impl Recording {
    /// Starts with the head of a request.
    pub fn begin(
        exporter: &Arc<Exporter>,
        trace: Trace,
        request: &Request,
        client: &ClientAddress,
        is_secure: bool,
        begun: SystemTime,
    ) -> Box<Self> {
        let span = RequestSpan {
            trace,
            step: new_span(),
            begun,
            scheme: Scheme::of(is_secure),
            version: request.version(),
            method: request.method().clone(),
            path: log_safe(request.uri().path(), LONGEST_PATH).into(),
            state: log_safe(&trace::state(&trace, request.headers()), LONGEST_STATE),
            peer: client.peer,
            client_ip: client.ip,
            route: None,
            calls: Vec::new(),
            end: SpanEnd::default(),
        };
        Box::new(Self { exporter: Arc::clone(exporter), span })
    }

    /// Records the route and the `uri` that matched.
    pub fn set_route(&mut self, id: &Arc<str>, pattern: String) {
        self.span.route = Some(RouteNames { id: Arc::clone(id), pattern });
    }

    /// Starts a call, before it is signed and sent. Each call has a span id of its own, which goes out in the
    /// trace headers, also in those that a function's event repeats.
    pub fn on_attempt_start(&mut self, outbound: &mut OutboundRequest, is_secure: bool) {
        if !self.span.calls.is_empty() {
            let step = self.span.trace.step();
            step.pass_on(&mut outbound.headers);
            if let Some(body) = step.rewrite(outbound.body.bytes()) {
                outbound.body = RequestBody::Whole(body.into());
            }
        }
        let path = match self.span.calls.first() {
            Some(first) => Arc::clone(&first.path),
            None => log_safe(outbound.path(), LONGEST_PATH).into(),
        };
        let authority = outbound.headers.get(header::HOST).cloned();
        self.span.calls.push(CallSpan {
            step: self.span.trace.span,
            begun: None,
            ended: None,
            method: outbound.method.clone(),
            scheme: Scheme::of(is_secure),
            authority: authority.unwrap_or_else(|| HeaderValue::from_static("")),
            path,
            bytes: outbound.body.length().unwrap_or_default(),
            status: None,
            request_id: None,
            failure: None,
        });
    }

    /// Records the time at which the call was sent.
    pub fn on_sent(&mut self, begun: Duration) {
        if let Some(call) = self.span.calls.last_mut() {
            call.begun = Some(begun);
        }
    }

    /// Records the response head of the last call. The body may last until the request ends.
    pub fn on_response_head(&mut self, status: StatusCode, request_id: Option<&HeaderValue>) {
        if let Some(call) = self.span.calls.last_mut() {
            call.status = Some(status);
            call.request_id = request_id.cloned();
        }
    }

    /// Records the failure of the last call.
    pub fn on_attempt_failed(&mut self, code: &'static str, ended: Duration) {
        if let Some(call) = self.span.calls.last_mut() {
            call.failure = Some(code);
            call.ended = Some(ended);
        }
    }

    /// Ends the last call before the request ends.
    pub fn on_attempt_end(&mut self, ended: Duration) {
        if let Some(call) = self.span.calls.last_mut() {
            call.ended.get_or_insert(ended);
        }
    }

    pub fn end(mut self: Box<Self>, end: SpanEnd) {
        // a call that could not be signed is no span
        self.span.calls.retain(|call| call.begun.is_some());
        // an interrupted response is a failure of its call too
        let failure = end.code.filter(|code| matches!(code.side, Side::Upstream(_)));
        if let Some(call) = self.span.calls.last_mut().filter(|call| call.status.is_some()) {
            call.failure = failure.map(|code| code.name);
        }
        self.span.end = end;
        self.exporter.take(self.span);
    }
}
