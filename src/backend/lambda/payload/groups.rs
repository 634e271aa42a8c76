//! Names that repeat, grouped without a copy of any of them: an index of places in what the client sent.
//!
//! `arguments.rs` (query, form), `multipart.rs` and `members.rs` (a JSON object) have the names and values; here is
//! which places share a name, in the order in which the names first appear. A place costs eight bytes: a form of ten
//! thousand flags is twenty thousand bytes long, and must not cost a hundred times as much.

use std::{
    borrow::Cow,
    hash::{BuildHasher as _, RandomState},
};

use serde::{Serialize, Serializer};

/// Names by their places.
pub trait Named {
    /// The name that begins at this place.
    fn name(&self, place: u32) -> Cow<'_, str>;
}

/// Something that the client sent with names and values in it.
pub trait Source: Named {
    type Value;

    /// The value that belongs to the name at this place.
    fn value(&self, place: u32) -> Self::Value;

    fn count(&self) -> usize;

    /// Calls with each place and its name, in order.
    fn each(&self, call: impl FnMut(u32, &str));
}

/// The places of names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    /// The name's hash at first; once grouped, the first place of the same name.
    key: u32,
    place: u32,
}

/// Places by the hashes of their names, to be compared with others that the same hasher made.
#[derive(Debug)]
pub struct Hashed(Vec<Entry>);

/// Places by name, in the order in which the names first appear.
#[derive(Debug, Default)]
pub struct Groups(Vec<Entry>);

impl Hashed {
    /// Hashes the names of a source. The hasher's keys are random, so that no client can choose names with the same
    /// hash.
    pub fn new(source: &impl Source, hasher: &RandomState) -> Self {
        let mut entries = Vec::with_capacity(source.count());
        source.each(|place, name| entries.push(Entry { key: hash(name, hasher), place }));
        entries.sort_unstable();
        Self(entries)
    }

    /// Leaves out the names that `others` has too.
    pub fn leave_out(&mut self, names: &dyn Named, others: &Self, other_names: &dyn Named) {
        let mut rest = &others.0[..];
        self.0.retain(|entry| {
            rest = &rest[rest.iter().take_while(|other| other.key < entry.key).count()..];
            let mut same_hash = rest.iter().take_while(|other| other.key == entry.key);
            !same_hash.any(|other| other_names.name(other.place) == names.name(entry.place))
        });
    }

    pub fn group(self, names: &dyn Named) -> Groups {
        let Self(mut entries) = self;
        for same_hash in entries.chunk_by_mut(|one, next| one.key == next.key) {
            if let [alone] = same_hash {
                alone.key = alone.place;
            } else {
                group_colliding(same_hash, names);
            }
        }
        entries.sort_unstable();
        Groups(entries)
    }
}

/// Groups entries of one hash, which are almost always of one name.
fn group_colliding(entries: &mut [Entry], names: &dyn Named) {
    let first = names.name(entries[0].place);
    let are_same = entries[1..].iter().all(|entry| names.name(entry.place) == first);
    if !are_same {
        entries.sort_by(|one, other| {
            names.name(one.place).cmp(&names.name(other.place)).then(one.place.cmp(&other.place))
        });
    }
    for same_name in
        entries.chunk_by_mut(|one, next| are_same || names.name(one.place) == names.name(next.place))
    {
        let first = same_name[0].place;
        for entry in same_name {
            entry.key = first;
        }
    }
}

fn hash(name: &str, hasher: &RandomState) -> u32 {
    let hash = hasher.hash_one(name);
    // the lower half is as good as any
    u32::try_from(hash & u64::from(u32::MAX)).unwrap_or_default()
}

impl Groups {
    /// Groups the places of a source.
    pub fn new(source: &impl Source) -> Self {
        Hashed::new(source, &RandomState::new()).group(source)
    }

    /// Keeps the last place of each name, and frees the room of all others.
    pub fn keep_last(&mut self) {
        self.0.dedup_by(|next, kept| {
            let is_same = next.key == kept.key;
            if is_same {
                kept.place = next.place;
            }
            is_same
        });
        self.0.shrink_to_fit();
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The places of each name.
    pub fn iter(&self) -> impl Iterator<Item = Places<'_>> + Clone {
        self.0.chunk_by(|one, next| one.key == next.key).map(Places)
    }
}

/// The places of one name, in order.
#[derive(Debug, Clone, Copy)]
pub struct Places<'g>(&'g [Entry]);

impl<'g> Places<'g> {
    pub fn first(self) -> u32 {
        self.0[0].key
    }

    pub fn iter(self) -> impl DoubleEndedIterator<Item = u32> + ExactSizeIterator + Clone + use<'g> {
        self.0.iter().map(|entry| entry.place)
    }
}

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

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    impl Named for Vec<String> {
        fn name(&self, place: u32) -> Cow<'_, str> {
            Cow::Borrowed(&self[place as usize])
        }
    }

    /// The places of each name, by their first.
    fn expected(names: &[String]) -> Vec<Vec<u32>> {
        let mut groups = Vec::<Vec<u32>>::new();
        for (place, name) in (0..).zip(names) {
            match groups.iter_mut().find(|group| names[group[0] as usize] == *name) {
                Some(group) => group.push(place),
                None => groups.push(vec![place]),
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
            let mut entries: Vec<_> = (0..).zip(&names).map(|(place, name)| Entry { key: key(name), place }).collect();
            entries.sort_unstable();
            let groups = Hashed(entries.clone()).group(&names);
            let places: Vec<Vec<u32>> = groups.iter().map(|places| places.iter().collect()).collect();
            prop_assert_eq!(places, expected(&names));

            let others: Vec<String> = names.iter().step_by(3).cloned().collect();
            let mut other_entries: Vec<_> =
                (0..).zip(&others).map(|(place, name)| Entry { key: key(name), place }).collect();
            other_entries.sort_unstable();
            let mut left = Hashed(entries);
            left.leave_out(&names, &Hashed(other_entries), &others);
            let groups = left.group(&names);
            let kept: Vec<u32> = groups.iter().map(Places::first).collect();
            let wanted: Vec<u32> = expected(&names)
                .into_iter()
                .map(|group| group[0])
                .filter(|place| !others.contains(&names[*place as usize]))
                .collect();
            prop_assert_eq!(kept, wanted);
        }
    }
}
