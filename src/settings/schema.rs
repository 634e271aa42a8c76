//! `apigw-invoker schema`: the JSON Schema of the settings' files, with which editors complete and check
//! them.
//!
//! The declarations of the sections become the schema, and the schema becomes the tables of
//! settings/README.md and the comments of `default.yaml` (`tests/it/documents.rs`).

mod patterns;

use clap::ValueEnum;
use serde_json::{Map, Value, json};

use self::patterns::{DURATION, OBJECT, REFERENCE, SHARE, SIZE};
use super::{
    process::WrittenSettings,
    route::{WrittenRoute, backend::WrittenBackends, upstream::SCOPE_WORD},
    source::{
        declaration::{Key, Kind, Standard},
        key_type::ADDRESS_EXPECTED,
        secrecy::Secrecy,
        section::Section as _,
        tree::{Content, ROUTES},
    },
};
use crate::text::{header_names::OwnNames, units::NONE};

/// The dialect (JSON Schema 2020-12).
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// The file that a schema is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum File {
    /// `default.yaml`, the process.
    Default,
    /// A file of `routes/`.
    Route,
}

/// The schema of one file.
pub fn of(file: File) -> Value {
    let (title, keys) = match file {
        File::Default => ("The process: settings/default.yaml of apigw-invoker", WrittenSettings::keys()),
        File::Route => ("A route: settings/routes/*.yaml of apigw-invoker", WrittenRoute::keys()),
    };
    let mut schema = table(keys);
    schema["$schema"] = DIALECT.into();
    schema["title"] = title.into();
    if file == File::Route {
        let backends: Vec<&str> = WrittenBackends::keys().iter().map(|key| key.name).collect();
        // null is the same as a missing key
        let there =
            |name: &str| json!({ "required": [name], "properties": { name: { "not": { "type": "null" } } } });
        let one_of =
            |names: &[&str]| json!({ "oneOf": names.iter().copied().map(there).collect::<Vec<_>>() });
        schema["allOf"] = json!([one_of(&["uri", "uris"]), one_of(&backends)]);
    } else {
        // a file of comments alone
        schema["type"] = json!(["object", "null"]);
    }
    schema
}

/// The declaration of the key at a path of the settings' tree; inside a list or a table of texts, its own.
pub(super) fn key_at(path: &[String]) -> Option<&'static Key> {
    let (mut keys, path) = in_file(path);
    let mut found = None;
    for name in path {
        let key = keys.iter().find(|key| key.name == name)?;
        found = Some(key);
        match key.children() {
            Some(below) => keys = below,
            None => break,
        }
    }
    found
}

/// Takes the place of a text that has not been fetched. It is valid for most keys.
pub(crate) const WAITING: &str = "waiting-for-a-secret";
/// The same for `function_uri`.
pub(super) const WAITING_URI: &str = "https://waiting-for-a-secret.execute-api.us-east-1.amazonaws.com/";

/// The value of a key until its secret has been fetched: a text, or the default.
pub(super) fn placeholder(path: &[String]) -> Content {
    if path.last().is_some_and(|key| key == "function_uri") {
        return Content::Text(WAITING_URI.to_owned());
    }
    match key_at(path).map(|key| &key.kind) {
        Some(
            Kind::Boolean
            | Kind::Number(..)
            | Kind::Share
            | Kind::Duration(..)
            | Kind::DurationOrNone(..)
            | Kind::Size(..)
            | Kind::SizeOrNone(..)
            | Kind::Words(_)
            | Kind::Version
            | Kind::Address
            | Kind::Object
            | Kind::Section(_)
            | Kind::Filled(_),
        ) => Content::Null,
        _ => Content::Text(WAITING.to_owned()),
    }
}

/// The names of the keys that the table at a path takes.
pub(super) fn names_at(path: &[String]) -> Vec<&'static str> {
    let keys = match in_file(path) {
        (keys, []) => Some(keys),
        _ => key_at(path).and_then(Key::children),
    };
    keys.unwrap_or_default().iter().filter(|key| !is_elsewhere(key)).map(|key| key.name).collect()
}

