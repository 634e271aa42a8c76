//! Backend for a Lambda function, called through the Invoke API; modelled on Kong's `aws-lambda` plugin.
//!
//! `payload.rs` builds the function's event from the client's request; apart from the event, only the trace
//! headers of the client are sent. `answer.rs` converts the response of the API.

pub mod answer;
pub mod payload;

use std::sync::Arc;

use actix_http::{
    Method, StatusCode,
    header::{self, HeaderMap, HeaderName, HeaderValue},
};
use percent_encoding::utf8_percent_encode;

use super::{Backend, ClientReply, ReplyMode, UpstreamTarget, Verdict, scope};
use crate::{
    client::{
        Endpoint, UpstreamReply,
        aws_error::{AwsApi, error_type, is_expiry, is_throttling},
    },
    message::{
        error::{ErrorKind, ProxyError},
        inbound::{BodyMode, InboundRequest, RequestBody},
        outbound::{OutboundRequest, Signature, SignedPayload},
        trace,
    },
    settings::{InvocationType, InvokeMode, LambdaSettings, LogType, PayloadSettings},
    text::{
        header_names::ClientProofs,
        uri_syntax::{RESERVED, check_remainder},
    },
};

/// Maximum event size of a synchronous invocation (Lambda quotas).
const LARGEST_EVENT: u64 = 6_291_456;
/// Maximum event size of an asynchronous invocation (Lambda quotas).
const LARGEST_QUEUED_EVENT: u64 = 1_048_576;

#[derive(Debug)]
pub struct Lambda {
    target: UpstreamTarget,
    path_and_query: String,
    /// Headers of every call, without the signature and the trace headers.
    headers: Vec<(HeaderName, HeaderValue)>,
    settings: Arc<LambdaSettings>,
    largest_event: u64,
}

impl Lambda {
    pub fn new(settings: &Arc<LambdaSettings>, endpoint: Arc<Endpoint>) -> Self {
        let largest_event = match settings.invocation_type {
            InvocationType::Event => LARGEST_QUEUED_EVENT,
            InvocationType::RequestResponse | InvocationType::DryRun => LARGEST_EVENT,
        };
        let authority = settings.endpoint.host_header();
        let target = UpstreamTarget {
            endpoint,
            authority: authority.clone(),
            scope: scope(&**settings),
            timeouts: settings.upstream.timeouts,
            body_mode: BodyMode::Buffered,
            // a larger body fits into no event, except for a form that shrinks when it is decoded, which is
            // rare
            client_proofs: ClientProofs::Pass,
            max_request_body: settings.max_request_body.bytes().min(largest_event),
            // an emulator refuses calls in its own way
            api: settings.sign.then_some(AwsApi::Lambda),
            has_doubtful_scope: false,
        };
        Self {
            target,
            path_and_query: path_and_query(settings),
            headers: headers(settings, authority),
            settings: Arc::clone(settings),
            largest_event,
        }
    }
}

/// The request target (Lambda API reference, `Invoke` and `InvokeWithResponseStream`).
fn path_and_query(settings: &LambdaSettings) -> String {
    // as in AWS's SDKs, the `:` of an ARN goes out as `%3A`
    let function = utf8_percent_encode(&settings.function, RESERVED);
    let mut text = match settings.invoke_mode {
        InvokeMode::Buffered => format!("/2015-03-31/functions/{function}/invocations"),
        InvokeMode::ResponseStream => {
            format!("/2021-11-15/functions/{function}/response-streaming-invocations")
        }
    };
    if let Some(qualifier) = &settings.qualifier {
        text.push_str("?Qualifier=");
        text.extend(utf8_percent_encode(qualifier, RESERVED));
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
    // only a synchronous invocation returns a log
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
        // a function resolves dots as a server does, and may not be led above the route's prefix
        let behind_prefix = inbound.path.behind_literal_prefix(inbound.uri.path());
        check_remainder(behind_prefix).map_err(ErrorKind::InvalidPath)?;
        let event = payload::event(&self.settings.payload, &inbound, self.largest_event)?;
        // reuses the client's map, which has room for the headers of the call and of the signature
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
            payload: SignedPayload::Hash,
        })
    }

    fn keeps_spelling(&self) -> bool {
        matches!(&self.settings.payload, PayloadSettings::Gateway(event) if event.keeps_spelling())
    }

    fn verdict(&self, upstream: &UpstreamReply) -> Verdict {
        verdict(upstream)
    }

    fn reply_mode(&self, upstream: &UpstreamReply) -> ReplyMode {
        let LambdaSettings { answer, invocation_type, invoke_mode, .. } = *self.settings;
        answer::reply_mode(answer, invocation_type, invoke_mode, upstream)
    }

    fn reply(&self, upstream: UpstreamReply) -> Result<ClientReply, ProxyError> {
        let LambdaSettings { answer, invocation_type, invoke_mode, .. } = *self.settings;
        answer::reply(answer, invocation_type, invoke_mode, upstream)
    }

    fn why_left_out(&self, _name: &HeaderName, _outbound: &HeaderMap) -> &'static str {
        why_left_out(&self.settings.payload)
    }

    fn varies(&self, made: &[&str]) -> Vec<String> {
        varies(&self.settings, made)
    }
}

/// Classifies a response by the errors of `Invoke` (Lambda API reference). The status is always the API's: a
/// failed function is a 200 with `X-Amz-Function-Error`.
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

/// The function, its network interface or its snapshot is still being created.
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

/// A file system or snapshot was not ready in time.
fn is_slow_start(reason: &str) -> bool {
    reason.ends_with("MountTimeoutException") || reason == "SnapStartTimeoutException"
}

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
            "no header of a client goes to the Lambda API; awsgateway_compatible or forward_request_headers \
             put them into the event"
        }
    }
}

fn varies(settings: &LambdaSettings, made: &[&str]) -> Vec<String> {
    let all = || made.iter().map(|name| (*name).to_owned());
    let (tells_headers, tells_time) = match &settings.payload {
        PayloadSettings::Gateway(_) => (true, true),
        PayloadSettings::Forward(parts) => (parts.headers, false),
        PayloadSettings::Merge { .. } => (false, false),
    };
    let mut varies: Vec<String> = all().filter(|name| trace::is_trace_header(name)).collect();
    if tells_headers {
        varies.extend(all().map(|name| format!("{name} in the event")));
    }
    if tells_time {
        varies.push("time and request id in the event's requestContext".to_owned());
    }
    if settings.sign && (tells_headers || tells_time) {
        varies.push("payload hash, and so signature".to_owned());
    }
    varies
}
