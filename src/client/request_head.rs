//! Encoder of a request's head (RFC 9112, 2.1).

use std::fmt::Write as _;

use actix_http::{
    Method,
    header::{self, HeaderName},
};
use bytes::{BufMut as _, Bytes, BytesMut};

use crate::{
    message::{
        error::{ErrorKind, ProxyError},
        inbound::RequestBody,
        outbound::OutboundRequest,
    },
    signing::SigningHeaders,
};

/// Estimated bytes per header line.
const LINE_ESTIMATE: usize = 64;
/// Estimated bytes of the signature and the lines added here.
const FIXED_ESTIMATE: usize = 384;

/// Encodes the head: the request's headers, the headers of its signature, and the framing that follows from
/// its body. Without `keep` the head asks the upstream to close the connection.
///
/// # Errors
/// The target is not valid in a request line.
pub fn encode(
    request: &OutboundRequest,
    signing_headers: Option<&SigningHeaders>,
    keep: bool,
) -> Result<Bytes, ProxyError> {
    let OutboundRequest { method, path_and_query, headers, body, .. } = request;
    if !is_target(path_and_query) {
        return Err(ProxyError::new(ErrorKind::Internal, "the request target cannot be sent"));
    }
    let mut head =
        BytesMut::with_capacity(path_and_query.len() + headers.len() * LINE_ESTIMATE + FIXED_ESTIMATE);
    for part in [method.as_str(), " ", path_and_query, " HTTP/1.1\r\n"] {
        head.put_slice(part.as_bytes());
    }
    // `Host` comes first (RFC 9110, 7.2)
    if let Some(host) = headers.get(header::HOST) {
        put_line(&mut head, &header::HOST, host.as_bytes());
    }
    let is_replaced = |name| signing_headers.is_some() && SigningHeaders::replace(name);
    for (name, value) in headers.iter().filter(|(name, _)| !is_written_here(name) && !is_replaced(name)) {
        put_line(&mut head, name, value.as_bytes());
    }
    for (name, value) in signing_headers.into_iter().flat_map(SigningHeaders::lines) {
        put_line(&mut head, &name, value);
    }
    match body.length() {
        None => head.put_slice(b"transfer-encoding: chunked\r\n"),
        Some(0) if !sends_length_0(method, body) => {}
        Some(length) => {
            // writing to memory does not fail
            let _ = write!(head, "content-length: {length}\r\n");
        }
    }
    if !keep {
        head.put_slice(b"connection: close\r\n");
    }
    head.put_slice(b"\r\n");
    Ok(head.freeze())
}

fn put_line(head: &mut BytesMut, name: &HeaderName, value: &[u8]) {
    head.reserve(name.as_str().len() + value.len() + 4);
    head.put_slice(name.as_str().as_bytes());
    head.put_slice(b": ");
    head.put_slice(value);
    head.put_slice(b"\r\n");
}

/// The headers that are derived here and never copied from the request.
fn is_written_here(name: &HeaderName) -> bool {
    [header::HOST, header::CONTENT_LENGTH, header::CONNECTION, header::TRANSFER_ENCODING].contains(name)
}

/// True if `Content-Length: 0` is sent: for a method that expects a body (RFC 9110, 8.6).
fn sends_length_0(method: &Method, body: &RequestBody) -> bool {
    let means_a_body = matches!(*method, Method::POST | Method::PUT | Method::PATCH);
    means_a_body || !matches!(body, RequestBody::Empty)
}

/// True if a text can be the target of a request line; a space or line end would end it early.
fn is_target(text: &str) -> bool {
    text.starts_with('/') && !text.bytes().any(|byte| byte <= b' ' || byte == 0x7f || byte == b'#')
}

#[cfg(test)]
mod tests {
    use actix_http::header::{HeaderMap, HeaderValue};

    use super::*;
    use crate::message::outbound::{Signature, SignedPayload};

    fn request(method: Method, target: &str, body: RequestBody) -> OutboundRequest {
        let mut headers = HeaderMap::new();
        headers.append(header::ACCEPT, HeaderValue::from_static("a"));
        headers.append(header::ACCEPT, HeaderValue::from_static("b"));
        headers.insert(header::HOST, HeaderValue::from_static("api.example"));
        for name in [header::CONTENT_LENGTH, header::CONNECTION, header::TRANSFER_ENCODING] {
            headers.insert(name, HeaderValue::from_static("x"));
        }
        let (signature, payload) = (Signature::Ours, SignedPayload::Hash);
        OutboundRequest { method, path_and_query: target.into(), headers, body, signature, payload }
    }

    fn head(method: Method, body: RequestBody, keep: bool) -> String {
        let head = encode(&request(method, "/a?b=c", body), None, keep).unwrap();
        String::from_utf8(head.to_vec()).unwrap()
    }

    #[test]
    fn the_head_is_request_line_host_headers_and_framing() {
        assert_eq!(
            head(Method::PUT, RequestBody::Whole(Bytes::from_static(b"hello")), true),
            "PUT /a?b=c HTTP/1.1\r\nhost: api.example\r\naccept: a\r\naccept: b\r\ncontent-length: 5\r\n\r\n"
        );
    }

    #[test]
    fn content_length_0_is_sent_for_methods_that_expect_a_body() {
        let says_0 = |method, body| head(method, body, true).contains("\r\ncontent-length: 0\r\n");
        for method in [Method::POST, Method::PUT, Method::PATCH] {
            assert!(says_0(method, RequestBody::Empty));
        }
        assert!(!head(Method::GET, RequestBody::Empty, true).contains("content-length"));
        assert!(says_0(Method::GET, RequestBody::Whole(Bytes::new())));
    }

    #[test]
    fn a_connection_that_is_not_reused_gets_connection_close() {
        assert!(head(Method::GET, RequestBody::Empty, false).ends_with("\r\nconnection: close\r\n\r\n"));
        assert!(!head(Method::GET, RequestBody::Empty, true).contains("connection"));
    }

    #[test]
    fn a_target_with_spaces_or_control_characters_is_rejected() {
        for target in ["", "a", "/a b", "/a\r\nx: y", "/a\tb", "/\u{7f}", "/a#b", "http://a/"] {
            let request = request(Method::GET, target, RequestBody::Empty);
            assert!(encode(&request, None, true).is_err(), "{target:?}");
        }
        assert!(encode(&request(Method::GET, "/%20?q=ü", RequestBody::Empty), None, true).is_ok());
    }
}
