//! Messages of OTLP (opentelemetry.io, OTLP 1.x; names by the semantic conventions for HTTP and AWS, 1.3x).
//!
//! `spans/exporter.rs` encodes each delivery here, on the exporter's thread.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use actix_http::{Method, StatusCode, Version, header::HeaderValue};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value},
    resource::v1::Resource,
    trace::v1::{
        ResourceSpans, ScopeSpans, Span as Message, SpanFlags, Status, span::SpanKind,
        status::StatusCode as Outcome,
    },
};
use prost::Message as _;

use super::{CallSpan, RequestSpan};
use crate::{settings::Otlp, text::uri_syntax::without_brackets};

/// The known methods; all others are `_OTHER` (semantic conventions, `http.request.method`).
const METHODS: [Method; 9] = [
    Method::CONNECT,
    Method::DELETE,
    Method::GET,
    Method::HEAD,
    Method::OPTIONS,
    Method::PATCH,
    Method::POST,
    Method::PUT,
    Method::TRACE,
];

/// The resource: this process.
pub(super) fn resource(settings: &Otlp) -> Resource {
    let mut attributes = Attributes::default();
    attributes.text("service.name", &*settings.service_name);
    attributes.text("service.version", env!("CARGO_PKG_VERSION"));
    for (name, value) in &settings.resource {
        attributes.0.retain(|known| known.key != *name);
        attributes.text(name, &**value);
    }
    Resource { attributes: attributes.0, ..Resource::default() }
}

/// The body of a delivery.
pub(super) fn encode(resource: &Resource, requests: &[RequestSpan]) -> Vec<u8> {
    let spans = requests.iter().flat_map(messages).collect();
    let scope = InstrumentationScope {
        name: env!("CARGO_PKG_NAME").to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    };
    let scope_spans = vec![ScopeSpans { scope: Some(scope), spans, ..ScopeSpans::default() }];
    let resource_spans =
        ResourceSpans { resource: Some(resource.clone()), scope_spans, ..ResourceSpans::default() };
    ExportTraceServiceRequest { resource_spans: vec![resource_spans] }.encode_to_vec()
}

/// A request's span and those of its calls.
fn messages(request: &RequestSpan) -> Vec<Message> {
    let mut messages = Vec::with_capacity(1 + request.calls.len());
    let trace_id = bytes(&request.trace.id);
    let step = bytes(&request.step);
    // the flags of `traceparent` in the low byte, and the bits of OTLP that say whether the parent is remote
    let flags = u32::from(request.trace.flags) | SpanFlags::ContextHasIsRemoteMask as u32;
    let remote = request.trace.parent.map_or(0, |_| SpanFlags::ContextIsRemoteMask as u32);
    for (resends, call) in request.calls.iter().enumerate() {
        messages.push(Message {
            trace_id: trace_id.clone(),
            span_id: bytes(&call.step),
            parent_span_id: step.clone(),
            trace_state: request.state.clone(),
            flags,
            // the name has no path, because names of spans must be few
            name: known(&call.method).unwrap_or("HTTP").to_owned(),
            kind: SpanKind::Client.into(),
            start_time_unix_nano: nanoseconds(request.begun, call.begun.unwrap_or_default()),
            end_time_unix_nano: nanoseconds(request.begun, call.ended.unwrap_or(request.end.took)),
            attributes: of_call(call, resends),
            status: outcome(call.failure, call.status, 400),
            ..Message::default()
        });
    }
    messages.push(Message {
        trace_id,
        span_id: step,
        parent_span_id: request.trace.parent.map(|parent| bytes(&parent)).unwrap_or_default(),
        trace_state: request.state.clone(),
        flags: flags | remote,
        name: name(request),
        kind: SpanKind::Server.into(),
        start_time_unix_nano: nanoseconds(request.begun, Duration::ZERO),
        end_time_unix_nano: nanoseconds(request.begun, request.end.took),
        attributes: of_request(request),
        status: outcome(request.end.code.map(|code| code.name), request.end.status, 500),
        ..Message::default()
    });
    messages
}

/// Method and route. The path is left out, because names of spans must be few.
fn name(request: &RequestSpan) -> String {
    let method = known(&request.method).unwrap_or("HTTP");
    match &request.route {
        Some(route) => format!("{method} {}", route.pattern),
        None => method.to_owned(),
    }
}