/// The keys of the file to which a path leads, and the path inside of it.
fn in_file(path: &[String]) -> (&'static [Key], &[String]) {
    match path {
        [first, _, rest @ ..] if first == ROUTES => (WrittenRoute::keys(), rest),
        all => (WrittenSettings::keys(), all),
    }
}

fn is_elsewhere(key: &Key) -> bool {
    matches!(key.kind, Kind::Elsewhere)
}

/// The values of the key at a path, where serde's description is less exact.
pub(super) fn expected(path: &[String]) -> Option<String> {
    match key_at(path)?.kind {
        Kind::Number(least, most) => Some(format!("a whole number from {least} to {most}")),
        Kind::Address => Some(ADDRESS_EXPECTED.to_owned()),
        Kind::Words(words) => Some(format!("one of {}", words.join(", "))),
        _ => None,
    }
}

/// A table with these keys and no others.
fn table(keys: &[Key]) -> Value {
    let keys = keys.iter().filter(|key| !is_elsewhere(key));
    let required: Vec<&str> = keys.clone().filter(|key| key.is_required).map(|key| key.name).collect();
    let properties: Map<String, Value> = keys.map(|key| (key.name.to_owned(), schema(key))).collect();
    let mut table = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if !required.is_empty() {
        table["required"] = json!(required);
    }
    table
}

fn schema(key: &Key) -> Value {
    let mut schema = json!({ "description": key.doc() });
    if let Some(standard) = standard(key) {
        schema["default"] = standard;
    }
    if key.children().is_none() && matches!(key.secrecy, Secrecy::Secret | Secrecy::UnlessPath) {
        // no command or port returns it
        schema["writeOnly"] = true.into();
    }
    if let (Value::Object(schema), Value::Object(of_kind)) = (&mut schema, of_kind(&key.kind)) {
        schema.extend(of_kind);
    }
    schema
}

/// The default as an operator would write it.
fn standard(key: &Key) -> Option<Value> {
    Some(match (key.standard, key.kind) {
        (Standard::None, _) => return None,
        (Standard::Boolean(boolean), _) => boolean.into(),
        (Standard::Nothing, _) => json!([]),
        (Standard::Text(text), _) => text.into(),
        (Standard::Whole(number), Kind::Number(..)) => number.into(),
        (Standard::Whole(quantity), kind) => kind.text(quantity.into()).into(),
    })
}

/// The schema of the valid values.
fn of_kind(kind: &Kind) -> Value {
    match kind {
        Kind::Text => json!({ "type": ["string", "null"] }),
        Kind::Proof(pattern) => {
            json!({ "anyOf": [{ "type": "string", "pattern": pattern }, reference()] })
        }
        Kind::Texts => json!({ "type": ["object", "null"], "additionalProperties": { "type": "string" } }),
        Kind::HeaderTexts(own) => {
            let mut name = header_name(own);
            // the names of a table are texts anyway
            name.as_object_mut().map(|name| name.remove("type"));
            let value = json!({
                "type": "string",
                "pattern": patterns::HEADER_VALUE,
                "not": { "pattern": patterns::REFERENCE_INSIDE },
            });
            json!({ "type": ["object", "null"], "propertyNames": name, "additionalProperties": value })
        }
        Kind::Filled(keys) => {
            let mut filled = table(keys());
            filled["minProperties"] = 1.into();
            filled
        }
        Kind::Section(keys) => {
            let mut section = table(keys());
            section["type"] = json!(["object", "null"]);
            section
        }
        _ => {
            let mut any_of = forms(kind);
            any_of.extend([reference(), json!({ "type": "null" })]);
            json!({ "anyOf": any_of })
        }
    }
}

/// The name of a header that is not one of these.
fn header_name(own: &OwnNames) -> Value {
    json!({
        "type": "string",
        "pattern": patterns::HEADER_NAME,
        "not": { "pattern": patterns::any_of_names(own) },
    })
}

