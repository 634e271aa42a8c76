//! Requests of clients that become events.

use std::time::SystemTime;

use actix_http::{
    Method, Uri, Version,
    header::{CONTENT_TYPE, HeaderMap, HeaderValue},
};
use apigw_invoker::{
    message::inbound::{InboundRequest, RequestBody},
    routing::PathMatch,
};
use bytes::Bytes;

use super::{SIZES, Verdict, answers::filled, cost, lambda};

fn inbound(target: &str, content_type: &'static str, body: &[u8]) -> InboundRequest {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    let uri = Uri::try_from(target).unwrap();
    InboundRequest {
        method: Method::POST,
        path: PathMatch::of(uri.path(), uri.path()).unwrap(),
        uri,
        headers,
        body: RequestBody::Whole(Bytes::copy_from_slice(body)),
        version: Version::HTTP_11,
        host: Some(HeaderValue::from_static("localhost")),
        peer: None,
        received_at: SystemTime::UNIX_EPOCH,
        is_traced: false,
    }
}

#[test]
fn x5_no_request_costs_more_than_three_times_its_bytes() {
    let mut verdict = Verdict::default();
    let json = "application/json";
    let form = "application/x-www-form-urlencoded";
    let gateway = "awsgateway_compatible: true";
    for size in SIZES {
        let filled = |start: &str, item: &str, end: &str| filled(start, item, end, size - 4096);
        for (what, rest, target, content_type, body) in [
            ("a JSON body", "timeout: 1000", "/a", json, filled("[", "0,", "0]")),
            ("keys", "timeout: 1000", "/a?a=1", json, filled("{", r#""k":1,"#, r#""k":1}"#)),
            ("a form", "timeout: 1000", "/a", form, filled("", "a=b&", "")),
            ("a gateway's body", gateway, "/a", json, filled("[", "0,", "0]")),
            ("a gateway's escaped body", gateway, "/a", "text/plain", filled("", "\n", "")),
        ] {
            let backend = lambda(rest);
            let (_, cost) = cost(|| backend.request(inbound(target, content_type, &body)));
            verdict.judge(what, body.len(), cost);
        }
    }
    verdict.end();
}

/// Requests with as many parts as events can have, so that an index of the parts would cost the most. An
/// event of `forward_request_body` contains a form twice, as text and as arguments, so it is more than three
/// times as long by itself.
#[test]
fn x5_no_request_of_many_small_parts_costs_more_than_three_times_its_bytes() {
    let numbered = |count: u32, item: &dyn Fn(u32) -> String| -> String { (0..count).map(item).collect() };
    let json = "application/json";
    let form = "application/x-www-form-urlencoded";
    let multipart = "multipart/form-data; boundary=x";
    let gateway = "awsgateway_compatible: true";
    let second = "awsgateway_compatible: true, awsgateway_compatible_payload_version: '2.0'";
    let merge = "timeout: 1000";
    let members = numbered(99_999, &|number| format!(r#","k{number}":{number}"#));
    let fields = numbered(10_000, &|number| format!("&k{number}=v"));
    let repeated = numbered(10_000, &|_| "&key=value".to_owned());
    let escaped = numbered(10_000, &|number| format!("&%6b{number}=%41+b"));
    let part = |number| format!("--x\r\nContent-Disposition: form-data; name=\"k{number}\"\r\n\r\nv\r\n");
    let parts = numbered(1000, &part) + "--x--";
    let query = format!("/a?{}", &numbered(1100, &|number| format!("&k{number}=v"))[1..]);
    let large = filled("a=%2", "b", "", 4 << 20);
    let file = [part(1).as_bytes(), &filled("", "line\r\n", "\r\n--x--", 4 << 20)].concat();
    let mut verdict = Verdict::default();
    for (what, rest, target, content_type, body) in [
        ("members", merge, "/a?a=1", json, format!("{{\"a\":1{members}}}").into_bytes()),
        ("members over a query", merge, &*query, json, format!("{{\"a\":1{members}}}").into_bytes()),
        ("fields", merge, "/a", form, fields.as_bytes()[1..].to_vec()),
        ("repeated fields", merge, "/a", form, repeated.as_bytes()[1..].to_vec()),
        ("escaped fields", merge, "/a", form, escaped.as_bytes()[1..].to_vec()),
        ("parts", merge, "/a", multipart, parts.clone().into_bytes()),
        ("a large field", merge, "/a", form, large),
        ("a large part", merge, "/a", multipart, file),
        ("a query in 1.0", gateway, &*query, form, Vec::new()),
        ("a query in 2.0", second, &*query, form, Vec::new()),
        ("a merged query", merge, &*query, form, Vec::new()),
    ] {
        let backend = lambda(rest);
        let (outcome, cost) = cost(|| backend.request(inbound(target, content_type, &body)));
        assert!(outcome.is_ok(), "{what}: {outcome:?}");
        verdict.judge(what, body.len() + target.len(), cost);
    }
    verdict.end();
}
