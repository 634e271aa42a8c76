use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::{Value, json};

use super::super::samples::{ANY_SIZE, request, with_body, with_header};
use crate::{
    backend::lambda::payload,
    message::{
        error::ErrorKind,
        inbound::{InboundRequest, RequestBody},
    },
    settings::PayloadSettings,
};

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

fn merged(inbound: &InboundRequest) -> String {
    let settings = PayloadSettings::Merge { body: None };
    String::from_utf8(payload::event(&settings, inbound, ANY_SIZE).unwrap()).unwrap()
}

fn merged_over(beneath: Value, inbound: &InboundRequest) -> String {
    let Value::Object(beneath) = beneath else { panic!("not an object") };
    let settings = PayloadSettings::Merge { body: Some(beneath) };
    String::from_utf8(payload::event(&settings, inbound, ANY_SIZE).unwrap()).unwrap()
}

fn refusal(inbound: &InboundRequest) -> (ErrorKind, String) {
    let error = payload::event(&PayloadSettings::Merge { body: None }, inbound, ANY_SIZE).unwrap_err();
    let text = error.to_string();
    (error.kind, text)
}

fn post(target: &str, content_type: &str, body: &[u8]) -> InboundRequest {
    with_body(request("POST", target), content_type, body)
}

#[test]
fn k01_the_query_is_the_event() {
    assert_eq!(merged(&request("GET", "/?key1=v1&key2=v2")), r#"{"key1":"v1","key2":"v2"}"#);
}

#[test]
fn k02_the_fields_of_a_form_are_the_event() {
    assert_eq!(merged(&post("/", FORM, b"key1=v+1&key2=%31")), r#"{"key1":"v 1","key2":"1"}"#);
}

#[test]
fn k03_the_members_of_a_json_body_are_the_event_in_their_own_words() {
    let body = br#" { "b": 1.10, "a":[ 1e400, 12345678901234567890123 ], "a":"\u00e9" } "#;
    assert_eq!(merged(&post("/", JSON, body)).as_bytes(), body);
    assert_eq!(merged(&post("/", "application/problem+json; a=b", body)).as_bytes(), body);
}

#[test]
fn k04_query_and_form_are_put_together() {
    let inbound = post("/?key1=from_querystring", FORM, b"key2=from_form&key3=x");
    assert_eq!(merged(&inbound), r#"{"key1":"from_querystring","key2":"from_form","key3":"x"}"#);
}

#[test]
fn k05_the_body_wins_over_the_query_and_the_last_of_its_members_over_the_others() {
    assert_eq!(merged(&post("/?a=1&b=2", FORM, b"b=3")), r#"{"a":"1","b":"3"}"#);
    let body = br#"{"b": 1, "b":{ "c" : 1.50 } , "d":-0}"#;
    assert_eq!(merged(&post("/?a=1&b=2", JSON, body)), r#"{"a":"1","b":{ "c" : 1.50 },"d":-0}"#);
}

#[test]
fn k06_a_json_body_of_any_type_is_forwarded_byte_for_byte() {
    for body in ["[{},[]]", " [1, 2]\n", "\"text\"", "0.10", "null", "true", r#"{"a":"\ud800"}"#] {
        assert_eq!(merged(&post("/", JSON, body.as_bytes())), body);
        assert_eq!(merged(&post("/?", JSON, body.as_bytes())), body);
        assert_eq!(merged_over(json!({}), &post("/", JSON, body.as_bytes())), body);
    }
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    assert_eq!(merged(&post("/", JSON, deep.as_bytes())), deep);
}

#[test]
fn k06_what_has_no_names_is_not_merged() {
    for body in ["[]", "1", "null", "\"text\""] {
        let (kind, text) = refusal(&post("/?a=1", JSON, body.as_bytes()));
        assert_eq!(kind, ErrorKind::InvalidBody);
        assert!(text.contains("cannot be merged"), "{text}");
    }
}

#[test]
fn k07_a_repeated_argument_is_an_array_and_a_flag_is_true() {
    let expected = r#"{"a":["1","2"],"flag":true,"empty":""}"#;
    assert_eq!(merged(&request("GET", "/?a=1&flag&a=2&empty=")), expected);
    assert_eq!(merged(&post("/", FORM, b"a=1&flag&a=2&empty=")), expected);
}

#[test]
fn k08_other_types_and_codings_are_refused_where_there_is_a_body() {
    for content_type in ["", "text/plain", "application/xml", "application/octet-stream", "application/jsonp"]
    {
        assert_eq!(refusal(&post("/?a=1", content_type, b"{}")).0, ErrorKind::UnsupportedMediaType);
        assert_eq!(merged(&post("/?a=1", content_type, b"")), r#"{"a":"1"}"#);
    }
    let coded = with_header(post("/", JSON, b"{}"), "content-encoding", b"gzip");
    assert_eq!(refusal(&coded).0, ErrorKind::UnsupportedMediaType);
    let plain = with_header(post("/", JSON, b"{}"), "content-encoding", b"identity");
    assert_eq!(merged(&plain), "{}");
}

#[test]
fn k08_what_is_not_json_is_refused_with_its_cause() {
    for body in [&b"{"[..], b"{}{}", b"{} x", b" ", b"\xEF\xBB\xBF{}", b"\"\xFF\"", b"{a:1}", b"[1,]", b"NaN"]
    {
        for target in ["/", "/?a=1"] {
            let (kind, text) = refusal(&post(target, JSON, body));
            assert_eq!(kind, ErrorKind::InvalidBody);
            assert!(text.contains(" at line "), "{text}");
        }
    }
    let (kind, _) = refusal(&post("/?a=1", JSON, br#"{"\ud800":1}"#));
    assert_eq!(kind, ErrorKind::InvalidBody);
}

#[test]
fn k09_no_query_and_no_body_is_an_empty_object() {
    assert_eq!(merged(&request("GET", "/")), "{}");
    assert_eq!(merged(&request("GET", "/?&")), "{}");
    assert_eq!(merged(&post("/", JSON, b"")), "{}");
    assert_eq!(merged(&post("/", FORM, b"&")), "{}");
}

#[test]
fn k09b_no_argument_is_dropped() {
    let query: Vec<String> = (0..300).map(|number| format!("a{number}={number}")).collect();
    let event = merged(&request("GET", &format!("/?{}", query.join("&"))));
    let event: serde_json::Map<_, _> = serde_json::from_str(&event).unwrap();
    assert_eq!(event.len(), 300);
    assert_eq!(event["a299"], "299");
}

#[test]
fn a_get_with_a_body_is_like_any_other_request() {
    let inbound = with_body(request("GET", "/?a=1"), JSON, br#"{"b":2}"#);
    assert_eq!(merged(&inbound), r#"{"a":"1","b":2}"#);
}

#[test]
fn h01_a_multipart_form_is_merged_like_any_other() {
    let content_type = "multipart/form-data; boundary=x";
    let body = b"--x\r\nContent-Disposition: form-data; name=\"b\"\r\n\r\n2\r\n--x--\r\n";
    assert_eq!(merged(&post("/?a=1&b=1", content_type, body)), r#"{"a":"1","b":"2"}"#);
    assert_eq!(refusal(&post("/", content_type, b"--x\r\n")).0, ErrorKind::InvalidBody);
}

#[test]
fn e5_members_stand_in_the_order_in_which_they_were_sent() {
    let query = "/?z=1&b=2&a=3&b=4";
    assert_eq!(merged(&request("GET", query)), r#"{"z":"1","b":["2","4"],"a":"3"}"#);
    let body = br#"{"y":1,"c":2,"b":3,"y":4,"x":{"b":[]}}"#;
    assert_eq!(merged(&post(query, JSON, body)), r#"{"z":"1","a":"3","y":4,"c":2,"b":3,"x":{"b":[]}}"#);
    assert_eq!(merged(&post(query, FORM, b"y=1&b=2&%79=3")), r#"{"z":"1","a":"3","y":["1","3"],"b":"2"}"#);
}

#[test]
fn x5_a_json_body_of_too_many_members_is_not_merged_and_one_of_as_many_as_allowed_is() {
    let object = |count: usize| {
        let members: Vec<String> = (0..count).map(|number| format!(r#""k{number}":{number}"#)).collect();
        format!("{{{}}}", members.join(","))
    };
    let event = merged(&post("/?k5=x&a=1", JSON, object(100_000).as_bytes()));
    assert_eq!(event, object(100_000).replacen('{', r#"{"a":"1","#, 1));
    let (kind, cause) = refusal(&post("/?a=1", JSON, object(100_001).as_bytes()));
    assert_eq!(kind, ErrorKind::InvalidBody);
    assert!(cause.ends_with("the body has more than 100000 members"), "{cause}");
    assert_eq!(
        merged(&post("/", JSON, object(100_001).as_bytes())),
        object(100_001),
        "alone it is the event"
    );
}

#[test]
fn h07_the_prototypes_body_supplies_what_query_and_body_leave_out() {
    let beneath = json!({ "key2": "some_body_value2", "key3": { "key4": [1.5, null] } });
    let rest = r#"{"key2":"some_body_value2","key3":{"key4":[1.5,null]}"#.to_owned();
    let query = request("GET", "/?key1=some_value1");
    assert_eq!(merged_over(beneath.clone(), &query), rest.clone() + r#","key1":"some_value1"}"#);
    let body = post("/", JSON, br#"{"key1":1.0}"#);
    assert_eq!(merged_over(beneath.clone(), &body), rest.clone() + r#","key1":1.0}"#);
    assert_eq!(merged_over(beneath, &request("GET", "/")), rest + "}");
}

#[test]
fn h08_the_prototypes_query_wins_over_the_body_and_the_body_over_its_own() {
    let beneath = json!({ "a": "config", "b": "config", "c": "config" });
    for (content_type, body) in [(FORM, "b=body&c=body"), (JSON, r#"{"b":"body","c":"body"}"#)] {
        let event = merged_over(beneath.clone(), &post("/?c=query", content_type, body.as_bytes()));
        assert_eq!(event, r#"{"a":"config","b":"body","c":"query"}"#);
    }
    let settings = PayloadSettings::Merge { body: Some([("a".to_owned(), json!(1))].into_iter().collect()) };
    let error = payload::event(&settings, &post("/", JSON, b"[]"), ANY_SIZE).unwrap_err();
    assert_eq!(error.kind, ErrorKind::InvalidBody);
}

#[test]
fn an_empty_body_that_is_whole_is_no_body() {
    let mut inbound = request("POST", "/?a=1");
    inbound.body = RequestBody::Whole(Bytes::new());
    assert_eq!(merged(&inbound), r#"{"a":"1"}"#);
}

#[test]
fn a_form_of_too_many_arguments_is_refused_and_one_of_as_many_as_allowed_is_not() {
    let form = "a&".repeat(10_000);
    assert!(merged(&post("/", FORM, form.as_bytes())).len() > 50_000);
    let (kind, cause) = refusal(&post("/", FORM, format!("{form}b").as_bytes()));
    assert_eq!(kind, ErrorKind::InvalidBody);
    assert!(cause.ends_with("the body has more than 10000 arguments"), "{cause}");
}

#[test]
fn an_event_that_would_be_too_large_is_refused_in_every_shape() {
    for (inbound, size) in [
        (post("/", JSON, br#"{"a": 1}"#), 8),
        (post("/?b=1", JSON, br#"{"a": 1}"#), 15),
        (post("/", FORM, b"a=%01"), 14),
    ] {
        let event = |limit| payload::event(&PayloadSettings::Merge { body: None }, &inbound, limit);
        assert_eq!(event(size).unwrap().len() as u64, size);
        let kind = event(size - 1).unwrap_err().kind;
        assert_eq!(kind, ErrorKind::PayloadTooLarge { what: "the event", limit: size - 1, size });
    }
}

/// Adds members to a map; the last of duplicates wins.
fn put(map: &mut BTreeMap<String, Value>, members: impl IntoIterator<Item = (String, Value)>) {
    map.extend(members);
}

/// The arguments of a query or a form, each name with one value or an array.
fn arguments(written: &[(String, String)]) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::<_, Vec<Value>>::new();
    for (name, value) in written {
        all.entry(name.clone()).or_default().push(json!(value));
    }
    all.into_iter()
        .map(|(name, mut values)| {
            let value = if values.len() == 1 { values.remove(0) } else { Value::Array(values) };
            (name, value)
        })
        .collect()
}

fn encoded(written: &[(String, String)]) -> String {
    let pairs = written.iter().map(|(name, value)| {
        let name: String = form_urlencoded::byte_serialize(name.as_bytes()).collect();
        format!("{name}={value}")
    });
    pairs.collect::<Vec<_>>().join("&")
}

proptest! {
    #[test]
    fn the_layers_of_an_event_win_in_their_order(
        query in vec(("[a-cö]{0,2}", "[x-z]"), 0..8),
        form in vec(("[a-cö]{0,2}", "[x-z]"), 0..8),
        is_json in any::<bool>(),
        beneath in proptest::option::of(vec("[a-cö]{0,2}", 1..5)),
    ) {
        let members: Vec<String> =
            form.iter().map(|(name, value)| format!("{}: {}", json!(name), json!(value))).collect();
        let (content_type, body) = if is_json {
            (JSON, format!("{{{}}}", members.join(" , ")))
        } else {
            (FORM, encoded(&form))
        };
        let body_members =
            if is_json { form.iter().map(|(name, value)| (name.clone(), json!(value))).collect() } else { arguments(&form) };
        let inbound = post(&format!("/?{}", encoded(&query)), content_type, body.as_bytes());
        let mut expected = BTreeMap::new();
        let event = match beneath {
            None => {
                put(&mut expected, arguments(&query));
                put(&mut expected, body_members);
                merged(&inbound)
            }
            Some(names) => {
                let settings: BTreeMap<_, _> = names.into_iter().map(|name| (name, json!(1))).collect();
                put(&mut expected, settings.clone());
                put(&mut expected, body_members);
                put(&mut expected, arguments(&query));
                merged_over(settings.into_iter().collect(), &inbound)
            }
        };
        let event: Value = serde_json::from_str(&event).unwrap();
        prop_assert_eq!(event, expected.into_iter().collect::<Value>());
    }

    #[test]
    fn any_request_becomes_json_or_a_refusal(
        query in "(\\?([a-c&=+]|%[0-9A-F]{2}){0,20})?",
        content_type in select(&[
            "", JSON, FORM, "multipart/form-data; boundary=x", "multipart/form-data", "a/b",
        ][..]),
        body in prop_oneof![
            vec(any::<u8>(), 0..60),
            "[{}\\[\\]\",:0-9a-c.eE+\\\\&=%-]{0,30}".prop_map(String::into_bytes),
            r#"\{("[ab]":(1\.0|"x"|\[\]|\{\}),){0,3}"c":null\}"#.prop_map(String::into_bytes),
        ],
        beneath in any::<bool>(),
    ) {
        let inbound = post(&format!("/{query}"), content_type, &body);
        let beneath = beneath.then(|| [("a".to_owned(), json!(1))].into_iter().collect());
        let settings = PayloadSettings::Merge { body: beneath };
        match payload::event(&settings, &inbound, ANY_SIZE) {
            Ok(event) => prop_assert!(serde_json::from_slice::<serde::de::IgnoredAny>(&event).is_ok()),
            Err(error) => {
                let refused = [ErrorKind::InvalidBody, ErrorKind::UnsupportedMediaType];
                prop_assert!(refused.contains(&error.kind), "{}", error);
            }
        }
    }
}
