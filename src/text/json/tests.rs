use proptest::prelude::*;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::*;

fn is_sound(document: &str) -> bool {
    Json::visit(document, |_, _| ()).is_ok()
}

/// The value of a document by way of this module alone.
fn value(json: Json<'_>) -> Value {
    match json.kind() {
        JsonKind::Text => Value::String(json.text().unwrap().unescaped()),
        JsonKind::Array => json.each_element().map(value).collect(),
        JsonKind::Object => {
            json.each_member().map(|(name, member)| (name.unescaped(), value(member))).collect()
        }
        JsonKind::Null | JsonKind::Boolean | JsonKind::Number => {
            serde_json::from_str(json.written()).unwrap()
        }
    }
}

fn whole(document: &str) -> Json<'_> {
    Scanner::of(document).value().unwrap()
}

#[test]
fn a_malformed_document_names_the_place_and_quotes_nothing() {
    for (document, expected) in [
        ("", "expected a value at byte 0"),
        ("{\"a\":1", "expected a comma or the end of the list at byte 6"),
        ("{1:2}", "expected a name in quotes at byte 1"),
        ("{\"a\" 1}", "expected a colon at byte 5"),
        ("[1,]", "expected a value at byte 3"),
        ("[\"a\nb\"]", "expected the rest of a string at byte 3"),
        ("\"\\x\"", "expected an escape at byte 2"),
        ("\"\\u12g4\"", "expected a hexadecimal digit at byte 5"),
        ("1.", "expected a digit at byte 2"),
        ("01", "expected the end at byte 1"),
        ("{} x", "expected the end at byte 3"),
    ] {
        assert_eq!(Json::visit(document, |_, _| ()).unwrap_err().to_string(), expected, "{document}");
    }
}

#[test]
fn of_a_name_that_is_there_twice_the_last_counts_in_any_spelling() {
    let document = r#" {"a": 1, "b": [2], "\u0061": "x\n", "c": {}} "#;
    let [a, b, other] = Json::members(document, ["a", "b", "other"]);
    assert_eq!(a.unwrap().text().unwrap().unescaped(), "x\n");
    assert_eq!(b.unwrap().written(), "[2]");
    assert_eq!(other, None);
    assert_eq!(Json::members("[1]", ["a"]), [None]);
    assert_eq!(Json::members(r#"{"a": 1"#, ["a"]), [None]);
}

#[test]
fn halves_of_pairs_become_the_replacement_character() {
    for (written, expected) in [
        (r#""\ud83d\ude00""#, "\u{1f600}"),
        (r#""\ud83d""#, "\u{fffd}"),
        (r#""\ude00\ud83d""#, "\u{fffd}\u{fffd}"),
        (r#""\ud83dx\ud83d\u0041""#, "\u{fffd}x\u{fffd}A"),
        (r#""\ud83d\n""#, "\u{fffd}\n"),
    ] {
        assert_eq!(whole(written).text().unwrap().unescaped(), expected, "{written}");
    }
}

#[test]
fn a_beginning_ends_with_a_whole_character() {
    let text = whole(r#""aé\n\u00e9b""#).text().unwrap();
    let beginnings: Vec<String> = (0..8).map(|bytes| text.beginning(bytes)).collect();
    assert_eq!(beginnings, ["", "a", "aé", "aé", "aé\n", "aé\né", "aé\né", "aé\néb"]);
}

#[test]
fn nesting_is_no_limit() {
    for (open, close) in [("[", "]"), (r#"{"a":"#, "}"), (r#"[{"a":["#, "]}]")] {
        let deep = |inner: &str| format!("{}{inner}{}", open.repeat(10_000), close.repeat(10_000));
        assert!(is_sound(&deep("1")), "{open}");
        assert!(!is_sound(&deep("1]")), "{open}");
        assert!(!is_sound(&deep("1,")), "{open}");
    }
}

/// Text that is often JSON, or nearly.
fn nearly() -> impl Strategy<Value = String> {
    let token = prop::sample::select(vec![
        "{", "}", "[", "]", ",", ":", "\"", "\"a\"", "\"b\":", "\\", "\\n", "\\u00e9", "1", "-", "0.5e-3",
        "01", "null", "true", "false", "tru", " ", "\n", "\t", "é", "\u{a0}", "\u{1}",
    ]);
    prop_oneof![prop::collection::vec(token, 0..14).prop_map(|tokens| tokens.concat()), any::<String>()]
}

fn documents() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e9..1e9).prop_map(|number: f64| Value::from(number)),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((any::<String>(), inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// A string with everything that is not ASCII escaped, as many runtimes write it.
fn escaped(text: &str) -> String {
    let units: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
    format!("\"{units}\"")
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_document_is_sound_where_serde_json_says_so(document in nearly()) {
        prop_assert_eq!(is_sound(&document), serde_json::from_str::<IgnoredAny>(&document).is_ok());
    }

    #[test]
    fn a_document_holds_what_serde_json_finds_in_it(document in documents(), pretty in any::<bool>()) {
        let text = if pretty {
            serde_json::to_string_pretty(&document)
        } else {
            serde_json::to_string(&document)
        };
        let text = text.unwrap();
        prop_assert!(is_sound(&text));
        prop_assert_eq!(value(whole(&text)), document);
    }

    #[test]
    fn a_run_ends_at_the_first_byte_that_needs_an_escape(
        text in r"([a-zé]{0,70}[\x00-\x23\x5b-\x5d\x7f]?){0,3}",
    ) {
        let needs_escape = |byte: u8| byte < b' ' || byte == b'"' || byte == b'\\';
        let expected = text.bytes().position(needs_escape).unwrap_or(text.len());
        prop_assert_eq!(plain_run(text.as_bytes()), expected);
    }

    #[test]
    fn a_text_is_the_same_in_any_spelling(text in any::<String>(), bytes in 0_usize..20) {
        for written in [serde_json::to_string(&text).unwrap(), escaped(&text)] {
            let read = whole(&written).text().unwrap();
            prop_assert_eq!(read.unescaped(), text.clone());
            let other = format!("{text}x");
            prop_assert!(read.is(&text) && !read.is(&other));
            let beginning = read.beginning(bytes);
            prop_assert!(text.starts_with(&beginning) && beginning.len() >= bytes.min(text.len()));
            prop_assert!(beginning.len() < bytes + 4);
        }
    }
}
