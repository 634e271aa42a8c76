//! How a function ended: the `InvokeComplete` at the end of its event stream.
//!
//! `event_stream.rs` finds it. A failure before anything was passed on becomes the answer that `Invoke` would
//! have given (`reply.rs`); one after that breaks the client's connection.

use actix_http::header::HeaderValue;
use bytes::Bytes;
use serde::{Deserialize, de::IgnoredAny};

use super::{protocol, truncated};
use crate::error::ProxyError;

/// What Lambda says of a failure for which the function has no name.
const UNHANDLED: &str = "Unhandled";
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

/// A function's failure.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    code: String,
    details: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InvokeComplete {
    error_code: Option<String>,
    error_details: Option<String>,
    log_result: Option<String>,
}

impl Completion {
    /// Reads the payload of an `InvokeComplete`: how the function ended, and the end of its log in base64, if that
    /// was asked for.
    ///
    /// # Errors
    /// It is not what it should be, so that nobody knows how the function ended.
    pub fn read(payload: &[u8]) -> Result<(Self, Option<String>), ProxyError> {
        if !payload.trim_ascii_start().starts_with(b"{") {
            // serde would take an array for the members in their order
            return Err(protocol("an InvokeComplete that is no object"));
        }
        let complete: InvokeComplete = serde_json::from_slice(payload)
            .map_err(|error| protocol(format!("an InvokeComplete that is not understood: {error}")))?;
        let code = complete.error_code.unwrap_or_default();
        let details = complete.error_details.unwrap_or_default();
        if code.is_empty() && details.is_empty() {
            return Ok((Self::Good, complete.log_result));
        }
        Ok((Self::Failed(Failure { code, details }), complete.log_result))
    }
}

impl Failure {
    /// The value of `X-Amz-Function-Error`: the code, if it is one that a header should hold.
    pub fn header(&self) -> HeaderValue {
        let code = Some(self.code.as_bytes()).filter(|code| code.iter().all(u8::is_ascii_graphic));
        code.map(|code| &code[..code.len().min(LONGEST_CODE)])
            .filter(|code| !code.is_empty())
            .and_then(|code| HeaderValue::from_bytes(code).ok())
            .unwrap_or_else(|| HeaderValue::from_static(UNHANDLED))
    }

    /// The body of the answer: JSON as `Invoke` has it, which is what the details usually are.
    pub fn body(self) -> Bytes {
        if serde_json::from_str::<IgnoredAny>(&self.details).is_ok() {
            return self.details.into();
        }
        let code = if self.code.is_empty() { UNHANDLED } else { &self.code };
        let mut body = serde_json::json!({ "errorType": code });
        if !self.details.is_empty() {
            body["errorMessage"] = self.details.into();
        }
        body.to_string().into()
    }
}

impl From<Failure> for ProxyError {
    fn from(Failure { code, details }: Failure) -> Self {
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
            let (completion, log_result) = Completion::read(payload.to_string().as_bytes()).unwrap();
            prop_assert_eq!(log_result, log);
            let (code, details) = (code.unwrap_or_default(), details.unwrap_or_default());
            match completion {
                Completion::Good => prop_assert!(code.is_empty() && details.is_empty()),
                Completion::Failed(failure) => {
                    let expected = Failure { code, details };
                    prop_assert_eq!(&failure, &expected);
                    prop_assert!(!failure.header().is_empty());
                    prop_assert!(serde_json::from_slice::<IgnoredAny>(&failure.body()).is_ok());
                }
            }
        }

        #[test]
        fn no_payload_makes_it_panic(payload in prop::collection::vec(any::<u8>(), 0..48), rest in "[{}\":,A-Za-z0-9]{0,24}") {
            let _ = (Completion::read(&payload), Completion::read(format!("{{\"ErrorCode\":{rest}").as_bytes()));
        }
    }
}
