//! An API or Function URL of the user's own settings: the checks of its caller, and the function behind it.
//!
//! The event is written by the code that writes it for `awsgateway_compatible` routes, and the function's
//! response is read by the code of `is_proxy_integration`.

use std::{
    collections::BTreeMap,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, SystemTime},
};

use actix_web::{
    HttpResponse,
    http::{
        StatusCode,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
    web::Bytes,
};
use futures_core::Stream;
use serde_json::{Value, json};
use tokio::{sync::mpsc, time::timeout};

use super::{
    account::Account,
    answers::{GatewayError, request_id, trace_of, with_request_ids},
    functions::{self, ReceivedRequest},
    issued::ACCOUNT,
    played::{ApiKind, PlayedApi},
    runtime::{Event, Functions, Outcome, Piece},
};
use crate::{
    backend::{
        ClientReply,
        lambda::{answer, payload},
    },
    client::{ReplyBody, UpstreamReply},
    message::{
        headers::REQUEST_ID,
        inbound::{InboundRequest, RequestBody},
    },
    routing::PathMatch,
    settings::{
        AnswerSettings, EmptyArraysMode, GatewayEvent, InvocationType, InvokeMode, PayloadSettings,
        PayloadVersion,
    },
};

/// "Quotas for functions": the event of a synchronous call.
const MAX_EVENT: u64 = 6_291_456;
/// The default of a REST API's integrations; that of HTTP APIs is 30 seconds.
const LONGEST: Duration = Duration::from_secs(29);
/// The type of a streamed response that begins with status and headers.
const WITH_PRELUDE: &str = "application/vnd.awslambda.http-integration-response";
/// Bytes of the longest prelude: those of the longest response that does not stream, as a function may send
/// everything before the delimiter.
const MAX_PRELUDE: usize = 6_291_556;
/// Between the prelude and the body.
const DELIMITER: [u8; 8] = [0; 8];
/// "D" in the developer guide's table of headers that API Gateway drops from a request to Lambda.
const DROPPED: [HeaderName; 9] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::EXPECT,
    header::MAX_FORWARDS,
    header::PROXY_AUTHENTICATE,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Answers a request to one of `apis`, which have the same host and path.
pub async fn answer(call: &ReceivedRequest, account: &Account, apis: &[&PlayedApi]) -> HttpResponse {
    let api = match admitted(call, account, apis) {
        Ok(api) => api,
        Err(error) => return error.answer(),
    };
    let functions = account.options.functions.as_ref();
    let behind = api.function.as_ref().zip(functions).filter(|(name, functions)| functions.has(name));
    let Some((name, functions)) = behind else {
        let mut answer = with_request_ids(HttpResponse::build(StatusCode::OK));
        return answer.content_type("application/json").body(functions::echo(call));
    };
    let request_id = request_id();
    let Some(event) = event(call, api, &request_id) else { return GatewayError::RequestTooLarge.answer() };
    let event = Event {
        function: name.clone(),
        payload: event,
        // Lambda has an id of its own; with one id the answer leads to the function's lines in the log
        request_id: request_id.clone(),
        arn: format!("arn:aws:lambda:{}:{ACCOUNT}:function:{name}", api.region),
        trace_id: trace_of(&call.headers),
        client_context: None,
        tenant_id: None,
    };
    let mut answer = invoke(functions, event, api).await;
    if let Ok(id) = HeaderValue::from_str(&request_id) {
        answer.headers_mut().insert(HeaderName::from_static("x-amzn-requestid"), id);
    }
    answer
}

/// The first API that admits the request; several routes may call one path with different credentials.
fn admitted<'a>(
    call: &ReceivedRequest,
    account: &Account,
    apis: &[&'a PlayedApi],
) -> Result<&'a PlayedApi, GatewayError> {
    let mut refusal = GatewayError::Forbidden;
    for (at, api) in apis.iter().enumerate() {
        match admit(call, account, api) {
            Ok(()) => return Ok(api),
            Err(error) if at == 0 => refusal = error,
            Err(_) => {}
        }
    }
    Err(refusal)
}

fn admit(call: &ReceivedRequest, account: &Account, api: &PlayedApi) -> Result<(), GatewayError> {
    if api.requires_signature {
        account.caller_in(call, &api.service, &api.region)?;
    }
    let given = call.headers.get("x-api-key").map(HeaderValue::as_bytes);
    if api.requires_key && given != Some(account.options.keys.api_key.as_bytes()) {
        return Err(GatewayError::Forbidden);
    }
    Ok(())
}

