//! Refusals by the Lambda API: unknown function, access denied, throttling.
//!
//! The API's message names account, role and function, so the client must not see it: the client gets an
//! error of the sidecar or, with `preserve_lambda_api_error_code`, the API's status with a fixed body. The
//! message is logged with the text of Kong's plugin (`peers.md` R02, R03).

use std::borrow::Cow;

use actix_http::{
    StatusCode,
    header::{self, HeaderMap, HeaderName, HeaderValue},
};
use bytes::Bytes;
use log::Level;

use crate::{
    backend::ClientReply,
    client::{
        ReplyBody, UpstreamReply,
        aws_error::{bare_name, error_type, log_word},
    },
    message::{
        error::{ErrorKind, ProxyError},
        log_note::LogNote,
    },
    signing::explanation::split,
    text::{
        json::{Json, JsonText},
        log_safe::log_safe,
    },
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
/// Kong's text.
const BODY: &str = r#"{"message":"Upstream Lambda invocation failed"}"#;
/// Maximum length of the API's message in the log, in characters.
const MAX_MESSAGE: usize = 1000;
/// Maximum length of any other body in the log, in characters; usually the page of a front end.
const MAX_BODY: usize = 200;
const MAX_KIND: usize = 100;

pub fn reply(preserve_status: bool, upstream: &UpstreamReply) -> Result<ClientReply, ProxyError> {
    let (text, explanation) = log_line(upstream);
    let throttled = upstream.status == StatusCode::TOO_MANY_REQUESTS;
    let retry_after = upstream.headers.get(header::RETRY_AFTER).filter(|_| throttled);
    if !preserve_status {
        let kind = ErrorKind::LambdaRejected { retry_after: retry_after.cloned() };
        return Err(ProxyError::new(kind, text).with_notes(explanation.map(debug)));
    }
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let request_id = upstream.headers.get(REQUEST_ID);
    for (name, value) in [(header::RETRY_AFTER, retry_after), (REQUEST_ID, request_id)] {
        if let Some(value) = value {
            headers.insert(name, value.clone());
        }
    }
    let mut notes = vec![LogNote { level: Level::Error, text }];
    notes.extend(explanation.map(debug));
    let body = ReplyBody::Whole(Bytes::from_static(BODY.as_bytes()));
    Ok(ClientReply { status: error_status(upstream.status), headers, body, length: None, notes })
}

fn debug(text: String) -> LogNote {
    LogNote { level: Level::Debug, text }
}

/// The Invoke API has no redirects, so a redirect is never passed on.
fn error_status(status: StatusCode) -> StatusCode {
    if status.is_client_error() || status.is_server_error() { status } else { StatusCode::BAD_GATEWAY }
}

/// The log line, and the explanation of a signature mismatch.
fn log_line(upstream: &UpstreamReply) -> (String, Option<String>) {
    let body: &[u8] = if let ReplyBody::Whole(body) = &upstream.body { body } else { b"" };
    let text = str::from_utf8(body).map_or_else(|_| beginning(body), Cow::Borrowed);
    // the case of the name differs by error (Lambda API model: `Message` and `message`)
    let [upper, lower, kind, code, upper_code] =
        Json::members(&text, ["Message", "message", "__type", "code", "Code"]).map(text_of);
    let (message, longest) = match upper.or(lower) {
        Some(message) => (Cow::Owned(message.unescaped()), MAX_MESSAGE),
        None => (Cow::Borrowed(&*text), MAX_BODY),
    };
    let (sentence, explanation) = split(message.trim());
    let sentence = if sentence.is_empty() { "no message".to_owned() } else { log_safe(sentence, longest) };
    let status = upstream.status.as_u16();
    let kind = kind.or(code).or(upper_code).map(|kind| kind.beginning(4 * MAX_KIND));
    let kind = error_type(&upstream.headers).or_else(|| kind.as_deref().map(bare_name));
    let kind = kind.filter(|kind| !kind.is_empty());
    let kind = kind.map(|kind| format!(" ({})", log_word(kind))).unwrap_or_default();
    let line = format!("AWS Lambda API returned error: {sentence}, status code: {status}{kind}");
    (line, explanation)
}

fn text_of(member: Option<Json<'_>>) -> Option<JsonText<'_>> {
    member.and_then(Json::text)
}

/// The beginning of a body that is not UTF-8, which the API never sends.
fn beginning(body: &[u8]) -> Cow<'_, str> {
    // a character has four bytes at most; one character more shows that the text was cut
    String::from_utf8_lossy(&body[..body.len().min(4 * (MAX_BODY + 1))])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::tests::{text, upstream},
        *,
    };

    const DENIED: &str = r#"{"Message":"User: arn:aws:iam::123456789012:user/x is not authorized"}"#;
    const LOGGED: &str = "AWS Lambda API returned error: User: arn:aws:iam::123456789012:user/x is not \
                          authorized, status code: 403 (AccessDeniedException)";
    const API: [(&str, &str); 5] = [
        ("x-amzn-errortype", "AccessDeniedException:http://internal.amazon.com/coral/"),
        ("x-amzn-requestid", "1-2"),
        ("retry-after", "7"),
        ("x-amz-executed-version", "arn:aws:lambda:us-east-1:123456789012:function:f:1"),
        ("content-type", "text/html"),
    ];

    fn rejected(upstream: &UpstreamReply) -> (ProxyError, Option<HeaderValue>) {
        let error = reply(false, upstream).unwrap_err();
        let ErrorKind::LambdaRejected { retry_after } = &error.kind else { unreachable!("{error}") };
        let retry_after = retry_after.clone();
        (error, retry_after)
    }

    fn logged(upstream: &UpstreamReply) -> String {
        let log_line = rejected(upstream).0.to_string();
        log_line.strip_prefix("The function could not be invoked: ").unwrap().to_owned()
    }

    #[test]
    fn r02_a_refusal_is_500_and_only_the_log_says_why() {
        let upstream = upstream(403, &API, DENIED);
        assert_eq!(logged(&upstream), LOGGED);
        let (error, retry_after) = rejected(&upstream);
        assert_eq!(retry_after, None);
        let (status, headers, body) = error.answer("id");
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(headers.len(), 1);
        assert!(!String::from_utf8_lossy(&body).contains("arn"));
    }

    #[test]
    fn r03_the_apis_status_is_kept_on_request_with_a_fixed_body() {
        let kept = reply(true, &upstream(403, &API, DENIED)).unwrap();
        assert_eq!(kept.status, StatusCode::FORBIDDEN);
        assert_eq!(text(&kept), r#"{"message":"Upstream Lambda invocation failed"}"#);
        let mut names: Vec<&str> = kept.headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["content-type", "x-amzn-requestid"]);
        assert_eq!(kept.headers.get("content-type").unwrap(), "application/json");
        assert_eq!(kept.notes, [LogNote { level: Level::Error, text: LOGGED.to_owned() }]);
    }

    #[test]
    fn r03_a_status_that_is_no_error_becomes_one() {
        for (status, expected) in [(301, 502), (307, 502), (399, 502), (400, 400), (599, 599), (700, 502)] {
            assert_eq!(reply(true, &upstream(status, &[], "")).unwrap().status.as_u16(), expected);
        }
    }

    #[test]
    fn r03_too_many_calls_keep_their_retry_after() {
        let body = r#"{"Reason":"CallerRateLimitExceeded","Type":"User","message":"Rate exceeded"}"#;
        let lines = [("x-amzn-errortype", "TooManyRequestsException"), ("retry-after", "7")];
        let upstream = upstream(429, &lines, body);
        let expected =
            "AWS Lambda API returned error: Rate exceeded, status code: 429 (TooManyRequestsException)";
        assert_eq!(logged(&upstream), expected);
        assert_eq!(rejected(&upstream).1, Some(HeaderValue::from_static("7")));
        assert_eq!(reply(true, &upstream).unwrap().headers.get("retry-after").unwrap(), "7");
    }

    #[test]
    fn r02_whatever_the_shape_something_is_told() {
        let cases = [
            (r#"{"message":"no","__type":"com.amazon.coral#Odd:x"}"#, "no, status code: 404 (Odd)"),
            (
                r#"{"Code":"Odd\tx route=y \"z"}"#,
                r#"{"Code":"Odd\tx route=y \"z"}, status code: 404 (Odd\tx\u{20}route\u{3d}y\u{20}\u{22}z)"#,
            ),
            (r#"{"code":"Odd"}"#, r#"{"code":"Odd"}, status code: 404 (Odd)"#),
            (r#"{"Message":"a\nb","Code":"O\ndd"}"#, "a\\nb, status code: 404 (O\\ndd)"),
            (r#"{"Message":""}"#, "no message, status code: 404"),
            (" <html>\r\n ", "<html>, status code: 404"),
            ("a\r\nb", "a\\r\\nb, status code: 404"),
            ("", "no message, status code: 404"),
        ];
        for (body, expected) in cases {
            let expected = format!("AWS Lambda API returned error: {expected}");
            assert_eq!(logged(&upstream(404, &[], body)), expected, "{body}");
        }
        let page = logged(&upstream(503, &[], &"x".repeat(300)));
        assert_eq!(page, format!("AWS Lambda API returned error: {}…, status code: 503", "x".repeat(200)));
    }

    #[test]
    fn the_explanation_of_a_refused_signature_is_told_apart_and_without_the_token() {
        let message = "It does not match.\n\nThe Canonical String for this request should have been\n'POST\n\
                       x-amz-date:1\nx-amz-security-token:hush\n'";
        let body = serde_json::json!({ "message": message }).to_string();
        let upstream = upstream(403, &[("x-amzn-errortype", "InvalidSignatureException")], &body);
        let expected = "AWS Lambda API returned error: It does not match., status code: 403 \
                        (InvalidSignatureException)";
        assert_eq!(logged(&upstream), expected);
        let notes = reply(true, &upstream).unwrap().notes;
        assert_eq!(notes[0], LogNote { level: Level::Error, text: expected.to_owned() });
        assert_eq!(notes[1].level, Level::Debug);
        assert!(notes[1].text.ends_with("x-amz-date:1\nx-amz-security-token:(left out)\n'"));
        assert_eq!(notes.len(), 2);
    }

    proptest! {
        #[test]
        fn r02_nothing_of_the_apis_reaches_the_client(body in any::<Vec<u8>>(), status in 300_u16..1000) {
            let mut sent = upstream(status, &API, "");
            sent.body = ReplyBody::Whole(body.into());
            let kept = reply(true, &sent).unwrap();
            prop_assert_eq!(text(&kept), BODY);
            prop_assert_eq!(kept.headers.len(), if status == 429 { 3 } else { 2 });
            let line = "AWS Lambda API returned error: ";
            prop_assert!(kept.notes[0].text.starts_with(line));
            prop_assert!(!kept.notes[0].text.contains(['\r', '\n']));
        }
    }
}
