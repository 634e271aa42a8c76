//! A function's answer with proxy integration, read but not judged: which of the members with a meaning are
//! there, and what they hold.
//!
//! `proxy_integration.rs` comes before and after. The body, up to 6 MB of JSON string, is borrowed from the
//! answer if it has no escapes, and is unescaped once if it has.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::Value;

use super::invalid;
use crate::error::ProxyError;

/// The members that mean something. Of a name that is there twice the last counts, as in `JSON.parse`.
#[derive(Debug, Default)]
pub struct Members<'a> {
    /// `statusCode`; a null is not the same as none.
    pub status_code: Option<Value>,
    /// `headers`, null if there are none.
    pub headers: Value,
    /// `multiValueHeaders`, null if there are none.
    pub multi_value_headers: Value,
    /// `cookies`, null if there are none.
    pub cookies: Value,
    /// `body`.
    pub body: Body<'a>,
    /// `isBase64Encoded`; a null is not the same as none.
    pub is_base64_encoded: Option<Value>,
}

/// The member `body`.
#[derive(Debug, Default)]
pub enum Body<'a> {
    /// Null, or not there.
    #[default]
    None,
    /// A text.
    Text(Cow<'a, str>),
    /// No text.
    Other,
}

impl<'a> Members<'a> {
    /// Reads what a function wrote; `None` is JSON, but no object.
    pub fn read(bytes: &'a [u8]) -> Result<Option<Self>, ProxyError> {
        let text = std::str::from_utf8(bytes).map_err(|_| invalid("the function's answer is not UTF-8"))?;
        let text = text.trim_ascii();
        let read = if text.is_empty() {
            return Err(invalid("the function's answer is empty"));
        } else if text.starts_with('{') {
            serde_json::from_str(text).map(Some)
        } else {
            serde_json::from_str(text).map(|IgnoredAny| None)
        };
        read.map_err(|error| invalid(format!("the function's answer is not JSON: {error}")))
    }
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "camelCase")]
enum Name {
    StatusCode,
    Headers,
    MultiValueHeaders,
    Cookies,
    Body,
    IsBase64Encoded,
    #[serde(other)]
    Other,
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Members::default();
                while let Some(name) = map.next_key()? {
                    match name {
                        Name::StatusCode => members.status_code = Some(map.next_value()?),
                        Name::Headers => members.headers = map.next_value()?,
                        Name::MultiValueHeaders => members.multi_value_headers = map.next_value()?,
                        Name::Cookies => members.cookies = map.next_value()?,
                        Name::Body => members.body = map.next_value()?,
                        Name::IsBase64Encoded => members.is_base64_encoded = Some(map.next_value()?),
                        Name::Other => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(members)
            }
        }

        deserializer.deserialize_map(Reader)
    }
}

impl<'de> Deserialize<'de> for Body<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Body<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Body<'de>, E> {
                Ok(Body::Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Body<'de>, E> {
                Ok(Body::Text(Cow::Owned(text.to_owned())))
            }

            fn visit_unit<E>(self) -> Result<Body<'de>, E> {
                Ok(Body::None)
            }

            fn visit_bool<E>(self, _: bool) -> Result<Body<'de>, E> {
                Ok(Body::Other)
            }

            fn visit_i64<E>(self, _: i64) -> Result<Body<'de>, E> {
                Ok(Body::Other)
            }

            fn visit_u64<E>(self, _: u64) -> Result<Body<'de>, E> {
                Ok(Body::Other)
            }

            fn visit_f64<E>(self, _: f64) -> Result<Body<'de>, E> {
                Ok(Body::Other)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Body<'de>, A::Error> {
                while items.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Body::Other)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Body<'de>, A::Error> {
                while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Body::Other)
            }
        }

        deserializer.deserialize_any(Reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn body(text: &str) -> Body<'_> {
        Members::read(text.as_bytes()).unwrap().unwrap().body
    }

    #[test]
    fn a_body_is_borrowed_unless_it_has_escapes() {
        assert!(matches!(body(r#" {"body": "plain é"} "#), Body::Text(Cow::Borrowed("plain é"))));
        assert!(matches!(body(r#"{"body": "a\nb"}"#), Body::Text(Cow::Owned(text)) if text == "a\nb"));
        assert!(matches!(body(r#"{"body": null}"#), Body::None));
        assert!(matches!(body("{}"), Body::None));
        for other in ["1", "-1", "1.5", "true", "[1, {}]", r#"{"a": [1]}"#] {
            assert!(matches!(body(&format!(r#"{{"body": {other}}}"#)), Body::Other), "{other}");
        }
    }

    #[test]
    fn of_a_name_that_is_there_twice_the_last_counts() {
        assert!(matches!(body(r#"{"body": 1, "body": "b"}"#), Body::Text(Cow::Borrowed("b"))));
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
            let read = Members::read(text.as_bytes()).unwrap().unwrap();
            let member = |name: &str| whole.get(name).cloned();
            prop_assert_eq!(read.status_code, member("statusCode"));
            prop_assert_eq!(read.is_base64_encoded, member("isBase64Encoded"));
            prop_assert_eq!(read.headers, member("headers").unwrap_or_default());
            prop_assert_eq!(read.multi_value_headers, member("multiValueHeaders").unwrap_or_default());
            prop_assert_eq!(read.cookies, member("cookies").unwrap_or_default());
            match (read.body, member("body").unwrap_or_default()) {
                (Body::None, Value::Null) => {}
                (Body::Text(read), Value::String(text)) => prop_assert_eq!(read, text),
                (Body::Other, other) => prop_assert!(!other.is_null() && !other.is_string()),
                (read, held) => prop_assert!(false, "{read:?} of {held}"),
            }
        }

        #[test]
        fn no_bytes_make_it_panic_and_what_is_no_json_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..48)) {
            let is_json = serde_json::from_slice::<IgnoredAny>(&bytes).is_ok();
            prop_assert!(is_json || Members::read(&bytes).is_err());
        }
    }
}
