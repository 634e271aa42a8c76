//! What API Gateway says when it refuses a call: status, `x-amzn-ErrorType` and body as a REST API sends them
//! by default (docs.aws.amazon.com, "Gateway response types").

use actix_web::{HttpResponse, HttpResponseBuilder, http::StatusCode};
use serde_json::json;

use super::ids;

/// A refusal of the stand-in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// API key missing or unknown, or a stage that is not there.
    Forbidden,
    /// No `Authorization` where one is demanded.
    MissingAuthenticationToken,
    /// An `Authorization` that cannot be read, with what is missing.
    IncompleteSignature(String),
    /// An access key id that nobody has, or a session token that does not belong to it.
    UnrecognizedClient,
    /// Temporary keys that have ended.
    ExpiredToken,
    /// A signature that does not fit, with AWS's explanation.
    InvalidSignature(String),
    /// More than 10 MiB.
    RequestTooLarge,
}

impl Refusal {
    pub fn answer(&self) -> HttpResponse {
        let (status, kind, message) = self.parts();
        with_request_ids(HttpResponse::build(status))
            .insert_header(("x-amzn-errortype", kind))
            .content_type("application/json")
            .body(json!({ "message": message }).to_string())
    }

    /// Status, kind and message: Lambda says the same of a wrong signature, STS the same words.
    pub fn parts(&self) -> (StatusCode, &'static str, &str) {
        let (kind, message) = match self {
            Self::Forbidden => ("ForbiddenException", "Forbidden"),
            Self::MissingAuthenticationToken => {
                ("MissingAuthenticationTokenException", "Missing Authentication Token")
            }
            Self::IncompleteSignature(message) => ("IncompleteSignatureException", &**message),
            Self::UnrecognizedClient => {
                ("UnrecognizedClientException", "The security token included in the request is invalid.")
            }
            Self::ExpiredToken => {
                ("ExpiredTokenException", "The security token included in the request is expired")
            }
            Self::InvalidSignature(message) => ("InvalidSignatureException", &**message),
            Self::RequestTooLarge => {
                return (StatusCode::PAYLOAD_TOO_LARGE, "RequestTooLargeException", "Request Too Long");
            }
        };
        (StatusCode::FORBIDDEN, kind, message)
    }
}

/// Adds the ids that every answer of a REST API carries.
pub fn with_request_ids(mut builder: HttpResponseBuilder) -> HttpResponseBuilder {
    builder
        .insert_header(("x-amzn-requestid", ids::request_id()))
        .insert_header(("x-amz-apigw-id", format!("{:015x}=", fastrand::u64(..) >> 4)))
        .insert_header(("x-amzn-trace-id", ids::trace_id()));
    builder
}
