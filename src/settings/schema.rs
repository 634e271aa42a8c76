//! `apigw-invoker schema`: the JSON Schema of the settings' files, by which editors complete and check them.
//!
//! The tables of `schema/process.rs` and `schema/route.rs` say of each key what it means and takes; here they become a
//! schema. The reader of the settings knows its keys by itself: a test asks it for them and compares.

mod process;
mod route;
pub(super) mod secrecy;

use clap::ValueEnum;
use serde_json::{Map, Value, json};

use self::secrecy::Secrecy;
use super::source::tree::ROUTES;

/// The dialect (JSON Schema 2020-12).
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";
/// `reference.rs` puts what it yields in its place, whatever the key takes.
const REFERENCE: &str = r"^(\$(env|file)://.+|\{vault://env/.+\})$";
/// Whole milliseconds, or numbers with units (`text/units.rs`).
const DURATION: &str = r"^[0-9]+$|^[0-9]+(\.[0-9]+)? ?[a-zA-Zµ]+( ?[0-9]+(\.[0-9]+)? ?[a-zA-Zµ]+)*$";
/// An IP address and a port.
const ADDRESS: &str = r"^(\[[0-9a-fA-F:.]+\]|[0-9.]+):[0-9]{1,5}$";
/// An address in the words of a mistake.
pub(super) const ADDRESS_EXPECTED: &str = "an IP address with a port, such as 127.0.0.1:9080";
/// A region or a service, which are parts of a signature's scope.
const SCOPE_WORD: &str = "^[a-z0-9-]+$";
/// Whole bytes, or a number with its unit.
const SIZE: &str = r"^[0-9]+(\.[0-9]+)? ?([kKmMgGtTpPeE]i?)?[bB]?$";

/// Which file a schema is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum File {
    /// `default.yaml`, the process.
    Default,
    /// A file of `routes/`.
    Route,
}

/// A key and what it takes.
struct Key {
    name: &'static str,
    kind: Kind,
    /// As it would be written; empty where there is none, or none that is always the same.
    default: &'static str,
    text: &'static str,
    secrecy: Secrecy,
}

