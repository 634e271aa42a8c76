//! A request to the Lambda API, checked in the order in which AWS does it: is there such an operation, may the
//! caller, which function, is the event one (the pages of both operations in the Lambda API reference).

use actix_web::{
    http::{Method, header},
    web::Bytes,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use super::{answers::Refusal, name::FunctionTarget};
use crate::stand_in::{
    account::Account,
    functions::{
        ReceivedRequest,
        by_event::{Function, Invoked},
    },
};

/// "Quotas": the event of a call that waits for the answer.
pub const MAX_EVENT: usize = 6_291_456;
/// The same for one that is queued.
const MAX_QUEUED_EVENT: usize = 1_048_576;
/// "Up to 3,583 bytes of base64-encoded data."
const MAX_CLIENT_CONTEXT: usize = 3583;
/// Headers by which a VPC endpoint tells Lambda who calls.
const RESERVED: [&str; 5] =
    ["x-amzn-cipher-suite", "x-amzn-tls-version", "x-amzn-vpc-id", "x-amzn-vpce-config", "x-amzn-vpce-id"];

/// Which of the two operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// `Invoke`.
    Buffered,
    /// `InvokeWithResponseStream`.
    ResponseStream,
}

/// `X-Amz-Invocation-Type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvocationKind {
    /// Run it and wait.
    RequestResponse,
    /// Queue the event.
    Event,
    /// Only check the call.
    DryRun,
}

/// A call of a function.
#[derive(Debug)]
pub struct Invocation {
    pub function: Function,
    /// What it is called with.
    pub invoked: Invoked,
    /// How its answer is sent.
    pub mode: Mode,
    /// What the API is asked to do.
    pub kind: InvocationKind,
    /// Whether the end of the log is wanted.
    pub tail: bool,
}

impl Mode {
    /// The operation that an API's version, the first segment of a path, has.
    pub fn of_version(version: &str) -> Option<Self> {
        match version {
            "2015-03-31" => Some(Self::Buffered),
            "2021-11-15" => Some(Self::ResponseStream),
            _ => None,
        }
    }

    /// The operation and the segment that names the function.
    fn of(call: &ReceivedRequest) -> Option<(Self, &str)> {
        let segments: Vec<&str> = call.path.split('/').collect();
        let ["", version, "functions", name, operation] = segments[..] else { return None };
        let mode = Self::of_version(version)?;
        let own = match mode {
            Self::Buffered => "invocations",
            Self::ResponseStream => "response-streaming-invocations",
        };
        (operation == own && call.method == Method::POST).then_some((mode, name))
    }
}

impl Invocation {
    /// Checks a request.
    ///
    /// # Errors
    /// What AWS would refuse it for.
    pub fn admit(call: &ReceivedRequest, account: &Account, request_id: &str) -> Result<Self, Refusal> {
        let (mode, name) = Mode::of(call).ok_or(Refusal::UnknownOperation)?;
        check_caller(call, account)?;
        let mut query = form_urlencoded::parse(call.query.as_bytes());
        let qualifier = query.find(|(name, _)| name == "Qualifier").map(|(_, value)| value);
        let FunctionTarget { function, arn, version } =
            FunctionTarget::find(name, qualifier.as_deref(), &account.options.keys.region)?;
        let kind = kind(call, mode)?;
        let tail = tail(call)?;
        let (raw, event) = event(call, kind)?;
        let invoked = Invoked {
            event,
            raw,
            request_id: request_id.to_owned(),
            arn,
            version,
            client_context: client_context(call)?,
            tenant_id: text(call, "x-amz-tenant-id"),
        };
        Ok(Self { function, invoked, mode, kind, tail })
    }
}

fn text(call: &ReceivedRequest, name: &str) -> Option<String> {
    call.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// Reserved headers are refused whoever calls; then the signature counts.
fn check_caller(call: &ReceivedRequest, account: &Account) -> Result<(), Refusal> {
    if RESERVED.iter().any(|name| call.headers.contains_key(*name)) {
        return Err(Refusal::ReservedHeaders);
    }
    account.caller(call, "lambda").map(drop).map_err(Refusal::Signature)
}

fn kind(call: &ReceivedRequest, mode: Mode) -> Result<InvocationKind, Refusal> {
    match (text(call, "x-amz-invocation-type").as_deref(), mode) {
        (None | Some("RequestResponse"), _) => Ok(InvocationKind::RequestResponse),
        (Some("DryRun"), _) => Ok(InvocationKind::DryRun),
        (Some("Event"), Mode::Buffered) => Ok(InvocationKind::Event),
        (Some(other), _) => Err(Refusal::constraint(other, "invocationType")),
    }
}

fn tail(call: &ReceivedRequest) -> Result<bool, Refusal> {
    match text(call, "x-amz-log-type").as_deref() {
        None | Some("None") => Ok(false),
        Some("Tail") => Ok(true),
        Some(other) => Err(Refusal::constraint(other, "logType")),
    }
}

/// The event as it was sent and as it is read. None at all is an empty object to the function.
fn event(call: &ReceivedRequest, kind: InvocationKind) -> Result<(Bytes, Value), Refusal> {
    if let Some(given) = text(call, header::CONTENT_TYPE.as_str()) {
        let media_type = given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        // AWS's own SDKs call bytes bytes
        if media_type != "application/json" && media_type != "application/octet-stream" {
            return Err(Refusal::UnsupportedMediaType(given));
        }
    }
    let size = call.body.len();
    if kind == InvocationKind::Event && size > MAX_QUEUED_EVENT {
        return Err(Refusal::TooLarge(format!(
            "{size} byte payload is too large for the Event invocation type (limit {MAX_QUEUED_EVENT} bytes)"
        )));
    }
    if size > MAX_EVENT {
        return Err(Refusal::over(MAX_EVENT));
    }
    if call.body.is_empty() {
        return Ok((Bytes::from_static(b"{}"), json!({})));
    }
    let event = serde_json::from_slice(&call.body).map_err(|error| {
        Refusal::InvalidRequestContent(format!(
            "Could not parse request body into json: Could not parse payload into json: {error}"
        ))
    })?;
    Ok((call.body.clone(), event))
}

fn client_context(call: &ReceivedRequest) -> Result<Option<Value>, Refusal> {
    let Some(encoded) = text(call, "x-amz-client-context") else { return Ok(None) };
    let decoded = BASE64_STANDARD.decode(&encoded).ok().filter(|_| encoded.len() <= MAX_CLIENT_CONTEXT);
    let context: Option<Value> = decoded.and_then(|json| serde_json::from_slice(&json).ok());
    context.filter(Value::is_object).map(Some).ok_or_else(|| {
        Refusal::InvalidRequestContent("Client context must be a valid Base64-encoded JSON object.".into())
    })
}
