//! The values of a request that both versions of API Gateway's event contain.
//!
//! Kong's event has no account, API, stage and stage variables (case K32). Adapters such as Mangum and
//! `lambda_http` require them, so they come from the route's settings.

use std::{
    borrow::Cow,
    cell::RefCell,
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    rc::Rc,
    time::{SystemTime, UNIX_EPOCH},
};

use actix_http::{
    Version,
    header::{self, HeaderMap, HeaderValue},
};
use percent_encoding::percent_decode_str;

use time::{OffsetDateTime, format_description::StaticFormatDescription, macros::format_description};

use super::super::{
    arguments::{Arguments, PlainArguments},
    content_type::ContentType,
    groups::Indexed,
    headers::{EventHeaders, header},
    text::text,
    writer::EventWriter,
};
use crate::{
    message::{headers::REQUEST_ID, inbound::InboundRequest},
    routing::PathMatch,
    settings::GatewayEvent,
    system::wall_clock::clamped,
};

/// The stage that is not part of the path.
const DEFAULT_STAGE: &str = "$default";

#[derive(Debug)]
pub struct GatewayRequest<'a> {
    pub settings: &'a GatewayEvent,
    pub method: &'a str,
    /// The path with its prefix rewritten, not decoded, so that a function can restore it byte for byte; AWS
    /// decodes it.
    pub path: Cow<'a, str>,
    pub raw_query: &'a str,
    /// The query's arguments; a flag has an empty value, as with AWS (Kong writes `true`, case K23).
    pub query: Indexed<PlainArguments<'a>>,
    pub headers: EventHeaders<'a>,
    /// The route's pattern as API Gateway writes it.
    resource: Cow<'a, str>,
    path_match: &'a PathMatch,
    /// The path of the request.
    whole_path: &'a str,
    /// The host without its port.
    domain_name: Cow<'a, str>,
    pub request_id: &'a [u8],
    pub user_agent: Option<&'a [u8]>,
    pub source_ip: IpAddr,
    /// `HTTP/1.1`.
    pub protocol: &'static str,
    /// Time at which the head was complete.
    pub time: RequestTime,
    client_headers: &'a HeaderMap,
    pub body: &'a [u8],
}

/// A path parameter of REST APIs: not decoded, without the final slash. Adapters route by
/// `pathParameters.proxy`, and `/a%2Fb` must not become `/a/b`.
pub fn raw_parameter(value: &str) -> &str {
    value.strip_suffix('/').unwrap_or(value)
}

/// A path parameter of HTTP APIs: decoded.
pub fn decoded_parameter(value: &str) -> Cow<'_, str> {
    text(percent_decode_str(value))
}

