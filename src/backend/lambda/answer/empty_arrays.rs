//! `empty_arrays_mode: legacy`: replaces empty arrays by empty objects, as Kong's old JSON decoder did.
//!
//! Only for a body that is passed on unchanged otherwise; with proxy integration neither Kong nor the sidecar
//! changes the body (`peers.md` R11, R12).

use bytes::Bytes;

/// Replaces every `[]` by `{}` and keeps all other bytes; `None` if there is none, or if the body does not
/// start like a JSON array or object.
///
/// The body is searched and not parsed, so numbers keep their digits and nesting needs no memory.
pub fn as_objects(body: &[u8]) -> Option<Bytes> {
    if !body.trim_ascii_start().starts_with(b"{") && !body.trim_ascii_start().starts_with(b"[") {
        return None;
    }
    let mut changed = Vec::new();
    let mut copied = 0;
    let mut at = 0;
    while let Some(byte) = body.get(at) {
        at += 1;
        match byte {
            b'"' => at += rest_of_string(&body[at..]),
            b'[' => {
                let blanks = body[at..].iter().take_while(|byte| b" \t\r\n".contains(byte)).count();
                if body.get(at + blanks) == Some(&b']') {
                    if changed.capacity() == 0 {
                        // the result is never longer
                        changed.reserve_exact(body.len());
                    }
                    changed.extend_from_slice(&body[copied..at - 1]);
                    changed.extend_from_slice(b"{}");
                    copied = at + blanks + 1;
                }
                at += blanks;
            }
            _ => {}
        }
    }
    if copied == 0 {
        return None;
    }
    changed.extend_from_slice(&body[copied..]);
    Some(changed.into())
}

/// Number of bytes up to the end of a string, with the closing quotation mark.
fn rest_of_string(bytes: &[u8]) -> usize {
    let mut escaped = false;
    let end = bytes.iter().position(|byte| {
        let is_end = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        is_end
    });
    end.map_or(bytes.len(), |end| end + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn r11_every_empty_array_becomes_an_object_and_all_else_stays_to_the_byte() {
        for (body, expected) in [
            (
                r#"{"testbody": [], "a": [[], {"b": [ ]}, 1.10], "c" : {}}"#,
                r#"{"testbody": {}, "a": [{}, {"b": {}}, 1.10], "c" : {}}"#,
            ),
            ("[ \t\r\n]", "{}"),
            (r" [[1e400, 12345678901234567890.0, [ ] ] ] ", r" [[1e400, 12345678901234567890.0, {} ] ] "),
            (r#"["\"[]\\", []]"#, r#"["\"[]\\", {}]"#),
        ] {
            assert_eq!(as_objects(body.as_bytes()).unwrap(), expected);
        }
    }

    #[test]
    fn r11_nesting_is_no_limit() {
        let deep = |inner| "[".repeat(100_000) + inner + &"]".repeat(100_000);
        assert_eq!(as_objects(deep("[]").as_bytes()).unwrap(), deep("{}"));
    }

    #[test]
    fn r11_what_has_no_empty_array_or_does_not_begin_like_json_stays_as_it_is() {
        for body in [r#"{"a": "[]", "b": [1]}"#, r#"{"a": "[]"#, "[", "plain []", "\"[]\"", "", "  "] {
            assert_eq!(as_objects(body.as_bytes()), None, "{body}");
        }
    }

    /// The value as Kong's decoder returns it.
    fn converted(value: Value) -> Value {
        match value {
            Value::Array(items) if items.is_empty() => Value::Object(serde_json::Map::new()),
            Value::Array(items) => items.into_iter().map(converted).collect(),
            Value::Object(members) => {
                members.into_iter().map(|(name, value)| (name, converted(value))).collect()
            }
            other => other,
        }
    }

    /// Documents of every shape, with many empty arrays and strings that contain `[]`.
    fn documents() -> impl Strategy<Value = Value> {
        let text = r#"(\[|\]|\{|\}|"|\\| |a){0,5}"#;
        let leaf = prop_oneof![
            2 => Just(serde_json::json!([])),
            1 => Just(serde_json::json!({})),
            1 => Just(Value::Null),
            1 => any::<i64>().prop_map(Value::from),
            2 => text.prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, move |inner| {
            let members = prop::collection::vec((text, inner.clone()), 0..4);
            prop_oneof![
                prop::collection::vec(inner, 0..4).prop_map(Value::from),
                members.prop_map(|members| members.into_iter().collect()),
            ]
        })
    }

    /// A document as JSON, with this whitespace around every token.
    fn written(document: &Value, blanks: &str) -> String {
        let (open, inside, close) = match document {
            Value::Array(items) => {
                ('[', items.iter().map(|item| written(item, blanks)).collect::<Vec<_>>(), ']')
            }
            Value::Object(members) => {
                let member = |(name, value): (&String, &Value)| {
                    format!("{blanks}{}{blanks}:{}", Value::from(name.as_str()), written(value, blanks))
                };
                ('{', members.iter().map(member).collect(), '}')
            }
            other => return format!("{blanks}{other}{blanks}"),
        };
        format!("{blanks}{open}{blanks}{}{close}{blanks}", inside.join(","))
    }

    proptest! {
        #[test]
        fn r11_any_document_means_what_it_should_afterwards(document in documents(), blanks in "[ \t\r\n]{0,2}") {
            let body = written(&document, &blanks);
            let changed = as_objects(body.as_bytes());
            let expected = converted(document.clone());
            prop_assert_eq!(changed.is_some(), expected != document, "{}", body);
            let changed = changed.unwrap_or_else(|| body.into());
            prop_assert_eq!(serde_json::from_slice::<Value>(&changed).unwrap(), expected);
        }

        #[test]
        fn r11_no_bytes_make_it_panic_and_a_second_time_changes_nothing(
            bytes in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(b"[]{}\"\\ ".to_vec())], 0..40),
        ) {
            if let Some(changed) = as_objects(&bytes) {
                prop_assert!(changed.len() <= bytes.len());
                prop_assert_eq!(as_objects(&changed), None);
            }
        }
    }
}
