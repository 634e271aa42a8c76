//! The arguments of a query or a form: `a=1&b=2`, decoded.
//!
//! Every mode wants those of the query, `body_arguments.rs` those of a form. None is ever dropped in silence, as
//! Kong does with what comes after the hundredth (`peers.md` K09b): those of a query are bounded by its length,
//! those of a form by their number, beyond which it is refused.

use std::borrow::Cow;

use percent_encoding::percent_decode;
use serde::{Serialize, Serializer};

use super::{pairs::Pairs, text::text};

/// What follows a name, as Kong has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Argument<'a> {
    /// Nothing, not even `=`: `?flag`.
    Flag,
    /// What is after the `=`.
    Text(Cow<'a, str>),
}

impl<'a> From<Option<Cow<'a, str>>> for Argument<'a> {
    fn from(value: Option<Cow<'a, str>>) -> Self {
        value.map_or(Self::Flag, Self::Text)
    }
}

/// A flag is `true` (`peers.md` K07).
impl Serialize for Argument<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Flag => serializer.serialize_bool(true),
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}

/// How many there are. Counting allocates nothing, unlike taking apart.
pub fn count(arguments: &[u8]) -> usize {
    pairs(arguments).count()
}

/// Takes arguments apart. `value` says what becomes of a value, and of its absence.
pub fn decode<'a, V>(arguments: &'a [u8], value: impl Fn(Option<Cow<'a, str>>) -> V) -> Pairs<'a, V> {
    let pair = |pair: &'a [u8]| match pair.iter().position(|byte| *byte == b'=') {
        Some(equals) => (decoded(&pair[..equals]), value(Some(decoded(&pair[equals + 1..])))),
        None => (decoded(pair), value(None)),
    };
    pairs(arguments).map(pair).collect()
}

fn pairs(arguments: &[u8]) -> impl Iterator<Item = &[u8]> {
    arguments.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty())
}

/// A name or a value with its escapes undone, and with blanks for `+`.
fn decoded(part: &[u8]) -> Cow<'_, str> {
    if !part.contains(&b'+') {
        return text(percent_decode(part));
    }
    let part: Vec<u8> = part.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    text(percent_decode(&part).collect::<Vec<u8>>())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn json(arguments: &[u8]) -> String {
        serde_json::to_string(&decode(arguments, Argument::from)).unwrap()
    }

    #[test]
    fn k07_a_repeated_argument_is_an_array_and_a_flag_is_true() {
        assert_eq!(json(b"a=1&flag&a=2&b=3"), r#"{"a":["1","2"],"b":"3","flag":true}"#);
        assert_eq!(json(b"a=1&a&a="), r#"{"a":["1",true,""]}"#);
        assert_eq!(json(b"a=&=x&b=c=d"), r#"{"":"x","a":"","b":"c=d"}"#);
    }

    #[test]
    fn escapes_and_plus_signs_are_undone_once() {
        assert_eq!(json(b"a+b=%2B%26+%3d&c=%2541"), r#"{"a b":"+& =","c":"%41"}"#);
        assert_eq!(json(b"a=%zz%4&b=%"), r#"{"a":"%zz%4","b":"%"}"#);
    }

    #[test]
    fn what_is_not_utf_8_is_read_as_latin_1() {
        assert_eq!(json("n=%C3%B6&l=%F6&ö=1".as_bytes()), r#"{"l":"ö","n":"ö","ö":"1"}"#);
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
        let arguments = decode(arguments.as_bytes(), Argument::from);
        assert_eq!(arguments.groups().count(), 5000);
    }

    proptest! {
        #[test]
        fn arguments_are_what_browsers_mean_by_them(
            query in "([a-c+=&;ö]|%[2-7][0-9a-fA-F]|%C3%B6|%[G-Z&]){0,20}",
        ) {
            let ours = decode(query.as_bytes(), Option::unwrap_or_default);
            // for bytes that are not UTF-8, of which there are none here, they put U+FFFD
            let theirs: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
            prop_assert_eq!(ours, theirs.into_iter().collect::<Pairs<_>>());
        }
    }
}
