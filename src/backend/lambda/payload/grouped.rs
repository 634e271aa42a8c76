//! Names with their values, and the ways in which events write them.
//!
//! `pairs.rs` has those of headers, `groups.rs` the index over all others; an event writes the same ones in up to two
//! ways without a copy: here as Kong does, by `writer.rs` as API Gateway does.

use std::borrow::Cow;

use serde::{Serialize, Serializer};

use super::groups::{Groups, Source};

/// Names, each with all of its values.
pub trait Grouped {
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
    pub fn new(source: S) -> Self {
        let groups = Groups::new(&source);
        Self { source, groups }
    }

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
