//! Event streams of the Lambda API that have arrived completely, decoded frame by frame.

use actix_http::{
    StatusCode,
    header::{CONTENT_TYPE, HeaderMap, HeaderValue},
};
use apigw_invoker::client::{ReplyBody, UpstreamReply};
use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::event_stream::{Header, HeaderValue as FrameValue, Message};
use bytes::Bytes;

use super::{
    SIZES, Verdict,
    answers::{filled, shapes},
    cost, lambda,
};

fn frame(kind: &str, event: &str, payload: &[u8]) -> Vec<u8> {
    let type_name = if kind == "event" { ":event-type" } else { ":exception-type" };
    let header =
        |name: &'static str, value: &str| Header::new(name, FrameValue::String(value.to_owned().into()));
    let message = Message::new(payload.to_vec())
        .add_header(header(":message-type", kind))
        .add_header(header(type_name, event));
    let mut bytes = Vec::new();
    write_message_to(&message, &mut bytes).unwrap();
    bytes
}

fn chunks(payload: &[u8], size: usize) -> Vec<u8> {
    let mut stream: Vec<u8> =
        payload.chunks(size).flat_map(|payload| frame("event", "PayloadChunk", payload)).collect();
    stream.extend(frame("event", "InvokeComplete", b"{}"));
    stream
}

/// Decodes a stream up to its head, and builds the client's response.
fn judge(verdict: &mut Verdict, what: &str, stream: &[u8]) {
    let backend = lambda("is_proxy_integration: true, invoke_mode: response_stream");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for prelude in [true, false] {
        let (_, cost) = cost(|| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/vnd.amazon.eventstream"));
            let body = ReplyBody::Whole(Bytes::copy_from_slice(stream));
            let reply = UpstreamReply { status: StatusCode::OK, headers, body, prelude: None };
            let reply = runtime.block_on(reply.decode_events(prelude));
            reply.and_then(|reply| backend.reply(reply))
        });
        verdict.judge(&format!("{what}, prelude: {prelude}"), stream.len(), cost);
    }
}

#[test]
fn x5_no_streamed_answer_costs_more_than_three_times_its_bytes() {
    log::set_max_level(log::LevelFilter::Debug);
    let mut verdict = Verdict::default();
    for size in SIZES {
        for (what, body) in shapes(size) {
            judge(&mut verdict, &format!("{what}, in one frame"), &chunks(&body, usize::MAX));
            judge(&mut verdict, &format!("{what}, in frames"), &chunks(&body, 60_000));
            let with_body = [&body[..], &[0; 8], b"body"].concat();
            judge(&mut verdict, &format!("{what} before a body"), &chunks(&with_body, 60_000));
        }
    }
    verdict.end();
}

#[test]
fn x5_no_end_of_a_stream_costs_more_than_three_times_its_bytes() {
    log::set_max_level(log::LevelFilter::Debug);
    let mut verdict = Verdict::default();
    for size in SIZES {
        let filled = |start: &str, item: &str, end: &str| filled(start, item, end, size);
        for (what, payload) in [
            ("details", filled(r#"{"ErrorDetails":""#, "d", "\"}")),
            ("escaped details", filled(r#"{"ErrorDetails":""#, r"\u0001", "\"}")),
            ("details with some escapes", filled(r#"{"ErrorDetails":""#, r"abc\n", "\"}")),
            ("details that are JSON", filled(r#"{"ErrorDetails":"["#, r"\n0,", "0]\"}")),
            ("deep details", filled(r#"{"ErrorDetails":""#, "[", "\"}")),
            ("a long code", filled(r#"{"ErrorCode":""#, r"\u0061", "\"}")),
            ("an array for a code", filled(r#"{"ErrorCode":["#, "0,", "0]}")),
            ("a long log", filled(r#"{"LogResult":""#, "////", "\"}")),
            ("an escaped log", filled(r#"{"LogResult":""#, r"\/", "\"}")),
            ("other members", filled(r#"{"a":0"#, r#","a":[]"#, "}")),
        ] {
            judge(&mut verdict, what, &frame("event", "InvokeComplete", &payload));
        }
        judge(&mut verdict, "an exception", &frame("exception", "E", &vec![0xff; size]));
        judge(&mut verdict, "unknown events", &frame("event", "X", b"").repeat(size / 60));
    }
    verdict.end();
}
