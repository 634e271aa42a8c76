//! A client's request with its body, read within the limits and with filtered headers, the same for every
//! backend.
//!
//! `routing.rs` has matched the route; a backend turns the request into an outbound request.

use std::{net::IpAddr, time::SystemTime};

use actix_http::{
    HttpMessage as _, Method, Request, Uri, Version,
    header::{self, HeaderMap, HeaderName, HeaderValue},
};

pub use super::request_body::{BodyLimits, BodyMode, BodyStream, Incoming, RequestBody, StreamProgress};
use super::{
    client_address::{ClientAddress, FORWARDED_FOR, PeerTrust},
    header_spelling::HeaderSpelling,
    headers,
    request_body::{self, DeclaredLength},
    via::Via,
};
use crate::{
    message::{body_pool::BodyMemory, error::ProxyError, header_map_pool as header_maps, trace::Trace},
    routing::PathMatch,
    settings::Scheme,
    text::{header_names::ClientProofs, ip_text::IpText},
};

const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");

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
    /// The client's address, IPv4 rather than IPv4-mapped; `None` on a Unix socket.
    pub client_ip: Option<IpAddr>,
    /// Arrival of the request's head.
    pub received_at: SystemTime,
    /// True if the headers contain trace context.
    pub is_traced: bool,
}

/// The connection and the request-scoped values that [`InboundRequest::read`] needs.
#[derive(Debug)]
pub struct ReadContext<'a> {
    pub client: ClientAddress,
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
    pub client_proofs: ClientProofs,
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
        headers::clean_request(&mut headers, context.client.trust, context.client_proofs);
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
            client_ip: context.client.ip,
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

/// Sets `X-Forwarded-*`, `Via` and `X-Request-Id`. Values of a peer that is not trusted are overwritten: they
/// cannot be verified.
fn add_forwarding_headers(
    headers: &mut HeaderMap,
    host: Option<HeaderValue>,
    version: Version,
    context: &ReadContext<'_>,
) {
    if let Some(peer) = context.client.peer.and_then(|peer| address_value(peer.ip())) {
        headers::append(headers, FORWARDED_FOR, peer);
    }
    if context.client.trust == PeerTrust::Trusted {
        complete_trusted(headers, host, context);
    } else {
        headers.insert(FORWARDED_PROTO, scheme(context));
        headers.insert(FORWARDED_PORT, context.forwarded_port.clone());
        match host {
            Some(host) => headers.insert(FORWARDED_HOST, host),
            None => headers.remove(FORWARDED_HOST),
        };
    }
    context.via.add(headers, version);
    headers.insert(headers::REQUEST_ID, context.request_id.clone());
}

/// Adds those of `X-Forwarded-Proto`, `-Host` and `-Port` that a trusted proxy has left out or empty. The
/// port follows from the proxy's scheme; in a list of several proxies the client's scheme is the first.
fn complete_trusted(headers: &mut HeaderMap, host: Option<HeaderValue>, context: &ReadContext<'_>) {
    let value_of = |name: &HeaderName| headers.get(name).filter(|value| !value.is_empty());
    let schemes = value_of(&FORWARDED_PROTO).map(HeaderValue::as_bytes);
    let port = value_of(&FORWARDED_PORT).is_none().then(|| {
        let first = schemes.and_then(|schemes| schemes.split(|byte| *byte == b',').next());
        match first.map(<[u8]>::trim_ascii) {
            Some(scheme) if scheme.eq_ignore_ascii_case(b"https") => HeaderValue::from_static("443"),
            Some(scheme) if scheme.eq_ignore_ascii_case(b"http") => HeaderValue::from_static("80"),
            _ => context.forwarded_port.clone(),
        }
    });
    let scheme = schemes.is_none().then(|| scheme(context));
    let host = host.filter(|_| value_of(&FORWARDED_HOST).is_none());
    for (name, value) in [(FORWARDED_PROTO, scheme), (FORWARDED_HOST, host), (FORWARDED_PORT, port)] {
        if let Some(value) = value {
            headers.insert(name, value);
        }
    }
}

/// The scheme of the connection.
fn scheme(context: &ReadContext<'_>) -> HeaderValue {
    HeaderValue::from_static(Scheme::of(context.is_secure).name())
}

fn address_value(address: IpAddr) -> Option<HeaderValue> {
    HeaderValue::from_str(IpText::from(address.to_canonical()).as_str()).ok()
}
