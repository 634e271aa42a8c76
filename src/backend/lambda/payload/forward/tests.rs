use base64::{Engine, engine::general_purpose::STANDARD};
use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::{Value, json};

use super::super::samples::{ANY_SIZE, request, with_body, with_header};
use crate::{
    backend::lambda::payload,
    message::{error::ErrorKind, inbound::InboundRequest},
    settings::{ForwardedParts, PayloadSettings},
};

const ALL: ForwardedParts =
    ForwardedParts { method: true, uri: true, headers: true, body: true, base64_encode_body: true };
const BODY: ForwardedParts =
    ForwardedParts { method: false, uri: false, headers: false, body: true, base64_encode_body: true };

fn forwarded(parts: ForwardedParts, inbound: &InboundRequest) -> Value {
    serde_json::from_slice(&payload::event(&PayloadSettings::Forward(parts), inbound, ANY_SIZE).unwrap())
        .unwrap()
}

fn body(base64_encode_body: bool, content_type: &str, bytes: &[u8]) -> Value {
    let inbound = with_body(request("POST", "/"), content_type, bytes);
    forwarded(ForwardedParts { base64_encode_body, ..BODY }, &inbound)
}

#[test]
fn k11_all_parts_of_an_xml_request() {
    let inbound = with_body(request("POST", "/a%20b?k=v&k=w&flag"), "application/xml", b"<xml/>");
    let inbound = with_header(with_header(inbound, "x-many", b"1"), "x-many", b"2");
    let expected = json!({
        "request_method": "POST",
        "request_uri": "/a%20b?k=v&k=w&flag",
        "request_uri_args": { "k": ["v", "w"], "flag": true },
        "request_headers": {
            "content-type": "application/xml",
            "host": "shop.example.com:8080",
            "x-many": ["1", "2"],
            "x-request-id": "request-1",
        },
        "request_body": "<xml/>",
        "request_body_args": {},
    });
    assert_eq!(forwarded(ALL, &inbound), expected);
}

