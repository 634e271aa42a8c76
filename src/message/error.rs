//! What can go wrong with a request, and the one place where it becomes an answer and a log line.
//!
//! Every step of `proxy.rs` fails with a [`ProxyError`]. The client learns a status, a stable code, a fixed
//! sentence and the request id; the cause, which may name hosts and keys' ids, goes to the log alone.

use std::{
    error::Error,
    fmt::{self, Write as _},
};

use actix_http::{
    Method, StatusCode,
    header::{self, HeaderMap, HeaderName, HeaderValue},
};
use bytes::Bytes;

use crate::{
    message::remark::Remark,
    text::{excerpt::excerpt, units::size_text},
};

/// A request that got no answer from AWS, or none that may be passed on.
#[derive(Debug)]
pub struct ProxyError {
    /// What went wrong, which decides the answer.
    pub kind: ErrorKind,
    /// Why, for the operator.
    cause: Option<Box<dyn Error + Send + Sync>>,
    /// What else the operator should know.
    remarks: Vec<Remark>,
    /// Nothing of the request had been sent.
    unsent: bool,
    /// It would fail the same way again.
    lasting: bool,
}

/// Everything that has an answer of our own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request's head is no HTTP as it should be.
    InvalidRequest,
    /// The request has more or longer headers than are taken.
    HeadersTooLarge,
    /// No route has this host and path.
    RouteNotFound,
    /// Routes have them, for these methods.
    MethodNotAllowed(Vec<Method>),
    /// The request did not arrive in time.
    RequestTimeout,
    /// The body, or the event made of it, is larger than the route takes.
    PayloadTooLarge {
        /// `the body` or `the event`.
        what: &'static str,
        /// Bytes that the route takes.
        limit: u64,
        /// Bytes announced, or received before giving up.
        size: u64,
    },
    /// Path and query are longer than allowed.
    UriTooLong {
        /// Bytes allowed.
        limit: u64,
    },
    /// The body's type does not fit the route.
    UnsupportedMediaType,
    /// The body is not what its headers or the route promise.
    InvalidBody,
    /// The request target is malformed, or would leave the route's prefix.
    InvalidPath(&'static str),
    /// The request has been here before.
    LoopDetected,
    /// The route signs, and there is nothing to sign with.
    CredentialsUnavailable,
    /// No connection to AWS.
    UpstreamConnect,
    /// A connection, but no TLS session that can be trusted.
    UpstreamTls,
    /// What came back is not HTTP as it should be.
    UpstreamProtocol,
    /// What came back ended before it was whole.
    UpstreamTruncated,
    /// AWS took longer than the route allows.
    UpstreamTimeout,
    /// The circuit breaker is open: too many calls have failed in a row.
    UpstreamUnavailable {
        /// Seconds until the next call is tried.
        retry_after: u64,
    },
    /// The function's answer is not what the route's mode demands.
    FunctionResponseInvalid,
    /// The function failed: it raised an error, ran out of time or memory, or did not start.
    FunctionFailed,
    /// As many requests in flight as allowed.
    Overloaded,
    /// The Lambda API refused the call.
    LambdaRejected {
        /// When it says that it may be tried again.
        retry_after: Option<HeaderValue>,
    },
    /// A mistake of ours.
    Internal,
}

/// How long a client that was turned away should wait, in seconds.
const RETRY_AFTER: &str = "1";

