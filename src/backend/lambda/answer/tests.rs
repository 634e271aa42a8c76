use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::{Bytes, BytesMut};
use log::Level;

use super::*;
use crate::{
    client::{EventStream, ParsedHead, parse_head},
    settings::PayloadVersion,
};

/// A route that sets nothing.
pub const PLAIN: AnswerSettings = AnswerSettings {
    is_proxy_integration: false,
    version: PayloadVersion::V1,
    unhandled_status: None,
    empty_arrays_mode: EmptyArraysMode::Correct,
    preserve_lambda_api_error_code: false,
};

/// An answer whose head has been parsed, as `client` does it.
pub fn upstream(status: u16, lines: &[(&'static str, &'static str)], body: &str) -> UpstreamReply {
    let lines: String = lines.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let mut head = BytesMut::from(format!("HTTP/1.1 200 OK\r\n{lines}\r\n").as_bytes());
    let Ok(ParsedHead::Final(head)) = parse_head(&mut head, false) else { unreachable!("it is a head") };
    let body = ReplyBody::Whole(Bytes::copy_from_slice(body.as_bytes()));
    let status = StatusCode::from_u16(status).unwrap();
    UpstreamReply { status, headers: head.headers, body, prelude: None }
}

pub fn text(reply: &ClientReply) -> &str {
    match &reply.body {
        ReplyBody::Whole(bytes) => std::str::from_utf8(bytes).unwrap(),
        ReplyBody::None { .. } | ReplyBody::Stream(_) | ReplyBody::Events(_) => {
            unreachable!("the body is whole")
        }
    }
}

/// A header's lines.
pub fn values<'a>(reply: &'a ClientReply, name: &str) -> Vec<&'a str> {
    reply.headers.get_all(name).map(|value| std::str::from_utf8(value.as_bytes()).unwrap()).collect()
}

/// The reason for a 502 with `function_response_invalid`.
pub fn why(result: Result<ClientReply, ProxyError>) -> String {
    why_of(&ErrorKind::FunctionResponseInvalid, result)
}

fn why_of(kind: &ErrorKind, result: Result<ClientReply, ProxyError>) -> String {
    let error = result.unwrap_err();
    assert_eq!(error.kind, *kind);
    let (status, _, body) = error.answer("id");
    assert_eq!(status, StatusCode::BAD_GATEWAY);
    let sentence = error.code().sentence;
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["message"], sentence, "the client learns no more");
    error.to_string().strip_prefix(sentence).unwrap().trim_start_matches(": ").to_owned()
}

fn called(settings: AnswerSettings, upstream: UpstreamReply) -> Result<ClientReply, ProxyError> {
    reply(settings, InvocationType::RequestResponse, InvokeMode::Buffered, upstream)
}

const FAILED: &str =
    r#"{"errorMessage":"Task timed out after 3.00 seconds","errorType":"Sandbox.Timedout","stackTrace":[]}"#;

fn failed(kind: &'static str) -> UpstreamReply {
    upstream(200, &[("content-type", "application/json"), ("x-amz-function-error", kind)], FAILED)
}

#[test]
fn an_answer_passes_with_awss_headers_and_byte_for_byte() {
    let lines = [
        ("x-amzn-requestid", "1"),
        ("x-amzn-trace-id", "Root=1"),
        ("x-amzn-remapped-content-length", "0"),
        ("x-amz-executed-version", "$LATEST"),
        ("date", "now"),
        ("content-type", "application/json"),
    ];
    let mut sent = lines.to_vec();
    sent.extend([("connection", "keep-alive, x-hop"), ("x-hop", "1"), ("content-length", "9")]);
    let reply = called(PLAIN, upstream(200, &sent, " [] ,\u{1}{ ")).unwrap();
    assert_eq!(text(&reply), " [] ,\u{1}{ ");
    assert_eq!(reply.headers.len(), lines.len());
    assert!(lines.iter().all(|(name, value)| values(&reply, name) == [*value]));
    assert_eq!(reply.notes, []);
}

#[test]
fn k37_the_log_goes_to_our_log_and_never_to_the_client() {
    log::set_max_level(log::LevelFilter::Debug);
    let tail = STANDARD.encode(b"START\tid\nhush \x1b[2J\xff\nEND\n");
    for (status, settings) in
        [(200, PLAIN), (403, AnswerSettings { preserve_lambda_api_error_code: true, ..PLAIN })]
    {
        let mut sent = upstream(status, &[], "{}");
        sent.headers.insert(LOG_RESULT, HeaderValue::from_str(&tail).unwrap());
        let reply = called(settings, sent).unwrap();
        assert!(!reply.headers.contains_key(LOG_RESULT));
        let note = reply.notes.last().unwrap();
        assert_eq!(note.level, Level::Debug);
        let expected = "the function's log ends with:\nSTART\tid\nhush \\u{1b}[2J\u{fffd}\nEND";
        assert_eq!(note.text, expected);
    }
    let broken = called(PLAIN, upstream(200, &[("x-amz-log-result", "hush!")], "{}")).unwrap();
    assert!(broken.headers.is_empty() && broken.notes.is_empty());
}

