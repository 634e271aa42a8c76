//! Checks of a request to the Lambda API, in AWS's order: the operation, the caller's signature, the
//! function, the event (the pages of both operations in the Lambda API reference).

use actix_web::{
    http::{Method, header},
    web::Bytes,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use super::{
    answers::LambdaError,
    name::{Callee, FunctionTarget, KnownFunctions},
};
use crate::stand_in::{
    account::Account,
    answers::trace_of,
    functions::{ReceivedRequest, by_event::FunctionInput},
    played::PlayedLambda,
};

/// "Quotas": the event of a synchronous call.
pub const MAX_EVENT: usize = 6_291_456;
/// The event of an asynchronous call.
const MAX_QUEUED_EVENT: usize = 1_048_576;
/// "Up to 3,583 bytes of base64-encoded data."
const MAX_CLIENT_CONTEXT: usize = 3583;
/// Headers that a VPC endpoint sets to identify the caller.
const RESERVED: [&str; 5] =
    ["x-amzn-cipher-suite", "x-amzn-tls-version", "x-amzn-vpc-id", "x-amzn-vpce-config", "x-amzn-vpce-id"];

/// The operation.
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
    /// Runs the function and waits.
    RequestResponse,
    /// Queues the event.
    Event,
    /// Only checks the call.
    DryRun,
}

#[derive(Debug)]
pub struct Invocation {
    pub callee: Callee,
    pub input: FunctionInput,
    pub mode: Mode,
    pub kind: InvocationKind,
    /// The response includes the end of the log.
    pub tail: bool,
}

/// The API version of each operation, and the operation's path segment.
pub const OPERATIONS: [(&str, &str, Mode); 2] = [
    ("2015-03-31", "invocations", Mode::Buffered),
    ("2021-11-15", "response-streaming-invocations", Mode::ResponseStream),
];

impl Mode {
    /// The operation, and the path segment with the function's name.
    fn of(call: &ReceivedRequest) -> Option<(Self, &str)> {
        let segments: Vec<&str> = call.path.split('/').collect();
        let ["", version, "functions", name, operation] = segments[..] else { return None };
        let mut operations = OPERATIONS.into_iter().filter(|_| call.method == Method::POST);
        let (.., mode) = operations.find(|(own, segment, _)| (*own, *segment) == (version, operation))?;
        Some((mode, name))
    }
}

impl Invocation {
    /// Checks a request to the Lambda API of the stand-in, or to the one that it plays.
    ///
    /// # Errors
    /// AWS's refusal.
    pub fn admit(
        call: &ReceivedRequest,
        account: &Account,
        played: Option<&PlayedLambda>,
        request_id: &str,
    ) -> Result<Self, LambdaError> {
        let (mode, name) = Mode::of(call).ok_or(LambdaError::UnknownOperation)?;
        check_caller(call, account, played)?;
        let mut query = form_urlencoded::parse(call.query.as_bytes());
        let qualifier = query.find(|(name, _)| name == "Qualifier").map(|(_, value)| value);
        let known = KnownFunctions {
            region: played.map_or(&account.options.keys.region, |lambda| &lambda.region),
            local: account.options.functions.as_ref(),
            has_all: played.is_some(),
        };
        let FunctionTarget { callee, arn, version } =
            FunctionTarget::find(name, qualifier.as_deref(), known)?;
        let kind = kind(call, mode)?;
        let tail = tail(call)?;
        let (raw, event) = event(call, kind)?;
        let input = FunctionInput {
            event,
            raw,
            request_id: request_id.to_owned(),
            arn,
            version,
            client_context: client_context(call)?,
            tenant_id: text(call, "x-amz-tenant-id"),
            trace_id: trace_of(&call.headers),
        };
        Ok(Self { callee, input, mode, kind, tail })
    }
}

fn text(call: &ReceivedRequest, name: &str) -> Option<String> {
    call.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// Refuses reserved headers before it verifies the signature.
fn check_caller(
    call: &ReceivedRequest,
    account: &Account,
    played: Option<&PlayedLambda>,
) -> Result<(), LambdaError> {
    if RESERVED.iter().any(|name| call.headers.contains_key(*name)) {
        return Err(LambdaError::ReservedHeaders);
    }
    let caller = match played {
        Some(lambda) if !lambda.requires_signature => return Ok(()),
        Some(lambda) => account.caller_in(call, "lambda", &lambda.region),
        None => account.caller(call, "lambda"),
    };
    caller.map(drop).map_err(LambdaError::Signature)
}

fn kind(call: &ReceivedRequest, mode: Mode) -> Result<InvocationKind, LambdaError> {
    match (text(call, "x-amz-invocation-type").as_deref(), mode) {
        (None | Some("RequestResponse"), _) => Ok(InvocationKind::RequestResponse),
        (Some("DryRun"), _) => Ok(InvocationKind::DryRun),
        (Some("Event"), Mode::Buffered) => Ok(InvocationKind::Event),
        (Some(other), _) => Err(LambdaError::constraint(other, "invocationType")),
    }
}

fn tail(call: &ReceivedRequest) -> Result<bool, LambdaError> {
    match text(call, "x-amz-log-type").as_deref() {
        None | Some("None") => Ok(false),
        Some("Tail") => Ok(true),
        Some(other) => Err(LambdaError::constraint(other, "logType")),
    }
}

/// The event raw and parsed. Without a body the function gets an empty object.
fn event(call: &ReceivedRequest, kind: InvocationKind) -> Result<(Bytes, Value), LambdaError> {
    if let Some(given) = text(call, header::CONTENT_TYPE.as_str()) {
        let media_type = given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        // AWS's SDKs send application/octet-stream
        if media_type != "application/json" && media_type != "application/octet-stream" {
            return Err(LambdaError::UnsupportedMediaType(given));
        }
    }
    let size = call.body.len();
    if kind == InvocationKind::Event && size > MAX_QUEUED_EVENT {
        return Err(LambdaError::TooLarge(format!(
            "{size} byte payload is too large for the Event invocation type (limit {MAX_QUEUED_EVENT} bytes)"
        )));
    }
    if size > MAX_EVENT {
        return Err(LambdaError::over(MAX_EVENT));
    }
    if call.body.is_empty() {
        return Ok((Bytes::from_static(b"{}"), json!({})));
    }
    let event = serde_json::from_slice(&call.body).map_err(|error| {
        LambdaError::InvalidRequestContent(format!(
            "Could not parse request body into json: Could not parse payload into json: {error}"
        ))
    })?;
    Ok((call.body.clone(), event))
}

fn client_context(call: &ReceivedRequest) -> Result<Option<Value>, LambdaError> {
    let Some(encoded) = text(call, "x-amz-client-context") else { return Ok(None) };
    let decoded = BASE64_STANDARD.decode(&encoded).ok().filter(|_| encoded.len() <= MAX_CLIENT_CONTEXT);
    let context: Option<Value> = decoded.and_then(|json| serde_json::from_slice(&json).ok());
    context.filter(Value::is_object).map(Some).ok_or_else(|| {
        LambdaError::InvalidRequestContent(
            "Client context must be a valid Base64-encoded JSON object.".into(),
        )
    })
}
