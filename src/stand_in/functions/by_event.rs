//! The functions that Lambda calls: by name, with any event. `lambda.rs` turns what comes of them into an
//! answer of either Invoke API.

use std::time::Duration;

use actix_web::web::Bytes;
use serde_json::{Value, json};

use super::{TEXT, gateway, hello, slow, written::Written};

/// A function by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    /// Writes two words and ends as if its process had died.
    Break,
    /// Returns what Lambda tells a function besides the event.
    Context,
    /// Returns the event as it is.
    Echo,
    Fail,
    /// Takes the events of an API Gateway and runs the function that the path names.
    Gateway,
    /// Greets the event's `name`.
    Hello,
    /// Returns a bare text, which is JSON but no answer for API Gateway.
    Malformed,
    /// Takes as long as the event's `milliseconds` say.
    Slow,
    /// Writes a sentence word by word.
    Words,
}

/// What a function is called with.
#[derive(Debug)]
pub struct Invoked {
    pub event: Value,
    /// The event as it was sent.
    pub raw: Bytes,
    pub request_id: String,
    /// The function's ARN, with the qualifier that it was called by.
    pub arn: String,
    /// The version that runs.
    pub version: &'static str,
    pub client_context: Option<Value>,
    pub tenant_id: Option<String>,
}

/// What comes of a function.
#[derive(Debug)]
pub enum Outcome {
    Returned(Bytes),
    /// It failed, with what Lambda says of that.
    Failed(Value),
    Writes {
        /// For an HTTP integration: status, headers and cookies, as the prelude of the stream.
        prelude: Option<Value>,
        body: Written,
        /// Whether its process dies after the last word.
        dies: bool,
    },
}

impl Function {
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "break" => Self::Break,
            "context" => Self::Context,
            "echo" => Self::Echo,
            "fail" => Self::Fail,
            "gateway" => Self::Gateway,
            "hello" => Self::Hello,
            "malformed" => Self::Malformed,
            "slow" => Self::Slow,
            "words" => Self::Words,
            _ => return None,
        })
    }

    /// Runs it; `pause` is the time between two words.
    pub async fn run(self, invoked: &Invoked, pause: Duration) -> Outcome {
        let event = &invoked.event;
        match self {
            Self::Break => writes(event, Written::words("Two words", pause), true),
            Self::Context => Outcome::Returned(context(invoked).to_string().into()),
            Self::Echo => Outcome::Returned(invoked.raw.clone()),
            Self::Fail => raised(invoked, "RuntimeError", "This function always fails."),
            Self::Gateway => match gateway::run(event, pause).await {
                Some(response) => Outcome::Returned(response.to_string().into()),
                None => raised(invoked, "ValueError", "The event is not an API Gateway's."),
            },
            Self::Hello => Outcome::Returned(hello(event["name"].as_str().unwrap_or_default()).into()),
            Self::Malformed => Outcome::Returned(Bytes::from_static(b"\"just text\"")),
            Self::Slow => Outcome::Returned(Bytes::from_static(slow(milliseconds(event)).await.as_bytes())),
            Self::Words => writes(event, Written::sentence(pause), false),
        }
    }
}

/// A prelude goes before the words when they are for a client of an API ("Response streaming for Lambda
/// proxy integrations", API Gateway developer guide).
fn writes(event: &Value, body: Written, dies: bool) -> Outcome {
    let prelude = gateway::is_event(event)
        .then(|| json!({ "statusCode": 200, "headers": { "content-type": TEXT }, "cookies": [] }));
    Outcome::Writes { prelude, body, dies }
}

/// What the runtime for Python sends of an error that the function did not catch.
fn raised(invoked: &Invoked, kind: &str, message: &str) -> Outcome {
    let line = format!(
        "  File \"/var/task/function.py\", line 2, in handler\n    raise {kind}({})\n",
        Value::from(message)
    );
    Outcome::Failed(json!({
        "errorMessage": message,
        "errorType": kind,
        "requestId": invoked.request_id,
        "stackTrace": [line],
    }))
}

fn context(invoked: &Invoked) -> Value {
    json!({
        "aws_request_id": invoked.request_id,
        "invoked_function_arn": invoked.arn,
        "function_version": invoked.version,
        "client_context": invoked.client_context,
        "tenant_id": invoked.tenant_id,
    })
}

/// As a number, or as the text that a query makes of it.
fn milliseconds(event: &Value) -> u64 {
    let given = &event["milliseconds"];
    given.as_u64().or_else(|| given.as_str()?.parse().ok()).unwrap_or_default()
}