#[test]
fn r04_h10_l13_a_function_error_is_200_with_the_header() {
    for kind in ["Unhandled", "Handled"] {
        let reply = called(PLAIN, failed(kind)).unwrap();
        assert_eq!(reply.status, StatusCode::OK);
        assert_eq!(values(&reply, "x-amz-function-error"), [kind]);
        assert_eq!(text(&reply), FAILED);
        let note = &reply.notes[0];
        let account = "Sandbox.Timedout: Task timed out after 3.00 seconds";
        assert_eq!(note.text, format!("the function failed: {kind}: {account}"));
        assert_eq!(note.level, Level::Warn);
    }
}

#[test]
fn r04_a_failure_that_passes_unread_is_told_without_its_account() {
    let mut sent = failed("Unhandled");
    sent.body = ReplyBody::Events(Box::new(EventStream::of_whole(Bytes::new())));
    let reply = called(PLAIN, sent).unwrap();
    assert!(matches!(reply.body, ReplyBody::Events(_)));
    assert_eq!(reply.notes[0].text, "the function failed: Unhandled");
}

#[test]
fn r05_l14_event_and_dry_run_pass_as_they_are() {
    let settings = AnswerSettings { is_proxy_integration: true, ..PLAIN };
    let unhandled = [("x-amz-function-error", "Unhandled")];
    for (invocation_type, status) in [(InvocationType::Event, 202), (InvocationType::DryRun, 204)] {
        for invoke_mode in [InvokeMode::Buffered, InvokeMode::ResponseStream] {
            let sent = upstream(status, &unhandled, "");
            let mode = reply_mode(settings, invocation_type, invoke_mode, &sent);
            assert_eq!(mode, ReplyMode::Streamed);
            let reply = reply(settings, invocation_type, invoke_mode, sent).unwrap();
            assert_eq!(reply.status.as_u16(), status);
            assert_eq!(reply.headers.len(), 1);
        }
    }
}

