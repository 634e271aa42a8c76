//! Responses of functions that are read completely, and refusals of AWS.

use actix_http::{
    StatusCode,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use apigw_invoker::{
    backend::{Backend, ReplyMode},
    client::{ReplyBody, UpstreamReply},
    diagnosis::{self, RefusedCall},
};
use bytes::Bytes;

use super::{SIZES, Verdict, backend, cost, lambda};

const PROXY: &str = "is_proxy_integration: true";
const PROXY_2: &str = "is_proxy_integration: true, awsgateway_compatible_payload_version: '2.0'";

/// `start`, repetitions of `item` up to `size` bytes, and `end`.
pub(super) fn filled(start: &str, item: &str, end: &str, size: usize) -> Vec<u8> {
    let room = size - start.len() - end.len();
    [start, &item.repeat(room / item.len()), end].concat().into_bytes()
}

/// Valid and invalid responses of many shapes.
pub(super) fn shapes(size: usize) -> Vec<(&'static str, Vec<u8>)> {
    let filled = |start: &str, item: &str, end: &str| filled(start, item, end, size);
    vec![
        ("an array for a status", filled(r#"{"statusCode":["#, "0,", r#"0],"body":"x"}"#)),
        ("a long number for a status", filled(r#"{"statusCode":1"#, "0", "}")),
        ("arrays for headers", filled(r#"{"statusCode":200,"headers":["#, "[[],{}],", "0]}")),
        ("arrays for values", filled(r#"{"statusCode":200,"multiValueHeaders":{"a":["#, "[],", "0]}}")),
        ("many headers", filled(r#"{"statusCode":200,"headers":{"#, r#""a":"",""#, r#"b":""}}"#)),
        ("many values", filled(r#"{"statusCode":200,"multiValueHeaders":{"a":["#, "0,", "0]}}")),
        ("a long header", filled(r#"{"statusCode":200,"headers":{"a":""#, "v", "\"}}")),
        ("an escaped header", filled(r#"{"statusCode":200,"headers":{"a":""#, r"\n", "\"}}")),
        ("a long name", filled(r#"{"statusCode":200,"headers":{""#, "v", "\":1}}")),
        ("an escaped name", filled(r#"{"statusCode":200,"headers":{""#, r"\u0061", "\":1}}")),
        ("a long number for a header", filled(r#"{"statusCode":200,"headers":{"a":1"#, "0", "}}")),
        ("many cookies", filled(r#"{"statusCode":200,"cookies":["#, "\"\",", "\"\"]}")),
        ("an escaped cookie", filled(r#"{"statusCode":200,"cookies":[""#, r"\t", "\"]}")),
        ("a body", filled(r#"{"statusCode":200,"body":""#, "b", "\"}")),
        ("an escaped body", filled(r#"{"statusCode":200,"body":""#, r"\n", "\"}")),
        (
            "a body with some escapes",
            filled(r#"{"statusCode":200,"body":"{"#, r#"\"name\":\"value\","#, "}\"}"),
        ),
        ("a body of escapes", filled(r#"{"statusCode":200,"body":""#, r"\u20ac", "\"}")),
        ("base64", filled(r#"{"statusCode":200,"isBase64Encoded":true,"body":""#, "AAAA", "\"}")),
        ("escaped base64", filled(r#"{"statusCode":200,"isBase64Encoded":true,"body":""#, r"\/\/AA", "\"}")),
        ("no base64", filled(r#"{"statusCode":200,"isBase64Encoded":true,"body":""#, "A", "!\"}")),
        ("an array for a body", filled(r#"{"statusCode":200,"body":["#, "0,", "0]}")),
        ("an array for a flag", filled(r#"{"statusCode":200,"isBase64Encoded":["#, "0,", "0]}")),
        ("other members", filled(r#"{"statusCode":200"#, r#","a":[{}]"#, "}")),
        ("a body many times", filled(r#"{"statusCode":200"#, r#","body":"\n""#, "}")),
        ("an escaped member", filled(r#"{"statusCode":200,""#, r"\u0061", r#"":1}"#)),
        ("deep arrays", filled(r#"{"statusCode":200,"a":"#, "[", "")),
        ("deep objects", filled(r#"{"statusCode":200,"headers":"#, r#"{"a":"#, "")),
        ("an array", filled("[", "0,", "0]")),
        ("a text", filled("\"", r"\\", "\"")),
        ("blanks", filled("", " ", "{}")),
        ("no JSON", filled("", "x", "")),
        ("no UTF-8", [filled(r#"{"body":""#, "é", "\"}").as_slice(), b"\xff"].concat()),
    ]
}

/// A response of the API, read completely or in part, as the backend requires.
fn answered(
    backend: &dyn Backend,
    status: u16,
    headers: &[(&'static str, &'static str)],
    body: &[u8],
) -> UpstreamReply {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    let status = StatusCode::from_u16(status).unwrap();
    let mut reply =
        UpstreamReply { status, headers: map, body: ReplyBody::None { length: None }, prelude: None };
    let limit = match backend.reply_mode(&reply) {
        ReplyMode::Truncated { limit } | ReplyMode::Collected { limit } => usize::try_from(limit).unwrap(),
        mode => panic!("{mode:?}"),
    };
    reply.body = ReplyBody::Whole(Bytes::copy_from_slice(&body[..body.len().min(limit)]));
    reply
}

#[test]
fn x5_no_answer_of_a_function_costs_more_than_three_times_its_bytes() {
    let mut verdict = Verdict::default();
    for rest in [PROXY, PROXY_2] {
        let backend = lambda(rest);
        for size in SIZES {
            for (what, body) in shapes(size) {
                let (_, cost) = cost(|| backend.reply(answered(&*backend, 200, &[], &body)));
                verdict.judge(what, body.len(), cost);
            }
        }
    }
    verdict.end();
}

#[test]
fn x5_no_failure_of_a_function_costs_more_than_three_times_its_bytes() {
    let mut verdict = Verdict::default();
    let failed = [("x-amz-function-error", "Unhandled")];
    for rest in [PROXY, "unhandled_status: 500"] {
        let backend = lambda(rest);
        for size in SIZES {
            let filled = |start: &str, item: &str, end: &str| filled(start, item, end, size);
            for (what, body) in [
                ("a long message", filled(r#"{"errorMessage":""#, "é", "\"}")),
                ("an escaped message", filled(r#"{"errorType":"E","errorMessage":""#, r"\u0001", "\"}")),
                ("an array for a message", filled(r#"{"errorMessage":["#, "0,", "0]}")),
                ("a stack", filled(r#"{"errorMessage":"m","stackTrace":["#, r#""a\n","#, "\"\"]}")),
                ("no object", filled("", "[", "")),
            ] {
                let (_, cost) = cost(|| backend.reply(answered(&*backend, 200, &failed, &body)));
                verdict.judge(what, body.len(), cost);
            }
        }
    }
    verdict.end();
}

#[test]
fn x5_empty_arrays_are_replaced_within_the_same_bounds() {
    let mut verdict = Verdict::default();
    let backend = lambda("empty_arrays_mode: legacy");
    for size in SIZES {
        for item in ["[],", r#""[]\"","#, "[ ],"] {
            let body = filled("[", item, "0]", size);
            let (_, cost) = cost(|| backend.reply(answered(&*backend, 200, &[], &body)));
            verdict.judge(item, body.len(), cost);
        }
    }
    verdict.end();
}

#[test]
fn x5_no_refusal_costs_more_than_three_times_its_bytes() {
    let mut verdict = Verdict::default();
    let signed = "api_gateway: { function_uri: 'https://a.example/', authorization: { \
        iam: { accesskey: A, secretkey: s } } }\n";
    let kinds = [("x-amzn-errortype", "InvalidSignatureException")];
    let explained = r#"{"message":"No.\n\nThe Canonical String for this request should have been\n'"#;
    for (name, backend, size) in
        [("lambda", lambda(PROXY), 64 << 10), ("api_gateway", backend(signed), 250 << 10)]
    {
        let filled = |start: &str, item: &str, end: &str| filled(start, item, end, size);
        for (what, body) in [
            ("an array", filled("[", "0,", "0]")),
            ("an array for a message", filled(r#"{"message":["#, "0,", "0]}")),
            ("a long message", filled(r#"{"message":""#, "m", "\"}")),
            ("an escaped message", filled(r#"{"message":""#, r"\u0001", "\"}")),
            ("an explanation", filled(explained, "x", "'\"}")),
            ("no UTF-8", vec![0xff; size]),
        ] {
            let (_, replied) = cost(|| backend.reply(answered(&*backend, 403, &kinds, &body)));
            verdict.judge(&format!("{name}: {what}"), body.len(), replied);
            let call = RefusedCall::default();
            let (_, diagnosed) =
                cost(|| diagnosis::diagnose(&answered(&*backend, 403, &kinds, &body), &call));
            verdict.judge(&format!("{name}: diagnosis of {what}"), body.len(), diagnosed);
        }
    }
    verdict.end();
}

#[test]
fn e10_200_header_lines_cost_less_than_a_kilobyte_each() {
    let backend = lambda(PROXY);
    let headers: Vec<String> = (0..200).map(|number| format!(r#""h{number}":"""#)).collect();
    let body = format!(r#"{{"statusCode":200,"headers":{{{}}}}}"#, headers.join(","));
    let (reply, cost) = cost(|| backend.reply(answered(&*backend, 200, &[], body.as_bytes())).unwrap());
    assert_eq!(reply.headers.len(), 201, "the type is one more");
    assert!(cost.peak < 200 << 10, "{cost:?}");
}
