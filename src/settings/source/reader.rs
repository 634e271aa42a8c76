//! Reads the merged tree into the structs of the sections (`Written…`), and reports unknown keys, wrong types
//! and unknown words.
//!
//! Serde stops at the first error. Every key of the structs is optional, so the wrong value is removed and
//! the tree read again until no error is left: each round reports one mistake. Missing keys, ranges and
//! conflicts are checked later.

use std::{collections::btree_map, fmt};

use serde::{
    Deserialize,
    de::{
        self, DeserializeSeed, Deserializer, Error as _, Expected, IntoDeserializer, MapAccess, SeqAccess,
        Unexpected, Visitor, value::BorrowedStrDeserializer,
    },
    forward_to_deserialize_any,
};

use super::{
    foreign_words,
    mistake::{Mistake, Mistakes, Place, invalid_value},
    secrecy::Secrecy,
    shown_key,
    tree::{Content, Node, Notation},
};
use crate::{settings::schema, text::units::whole};

/// Each round reads the whole tree again.
const MAX_ROUNDS: usize = 200;

/// Reads `root` as `T`, and removes and reports each wrong value.
pub fn read<T: for<'de> Deserialize<'de> + Default>(root: &mut Node, mistakes: &mut Mistakes) -> T {
    read_as(Declared::Sections, root, mistakes)
}

/// [`read`] for a struct that is no section of the settings.
#[cfg(feature = "dev")]
pub fn read_undeclared<T: for<'de> Deserialize<'de> + Default>(
    root: &mut Node,
    mistakes: &mut Mistakes,
) -> T {
    read_as(Declared::Elsewhere, root, mistakes)
}

/// The place of the declarations of the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Declared {
    Sections,
    /// The struct alone has them.
    Elsewhere,
}

fn read_as<T: for<'de> Deserialize<'de> + Default>(
    declared: Declared,
    root: &mut Node,
    mistakes: &mut Mistakes,
) -> T {
    for _ in 0..MAX_ROUNDS {
        let ReadError { mut path, problem } = match T::deserialize(&*root) {
            Ok(value) => return value,
            Err(error) => error,
        };
        path.reverse();
        mistakes.push(problem.into_mistake(declared, &path, root));
        if root.remove(&path).is_none() {
            // the root itself is no table
            return T::default();
        }
    }
    let more = Mistake::new(Place::file("settings"), "", "there are more mistakes of this kind");
    mistakes.push(more.expected("these to be corrected first"));
    T::default()
}

/// A wrong value, with the path to it from the inside out.
#[derive(Debug)]
pub struct ReadError {
    path: Vec<String>,
    problem: ReadProblem,
}

#[derive(Debug)]
enum ReadProblem {
    UnknownKey { fields: &'static [&'static str] },
    UnknownWord { word: String, known: &'static [&'static str] },
    WrongType { found: &'static str, expected: String },
    Other(String),
}

impl ReadError {
    fn under(mut self, key: &(impl ToString + ?Sized)) -> Self {
        self.path.push(key.to_string());
        self
    }
}

impl From<ReadProblem> for ReadError {
    fn from(problem: ReadProblem) -> Self {
        Self { path: Vec::new(), problem }
    }
}

impl ReadProblem {
    fn into_mistake(self, declared: Declared, path: &[String], root: &Node) -> Mistake {
        let node = root.nearest(path);
        let quotable = |text: &str| Secrecy::of_key(path).quotable(text, node.notation);
        let (place, key) = root.locate(path);
        let mistake = |problem: String| Mistake::new(place, key, problem);
        match self {
            Self::UnknownKey { fields } if declared == Declared::Elsewhere => {
                let written = path.last().map_or("", |last| last);
                mistake("unknown key".into()).one_of(&shown_key::shown(written), fields)
            }
            Self::UnknownKey { .. } => {
                let (written, table) = path.split_last().map_or(("", path), |(last, table)| (&**last, table));
                let known = schema::names_at(table);
                if let Some(name) = shown_key::known_before_value(written, &known) {
                    let cause = shown_key::separator_missing(name, written);
                    return mistake(format!("unknown key: {cause}")).expected(format!("`{name}: VALUE`"));
                }
                let mistake = mistake("unknown key".into());
                match foreign_words::cure(path) {
                    Some(cure) => mistake.expected(cure),
                    None => mistake.one_of(&shown_key::shown(written), &known),
                }
            }
            Self::UnknownWord { word, known } => match quotable(&word) {
                Some(word) => mistake(format!("unknown value `{word}`")).one_of(&word, known),
                None => mistake("unknown value".into()).one_of("", known),
            },
            Self::WrongType { found, expected } => {
                let declared = schema::expected(path).filter(|_| declared == Declared::Sections);
                let expected = declared.unwrap_or(expected);
                mistake(format!("found {found}")).expected(expected)
            }
            Self::Other(problem) => {
                let text = if let Content::Text(text) = &node.content { quotable(text) } else { None };
                mistake(invalid_value(text.as_deref())).expected(problem)
            }
        }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {:?}", self.problem, self.path)
    }
}