#[test]
fn r06_r07_r08_unhandled_status_is_for_what_is_unhandled_with_proxy_integration_too() {
    for is_proxy_integration in [false, true] {
        let settings = AnswerSettings {
            is_proxy_integration,
            unhandled_status: Some(StatusCode::PRECONDITION_FAILED),
            ..PLAIN
        };
        let reply = called(settings, failed("Unhandled")).unwrap();
        assert_eq!(reply.status, StatusCode::PRECONDITION_FAILED);
        assert_eq!(text(&reply), FAILED);
        assert_eq!(values(&reply, "x-amz-function-error"), ["Unhandled"]);
        assert_eq!(called(settings, upstream(200, &[], r#"{"statusCode":200}"#)).unwrap().status, 200);

        let handled = called(settings, failed("Handled"));
        if is_proxy_integration {
            let cause = why_of(&ErrorKind::FunctionFailed, handled);
            assert!(cause.starts_with("Handled: "), "{cause}");
        } else {
            assert_eq!(handled.unwrap().status, StatusCode::OK);
        }
    }
}

#[test]
fn r08_e8_a_function_error_with_proxy_integration_is_502_and_says_that_the_function_failed() {
    let settings = AnswerSettings { is_proxy_integration: true, version: PayloadVersion::V2, ..PLAIN };
    let account = "Sandbox.Timedout: Task timed out after 3.00 seconds";
    let expected = format!("Unhandled: {account}");
    let failure = |upstream| why_of(&ErrorKind::FunctionFailed, called(settings, upstream));
    assert_eq!(failure(failed("Unhandled")), expected);

    let mut long = failed("Unhandled");
    let message = format!(r#"{{"errorMessage":"{}"}}"#, "\\n".repeat(600));
    long.body = ReplyBody::Whole(message.into());
    let expected = format!("Unhandled: {}…", "\\n".repeat(500));
    assert_eq!(failure(long), expected);

    let mut silent = failed("Unhandled");
    silent.body = ReplyBody::Whole(Bytes::from_static(b"\xff"));
    assert_eq!(failure(silent), "Unhandled: no message");

    for (body, told) in [
        (r#"{"errorType":"Unhandled","errorMessage":"boom"}"#, "Unhandled: boom"),
        (r#"{"errorType":"Unhandled"}"#, "Unhandled"),
        (r#"{"errorType":"UnhandledPromise","errorMessage":"boom"}"#, "Unhandled: UnhandledPromise: boom"),
    ] {
        let mut same = failed("Unhandled");
        same.body = ReplyBody::Whole(Bytes::from_static(body.as_bytes()));
        assert_eq!(failure(same), told);
    }
    assert_eq!(ErrorKind::FunctionFailed.code().name, "function_failed");
}

#[test]
fn r06_a_status_that_has_no_body_gets_none() {
    for status in [204, 205, 304] {
        let unhandled_status = Some(StatusCode::from_u16(status).unwrap());
        let reply = called(AnswerSettings { unhandled_status, ..PLAIN }, failed("Unhandled")).unwrap();
        assert_eq!(reply.status.as_u16(), status);
        assert!(matches!(reply.body, ReplyBody::None { .. }));
    }
}

#[test]
fn r11_empty_arrays_become_objects_on_request_and_only_where_the_body_passes() {
    let body = r#"{"testbody": []}"#;
    let json = [("content-type", "application/json+test")];
    let correct = called(PLAIN, upstream(200, &json, body)).unwrap();
    assert_eq!(text(&correct), body);
    let legacy = AnswerSettings { empty_arrays_mode: EmptyArraysMode::Legacy, ..PLAIN };
    let reply = called(legacy, upstream(200, &json, body)).unwrap();
    assert_eq!(text(&reply), r#"{"testbody": {}}"#);
    assert_eq!(values(&reply, "content-type"), ["application/json+test"]);
}

#[test]
fn r12_with_proxy_integration_a_body_is_a_text_and_its_type_is_kept() {
    let settings =
        AnswerSettings { is_proxy_integration: true, empty_arrays_mode: EmptyArraysMode::Legacy, ..PLAIN };
    let body = r#"{"statusCode":200,"isBase64Encoded":true,"body":"eyJrZXkyIjogW119","headers":{},
                   "multiValueHeaders":{"Content-Type":["application/json+test"]}}"#;
    let reply = called(settings, upstream(200, &[("content-type", "application/json")], body)).unwrap();
    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(text(&reply), r#"{"key2": []}"#);
    assert_eq!(values(&reply, "content-type"), ["application/json+test"]);
}

#[test]
fn a_stream_is_bytes_unless_the_function_says_more() {
    let streamed = |lines: &[_]| {
        let sent = upstream(200, lines, "words");
        reply(PLAIN, InvocationType::RequestResponse, InvokeMode::ResponseStream, sent).unwrap()
    };
    assert_eq!(values(&streamed(&[]), "content-type"), ["application/octet-stream"]);
    assert_eq!(values(&streamed(&[("content-type", "text/plain")]), "content-type"), ["text/plain"]);
}

#[test]
fn a_body_is_read_first_only_where_something_has_to_be_known_of_it() {
    let proxy = AnswerSettings { is_proxy_integration: true, ..PLAIN };
    let legacy = AnswerSettings { empty_arrays_mode: EmptyArraysMode::Legacy, ..PLAIN };
    let unhandled = AnswerSettings { unhandled_status: Some(StatusCode::BAD_GATEWAY), ..PLAIN };
    let good = upstream(200, &[], "");
    let bad = failed("Unhandled");
    let whole = ReplyMode::Collected { limit: MAX_ANSWER };
    let events = |prelude| ReplyMode::Events { prelude };
    for (settings, upstream, buffered, streamed) in [
        (PLAIN, &good, ReplyMode::Streamed, events(false)),
        (PLAIN, &bad, ReplyMode::Streamed, events(false)),
        (unhandled, &good, ReplyMode::Streamed, events(false)),
        (unhandled, &bad, whole, events(false)),
        (legacy, &good, whole, events(false)),
        (proxy, &good, whole, events(true)),
        (proxy, &bad, whole, events(false)),
    ] {
        let mode = |invoke_mode| reply_mode(settings, InvocationType::RequestResponse, invoke_mode, upstream);
        assert_eq!(mode(InvokeMode::Buffered), buffered);
        assert_eq!(mode(InvokeMode::ResponseStream), streamed);
    }
    for status in [300, 404, 500] {
        for invocation_type in [InvocationType::RequestResponse, InvocationType::Event] {
            let refused = upstream(status, &[], "");
            let mode = reply_mode(proxy, invocation_type, InvokeMode::ResponseStream, &refused);
            assert_eq!(mode, ReplyMode::Truncated { limit: MAX_REFUSAL });
        }
    }
}