/// What a key takes.
enum Kind {
    Text,
    /// Which has to match.
    Pattern(&'static str),
    /// A word of a signature's scope, but none of these.
    WordBut(&'static [&'static str]),
    /// An IP address and a port.
    Address,
    /// Which must not be null: what was meant to prove something never goes without.
    Proof,
    Boolean,
    Number(u64, u64),
    /// Numbers below zero too.
    Signed(i64, i64),
    /// From 0 to 1.
    Share,
    /// From so many milliseconds to so many.
    Duration(u64, u64),
    /// From so many bytes to so many.
    Size(u64, u64),
    Words(&'static [&'static str]),
    /// `1.0` is a number to YAML.
    Version,
    List(&'static Kind),
    /// Texts by names of one's own.
    Texts,
    /// A table, or a text with a JSON object.
    Object,
    /// A table of known keys; which must be there.
    Section(&'static [Key], &'static [&'static str]),
    /// A table that must not be empty.
    Filled(&'static [Key]),
}

const fn key(name: &'static str, kind: Kind, default: &'static str, text: &'static str) -> Key {
    let secrecy = Secrecy::of_kind(&kind);
    Key { name, kind, default, text, secrecy }
}

/// A key with another secrecy than that of its kind.
impl Key {
    const fn open(self) -> Self {
        Self { secrecy: Secrecy::Open, ..self }
    }

    const fn secret(self) -> Self {
        Self { secrecy: Secrecy::Secret, ..self }
    }

    const fn secret_query(self) -> Self {
        Self { secrecy: Secrecy::Query, ..self }
    }

    const fn secret_unless_path(self) -> Self {
        Self { secrecy: Secrecy::UnlessPath, ..self }
    }
}

/// The schema of one file.
pub fn of(file: File) -> Value {
    let (title, keys) = match file {
        File::Default => ("The process: settings/default.yaml of apigw-invoker", process::KEYS),
        File::Route => ("A route: settings/routes/*.yaml of apigw-invoker", route::KEYS),
    };
    let mut schema = table(keys);
    schema.insert("$schema".to_owned(), DIALECT.into());
    schema.insert("title".to_owned(), title.into());
    if file == File::Route {
        let one_of = |names: [&str; 2]| json!({ "oneOf": names.map(|name| json!({ "required": [name] })) });
        schema
            .insert("allOf".to_owned(), json!([one_of(["uri", "uris"]), one_of(["api_gateway", "lambda"])]));
    }
    Value::Object(schema)
}

/// The declaration of the key at a path of the settings' tree, in lists and tables of texts that of the
/// whole.
fn key_at(path: &[String]) -> Option<&'static Key> {
    let (mut keys, path) = match path {
        [first, _, rest @ ..] if first == ROUTES => (route::KEYS, rest),
        all => (process::KEYS, all),
    };
    let mut found = None;
    for name in path {
        let key: &Key = keys.iter().find(|key| key.name == name)?;
        found = Some(key);
        match key.kind {
            Kind::Section(below, _) | Kind::Filled(below) => keys = below,
            _ => break,
        }
    }
    found
}

/// What the key at a path takes, where the reader's own word for it says less.
pub(super) fn expected(path: &[String]) -> Option<String> {
    match key_at(path)?.kind {
        Kind::Number(least, most) => Some(format!("a whole number from {least} to {most}")),
        Kind::Signed(least, most) => Some(format!("a whole number from {least} to {most}")),
        Kind::Address => Some(ADDRESS_EXPECTED.to_owned()),
        Kind::Words(words) => Some(format!("one of {}", words.join(", "))),
        _ => None,
    }
}

/// A table that has these keys and no others.
fn table(keys: &[Key]) -> Map<String, Value> {
    let properties: Map<String, Value> = keys.iter().map(|key| (key.name.to_owned(), key.schema())).collect();
    let mut table = Map::new();
    table.insert("type".to_owned(), "object".into());
    table.insert("properties".to_owned(), properties.into());
    table.insert("additionalProperties".to_owned(), false.into());
    table
}

impl Key {
    fn schema(&self) -> Value {
        let mut schema = Map::new();
        schema.insert("description".to_owned(), self.text.into());
        if !self.default.is_empty() {
            schema.insert("default".to_owned(), self.kind.value(self.default));
        }
        let is_table = matches!(self.kind, Kind::Section(..) | Kind::Filled(_));
        if !is_table && matches!(self.secrecy, Secrecy::Secret | Secrecy::UnlessPath) {
            // nothing that reads the settings gives it out again
            schema.insert("writeOnly".to_owned(), true.into());
        }
        schema.extend(self.kind.schema());
        Value::Object(schema)
    }
}

impl Kind {
    /// A default as JSON: what is not written in quotes is none here either.
    fn value(&self, text: &str) -> Value {
        match self {
            Self::Boolean | Self::Number(..) | Self::Signed(..) | Self::List(_) => {
                serde_json::from_str(text).unwrap_or_else(|_| text.into())
            }
            _ => text.into(),
        }
    }

    /// The schema of what is taken.
    fn schema(&self) -> Map<String, Value> {
        if let Some(whole) = self.whole() {
            return whole;
        }
        let mut any_of = self.forms();
        any_of.push(json!({ "type": "string", "pattern": REFERENCE }));
        any_of.push(json!({ "type": "null" }));
        Map::from_iter([("anyOf".to_owned(), any_of.into())])
    }

    /// Where one schema says it all: a text may be a reference anyway, and a table is none.
    fn whole(&self) -> Option<Map<String, Value>> {
        let whole = match self {
            Self::Text => json!({ "type": ["string", "null"] }),
            Self::Proof => json!({ "type": "string", "minLength": 1 }),
            Self::Texts => {
                json!({ "type": ["object", "null"], "additionalProperties": { "type": "string" } })
            }
            Self::Object => json!({ "type": ["object", "string", "null"] }),
            Self::Filled(keys) => {
                let mut filled = table(keys);
                filled.insert("minProperties".to_owned(), 1.into());
                return Some(filled);
            }
            Self::Section(keys, needed) => {
                let mut section = table(keys);
                section.insert("type".to_owned(), json!(["object", "null"]));
                if !needed.is_empty() {
                    section.insert("required".to_owned(), json!(needed));
                }
                return Some(section);
            }
            _ => return None,
        };
        match whole {
            Value::Object(whole) => Some(whole),
            _ => None,
        }
    }

    /// What is taken beside a reference and nothing at all.
    fn forms(&self) -> Vec<Value> {
        let between = |least: &Value, most: &Value, unit: &str| json!({ "type": "integer", "minimum": least, "maximum": most, "description": unit });
        let with_unit = |pattern: &str, example: &str| json!({ "type": "string", "pattern": pattern, "description": format!("with its unit: {example}") });
        match self {
            Self::Pattern(pattern) => vec![json!({ "type": "string", "pattern": pattern })],
            Self::WordBut(words) => {
                vec![json!({ "type": "string", "pattern": SCOPE_WORD, "not": { "enum": words } })]
            }
            Self::Address => vec![json!({ "type": "string", "pattern": ADDRESS })],
            Self::Boolean => vec![json!({ "type": "boolean" })],
            Self::Number(least, most) => {
                vec![json!({ "type": "integer", "minimum": least, "maximum": most })]
            }
            Self::Signed(least, most) => {
                vec![json!({ "type": "integer", "minimum": least, "maximum": most })]
            }
            Self::Share => vec![json!({ "type": "number", "minimum": 0, "maximum": 1 })],
            Self::Duration(least, most) => {
                let whole = between(&json!(least), &json!(most), "milliseconds");
                vec![whole, with_unit(DURATION, "30s, 500ms, 1m 30s")]
            }
            Self::Size(least, most) => {
                vec![between(&json!(least), &json!(most), "bytes"), with_unit(SIZE, "10MiB, 64KB")]
            }
            Self::Words(words) => vec![json!({ "enum": words })],
            Self::Version => vec![json!({ "enum": ["1.0", "2.0", "1", "2", 1, 2] })],
            Self::List(kind) => vec![json!({ "type": "array", "items": kind.schema() })],
            // these are whole
            Self::Text | Self::Proof | Self::Texts | Self::Object | Self::Section(..) | Self::Filled(_) => {
                Vec::new()
            }
        }
    }
}
