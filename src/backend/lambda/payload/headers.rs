//! The client's headers for an event.
//!
//! `message/inbound.rs` has removed hop-by-hop headers and added those of the sidecar. It also removed
//! `host`, which is added again, because functions build links with it.

use std::borrow::Cow;

use actix_http::header::{HeaderName, HeaderValue};
use serde::{Serialize, Serializer};

use super::{
    groups::{Grouped, OneOrAll, Values},
    text::text,
};
use crate::message::{header_spelling::HeaderSpelling, inbound::InboundRequest};

/// Headers by lower-case name, as HTTP APIs send them, until [`Self::spell`]. The values of a name keep
/// their order.
///
/// Names are sorted, because actix's header map has no order and the same request must give the same bytes.
#[derive(Debug)]
pub struct EventHeaders<'a>(Vec<HeaderLine<'a>>);

#[derive(Debug)]
struct HeaderLine<'a> {
    /// The beginning of the name: comparing integers is faster than comparing texts.
    prefix: u128,
    name: &'a str,
    value: Cow<'a, [u8]>,
}

impl<'a> HeaderLine<'a> {
    fn new(name: &'a str, value: impl Into<Cow<'a, [u8]>>) -> Self {
        let mut prefix = [0; 16];
        let length = name.len().min(prefix.len());
        prefix[..length].copy_from_slice(&name.as_bytes()[..length]);
        Self { prefix: u128::from_be_bytes(prefix), name, value: value.into() }
    }
}

impl<'a> EventHeaders<'a> {
    pub fn of(inbound: &'a InboundRequest) -> Self {
        let mut lines = Vec::with_capacity(inbound.headers.len() + 1);
        lines.extend(inbound.host.iter().map(|host| HeaderLine::new("host", host.as_bytes())));
        let others = inbound.headers.iter();
        lines.extend(others.map(|(name, value)| HeaderLine::new(name.as_str(), value.as_bytes())));
        Self::sorted(lines)
    }

    fn sorted(mut lines: Vec<HeaderLine<'a>>) -> Self {
        lines.sort_by(|one, other| one.prefix.cmp(&other.prefix).then_with(|| one.name.cmp(other.name)));
        Self(lines)
    }

    /// Adds a value after the other values of the name.
    pub fn insert(&mut self, name: &'a str, value: impl Into<Cow<'a, [u8]>>) {
        let at = self.0.partition_point(|line| line.name <= name);
        self.0.insert(at, HeaderLine::new(name, value));
    }

    /// Removes a name and returns its values.
    pub fn remove(&mut self, name: &str) -> Vec<Cow<'a, [u8]>> {
        let start = self.0.partition_point(|line| line.name < name);
        let end = self.0.partition_point(|line| line.name <= name);
        self.0.drain(start..end).map(|line| line.value).collect()
    }

    /// Joins the values of a name into one.
    pub fn join(&mut self, name: &str, separator: &str) {
        let start = self.0.partition_point(|line| line.name < name);
        let end = self.0.partition_point(|line| line.name <= name);
        if end - start > 1 {
            let values: Vec<_> = self.0[start..end].iter().map(|line| text(&*line.value)).collect();
            self.0[start].value = Cow::Owned(values.join(separator).into_bytes());
            self.0.drain(start + 1..end);
        }
    }

    /// Spells names as REST APIs do: names of the client as in its first line of that name, names that a
    /// gateway adds in the gateway's spelling. Names that the route sets are spelled as in its settings: a
    /// client must not choose the name under which a function finds them. Names then cannot be found any
    /// more.
    pub fn spell(&mut self, spelling: Option<&'a HeaderSpelling>) {
        let clients: Vec<&str> = spelling.map(|spelling| spelling.names().collect()).unwrap_or_default();
        let of_client = |name: &str| clients.iter().find(|own| own.eq_ignore_ascii_case(name)).copied();
        for line in &mut self.0 {
            line.name = gateway_spelling(line.name).or_else(|| of_client(line.name)).unwrap_or(line.name);
        }
    }
}

impl Grouped for EventHeaders<'_> {
    type Value<'v>
        = &'v [u8]
    where
        Self: 'v;

    fn groups(&self) -> impl Iterator<Item = (Cow<'_, str>, impl Values<Item = &[u8]>)> {
        let groups = self.0.chunk_by(|one, next| one.name == next.name);
        groups.map(|group| (Cow::Borrowed(group[0].name), group.iter().map(|line| &*line.value)))
    }
}

/// Kong's format.
impl Serialize for EventHeaders<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.groups().map(|(name, values)| (name, OneOrAll(values.map(text)))))
    }
}

fn gateway_spelling(name: &str) -> Option<&'static str> {
    Some(match name {
        "host" => "Host",
        "via" => "Via",
        "x-forwarded-for" => "X-Forwarded-For",
        "x-forwarded-host" => "X-Forwarded-Host",
        "x-forwarded-port" => "X-Forwarded-Port",
        "x-forwarded-proto" => "X-Forwarded-Proto",
        "x-amzn-trace-id" => "X-Amzn-Trace-Id",
        _ => return None,
    })
}

