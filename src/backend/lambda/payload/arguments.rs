//! Decodes the arguments of a query or a form: `a=1&b=2`.
//!
//! No argument is ever dropped; Kong drops all after the hundredth (`peers.md` K09b). The length limit of the
//! request line bounds those of a query, and a form with too many is refused. Nothing is copied before an
//! event is written.

use std::borrow::Cow;

use percent_encoding::percent_decode;
use serde::{Serialize, Serializer};

use super::{
    groups::{Named, NamedValues},
    text::text,
};

/// The value of an argument, as Kong reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Argument<'a> {
    /// `?flag`, without `=`.
    Flag,
    /// The text after `=`.
    Text(Cow<'a, str>),
}

impl<'a> From<Option<Cow<'a, str>>> for Argument<'a> {
    fn from(value: Option<Cow<'a, str>>) -> Self {
        value.map_or(Self::Flag, Self::Text)
    }
}

/// A flag is written as `true` (`peers.md` K07).
impl Serialize for Argument<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Flag => serializer.serialize_bool(true),
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}

/// The encoded arguments.
#[derive(Debug, Clone, Copy)]
pub struct Arguments<'a>(pub &'a [u8]);

/// The same with an empty value for a flag, as AWS reads it.
#[derive(Debug, Clone, Copy)]
pub struct PlainArguments<'a>(pub Arguments<'a>);

impl<'a> Arguments<'a> {
    /// Name and value of the argument that begins at `position`, encoded.
    fn pair(self, position: u32) -> (&'a [u8], Option<&'a [u8]>) {
        let rest =
            usize::try_from(position).ok().and_then(|position| self.0.get(position..)).unwrap_or_default();
        let (name, value) = rest.split_at(end_of_name(rest));
        let value = value.strip_prefix(b"=");
        (name, value.map(|value| value.split(|byte| *byte == b'&').next().unwrap_or_default()))
    }

    /// All arguments but empty ones (`a=1&&b=2`).
    fn pairs(self) -> impl Iterator<Item = &'a [u8]> {
        self.0.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty())
    }
}

impl Named for Arguments<'_> {
    fn name(&self, position: u32) -> Cow<'_, str> {
        decoded(self.pair(position).0)
    }
}

impl<'a> NamedValues for Arguments<'a> {
    type Value = Argument<'a>;

    fn value(&self, position: u32) -> Argument<'a> {
        self.pair(position).1.map_or(Argument::Flag, |value| Argument::Text(decoded(value)))
    }

    fn count(&self) -> usize {
        self.pairs().count()
    }

    fn each(&self, mut call: impl FnMut(u32, &str)) {
        for pair in self.pairs() {
            let position = pair.as_ptr().addr() - self.0.as_ptr().addr();
            if let Ok(position) = u32::try_from(position) {
                call(position, &decoded(&pair[..end_of_name(pair)]));
            }
        }
    }
}

impl Named for PlainArguments<'_> {
    fn name(&self, position: u32) -> Cow<'_, str> {
        self.0.name(position)
    }
}

impl<'a> NamedValues for PlainArguments<'a> {
    type Value = Cow<'a, [u8]>;

    fn value(&self, position: u32) -> Cow<'a, [u8]> {
        self.0.pair(position).1.map(decoded_bytes).unwrap_or_default()
    }

    fn count(&self) -> usize {
        self.0.count()
    }

    fn each(&self, call: impl FnMut(u32, &str)) {
        self.0.each(call);
    }
}

fn end_of_name(pair: &[u8]) -> usize {
    pair.iter().position(|byte| matches!(byte, b'=' | b'&')).unwrap_or(pair.len())
}

fn decoded(part: &[u8]) -> Cow<'_, str> {
    text(decoded_bytes(part))
}

/// Decodes percent escapes, and `+` as a blank.
fn decoded_bytes(part: &[u8]) -> Cow<'_, [u8]> {
    if !part.iter().any(|byte| matches!(byte, b'+' | b'%')) {
        return Cow::Borrowed(part);
    }
    // blanks and escapes in one copy
    let mut bytes = Vec::with_capacity(part.len());
    for (count, piece) in part.split(|byte| *byte == b'+').enumerate() {
        if count > 0 {
            bytes.push(b' ');
        }
        bytes.extend(percent_decode(piece));
    }
    Cow::Owned(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::{
            groups::{Grouped, Indexed},
            writer::tests::written,
        },
        *,
    };

    fn json(arguments: &[u8]) -> String {
        serde_json::to_string(&Indexed::new(Arguments(arguments))).unwrap()
    }

    #[test]
    fn k07_a_repeated_argument_is_an_array_and_a_flag_is_true() {
        assert_eq!(json(b"a=1&flag&a=2&b=3"), r#"{"a":["1","2"],"flag":true,"b":"3"}"#);
        assert_eq!(json(b"a=1&a&a="), r#"{"a":["1",true,""]}"#);
        assert_eq!(json(b"a=&=x&b=c=d"), r#"{"a":"","":"x","b":"c=d"}"#);
    }

    #[test]
    fn escapes_and_plus_signs_are_undone_once() {
        assert_eq!(json(b"a+b=%2B%26+%3d&c=%2541"), r#"{"a b":"+& =","c":"%41"}"#);
        assert_eq!(json(b"a=%zz%4&b=%"), r#"{"a":"%zz%4","b":"%"}"#);
    }

    #[test]
    fn what_is_not_utf_8_is_read_as_latin_1() {
        assert_eq!(json("n=%C3%B6&l=%F6&ö=1".as_bytes()), r#"{"n":"ö","l":"ö","ö":"1"}"#);
        assert_eq!(json(b"%F6=1&%C3%B6=2"), r#"{"ö":["1","2"]}"#);
    }

    #[test]
    fn empty_pairs_are_none() {
        assert_eq!(json(b""), "{}");
        assert_eq!(json(b"&&a=1&"), r#"{"a":"1"}"#);
    }

    #[test]
    fn k09b_no_argument_is_dropped() {
        let query: Vec<String> = (0..5000).map(|number| format!("a{number}={number}")).collect();
        let arguments = query.join("&");
        let arguments = Indexed::new(Arguments(arguments.as_bytes()));
        assert_eq!(arguments.groups().count(), 5000);
    }

    proptest! {
        #[test]
        fn arguments_are_what_browsers_mean_by_them(
            query in "([a-c+=&;ö]|%[2-7][0-9a-fA-F]|%C3%B6|%[G-Z&]){0,20}",
        ) {
            let arguments = Indexed::new(PlainArguments(Arguments(query.as_bytes())));
            let ours = written(|writer| writer.all_of(&arguments));
            // `form_urlencoded` replaces invalid UTF-8 by U+FFFD, so there is none here
            let mut theirs = serde_json::Map::new();
            for (name, value) in form_urlencoded::parse(query.as_bytes()) {
                let values = theirs.entry(name).or_insert_with(|| serde_json::json!([]));
                values.as_array_mut().unwrap().push(value.into());
            }
            prop_assert_eq!(ours, serde_json::to_string(&theirs).unwrap());
        }
    }
}
