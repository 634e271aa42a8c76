//! Arbitrary requests: the event contains every part byte for byte, except that names and values which are
//! not UTF-8 are read as Latin-1.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::{Duration, UNIX_EPOCH},
};

use aws_lambda_events::apigw::{ApiGatewayProxyRequest, ApiGatewayV2httpRequest};
use base64::{Engine, engine::general_purpose::STANDARD};
use percent_encoding::percent_decode_str;
use proptest::{collection::vec, option, prelude::*, sample::select};

use super::{event, settings};
use crate::{
    backend::lambda::payload::samples::{below, request, with_body, with_header},
    message::inbound::InboundRequest,
    routing::UriPattern,
    settings::{GatewayEvent, PayloadVersion},
};

/// All characters that the HTTP parser accepts.
const METHOD: &str = "[A-Z]{1,8}|[!*+.^_`|~0-9A-Za-z-]{1,12}";
/// All characters that the HTTP parsers accept in a path and in a query.
const PATH: &str = "(/([!$&-.0-;=@-_a-z~]|%[0-9A-Fa-f]{2}){0,5}){1,4}";
const QUERY: &str = "([a-c]{0,2}(=([!$'-;=?-~]|%[0-9A-Fa-f]{2}){0,5})?&?){0,6}";
const CONTENT_TYPES: [&str; 6] =
    ["", "text/plain", "application/json; charset=utf-8", "application/pdf", "TEXT/x", "multipart/form-data"];

#[derive(Debug)]
struct Case {
    method: String,
    path: String,
    remainder: Option<usize>,
    query: Option<String>,
    headers: Vec<(String, Vec<u8>)>,
    content_type: &'static str,
    body: Vec<u8>,
    base64_encode_body: bool,
    milliseconds: u64,
    peer: Option<SocketAddr>,
}

impl Case {
    fn inbound(&self) -> InboundRequest {
        let query = self.query.as_ref().map_or(String::new(), |query| format!("?{query}"));
        let mut inbound = request(&self.method, &format!("{}{query}", self.path));
        for (name, value) in &self.headers {
            inbound = with_header(inbound, name, value);
        }
        if let Some(start) = self.remainder {
            inbound = below(inbound, &self.path[..start]);
        }
        inbound.peer = self.peer;
        inbound.received_at = UNIX_EPOCH + Duration::from_millis(self.milliseconds);
        with_body(inbound, self.content_type, &self.body)
    }

    fn event(&self, version: PayloadVersion) -> Vec<u8> {
        let settings = GatewayEvent { base64_encode_body: self.base64_encode_body, ..settings(version) };
        event(settings, &self.inbound())
    }

    /// The values of every header but `cookie`.
    fn header_values(&self) -> BTreeMap<String, Vec<String>> {
        let mut values = BTreeMap::<_, Vec<_>>::new();
        let own = [("host", "shop.example.com:8080"), ("x-request-id", "request-1")];
        let content_type = Some(("content-type", self.content_type)).filter(|(_, value)| !value.is_empty());
        for (name, value) in own.into_iter().chain(content_type) {
            values.insert(name.to_owned(), vec![value.to_owned()]);
        }
        for (name, value) in self.headers.iter().filter(|(name, _)| name != "cookie") {
            values.entry(name.clone()).or_default().push(characters(value));
        }
        values
    }

    fn cookie_lines(&self) -> Vec<String> {
        let lines = self.headers.iter().filter(|(name, _)| name == "cookie");
        lines.map(|(_, value)| characters(value)).collect()
    }

    /// The values of every argument, decoded.
    fn arguments(&self) -> BTreeMap<String, Vec<String>> {
        let decoded = |part: &str| {
            let blanks = part.replace('+', " ");
            characters(&percent_decode_str(&blanks).collect::<Vec<u8>>())
        };
        let mut values = BTreeMap::<_, Vec<_>>::new();
        let query = self.query.as_deref().unwrap_or_default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            values.entry(decoded(name)).or_default().push(decoded(value));
        }
        values
    }
}

/// UTF-8, or else Latin-1.
fn characters(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect(),
    }
}

fn case() -> impl Strategy<Value = Case> {
    let name = prop_oneof![Just("cookie".to_owned()), Just("user-agent".to_owned()), "x-[a-c]{1,2}"];
    let byte = prop_oneof![4 => 0x20..0x7F_u8, 1 => Just(b'\t'), 1 => 0x80..=0xFF_u8];
    let value = prop_oneof![vec(byte, 0..12), "[a-zé=; ]{0,12}".prop_map(String::into_bytes)];
    let body = prop_oneof![vec(any::<u8>(), 0..50), any::<String>().prop_map(String::into_bytes)];
    let target = (PATH, any::<prop::sample::Index>(), option::of(QUERY)).prop_map(|(path, index, query)| {
        let starts: Vec<usize> =
            path.match_indices('/').map(|(at, _)| at + 1).filter(|at| *at < path.len()).collect();
        let remainder = starts.get(index.index(starts.len() + 1)).copied();
        (path, remainder, query)
    });
    // paths that a `uri` may have
    let target = target.prop_filter("a uri", |(path, ..)| UriPattern::parse(path).is_some());
    let rest =
        (select(&CONTENT_TYPES[..]), body, any::<bool>(), 0..1_u64 << 62, option::of(any::<SocketAddr>()));
    (METHOD, target, vec((name, value), 0..6), rest).prop_map(|(method, target, headers, rest)| {
        let (path, remainder, query) = target;
        let (content_type, body, base64_encode_body, milliseconds, peer) = rest;
        Case {
            method,
            path,
            remainder,
            query,
            headers,
            content_type,
            body,
            base64_encode_body,
            milliseconds,
            peer,
        }
    })
}

