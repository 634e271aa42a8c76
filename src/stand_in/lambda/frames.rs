//! The frames of `InvokeWithResponseStream`: `PayloadChunk` and `InvokeComplete` of the Lambda API
//! reference's `InvokeWithResponseStreamResponseEvent`.

use actix_web::web::Bytes;
use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use serde_json::{Map, Value};

/// The delimiter between the prelude of an HTTP integration and the body.
const DELIMITER: [u8; 8] = [0; 8];

/// A chunk of the function's response.
pub fn payload_chunk(payload: &[u8]) -> Bytes {
    frame("PayloadChunk", "application/octet-stream", payload.to_vec())
}

/// Status, headers and cookies for an HTTP integration, with the delimiter.
pub fn prelude(prelude: &Value) -> Bytes {
    payload_chunk(&[prelude.to_string().as_bytes(), &DELIMITER].concat())
}

/// The last frame.
pub fn invoke_complete(failure: Option<&Value>, log: Option<String>) -> Bytes {
    let mut complete = Map::new();
    if let Some(failure) = failure {
        complete.insert("ErrorCode".into(), "Unhandled".into());
        complete.insert("ErrorDetails".into(), failure.to_string().into());
    }
    if let Some(log) = log {
        complete.insert("LogResult".into(), log.into());
    }
    frame("InvokeComplete", "application/json", Value::from(complete).to_string().into_bytes())
}

fn frame(event: &'static str, content_type: &'static str, payload: Vec<u8>) -> Bytes {
    let header =
        |name: &'static str, value: &'static str| Header::new(name, HeaderValue::String(value.into()));
    let message = Message::new(payload)
        .add_header(header(":event-type", event))
        .add_header(header(":content-type", content_type))
        .add_header(header(":message-type", "event"));
    let mut bytes = Vec::new();
    // fails only for lengths over 4 GiB
    let _ = write_message_to(&message, &mut bytes);
    bytes.into()
}

#[cfg(test)]
mod tests {
    use aws_smithy_eventstream::frame::read_message_from;
    use aws_smithy_types::str_bytes::StrBytes;
    use serde_json::json;

    use super::*;

    #[test]
    fn frames_have_their_types_in_headers() {
        let frame = read_message_from(payload_chunk(b"word ")).unwrap();
        let headers: Vec<(String, &str)> = frame
            .headers()
            .iter()
            .map(|header| {
                (header.name().as_str().to_owned(), header.value().as_string().map(StrBytes::as_str).unwrap())
            })
            .collect();
        let expected = [
            (":event-type", "PayloadChunk"),
            (":content-type", "application/octet-stream"),
            (":message-type", "event"),
        ];
        assert_eq!(headers, expected.map(|(name, value)| (name.to_owned(), value)));
        assert_eq!(&frame.payload()[..], b"word ");
    }

    #[test]
    fn a_prelude_ends_with_eight_nul_bytes() {
        let frame = read_message_from(prelude(&json!({ "statusCode": 200 }))).unwrap();
        assert_eq!(&frame.payload()[..], b"{\"statusCode\":200}\0\0\0\0\0\0\0\0");
    }

    #[test]
    fn the_last_frame_has_the_error_and_the_log() {
        let payload = |failure: Option<&Value>, log: Option<String>| {
            let frame = read_message_from(invoke_complete(failure, log)).unwrap();
            String::from_utf8(frame.payload().to_vec()).unwrap()
        };
        assert_eq!(payload(None, None), "{}");
        assert_eq!(payload(None, Some("TA==".into())), r#"{"LogResult":"TA=="}"#);
        assert_eq!(
            payload(Some(&json!({ "errorType": "E" })), None),
            r#"{"ErrorCode":"Unhandled","ErrorDetails":"{\"errorType\":\"E\"}"}"#
        );
    }
}
