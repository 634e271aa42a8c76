//! What STS says: results and refusals in XML.
//!
//! Codes, statuses and words are those of "Common Errors" and of each operation's "Errors" in the STS API
//! reference.

use std::fmt::{self, Write as _};

use actix_web::{HttpResponse, http::StatusCode};

use crate::stand_in::answers;

const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The signature does not do.
    Signature(answers::Refusal),
    /// The role does not trust the caller, with AWS's explanation.
    AccessDenied(String),
    /// The web identity token is none that anybody vouches for.
    InvalidIdentityToken,
    /// The web identity token has ended.
    ExpiredIdentityToken,
    /// A parameter that breaks the API's model, with AWS's explanation.
    Validation(String),
    Throttling,
    /// An operation that the API does not have.
    InvalidAction,
}

/// An element of an answer.
#[derive(Debug)]
pub struct Element {
    name: &'static str,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Text(String),
    Elements(Vec<Element>),
}

impl Element {
    pub fn text(name: &'static str, text: impl Into<String>) -> Self {
        Self { name, content: Content::Text(text.into()) }
    }

    /// One with others in it.
    pub fn parent(name: &'static str, elements: Vec<Self>) -> Self {
        Self { name, content: Content::Elements(elements) }
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", self.name)?;
        match &self.content {
            Content::Text(text) => f.write_str(&escaped(text))?,
            Content::Elements(elements) => elements.iter().try_for_each(|element| element.fmt(f))?,
        }
        write!(f, "</{}>", self.name)
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The answer of an operation that went well.
pub fn success(action: &str, result: Vec<Element>, request_id: &str) -> HttpResponse {
    let metadata = Element::parent("ResponseMetadata", vec![Element::text("RequestId", request_id)]);
    let mut inside = format!("<{action}Result>");
    for element in result {
        let _ = write!(inside, "{element}");
    }
    let _ = write!(inside, "</{action}Result>{metadata}");
    sent(StatusCode::OK, &format!("{action}Response"), &inside, request_id)
}

fn sent(status: StatusCode, root: &str, inside: &str, request_id: &str) -> HttpResponse {
    HttpResponse::build(status)
        .insert_header(("x-amzn-RequestId", request_id))
        .content_type("text/xml")
        .body(format!("<{root} xmlns=\"{NAMESPACE}\">{inside}</{root}>"))
}

impl Refusal {
    /// A value that a parameter of the API's model cannot have.
    pub fn constraint(value: Option<&str>, parameter: &str, constraint: &str) -> Self {
        let value = value.map_or_else(|| "null".to_owned(), |value| format!("'{value}'"));
        Self::Validation(format!(
            "1 validation error detected: Value {value} at '{parameter}' failed to satisfy constraint: {constraint}"
        ))
    }

    pub fn answer(&self, request_id: &str) -> HttpResponse {
        let (status, code, message) = self.parts();
        let error = Element::parent(
            "Error",
            vec![
                Element::text("Type", "Sender"),
                Element::text("Code", code),
                Element::text("Message", message),
            ],
        );
        let inside = format!("{error}{}", Element::text("RequestId", request_id));
        sent(status, "ErrorResponse", &inside, request_id)
    }

    fn parts(&self) -> (StatusCode, &'static str, &str) {
        let (code, message) = match self {
            Self::Signature(refusal) => return of_signature(refusal),
            Self::AccessDenied(message) => return (StatusCode::FORBIDDEN, "AccessDenied", message),
            Self::InvalidIdentityToken => (
                "InvalidIdentityToken",
                "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)",
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

/// STS has its own names for what API Gateway and Lambda say of a signature.
fn of_signature(refusal: &answers::Refusal) -> (StatusCode, &'static str, &str) {
    use answers::Refusal as Kind;
    let (status, kind, message) = refusal.parts();
    let code = match refusal {
        Kind::MissingAuthenticationToken => "MissingAuthenticationToken",
        Kind::IncompleteSignature(_) => "IncompleteSignature",
        Kind::UnrecognizedClient => "InvalidClientTokenId",
        Kind::ExpiredToken => "ExpiredToken",
        Kind::InvalidSignature(_) => "SignatureDoesNotMatch",
        Kind::Forbidden | Kind::RequestTooLarge => kind,
    };
    (status, code, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_break_out_of_its_element() {
        let element = Element::parent("A", vec![Element::text("B", "<&>")]);
        assert_eq!(element.to_string(), "<A><B>&lt;&amp;&gt;</B></A>");
    }
}