fn reference() -> Value {
    json!({ "type": "string", "pattern": REFERENCE })
}

/// An item of a list.
fn item(kind: &Kind) -> Value {
    let mut any_of = forms(kind);
    any_of.push(reference());
    json!({ "anyOf": any_of })
}

/// Texts of a pattern without those of another schema.
fn pattern_but(pattern: &str, other: &Value) -> Value {
    json!({ "type": "string", "pattern": pattern, "not": other })
}

/// The forms of a duration or a size.
fn quantity(kind: &Kind) -> Vec<Value> {
    let between = |least: u64, most: u64, unit: &str| {
        let [from, to] = [least, most].map(|bound| kind.text(bound.into()));
        let description = format!("{unit}, {from} to {to}");
        json!({ "type": "integer", "minimum": least, "maximum": most, "description": description })
    };
    let with_unit = |pattern: &str, example: &str| {
        let description = format!("with its unit: {example}");
        json!({ "type": "string", "pattern": pattern, "description": description })
    };
    let mut forms = match *kind {
        Kind::Duration(least, most) | Kind::DurationOrNone(least, most) => {
            vec![between(least, most, "milliseconds"), with_unit(DURATION, "30s, 500ms, 1m 30s")]
        }
        Kind::Size(least, most) | Kind::SizeOrNone(least, most) => {
            vec![between(least, most, "bytes"), with_unit(SIZE, "10MiB, 64KB")]
        }
        _ => Vec::new(),
    };
    if matches!(kind, Kind::DurationOrNone(..)) {
        forms.push(json!({ "const": 0 }));
    }
    if matches!(kind, Kind::DurationOrNone(..) | Kind::SizeOrNone(..)) {
        forms.push(json!({ "enum": [NONE] }));
    }
    forms
}

/// The valid values beside a reference and null.
fn forms(kind: &Kind) -> Vec<Value> {
    let pattern = |pattern: &str| json!({ "type": "string", "pattern": pattern });
    match kind {
        Kind::Pattern(this) => vec![pattern(this)],
        Kind::PatternBut(this, other) => vec![pattern_but(this, &json!({ "pattern": other }))],
        Kind::WordBut(words) => vec![pattern_but(SCOPE_WORD, &json!({ "enum": words }))],
        Kind::Address => vec![pattern(&patterns::address())],
        Kind::TrustedIp => vec![pattern(&patterns::trusted_ip())],
        Kind::Host => vec![pattern(&patterns::host())],
        Kind::ServerName => vec![pattern(&patterns::server_name())],
        Kind::HostPort => vec![pattern(&patterns::host_port())],
        Kind::HeaderName(own) => vec![header_name(own)],
        Kind::Boolean => vec![json!({ "type": "boolean" })],
        Kind::Number(least, most) => {
            vec![json!({ "type": "integer", "minimum": least, "maximum": most })]
        }
        Kind::Share => vec![json!({ "type": "number", "minimum": 0, "maximum": 1 }), pattern(SHARE)],
        Kind::Duration(..) | Kind::DurationOrNone(..) | Kind::Size(..) | Kind::SizeOrNone(..) => {
            quantity(kind)
        }
        Kind::Words(words) => vec![json!({ "enum": words })],
        Kind::Version => vec![json!({ "enum": ["1.0", "2.0", "1", "2", 1, 2] })],
        Kind::List(kind) => vec![json!({ "type": "array", "items": item(kind) })],
        Kind::NotEmpty(kind) => vec![json!({ "type": "array", "items": item(kind), "minItems": 1 })],
        Kind::Object => vec![json!({ "type": "object" }), pattern(OBJECT)],
        // `of_kind` has their whole schema
        Kind::Text
        | Kind::Proof(_)
        | Kind::Texts
        | Kind::HeaderTexts(_)
        | Kind::Section(_)
        | Kind::Filled(_)
        | Kind::Elsewhere => Vec::new(),
    }
}
