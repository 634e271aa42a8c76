//! What an API Gateway would know of a request, whichever version of event it writes.
//!
//! Where Kong's event is poorer than AWS's (`peers.md` K32: no account, API, stage or stage variables), the
//! route's settings fill it, which adapters such as Mangum and `lambda_http` count on.

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
    settings::GatewayEvent,
    system::wall_clock::clamped,
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
        writer.text(r#","requestContext":{"accountId":""#, &self.settings.account_id);
        writer.text(r#"","apiId":""#, &self.settings.api_id);
        writer.text(r#"","domainName":""#, &*self.domain_name);
        writer.text(r#"","domainPrefix":""#, self.domain_name.split('.').next().unwrap_or_default());
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

/// The Common Log Format, always in UTC (`aws.md` 3.2).
const COMMON_LOG: StaticFormatDescription =
    format_description!("[day]/[month repr:short]/[year]:[hour]:[minute]:[second] +0000");

thread_local! {
    /// The last second whose text was written: requests come many to a second, and a text takes longer than all other
    /// members of an event together.
    static LAST_TEXT: RefCell<(u64, Rc<str>)> = RefCell::new((u64::MAX, Rc::from("")));
}

/// A point in time, in both forms.
#[derive(Debug, PartialEq, Eq)]
pub struct RequestTime {
    /// `12/Mar/2020:19:03:58 +0000`.
    pub text: Rc<str>,
    /// Milliseconds since 1970.
    pub epoch: i64,
}

impl RequestTime {
    /// That of a clock's reading; one before 1970 or after 9999 is moved to that end.
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
