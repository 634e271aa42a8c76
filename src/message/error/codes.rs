//! The one table of error codes. A row declares a kind of error with everything that follows from its code: the
//! status, the side that failed, the status for gRPC and the sentence for the client.
//!
//! Retries, circuit breakers, spans and the log level ask the row. settings/README.md has the same table, and a
//! test compares.

use actix_http::{Method, StatusCode, header::HeaderValue};

/// A row of the table.
#[derive(Debug)]
pub struct Code {
    /// The code itself, which clients, metrics and logs have.
    pub name: &'static str,
    /// The status of the answer.
    pub status: StatusCode,
    pub side: Side,
    /// The status for clients that speak gRPC.
    pub grpc: GrpcStatus,
    /// The sentence that the client reads.
    pub sentence: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The client: its request is refused.
    Client,
    /// The sidecar: its own limits, keys, settings or mistakes.
    Sidecar,
    /// The upstream or the network in between: there is no usable response.
    Upstream(UpstreamFailure),
    /// Lambda or the function: the response is whole and reports an error, or is not as agreed.
    Lambda,
}

/// A call without a usable response. Retries and circuit breakers decide by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpstreamFailure {
    /// No connection, or no TLS session.
    Unreachable,
    /// A time limit of the route has passed.
    TimedOut,
    /// The connection ended before the response did.
    ConnectionLost,
    /// The response is not HTTP.
    Malformed,
    /// The circuit breaker is open, so nothing was sent.
    CircuitOpen,
}

/// The limit that an overloaded process or route has reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overload {
    /// `max_in_flight`.
    Requests,
    /// `limits.max_connections`, or the open files of the process.
    Connections,
}

/// The status codes of gRPC that the sidecar uses (grpc.github.io, Status codes and their use in gRPC).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrpcStatus {
    Unknown = 2,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    Unauthenticated = 16,
}

impl Code {
    /// The severity in the log. A failure of the sidecar or of AWS is an error, which `log.level: error` has
    /// to show; a mistake of the client is for information.
    pub fn level(&self) -> log::Level {
        match self.side {
            Side::Client => log::Level::Info,
            Side::Sidecar | Side::Upstream(_) | Side::Lambda => log::Level::Error,
        }
    }
}

/// Makes [`ErrorKind`], its [`Code`]s and the way from one to the other out of the rows.
macro_rules! codes {
    ($(
        $(#[$doc:meta])*
        $kind:ident $(($($unnamed:tt)*))? $({$($named:tt)*})? =>
            $status:ident, $name:literal, $side:ident $(($failure:ident))?, $grpc:ident, $sentence:literal;
    )*) => {
        /// Every error that the sidecar answers itself, one variant for each code.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum ErrorKind {
            $($(#[$doc])* $kind $(($($unnamed)*))? $({$($named)*})?,)*
        }

        impl Code {
            pub const ALL: &'static [Self] = &[$(Self {
                name: $name,
                status: StatusCode::$status,
                side: Side::$side $((UpstreamFailure::$failure))?,
                grpc: GrpcStatus::$grpc,
                sentence: $sentence,
            }),*];
        }

        impl ErrorKind {
            /// Its row of the table.
            pub fn code(&self) -> &'static Code {
                enum Place {
                    $($kind),*
                }
                let place = match self {
                    $(Self::$kind { .. } => Place::$kind),*
                };
                &Code::ALL[place as usize]
            }
        }
    };
}

