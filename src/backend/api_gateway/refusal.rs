//! Removes the explanation of a signature mismatch from a response of API Gateway.
//!
//! The explanation contains the canonical request with query and session token, so the client must not see
//! it; it goes to the debug log. `signing/explanation.rs` finds it in the message.

use actix_http::header;
use bytes::Bytes;
use log::Level;

use crate::{
    backend::ReplyMode,
    client::{ReplyBody, UpstreamReply},
    message::log_note::LogNote,
    signing::explanation::{is_in, message, split},
};

const SIGNATURE: &str = "InvalidSignatureException";
const DENIED: &str = "AccessDeniedException";
/// A refusal has a few kilobytes: it contains the canonical request twice at most.
const MAX_REFUSAL: u64 = 256 << 10;
/// API Gateway's body of most refusals.
const FORBIDDEN: &str = r#"{"message":"Forbidden"}"#;

/// Refusals of a signature are buffered, all other responses streamed.
pub fn reply_mode(upstream: &UpstreamReply) -> ReplyMode {
    if upstream.is_refusal_for(SIGNATURE) {
        ReplyMode::Collected { limit: MAX_REFUSAL }
    } else {
        ReplyMode::Streamed
    }
}

/// `AccessDeniedException` has two causes that only the body distinguishes (`diagnosis/denial.rs`). API
/// Gateway never sends a long body, so a long one is streamed.
pub fn reply_mode_unsigned(upstream: &UpstreamReply) -> ReplyMode {
    let is_short = match &upstream.body {
        ReplyBody::Stream(body) => body.length().is_some_and(|length| length <= MAX_REFUSAL),
        _ => false,
    };
    if is_short && upstream.is_refusal_for(DENIED) {
        ReplyMode::Collected { limit: MAX_REFUSAL }
    } else {
        ReplyMode::Streamed
    }
}

/// Moves the explanation from a refusal into the returned notes. Any other response is unchanged.
pub fn without_explanation(upstream: &mut UpstreamReply) -> Vec<LogNote> {
    if !upstream.is_refusal_for(SIGNATURE) {
        return Vec::new();
    }
    let mut notes = Vec::new();
    let ReplyBody::Whole(body) = &upstream.body else { return notes };
    let is_encoded = upstream.headers.contains_key(header::CONTENT_ENCODING);
    let text = match str::from_utf8(body) {
        Ok(text) if !is_encoded => text,
        Err(_) if !is_encoded && !is_in(body) => return notes,
        _ => {
            // the body cannot be searched for the explanation
            upstream.headers.remove(header::CONTENT_ENCODING);
            upstream.body = ReplyBody::Whole(Bytes::from_static(FORBIDDEN.as_bytes()));
            return notes;
        }
    };
    let (before, Some(_)) = split(text) else { return notes };
    let shortened = match message(text) {
        Some(message) => {
            let (sentence, explanation) = split(&message);
            notes.extend(explanation.map(|text| LogNote { level: Level::Debug, text }));
            serde_json::json!({ "message": sentence }).to_string()
        }
        // cutting JSON of another shape would break it
        None if text.trim_start().starts_with(['{', '[', '"']) => FORBIDDEN.to_owned(),
        None => before.to_owned(),
    };
    upstream.body = ReplyBody::Whole(shortened.into());
    notes
}

#[cfg(test)]
mod tests {
    use actix_http::{
        StatusCode,
        header::{HeaderMap, HeaderValue},
    };
    use proptest::prelude::*;

    use super::*;
    use crate::client::ERROR_TYPE;

    fn refusal(kind: &'static str, body: &str) -> UpstreamReply {
        let mut headers = HeaderMap::new();
        headers.insert(ERROR_TYPE, HeaderValue::from_static(kind));
        UpstreamReply {
            status: StatusCode::FORBIDDEN,
            headers,
            body: ReplyBody::Whole(Bytes::copy_from_slice(body.as_bytes())),
            prelude: None,
        }
    }

