//! What the Lambda API says besides a function's answer: the ids of every call, and its refusals.
//!
//! Status, `x-amzn-ErrorType` and body are those of the errors of "Invoke" in the Lambda API reference; where
//! the message is `Message` and where `message` differs from error to error there too.

use actix_web::{HttpResponse, HttpResponseBuilder, http::StatusCode};
use serde_json::{Value, json};

use crate::stand_in::{answers, ids};

/// A refusal of the Lambda API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The signature does not do.
    Signature(answers::Refusal),
    /// A function of another account, by its ARN.
    AccessDenied(String),
    /// Headers that only a VPC endpoint may add.
    ReservedHeaders,
    /// A parameter that breaks the API's model, with AWS's explanation.
    Validation(String),
    /// Parameters that do not go together, with AWS's explanation.
    InvalidParameterValue(String),
    /// A body or a header that cannot be read, with AWS's explanation.
    InvalidRequestContent(String),
    /// No such function, version or alias, with AWS's explanation.
    FunctionNotFound(String),
    /// An event over its limit, with AWS's explanation.
    TooLarge(String),
    /// A body that is said to be no JSON.
    UnsupportedMediaType(String),
    /// A path or a method that the API does not have.
    UnknownOperation,
}

impl Refusal {
    /// A value that a parameter of the API's model cannot have.
    pub fn constraint(value: &str, parameter: &str) -> Self {
        Self::Validation(format!(
            "1 validation error detected: Value '{value}' at '{parameter}' failed to satisfy constraint"
        ))
    }

    /// An event of more than this many bytes.
    pub fn over(limit: usize) -> Self {
        Self::TooLarge(format!("Request must be smaller than {limit} bytes for the InvokeFunction operation"))
    }

    pub fn answer(&self, request_id: &str) -> HttpResponse {
        let (status, kind, body) = self.parts();
        with_ids(status, request_id)
            .insert_header(("x-amzn-ErrorType", kind))
            .content_type("application/json")
            .body(body.to_string())
    }

    fn parts(&self) -> (StatusCode, &'static str, Value) {
        let user = |message: &str| json!({ "Type": "User", "message": message });
        match self {
            Self::Signature(refusal) => {
                let (status, kind, message) = refusal.parts();
                (status, kind, json!({ "message": message }))
            }
            Self::AccessDenied(arn) => {
                let message = format!(
                    "User: arn:aws:iam::123456789012:user/dev is not authorized to perform: \
                     lambda:InvokeFunction on resource: {arn} because no resource-based policy allows the \
                     lambda:InvokeFunction action"
                );
                (StatusCode::FORBIDDEN, "AccessDeniedException", json!({ "Message": message }))
            }
            Self::ReservedHeaders => {
                let message = "The request includes reserved HTTP headers. Reserved headers are required \
                               only for Lambda private link requests.";
                (StatusCode::FORBIDDEN, "AccessDeniedException", json!({ "Message": message }))
            }
            Self::Validation(message) => {
                (StatusCode::BAD_REQUEST, "ValidationException", json!({ "message": message }))
            }
            Self::InvalidParameterValue(message) => {
                (StatusCode::BAD_REQUEST, "InvalidParameterValueException", user(message))
            }
            Self::InvalidRequestContent(message) => {
                (StatusCode::BAD_REQUEST, "InvalidRequestContentException", user(message))
            }
            Self::FunctionNotFound(message) => {
                let body = json!({ "Type": "User", "Message": message });
                (StatusCode::NOT_FOUND, "ResourceNotFoundException", body)
            }
            Self::TooLarge(message) => {
                (StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLargeException", user(message))
            }
            Self::UnsupportedMediaType(given) => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "UnsupportedMediaTypeException",
                user(&format!("Unsupported content type: {given}")),
            ),
            Self::UnknownOperation => {
                (StatusCode::NOT_FOUND, "UnknownOperationException", json!({ "message": null }))
            }
        }
    }
}

/// Adds what every answer of this API carries.
pub fn with_ids(status: StatusCode, request_id: &str) -> HttpResponseBuilder {
    let mut answer = HttpResponse::build(status);
    answer
        .insert_header(("x-amzn-RequestId", request_id))
        .insert_header(("X-Amzn-Trace-Id", ids::trace_id()))
        .insert_header(("x-amzn-Remapped-Content-Length", "0"));
    answer
}
