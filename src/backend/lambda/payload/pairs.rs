//! Names with one or more values, and the ways in which events write them.
//!
//! `headers.rs` and `arguments.rs` make them; an event writes the same ones in up to two ways without a copy.

use std::{
    borrow::Cow,
    fmt::{self, Display},
};

use serde::{Serialize, Serializer};

/// A name and one of its values.
pub type Pair<'a, V> = (Cow<'a, str>, V);

/// Pairs by name; the values of a name keep their order.
///
/// The order of names is ours, not the client's (actix's header map has none), so that the same request
/// always gives the same bytes.
#[derive(Debug, PartialEq)]
pub struct Pairs<'a, V>(Vec<Pair<'a, V>>);

impl<V> Default for Pairs<'_, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'a, V> Pairs<'a, V> {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Every name with all of its values.
    pub fn groups(&self) -> impl Iterator<Item = (&str, &[Pair<'a, V>])> {
        self.0.chunk_by(|one, next| one.0 == next.0).map(|group| (&*group[0].0, group))
    }

    /// Puts in one more value of a name, behind those that the name has.
    pub fn insert(&mut self, name: &'a str, value: V) {
        let at = self.0.partition_point(|pair| &*pair.0 <= name);
        self.0.insert(at, (Cow::Borrowed(name), value));
    }

    /// Takes out a name and gives its values.
    pub fn take(&mut self, name: &str) -> Vec<V> {
        let start = self.0.partition_point(|pair| &*pair.0 < name);
        let end = self.0.partition_point(|pair| &*pair.0 <= name);
        self.0.drain(start..end).map(|(_, value)| value).collect()
    }
}

impl Pairs<'_, Cow<'_, str>> {
    /// Makes one value of all that a name has.
    pub fn join(&mut self, name: &str, separator: &str) {
        let start = self.0.partition_point(|pair| &*pair.0 < name);
        let end = self.0.partition_point(|pair| &*pair.0 <= name);
        if end - start > 1 {
            let values: Vec<&str> = self.0[start..end].iter().map(|(_, value)| &**value).collect();
            self.0[start].1 = Cow::Owned(values.join(separator));
            self.0.drain(start + 1..end);
        }
    }
}

impl<'a, V> FromIterator<Pair<'a, V>> for Pairs<'a, V> {
    fn from_iter<I: IntoIterator<Item = Pair<'a, V>>>(pairs: I) -> Self {
        let mut pairs: Vec<_> = pairs.into_iter().collect();
        pairs.sort_by(|(one, _), (other, _)| one.cmp(other));
        Self(pairs)
    }
}

/// As Kong writes them: a value alone as itself, several as an array.
impl<V: Serialize> Serialize for Pairs<'_, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.groups().map(|(name, group)| (name, OneOrAll(group))))
    }
}

/// Every name with its last value.
#[derive(Debug)]
pub struct LastOf<'p, 'a, V>(pub &'p Pairs<'a, V>);

impl<V: Serialize> Serialize for LastOf<'_, '_, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer
            .collect_map(self.0.groups().map(|(name, group)| (name, group.last().map(|(_, value)| value))))
    }
}

/// Every name with an array of its values.
#[derive(Debug)]
pub struct AllOf<'p, 'a, V>(pub &'p Pairs<'a, V>);

impl<V: Serialize> Serialize for AllOf<'_, '_, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.groups().map(|(name, group)| (name, All(group))))
    }
}

/// Every name with its values joined by commas.
#[derive(Debug)]
pub struct JoinedOf<'p, 'a, V>(pub &'p Pairs<'a, V>);

impl<V: Display> Serialize for JoinedOf<'_, '_, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.groups().map(|(name, group)| (name, Joined(group))))
    }
}

/// The values of one name: alone as itself, several as an array.
#[derive(Debug)]
pub struct OneOrAll<'p, 'a, V>(pub &'p [Pair<'a, V>]);

impl<V: Serialize> Serialize for OneOrAll<'_, '_, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            [(_, value)] => value.serialize(serializer),
            several => All(several).serialize(serializer),
        }
    }
}

struct All<'p, 'a, V>(&'p [Pair<'a, V>]);

impl<V: Serialize> Serialize for All<'_, '_, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|(_, value)| value))
    }
}

