//! The table of error codes. A row declares a variant of [`ErrorKind`] with its status, the side that failed,
//! the gRPC status and the sentence for the client.
//!
//! Retries, circuit breakers, spans and the log level read the row. A test compares the table with
//! settings/README.md.

use actix_http::{Method, StatusCode, header::HeaderValue};

/// A row of the table.
#[derive(Debug)]
pub struct ErrorCode {
    /// The code in responses, metrics and logs.
    pub name: &'static str,
    pub status: StatusCode,
    pub side: Side,
    pub grpc: GrpcStatus,
    /// The message for the client.
    pub sentence: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The client sent a request that is rejected.
    Client,
    /// The sidecar failed: limits, keys, settings or a bug.
    Sidecar,
    /// The upstream or the network failed: there is no usable response.
    Upstream(UpstreamFailure),
    /// Lambda or the function failed: the response is complete but reports an error or is invalid.
    Lambda,
}

/// Reason for the lack of a usable response; retries and circuit breakers match on it.
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

impl ErrorCode {
    /// The log level: error for a failure of the sidecar or of AWS, so that `log.level: error` shows it; info
    /// for a mistake of the client.
    pub fn level(&self) -> log::Level {
        match self.side {
            Side::Client => log::Level::Info,
            Side::Sidecar | Side::Upstream(_) | Side::Lambda => log::Level::Error,
        }
    }
}

/// Generates [`ErrorKind`], its [`ErrorCode`]s and the mapping between them from the rows.
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

        impl ErrorCode {
            pub const ALL: &'static [Self] = &[$(Self {
                name: $name,
                status: StatusCode::$status,
                side: Side::$side $((UpstreamFailure::$failure))?,
                grpc: GrpcStatus::$grpc,
                sentence: $sentence,
            }),*];
        }

        impl ErrorKind {
            /// The row of the table.
            pub fn code(&self) -> &'static ErrorCode {
                enum CodeIndex {
                    $($kind),*
                }
                let index = match self {
                    $(Self::$kind { .. } => CodeIndex::$kind),*
                };
                &ErrorCode::ALL[index as usize]
            }
        }
    };
}

