//! The error responses of API Gateway, with status, `x-amzn-ErrorType` and body as a REST API sends them by
//! default (docs.aws.amazon.com, "Gateway response types"), and the ids in the responses of all services.

use actix_web::{
    HttpResponse, HttpResponseBuilder,
    http::{StatusCode, header::HeaderMap},
};
use serde_json::json;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GatewayError {
    /// A missing or unknown API key, or an unknown stage.
    Forbidden,
    /// A request without `Authorization` to a stage that requires it.
    MissingAuthenticationToken,
    /// An `Authorization` that cannot be parsed, with AWS's explanation.
    IncompleteSignature(String),
    /// An unknown access key id, or the session token of other keys.
    UnrecognizedClient,
    /// Temporary keys past their expiry.
    ExpiredToken,
    /// A wrong signature, with AWS's explanation.
    InvalidSignature(String),
    /// A body of more than 10 MiB.
    RequestTooLarge,
}

impl GatewayError {
    pub fn answer(&self) -> HttpResponse {
        let (status, kind, message) = self.parts();
        with_request_ids(HttpResponse::build(status))
            .insert_header(("x-amzn-errortype", kind))
            .content_type("application/json")
            .body(json!({ "message": message }).to_string())
    }

    /// Status, error type and message. Lambda has the same for wrong signatures, STS the same messages.
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

/// Adds the ids of a REST API's responses.
pub fn with_request_ids(mut builder: HttpResponseBuilder) -> HttpResponseBuilder {
    builder
        .insert_header(("x-amzn-requestid", request_id()))
        .insert_header(("x-amz-apigw-id", format!("{:015x}=", fastrand::u64(..) >> 4)))
        .insert_header(("x-amzn-trace-id", trace_id()));
    builder
}

/// The trace id of a request, or a new one.
pub fn trace_of(headers: &HeaderMap) -> String {
    let given = headers.get("x-amzn-trace-id").and_then(|id| id.to_str().ok());
    given.map_or_else(trace_id, str::to_owned)
}

/// A request id: a random UUID (RFC 9562, version 4).
pub fn request_id() -> String {
    const VERSION: u128 = 0x4 << 76;
    const VARIANT: u128 = 0x2 << 62;
    let random = fastrand::u128(..) & !(0xf << 76) & !(0x3 << 62);
    let id = format!("{:032x}", random | VERSION | VARIANT);
    format!("{}-{}-{}-{}-{}", &id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..])
}

/// An X-Ray trace id.
pub fn trace_id() -> String {
    format!("Root=1-{:08x}-{:024x};Sampled=0", fastrand::u32(..), fastrand::u128(..) >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_id_is_a_random_uuid() {
        let id = request_id();
        let lengths: Vec<usize> = id.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12], "{id}");
        assert_eq!(&id[14..15], "4", "{id}");
        assert!("89ab".contains(&id[19..20]), "{id}");
        assert_ne!(id, request_id());
    }

    #[test]
    fn a_trace_id_has_the_form_of_x_ray() {
        let id = trace_id();
        let root = id.strip_prefix("Root=1-").and_then(|id| id.strip_suffix(";Sampled=0")).unwrap();
        let lengths: Vec<usize> = root.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 24], "{id}");
    }
}
