//! How a function ended: the `InvokeComplete` at the end of its event stream.
//!
//! `event_stream.rs` finds it. A failure before anything was passed on becomes the answer that `Invoke` would
//! have given (`reply.rs`); one after that breaks the client's connection.

use actix_http::header::HeaderValue;
use bytes::Bytes;

use super::{protocol, truncated};
use crate::{
    client::log_tail,
    message::error::ProxyError,
    text::json::{Json, JsonKind, JsonText},
};

/// What Lambda says of a failure for which the function has no name.
const UNHANDLED: &str = "Unhandled";
/// The members that mean something; the first two tell of a failure unless they are empty.
const NAMES: [&str; 3] = ["ErrorCode", "ErrorDetails", "LogResult"];
/// Characters of a failure that go to the log; a stack trace may be megabytes.
const EXCERPT: usize = 1024;
/// Characters of an error's code that a header gets.
const LONGEST_CODE: usize = 256;

/// How a function ended.
pub enum Completion {
    /// It has written all that it wanted to.
    Good,
    /// It has not.
    Failed(Failure),
}

/// A function's failure. Code and details, which may be megabytes, are parts of the payload as they are written
/// there, and are unescaped where they are used; empty where there are none.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    code: Bytes,
    details: Bytes,
}

impl Completion {
    /// Reads the payload of an `InvokeComplete`: how the function ended, and the end of its log in base64, if that
    /// was asked for.
    ///
    /// # Errors
    /// It is not what it should be, so that nobody knows how the function ended.
    pub fn read(payload: &Bytes) -> Result<(Self, Option<String>), ProxyError> {
        let not_understood = |error: String| protocol(format!("InvokeComplete cannot be parsed: {error}"));
        let text = str::from_utf8(payload).map_err(|error| not_understood(error.to_string()))?;
        let (mut failure, mut log_result, mut wrong) = (["", ""], None, None);
        let is_object = Json::visit(text, |name, value| {
            let known = NAMES.iter().position(|known| name.is(known));
            let (Some(known), Some(name)) = (known, known.map(|known| NAMES[known])) else { return };
            match (value.kind(), value.text(), failure.get_mut(known)) {
                (JsonKind::Null, ..) => {}
                (_, None, _) => wrong = Some(name),
                (_, Some(text), Some(told)) => *told = text.written(),
                (_, Some(text), None) => log_result = Some(text.beginning(log_tail::LONGEST + 1)),
            }
        });
        if !is_object.map_err(|error| not_understood(error.to_string()))? {
            return Err(protocol("InvokeComplete is not an object"));
        }
        if let Some(name) = wrong {
            return Err(not_understood(format!("{name} is not a string")));
        }
        let log_result = log_result.filter(|encoded| encoded.len() <= log_tail::LONGEST);
        if failure == ["", ""] {
            return Ok((Self::Good, log_result));
        }
        let [code, details] = failure.map(|written| payload.slice_ref(written.as_bytes()));
        Ok((Self::Failed(Failure { code, details }), log_result))
    }
}

impl Failure {
    fn texts(&self) -> [JsonText<'_>; 2] {
        [&self.code, &self.details]
            .map(|written| JsonText::of_written(str::from_utf8(written).unwrap_or_default()))
    }

    /// The value of `X-Amz-Function-Error`: the code, if it is one that a header should hold.
    pub fn header(&self) -> HeaderValue {
        let [code, _] = self.texts();
        let code = code.beginning(LONGEST_CODE);
        Some(code.as_bytes())
            .filter(|code| code.iter().all(u8::is_ascii_graphic))
            .map(|code| &code[..code.len().min(LONGEST_CODE)])
            .filter(|code| !code.is_empty())
            .and_then(|code| HeaderValue::from_bytes(code).ok())
            .unwrap_or_else(|| HeaderValue::from_static(UNHANDLED))
    }

    /// The body of the answer: JSON as `Invoke` has it, which is what the details usually are.
    pub fn body(self) -> Bytes {
        let [code, details] = self.texts();
        let text = details.unescaped();
        if Json::visit(&text, |_, _| ()).is_ok() {
            return text.into();
        }
        drop(text);
        // both are sound as they are written
        let code = if self.code.is_empty() { UNHANDLED } else { code.written() };
        let parts: &[&str] = if self.details.is_empty() {
            &[r#"{"errorType":""#, code, r#""}"#]
        } else {
            &[r#"{"errorType":""#, code, r#"","errorMessage":""#, details.written(), r#""}"#]
        };
        parts.concat().into()
    }
}

impl From<Failure> for ProxyError {
    fn from(failure: Failure) -> Self {
        // a character has four bytes at most
        let [code, details] = failure.texts().map(|text| text.beginning(4 * EXCERPT));
        let (code, details) = (beginning(&code), beginning(&details));
        truncated(format!("the function failed in the middle of its answer: {code}: {details}"))
    }
}

/// As much of a text by somebody else as the log should hold.
pub(super) fn beginning(text: &str) -> &str {
    text.char_indices().nth(EXCERPT).map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_end_is_good_where_neither_code_nor_details_say_otherwise(
            code in prop::option::of(".{0,3}"),
            details in prop::option::of(any::<String>()),
            log in prop::option::of("[a-z=]{0,4}"),
        ) {
            let payload = serde_json::json!({ "ErrorCode": code, "ErrorDetails": details, "LogResult": log, "Other": [1] });
            let (completion, log_result) = Completion::read(&payload.to_string().into()).unwrap();
            prop_assert_eq!(log_result, log);
            let (code, details) = (code.unwrap_or_default(), details.unwrap_or_default());
            match completion {
                Completion::Good => prop_assert!(code.is_empty() && details.is_empty()),
                Completion::Failed(failure) => {
                    let texts = failure.texts().map(JsonText::unescaped);
                    prop_assert_eq!(texts, [code.clone(), details.clone()]);
                    prop_assert!(!failure.header().is_empty());
                    let body: serde_json::Value = serde_json::from_slice(&failure.body()).unwrap();
                    let told = |name: &str| body.get(name).and_then(serde_json::Value::as_str).unwrap_or_default();
                    if serde_json::from_str::<serde::de::IgnoredAny>(&details).is_err() {
                        let code = if code.is_empty() { UNHANDLED } else { &code };
                        prop_assert_eq!((told("errorType"), told("errorMessage")), (code, &*details));
                    }
                }
            }
        }

        #[test]
        fn no_payload_makes_it_panic(payload in prop::collection::vec(any::<u8>(), 0..48), rest in "[{}\":,A-Za-z0-9]{0,24}") {
            let nearly = format!("{{\"ErrorCode\":{rest}");
            let _ = (Completion::read(&payload.into()), Completion::read(&nearly.into()));
        }
    }
}