fn body_bytes(body: Option<&str>, is_base64: bool) -> Vec<u8> {
    match body {
        Some(body) if is_base64 => STANDARD.decode(body).unwrap(),
        body => body.unwrap_or_default().as_bytes().to_vec(),
    }
}

proptest! {
    #[test]
    fn an_event_has_the_bytes_that_serde_json_writes_for_it(case in case()) {
        for version in [PayloadVersion::V1, PayloadVersion::V2] {
            let event = case.event(version);
            let members: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&event).unwrap();
            prop_assert_eq!(serde_json::to_string(&members).unwrap(), String::from_utf8(event).unwrap());
        }
    }

    #[test]
    fn all_of_a_request_is_in_1_0_and_its_utf_8_byte_for_byte(case in case()) {
        let event: ApiGatewayProxyRequest = serde_json::from_slice(&case.event(PayloadVersion::V1)).unwrap();
        prop_assert_eq!(event.http_method.as_str(), &case.method);
        prop_assert_eq!(event.path.as_deref(), Some(&*case.path));
        prop_assert_eq!(body_bytes(event.body.as_deref(), event.is_base64_encoded), &*case.body);
        if let Some(start) = case.remainder {
            let remainder = &case.path[start..];
            let raw = remainder.strip_suffix('/').unwrap_or(remainder);
            prop_assert_eq!(&event.path_parameters["proxy"], raw);
            prop_assert_eq!(event.resource.unwrap(), format!("{}{{proxy+}}", &case.path[..start]));
        }

        let mut headers = case.header_values();
        let cookies = case.cookie_lines();
        if !cookies.is_empty() {
            headers.insert("cookie".to_owned(), vec![cookies.join("; ")]);
        }
        prop_assert_eq!(event.headers.len(), headers.len());
        prop_assert_eq!(event.multi_value_headers.keys_len(), headers.len());
        for (name, values) in headers {
            prop_assert_eq!(event.headers[&name].as_bytes(), values[values.len() - 1].as_bytes());
            let all = event.multi_value_headers.get_all(&name);
            prop_assert!(all.iter().eq(values.iter().map(String::as_bytes)));
        }

        let arguments = case.arguments();
        let multiple = &event.multi_value_query_string_parameters;
        let names: BTreeSet<_> = multiple.iter().map(|(name, _)| name).collect();
        prop_assert!(names.into_iter().eq(arguments.keys()));
        for (name, values) in arguments {
            prop_assert_eq!(event.query_string_parameters.first(&name), values.last().map(|value| &**value));
            let all = multiple.all(&name).unwrap();
            prop_assert_eq!(all, values);
        }
    }

    #[test]
    fn all_of_a_request_is_in_2_0_its_raw_path_and_query_and_its_utf_8_byte_for_byte(case in case()) {
        let event: ApiGatewayV2httpRequest = serde_json::from_slice(&case.event(PayloadVersion::V2)).unwrap();
        prop_assert_eq!(event.request_context.http.method.as_str(), &case.method);
        prop_assert_eq!(event.raw_path.as_deref(), Some(&*case.path));
        prop_assert_eq!(event.raw_query_string.as_deref(), Some(case.query.as_deref().unwrap_or_default()));
        prop_assert_eq!(body_bytes(event.body.as_deref(), event.is_base64_encoded), &*case.body);
        if let Some(start) = case.remainder {
            let decoded = characters(&percent_decode_str(&case.path[start..]).collect::<Vec<u8>>());
            prop_assert_eq!(&event.path_parameters["proxy"], &decoded);
        }

        let mut headers = case.header_values();
        headers.insert("content-length".to_owned(), vec![case.body.len().to_string()]);
        prop_assert_eq!(event.headers.len(), headers.len());
        for (name, values) in headers {
            let joined = values.join(",");
            prop_assert_eq!(event.headers[&name].as_bytes(), joined.as_bytes());
        }
        let lines = case.cookie_lines().join(";");
        let cookies = lines.split(';').map(|cookie| cookie.trim_matches([' ', '\t']));
        let cookies: Vec<_> = cookies.filter(|cookie| !cookie.is_empty()).collect();
        prop_assert_eq!(event.cookies.unwrap_or_default(), cookies);

        let arguments = case.arguments();
        let names: BTreeSet<_> = event.query_string_parameters.iter().map(|(name, _)| name).collect();
        prop_assert!(names.into_iter().eq(arguments.keys()));
        for (name, values) in arguments {
            // `aws_lambda_events` splits at commas
            let joined = values.join(",");
            let all = event.query_string_parameters.all(&name).unwrap();
            prop_assert_eq!(all, joined.split(',').collect::<Vec<_>>());
        }
    }
}