codes! {
    /// The request's head is not HTTP.
    InvalidRequest =>
        BAD_REQUEST, "invalid_request", Client, InvalidArgument, "The request is malformed";
    /// The request target is malformed, or leaves the route's prefix.
    InvalidPath(&'static str) =>
        BAD_REQUEST, "invalid_path", Client, InvalidArgument, "The path or query is malformed";
    /// The body does not match its headers or the route.
    InvalidBody =>
        BAD_REQUEST, "invalid_body", Client, InvalidArgument, "The body is malformed or incomplete";
    /// The client has signed the chunks of its `aws-chunked` body, and the sidecar replaces the signature on
    /// which theirs depend.
    ChunksSigned =>
        BAD_REQUEST, "chunks_signed", Client, InvalidArgument,
        "The chunks of the body are signed: send it unsigned (STREAMING-UNSIGNED-PAYLOAD-TRAILER) or whole";
    /// The route signs with keys of the caller, and the request has none.
    ClientCredentialsMissing(&'static str) =>
        UNAUTHORIZED, "client_credentials_missing", Client, Unauthenticated,
        "The route requires AWS keys in Authorization: Basic";
    /// The route signs with keys of the caller, and anybody on the way could read them.
    ClientCredentialsInsecure =>
        UNAUTHORIZED, "client_credentials_insecure", Client, Unauthenticated,
        "AWS keys are accepted only over TLS, a Unix socket or loopback";
    /// No route matches the host and path.
    RouteNotFound =>
        NOT_FOUND, "route_not_found", Client, Unimplemented, "No route matches";
    /// Routes match the host and path, but only for these methods.
    MethodNotAllowed(Vec<Method>) =>
        METHOD_NOT_ALLOWED, "method_not_allowed", Client, Unimplemented,
        "The route does not allow this method";
    /// The request did not arrive in time.
    RequestTimeout =>
        REQUEST_TIMEOUT, "request_timeout", Client, DeadlineExceeded, "The request did not arrive in time";
    /// The body has no declared length, and the service requires one.
    LengthRequired =>
        LENGTH_REQUIRED, "length_required", Client, InvalidArgument,
        "The service requires Content-Length";
    /// The body, or the Lambda event that contains it, exceeds the route's limit.
    PayloadTooLarge {
        /// `the body` or `the event`.
        what: &'static str,
        /// Bytes allowed.
        limit: u64,
        /// Bytes declared, or received so far.
        size: u64,
    } =>
        PAYLOAD_TOO_LARGE, "payload_too_large", Client, ResourceExhausted, "The body is too large";
    /// Path and query are longer than allowed.
    UriTooLong {
        /// Bytes allowed.
        limit: u64,
    } =>
        URI_TOO_LONG, "uri_too_long", Client, InvalidArgument, "The path and query are too long";
    /// The route does not accept the body's content type.
    UnsupportedMediaType =>
        UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", Client, Unimplemented,
        "The route accepts only JSON, form and multipart bodies without Content-Encoding";
    /// The headers exceed their limit in number or size.
    HeadersTooLarge =>
        REQUEST_HEADER_FIELDS_TOO_LARGE, "headers_too_large", Client, ResourceExhausted,
        "The headers are too many or too long";
    /// A bug in the sidecar.
    Internal =>
        INTERNAL_SERVER_ERROR, "internal", Sidecar, Internal, "Internal error";
    /// The Lambda API rejected the call.
    LambdaRejected {
        /// `Retry-After` of the API's response.
        retry_after: Option<HeaderValue>,
    } =>
        INTERNAL_SERVER_ERROR, "lambda_rejected", Lambda, Internal, "The function could not be invoked";
    /// Name resolution, TCP or the proxy failed.
    UpstreamConnect =>
        BAD_GATEWAY, "upstream_connect", Upstream(Unreachable), Unavailable,
        "The upstream could not be reached";
    /// The TLS handshake failed, or the certificate is not trusted.
    UpstreamTls =>
        BAD_GATEWAY, "upstream_tls", Upstream(Unreachable), Unavailable,
        "TLS with the upstream failed";
    /// The response is not HTTP.
    UpstreamProtocol =>
        BAD_GATEWAY, "upstream_protocol", Upstream(Malformed), Internal,
        "The upstream's response was malformed";
    /// The response is truncated.
    UpstreamTruncated =>
        BAD_GATEWAY, "upstream_truncated", Upstream(ConnectionLost), Internal,
        "The upstream's response was incomplete";
    /// The function's response does not have the format that the route requires.
    FunctionResponseInvalid =>
        BAD_GATEWAY, "function_response_invalid", Lambda, Internal, "The function's response was malformed";
    /// The function failed: it raised an error, timed out, ran out of memory, or did not start.
    FunctionFailed =>
        BAD_GATEWAY, "function_failed", Lambda, Internal, "The function failed";
    /// The route signs requests, but no credentials are available.
    CredentialsUnavailable =>
        SERVICE_UNAVAILABLE, "credentials_unavailable", Sidecar, Unavailable,
        "The request could not be signed";
    /// The route waits for a secret in AWS that its settings name.
    SecretUnavailable =>
        SERVICE_UNAVAILABLE, "secret_unavailable", Sidecar, Unavailable,
        "The route waits for a secret of its settings";
    /// The limit of requests in flight, or connections, or of connections is reached. `ErrorKind::sentence`
    /// names the one that it is.
    Overloaded(Overload) =>
        SERVICE_UNAVAILABLE, "overloaded", Sidecar, Unavailable,
        "Too many requests in flight, or too many connections";
    /// The circuit breaker is open after consecutive failures.
    UpstreamUnavailable {
        /// Seconds until the breaker is half-open.
        retry_after: u64,
    } =>
        SERVICE_UNAVAILABLE, "upstream_unavailable", Upstream(CircuitOpen), Unavailable,
        "Too many calls to the upstream have failed, it is not called for now";
    /// A timeout of the route expired.
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
    fn a_code_is_of_the_clients_side_exactly_if_its_status_is_4xx() {
        for code in ErrorCode::ALL {
            assert_eq!(code.side == Side::Client, code.status.is_client_error(), "{}", code.name);
        }
    }

    #[test]
    fn a_code_is_of_the_upstreams_side_exactly_if_it_begins_with_upstream() {
        for code in ErrorCode::ALL {
            let is_upstream = matches!(code.side, Side::Upstream(_));
            assert_eq!(is_upstream, code.name.starts_with("upstream_"), "{}", code.name);
        }
    }

    #[test]
    fn a_code_occurs_once_and_a_sentence_needs_no_percent_encoding_in_grpc_message() {
        for (index, code) in ErrorCode::ALL.iter().enumerate() {
            assert!(ErrorCode::ALL[..index].iter().all(|earlier| earlier.name != code.name), "{}", code.name);
            let is_plain = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'%';
            assert!(code.name.bytes().chain(code.sentence.bytes()).all(is_plain), "{}", code.name);
        }
    }
}
