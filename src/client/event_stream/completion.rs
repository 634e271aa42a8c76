//! How a function ended: the `InvokeComplete` at the end of its event stream.
//!
//! `event_stream.rs` finds it. A failure before anything was passed on becomes the answer that `Invoke` would
//! have given (`reply.rs`); one after that breaks the client's connection.

use actix_http::header::HeaderValue;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::{Deserialize, de::IgnoredAny};

use super::{protocol, truncated};
use crate::{error::ProxyError, excerpt::excerpt};

/// What Lambda says of a failure for which the function has no name.
const UNHANDLED: &str = "Unhandled";
/// Characters of a failure that go to the log; a stack trace may be megabytes.
const EXCERPT: usize = 1024;

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
    /// Reads the payload of an `InvokeComplete`. The end of the function's log, if it was asked for, goes to
    /// ours.
    ///
    /// # Errors
    /// It is not what it should be, so that nobody knows how the function ended.
    pub fn read(payload: &[u8]) -> Result<Self, ProxyError> {
        let complete: InvokeComplete = serde_json::from_slice(payload)
            .map_err(|error| protocol(format!("an InvokeComplete that is not understood: {error}")))?;
        if let Some(log) = &complete.log_result {
            log_tail(log);
        }
        let code = complete.error_code.unwrap_or_default();
        let details = complete.error_details.unwrap_or_default();
        if code.is_empty() && details.is_empty() {
            return Ok(Self::Good);
        }
        Ok(Self::Failed(Failure { code, details }))
    }
}

/// Writes the end of a function's log into ours, as one line.
fn log_tail(encoded: &str) {
    if log::log_enabled!(log::Level::Debug) {
        match STANDARD.decode(encoded) {
            Ok(tail) => {
                log::debug!(
                    "the end of the function's log: {}",
                    excerpt(&String::from_utf8_lossy(&tail), usize::MAX)
                );
            }
            Err(error) => log::debug!("the end of the function's log is not base64: {error}"),
        }
    }
}

impl Failure {
    /// The value of `X-Amz-Function-Error`.
    pub fn header(&self) -> HeaderValue {
        let code = Some(self.code.as_str()).filter(|code| !code.is_empty());
        code.and_then(|code| HeaderValue::from_str(code).ok())
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
        truncated(format!("the function failed in the middle of its answer: {code}: {}", beginning(&details)))
    }
}

/// As much of a text by somebody else as the log should hold.
pub(super) fn beginning(text: &str) -> &str {
    text.char_indices().nth(EXCERPT).map_or(text, |(end, _)| &text[..end])
}