codes! {
    /// The request's head is not HTTP.
    InvalidRequest =>
        BAD_REQUEST, "invalid_request", Client, InvalidArgument, "The request is malformed";
    /// The request target is malformed, or would leave the route's prefix.
    InvalidPath(&'static str) =>
        BAD_REQUEST, "invalid_path", Client, InvalidArgument, "The path or query is malformed";
    /// The body does not match its headers or the route.
    InvalidBody =>
        BAD_REQUEST, "invalid_body", Client, InvalidArgument, "The body is malformed or incomplete";
    /// No route has this host and path.
    RouteNotFound =>
        NOT_FOUND, "route_not_found", Client, Unimplemented, "No route matches";
    /// Routes have this host and path, for these methods.
    MethodNotAllowed(Vec<Method>) =>
        METHOD_NOT_ALLOWED, "method_not_allowed", Client, Unimplemented,
        "The route does not allow this method";
    /// The request did not arrive in time.
    RequestTimeout =>
        REQUEST_TIMEOUT, "request_timeout", Client, DeadlineExceeded, "The request did not arrive in time";
    /// The body, or the event made of it, is larger than the route takes.
    PayloadTooLarge {
        /// `the body` or `the event`.
        what: &'static str,
        /// Bytes that the route takes.
        limit: u64,
        /// Bytes announced, or received before giving up.
        size: u64,
    } =>
        PAYLOAD_TOO_LARGE, "payload_too_large", Client, ResourceExhausted, "The body is too large";
    /// Path and query are longer than allowed.
    UriTooLong {
        /// Bytes allowed.
        limit: u64,
    } =>
        URI_TOO_LONG, "uri_too_long", Client, InvalidArgument, "The path and query are too long";
    /// The body's type does not fit the route.
    UnsupportedMediaType =>
        UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", Client, Unimplemented,
        "The route accepts only JSON, form and multipart bodies without Content-Encoding";
    /// The request has more or longer headers than are taken.
    HeadersTooLarge =>
        REQUEST_HEADER_FIELDS_TOO_LARGE, "headers_too_large", Client, ResourceExhausted,
        "The headers are too many or too long";
    /// A mistake of the sidecar's own.
    Internal =>
        INTERNAL_SERVER_ERROR, "internal", Sidecar, Internal, "Internal error";
    /// The Lambda API refused the call.
    LambdaRejected {
        /// The API's `Retry-After`.
        retry_after: Option<HeaderValue>,
    } =>
        INTERNAL_SERVER_ERROR, "lambda_rejected", Lambda, Internal, "The function could not be invoked";
    /// No connection to AWS.
    UpstreamConnect =>
        BAD_GATEWAY, "upstream_connect", Upstream(Unreachable), Unavailable,
        "The upstream could not be reached";
    /// A connection, but no TLS session that can be trusted.
    UpstreamTls =>
        BAD_GATEWAY, "upstream_tls", Upstream(Unreachable), Unavailable,
        "TLS with the upstream failed";
    /// The response is not HTTP.
    UpstreamProtocol =>
        BAD_GATEWAY, "upstream_protocol", Upstream(Malformed), Internal,
        "The upstream's response was malformed";
    /// The response ended before it was whole.
    UpstreamTruncated =>
        BAD_GATEWAY, "upstream_truncated", Upstream(ConnectionLost), Internal,
        "The upstream's response was incomplete";
    /// The function's answer is not what the route's mode demands.
    FunctionResponseInvalid =>
        BAD_GATEWAY, "function_response_invalid", Lambda, Internal, "The function's response was malformed";
    /// The function failed: it raised an error, ran out of time or memory, or did not start.
    FunctionFailed =>
        BAD_GATEWAY, "function_failed", Lambda, Internal, "The function failed";
    /// The route signs, and there are no keys to sign with.
    CredentialsUnavailable =>
        SERVICE_UNAVAILABLE, "credentials_unavailable", Sidecar, Unavailable,
        "The request could not be signed";
    /// As many requests in flight, or connections, as allowed. `ErrorKind::sentence` names the one that it is.
    Overloaded(Overload) =>
        SERVICE_UNAVAILABLE, "overloaded", Sidecar, Unavailable,
        "Too many requests in flight, or too many connections";
    /// The circuit breaker is open: too many calls have failed in a row.
    UpstreamUnavailable {
        /// Seconds until the next call is tried.
        retry_after: u64,
    } =>
        SERVICE_UNAVAILABLE, "upstream_unavailable", Upstream(CircuitOpen), Unavailable,
        "Too many calls to the upstream have failed, it is not called for now";
    /// AWS took longer than the route allows.
    UpstreamTimeout =>
        GATEWAY_TIMEOUT, "upstream_timeout", Upstream(TimedOut), DeadlineExceeded,
        "The upstream did not answer in time";
    /// The request has passed this sidecar before.
    LoopDetected =>
        LOOP_DETECTED, "loop_detected", Sidecar, Internal,
        "Loop detected: the request has passed this sidecar before";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_has_its_own_row() {
        assert_eq!(ErrorKind::InvalidRequest.code().name, "invalid_request");
        assert_eq!(ErrorKind::UriTooLong { limit: 1 }.code().name, "uri_too_long");
        assert_eq!(ErrorKind::MethodNotAllowed(Vec::new()).code().name, "method_not_allowed");
        assert_eq!(ErrorKind::LoopDetected.code().name, "loop_detected");
    }

    #[test]
    fn statuses_of_4xx_and_no_others_are_the_clients_side() {
        for code in Code::ALL {
            assert_eq!(code.side == Side::Client, code.status.is_client_error(), "{}", code.name);
        }
    }

    #[test]
    fn codes_of_the_upstreams_side_and_no_others_begin_with_upstream() {
        for code in Code::ALL {
            let is_upstream = matches!(code.side, Side::Upstream(_));
            assert_eq!(is_upstream, code.name.starts_with("upstream_"), "{}", code.name);
        }
    }

    #[test]
    fn a_code_occurs_once_and_a_sentence_needs_no_percent_encoding_in_grpc_message() {
        for (index, code) in Code::ALL.iter().enumerate() {
            assert!(Code::ALL[..index].iter().all(|earlier| earlier.name != code.name), "{}", code.name);
            let is_plain = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'%';
            assert!(code.name.bytes().chain(code.sentence.bytes()).all(is_plain), "{}", code.name);
        }
    }
}
