//! The functions that Lambda calls by name, with any event.

use std::time::Duration;

use actix_web::web::Bytes;
use clap::ValueEnum;
use serde_json::{Value, json};

use super::{TEXT, gateway, hello, slow, streamed_body::StreamedBody};

/// A function; its name is the variant's in lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Function {
    /// Writes two words, then its process exits.
    Break,
    /// Returns the context object.
    Context,
    /// Returns the event as it is.
    Echo,
    Fail,
    /// Handles the events of an API Gateway: runs the function that the path names.
    Gateway,
    /// Greets the event's `name`.
    Hello,
    /// Returns a JSON string, which is no response for API Gateway.
    Malformed,
    /// Sleeps for the event's `milliseconds`.
    Slow,
    /// Writes a sentence word by word.
    Words,
}

/// The event and the context of a call.
#[derive(Debug)]
pub struct FunctionInput {
    pub event: Value,
    /// The event as received.
    pub raw: Bytes,
    pub request_id: String,
    /// The function's ARN with the qualifier of the call.
    pub arn: String,
    pub version: &'static str,
    pub client_context: Option<Value>,
    pub tenant_id: Option<String>,
    pub trace_id: String,
}

#[derive(Debug)]
pub enum FunctionResult {
    Returned(Bytes),
    /// With Lambda's error object.
    Failed(Value),
    Writes {
        /// Status, headers and cookies for an HTTP integration.
        prelude: Option<Value>,
        body: StreamedBody,
        /// The process exits after the last word.
        dies: bool,
    },
}

impl Function {
    pub fn named(name: &str) -> Option<Self> {
        Self::from_str(name, false).ok()
    }

    /// Runs the function, with `pause` between two words.
    pub async fn run(self, input: &FunctionInput, pause: Duration) -> FunctionResult {
        let event = &input.event;
        match self {
            Self::Break => writes(event, StreamedBody::words("Two words", pause), true),
            Self::Context => FunctionResult::Returned(context(input).to_string().into()),
            Self::Echo => FunctionResult::Returned(input.raw.clone()),
            Self::Fail => raised(input, "RuntimeError", "This function always fails."),
            Self::Gateway => match gateway::run(event, pause).await {
                Some(response) => FunctionResult::Returned(response.to_string().into()),
                None => raised(input, "ValueError", "The event is not an API Gateway's."),
            },
            Self::Hello => FunctionResult::Returned(hello(event["name"].as_str().unwrap_or_default()).into()),
            Self::Malformed => FunctionResult::Returned(Bytes::from_static(b"\"just text\"")),
            Self::Slow => {
                FunctionResult::Returned(Bytes::from_static(slow(milliseconds(event)).await.as_bytes()))
            }
            Self::Words => writes(event, StreamedBody::sentence(pause), false),
        }
    }
}

/// The event as the answer; as the body of a response for the event of an API Gateway.
pub fn returned(input: &FunctionInput) -> FunctionResult {
    if !gateway::is_event(&input.event) {
        return FunctionResult::Returned(input.raw.clone());
    }
    let answer = json!({
        "statusCode": 200,
        "headers": { "content-type": "application/json" },
        "body": String::from_utf8_lossy(&input.raw),
    });
    FunctionResult::Returned(answer.to_string().into())
}

/// Adds a prelude for the event of an API Gateway ("Response streaming for Lambda
/// proxy integrations", API Gateway developer guide).
fn writes(event: &Value, body: StreamedBody, dies: bool) -> FunctionResult {
    let prelude = gateway::is_event(event)
        .then(|| json!({ "statusCode": 200, "headers": { "content-type": TEXT }, "cookies": [] }));
    FunctionResult::Writes { prelude, body, dies }
}

/// The error of the Python runtime for an uncaught exception.
fn raised(input: &FunctionInput, kind: &str, message: &str) -> FunctionResult {
    let line = format!(
        "  File \"/var/task/function.py\", line 2, in handler\n    raise {kind}({})\n",
        Value::from(message)
    );
    FunctionResult::Failed(json!({
        "errorMessage": message,
        "errorType": kind,
        "requestId": input.request_id,
        "stackTrace": [line],
    }))
}

fn context(input: &FunctionInput) -> Value {
    json!({
        "aws_request_id": input.request_id,
        "invoked_function_arn": input.arn,
        "function_version": input.version,
        "client_context": input.client_context,
        "tenant_id": input.tenant_id,
    })
}

/// A number, or a text, as from a query.
fn milliseconds(event: &Value) -> u64 {
    let given = &event["milliseconds"];
    given.as_u64().or_else(|| given.as_str()?.parse().ok()).unwrap_or_default()
}
