//! Groups repeated names without copying them: an index of positions in the client's query, form or JSON
//! object.
//!
//! The names keep the order in which they first appear. An index entry has eight bytes, because a form of ten
//! thousand flags has only twenty thousand.

use std::{
    borrow::Cow,
    hash::{BuildHasher as _, RandomState},
};

use serde::{Serialize, Serializer};

/// Names by their position.
pub trait Named {
    fn name(&self, position: u32) -> Cow<'_, str>;
}

/// A part of a request with names and values.
pub trait NamedValues: Named {
    type Value;

    /// The value of the name at this position.
    fn value(&self, position: u32) -> Self::Value;

    fn count(&self) -> usize;

    /// Calls `call` with each position and its name, in order.
    fn each(&self, call: impl FnMut(u32, &str));
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct NameEntry {
    /// The hash of the name; after grouping, the first position of the same name.
    key: u32,
    position: u32,
}

/// Positions sorted by the hashes of their names. Comparable only with hashes of the same hasher.
#[derive(Debug)]
pub struct HashedNames(Vec<NameEntry>);

/// Positions grouped by name, in the order in which the names first appear.
#[derive(Debug, Default)]
pub struct Groups(Vec<NameEntry>);

impl HashedNames {
    /// The hasher must have random keys, so that a client cannot choose names with the same hash.
    pub fn new(source: &impl NamedValues, hasher: &RandomState) -> Self {
        let mut entries = Vec::with_capacity(source.count());
        source.each(|position, name| entries.push(NameEntry { key: hash(name, hasher), position }));
        entries.sort_unstable();
        Self(entries)
    }

    /// Removes the names that `others` contains.
    pub fn leave_out(&mut self, names: &dyn Named, others: &Self, other_names: &dyn Named) {
        let mut rest = &others.0[..];
        self.0.retain(|entry| {
            rest = &rest[rest.iter().take_while(|other| other.key < entry.key).count()..];
            let mut same_hash = rest.iter().take_while(|other| other.key == entry.key);
            !same_hash.any(|other| other_names.name(other.position) == names.name(entry.position))
        });
    }

    pub fn group(self, names: &dyn Named) -> Groups {
        let Self(mut entries) = self;
        for same_hash in entries.chunk_by_mut(|one, next| one.key == next.key) {
            if let [alone] = same_hash {
                alone.key = alone.position;
            } else {
                group_colliding(same_hash, names);
            }
        }
        entries.sort_unstable();
        Groups(entries)
    }
}

/// Groups entries with the same hash, which almost always have the same name.
fn group_colliding(entries: &mut [NameEntry], names: &dyn Named) {
    let first = names.name(entries[0].position);
    let are_same = entries[1..].iter().all(|entry| names.name(entry.position) == first);
    if !are_same {
        entries.sort_by(|one, other| {
            names.name(one.position).cmp(&names.name(other.position)).then(one.position.cmp(&other.position))
        });
    }
    for same_name in
        entries.chunk_by_mut(|one, next| are_same || names.name(one.position) == names.name(next.position))
    {
        let first = same_name[0].position;
        for entry in same_name {
            entry.key = first;
        }
    }
}

fn hash(name: &str, hasher: &RandomState) -> u32 {
    let hash = hasher.hash_one(name);
    // the lower 32 bits
    u32::try_from(hash & u64::from(u32::MAX)).unwrap_or_default()
}

impl Groups {
    pub fn new(source: &impl NamedValues) -> Self {
        HashedNames::new(source, &RandomState::new()).group(source)
    }

    /// Keeps the last position of each name and frees the memory of the others.
    pub fn keep_last(&mut self) {
        self.0.dedup_by(|next, kept| {
            let is_same = next.key == kept.key;
            if is_same {
                kept.position = next.position;
            }
            is_same
        });
        self.0.shrink_to_fit();
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = Positions<'_>> + Clone {
        self.0.chunk_by(|one, next| one.key == next.key).map(Positions)
    }
}

/// The positions of one name, in order.
#[derive(Debug, Clone, Copy)]
pub struct Positions<'g>(&'g [NameEntry]);

