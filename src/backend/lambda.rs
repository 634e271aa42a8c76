//! A Lambda function behind a route, called by the Invoke API: Kong's `aws-lambda` plugin.
//!
//! The client's request becomes the function's event (`payload.rs`), and nothing else of it but its trace reaches the
//! API;
//! the function's answer becomes the client's (`answer.rs`), and so does a refusal of the API.

pub mod answer;
pub mod payload;

use std::sync::Arc;

use actix_http::{
    Method, StatusCode,
    header::{self, HeaderMap, HeaderName, HeaderValue},
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{Backend, ClientReply, ReplyMode, UpstreamTarget, Verdict, scope};
use crate::{
    client::{
        Endpoint, UpstreamReply,
        aws_error::{AwsApi, error_type, is_expiry, is_throttling},
    },
    message::{
        error::ProxyError,
        inbound::{BodyMode, InboundRequest, RequestBody},
        outbound::{OutboundRequest, Signature},
        trace,
    },
    settings::{AnswerSettings, InvocationType, InvokeMode, LambdaSettings, LogType, PayloadSettings},
};

/// The event of a call that waits for its answer (Lambda quotas).
const LARGEST_EVENT: u64 = 6_291_456;
/// The event of a call that does not.
const LARGEST_QUEUED_EVENT: u64 = 1_048_576;
/// RFC 3986's unreserved characters stay, as the SDKs have it: an ARN's `:` goes as `%3A`.
const LABEL: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The backend of a route with `lambda`.
#[derive(Debug)]
pub struct Lambda {
    target: UpstreamTarget,
    path_and_query: String,
    /// All that goes to the API but the signature and the trace: no other header of a client does.
    headers: Vec<(HeaderName, HeaderValue)>,
    payload: PayloadSettings,
    largest_event: u64,
    answer: AnswerSettings,
    invocation_type: InvocationType,
    invoke_mode: InvokeMode,
}

impl Lambda {
    pub fn new(settings: &LambdaSettings, endpoint: Arc<Endpoint>) -> Self {
        let largest_event = match settings.invocation_type {
            InvocationType::Event => LARGEST_QUEUED_EVENT,
            InvocationType::RequestResponse | InvocationType::DryRun => LARGEST_EVENT,
        };
        let authority = settings.endpoint.host_header();
        let target = UpstreamTarget {
            endpoint,
            authority: authority.clone(),
            scope: scope(settings),
            timeouts: settings.upstream.timeouts,
            body_mode: BodyMode::Buffered,
            // what is larger fits into no event, but for a form that shrinks as its escapes are undone: so much is
            // not read for its sake
            max_request_body: settings.max_request_body.min(largest_event),
            api: Some(AwsApi::Lambda),
        };
        Self {
            target,
            path_and_query: path_and_query(settings),
            headers: headers(settings, authority),
            payload: settings.payload.clone(),
            largest_event,
            answer: settings.answer,
            invocation_type: settings.invocation_type,
            invoke_mode: settings.invoke_mode,
        }
    }
}

/// The request line's target (Lambda API reference, `Invoke` and `InvokeWithResponseStream`).
fn path_and_query(settings: &LambdaSettings) -> String {
    let function = utf8_percent_encode(&settings.function, LABEL);
    let mut text = match settings.invoke_mode {
        InvokeMode::Buffered => format!("/2015-03-31/functions/{function}/invocations"),
        InvokeMode::ResponseStream => {
            format!("/2021-11-15/functions/{function}/response-streaming-invocations")
        }
    };
    if let Some(qualifier) = &settings.qualifier {
        text.push_str("?Qualifier=");
        text.extend(utf8_percent_encode(qualifier, LABEL));
    }
    text
}

fn headers(settings: &LambdaSettings, authority: HeaderValue) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers =
        vec![(header::HOST, authority), (header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    let mut own = |name: &'static str, value: HeaderValue| {
        headers.push((HeaderName::from_static(name), value));
    };
    let invocation_type = match settings.invocation_type {
        InvocationType::RequestResponse => "RequestResponse",
        InvocationType::Event => "Event",
        InvocationType::DryRun => "DryRun",
    };
    own("x-amz-invocation-type", HeaderValue::from_static(invocation_type));
    // a call without an answer has no log to send back
    if settings.invocation_type == InvocationType::RequestResponse && settings.log_type == LogType::Tail {
        own("x-amz-log-type", HeaderValue::from_static("Tail"));
    }
    if let Some(context) = &settings.client_context {
        own("x-amz-client-context", value(context));
    }
    if let Some(tenant) = &settings.tenant_id {
        own("x-amz-tenant-id", value(tenant));
    }
    headers
}

#[expect(
    clippy::expect_used,
    reason = "the settings encode a client context, and check the letters of a tenant"
)]
fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("a client context or a tenant")
}

