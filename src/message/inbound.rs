//! A client's request, read within its limits and cleaned, the same for every backend.
//!
//! `routing.rs` has chosen the route; a backend turns what is here into an outbound request.

use std::{
    net::{IpAddr, SocketAddr},
    time::SystemTime,
};

use actix_http::{
    Method, Request, Uri, Version,
    header::{self, HeaderMap, HeaderName, HeaderValue},
};

pub use super::request_body::{BodyLimits, BodyMode, BodyStream, Incoming, RequestBody};
use super::{
    headers,
    request_body::{self, DeclaredLength},
    via::Via,
};
use crate::{
    message::{body_pool::BodyMemory, error::ProxyError, header_map_pool as header_maps, trace::Trace},
    routing::PathMatch,
    settings::Scheme,
};

/// A request that may be forwarded.
#[derive(Debug)]
pub struct InboundRequest {
    pub method: Method,
    /// Its target as received: path and query are raw.
    pub uri: Uri,
    /// How the route's pattern lies over its path.
    pub path: PathMatch,
    /// Its headers without those that never pass, and with `X-Forwarded-*`, `Via`, `X-Request-Id`
    /// and those of its trace.
    pub headers: HeaderMap,
    pub body: RequestBody,
    pub version: Version,
    /// The host that the client meant, with its port if it gave one.
    pub host: Option<HeaderValue>,
    /// The client's address; none on a Unix socket.
    pub peer: Option<SocketAddr>,
    /// When its head had arrived.
    pub received_at: SystemTime,
    /// Whether its headers tell of a trace that this call is a part of.
    pub is_traced: bool,
}

/// Who is on the other end of the client's connection, and what stands in `Via` for us.
#[derive(Debug)]
pub struct ReadContext<'a> {
    /// The client's address; none on a Unix socket.
    pub peer: Option<SocketAddr>,
    /// Whether its connection is encrypted.
    pub is_secure: bool,
    /// What stands in `Via` for us.
    pub via: &'a Via,
    /// The value of `X-Forwarded-Port`: the port that the client connected to.
    pub forwarded_port: &'a HeaderValue,
    /// Where the body is read to, if all of it is needed.
    pub memory: &'a BodyMemory,
    pub request_id: &'a HeaderValue,
    /// The trace that the request belongs to.
    pub trace: Option<&'a Trace>,
    /// When its head had arrived.
    pub received_at: SystemTime,
}

impl InboundRequest {
    /// Takes a request apart, reading its body as far as `limits` demand.
    ///
    /// # Errors
    /// The body is too large, late, or broken.
    pub async fn read(
        mut request: Request,
        body: &mut Incoming,
        path: PathMatch,
        context: &ReadContext<'_>,
        limits: BodyLimits,
    ) -> Result<Self, ProxyError> {
        let head = request.head_mut();
        let declared = DeclaredLength::by(head)?;
        let body = request_body::read(body, declared, limits, context.memory).await?;
        // the head is used again for another request, for which it needs a map
        let mut headers = std::mem::replace(&mut head.headers, header_maps::take());
        // that of an absolute target goes before the header (RFC 9112, 3.2.2)
        let host = match head.uri.authority() {
            Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
            None => headers.get(header::HOST).cloned(),
        };
        headers::clean_request(&mut headers);
        say_who_forwards(&mut headers, host.clone(), head.version, context);
        if let Some(trace) = context.trace {
            trace.pass_on(&mut headers);
        }
        Ok(Self {
            method: std::mem::take(&mut head.method),
            uri: std::mem::take(&mut head.uri),
            path,
            headers,
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

/// `X-Forwarded-For` grows, the other three say what was seen here: what a client claims about an earlier hop
/// is no more than a claim.
fn say_who_forwards(
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

/// `None` is what no address gives: its text fits into a header.
fn address_value(address: IpAddr) -> Option<HeaderValue> {
    match address.to_canonical() {
        // most clients' are of this kind, and writing them by way of `Display` takes ten times as long
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
