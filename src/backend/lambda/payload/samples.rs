//! Requests for the unit tests of the events.

use std::time::{Duration, UNIX_EPOCH};

use actix_http::{
    Method, Uri, Version,
    header::{self, HeaderMap, HeaderName, HeaderValue},
};
use bytes::Bytes;

use crate::{
    message::{
        headers::REQUEST_ID,
        inbound::{InboundRequest, RequestBody},
    },
    routing::PathMatch,
};

/// No limit for the event.
pub const ANY_SIZE: u64 = u64::MAX;

/// A request without body, as `message/inbound.rs` builds it.
pub fn request(method: &str, target: &str) -> InboundRequest {
    let mut headers = HeaderMap::new();
    headers.insert(REQUEST_ID, HeaderValue::from_static("request-1"));
    let uri: Uri = target.parse().unwrap();
    let path = uri.path();
    InboundRequest {
        method: Method::from_bytes(method.as_bytes()).unwrap(),
        path: PathMatch::of(path, path).or_else(|| PathMatch::of("/*", path)).unwrap(),
        headers,
        body: RequestBody::Empty,
        version: Version::HTTP_11,
        host: Some(HeaderValue::from_static("shop.example.com:8080")),
        peer: Some("[::ffff:192.0.2.7]:40000".parse().unwrap()),
        received_at: UNIX_EPOCH + Duration::from_millis(1_583_348_638_390),
        is_traced: false,
        uri,
    }
}

/// Adds a header.
pub fn with_header(mut inbound: InboundRequest, name: &str, value: &[u8]) -> InboundRequest {
    let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
    inbound.headers.append(name, HeaderValue::from_bytes(value).unwrap());
    inbound
}

/// Adds a body; without a type if `content_type` is empty.
pub fn with_body(mut inbound: InboundRequest, content_type: &str, body: &[u8]) -> InboundRequest {
    if !content_type.is_empty() {
        inbound.headers.insert(header::CONTENT_TYPE, HeaderValue::from_str(content_type).unwrap());
    }
    inbound.body = RequestBody::Whole(Bytes::copy_from_slice(body));
    inbound
}

/// Sets the route's prefix.
pub fn below(mut inbound: InboundRequest, prefix: &str) -> InboundRequest {
    assert!(inbound.uri.path().starts_with(prefix));
    inbound.path = PathMatch::of(&format!("{prefix}*"), inbound.uri.path()).unwrap();
    inbound
}
