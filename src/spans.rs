//! Spans: what a collector is told of each recorded request, one for the request and one for each call to AWS.
//!
//! `proxy/record.rs` begins a [`Recording`] where the trace is recorded (`message/trace.rs`), takes down each call in
//! it, and ends it with the request. From there everything happens on another thread: `spans/exporter.rs` gathers
//! what has ended and delivers it in the shape of `spans/otlp.rs`.

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

/// Characters of a path that are told.
const LONGEST_PATH: usize = 1 << 10;
/// Characters of `tracestate`: as many as everybody has to pass on (W3C Trace Context, 3.3.1.5).
const LONGEST_STATE: usize = 512;

/// A recorded request while it is under way.
#[derive(Debug)]
pub struct Recording {
    exporter: Arc<Exporter>,
    span: RequestSpan,
}

/// A request, as it is told of.
#[derive(Debug)]
pub struct RequestSpan {
    trace: Trace,
    /// The whole request's step; each call has its own.
    step: SpanId,
    begun: SystemTime,
    scheme: Scheme,
    version: Version,
    method: Method,
    /// Without the query, which may hold what is nobody else's business.
    path: Arc<str>,
    state: String,
    peer: Option<SocketAddr>,
    client_ip: Option<IpAddr>,
    route: Option<RouteNames>,
    calls: Vec<CallSpan>,
    end: SpanEnd,
}

/// How a route is called.
#[derive(Debug)]
struct RouteNames {
    id: Arc<str>,
    pattern: String,
}

/// One call to AWS, as it is told of.
#[derive(Debug)]
struct CallSpan {
    step: SpanId,
    /// Since the request's begin; unknown until it is sent.
    begun: Option<Duration>,
    /// The same; unknown while it lasts.
    ended: Option<Duration>,
    method: Method,
    scheme: Scheme,
    authority: HeaderValue,
    path: Arc<str>,
    /// Of the body.
    bytes: u64,
    status: Option<StatusCode>,
    /// AWS's name for it.
    request_id: Option<HeaderValue>,
    failure: Option<&'static str>,
}

#[derive(Debug, Default)]
pub struct SpanEnd {
    /// After its begin.
    pub took: Duration,
    /// What the client has seen; `None` where it left before.
    pub status: Option<StatusCode>,
    /// Why it failed, if it did.
    pub code: Option<&'static ErrorCode>,
    pub request_id: Option<HeaderValue>,
    /// Whether the client left before the answer was over.
    pub is_left: bool,
    /// Bytes of the answer's body.
    pub bytes_out: u64,
}

impl RequestSpan {
    /// The memory that it takes, nearly.
    fn weight(&self) -> usize {
        let calls = self.calls.len() * size_of::<CallSpan>();
        // all calls of a request have one path
        let texts = self.path.len() + self.state.len() + self.calls.first().map_or(0, |call| call.path.len());
        size_of::<Self>() + calls + texts
    }
}

impl Recording {
    /// Begins with a request's head, for a collector.
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

    /// A route takes it: its name, and by which of its paths.
    pub fn set_route(&mut self, id: &Arc<str>, pattern: String) {
        self.span.route = Some(RouteNames { id: Arc::clone(id), pattern });
    }

    /// A call is about to be signed and sent. Each is a step of its own, and AWS is told of it as such, and so is a
    /// function whose event quotes the headers.
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
            bytes: outbound.body.length(),
            status: None,
            request_id: None,
            failure: None,
        });
    }

    /// It is being sent, so long after the request's begin.
    pub fn on_sent(&mut self, begun: Duration) {
        if let Some(call) = self.span.calls.last_mut() {
            call.begun = Some(begun);
        }
    }

    /// The head of the last call's answer is here; its body may last until the request ends.
    pub fn on_response_head(&mut self, status: StatusCode, request_id: Option<&HeaderValue>) {
        if let Some(call) = self.span.calls.last_mut() {
            call.status = Some(status);
            call.request_id = request_id.cloned();
        }
    }

    /// The last call has no answer, for this reason.
    pub fn on_attempt_failed(&mut self, code: &'static str, ended: Duration) {
        if let Some(call) = self.span.calls.last_mut() {
            call.failure = Some(code);
            call.ended = Some(ended);
        }
    }

    /// The last call is over, though the request is not.
    pub fn on_attempt_end(&mut self, ended: Duration) {
        if let Some(call) = self.span.calls.last_mut() {
            call.ended.get_or_insert(ended);
        }
    }

    pub fn end(mut self: Box<Self>, end: SpanEnd) {
        // one that could not be signed was none
        self.span.calls.retain(|call| call.begun.is_some());
        // an answer that breaks off is its call's failure too
        let failure = end.code.filter(|code| matches!(code.side, Side::Upstream(_)));
        if let Some(call) = self.span.calls.last_mut().filter(|call| call.status.is_some()) {
            call.failure = failure.map(|code| code.name);
        }
        self.span.end = end;
        self.exporter.take(self.span);
    }
}
