//! What an API Gateway would know of a request, whichever version of event it writes.
//!
//! Where Kong's event is poorer than AWS's (`peers.md` K32: no account, API, stage or stage variables), the
//! route's settings fill it, which adapters such as Mangum and `lambda_http` count on.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
};

use actix_http::{
    Version,
    header::{self, HeaderValue},
};
use percent_encoding::percent_decode_str;

use super::{
    super::{
        arguments::{Arguments, PlainArguments},
        content_type::ContentType,
        grouped::Indexed,
        headers::{header, headers},
        pairs::Pairs,
        text::text,
    },
    request_time::RequestTime,
};
use crate::{
    message::{headers::REQUEST_ID, inbound::InboundRequest},
    settings::GatewayEvent,
};

/// The stage that stands in no path.
const DEFAULT_STAGE: &str = "$default";

/// A request as its event tells it.
#[derive(Debug)]
pub struct GatewayRequest<'a> {
    /// What the route says of the API.
    pub settings: &'a GatewayEvent,
    pub method: &'a str,
    /// The path with its prefix rewritten, raw: AWS decodes it, ours can be had back byte for byte.
    pub path: Cow<'a, str>,
    pub raw_query: &'a str,
    /// The arguments of the query; a flag has an empty value as with AWS (`peers.md` K23 has Kong's `true`).
    pub query: Indexed<PlainArguments<'a>>,
    pub headers: Pairs<'a>,
    /// The path as a developer would have written it at API Gateway.
    pub resource: Cow<'a, str>,
    /// The path parameters, raw.
    pub parameters: Vec<(&'a str, &'a str)>,
    /// The host without its port.
    pub domain_name: Cow<'a, str>,
    pub request_id: Cow<'a, str>,
    /// The client's name for itself.
    pub user_agent: Option<Cow<'a, str>>,
    pub source_ip: IpAddr,
    /// `HTTP/1.1`.
    pub protocol: &'static str,
    /// When its head had arrived.
    pub time: RequestTime,
    /// Whether the body's type is one that an HTTP API takes for text.
    pub has_text_type: bool,
    pub body: &'a [u8],
}

/// A path parameter as REST APIs write it: raw as in `path`, without the slash that ends it. Adapters route by
/// `pathParameters.proxy`, and `/a%2Fb` must not become `/a/b`.
pub fn raw_parameter(value: &str) -> &str {
    value.strip_suffix('/').unwrap_or(value)
}

/// A path parameter as HTTP APIs write it: decoded.
pub fn decoded_parameter(value: &str) -> Cow<'_, str> {
    text(percent_decode_str(value))
}

impl<'a> GatewayRequest<'a> {
    /// Finds it all in a request.
    pub fn new(settings: &'a GatewayEvent, inbound: &'a InboundRequest) -> Self {
        let raw_query = inbound.uri.query().unwrap_or_default();
        Self {
            settings,
            method: inbound.method.as_str(),
            path: inbound.path.rewritten(inbound.uri.path()),
            raw_query,
            query: Indexed::new(PlainArguments(Arguments(raw_query.as_bytes()))),
            headers: headers(inbound),
            resource: inbound.path.resource(),
            parameters: inbound.path.parameters(inbound.uri.path()).collect(),
            domain_name: inbound.host.as_ref().map(domain_name).unwrap_or_default(),
            request_id: header(inbound, &REQUEST_ID).unwrap_or_default(),
            user_agent: header(inbound, &header::USER_AGENT),
            source_ip: source_ip(inbound),
            protocol: protocol(inbound.version),
            time: RequestTime::new(inbound.received_at),
            has_text_type: ContentType::of(&inbound.headers).is_text(),
            body: inbound.body.bytes(),
        }
    }

    /// The first label of the host: an API's id where the host is AWS's.
    pub fn domain_prefix(&self) -> &str {
        self.domain_name.split('.').next().unwrap_or_default()
    }

    /// The path behind its stage.
    pub fn path_with_stage(&self) -> Cow<'_, str> {
        match &*self.settings.stage {
            "" | DEFAULT_STAGE => Cow::Borrowed(&self.path),
            stage => Cow::Owned(format!("/{stage}{}", self.path)),
        }
    }

    /// The stage's variables, if it has any.
    pub fn stage_variables(&self) -> Option<&'a BTreeMap<String, String>> {
        Some(&self.settings.stage_variables).filter(|variables| !variables.is_empty())
    }
}

fn domain_name(host: &HeaderValue) -> Cow<'_, str> {
    let host = host.as_bytes();
    let name = match host.iter().rposition(|byte| *byte == b':') {
        // the colons of an IPv6 address are inside its brackets
        Some(colon) if !host[colon..].contains(&b']') => &host[..colon],
        _ => host,
    };
    text(name)
}

fn source_ip(inbound: &InboundRequest) -> IpAddr {
    // a client on a Unix socket has no address; it is on this machine, and readers of events demand one
    inbound.client_ip.unwrap_or(Ipv4Addr::LOCALHOST.into())
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "HTTP/0.9",
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        Version::HTTP_3 => "HTTP/3.0",
        _ => "HTTP/1.1",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k26_the_domain_is_the_host_without_its_port() {
        for (host, name) in [
            ("shop.example.com", "shop.example.com"),
            ("shop.example.com:8080", "shop.example.com"),
            ("[::1]", "[::1]"),
            ("[::1]:80", "[::1]"),
            ("", ""),
        ] {
            assert_eq!(domain_name(&HeaderValue::from_static(host)), name);
        }
    }
}
