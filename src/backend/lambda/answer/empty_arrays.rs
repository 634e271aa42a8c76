//! `empty_arrays_mode: legacy`: empty arrays become empty objects, as Kong's JSON decoder once made of them.
//!
//! `answer.rs` asks for it where a function's answer passes as it is; with proxy integration the body is a text
//! that neither Kong nor we look into (`peers.md` R11, R12).

use bytes::Bytes;
use serde_json::{Map, Value};

/// The body with `{}` in the place of every `[]`; `None` if there is none, or if the body is no JSON, so that
/// it passes byte for byte.
pub fn as_objects(body: &[u8]) -> Option<Bytes> {
    let mut value: Value = serde_json::from_slice(body).ok()?;
    let mut changed = false;
    convert(&mut value, &mut changed);
    if changed { serde_json::to_vec(&value).ok().map(Bytes::from) } else { None }
}

/// `serde_json` reads no deeper than 128 levels, and so this goes no deeper.
fn convert(value: &mut Value, changed: &mut bool) {
    match value {
        Value::Array(items) if items.is_empty() => {
            *value = Value::Object(Map::new());
            *changed = true;
        }
        Value::Array(items) => items.iter_mut().for_each(|item| convert(item, changed)),
        Value::Object(members) => members.values_mut().for_each(|item| convert(item, changed)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r11_every_empty_array_becomes_an_object_and_the_order_stays() {
        let changed = as_objects(br#"{"testbody": [], "a": [[], {"b": []}, 1], "c": {}}"#).unwrap();
        assert_eq!(changed, br#"{"testbody":{},"a":[{},{"b":{}},1],"c":{}}"#.as_slice());
        assert_eq!(as_objects(b"[ ]").unwrap(), b"{}".as_slice());
    }

    #[test]
    fn r11_what_has_no_empty_array_or_is_no_json_stays_as_it_is() {
        let deep = "[".repeat(200) + &"]".repeat(200);
        for body in [r#"{"a": "[]", "b": [1]}"#, "[] []", "plain", "", deep.as_str()] {
            assert_eq!(as_objects(body.as_bytes()), None, "{body}");
        }
    }
}
