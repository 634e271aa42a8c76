//! Responses for gRPC clients: Kong lists gRPC among the protocols of its plugin's routes.
//!
//! A gRPC client reads the outcome of its call from `grpc-status` in the trailers, or in the head of a
//! response without a body ("trailers-only", gRPC over HTTP/2, "Responses"). API Gateway and Lambda use
//! HTTP/1.1 and forward no trailers. So an error of the sidecar, and any response without `grpc-status`,
//! becomes trailers-only; a function that speaks gRPC sends `grpc-status` as a header, which is moved to the
//! trailers.

use actix_http::{
    RequestHead, StatusCode,
    header::{self, HeaderMap, HeaderName, HeaderValue},
};

use crate::{
    client::ReplyBody,
    message::{
        error::{ErrorKind, GrpcStatus},
        headers::REQUEST_ID,
    },
};

const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");
const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/grpc");

/// A response for a gRPC client.
#[derive(Debug)]
pub struct GrpcReply {
    pub headers: HeaderMap,
    pub body: ReplyBody,
    pub trailers: Option<HeaderMap>,
}

/// True for a gRPC call: `application/grpc`, with or without the name of a format. Not for gRPC-Web, whose
/// trailers are in its body.
pub fn is_call(head: &RequestHead) -> bool {
    head.headers.get(header::CONTENT_TYPE).is_some_and(speaks_grpc)
}

fn speaks_grpc(content_type: &HeaderValue) -> bool {
    let rest = content_type.as_bytes().strip_prefix(b"application/grpc");
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';' | b' ')))
}

/// Maps an HTTP status as a gRPC client would (gRPC, HTTP to gRPC Status Code Mapping); a success without
/// gRPC comes from a server that does not implement it.
fn from_http(status: StatusCode) -> GrpcStatus {
    match status.as_u16() {
        200..300 | 404 => GrpcStatus::Unimplemented,
        400 => GrpcStatus::Internal,
        401 => GrpcStatus::Unauthenticated,
        403 => GrpcStatus::PermissionDenied,
        429 | 502..=504 => GrpcStatus::Unavailable,
        _ => GrpcStatus::Unknown,
    }
}

/// Turns the headers of an error response into trailers-only.
pub fn failure(kind: &ErrorKind, headers: &mut HeaderMap) {
    let code = kind.code();
    put_outcome(headers, code.grpc, &format!("{} ({})", kind.sentence(), code.name));
}

/// Converts the upstream's response.
pub fn reply(status: StatusCode, mut headers: HeaderMap, body: ReplyBody) -> GrpcReply {
    let is_grpc = headers.get(header::CONTENT_TYPE).is_some_and(speaks_grpc) && headers.contains_key(STATUS);
    if !(is_grpc && status == StatusCode::OK) {
        let mut only = HeaderMap::new();
        if let Some(id) = headers.remove(REQUEST_ID).next() {
            only.insert(REQUEST_ID, id);
        }
        let message = format!("The upstream does not speak gRPC and answered {}", status.as_u16());
        put_outcome(&mut only, from_http(status), &message);
        return GrpcReply { headers: only, body: ReplyBody::None { length: None }, trailers: None };
    }
    let is_empty = match &body {
        ReplyBody::None { .. } => true,
        ReplyBody::Whole(bytes) => bytes.is_empty(),
        ReplyBody::Stream(_) | ReplyBody::Events(_) => false,
    };
    if is_empty {
        return GrpcReply { headers, body: ReplyBody::None { length: None }, trailers: None };
    }
    let mut trailers = HeaderMap::new();
    for name in [STATUS, MESSAGE, DETAILS] {
        if let Some(value) = headers.remove(&name).next() {
            trailers.insert(name, value);
        }
    }
    GrpcReply { headers, body, trailers: Some(trailers) }
}

fn put_outcome(headers: &mut HeaderMap, status: GrpcStatus, message: &str) {
    headers.insert(header::CONTENT_TYPE, CONTENT_TYPE);
    headers.insert(STATUS, HeaderValue::from(status as u16));
    // ASCII without `%` needs no percent-encoding, and all messages are that
    if let Ok(message) = HeaderValue::from_str(message) {
        headers.insert(MESSAGE, message);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn head(content_type: &'static str) -> RequestHead {
        let mut head = RequestHead::default();
        head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        head
    }

    fn told(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
        headers.get(name).map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_call_is_known_by_its_type() {
        for yes in ["application/grpc", "application/grpc+proto", "application/grpc; charset=x"] {
            assert!(is_call(&head(yes)), "{yes}");
        }
        for no in
            ["application/grpc-web", "application/grpc-web+proto", "application/json", "application/grpcx"]
        {
            assert!(!is_call(&head(no)), "{no}");
        }
        assert!(!is_call(&RequestHead::default()));
    }

    #[test]
    fn a_response_without_grpc_becomes_trailers_only_with_the_mapped_status() {
        for (status, expected) in [
            (200, "12"),
            (400, "13"),
            (401, "16"),
            (403, "7"),
            (404, "12"),
            (429, "14"),
            (500, "2"),
            (503, "14"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            let status = StatusCode::from_u16(status).unwrap();
            let reply = reply(status, headers, ReplyBody::Whole(Bytes::from_static(b"{}")));
            assert_eq!(told(&reply.headers, &STATUS).as_deref(), Some(expected), "{status}");
            assert_eq!(told(&reply.headers, &header::CONTENT_TYPE).as_deref(), Some("application/grpc"));
            assert!(matches!(reply.body, ReplyBody::None { .. }) && reply.trailers.is_none());
        }
    }

    #[test]
    fn the_grpc_status_of_a_function_is_moved_to_the_trailers() {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc+proto"));
        headers.insert(STATUS, HeaderValue::from_static("0"));
        let whole = reply(StatusCode::OK, headers.clone(), ReplyBody::Whole(Bytes::from_static(b"message")));
        assert_eq!(told(&whole.headers, &STATUS), None);
        assert_eq!(told(&whole.trailers.unwrap(), &STATUS).as_deref(), Some("0"));
        assert!(matches!(whole.body, ReplyBody::Whole(_)));
        let empty = reply(StatusCode::OK, headers, ReplyBody::Whole(Bytes::new()));
        assert_eq!(told(&empty.headers, &STATUS).as_deref(), Some("0"));
        assert!(empty.trailers.is_none());
    }
}