impl std::error::Error for ReadError {}

impl de::Error for ReadError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        ReadProblem::Other(message.to_string()).into()
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        // the value itself is left out: an unquoted secret is a number to YAML
        let found = match found {
            Unexpected::Bool(_) => "true or false",
            Unexpected::Signed(..=-1) => "a number below 0",
            Unexpected::Float(number) if number.fract() != 0.0 => "a number with a fraction",
            Unexpected::Unsigned(_) | Unexpected::Signed(_) | Unexpected::Float(_) => "a number",
            Unexpected::Str(_) => "a text",
            Unexpected::Unit | Unexpected::Option => "nothing",
            Unexpected::Seq => "a list",
            Unexpected::Map => "a table",
            _ => "something else",
        };
        ReadProblem::WrongType { found, expected: plain(&expected.to_string()).to_owned() }.into()
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        match found {
            Unexpected::Str(_) => Self::custom(plain(&expected.to_string())),
            other => Self::invalid_type(other, expected),
        }
    }

    fn unknown_variant(word: &str, known: &'static [&'static str]) -> Self {
        ReadProblem::UnknownWord { word: word.to_owned(), known }.into()
    }

    fn unknown_field(key: &str, fields: &'static [&'static str]) -> Self {
        Self::from(ReadProblem::UnknownKey { fields }).under(key)
    }
}

/// Serde's name of a Rust type in plain words.
fn plain(expected: &str) -> &str {
    match expected {
        "a string" => "a text (in quotes, if YAML takes it for something else)",
        "a boolean" => "true or false",
        "u16" => "a whole number from 0 to 65535",
        "u32" | "u64" | "usize" => "a whole number, 0 or more",
        "i32" | "i64" => "a whole number",
        "a sequence" => "a list",
        "a map" => "a table",
        word if word.starts_with("enum ") => "a word",
        word if word.starts_with("struct ") => "a table",
        other => other,
    }
}

impl<'de> Deserializer<'de> for &'de Node {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.content {
            Content::Null => visitor.visit_unit(),
            Content::Boolean(value) => visitor.visit_bool(*value),
            Content::Integer(value) => visitor.visit_i64(*value),
            Content::Float(value) => visitor.visit_f64(*value),
            Content::Text(value) => visitor.visit_str(value),
            Content::List(list) => visitor.visit_seq(Items(list.iter())),
            Content::Table(table) => visitor.visit_map(Entries { rest: table.iter(), value: None }),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.content {
            Content::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        match &self.content {
            // `limits:` with every key commented out
            Content::Null => visitor.visit_map(Entries::default()),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.untyped() {
            Some("true") => visitor.visit_bool(true),
            Some("false") => visitor.visit_bool(false),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_u16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.number(visitor)
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.number(visitor)
    }

    fn deserialize_i32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.number(visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.untyped() {
            Some(text) => {
                let items = text.split(',').map(|item| item.trim().to_owned());
                visitor.visit_seq(de::value::SeqDeserializer::new(items))
            }
            None => self.deserialize_any(visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        match &self.content {
            Content::Text(word) => visitor.visit_enum(word.as_str().into_deserializer()),
            _ => self.deserialize_any(visitor),
        }
    }

    forward_to_deserialize_any! {
        i8 i16 i64 i128 u8 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        newtype_struct tuple tuple_struct map
        identifier ignored_any
    }
}

impl Node {
    /// The text of a value without types: from a variable, `"true"` may be a boolean.
    fn untyped(&self) -> Option<&str> {
        match &self.content {
            Content::Text(text) if self.notation != Notation::Typed => Some(text),
            _ => None,
        }
    }

    fn number<'de, V: Visitor<'de>>(&'de self, visitor: V) -> Result<V::Value, ReadError> {
        match (self.untyped().map(str::parse::<i64>), &self.content) {
            (Some(Ok(number)), _) => visitor.visit_i64(number),
            (_, Content::Float(number)) => match whole(*number) {
                Some(number) => visitor.visit_i64(number),
                None => self.deserialize_any(visitor),
            },
            _ => self.deserialize_any(visitor),
        }
    }
}

/// The entries of a table. An error in a value gets its key.
#[derive(Default)]
struct Entries<'de> {
    rest: btree_map::Iter<'de, String, Node>,
    value: Option<(&'de str, &'de Node)>,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, ReadError> {
        let Some((key, node)) = self.rest.next() else { return Ok(None) };
        self.value = Some((key, node));
        seed.deserialize(BorrowedStrDeserializer::new(key)).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, ReadError> {
        let (key, node) = self.value.take().ok_or_else(|| ReadError::custom("a key before its value"))?;
        seed.deserialize(node).map_err(|error| error.under(key))
    }
}

/// The items of a list. An error in an item gets its index as written.
struct Items<'de>(btree_map::Iter<'de, usize, Node>);

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = ReadError;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, ReadError> {
        let Some((index, node)) = self.0.next() else { return Ok(None) };
        seed.deserialize(node).map(Some).map_err(|error| error.under(index))
    }
}