impl<'g> Positions<'g> {
    pub fn first(self) -> u32 {
        self.0[0].key
    }

    pub fn iter(self) -> impl DoubleEndedIterator<Item = u32> + ExactSizeIterator + Clone + use<'g> {
        self.0.iter().map(|entry| entry.position)
    }
}

/// Names with their values.
pub trait Grouped {
    type Value<'v>
    where
        Self: 'v;

    fn groups(&self) -> impl Iterator<Item = (Cow<'_, str>, impl Values<Item = Self::Value<'_>>)>;
}

pub trait Values: DoubleEndedIterator + ExactSizeIterator + Clone {}

impl<I: DoubleEndedIterator + ExactSizeIterator + Clone> Values for I {}

/// A source with the index of its names.
#[derive(Debug)]
pub struct Indexed<S> {
    source: S,
    groups: Groups,
}

impl<S: NamedValues> Indexed<S> {
    pub fn new(source: S) -> Self {
        let groups = Groups::new(&source);
        Self { source, groups }
    }

    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }
}

impl<S: NamedValues> Grouped for Indexed<S> {
    type Value<'v>
        = S::Value
    where
        S: 'v;

    fn groups(&self) -> impl Iterator<Item = (Cow<'_, str>, impl Values<Item = S::Value>)> {
        self.groups.iter().map(|positions| {
            let values = positions.iter().map(|position| self.source.value(position));
            (self.source.name(positions.first()), values)
        })
    }
}

impl<S: NamedValues<Value: Serialize>> Serialize for Indexed<S> {
    fn serialize<T: Serializer>(&self, serializer: T) -> Result<T::Ok, T::Error> {
        as_kong(self, serializer)
    }
}

pub fn as_kong<'g, G, S>(grouped: &'g G, serializer: S) -> Result<S::Ok, S::Error>
where
    G: Grouped<Value<'g>: Serialize>,
    S: Serializer,
{
    serializer.collect_map(grouped.groups().map(|(name, values)| (name, OneOrAll(values))))
}

/// The values of one name as Kong writes them: a single value, or an array of several.
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

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    impl Named for Vec<String> {
        fn name(&self, position: u32) -> Cow<'_, str> {
            Cow::Borrowed(&self[position as usize])
        }
    }

    /// The positions of each name.
    fn expected(names: &[String]) -> Vec<Vec<u32>> {
        let mut groups = Vec::<Vec<u32>>::new();
        for (position, name) in (0..).zip(names) {
            match groups.iter_mut().find(|group| names[group[0] as usize] == *name) {
                Some(group) => group.push(position),
                None => groups.push(vec![position]),
            }
        }
        groups
    }

    proptest! {
        #[test]
        fn places_are_grouped_by_name_even_if_hashes_collide(
            names in vec("[a-d]{0,2}", 0..40),
            hashes in 1..5_u32,
        ) {
            let key = |name: &str| u32::try_from(name.len()).unwrap() % hashes;
            let mut entries: Vec<_> = (0..).zip(&names).map(|(position, name)| NameEntry { key: key(name), position }).collect();
            entries.sort_unstable();
            let groups = HashedNames(entries.clone()).group(&names);
            let positions: Vec<Vec<u32>> = groups.iter().map(|positions| positions.iter().collect()).collect();
            prop_assert_eq!(positions, expected(&names));

            let others: Vec<String> = names.iter().step_by(3).cloned().collect();
            let mut other_entries: Vec<_> =
                (0..).zip(&others).map(|(position, name)| NameEntry { key: key(name), position }).collect();
            other_entries.sort_unstable();
            let mut left = HashedNames(entries);
            left.leave_out(&names, &HashedNames(other_entries), &others);
            let groups = left.group(&names);
            let kept: Vec<u32> = groups.iter().map(Positions::first).collect();
            let wanted: Vec<u32> = expected(&names)
                .into_iter()
                .map(|group| group[0])
                .filter(|position| !others.contains(&names[*position as usize]))
                .collect();
            prop_assert_eq!(kept, wanted);
        }
    }
}
