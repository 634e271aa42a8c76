//! Converts requests of `h2` to the types of `actix-http`, which everything behind the listener uses, and
//! responses back.
//!
//! A head that would be refused over HTTP/1.1 is refused here too.

use std::{net::SocketAddr, time::SystemTime};

use actix_http::{
    BoxedPayloadStream, Method, Payload, Request, RequestHead, Response, Uri, Version,
    body::BodySize,
    header::{self, HeaderMap, HeaderName, HeaderValue, TryIntoHeaderValue as _},
};
use bytes::Bytes;

use super::{
    fields::{self, FieldFault},
    upload::Upload,
};
use crate::{
    message::{
        error::{ErrorKind, ProxyError},
        headers::REQUEST_ID,
    },
    system::wall_clock::clamped,
};

/// The request with its target in the form of HTTP/1.1 and its authority in `Host`. `max_uri` is the limit of
/// the path in bytes.
///
/// # Errors
/// The head has the mark of a fault, or a fault that `h2` accepts.
pub fn request(
    parts: &http::request::Parts,
    upload: Option<Upload>,
    peer: Option<SocketAddr>,
    max_uri: u64,
) -> Result<Request, ProxyError> {
    let has_body = upload.is_some();
    let payload = upload.map(|upload| Payload::Stream { payload: Box::pin(upload) as BoxedPayloadStream });
    let mut request = Request::with_payload(payload.unwrap_or(Payload::None));
    let head = request.head_mut();
    head.version = Version::HTTP_2;
    head.peer_addr = peer;
    head.method =
        Method::from_bytes(parts.method.as_str().as_bytes()).map_err(|_| malformed("invalid method"))?;
    head.uri = target(&parts.uri, &parts.method)?;
    let mut authority = parts.uri.authority().map(|authority| authority.as_str().as_bytes());
    for (name, value) in &parts.headers {
        if *name == fields::FAULT {
            return Err(FieldFault::error(value, max_uri));
        }
        if *name == fields::AUTHORITY {
            authority = Some(value.as_bytes());
            continue;
        }
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name.as_str().as_bytes()), HeaderValue::from_bytes(value.as_bytes()))
        {
            head.headers.append(name, value);
        }
    }
    join_cookies(&mut head.headers);
    if !has_body && !head.headers.contains_key(header::CONTENT_LENGTH) {
        head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    put_host(head, authority)?;
    Ok(request)
}

fn malformed(cause: &'static str) -> ProxyError {
    ProxyError::new(ErrorKind::InvalidRequest, cause)
}

/// The target in the form of HTTP/1.1 (RFC 9112, 3.2): path and query, the authority of CONNECT, or the
/// asterisk. No route matches the last two.
fn target(uri: &http::Uri, method: &http::Method) -> Result<Uri, ProxyError> {
    let path = uri.path_and_query().map(http::uri::PathAndQuery::as_str);
    let path = path.filter(|path| path.starts_with('/') || *path == "*");
    let authority = uri.authority().map(http::uri::Authority::as_str);
    let target = path.or_else(|| authority.filter(|_| method == http::Method::CONNECT));
    let target = target.ok_or_else(|| malformed("the path cannot be forwarded"))?;
    Uri::try_from(target).map_err(|_| malformed("malformed request target"))
}

/// Joins the lines of `Cookie` into one (RFC 9113, 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let mut lines = headers.get_all(header::COOKIE).map(HeaderValue::as_bytes);
    let Some((first, second)) = lines.next().zip(lines.next()) else { return };
    let mut whole = [first, b"; ", second].concat();
    for line in lines {
        whole.extend_from_slice(b"; ");
        whole.extend_from_slice(line);
    }
    // this cannot fail: each line is a valid value
    if let Ok(whole) = HeaderValue::from_maybe_shared(Bytes::from(whole)) {
        headers.insert(header::COOKIE, whole);
    }
}

/// Sets `Host` to the authority. A request with a different `Host` is malformed (RFC 9113, 8.3.1).
fn put_host(head: &mut RequestHead, authority: Option<&[u8]>) -> Result<(), ProxyError> {
    let mut hosts = head.headers.get_all(header::HOST);
    let (host, further) = (hosts.next(), hosts.next());
    match (authority, host, further) {
        (None, Some(_), None) => Ok(()),
        (Some(authority), host, None) if host.is_none_or(|host| host.as_bytes() == authority) => {
            let authority = HeaderValue::from_bytes(authority).map_err(|_| malformed("invalid host"))?;
            head.headers.insert(header::HOST, authority);
            Ok(())
        }
        _ => Err(malformed("missing host, or more than one host")),
    }
}

/// The head of a response, with `Date` if the upstream sent none.
pub fn head(response: &Response<()>, size: BodySize) -> http::Response<()> {
    let status = http::StatusCode::from_u16(response.status().as_u16());
    let mut head = with_status(status.unwrap_or(http::StatusCode::BAD_GATEWAY));
    *head.headers_mut() = header_map(response.headers());
    if !head.headers().contains_key(http::header::DATE)
        && let Ok(now) = header::HttpDate::from(clamped(SystemTime::now())).try_into_value()
        && let Ok(now) = http::HeaderValue::from_bytes(now.as_bytes())
    {
        head.headers_mut().insert(http::header::DATE, now);
    }
    if let BodySize::Sized(length) = size {
        head.headers_mut().insert(http::header::CONTENT_LENGTH, length.into());
    }
    head
}

pub fn with_status(status: http::StatusCode) -> http::Response<()> {
    let mut head = http::Response::new(());
    *head.status_mut() = status;
    head
}

/// The error response to a malformed head.
pub fn refusal(error: &ProxyError, request_id: &str) -> (http::Response<()>, Bytes) {
    let (status, mut headers, body) = error.answer(request_id);
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert(REQUEST_ID, id);
    }
    let mut response = Response::with_body(status, ());
    *response.headers_mut() = headers;
    (head(&response, BodySize::Sized(body.len() as u64)), body)
}

/// Headers or trailers without those of the connection (RFC 9113, 8.2.2). Those of the upstream were removed
/// before.
pub fn header_map(headers: &HeaderMap) -> http::HeaderMap {
    let mut map = http::HeaderMap::new();
    for (name, value) in headers {
        if *name == header::CONNECTION || *name == header::TRANSFER_ENCODING {
            continue;
        }
        if let (Ok(name), Ok(value)) = (
            http::HeaderName::from_bytes(name.as_str().as_bytes()),
            http::HeaderValue::from_bytes(value.as_bytes()),
        ) {
            map.append(name, value);
        }
    }
    map
}
