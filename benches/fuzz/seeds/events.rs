//! Event streams of `InvokeWithResponseStream`, message by message.

use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};

/// A named stream.
#[derive(Debug, Clone)]
pub struct Stream {
    pub name: &'static str,
    pub messages: Vec<Vec<u8>>,
}

/// A message with these headers, in the event stream encoding.
pub fn message(headers: &[(&'static str, &'static str)], payload: &[u8]) -> Vec<u8> {
    let mut message = Message::new(payload.to_vec());
    for (name, value) in headers {
        message = message.add_header(Header::new(*name, HeaderValue::String((*value).into())));
    }
    let mut bytes = Vec::new();
    write_message_to(&message, &mut bytes).expect("a message of a few bytes");
    bytes
}

/// A `PayloadChunk` event.
pub fn payload(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let headers = [
        (":event-type", "PayloadChunk"),
        (":content-type", "application/octet-stream"),
        (":message-type", "event"),
    ];
    message(&headers, bytes.as_ref())
}

/// An `InvokeComplete` event.
pub fn complete(json: &str) -> Vec<u8> {
    let headers = [
        (":event-type", "InvokeComplete"),
        (":content-type", "application/json"),
        (":message-type", "event"),
    ];
    message(&headers, json.as_bytes())
}

const PRELUDE: &str = "{\"statusCode\":201,\"headers\":{\"Content-Type\":\"text/plain\",\"X-A\":\"b\"},\
    \"cookies\":[\"a=1\"]}\0\0\0\0\0\0\0\0";

pub fn all() -> Vec<Stream> {
    let failed = r#"{"ErrorCode":"Unhandled","ErrorDetails":"{\"errorType\":\"E\"}","LogResult":"TA=="}"#;
    let new = |name, messages| Stream { name, messages };
    vec![
        new("plain", vec![payload("some "), payload("words\n"), complete("{}")]),
        new("with_prelude", vec![payload(PRELUDE), payload("some words"), complete("{}")]),
        new(
            "with_prelude_in_pieces",
            vec![
                payload(&PRELUDE[..9]),
                payload(&PRELUDE[9..PRELUDE.len() - 3]),
                payload(&PRELUDE[PRELUDE.len() - 3..]),
                payload("some words"),
                complete(r#"{"LogResult":"TA=="}"#),
            ],
        ),
        new("prelude_and_body_in_one", vec![payload(format!("{PRELUDE}some words")), complete("{}")]),
        new("not_streaming", vec![payload(r#"{"statusCode":200,"body":"hello"}"#), complete("{}")]),
        new("empty", vec![complete("{}")]),
        new("empty_payload", vec![payload(""), payload("a"), payload(""), complete("{}")]),
        new("c1_fails_behind_first_bytes", vec![payload("first"), complete(failed)]),
        new("c1_fails_behind_prelude", vec![payload(PRELUDE), payload("first"), complete(failed)]),
        new("c1_fails_in_prelude", vec![payload(PRELUDE), complete(failed)]),
        new("c1_cut_behind_first_bytes", vec![payload("first"), payload("second")]),
        new("c1_cut_behind_prelude", vec![payload(PRELUDE), payload("first")]),
        new("fails_at_once", vec![complete(failed)]),
        new(
            "exception",
            vec![
                payload("first"),
                message(
                    &[(":message-type", "exception"), (":exception-type", "InternalServerException")],
                    b"{}",
                ),
            ],
        ),
        new(
            "error",
            vec![
                payload("first"),
                message(
                    &[(":message-type", "error"), (":error-code", "Timeout"), (":error-message", "late")],
                    b"",
                ),
            ],
        ),
        new(
            "unknown_event",
            vec![
                message(&[(":message-type", "event"), (":event-type", "initial-response")], b"{}"),
                payload("a"),
                complete("{}"),
            ],
        ),
        new("behind_the_end", vec![payload("a"), complete("{}"), payload("b")]),
        new("large", vec![payload(vec![b'x'; 60_000]), payload(vec![b'y'; 60_000]), complete("{}")]),
        new("c12_status_599", vec![payload("{\"statusCode\":599}\0\0\0\0\0\0\0\0x"), complete("{}")]),
        new(
            "x5_prelude_arrays",
            vec![
                payload(format!(
                    "{{\"statusCode\":200,\"cookies\":[{}\"\"]}}\0\0\0\0\0\0\0\0x",
                    "\"\",".repeat(3000)
                )),
                complete("{}"),
            ],
        ),
        new(
            "x15_splitting",
            vec![
                payload("{\"statusCode\":200,\"headers\":{\"a\":\"b\\r\\nc: d\"}}\0\0\0\0\0\0\0\0x"),
                complete("{}"),
            ],
        ),
    ]
}