/// The event of a request; `None` if it is too large.
fn event(call: &ReceivedRequest, api: &PlayedApi, request_id: &str) -> Option<Bytes> {
    let path = api.behind_stage(&call.path);
    let target = if call.query.is_empty() { path.to_owned() } else { format!("{path}?{}", call.query) };
    let mut headers = call.headers.clone();
    let host = headers.remove(header::HOST).next();
    for name in &DROPPED {
        headers.remove(name);
    }
    if api.requires_signature {
        headers.remove(header::AUTHORIZATION);
    }
    let mut own = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    own("x-amzn-trace-id", &trace_of(&call.headers));
    own("x-forwarded-proto", "https");
    own("x-forwarded-port", "443");
    let own_id = headers.insert(REQUEST_ID, HeaderValue::from_str(request_id).ok()?).next();
    let inbound = InboundRequest {
        method: call.method.clone(),
        uri: target.parse().ok()?,
        path: PathMatch::of("/{proxy+}", path).or_else(|| PathMatch::of("/*", path))?,
        headers,
        spelling: None,
        body: if call.body.is_empty() { RequestBody::Empty } else { RequestBody::Whole(call.body.clone()) },
        version: actix_web::http::Version::HTTP_11,
        host,
        client_ip: None,
        received_at: SystemTime::now(),
        is_traced: false,
    };
    let settings = PayloadSettings::Gateway(GatewayEvent {
        version: api.version(),
        base64_encode_body: api.version() == PayloadVersion::V2,
        base64_is_written: true,
        account_id: ACCOUNT.to_owned(),
        api_id: api.id().to_owned(),
        stage: api.stage.clone(),
        stage_variables: BTreeMap::new(),
    });
    let event = payload::event(&settings, &inbound, MAX_EVENT).ok()?;
    let event: Value = serde_json::from_slice(&event).ok()?;
    Some(with_identity(event, call, api, own_id.as_ref()).to_string().into())
}

/// Adds the caller, whom only AWS knows, and puts back the client's own `X-Request-Id`.
fn with_identity(
    mut event: Value,
    call: &ReceivedRequest,
    api: &PlayedApi,
    own_id: Option<&HeaderValue>,
) -> Value {
    let own_id = own_id.map(|id| String::from_utf8_lossy(id.as_bytes()).into_owned());
    for (member, is_list) in [("headers", false), ("multiValueHeaders", true)] {
        let Some(headers) = event[member].as_object_mut() else { continue };
        let name = headers.keys().find(|name| name.eq_ignore_ascii_case(REQUEST_ID.as_str())).cloned();
        let Some(name) = name else { continue };
        match &own_id {
            Some(id) if is_list => drop(headers.insert(name, json!([id]))),
            Some(id) => drop(headers.insert(name, json!(id))),
            None => drop(headers.shift_remove(&name)),
        }
    }
    let text = |name: &str| call.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let authorization = text("authorization");
    let key = authorization.split_once("Credential=").and_then(|(_, rest)| rest.split('/').next());
    let key = key.filter(|_| api.requires_signature);
    let user_arn = format!("arn:aws:iam::{ACCOUNT}:user/dev");
    let context = &mut event["requestContext"];
    if api.version() == PayloadVersion::V1 {
        let identity = &mut context["identity"];
        if api.requires_key {
            identity["apiKey"] = text("x-api-key").into();
            identity["apiKeyId"] = "dev".into();
        }
        if let Some(key) = key {
            identity["accessKey"] = key.into();
            identity["accountId"] = ACCOUNT.into();
            identity["caller"] = "AIDACKCEVSQ6C2EXAMPLE".into();
            identity["user"] = "AIDACKCEVSQ6C2EXAMPLE".into();
            identity["userArn"] = user_arn.into();
        }
    } else if let Some(key) = key {
        context["authorizer"] = json!({ "iam": {
            "accessKey": key,
            "accountId": ACCOUNT,
            "callerId": "AIDACKCEVSQ6C2EXAMPLE",
            "cognitoIdentity": null,
            "principalOrgId": null,
            "userArn": user_arn,
            "userId": "AIDACKCEVSQ6C2EXAMPLE",
        }});
    }
    event
}

/// Runs the function within the API's time limit.
async fn invoke(functions: &Functions, event: Event, api: &PlayedApi) -> HttpResponse {
    let name = event.function.clone();
    let limit = match api.kind {
        ApiKind::Rest => LONGEST,
        ApiKind::Http => LONGEST + Duration::from_secs(1),
        // "up to 15 minutes"
        ApiKind::FunctionUrl => Duration::from_mins(15),
    };
    let Ok(answer) = timeout(limit, functions.invoke(event)).await else {
        log::error!("[{name}] the API's time limit of {limit:?} was over before the function answered");
        return late(api.kind);
    };
    match answer.outcome {
        Outcome::Returned(output) => converted(api, &name, output, None),
        Outcome::Failed(_) => failed(api.kind),
        Outcome::Streamed { content_type, body } => streamed(api, &name, content_type, body).await,
    }
}

