//! Parser of `InvokeComplete`, the last message of an event stream.
//!
//! A failure before any output was forwarded becomes the response that `Invoke` would give (`reply.rs`); a
//! later one aborts the client's response.

use actix_http::header::HeaderValue;
use bytes::Bytes;

use super::{protocol, truncated};
use crate::{
    client::log_tail::MAX_ENCODED,
    message::error::ProxyError,
    text::json::{Json, JsonKind, JsonText},
};

/// Lambda's error code for a failure without a name.
const UNHANDLED: &str = "Unhandled";
/// The members that are read; the first two report a failure unless they are empty.
const MEMBERS: [&str; 3] = ["ErrorCode", "ErrorDetails", "LogResult"];
/// Characters of a failure in the log; a stack trace may have megabytes.
const MAX_LOGGED: usize = 1024;
/// Characters of an error code in a header.
const MAX_CODE: usize = 256;

/// The content of `InvokeComplete`.
pub struct Completion {
    /// `None` if the function succeeded.
    pub failure: Option<FunctionFailure>,
    /// The end of the function's log in base64, if it was requested.
    pub log_result: Option<String>,
}

/// A function's failure. Code and details may have megabytes, so they are kept as escaped JSON slices of the
/// payload and unescaped on use; empty if absent.
#[derive(Debug, PartialEq, Eq)]
pub struct FunctionFailure {
    code: Bytes,
    details: Bytes,
}

impl Completion {
    /// Parses the payload.
    ///
    /// # Errors
    /// The payload is malformed, so the result of the function is unknown.
    pub fn read(payload: &Bytes) -> Result<Self, ProxyError> {
        let not_understood = |error: String| protocol(format!("InvokeComplete cannot be parsed: {error}"));
        let text = str::from_utf8(payload).map_err(|error| not_understood(error.to_string()))?;
        let (mut failure, mut log_result, mut wrong) = (["", ""], None, None);
        let is_object = Json::visit(text, |name, value| {
            let Some(index) = MEMBERS.iter().position(|member| name.is(member)) else { return };
            match (value.kind(), value.text(), failure.get_mut(index)) {
                (JsonKind::Null, ..) => {}
                (_, None, _) => wrong = Some(MEMBERS[index]),
                (_, Some(text), Some(member)) => *member = text.written(),
                (_, Some(text), None) => log_result = Some(text.beginning(MAX_ENCODED + 1)),
            }
        });
        if !is_object.map_err(|error| not_understood(error.to_string()))? {
            return Err(protocol("InvokeComplete is not an object"));
        }
        if let Some(name) = wrong {
            return Err(not_understood(format!("{name} is not a string")));
        }
        let log_result = log_result.filter(|encoded| encoded.len() <= MAX_ENCODED);
        let failure = (failure != ["", ""]).then(|| {
            let [code, details] = failure.map(|escaped| payload.slice_ref(escaped.as_bytes()));
            FunctionFailure { code, details }
        });
        Ok(Self { failure, log_result })
    }
}

impl FunctionFailure {
    fn texts(&self) -> [JsonText<'_>; 2] {
        [&self.code, &self.details]
            .map(|written| JsonText::of_written(str::from_utf8(written).unwrap_or_default()))
    }

    /// The value of `X-Amz-Function-Error`: the code if it is visible ASCII, else `Unhandled`.
    pub fn header(&self) -> HeaderValue {
        let [code, _] = self.texts();
        let code = code.beginning(MAX_CODE);
        Some(code.as_bytes())
            .filter(|code| code.iter().all(u8::is_ascii_graphic))
            .map(|code| &code[..code.len().min(MAX_CODE)])
            .filter(|code| !code.is_empty())
            .and_then(|code| HeaderValue::from_bytes(code).ok())
            .unwrap_or_else(|| HeaderValue::from_static(UNHANDLED))
    }

    /// The response body of `Invoke`: the details, which usually are JSON, or an error object.
    pub fn body(self) -> Bytes {
        let [code, details] = self.texts();
        let text = details.unescaped();
        if Json::visit(&text, |_, _| ()).is_ok() {
            return text.into();
        }
        drop(text);
        // both are escaped JSON already
        let code = if self.code.is_empty() { UNHANDLED } else { code.written() };
        let parts: &[&str] = if self.details.is_empty() {
            &[r#"{"errorType":""#, code, r#""}"#]
        } else {
            &[r#"{"errorType":""#, code, r#"","errorMessage":""#, details.written(), r#""}"#]
        };
        parts.concat().into()
    }
}

impl From<FunctionFailure> for ProxyError {
    fn from(failure: FunctionFailure) -> Self {
        // a character has at most four bytes
        let [code, details] = failure.texts().map(|text| text.beginning(4 * MAX_LOGGED));
        let (code, details) = (beginning(&code), beginning(&details));
        truncated(format!("the function failed in the middle of its answer: {code}: {details}"))
    }
}

/// The first `MAX_LOGGED` characters of a text.
pub(super) fn beginning(text: &str) -> &str {
    text.char_indices().nth(MAX_LOGGED).map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_completion_without_code_and_details_is_a_success(
            code in prop::option::of(".{0,3}"),
            details in prop::option::of(any::<String>()),
            log in prop::option::of("[a-z=]{0,4}"),
        ) {
            let payload = serde_json::json!({
                "ErrorCode": code, "ErrorDetails": details, "LogResult": log, "Other": [1],
            });
            let completion = Completion::read(&payload.to_string().into()).unwrap();
            prop_assert_eq!(completion.log_result, log);
            let (code, details) = (code.unwrap_or_default(), details.unwrap_or_default());
            match completion.failure {
                None => prop_assert!(code.is_empty() && details.is_empty()),
                Some(failure) => {
                    let texts = failure.texts().map(JsonText::unescaped);
                    prop_assert_eq!(texts, [code.clone(), details.clone()]);
                    prop_assert!(!failure.header().is_empty());
                    let body: serde_json::Value = serde_json::from_slice(&failure.body()).unwrap();
                    let told =
                        |name: &str| body.get(name).and_then(serde_json::Value::as_str).unwrap_or_default();
                    if serde_json::from_str::<serde::de::IgnoredAny>(&details).is_err() {
                        let code = if code.is_empty() { UNHANDLED } else { &code };
                        prop_assert_eq!((told("errorType"), told("errorMessage")), (code, &*details));
                    }
                }
            }
        }

        #[test]
        fn no_payload_makes_it_panic(
            payload in prop::collection::vec(any::<u8>(), 0..48),
            rest in "[{}\":,A-Za-z0-9]{0,24}",
        ) {
            let nearly = format!("{{\"ErrorCode\":{rest}");
            let _ = (Completion::read(&payload.into()), Completion::read(&nearly.into()));
        }
    }
}
