//! Parses the response object of a function with proxy integration and finds its known members.
//!
//! The members are slices of the response: nothing is copied before `proxy_integration.rs` uses a member.

use super::invalid;
use crate::{message::error::ProxyError, text::json::Json};

/// The known members. The last of duplicate members wins, as with `JSON.parse`.
#[derive(Debug, Default)]
pub struct ResponseMembers<'a> {
    /// `statusCode`, which may be null.
    pub status_code: Option<Json<'a>>,
    pub headers: Option<Json<'a>>,
    pub multi_value_headers: Option<Json<'a>>,
    pub cookies: Option<Json<'a>>,
    pub body: Option<Json<'a>>,
    pub is_base64_encoded: Option<Json<'a>>,
}

impl<'a> ResponseMembers<'a> {
    /// Parses a response; `None` for JSON that is not an object.
    ///
    /// # Errors
    /// The response is not JSON.
    pub fn read(bytes: &'a [u8]) -> Result<Option<Self>, ProxyError> {
        let text = str::from_utf8(bytes).map_err(|_| invalid("the function's answer is not UTF-8"))?;
        if text.trim_ascii().is_empty() {
            return Err(invalid("the function's answer is empty"));
        }
        let mut members = Self::default();
        let is_object = Json::visit(text, |name, value| {
            if !members.set(name.written(), value) && name.plain().is_none() {
                members.set(&name.beginning(MAX_NAME), value);
            }
        });
        let is_object =
            is_object.map_err(|error| invalid(format!("the function's answer is not JSON: {error}")))?;
        Ok(is_object.then_some(members))
    }

    /// Sets the member with this name; false for an unknown name.
    fn set(&mut self, name: &str, value: Json<'a>) -> bool {
        let member = match name {
            "statusCode" => &mut self.status_code,
            "headers" => &mut self.headers,
            "multiValueHeaders" => &mut self.multi_value_headers,
            "cookies" => &mut self.cookies,
            "body" => &mut self.body,
            "isBase64Encoded" => &mut self.is_base64_encoded,
            _ => return false,
        };
        *member = Some(value);
        true
    }
}

/// Maximum length of an unescaped name: one byte more than the longest known name.
const MAX_NAME: usize = "multiValueHeaders".len() + 1;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn of_a_name_that_is_there_twice_the_last_counts_in_any_spelling() {
        let members = ResponseMembers::read(br#"{"body": 1, "\u0062ody": "b"}"#).unwrap().unwrap();
        assert_eq!(members.body.unwrap().written(), r#""b""#);
        let name = "x".repeat(100_000);
        let members = format!(r#"{{"\n{name}": 1, "cookies\u0000": 2, "multiValueHeaders\n": 3}}"#);
        let members = ResponseMembers::read(members.as_bytes()).unwrap().unwrap();
        assert!(members.cookies.is_none() && members.multi_value_headers.is_none());
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_the_document_holds(
            names in prop::collection::vec(prop::sample::select(vec!["statusCode", "headers", "multiValueHeaders", "cookies", "body", "isBase64Encoded", "other"]), 0..6),
            values in prop::collection::vec(prop::sample::select(vec!["null", "1", "\"text\"", "\"a\\n\\u00e9\"", "true", "[]", "{\"a\":[1,\"b\"]}", "1.5"]), 6),
        ) {
            let members: Vec<String> = names.iter().zip(&values).map(|(name, value)| format!("{name:?}: {value}")).collect();
            let text = format!("{{{}}}", members.join(", "));
            let whole: Value = serde_json::from_str(&text).unwrap();
            let read = ResponseMembers::read(text.as_bytes()).unwrap().unwrap();
            for (name, member) in [
                ("statusCode", read.status_code),
                ("headers", read.headers),
                ("multiValueHeaders", read.multi_value_headers),
                ("cookies", read.cookies),
                ("body", read.body),
                ("isBase64Encoded", read.is_base64_encoded),
            ] {
                let member = member.map(|member| serde_json::from_str::<Value>(member.written()).unwrap());
                prop_assert_eq!(member.as_ref(), whole.get(name), "{}", name);
            }
        }

        #[test]
        fn no_bytes_make_it_panic_and_what_is_no_json_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..48)) {
            let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(&bytes).is_ok();
            prop_assert_eq!(ResponseMembers::read(&bytes).is_ok(), is_json);
        }
    }
}
