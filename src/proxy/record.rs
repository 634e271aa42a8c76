//! Per-request record behind the access-log line, the metrics and the span.
//!
//! The record travels with the request and then in the response's body. Dropping it counts the request and
//! writes its line, also for a client that disconnected early.

mod access_line;
mod failure;
mod observers;
pub mod request_copy;

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use actix_http::{
    HttpMessage as _, Method, Payload, Request, StatusCode, Uri,
    header::{HeaderName, HeaderValue},
};

use self::observers::Observers;
use crate::{
    client::{ERROR_TYPE, UpstreamReply, aws_error::bare_name},
    diagnosis::Diagnosis,
    message::{
        client_link::ClientLink,
        error::{ErrorCode, ProxyError, Side},
        headers::REQUEST_ID,
        inbound::Incoming,
        log_note::LogNote,
        outbound::OutboundRequest,
        trace::Trace,
    },
    metrics::{Metrics, RouteMetrics},
    routing::PathMatch,
    spans::{Recording, SpanEnd},
    state::{inspector::Inspection, snapshot::Route},
    text::{hexadecimal::digits, log_safe::log_safe},
};

/// Request id headers of Lambda and REST APIs, and of HTTP APIs.
const AWS_REQUEST_IDS: [HeaderName; 2] =
    [HeaderName::from_static("x-amzn-requestid"), HeaderName::from_static("apigw-requestid")];

/// The record of one request.
#[derive(Debug)]
pub struct Record {
    /// True if the access log is on.
    enabled: bool,
    metrics: Arc<Metrics>,
    request_id: HeaderValue,
    method: Method,
    uri: Uri,
    client_ip: Option<IpAddr>,
    trace: Option<Trace>,
    /// The spans of a sampled trace, and the inspector's copy; `None` for most requests.
    observers: Option<Box<Observers>>,
    route: Option<Arc<RouteMetrics>>,
    received_at: SystemTime,
    started: Instant,
    sent: Option<Instant>,
    attempts: u32,
    upstream: Option<UpstreamFields>,
    status: Option<StatusCode>,
    code: Option<&'static ErrorCode>,
    /// The refusal of AWS was diagnosed, or the function's error is known, which says more than the error or
    /// status that follows from it.
    is_diagnosed: bool,
    is_complete: bool,
    bytes_in: u64,
    bytes_out: u64,
}

#[derive(Debug)]
struct UpstreamFields {
    after: Duration,
    request_id: Option<HeaderValue>,
    /// AWS's error type as sent.
    error_type: Option<HeaderValue>,
}

impl Record {
    /// Starts the record when a request's head has arrived; `enabled` turns the access-log line on.
    pub fn begin(
        request: &Request,
        client_ip: Option<IpAddr>,
        metrics: &Arc<Metrics>,
        enabled: bool,
    ) -> Self {
        Self {
            enabled,
            metrics: Arc::clone(metrics),
            request_id: request_id(request),
            method: request.method().clone(),
            uri: request.uri().clone(),
            client_ip,
            trace: None,
            observers: None,
            route: None,
            received_at: SystemTime::now(),
            started: Instant::now(),
            sent: None,
            attempts: 0,
            upstream: None,
            status: None,
            code: None,
            is_diagnosed: false,
            is_complete: false,
            bytes_in: 0,
            bytes_out: 0,
        }
    }

    pub fn set_trace(&mut self, trace: Option<Trace>, recording: Option<Box<Recording>>) {
        self.trace = trace;
        if recording.is_some() {
            self.observers.get_or_insert_default().recording = recording;
        }
    }

    /// Records the request for the inspector.
    pub fn inspect(
        &mut self,
        inspection: &Inspection,
        request: &Request,
        body: &Incoming,
        link: ClientLink,
        generation: u64,
    ) {
        let mut observers = Observers::take_idle().unwrap_or_default();
        let copy = observers.copy.get_or_insert_default();
        copy.begin(inspection, self, request, link, generation);
        copy.set_body_whole(matches!(body.payload, Payload::None));
        observers.recording = self.observers.take().and_then(|observers| observers.recording);
        self.observers = Some(observers);
    }

