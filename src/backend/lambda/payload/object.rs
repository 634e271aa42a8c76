//! The members of a JSON body for `merge.rs`. Nothing is copied before an event is written.

use std::{borrow::Cow, fmt};

use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::{Deserializer, value::RawValue};

use super::{
    body_arguments::NoArguments,
    groups::{Named, NamedValues},
};
use crate::message::error::{ErrorKind, ProxyError};

/// Bounds the memory of the index; no real event has as many members.
const MAX_MEMBERS: usize = 100_000;

/// An object whose names were checked.
#[derive(Debug, Clone, Copy)]
pub struct Object<'a> {
    text: &'a str,
    count: usize,
}

impl<'a> Object<'a> {
    /// # Errors
    /// A name is not valid text, or there are too many.
    pub fn read(document: &'a RawValue) -> Result<Self, NoArguments> {
        let text = document.get();
        let mut count = 0;
        each_name(text, |_, _| count += 1)
            .map_err(|error| NoArguments::Unreadable(ProxyError::new(ErrorKind::InvalidBody, error)))?;
        if count > MAX_MEMBERS {
            return Err(NoArguments::too_many("members", MAX_MEMBERS));
        }
        Ok(Self { text, count })
    }

    fn rest(&self, position: u32) -> &'a str {
        usize::try_from(position).ok().and_then(|position| self.text.get(position..)).unwrap_or_default()
    }
}

impl Named for Object<'_> {
    fn name(&self, position: u32) -> Cow<'_, str> {
        let name = first(self.rest(position)).0;
        // `read` has checked it
        unescaped(name).unwrap_or_default()
    }
}

impl<'a> NamedValues for Object<'a> {
    type Value = &'a RawValue;

    fn value(&self, position: u32) -> &'a RawValue {
        let rest = first(self.rest(position)).1.trim_ascii_start();
        first(rest.strip_prefix(':').unwrap_or_default()).0
    }

    fn count(&self) -> usize {
        self.count
    }

    fn each(&self, call: impl FnMut(u32, &str)) {
        // `read` has checked the names
        let _ = each_name(self.text, call);
    }
}

/// The first value of a text that was checked, and the rest of the text.
fn first(text: &str) -> (&RawValue, &str) {
    let mut values = Deserializer::from_str(text).into_iter::<&RawValue>();
    let value = values.next().and_then(Result::ok).unwrap_or(RawValue::NULL);
    (value, text.get(values.byte_offset()..).unwrap_or_default())
}

fn unescaped(name: &RawValue) -> serde_json::Result<Cow<'_, str>> {
    let quoted = name.get();
    match quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        Some(text) if !text.contains('\\') => Ok(Cow::Borrowed(text)),
        _ => serde_json::from_str(quoted).map(Cow::Owned),
    }
}

/// Calls `call` with the position of each name and the name.
fn each_name(text: &str, call: impl FnMut(u32, &str)) -> serde_json::Result<()> {
    let mut document = Deserializer::from_str(text);
    Names { text, call }.deserialize(&mut document)
}

struct Names<'t, F> {
    text: &'t str,
    call: F,
}

impl<'de, F: FnMut(u32, &str)> DeserializeSeed<'de> for Names<'_, F> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, document: D) -> Result<(), D::Error> {
        document.deserialize_map(self)
    }
}

impl<'de, F: FnMut(u32, &str)> Visitor<'de> for Names<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<(), A::Error> {
        while let Some(name) = members.next_key::<&RawValue>()? {
            let position = name.get().as_ptr().addr() - self.text.as_ptr().addr();
            let position = u32::try_from(position).map_err(A::Error::custom)?;
            (self.call)(position, &unescaped(name).map_err(A::Error::custom)?);
            members.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}