    fn text(reply: &UpstreamReply) -> String {
        match &reply.body {
            ReplyBody::Whole(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            _ => unreachable!("it was whole before"),
        }
    }

    const EXPLAINED: &str = "No match.\n\nThe Canonical String for this request should have been\n'GET\n/\nq=hush\n\
                             x-amz-date:1\nx-amz-security-token:hush-token\n\n...'";

    #[test]
    fn the_explanation_goes_to_the_log_without_the_token_and_the_rest_to_the_client() {
        let body = serde_json::json!({ "message": EXPLAINED }).to_string();
        for kind in ["InvalidSignatureException", "InvalidSignatureException:http://internal.amazon.com/x"] {
            let mut reply = refusal(kind, &body);
            assert_eq!(reply_mode(&reply), ReplyMode::Collected { limit: MAX_REFUSAL });
            let notes = without_explanation(&mut reply);
            assert_eq!(text(&reply), r#"{"message":"No match."}"#);
            assert_eq!(notes.len(), 1);
            assert!(notes[0].text.contains("x-amz-date:1\nx-amz-security-token:(left out)\n"));
            assert!(notes.iter().all(|note| !note.text.contains("hush-token")));
        }
    }

    #[test]
    fn an_explanation_in_another_shape_is_cut_and_one_that_cannot_be_read_is_replaced() {
        let mut reply = refusal("InvalidSignatureException", EXPLAINED);
        without_explanation(&mut reply);
        assert_eq!(text(&reply), "No match.");
        let mut reply = refusal("InvalidSignatureException", "\x1f gzip");
        reply.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        without_explanation(&mut reply);
        assert_eq!(text(&reply), r#"{"message":"Forbidden"}"#);
        assert!(!reply.headers.contains_key(header::CONTENT_ENCODING));
        let mut reply = refusal("InvalidSignatureException", "");
        reply.body = ReplyBody::Whole([b"\xff", EXPLAINED.as_bytes()].concat().into());
        without_explanation(&mut reply);
        assert_eq!(text(&reply), r#"{"message":"Forbidden"}"#);
    }

    #[test]
    fn other_answers_stay_as_they_are() {
        let mut skew = refusal("InvalidSignatureException", r#"{"message":"Signature expired: 1 is 2"}"#);
        assert!(without_explanation(&mut skew).is_empty());
        assert_eq!(text(&skew), r#"{"message":"Signature expired: 1 is 2"}"#);
        let mut unreadable = refusal("InvalidSignatureException", "");
        unreadable.body = ReplyBody::Whole(Bytes::from_static(b"\xff"));
        assert!(without_explanation(&mut unreadable).is_empty());
        assert!(matches!(&unreadable.body, ReplyBody::Whole(body) if *body == b"\xff"[..]));
        let mut other = refusal("AccessDeniedException", EXPLAINED);
        assert_eq!(reply_mode(&other), ReplyMode::Streamed);
        assert!(without_explanation(&mut other).is_empty());
        assert_eq!(text(&other), EXPLAINED);
    }

    proptest! {
        #[test]
        fn whatever_shape_a_refusal_has_the_client_reads_no_explanation(
            start in "[{\\[\" a-z:]{0,6}(\"message\": ?\")?",
            end in "[}\\]\" a-z\\\\n]{0,6}",
        ) {
            let explained = EXPLAINED.replace('\n', "\\n");
            for body in [format!("{start}{EXPLAINED}{end}"), format!("{start}{explained}{end}")] {
                let mut reply = refusal("InvalidSignatureException", &body);
                let notes = without_explanation(&mut reply);
                prop_assert!(!text(&reply).contains("hush") && !text(&reply).contains("Canonical"), "{}", text(&reply));
                // JSON has no raw line breaks, and what is no JSON has no notes
                prop_assert!(notes.is_empty() || body.contains(&explained));
                prop_assert!(notes.iter().all(|note| !note.text.contains("hush-token")), "{body}");
            }
        }

        #[test]
        fn of_an_explanation_in_json_the_log_has_all_but_the_token(
            name in prop::sample::select(vec!["message", "Message"]),
            before in "[a-g \n\"\\\\é]{0,8}",
            behind in "[a-g \n\"\\\\é]{0,8}",
            others in prop::collection::vec(("[a-z]{8}", "[a-z\"\n]{0,4}"), 0..3),
            pretty in any::<bool>(),
        ) {
            let mut members: serde_json::Map<_, _> =
                others.into_iter().map(|(name, value)| (name, value.into())).collect();
            members.insert(name.to_owned(), format!("{before}{EXPLAINED}{behind}").into());
            let body =
                if pretty { serde_json::to_string_pretty(&members) } else { serde_json::to_string(&members) };
            let mut reply = refusal("InvalidSignatureException", &body.unwrap());
            let notes = without_explanation(&mut reply);
            prop_assert!(!text(&reply).contains("hush") && !text(&reply).contains("Canonical"), "{}", text(&reply));
            prop_assert_eq!(notes.len(), 1);
            let told = &notes[0].text;
            prop_assert!(told.contains("x-amz-date:1\nx-amz-security-token:(left out)\n"), "{}", told);
            prop_assert!(!told.contains("hush-token"), "{}", told);
        }
    }
}