    pub fn trace(&self) -> Option<&Trace> {
        self.trace.as_ref()
    }

    /// Arrival of the request's head, by the wall clock.
    pub fn received_at(&self) -> SystemTime {
        self.received_at
    }

    /// Arrival of the request's head.
    pub fn started(&self) -> Instant {
        self.started
    }

    pub fn request_id(&self) -> &HeaderValue {
        &self.request_id
    }

    pub fn request_id_text(&self) -> &str {
        // a generated id is ASCII, and a client's id is accepted only if it is
        self.request_id.to_str().unwrap_or_default()
    }

    pub fn set_route(&mut self, route: &Route, path: &PathMatch) {
        route.metrics.begins();
        self.route = Some(Arc::clone(&route.metrics));
        if let Some(observers) = &mut self.observers {
            observers.set_route(&route.id, path.pattern().written());
        }
    }

    fn counters(&self) -> &RouteMetrics {
        self.route.as_deref().unwrap_or(&self.metrics.unrouted)
    }

    /// The id of the matched route, or `-`.
    pub fn route_id(&self) -> &str {
        &self.counters().id
    }

    /// An attempt is about to be signed and sent.
    pub fn on_attempt_start(&mut self, outbound: &mut OutboundRequest, route: &Route) {
        if let Some(observers) = &mut self.observers {
            observers.on_attempt_start(outbound, &route.backend.target().endpoint);
        }
    }

    /// The bytes that have been sent of a body whose length was not known before.
    pub fn on_body_received(&mut self, bytes: u64) {
        self.bytes_in = bytes;
    }

    /// An attempt is being sent.
    pub fn on_sent(&mut self, bytes: u64) {
        self.attempts += 1;
        self.bytes_in = bytes;
        let now = Instant::now();
        self.sent = Some(now);
        if let Some(observers) = &mut self.observers {
            observers.on_sent(now, self.started);
        }
    }

    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Bytes of the request's body.
    pub fn bytes_in(&self) -> u64 {
        self.bytes_in
    }

    pub fn since_sent(&self) -> Duration {
        self.sent.map_or(Duration::ZERO, |sent| sent.elapsed())
    }

    /// The head of AWS's response has arrived.
    pub fn on_response_head(&mut self, reply: &UpstreamReply) {
        let id = AWS_REQUEST_IDS.iter().find_map(|name| reply.headers.get(name));
        let id = id.filter(|id| is_plain_word(id.as_bytes()));
        if let Some(sent) = self.sent {
            let now = Instant::now();
            let after = now.duration_since(sent);
            self.counters().answered(after);
            if let Some(observers) = &mut self.observers {
                observers.on_response_head(reply, id, now);
            }
            let error_type = reply.headers.get(ERROR_TYPE).cloned();
            self.upstream = Some(UpstreamFields { after, request_id: id.cloned(), error_type });
        }
    }

    /// An attempt failed without a response.
    pub fn on_attempt_failed(&mut self, error: &ProxyError) {
        if let Some(observers) = &mut self.observers {
            observers.on_attempt_failed(error, self.started);
        }
    }

    /// An attempt has ended; another may follow.
    pub fn on_attempt_end(&mut self) {
        if let Some(observers) = &mut self.observers {
            observers.on_attempt_end(self.started);
        }
    }

    /// An attempt is retried for this reason.
    pub fn on_retry(&mut self, attempt: u32, reason: &str) {
        let reason = log_safe(reason, usize::MAX);
        log::info!(
            request_id = self.request_id_text(), route = self.route_id(), attempt = attempt;
            "attempt {attempt} failed, retrying: {reason}"
        );
        if let Some(copy) = self.copy() {
            copy.on_retry(attempt, reason);
        }
    }

    /// A retry is skipped for this reason.
    pub fn on_retry_skipped(&self, reason: &str) {
        log::debug!(
            request_id = self.request_id_text(), route = self.route_id();
            "not retrying: {reason}"
        );
    }

