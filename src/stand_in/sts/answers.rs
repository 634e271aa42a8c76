//! The responses of STS in XML.
//!
//! Codes, statuses and messages are those of "Common Errors" and of each operation's "Errors" in the STS API
//! reference.

use actix_web::{HttpResponse, http::StatusCode};

use crate::stand_in::answers::GatewayError;

const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StsError {
    Signature(GatewayError),
    /// The role does not trust the caller, with AWS's explanation.
    AccessDenied(String),
    /// The web identity token is not in the token's file.
    InvalidIdentityToken,
    ExpiredIdentityToken,
    /// An invalid parameter, with AWS's explanation.
    Validation(String),
    Throttling,
    /// An unknown operation.
    InvalidAction,
}

/// An element with escaped text.
pub fn text(name: &str, text: &str) -> String {
    parent(name, &text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;"))
}

/// An element around other elements.
pub fn parent(name: &str, elements: &str) -> String {
    format!("<{name}>{elements}</{name}>")
}

/// The response of a successful operation.
pub fn success(action: &str, result: &str, request_id: &str) -> HttpResponse {
    let metadata = parent("ResponseMetadata", &text("RequestId", request_id));
    let inside = parent(&format!("{action}Result"), result) + &metadata;
    sent(StatusCode::OK, &format!("{action}Response"), &inside, request_id)
}

fn sent(status: StatusCode, root: &str, inside: &str, request_id: &str) -> HttpResponse {
    HttpResponse::build(status)
        .insert_header(("x-amzn-RequestId", request_id))
        .content_type("text/xml")
        .body(format!("<{root} xmlns=\"{NAMESPACE}\">{inside}</{root}>"))
}

impl StsError {
    /// A parameter's value that the API's model does not allow.
    pub fn constraint(value: Option<&str>, parameter: &str, constraint: &str) -> Self {
        let value = value.map_or_else(|| "null".to_owned(), |value| format!("'{value}'"));
        Self::Validation(format!(
            "1 validation error detected: Value {value} at '{parameter}' failed to satisfy constraint: \
             {constraint}"
        ))
    }

    pub fn answer(&self, request_id: &str) -> HttpResponse {
        let (status, code, message) = self.parts();
        let error = [text("Type", "Sender"), text("Code", code), text("Message", message)].concat();
        let inside = parent("Error", &error) + &text("RequestId", request_id);
        sent(status, "ErrorResponse", &inside, request_id)
    }

    fn parts(&self) -> (StatusCode, &'static str, &str) {
        let (code, message) = match self {
            Self::Signature(error) => return of_signature(error),
            Self::AccessDenied(message) => return (StatusCode::FORBIDDEN, "AccessDenied", message),
            Self::InvalidIdentityToken => (
                "InvalidIdentityToken",
                "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access \
                 Token)",
            ),
            Self::ExpiredIdentityToken => (
                "ExpiredTokenException",
                "Token expired: the current date/time must be before the expiration date/time",
            ),
            Self::Validation(message) => ("ValidationError", &**message),
            Self::Throttling => ("Throttling", "Rate exceeded"),
            Self::InvalidAction => ("InvalidAction", "Could not find operation for version 2011-06-15"),
        };
        (StatusCode::BAD_REQUEST, code, message)
    }
}

/// STS's code for the signature errors of API Gateway and Lambda.
fn of_signature(error: &GatewayError) -> (StatusCode, &'static str, &str) {
    let (status, kind, message) = error.parts();
    let code = match error {
        GatewayError::MissingAuthenticationToken => "MissingAuthenticationToken",
        GatewayError::IncompleteSignature(_) => "IncompleteSignature",
        GatewayError::UnrecognizedClient => "InvalidClientTokenId",
        GatewayError::ExpiredToken => "ExpiredToken",
        GatewayError::InvalidSignature(_) => "SignatureDoesNotMatch",
        GatewayError::Forbidden | GatewayError::RequestTooLarge => kind,
    };
    (status, code, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_break_out_of_its_element() {
        assert_eq!(parent("A", &text("B", "<&>")), "<A><B>&lt;&amp;&gt;</B></A>");
    }
}
