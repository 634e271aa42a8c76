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
    header::{self, HeaderMap, HeaderValue},
};
use percent_encoding::percent_decode_str;

use super::{
    super::{
        arguments::{Arguments, PlainArguments},
        content_type::ContentType,
        grouped::Indexed,
        headers::{EventHeaders, header},
        text::text,
        writer::EventWriter,
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
    /// The path, raw: AWS decodes it, ours can be had back byte for byte.
    pub path: &'a str,
    pub raw_query: &'a str,
    /// The arguments of the query; a flag has an empty value as with AWS (`peers.md` K23 has Kong's `true`).
    pub query: Indexed<PlainArguments<'a>>,
    pub headers: EventHeaders<'a>,
    /// The path up to the remainder.
    prefix: &'a str,
    /// The path after the route's prefix, raw, which `{proxy+}` stands for.
    pub remainder: Option<&'a str>,
    /// The host without its port.
    domain_name: Cow<'a, str>,
    pub request_id: &'a [u8],
    /// The client's name for itself.
    pub user_agent: Option<&'a [u8]>,
    pub source_ip: IpAddr,
    /// `HTTP/1.1`.
    pub protocol: &'static str,
    /// When its head had arrived.
    pub time: RequestTime,
    client_headers: &'a HeaderMap,
    pub body: &'a [u8],
}

/// `pathParameters.proxy` as REST APIs write it: raw as in `path`, without the slash that ends it. Adapters route by
/// this member, and `/a%2Fb` must not become `/a/b`.
pub fn raw_parameter(remainder: &str) -> &str {
    remainder.strip_suffix('/').unwrap_or(remainder)
}

/// `pathParameters.proxy` as HTTP APIs write it: decoded.
pub fn decoded_parameter(remainder: &str) -> Cow<'_, str> {
    text(percent_decode_str(remainder))
}

impl<'a> GatewayRequest<'a> {
    /// Finds it all in a request.
    pub fn new(settings: &'a GatewayEvent, inbound: &'a InboundRequest) -> Self {
        let raw_query = inbound.uri.query().unwrap_or_default();
        Self {
            settings,
            method: inbound.method.as_str(),
            path: inbound.uri.path(),
            raw_query,
            query: Indexed::new(PlainArguments(Arguments(raw_query.as_bytes()))),
            headers: EventHeaders::of(inbound),
            prefix: &inbound.uri.path()[..inbound.remainder.unwrap_or(inbound.uri.path().len())],
            remainder: inbound.remainder(),
            domain_name: inbound.host.as_ref().map(domain_name).unwrap_or_default(),
            request_id: header(inbound, &REQUEST_ID).unwrap_or_default(),
            user_agent: header(inbound, &header::USER_AGENT),
            source_ip: source_ip(inbound),
            protocol: protocol(inbound.version),
            time: RequestTime::new(inbound.received_at),
            client_headers: &inbound.headers,
            body: inbound.body.bytes(),
        }
    }

    /// Whether the body's type is one that an HTTP API takes for text.
    pub fn has_text_type(&self) -> bool {
        ContentType::of(self.client_headers).is_text()
    }

    /// Writes the beginning of `requestContext`, up to the text of `domainPrefix`: the first label of the host, which is
    /// an API's id where the host is AWS's.
    pub fn write_api(&self, writer: &mut EventWriter) {
        writer.fixed(r#","requestContext":{"accountId":""#);
        writer.escaped(self.settings.account_id.as_bytes());
        writer.fixed(r#"","apiId":""#);
        writer.escaped(self.settings.api_id.as_bytes());
        writer.fixed(r#"","domainName":""#);
        writer.escaped(self.domain_name.as_bytes());
        writer.fixed(r#"","domainPrefix":""#);
        writer.escaped(self.domain_name.split('.').next().unwrap_or_default().as_bytes());
    }

    /// Writes the path as a developer would have written it at API Gateway.
    pub fn write_resource(&self, writer: &mut EventWriter) {
        writer.escaped(self.prefix.as_bytes());
        if self.remainder.is_some() {
            writer.fixed("{proxy+}");
        }
    }

    /// Writes the path behind its stage.
    pub fn write_path_with_stage(&self, writer: &mut EventWriter) {
        let stage = &*self.settings.stage;
        if !matches!(stage, "" | DEFAULT_STAGE) {
            writer.fixed("/");
            writer.escaped(stage.as_bytes());
        }
        writer.escaped(self.path.as_bytes());
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
    match inbound.peer {
        Some(peer) => peer.ip().to_canonical(),
        // a client on a Unix socket has no address; it is on this machine, and readers of events demand one
        None => Ipv4Addr::LOCALHOST.into(),
    }
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