fn of_request(request: &RequestSpan) -> Vec<KeyValue> {
    let mut attributes = Attributes::default();
    attributes.method(&request.method);
    attributes.text("url.path", &*request.path);
    attributes.text("url.scheme", request.scheme.name());
    attributes.text("network.protocol.version", version(request.version));
    if let Some(peer) = request.peer {
        let address = peer.ip().to_canonical().to_string();
        attributes.text("client.address", &*address);
        attributes.text("network.peer.address", address);
        attributes.number("network.peer.port", u64::from(peer.port()));
    }
    if let Some(route) = &request.route {
        attributes.text("http.route", &*route.pattern);
        attributes.text("apigw_invoker.route", &*route.id);
    }
    let end = &request.end;
    if let Some(id) = &end.request_id {
        attributes.text("apigw_invoker.request_id", text(id));
    }
    attributes.number("http.response.body.size", end.bytes_out);
    attributes.status(end.status);
    let code = end.code.map(|code| code.name);
    if let Some(code) = code {
        attributes.text("apigw_invoker.code", code);
    }
    if end.is_left {
        attributes.add("apigw_invoker.client_left", Value::BoolValue(true));
    }
    attributes.failure(failure(code, end.status, 500));
    attributes.0
}

fn of_call(call: &CallSpan, resends: usize) -> Vec<KeyValue> {
    let mut attributes = Attributes::default();
    attributes.method(&call.method);
    let (scheme, authority) = (call.scheme.name(), text(&call.authority));
    attributes.text("url.full", format!("{scheme}://{authority}{}", call.path));
    attributes.text("network.protocol.version", "1.1");
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (host, port.parse().ok()),
        _ => (authority, None),
    };
    attributes.text("server.address", without_brackets(host));
    attributes.number("server.port", u64::from(port.unwrap_or_else(|| call.scheme.default_port())));
    attributes.number("http.request.body.size", call.bytes);
    if resends > 0 {
        attributes.number("http.request.resend_count", resends as u64);
    }
    if let Some(id) = &call.request_id {
        attributes.text("aws.request_id", text(id));
    }
    attributes.status(call.status);
    attributes.failure(failure(call.failure, call.status, 400));
    attributes.0
}

/// The status of a span: failed by our error code, or by an HTTP status from `worst` on. A server span fails by 5xx, a
/// client span by 4xx too (semantic conventions, HTTP spans, status). A client's own mistake is no error of ours.
fn failure(code: Option<&'static str>, status: Option<StatusCode>, worst: u16) -> Option<String> {
    let is_ours = |status: StatusCode| status.as_u16() >= worst || !status.is_client_error();
    match (code, status) {
        (Some(code), status) => status.is_none_or(is_ours).then(|| code.to_owned()),
        (None, status) => {
            status.map(|status| status.as_u16()).filter(|own| *own >= worst).map(|own| own.to_string())
        }
    }
}

fn outcome(code: Option<&'static str>, status: Option<StatusCode>, worst: u16) -> Option<Status> {
    let message = code.unwrap_or_default().to_owned();
    failure(code, status, worst).map(|_| Status { message, code: Outcome::Error.into() })
}

/// The attributes of a span.
#[derive(Default)]
struct Attributes(Vec<KeyValue>);

impl Attributes {
    fn text(&mut self, key: &str, text: impl Into<String>) {
        self.add(key, Value::StringValue(text.into()));
    }

    fn number(&mut self, key: &str, number: u64) {
        self.add(key, Value::IntValue(i64::try_from(number).unwrap_or(i64::MAX)));
    }

    fn method(&mut self, method: &Method) {
        match known(method) {
            Some(method) => self.text("http.request.method", method),
            None => {
                self.text("http.request.method", "_OTHER");
                self.text("http.request.method_original", method.as_str());
            }
        }
    }

    fn status(&mut self, status: Option<StatusCode>) {
        if let Some(status) = status {
            self.number("http.response.status_code", u64::from(status.as_u16()));
        }
    }

    fn failure(&mut self, failure: Option<String>) {
        if let Some(failure) = failure {
            self.text("error.type", failure);
        }
    }

    fn add(&mut self, key: &str, value: Value) {
        let value = Some(AnyValue { value: Some(value) });
        self.0.push(KeyValue { key: key.to_owned(), value, ..KeyValue::default() });
    }
}

fn known(method: &Method) -> Option<&str> {
    METHODS.iter().find(|known| *known == method).map(Method::as_str)
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        _ => "1.1",
    }
}

fn text(value: &HeaderValue) -> &str {
    value.to_str().unwrap_or_default()
}

fn nanoseconds(begun: SystemTime, after: Duration) -> u64 {
    let since = begun.duration_since(UNIX_EPOCH).unwrap_or_default().saturating_add(after);
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// The bytes of a trace id or span id from its digits.
fn bytes(digits: &[u8]) -> Vec<u8> {
    hex::decode(digits).unwrap_or_default()
}