impl Backend for Lambda {
    fn target(&self) -> &UpstreamTarget {
        &self.target
    }

    fn request(&self, inbound: InboundRequest) -> Result<OutboundRequest, ProxyError> {
        let event = payload::event(&self.payload, &inbound, self.largest_event)?;
        // the client's map has room for the headers of the call, and of the signature
        let mut headers = inbound.headers;
        if inbound.is_traced {
            trace::retain_trace(&mut headers);
        } else {
            headers.clear();
        }
        for (name, value) in &self.headers {
            headers.insert(name.clone(), value.clone());
        }
        Ok(OutboundRequest {
            method: Method::POST,
            path_and_query: self.path_and_query.clone(),
            headers,
            body: RequestBody::Whole(event.into()),
            signature: Signature::Ours,
        })
    }

    fn verdict(&self, upstream: &UpstreamReply) -> Verdict {
        verdict(upstream)
    }

    fn reply_mode(&self, upstream: &UpstreamReply) -> ReplyMode {
        answer::reply_mode(self.answer, self.invocation_type, self.invoke_mode, upstream)
    }

    fn reply(&self, upstream: UpstreamReply) -> Result<ClientReply, ProxyError> {
        answer::reply(self.answer, self.invocation_type, self.invoke_mode, upstream)
    }

    fn why_left_out(&self, _name: &HeaderName, _outbound: &HeaderMap) -> &'static str {
        why_left_out(&self.payload)
    }

    fn varies(&self, made: &[&str]) -> Vec<String> {
        varies(&self.payload, made)
    }
}

/// What the head tells (Lambda API reference, `Invoke`, errors).
fn verdict(upstream: &UpstreamReply) -> Verdict {
    if upstream.status.is_success() {
        return Verdict::Final;
    }
    let reason = error_type(&upstream.headers).unwrap_or_default();
    match upstream.status {
        StatusCode::TOO_MANY_REQUESTS => Verdict::Throttled,
        _ if is_throttling(reason) => Verdict::Throttled,
        StatusCode::FORBIDDEN if is_expiry(reason) => Verdict::KeysExpired,
        StatusCode::CONFLICT | StatusCode::BAD_GATEWAY if is_not_ready(reason) => Verdict::NotReady,
        StatusCode::REQUEST_TIMEOUT if is_slow_start(reason) => Verdict::SlowStart,
        StatusCode::INTERNAL_SERVER_ERROR | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            Verdict::Unavailable
        }
        _ => Verdict::Final,
    }
}

/// The function, its network or its snapshot is still being made.
fn is_not_ready(reason: &str) -> bool {
    matches!(
        reason,
        "CodeArtifactUserPendingException"
            | "EC2ThrottledException"
            | "ENILimitReachedException"
            | "ENINotReadyException"
            | "ResourceConflictException"
            | "ResourceNotReadyException"
            | "SnapStartNotReadyException"
            | "SubnetIPAddressLimitReachedException"
    )
}

/// A file system or snapshot was not there in time.
fn is_slow_start(reason: &str) -> bool {
    reason.ends_with("MountTimeoutException") || reason == "SnapStartTimeoutException"
}

/// The reason why a header of a client does not go out.
fn why_left_out(payload: &PayloadSettings) -> &'static str {
    match payload {
        PayloadSettings::Gateway(_) => "no header of a client goes to the Lambda API; the event has it",
        PayloadSettings::Forward(parts) if parts.headers => {
            "no header of a client goes to the Lambda API; the event has it"
        }
        PayloadSettings::Forward(_) => {
            "no header of a client goes to the Lambda API; forward_request_headers puts them into the event"
        }
        PayloadSettings::Merge { .. } => {
            "no header of a client goes to the Lambda API; awsgateway_compatible or forward_request_headers put \
             them into the event"
        }
    }
}

/// The parts of a call that are another each time; `made` are the headers that the sidecar makes.
fn varies(payload: &PayloadSettings, made: &[&str]) -> Vec<String> {
    let all = || made.iter().map(|name| (*name).to_owned());
    let (tells_headers, tells_time) = match payload {
        PayloadSettings::Gateway(_) => (true, true),
        PayloadSettings::Forward(parts) => (parts.headers, false),
        PayloadSettings::Merge { .. } => (false, false),
    };
    let mut varies: Vec<String> = all().filter(|name| trace::is_of_one(name)).collect();
    if tells_headers {
        varies.extend(all().map(|name| format!("{name} in the event")));
    }
    if tells_time {
        varies.push("time and request id in the event's requestContext".to_owned());
    }
    if tells_headers || tells_time {
        varies.push("payload hash, and so signature".to_owned());
    }
    varies
}