pub fn header<'a>(inbound: &'a InboundRequest, name: &HeaderName) -> Option<&'a [u8]> {
    inbound.headers.get(name).map(HeaderValue::as_bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::writer::tests::written, *};
    use crate::backend::lambda::payload::samples::{request, with_header};

    fn headers<'a>(lines: &[(&'a str, &'a str)]) -> EventHeaders<'a> {
        let lines = lines.iter().map(|(name, value)| HeaderLine::new(name, value.as_bytes()));
        EventHeaders::sorted(lines.collect())
    }

    fn json(value: &impl Serialize) -> String {
        serde_json::to_string(value).unwrap()
    }

    fn last_of(headers: &EventHeaders<'_>) -> String {
        written(|writer| writer.last_of(headers))
    }

    fn all_of(headers: &EventHeaders<'_>) -> String {
        written(|writer| writer.all_of(headers))
    }

    fn joined_of(headers: &EventHeaders<'_>) -> String {
        written(|writer| writer.joined_of(headers))
    }

    #[test]
    fn the_same_headers_are_written_in_four_ways() {
        let headers = headers(&[("b", "2"), ("a", "\"1\""), ("c", ""), ("b", "1")]);
        assert_eq!(json(&headers), r#"{"a":"\"1\"","b":["2","1"],"c":""}"#);
        assert_eq!(last_of(&headers), r#"{"a":"\"1\"","b":"1","c":""}"#);
        assert_eq!(all_of(&headers), r#"{"a":["\"1\""],"b":["2","1"],"c":[""]}"#);
        assert_eq!(joined_of(&headers), r#"{"a":"\"1\"","b":"2,1","c":""}"#);
    }

    #[test]
    fn none_are_an_empty_object_in_each() {
        let none = headers(&[]);
        assert_eq!(json(&none), "{}");
        assert_eq!(last_of(&none), "{}");
        assert_eq!(all_of(&none), "{}");
        assert_eq!(joined_of(&none), "{}");
    }

    #[test]
    fn the_values_of_a_name_become_one() {
        let mut headers = headers(&[("b", "2"), ("a", "1"), ("b", ""), ("b", "1")]);
        for name in ["a", "b", "c"] {
            headers.join(name, "; ");
        }
        assert_eq!(json(&headers), r#"{"a":"1","b":"2; ; 1"}"#);
    }

    #[test]
    fn a_name_that_is_taken_is_gone() {
        let mut headers = headers(&[("b", "2"), ("a", "1"), ("b", "1")]);
        assert_eq!(headers.remove("b"), [&b"2"[..], b"1"]);
        assert!(headers.remove("b").is_empty());
        assert_eq!(json(&headers), r#"{"a":"1"}"#);
    }

    #[test]
    fn headers_come_by_name_with_the_host_and_their_repeats() {
        let mut inbound = request("GET", "/");
        for (name, value) in [("x-b", &b"2"[..]), ("cookie", b"c=1"), ("x-b", b"1"), ("x-a", b"gr\xF6n")] {
            inbound = with_header(inbound, name, value);
        }
        assert_eq!(
            serde_json::to_string(&EventHeaders::of(&inbound)).unwrap(),
            r#"{"cookie":"c=1","host":"shop.example.com:8080","x-a":"grön","x-b":["2","1"],"#.to_owned()
                + r#""x-request-id":"request-1"}"#
        );
    }

    #[test]
    fn names_have_the_first_spelling_of_the_client_and_those_of_the_gateway_its_own() {
        let mut inbound = request("GET", "/");
        for name in ["x-b", "x-b", "x-forwarded-for", "via", "x-c"] {
            inbound = with_header(inbound, name, b"1");
        }
        let spelled = |spelling: Option<HeaderSpelling>| {
            let mut headers = EventHeaders::of(&inbound);
            headers.spell(spelling.as_ref());
            headers.groups().map(|(name, _)| name.into_owned()).collect::<Vec<_>>()
        };
        let gateways = ["Host", "Via"];
        let rest = ["x-b", "x-c", "X-Forwarded-For", "x-request-id"];
        assert_eq!(spelled(None), [&gateways[..], &rest].concat());
        let head = "GET / HTTP/1.1\r\nhoST: h\r\nX-b: 1\r\nX-B: 1\r\nx-forwarded-For: 1\r\nX-C: 1\r\n\r\n";
        let rest = ["X-b", "X-C", "X-Forwarded-For", "x-request-id"];
        assert_eq!(spelled(HeaderSpelling::of_head(head.as_bytes())), [&gateways[..], &rest].concat());
    }

    proptest! {
        #[test]
        fn headers_are_grouped_as_a_map_would_group_them(
            written in prop::collection::vec(("[a-c]{0,2}|same-first-16-bytes-[a-c]?", "[x-z,]{0,2}"), 0..10),
            name in "[a-c]{0,2}|same-first-16-bytes-[a-c]?",
        ) {
            let mut expected = std::collections::BTreeMap::<&str, Vec<&str>>::new();
            for (name, value) in &written {
                expected.entry(name).or_default().push(value);
            }
            let written: Vec<_> =
                written.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let headers = || headers(&written);
            prop_assert_eq!(all_of(&headers()), json(&expected));
            let last: std::collections::BTreeMap<_, _> =
                expected.iter().map(|(name, all)| (*name, all[all.len() - 1])).collect();
            prop_assert_eq!(last_of(&headers()), json(&last));
            let joined: std::collections::BTreeMap<_, _> =
                expected.iter().map(|(name, all)| (*name, all.join(","))).collect();
            prop_assert_eq!(joined_of(&headers()), json(&joined));
            let mut one = headers();
            one.join(&name, ",");
            prop_assert_eq!(joined_of(&one), json(&joined));
            let mut more = headers();
            more.insert(&name, &b"new"[..]);
            let mut expected_more = expected.clone();
            expected_more.entry(&name).or_default().push("new");
            prop_assert_eq!(all_of(&more), json(&expected_more));
            let mut taken = headers();
            let values: Vec<_> = taken.remove(&name).into_iter().map(text).collect();
            prop_assert_eq!(values, expected.remove(&*name).unwrap_or_default());
            prop_assert_eq!(all_of(&taken), json(&expected));
        }
    }
}