struct Joined<'p, 'a, V>(&'p [Pair<'a, V>]);

impl<V: Display> Display for Joined<'_, '_, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (_, value)) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            value.fmt(f)?;
        }
        Ok(())
    }
}

impl<V: Display> Serialize for Joined<'_, '_, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pairs() -> Pairs<'static, &'static str> {
        [("b", "2"), ("a", "\"1\""), ("c", ""), ("b", "1")]
            .map(|(name, value)| (Cow::Borrowed(name), value))
            .into_iter()
            .collect()
    }

    fn json(value: &impl Serialize) -> String {
        serde_json::to_string(value).unwrap()
    }

    #[test]
    fn the_same_pairs_are_written_in_four_ways() {
        let pairs = pairs();
        assert_eq!(json(&pairs), r#"{"a":"\"1\"","b":["2","1"],"c":""}"#);
        assert_eq!(json(&LastOf(&pairs)), r#"{"a":"\"1\"","b":"1","c":""}"#);
        assert_eq!(json(&AllOf(&pairs)), r#"{"a":["\"1\""],"b":["2","1"],"c":[""]}"#);
        assert_eq!(json(&JoinedOf(&pairs)), r#"{"a":"\"1\"","b":"2,1","c":""}"#);
    }

    #[test]
    fn none_are_an_empty_object_in_each() {
        let none = Pairs::<&str>::default();
        assert!(none.is_empty());
        assert_eq!(json(&none), "{}");
        assert_eq!(json(&LastOf(&none)), "{}");
        assert_eq!(json(&AllOf(&none)), "{}");
        assert_eq!(json(&JoinedOf(&none)), "{}");
    }

    #[test]
    fn the_values_of_a_name_become_one() {
        let mut pairs: Pairs<Cow<str>> = [("b", "2"), ("a", "1"), ("b", ""), ("b", "1")]
            .map(|(name, value)| (name.into(), value.into()))
            .into_iter()
            .collect();
        for name in ["a", "b", "c"] {
            pairs.join(name, "; ");
        }
        assert_eq!(json(&pairs), r#"{"a":"1","b":"2; ; 1"}"#);
    }

    #[test]
    fn a_name_that_is_taken_is_gone() {
        let mut pairs = pairs();
        assert_eq!(pairs.take("b"), ["2", "1"]);
        assert!(pairs.take("b").is_empty());
        assert_eq!(json(&pairs), r#"{"a":"\"1\"","c":""}"#);
    }

    proptest! {
        #[test]
        fn pairs_are_grouped_as_a_map_would_group_them(
            written in prop::collection::vec(("[a-c]{0,2}", "[x-z,]{0,2}"), 0..10),
            name in "[a-c]{0,2}",
        ) {
            let mut expected = std::collections::BTreeMap::<&str, Vec<&str>>::new();
            for (name, value) in &written {
                expected.entry(name).or_default().push(value);
            }
            let pairs = || -> Pairs<Cow<str>> {
                written.iter().map(|(name, value)| (name.as_str().into(), value.as_str().into())).collect()
            };
            prop_assert_eq!(json(&AllOf(&pairs())), json(&expected));
            let last: std::collections::BTreeMap<_, _> = expected.iter().map(|(name, all)| (*name, all[all.len() - 1])).collect();
            prop_assert_eq!(json(&LastOf(&pairs())), json(&last));
            let joined: std::collections::BTreeMap<_, _> = expected.iter().map(|(name, all)| (*name, all.join(","))).collect();
            prop_assert_eq!(json(&JoinedOf(&pairs())), json(&joined));
            let mut more = pairs();
            more.insert(&name, "new".into());
            let mut expected_more = expected.clone();
            expected_more.entry(&name).or_default().push("new");
            prop_assert_eq!(json(&AllOf(&more)), json(&expected_more));
            let mut taken = pairs();
            prop_assert_eq!(taken.take(&name), expected.remove(&*name).unwrap_or_default());
            prop_assert_eq!(json(&AllOf(&taken)), json(&expected));
            let mut one = pairs();
            one.join(&name, ",");
            prop_assert_eq!(json(&JoinedOf(&one)), json(&joined));
        }
    }
}
