//! A request's head as it goes out (RFC 9112, 2.1). `client.rs` writes one before it takes a connection.

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

/// Room for a line that is not known yet: a signature is longer, most others are shorter.
const LINE: usize = 64;
/// Room for what is there anyway: the signature, and the lines written here.
const REST: usize = 384;

/// Writes the head: all of the request's headers, those of its signature, if it is signed, and the framing that follows
/// from its body. `keep` tells whether the connection may be used again.
///
/// # Errors
/// The target cannot stand in a request line.
pub fn encode(
    request: &OutboundRequest,
    signing_headers: Option<&SigningHeaders>,
    keep: bool,
) -> Result<Bytes, ProxyError> {
    let OutboundRequest { method, path_and_query, headers, body, .. } = request;
    if !is_target(path_and_query) {
        return Err(ProxyError::new(ErrorKind::Internal, "the request target cannot be sent"));
    }
    let mut head = BytesMut::with_capacity(path_and_query.len() + headers.len() * LINE + REST);
    for part in [method.as_str(), " ", path_and_query, " HTTP/1.1\r\n"] {
        head.put_slice(part.as_bytes());
    }
    // RFC 9110, 7.2: first of all
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
    if let Some(length) = content_length(method, body) {
        // into memory, which does not fail
        let _ = write!(head, "content-length: {length}\r\n");
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

/// The headers that are not taken from the request: it cannot know them.
fn is_written_here(name: &HeaderName) -> bool {
    [header::HOST, header::CONTENT_LENGTH, header::CONNECTION, header::TRANSFER_ENCODING].contains(name)
}

/// RFC 9110, 8.6: a method that has a meaning for a body says so when there is none.
fn content_length(method: &Method, body: &RequestBody) -> Option<u64> {
    let means_a_body = matches!(*method, Method::POST | Method::PUT | Method::PATCH);
    match body {
        RequestBody::Empty if !means_a_body => None,
        body => Some(body.length()),
    }
}

/// Whether a text can stand between two spaces of a request line: what ends it would begin something else.
fn is_target(text: &str) -> bool {
    text.starts_with('/') && !text.bytes().any(|byte| byte <= b' ' || byte == 0x7f || byte == b'#')
}

#[cfg(test)]
mod tests {
    use actix_http::header::{HeaderMap, HeaderValue};

    use super::*;
    use crate::message::outbound::Signature;

    fn request(method: Method, target: &str, body: RequestBody) -> OutboundRequest {
        let mut headers = HeaderMap::new();
        headers.append(header::ACCEPT, HeaderValue::from_static("a"));
        headers.append(header::ACCEPT, HeaderValue::from_static("b"));
        headers.insert(header::HOST, HeaderValue::from_static("api.example"));
        for name in [header::CONTENT_LENGTH, header::CONNECTION, header::TRANSFER_ENCODING] {
            headers.insert(name, HeaderValue::from_static("x"));
        }
        OutboundRequest { method, path_and_query: target.into(), headers, body, signature: Signature::Ours }
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
    fn a_length_of_0_is_said_where_a_body_would_mean_something() {
        let says_0 = |method, body| head(method, body, true).contains("\r\ncontent-length: 0\r\n");
        for method in [Method::POST, Method::PUT, Method::PATCH] {
            assert!(says_0(method, RequestBody::Empty));
        }
        assert!(!head(Method::GET, RequestBody::Empty, true).contains("content-length"));
        assert!(says_0(Method::GET, RequestBody::Whole(Bytes::new())));
    }

    #[test]
    fn a_connection_that_is_not_kept_is_said_to_close() {
        assert!(head(Method::GET, RequestBody::Empty, false).ends_with("\r\nconnection: close\r\n\r\n"));
        assert!(!head(Method::GET, RequestBody::Empty, true).contains("connection"));
    }

    #[test]
    fn a_target_that_would_end_the_line_or_begin_another_is_not_sent() {
        for target in ["", "a", "/a b", "/a\r\nx: y", "/a\tb", "/\u{7f}", "/a#b", "http://a/"] {
            let request = request(Method::GET, target, RequestBody::Empty);
            assert!(encode(&request, None, true).is_err(), "{target:?}");
        }
        assert!(encode(&request(Method::GET, "/%20?q=ü", RequestBody::Empty), None, true).is_ok());
    }
}
