//! The error type of the request path, and the one place where an error becomes a response and a log line.
//!
//! Every step of `proxy.rs` returns a [`ProxyError`]. The client sees a status, a stable code, a fixed
//! sentence (all from `error/codes.rs`) and the request id. The cause may contain host names and key ids, so
//! only the log contains it.

mod codes;
mod cures;

use std::{
    error::Error,
    fmt::{self, Write as _},
};

use actix_http::{
    Method, StatusCode,
    header::{self, HeaderMap, HeaderName, HeaderValue},
};
use bytes::Bytes;

pub use self::codes::{ErrorCode, ErrorKind, GrpcStatus, Overload, Side, UpstreamFailure};
use crate::{
    message::log_note::LogNote,
    text::{log_safe::log_safe, units::size_text},
};

/// An error that the sidecar answers instead of a response from AWS.
#[derive(Debug)]
pub struct ProxyError {
    /// Determines the response.
    pub kind: ErrorKind,
    cause: Option<Box<dyn Error + Send + Sync>>,
    /// Additional log lines for the operator.
    notes: Vec<LogNote>,
    /// The error occurred before any byte of the request was sent.
    unsent: bool,
    /// A retry would fail too.
    permanent: bool,
}

/// `Retry-After` in seconds for a client that is over a limit.
const RETRY_AFTER: &str = "1";
/// The challenge for AWS keys (RFC 7617, 2).
const BASIC_CHALLENGE: &str = r#"Basic realm="aws""#;

impl ErrorKind {
    /// The sentence for the client: that of the code, or a narrower one where the code has several causes.
    pub fn sentence(&self) -> &'static str {
        match self {
            Self::Overloaded(Overload::Requests) => "Too many requests in flight",
            Self::Overloaded(Overload::Connections) => "Too many connections",
            _ => self.code().sentence,
        }
    }

    /// Text for the client after the fixed sentence; never contains a secret.
    fn detail(&self) -> Option<String> {
        match self {
            Self::PayloadTooLarge { what, limit, size } => {
                Some(format!("the limit is {}, {what} has at least {size} bytes", size_text(*limit)))
            }
            Self::UriTooLong { limit } => Some(format!("the limit is {}", size_text(*limit))),
            Self::InvalidPath(why) | Self::ClientCredentialsMissing(why) => Some((*why).to_owned()),
            _ => None,
        }
    }

    /// An additional header of the response.
    fn header(&self) -> Option<(HeaderName, HeaderValue)> {
        match self {
            Self::MethodNotAllowed(allowed) => Some((header::ALLOW, list(allowed))),
            // not for an insecure connection, where the next request would show the keys
            Self::ClientCredentialsMissing(_) => {
                Some((header::WWW_AUTHENTICATE, HeaderValue::from_static(BASIC_CHALLENGE)))
            }
            Self::LambdaRejected { retry_after } => {
                retry_after.clone().map(|value| (header::RETRY_AFTER, value))
            }
            Self::Overloaded(_) => Some((header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER))),
            Self::UpstreamUnavailable { retry_after } => {
                Some((header::RETRY_AFTER, HeaderValue::from(*retry_after)))
            }
            _ => None,
        }
    }
}

impl ProxyError {
    pub fn new(kind: ErrorKind, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { cause: Some(cause.into()), ..kind.into() }
    }

    /// Marks the error as raised before any byte of the request was sent.
    #[must_use]
    pub fn before_sending(mut self) -> Self {
        self.unsent = true;
        self
    }

    /// Marks the error as permanent: a retry would fail too, as with an untrusted certificate.
    #[must_use]
    pub fn permanent(mut self) -> Self {
        self.permanent = true;
        self
    }

    /// True if a retry is safe and may succeed: nothing was sent, and the error is not permanent.
    pub fn is_retryable(&self) -> bool {
        self.unsent && !self.permanent
    }

    /// Adds log lines for the operator.
    #[must_use]
    pub fn with_notes(mut self, notes: impl IntoIterator<Item = LogNote>) -> Self {
        self.notes.extend(notes);
        self
    }

    /// The additional log lines.
    pub fn notes(&self) -> &[LogNote] {
        &self.notes
    }

    pub fn code(&self) -> &'static ErrorCode {
        self.kind.code()
    }

    /// The chain of causes, separated by colons.
    pub fn causes(&self) -> String {
        let mut text = String::new();
        let mut next = self.cause.as_deref().map(|cause| cause as &dyn Error);
        while let Some(cause) = next {
            let colon = if text.is_empty() { "" } else { ": " };
            let _ = write!(text, "{colon}{cause}");
            next = cause.source();
        }
        text
    }

    /// The response: status, headers and JSON body.
    pub fn answer(&self, request_id: &str) -> (StatusCode, HeaderMap, Bytes) {
        let ErrorCode { name, status, .. } = *self.code();
        let sentence = self.kind.sentence();
        let message = match self.kind.detail() {
            Some(detail) => format!("{sentence}: {detail}"),
            None => sentence.to_owned(),
        };
        let body = serde_json::json!({ "message": message, "code": name, "request_id": request_id });
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some((name, value)) = self.kind.header() {
            headers.insert(name, value);
        }
        (status, headers, Bytes::from(body.to_string()))
    }

    /// The response as HTTP/1.1 bytes, for a connection that is closed after it.
    pub fn http1_response(&self, request_id: &str) -> Bytes {
        let (status, headers, body) = self.answer(request_id);
        let reason = status.canonical_reason().unwrap_or("-");
        let mut answer = format!("HTTP/1.1 {} {reason}\r\n", status.as_u16()).into_bytes();
        for (name, value) in &headers {
            answer.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
        }
        let length = body.len();
        let rest =
            format!("content-length: {length}\r\nx-request-id: {request_id}\r\nconnection: close\r\n\r\n");
        answer.extend_from_slice(rest.as_bytes());
        answer.extend_from_slice(&body);
        answer.into()
    }

    /// Logs the error in one line, then its notes.
    pub fn log(&self, request_id: &str, route: Option<&str>) {
        let code = self.code();
        log::log!(
            code.level(),
            request_id = request_id, route = route.unwrap_or("-"), code = code.name;
            "{}", log_safe(&self.to_string(), usize::MAX)
        );
        for note in &self.notes {
            note.log(request_id, route.unwrap_or("-"));
        }
    }
}

impl From<ErrorKind> for ProxyError {
    fn from(kind: ErrorKind) -> Self {
        Self { kind, cause: None, notes: Vec::new(), unsent: false, permanent: false }
    }
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.sentence())?;
        if let Some(detail) = self.kind.detail() {
            write!(f, ": {detail}")?;
        }
        if self.cause.is_some() { write!(f, ": {}", self.causes()) } else { Ok(()) }
    }
}

impl Error for ProxyError {}

#[expect(clippy::expect_used, reason = "the name of a method is a token (RFC 9110, 9.1)")]
fn list(methods: &[Method]) -> HeaderValue {
    let names: Vec<&str> = methods.iter().map(Method::as_str).collect();
    HeaderValue::from_str(&names.join(", ")).expect("tokens with commas between")
}
