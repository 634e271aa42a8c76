//! Names with their values, and the ways in which events write them.
//!
//! `pairs.rs` has those of headers, `groups.rs` the index over all others; an event writes the same ones in up to two ways
//! without a copy.

use std::{
    borrow::Cow,
    fmt::{self, Display},
};

use serde::{Serialize, Serializer};

use super::groups::{Groups, Source};

/// Names, each with all of its values.
pub trait Grouped {
    /// A value.
    type Value<'v>
    where
        Self: 'v;

    /// Every name with its values.
    fn groups(&self) -> impl Iterator<Item = (Cow<'_, str>, impl Values<Item = Self::Value<'_>>)>;
}

/// The values of one name.
pub trait Values: DoubleEndedIterator + ExactSizeIterator + Clone {}

impl<I: DoubleEndedIterator + ExactSizeIterator + Clone> Values for I {}

/// A source with an index of its names.
#[derive(Debug)]
pub struct Indexed<S> {
    source: S,
    groups: Groups,
}

impl<S: Source> Indexed<S> {
    /// Indexes a source.
    pub fn new(source: S) -> Self {
        let groups = Groups::new(&source);
        Self { source, groups }
    }

    /// True without a name.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }
}

impl<S: Source> Grouped for Indexed<S> {
    type Value<'v>
        = S::Value
    where
        S: 'v;

    fn groups(&self) -> impl Iterator<Item = (Cow<'_, str>, impl Values<Item = S::Value>)> {
        self.groups.iter().map(|places| {
            let values = places.iter().map(|place| self.source.value(place));
            (self.source.name(places.first()), values)
        })
    }
}

impl<S: Source<Value: Serialize>> Serialize for Indexed<S> {
    fn serialize<T: Serializer>(&self, serializer: T) -> Result<T::Ok, T::Error> {
        as_kong(self, serializer)
    }
}

/// Writes names as Kong does: a value alone as itself, several as an array.
pub fn as_kong<'g, G, S>(grouped: &'g G, serializer: S) -> Result<S::Ok, S::Error>
where
    G: Grouped<Value<'g>: Serialize>,
    S: Serializer,
{
    serializer.collect_map(grouped.groups().map(|(name, values)| (name, OneOrAll(values))))
}

/// Every name with its last value.
#[derive(Debug)]
pub struct LastOf<'g, G>(pub &'g G);

impl<'g, G: Grouped<Value<'g>: Serialize>> Serialize for LastOf<'g, G> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.groups().map(|(name, mut values)| (name, values.next_back())))
    }
}

/// Every name with an array of its values.
#[derive(Debug)]
pub struct AllOf<'g, G>(pub &'g G);

impl<'g, G: Grouped<Value<'g>: Serialize>> Serialize for AllOf<'g, G> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.groups().map(|(name, values)| (name, All(values))))
    }
}

/// Every name with its values joined by commas.
#[derive(Debug)]
pub struct JoinedOf<'g, G>(pub &'g G);

impl<'g, G: Grouped<Value<'g>: Display>> Serialize for JoinedOf<'g, G> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.groups().map(|(name, values)| (name, Joined(values))))
    }
}

/// The values of one name: alone as itself, several as an array.
#[derive(Debug)]
pub struct OneOrAll<I>(pub I);

impl<I: Values<Item: Serialize>> Serialize for OneOrAll<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut values = self.0.clone();
        match (values.next(), values.len()) {
            (Some(value), 0) => value.serialize(serializer),
            _ => serializer.collect_seq(self.0.clone()),
        }
    }
}

struct All<I>(I);

impl<I: Values<Item: Serialize>> Serialize for All<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.clone())
    }
}

struct Joined<I>(I);

impl<I: Values<Item: Display>> Display for Joined<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, value) in self.0.clone().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            value.fmt(f)?;
        }
        Ok(())
    }
}

impl<I: Values<Item: Display>> Serialize for Joined<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
