//! Requests of clients that become events.

use std::time::SystemTime;

use actix_http::{
    Method, Uri, Version,
    header::{CONTENT_TYPE, HeaderMap, HeaderValue},
};
use apigw_invoker::proxy::inbound::{InboundRequest, RequestBody};
use bytes::Bytes;

use super::{SIZES, Verdict, answers::filled, cost, lambda};

fn inbound(target: &str, content_type: &'static str, body: &[u8]) -> InboundRequest {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    InboundRequest {
        method: Method::POST,
        uri: Uri::try_from(target).unwrap(),
        remainder: None,
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
