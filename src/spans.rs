//! Spans: what a collector is told of each recorded request, one for the request and one for each call to AWS.
//!
//! `proxy/record.rs` begins a [`Recording`] where the trace is recorded (`trace.rs`), takes down each call in it, and
//! ends it with the request. From there everything happens on another thread: `spans/exporter.rs` gathers what has
//! ended and delivers it in the shape of `spans/otlp.rs`.

mod delivery;
mod exporter;
mod otlp;

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use actix_http::{
    Method, Request, StatusCode, Uri, Version,
    header::{self, HeaderValue},
};

pub use self::exporter::Exporter;
use crate::{
    proxy::outbound::OutboundRequest,
    settings::Scheme,
    trace::{Span, Trace, new_span},
};

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
    step: Span,
    begun: SystemTime,
    scheme: Scheme,
    version: Version,
    method: Method,
    uri: Uri,
    peer: Option<SocketAddr>,
    route: Option<RouteNames>,
    calls: Vec<CallSpan>,
    end: End,
}

/// How a route is called.
#[derive(Debug)]
struct RouteNames {
    id: Arc<str>,
    pattern: Arc<str>,
}

/// One call to AWS, as it is told of.
#[derive(Debug)]
struct CallSpan {
    step: Span,
    /// Since the request's begin.
    begun: Duration,
    /// The same; unknown while it lasts.
    ended: Option<Duration>,
    method: Method,
    scheme: Scheme,
    authority: HeaderValue,
    /// Without the query, which may hold what is nobody else's business.
    path: String,
    /// Of the body.
    bytes: u64,
    status: Option<StatusCode>,
    /// AWS's name for it.
    request_id: Option<HeaderValue>,
    /// Why there was no answer.
    failure: Option<&'static str>,
}

/// How a request has ended.
#[derive(Debug, Default)]
pub struct End {
    /// After its begin.
    pub took: Duration,
    /// What the client has seen; `None` where it left before.
    pub status: Option<StatusCode>,
    /// Why it failed, if it did.
    pub code: Option<&'static str>,
    /// Its id.
    pub request_id: Option<HeaderValue>,
    /// Bytes of the answer's body.
    pub bytes_out: u64,
}

impl Recording {
    /// Begins with a request's head, for a collector.
    pub fn begin(
        exporter: &Arc<Exporter>,
        trace: Trace,
        request: &Request,
        is_secure: bool,
        begun: SystemTime,
    ) -> Box<Self> {
        let span = RequestSpan {
            trace,
            step: new_span(),
            begun,
            scheme: if is_secure { Scheme::Https } else { Scheme::Http },
            version: request.version(),
            method: request.method().clone(),
            uri: request.uri().clone(),
            peer: request.head().peer_addr,
            route: None,
            calls: Vec::new(),
            end: End::default(),
        };
        Box::new(Self { exporter: Arc::clone(exporter), span })
    }

    /// A route takes it: its name and the paths that it takes.
    pub fn route(&mut self, id: &Arc<str>, pattern: &Arc<str>) {
        self.span.route = Some(RouteNames { id: Arc::clone(id), pattern: Arc::clone(pattern) });
    }

    /// A call begins, so long after the request. Each is a step of its own, and AWS is told of it as such.
    pub fn calls(&mut self, outbound: &mut OutboundRequest, is_secure: bool, begun: Duration) {
        if !self.span.calls.is_empty() {
            self.span.trace.step(&mut outbound.headers);
        }
        let authority = outbound.headers.get(header::HOST).cloned();
        self.span.calls.push(CallSpan {
            step: self.span.trace.span,
            begun,
            ended: None,
            method: outbound.method.clone(),
            scheme: if is_secure { Scheme::Https } else { Scheme::Http },
            authority: authority.unwrap_or_else(|| HeaderValue::from_static("")),
            path: outbound.path().to_owned(),
            bytes: outbound.body.length(),
            status: None,
            request_id: None,
            failure: None,
        });
    }

    /// The head of the last call's answer is here; its body may last until the request ends.
    pub fn answered(&mut self, status: StatusCode, request_id: Option<&HeaderValue>) {
        if let Some(call) = self.span.calls.last_mut() {
            call.status = Some(status);
            call.request_id = request_id.cloned();
        }
    }

    /// The last call has no answer, for this reason.
    pub fn unanswered(&mut self, code: &'static str, ended: Duration) {
        if let Some(call) = self.span.calls.last_mut() {
            call.failure = Some(code);
            call.ended = Some(ended);
        }
    }

    /// The last call is over, and another will follow.
    pub fn repeats(&mut self, ended: Duration) {
        if let Some(call) = self.span.calls.last_mut() {
            call.ended.get_or_insert(ended);
        }
    }

    /// The request is over.
    pub fn end(mut self: Box<Self>, end: End) {
        self.span.end = end;
        self.exporter.take(self.span);
    }
}