    /// Sets the status of the client's response.
    pub fn set_status(&mut self, status: StatusCode) {
        self.status = Some(status);
    }

    /// The whole response has been sent.
    pub fn on_complete(&mut self) {
        self.is_complete = true;
    }

    /// True if the client disconnected before the end of its response.
    fn client_left(&self) -> bool {
        !self.is_complete && self.code.is_none()
    }

    /// Bytes of the response's body sent so far.
    pub fn on_body_sent(&mut self, bytes: u64) {
        self.bytes_out = bytes;
    }

    /// The client disconnected before the head of its response was sent.
    pub fn clear_status(&mut self) {
        self.status = None;
    }

    /// The request failed, before or during the response. Logs the error; no other place does.
    pub fn on_error(&mut self, error: &ProxyError) {
        self.code = Some(error.code());
        self.counters().errors.count(error.code().name);
        error.log(self.request_id_text(), Some(self.route_id()));
        if let Some(copy) = self.copy() {
            copy.on_error(error);
        }
        if error.code().side != Side::Client && !self.is_diagnosed {
            let ErrorCode { name, status, .. } = error.code();
            self.set_failure(Some(status.as_u16()), Some(name), &error.to_string(), error.code().cure());
        }
    }

    /// AWS rejected the call: counts the reason, unless it is the caller's keys, and logs the diagnosis.
    pub fn on_refusal(&mut self, diagnosis: &Diagnosis) {
        match diagnosis.denial {
            _ if diagnosis.is_callers => {}
            Some(reason) => self.counters().denials.count(reason),
            None => self.counters().signatures_refused.add(1),
        }
        self.log_note(&diagnosis.note);
        if !diagnosis.is_callers {
            self.is_diagnosed = true;
            self.set_failure(None, None, &diagnosis.note.text, None);
        }
    }

    pub fn log_note(&mut self, note: &LogNote) {
        note.log(self.request_id_text(), self.route_id());
        if let Some(copy) = self.copy() {
            copy.on_log_line(note.level, note.text.clone());
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let took = self.started.elapsed();
        if let (Some(status), None) = (self.status, self.code)
            && status.is_server_error()
            && self.upstream.is_some()
            && !self.is_diagnosed
        {
            self.set_upstream_failure(status);
        }
        let counters = self.counters();
        if self.route.is_some() {
            counters.ends();
        }
        counters.served(&self.method, self.status, took);
        counters.bytes_in.add(self.bytes_in);
        counters.bytes_out.add(self.bytes_out);
        if let Some(observers) = self.observers.take() {
            let (status, code, is_left, bytes_out) =
                (self.status, self.code, self.client_left(), self.bytes_out);
            let request_id = Some(self.request_id.clone());
            observers.end(SpanEnd { took, status, code, request_id, is_left, bytes_out }, self.bytes_in);
        }
        // the target `access` is filtered by level only
        if self.enabled && log::max_level() >= log::Level::Info {
            self.write(took);
        }
    }
}

pub(super) fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// The client's request id if it is valid, otherwise a new one.
#[expect(clippy::expect_used, reason = "digits fit into a header")]
pub fn request_id(request: &Request) -> HeaderValue {
    let given = request.headers().get(REQUEST_ID).filter(|id| is_plain_word(id.as_bytes()));
    given.cloned().unwrap_or_else(|| HeaderValue::from_bytes(&new_request_id()).expect("hexadecimal digits"))
}

/// A new request id: 32 random hexadecimal digits.
pub fn new_request_id() -> [u8; 32] {
    digits(&fastrand::u128(..).to_be_bytes())
}

/// AWS's error type if it is one word; an API's own backend may send anything in this header.
fn error_type_text(sent: &HeaderValue) -> Option<&str> {
    let name = sent.to_str().ok().map(bare_name)?;
    is_plain_word(name.as_bytes()).then_some(name)
}

/// True for 1 to 128 visible ASCII characters, which are safe in a log line and a header.
fn is_plain_word(word: &[u8]) -> bool {
    (1..=128).contains(&word.len()) && word.iter().all(u8::is_ascii_graphic)
}
