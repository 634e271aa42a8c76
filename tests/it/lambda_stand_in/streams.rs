//! `InvokeWithResponseStream`: AWS's own crate decodes the frames, including the last one.

use std::{
    io::{Read, Write},
    time::Duration,
};

use aws_smithy_eventstream::frame::read_message_from;
use serde_json::{Value, json};

use super::{
    super::support::{Response, open},
    Signatory, event_one, event_two, post, stand_in, stand_in_pausing, stream,
};

const SENTENCE: &str = "These words arrive one by one, as the function writes them.\n";

/// Payloads of a stream: its chunks, and `InvokeComplete`.
struct Frames {
    chunks: Vec<Vec<u8>>,
    complete: Option<Value>,
}

impl Frames {
    /// Decodes the frames of a response.
    #[track_caller]
    fn of(response: &Response) -> Self {
        assert_eq!(response.status, 200, "{}", response.text());
        assert_eq!(response.header("content-type"), Some("application/vnd.amazon.eventstream"));
        let mut frames = Self { chunks: Vec::new(), complete: None };
        let mut rest = response.body.as_slice();
        while !rest.is_empty() {
            let frame = read_message_from(&mut rest).expect("a frame");
            let header = |name: &str| {
                let header = frame.headers().iter().find(|header| header.name().as_str() == name);
                header.and_then(|header| header.value().as_string().ok()).expect("a text").as_str().to_owned()
            };
            assert_eq!(header(":message-type"), "event");
            assert_eq!(frames.complete, None, "nothing follows the end");
            match header(":event-type").as_str() {
                "PayloadChunk" => frames.chunks.push(frame.payload().to_vec()),
                "InvokeComplete" => {
                    frames.complete = Some(serde_json::from_slice(frame.payload()).unwrap());
                }
                other => panic!("{other}"),
            }
        }
        frames
    }

    fn text(&self) -> String {
        String::from_utf8(self.chunks.concat()).unwrap()
    }
}

#[test]
fn words_are_frames_of_their_own() {
    let stand_in = stand_in();
    let response = post(&stand_in, &stream("words"), &[], "{}");
    assert_eq!(response.header("X-Amz-Executed-Version"), Some("$LATEST"));
    assert!(response.header("x-amzn-RequestId").is_some());
    let frames = Frames::of(&response);
    assert_eq!(frames.chunks.len(), SENTENCE.split(' ').count());
    assert_eq!((frames.text().as_str(), frames.complete), (SENTENCE, Some(json!({}))));
}

#[test]
fn before_the_words_for_an_api_goes_the_prelude() {
    let stand_in = stand_in();
    for event in [event_one("/words", &Value::Null), event_two("/words", "")] {
        let frames = Frames::of(&post(&stand_in, &stream("words"), &[], event));
        let text = frames.text();
        let (prelude, body) = text.split_once("\0\0\0\0\0\0\0\0").expect("eight NULs");
        let expected =
            r#"{"statusCode":200,"headers":{"content-type":"text/plain; charset=utf-8"},"cookies":[]}"#;
        assert_eq!((prelude, body), (expected, SENTENCE));
        assert_eq!(frames.complete, Some(json!({})));
    }
}

#[test]
fn a_function_that_does_not_write_is_one_chunk() {
    let stand_in = stand_in();
    let gateway = event_one("/lambda/hello", &Value::Null);
    for (function, event, start) in [
        ("hello", r#"{"name":"Kong"}"#, "\"Hello, Kong!\""),
        ("echo", "[1, 2]", "[1, 2]"),
        ("malformed", "", "\"just text\""),
        ("gateway", &gateway, r#"{"isBase64Encoded":false,"statusCode":200,"#),
    ] {
        let frames = Frames::of(&post(&stand_in, &stream(function), &[], event));
        assert_eq!((frames.chunks.len(), &frames.complete), (1, &Some(json!({}))), "{function}");
        assert!(frames.text().starts_with(start), "{}", frames.text());
    }
}

#[test]
fn a_failure_shows_at_the_end_alone() {
    let stand_in = stand_in();
    let response = post(&stand_in, &stream("fail"), &[], "{}");
    assert_eq!(response.header("X-Amz-Function-Error"), None);
    let complete = Frames::of(&response).complete.expect("an end");
    assert_eq!(complete["ErrorCode"], "Unhandled");
    let details: Value = serde_json::from_str(complete["ErrorDetails"].as_str().unwrap()).unwrap();
    assert_eq!(details["errorType"], "RuntimeError");
    assert_eq!(details["requestId"].as_str(), response.header("x-amzn-RequestId"));
}

#[test]
fn a_function_that_dies_leaves_no_end() {
    let stand_in = stand_in();
    let frames = Frames::of(&post(&stand_in, &stream("break"), &[], "{}"));
    assert_eq!((frames.text().as_str(), frames.complete), ("Two words", None));
}

#[test]
fn the_log_comes_with_the_end() {
    let stand_in = stand_in();
    let response = post(&stand_in, &stream("words"), &[("x-amz-log-type", "Tail")], "{}");
    assert_eq!(response.header("X-Amz-Log-Result"), None);
    let complete = Frames::of(&response).complete.expect("an end");
    assert!(complete["LogResult"].as_str().is_some_and(|log| log.starts_with("U1RBUlQg")), "{complete}");
}

#[test]
fn a_stream_is_not_queued_but_may_be_tried() {
    let stand_in = stand_in();
    let of_kind = |kind| post(&stand_in, &stream("words"), &[("x-amz-invocation-type", kind)], "{}");
    assert_eq!(of_kind("DryRun").status, 204);
    let response = of_kind("Event");
    assert_eq!(response.status, 400);
    assert_eq!(response.header("x-amzn-ErrorType"), Some("ValidationException"));
}

#[test]
fn a_refusal_is_not_a_stream() {
    let stand_in = stand_in();
    let response = post(&stand_in, &stream("nobody"), &[], "{}");
    assert_eq!(response.status, 404);
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert_eq!(response.json()["Type"], "User");
    let unsigned = super::call(stand_in.address(), "POST", &stream("words"), &[], b"{}");
    assert_eq!(unsigned.status, 403);
}

#[test]
fn the_first_word_arrives_while_the_function_still_pauses() {
    // much longer than the test's timeout
    let stand_in = stand_in_pausing(Duration::from_hours(1));
    let target = stream("words");
    let mut connection = open(stand_in.address());
    let mut request = format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n");
    for (name, value) in Signatory::known("lambda").sign("POST", &target, &[], b"{}") {
        request.extend([&name, ": ", &value, "\r\n"]);
    }
    connection.write_all(format!("{request}\r\n{{}}").as_bytes()).unwrap();
    let mut received = Vec::new();
    while !received.windows(6).any(|window| window == b"These ") {
        let mut piece = [0; 1024];
        let length = connection.read(&mut piece).expect("the first word");
        assert_ne!(length, 0, "closed after {}", String::from_utf8_lossy(&received));
        received.extend_from_slice(&piece[..length]);
    }
    assert!(!received.windows(5).any(|window| window == b"words"), "the second is not there yet");
}
