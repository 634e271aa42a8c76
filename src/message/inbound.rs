//! A client's request with its body, read within the limits and with filtered headers, the same for every
//! backend.
//!
//! `routing.rs` has matched the route; a backend turns the request into an outbound request.

use std::{
    net::{IpAddr, SocketAddr},
    time::SystemTime,
};

use actix_http::{
    HttpMessage as _, Method, Request, Uri, Version,
    header::{self, HeaderMap, HeaderName, HeaderValue},
};

pub use super::request_body::{BodyLimits, BodyMode, BodyStream, Incoming, RequestBody};
use super::{
    header_spelling::HeaderSpelling,
    headers,
    request_body::{self, DeclaredLength},
    via::Via,
};
use crate::{
    message::{body_pool::BodyMemory, error::ProxyError, header_map_pool as header_maps, trace::Trace},
    routing::PathMatch,
    settings::Scheme,
};

#[derive(Debug)]
pub struct InboundRequest {
    pub method: Method,
    /// Target as received: path and query are raw.
    pub uri: Uri,
    /// How the route's pattern lies over its path.
    pub path: PathMatch,
    /// Filtered headers, with `X-Forwarded-*`, `Via`, `X-Request-Id` and the trace headers.
    pub headers: HeaderMap,
    /// The client's spelling of the names, if the listener has kept it.
    pub spelling: Option<HeaderSpelling>,
    pub body: RequestBody,
    pub version: Version,
    /// Host of the request, with its port if there is one.
    pub host: Option<HeaderValue>,
    /// The client's address; `None` on a Unix socket.
    pub peer: Option<SocketAddr>,
    /// Arrival of the request's head.
    pub received_at: SystemTime,
    /// True if the headers contain trace context.
    pub is_traced: bool,
}

/// The connection and the request-scoped values that [`InboundRequest::read`] needs.
#[derive(Debug)]
pub struct ReadContext<'a> {
    /// The client's address; `None` on a Unix socket.
    pub peer: Option<SocketAddr>,
    /// True if the client's connection uses TLS.
    pub is_secure: bool,
    pub via: &'a Via,
    /// Value of `X-Forwarded-Port`: the port that the client connected to.
    pub forwarded_port: &'a HeaderValue,
    /// Pool for a body that is read whole.
    pub memory: &'a BodyMemory,
    pub request_id: &'a HeaderValue,
    pub trace: Option<&'a Trace>,
    /// Arrival of the request's head.
    pub received_at: SystemTime,
}

impl InboundRequest {
    /// Reads the body as far as `limits` require, and filters the headers.
    ///
    /// # Errors
    /// The body is too large, late or malformed.
    pub async fn read(
        mut request: Request,
        body: &mut Incoming,
        path: PathMatch,
        context: &ReadContext<'_>,
        limits: BodyLimits,
    ) -> Result<Self, ProxyError> {
        let declared = DeclaredLength::by(request.head_mut())?;
        let body = request_body::read(body, declared, limits, context.memory).await?;
        let spelling = take_spelling(&request);
        let head = request.head_mut();
        // actix reuses the head for another request and needs a map in it
        let mut headers = std::mem::replace(&mut head.headers, header_maps::take());
        // the authority of an absolute target takes precedence over `Host` (RFC 9112, 3.2.2)
        let host = match head.uri.authority() {
            Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
            None => headers.get(header::HOST).cloned(),
        };
        headers::clean_request(&mut headers);
        add_forwarding_headers(&mut headers, host.clone(), head.version, context);
        if let Some(trace) = context.trace {
            trace.pass_on(&mut headers);
        }
        Ok(Self {
            method: std::mem::take(&mut head.method),
            uri: std::mem::take(&mut head.uri),
            path,
            headers,
            spelling,
            body,
            version: head.version,
            host,
            peer: context.peer,
            received_at: context.received_at,
            is_traced: context.trace.is_some(),
        })
    }

    /// The path after the route's prefix, raw.
    pub fn rest(&self) -> Option<&str> {
        self.path.rest(self.uri.path())
    }
}

/// Takes the spelling that the listener has put into the request's extensions. `contains` does not even hash
/// while there are no extensions.
fn take_spelling(request: &Request) -> Option<HeaderSpelling> {
    let has_spelling = request.extensions().contains::<HeaderSpelling>();
    if has_spelling { request.extensions_mut().remove() } else { None }
}

/// Appends to `X-Forwarded-For` and overwrites the other three: values from an earlier hop cannot be
/// verified.
fn add_forwarding_headers(
    headers: &mut HeaderMap,
    host: Option<HeaderValue>,
    version: Version,
    context: &ReadContext<'_>,
) {
    const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
    const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
    const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
    const FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
    if let Some(peer) = context.peer.and_then(|peer| address_value(peer.ip())) {
        headers::append(headers, FORWARDED_FOR, peer);
    }
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static(Scheme::of(context.is_secure).name()));
    headers.insert(FORWARDED_PORT, context.forwarded_port.clone());
    match host {
        Some(host) => headers.insert(FORWARDED_HOST, host),
        None => headers.remove(FORWARDED_HOST),
    };
    context.via.add(headers, version);
    headers.insert(headers::REQUEST_ID, context.request_id.clone());
}

/// The text of an address; it always fits into a header.
fn address_value(address: IpAddr) -> Option<HeaderValue> {
    match address.to_canonical() {
        // the common case; `Display` takes ten times as long
        IpAddr::V4(address) => {
            let mut text = Vec::with_capacity(15);
            for (at, octet) in address.octets().into_iter().enumerate() {
                if at > 0 {
                    text.push(b'.');
                }
                text.extend_from_slice(itoa::Buffer::new().format(octet).as_bytes());
            }
            HeaderValue::from_bytes(&text).ok()
        }
        IpAddr::V6(address) => HeaderValue::from_str(&address.to_string()).ok(),
    }
}
