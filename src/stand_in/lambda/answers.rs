//! The errors of the Lambda API, and the ids in its responses.
//!
//! Status, `x-amzn-ErrorType` and body are those of the errors of "Invoke" in the Lambda API reference; the
//! message's name, `Message` or `message`, differs from error to error there too.

use actix_web::{HttpResponse, HttpResponseBuilder, http::StatusCode};
use serde_json::{Value, json};

use crate::stand_in::answers::{GatewayError, trace_id};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LambdaError {
    Signature(GatewayError),
    /// A function of another account, with its ARN.
    AccessDenied(String),
    /// Headers that only a VPC endpoint may set.
    ReservedHeaders,
    /// An invalid parameter, with AWS's explanation.
    Validation(String),
    /// Conflicting parameters, with AWS's explanation.
    InvalidParameterValue(String),
    /// A body or a header that cannot be parsed, with AWS's explanation.
    InvalidRequestContent(String),
    /// An unknown function, version or alias, with AWS's explanation.
    FunctionNotFound(String),
    /// An event over the limit, with AWS's explanation.
    TooLarge(String),
    /// A `Content-Type` other than JSON.
    UnsupportedMediaType(String),
    /// An unknown path or method.
    UnknownOperation,
}

impl LambdaError {
    /// A parameter's value that the API's model does not allow.
    pub fn constraint(value: &str, parameter: &str) -> Self {
        Self::Validation(format!(
            "1 validation error detected: Value '{value}' at '{parameter}' failed to satisfy constraint"
        ))
    }

    /// An event of more than `limit` bytes.
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
            Self::Signature(error) => {
                let (status, kind, message) = error.parts();
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

/// Starts a response with the ids of this API.
pub fn with_ids(status: StatusCode, request_id: &str) -> HttpResponseBuilder {
    let mut answer = HttpResponse::build(status);
    answer
        .insert_header(("x-amzn-RequestId", request_id))
        .insert_header(("X-Amzn-Trace-Id", trace_id()))
        .insert_header(("x-amzn-Remapped-Content-Length", "0"));
    answer
}