impl<'a> GatewayRequest<'a> {
    pub fn new(settings: &'a GatewayEvent, inbound: &'a InboundRequest) -> Self {
        let raw_query = inbound.uri.query().unwrap_or_default();
        Self {
            settings,
            method: inbound.method.as_str(),
            path: inbound.path.rewritten(inbound.uri.path()),
            raw_query,
            query: Indexed::new(PlainArguments(Arguments(raw_query.as_bytes()))),
            headers: EventHeaders::of(inbound),
            resource: inbound.path.resource(),
            path_match: &inbound.path,
            whole_path: inbound.uri.path(),
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

    /// True if an HTTP API forwards the body as text.
    pub fn has_text_type(&self) -> bool {
        ContentType::of(self.client_headers).is_text()
    }

    /// Writes the beginning of `requestContext`, up to the text of `domainPrefix`: the first label of the
    /// host, which is the API's id on a host of AWS.
    pub fn write_api(&self, writer: &mut EventWriter) {
        writer.text(r#","requestContext":{"accountId":""#, &self.settings.account_id);
        writer.text(r#"","apiId":""#, &self.settings.api_id);
        writer.text(r#"","domainName":""#, &*self.domain_name);
        writer.text(r#"","domainPrefix":""#, self.domain_name.split('.').next().unwrap_or_default());
    }

    /// Writes the path as it is configured at API Gateway.
    pub fn write_resource(&self, writer: &mut EventWriter) {
        writer.escaped(self.resource.as_bytes());
    }

    /// Writes the key of an HTTP API's route, `METHOD /resource`: each method of a route that names its
    /// methods is a route of its own there.
    pub fn write_route_key(&self, writer: &mut EventWriter) {
        let method = if self.path_match.names_methods() { self.method } else { "ANY" };
        writer.escaped(method.as_bytes());
        writer.fixed(" ");
        self.write_resource(writer);
    }

    /// The path parameters, not decoded.
    pub fn parameters(&self) -> impl Iterator<Item = (&str, &'a str)> {
        self.path_match.parameters(self.whole_path)
    }

    /// Writes the path with the stage before it.
    pub fn write_path_with_stage(&self, writer: &mut EventWriter) {
        let stage = &*self.settings.stage;
        if !matches!(stage, "" | DEFAULT_STAGE) {
            writer.fixed("/");
            writer.escaped(stage.as_bytes());
        }
        writer.escaped(self.path.as_bytes());
    }

    pub fn stage_variables(&self) -> Option<&'a BTreeMap<String, String>> {
        Some(&self.settings.stage_variables).filter(|variables| !variables.is_empty())
    }
}

fn domain_name(host: &HeaderValue) -> Cow<'_, str> {
    let host = host.as_bytes();
    let name = match host.iter().rposition(|byte| *byte == b':') {
        // not a colon inside the brackets of an IPv6 address
        Some(colon) if !host[colon..].contains(&b']') => &host[..colon],
        _ => host,
    };
    text(name)
}

fn source_ip(inbound: &InboundRequest) -> IpAddr {
    // a client on a Unix socket has no address, and readers of events require one
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

/// The Common Log Format, always in UTC.
const COMMON_LOG: StaticFormatDescription =
    format_description!("[day]/[month repr:short]/[year]:[hour]:[minute]:[second] +0000");

thread_local! {
    /// Text of the last second: formatting a time takes longer than writing a third of the event.
    static LAST_TEXT: RefCell<(u64, Rc<str>)> = RefCell::new((u64::MAX, Rc::from("")));
}

#[derive(Debug, PartialEq, Eq)]
pub struct RequestTime {
    /// `12/Mar/2020:19:03:58 +0000`.
    pub text: Rc<str>,
    /// Milliseconds since 1970.
    pub epoch: i64,
}

impl RequestTime {
    /// A time before 1970 or after 9999 is clamped.
    pub fn new(time: SystemTime) -> Self {
        let time = clamped(time);
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let epoch = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
        let text = LAST_TEXT.with_borrow_mut(|(second, text)| {
            if *second != since.as_secs() {
                (*second, *text) = (since.as_secs(), common_log(time).into());
            }
            text.clone()
        });
        Self { text, epoch }
    }
}

#[expect(clippy::expect_used, reason = "a date has every part that the format asks for")]
fn common_log(time: SystemTime) -> String {
    OffsetDateTime::from(time).format(COMMON_LOG).expect("a date in the common log format")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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

    #[test]
    fn k26_a_moment_is_told_in_the_common_log_format_and_in_milliseconds() {
        for (milliseconds, text) in [
            (0, "01/Jan/1970:00:00:00 +0000"),
            (1_583_348_638_390, "04/Mar/2020:19:03:58 +0000"),
            (1_709_208_000_001, "29/Feb/2024:12:00:00 +0000"),
            (253_402_300_799_999, "31/Dec/9999:23:59:59 +0000"),
        ] {
            let time = RequestTime::new(UNIX_EPOCH + Duration::from_millis(milliseconds));
            assert_eq!(time, RequestTime { text: text.into(), epoch: milliseconds.cast_signed() });
        }
    }

    #[test]
    fn a_clock_that_is_far_off_does_no_harm() {
        let early = RequestTime::new(UNIX_EPOCH - Duration::from_hours(1));
        assert_eq!(early, RequestTime::new(UNIX_EPOCH));
        let late = UNIX_EPOCH + Duration::from_secs(u64::from(u32::MAX) << 20);
        assert_eq!(&*RequestTime::new(late).text, "31/Dec/9999:23:59:59 +0000");
    }
}