/// The response of a function as the API sends it.
fn converted(api: &PlayedApi, name: &str, output: Bytes, prelude: Option<Bytes>) -> HttpResponse {
    match reply(api, output, prelude) {
        Ok(reply) => {
            let body = match reply.body {
                ReplyBody::Whole(body) => body,
                _ => Bytes::new(),
            };
            head(reply.status, &reply.headers).body(body)
        }
        Err(cause) => {
            log::error!("[{name}] Malformed Lambda proxy response: {cause}");
            failed(api.kind)
        }
    }
}

fn reply(api: &PlayedApi, output: Bytes, prelude: Option<Bytes>) -> Result<ClientReply, String> {
    let settings = AnswerSettings {
        is_proxy_integration: true,
        version: api.version(),
        unhandled_status: None,
        empty_arrays_mode: EmptyArraysMode::Correct,
        preserve_lambda_api_error_code: false,
    };
    let upstream = UpstreamReply {
        status: StatusCode::OK,
        headers: HeaderMap::new(),
        body: ReplyBody::Whole(output),
        prelude,
    };
    answer::reply(settings, InvocationType::RequestResponse, InvokeMode::Buffered, upstream)
        .map_err(|error| error.causes())
}

fn head(status: StatusCode, headers: &HeaderMap) -> actix_web::HttpResponseBuilder {
    let mut builder = with_request_ids(HttpResponse::build(status));
    for (name, value) in headers {
        builder.append_header((name.clone(), value.clone()));
    }
    builder
}

/// A streamed response: status and headers from its prelude, if it has one.
async fn streamed(
    api: &PlayedApi,
    name: &str,
    content_type: Option<String>,
    mut body: mpsc::Receiver<Piece>,
) -> HttpResponse {
    if content_type.as_deref() != Some(WITH_PRELUDE) {
        let mut answer = with_request_ids(HttpResponse::build(StatusCode::OK));
        return answer
            .content_type(content_type.unwrap_or_else(|| "application/octet-stream".to_owned()))
            .streaming(Pieces { first: Bytes::new(), rest: body });
    }
    let mut seen = Vec::new();
    let at = loop {
        // the delimiter may begin in the piece before
        let searched = seen.len().saturating_sub(DELIMITER.len() - 1);
        match body.recv().await {
            Some(Piece::Data(data)) => seen.extend_from_slice(&data),
            Some(Piece::End(_)) | None => return failed(api.kind),
        }
        let mut windows = seen[searched..].windows(DELIMITER.len());
        let found = windows.position(|window| *window == DELIMITER).map(|at| searched + at);
        match found {
            Some(at) if at <= MAX_PRELUDE => break at,
            None if seen.len() < MAX_PRELUDE + DELIMITER.len() => {}
            _ => {
                log::error!("[{name}] the prelude (status and headers) exceeds {MAX_PRELUDE} bytes");
                return failed(api.kind);
            }
        }
    };
    let rest = Bytes::from(seen.split_off(at + DELIMITER.len()));
    seen.truncate(at);
    match reply(api, Bytes::new(), Some(seen.into())) {
        Ok(reply) => head(reply.status, &reply.headers).streaming(Pieces { first: rest, rest: body }),
        Err(cause) => {
            log::error!("[{name}] Malformed Lambda proxy response: {cause}");
            failed(api.kind)
        }
    }
}

/// The body of a streamed response. A function that fails in the middle cuts it off.
struct Pieces {
    /// The data behind the prelude.
    first: Bytes,
    rest: mpsc::Receiver<Piece>,
}

impl Stream for Pieces {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if !self.first.is_empty() {
            return Poll::Ready(Some(Ok(std::mem::take(&mut self.first))));
        }
        Poll::Ready(match ready!(self.rest.poll_recv(context)) {
            Some(Piece::Data(data)) => Some(Ok(data)),
            Some(Piece::End(None)) => None,
            Some(Piece::End(Some(_))) | None => Some(Err(io::Error::other("the function failed"))),
        })
    }
}

/// The API's answer to a function that failed, or whose response is malformed.
fn failed(kind: ApiKind) -> HttpResponse {
    match kind {
        ApiKind::Rest => message(StatusCode::BAD_GATEWAY, "Internal server error"),
        ApiKind::Http => message(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"),
        ApiKind::FunctionUrl => with_request_ids(HttpResponse::build(StatusCode::BAD_GATEWAY))
            .content_type("text/plain")
            .body("Internal Server Error"),
    }
}

fn late(kind: ApiKind) -> HttpResponse {
    match kind {
        ApiKind::Rest => message(StatusCode::GATEWAY_TIMEOUT, "Endpoint request timed out"),
        ApiKind::Http => message(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable"),
        ApiKind::FunctionUrl => message(StatusCode::GATEWAY_TIMEOUT, "Gateway Timeout"),
    }
}

fn message(status: StatusCode, text: &str) -> HttpResponse {
    with_request_ids(HttpResponse::build(status))
        .insert_header(("x-amzn-errortype", "InternalServerErrorException"))
        .content_type("application/json")
        .body(json!({ "message": text }).to_string())
}