impl ErrorKind {
    /// The one table of statuses, codes and sentences; the README holds the same, and a test compares them.
    #[expect(clippy::too_many_lines, reason = "one table, one row a kind")]
    pub fn row(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::InvalidPath(_) => {
                (StatusCode::BAD_REQUEST, "invalid_path", "The path or query is malformed")
            }
            Self::InvalidBody => {
                (StatusCode::BAD_REQUEST, "invalid_body", "The body is malformed or incomplete")
            }
            Self::InvalidRequest => (StatusCode::BAD_REQUEST, "invalid_request", "The request is malformed"),
            Self::HeadersTooLarge => (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "headers_too_large",
                "The headers are too many or too long",
            ),
            Self::RouteNotFound => (StatusCode::NOT_FOUND, "route_not_found", "No route matches"),
            Self::MethodNotAllowed(_) => {
                (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "The route does not take this method")
            }
            Self::RequestTimeout => {
                (StatusCode::REQUEST_TIMEOUT, "request_timeout", "The request did not arrive in time")
            }
            Self::PayloadTooLarge { .. } => {
                (StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", "The body is too large")
            }
            Self::UriTooLong { .. } => {
                (StatusCode::URI_TOO_LONG, "uri_too_long", "The path and query are too long")
            }
            Self::UnsupportedMediaType => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                "The route does not take this content type",
            ),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "Internal error"),
            Self::LambdaRejected { .. } => {
                (StatusCode::INTERNAL_SERVER_ERROR, "lambda_rejected", "The function could not be invoked")
            }
            Self::UpstreamConnect => {
                (StatusCode::BAD_GATEWAY, "upstream_connect", "The upstream could not be reached")
            }
            Self::UpstreamTls => {
                (StatusCode::BAD_GATEWAY, "upstream_tls", "The upstream could not be reached securely")
            }
            Self::UpstreamProtocol => {
                (StatusCode::BAD_GATEWAY, "upstream_protocol", "The upstream's answer was malformed")
            }
            Self::UpstreamTruncated => {
                (StatusCode::BAD_GATEWAY, "upstream_truncated", "The upstream's answer was incomplete")
            }
            Self::FunctionResponseInvalid => {
                (StatusCode::BAD_GATEWAY, "function_response_invalid", "The function's answer was malformed")
            }
            Self::FunctionFailed => (StatusCode::BAD_GATEWAY, "function_failed", "The function failed"),
            Self::CredentialsUnavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "credentials_unavailable",
                "The request could not be signed",
            ),
            Self::Overloaded => {
                (StatusCode::SERVICE_UNAVAILABLE, "overloaded", "Too many requests in flight")
            }
            Self::UpstreamUnavailable { .. } => (
                StatusCode::SERVICE_UNAVAILABLE,
                "upstream_unavailable",
                "The upstream has failed too often to be called now",
            ),
            Self::UpstreamTimeout => {
                (StatusCode::GATEWAY_TIMEOUT, "upstream_timeout", "The upstream did not answer in time")
            }
            Self::LoopDetected => {
                (StatusCode::LOOP_DETECTED, "loop_detected", "The request has passed this sidecar before")
            }
        }
    }

    /// What the client may know beyond the fixed sentence.
    fn detail(&self) -> Option<String> {
        match self {
            Self::PayloadTooLarge { what, limit, size } => {
                Some(format!("the limit is {}, {what} has at least {size} bytes", size_text(*limit)))
            }
            Self::UriTooLong { limit } => Some(format!("the limit is {}", size_text(*limit))),
            Self::InvalidPath(why) => Some((*why).to_owned()),
            _ => None,
        }
    }

    /// The header that belongs to the answer, if one does.
    fn header(&self) -> Option<(HeaderName, HeaderValue)> {
        match self {
            Self::MethodNotAllowed(allowed) => {
                let names: Vec<&str> = allowed.iter().map(Method::as_str).collect();
                HeaderValue::from_str(&names.join(", ")).ok().map(|value| (header::ALLOW, value))
            }
            Self::LambdaRejected { retry_after } => {
                retry_after.clone().map(|value| (header::RETRY_AFTER, value))
            }
            Self::Overloaded => Some((header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER))),
            Self::UpstreamUnavailable { retry_after } => {
                Some((header::RETRY_AFTER, HeaderValue::from(*retry_after)))
            }
            _ => None,
        }
    }

    /// The severity in the log. A failure of the sidecar or of AWS is an error, which `log.level: error` has
    /// to show; a mistake of the client is for information.
    fn level(&self) -> log::Level {
        let (status, ..) = self.row();
        if status.is_server_error() { log::Level::Error } else { log::Level::Info }
    }
}

impl ProxyError {
    /// An error with its cause.
    pub fn new(kind: ErrorKind, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { cause: Some(cause.into()), ..kind.into() }
    }

    /// Says that it happened before anything of the request was sent.
    #[must_use]
    pub fn before_sending(mut self) -> Self {
        self.unsent = true;
        self
    }

    /// Says that it would happen again, as with a certificate that nobody trusts.
    #[must_use]
    pub fn lasting(mut self) -> Self {
        self.lasting = true;
        self
    }

    /// Whether the call may be made again with hope and without harm: nothing of it was sent.
    pub fn may_be_repeated(&self) -> bool {
        self.unsent && !self.lasting
    }

    /// Adds what else the operator should know.
    #[must_use]
    pub fn with_remarks(mut self, remarks: impl IntoIterator<Item = Remark>) -> Self {
        self.remarks.extend(remarks);
        self
    }

    /// The stable code.
    pub fn code(&self) -> &'static str {
        self.kind.row().1
    }

    /// The causes alone, each behind the one that it led to.
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

    /// The answer: status, headers and JSON body.
    pub fn answer(&self, request_id: &str) -> (StatusCode, HeaderMap, Bytes) {
        let (status, code, sentence) = self.kind.row();
        let message = match self.kind.detail() {
            Some(detail) => format!("{sentence}: {detail}"),
            None => sentence.to_owned(),
        };
        let body = serde_json::json!({ "message": message, "code": code, "request_id": request_id });
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some((name, value)) = self.kind.header() {
            headers.insert(name, value);
        }
        (status, headers, Bytes::from(body.to_string()))
    }

    /// The answer as bytes, for a connection that is closed after it.
    pub fn on_the_wire(&self, request_id: &str) -> Bytes {
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

    /// The one log line of a failure, and the remarks on it.
    pub fn log(&self, request_id: &str, route: Option<&str>) {
        log::log!(
            self.kind.level(),
            request_id = request_id, route = route.unwrap_or("-"), code = self.code();
            "{}", excerpt(&self.to_string(), usize::MAX)
        );
        for remark in &self.remarks {
            remark.log(request_id, route.unwrap_or("-"));
        }
    }
}

impl From<ErrorKind> for ProxyError {
    fn from(kind: ErrorKind) -> Self {
        Self { kind, cause: None, remarks: Vec::new(), unsent: false, lasting: false }
    }
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.row().2)?;
        if let Some(detail) = self.kind.detail() {
            write!(f, ": {detail}")?;
        }
        if self.cause.is_some() { write!(f, ": {}", self.causes()) } else { Ok(()) }
    }
}

impl Error for ProxyError {}