#[test]
fn k12_only_the_parts_that_are_asked_for() {
    let inbound = with_body(request("POST", "/?key1=1"), "application/json", br#"{"key2": 1.10}"#);
    let expected = r#"{"request_body":"{\"key2\": 1.10}","request_body_args":{"key2": 1.10}}"#;
    assert_eq!(
        payload::event(&PayloadSettings::Forward(BODY), &inbound, ANY_SIZE).unwrap(),
        expected.as_bytes()
    );
    let none = ForwardedParts { body: false, ..BODY };
    assert_eq!(
        forwarded(ForwardedParts { method: true, ..none }, &inbound),
        json!({ "request_method": "POST" })
    );
    let uri = json!({ "request_uri": "/?key1=1", "request_uri_args": { "key1": "1" } });
    assert_eq!(forwarded(ForwardedParts { uri: true, ..none }, &inbound), uri);
}

#[test]
fn k13_k15_h02_raw_types_are_text_without_arguments_whatever_their_parameters() {
    for content_type in [
        "text/plain",
        "text/plain; charset=utf-8",
        "Text/HTML",
        "application/xml",
        "text/xml;a=b",
        "application/soap+xml; action=\"x\"",
    ] {
        let expected = json!({ "request_body": "a=b", "request_body_args": {} });
        assert_eq!(body(true, content_type, b"a=b"), expected, "{content_type}");
    }
}

#[test]
fn k14_k16_h02_other_types_and_none_are_base64() {
    for content_type in ["application/octet-stream", "", "image/png"] {
        let expected =
            json!({ "request_body": "MDEyMzQ=", "request_body_args": {}, "request_body_base64": true });
        assert_eq!(body(true, content_type, b"01234"), expected);
    }
}

#[test]
fn k17_without_base64_they_are_raw_text() {
    for content_type in ["application/octet-stream", ""] {
        let expected = json!({ "request_body": "01234", "request_body_args": {} });
        assert_eq!(body(false, content_type, b"01234"), expected);
    }
}

#[test]
fn what_is_not_utf_8_is_base64_in_any_case() {
    for content_type in ["text/plain", "application/json", "", "multipart/form-data; boundary=x"] {
        let expected =
            json!({ "request_body": "/w==", "request_body_args": {}, "request_body_base64": true });
        assert_eq!(body(false, content_type, b"\xFF"), expected);
    }
    let form = body(false, "application/x-www-form-urlencoded", b"a=\xFC");
    let expected =
        json!({ "request_body": "YT38", "request_body_args": { "a": "ü" }, "request_body_base64": true });
    assert_eq!(form, expected);
}

#[test]
fn a_body_in_a_coding_is_of_no_known_type() {
    let inbound = with_body(request("POST", "/"), "application/json", b"{}");
    let inbound = with_header(inbound, "content-encoding", b"br");
    let expected = json!({ "request_body": "e30=", "request_body_args": {}, "request_body_base64": true });
    assert_eq!(forwarded(BODY, &inbound), expected);
}

#[test]
fn k19_k20_k21_large_bodies_go_whole() {
    for length in [1 << 10, 32 << 10] {
        let text = "x".repeat(length);
        assert_eq!(body(true, "text/plain", text.as_bytes())["request_body"], text);
    }
}

#[test]
fn no_body_is_an_empty_text() {
    let expected = json!({ "request_body": "", "request_body_args": {} });
    assert_eq!(forwarded(BODY, &request("GET", "/")), expected);
    assert_eq!(body(true, "application/octet-stream", b""), expected);
}

#[test]
fn h01_forms_and_multipart_forms_have_arguments() {
    let form = body(true, "application/x-www-form-urlencoded; charset=utf-8", b"a=1&b&a=%32");
    assert_eq!(form["request_body"], "a=1&b&a=%32");
    assert_eq!(form["request_body_args"], json!({ "a": ["1", "2"], "b": true }));
    let text = "--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--x--\r\n";
    let multipart = body(true, "multipart/form-data; boundary=x", text.as_bytes());
    assert_eq!(multipart, json!({ "request_body": text, "request_body_args": { "a": "1" } }));
}

#[test]
fn h01_what_cannot_be_taken_apart_has_no_arguments() {
    for (content_type, text) in [
        ("application/json", "{"),
        ("application/json", "[1]"),
        ("application/json", "null"),
        ("multipart/form-data; boundary=x", "--y"),
        ("multipart/form-data", "--x--"),
    ] {
        let expected = json!({ "request_body": text, "request_body_args": {} });
        assert_eq!(body(true, content_type, text.as_bytes()), expected);
    }
}

#[test]
fn a_form_of_too_many_arguments_is_refused_here_too_and_not_forwarded_without_them() {
    let form = |count: usize| {
        let inbound = with_body(
            request("POST", "/"),
            "application/x-www-form-urlencoded",
            "a&".repeat(count).as_bytes(),
        );
        payload::event(&PayloadSettings::Forward(BODY), &inbound, ANY_SIZE)
    };
    assert!(form(10_000).is_ok());
    assert_eq!(form(10_001).unwrap_err().kind, ErrorKind::InvalidBody);
}

proptest! {
    #[test]
    fn any_request_becomes_json_and_its_body_can_be_had_back(
        query in "(\\?([a-c&=+]|%[0-9A-F]{2}){0,20})?",
        content_type in select(&[
            "", "application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
            "text/plain", "a/b",
        ][..]),
        header in vec(prop_oneof![Just(b'\t'), 0x20..0x7F_u8, 0x80..=0xFF_u8], 0..10),
        bytes in prop_oneof![
            vec(any::<u8>(), 0..60),
            "[{}\\[\\]\",:0-9a-c=&%-]{0,30}".prop_map(String::into_bytes),
        ],
        base64_encode_body in any::<bool>(),
    ) {
        let inbound = with_body(request("PUT", &format!("/{query}")), content_type, &bytes);
        let inbound = with_header(inbound, "x-any", &header);
        let event = forwarded(ForwardedParts { base64_encode_body, ..ALL }, &inbound);
        let body = event["request_body"].as_str().unwrap();
        let body = match event.get("request_body_base64") {
            Some(flag) => {
                prop_assert_eq!(flag, true);
                STANDARD.decode(body).unwrap()
            }
            None => body.as_bytes().to_vec(),
        };
        prop_assert_eq!(body, bytes);
        prop_assert_eq!(&event["request_uri"], &format!("/{query}"));
        prop_assert!(event["request_body_args"].is_object());
    }
}
