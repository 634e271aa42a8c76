//! Headers by name: `headers.rs` makes them, and events write them by `grouped.rs`.

use std::borrow::Cow;

use serde::{Serialize, Serializer};

use super::grouped::{Grouped, Values, as_kong};

/// A name and one of its values.
pub type Pair<'a> = (&'a str, Cow<'a, str>);

/// Pairs by name; the values of a name keep their order.
///
/// The order of names is ours, not the client's (actix's header map has none), so that the same request
/// always gives the same bytes.
#[derive(Debug, PartialEq)]
pub struct Pairs<'a>(Vec<Pair<'a>>);

impl<'a> Pairs<'a> {
    /// Puts in one more value of a name, behind those that the name has.
    pub fn insert(&mut self, name: &'a str, value: Cow<'a, str>) {
        let at = self.0.partition_point(|pair| pair.0 <= name);
        self.0.insert(at, (name, value));
    }

    /// Takes out a name and gives its values.
    pub fn take(&mut self, name: &str) -> Vec<Cow<'a, str>> {
        let start = self.0.partition_point(|pair| pair.0 < name);
        let end = self.0.partition_point(|pair| pair.0 <= name);
        self.0.drain(start..end).map(|(_, value)| value).collect()
    }

    /// Makes one value of all that a name has.
    pub fn join(&mut self, name: &str, separator: &str) {
        let start = self.0.partition_point(|pair| pair.0 < name);
        let end = self.0.partition_point(|pair| pair.0 <= name);
        if end - start > 1 {
            let values: Vec<&str> = self.0[start..end].iter().map(|(_, value)| &**value).collect();
            self.0[start].1 = Cow::Owned(values.join(separator));
            self.0.drain(start + 1..end);
        }
    }
}

impl<'a> FromIterator<Pair<'a>> for Pairs<'a> {
    fn from_iter<I: IntoIterator<Item = Pair<'a>>>(pairs: I) -> Self {
        let mut pairs: Vec<_> = pairs.into_iter().collect();
        pairs.sort_by_key(|(name, _)| *name);
        Self(pairs)
    }
}

impl Grouped for Pairs<'_> {
    type Value<'v>
        = &'v str
    where
        Self: 'v;

    fn groups(&self) -> impl Iterator<Item = (Cow<'_, str>, impl Values<Item = &str>)> {
        let groups = self.0.chunk_by(|one, next| one.0 == next.0);
        groups.map(|group| (Cow::Borrowed(group[0].0), group.iter().map(|(_, value)| &**value)))
    }
}

impl Serialize for Pairs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        as_kong(self, serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::writer::tests::written, *};
    use proptest::prelude::*;

    fn pairs<'a>(written: &[(&'a str, &'a str)]) -> Pairs<'a> {
        written.iter().map(|(name, value)| (*name, Cow::Borrowed(*value))).collect()
    }

    fn json(value: &impl Serialize) -> String {
        serde_json::to_string(value).unwrap()
    }

    fn last_of(pairs: &Pairs<'_>) -> String {
        written(|writer| writer.last_of("", pairs))
    }

    fn all_of(pairs: &Pairs<'_>) -> String {
        written(|writer| writer.all_of("", pairs))
    }

    fn joined_of(pairs: &Pairs<'_>) -> String {
        written(|writer| writer.joined_of("", pairs))
    }

    #[test]
    fn the_same_pairs_are_written_in_four_ways() {
        let pairs = pairs(&[("b", "2"), ("a", "\"1\""), ("c", ""), ("b", "1")]);
        assert_eq!(json(&pairs), r#"{"a":"\"1\"","b":["2","1"],"c":""}"#);
        assert_eq!(last_of(&pairs), r#"{"a":"\"1\"","b":"1","c":""}"#);
        assert_eq!(all_of(&pairs), r#"{"a":["\"1\""],"b":["2","1"],"c":[""]}"#);
        assert_eq!(joined_of(&pairs), r#"{"a":"\"1\"","b":"2,1","c":""}"#);
    }

    #[test]
    fn none_are_an_empty_object_in_each() {
        let none = pairs(&[]);
        assert_eq!(json(&none), "{}");
        assert_eq!(last_of(&none), "{}");
        assert_eq!(all_of(&none), "{}");
        assert_eq!(joined_of(&none), "{}");
    }

    #[test]
    fn the_values_of_a_name_become_one() {
        let mut pairs = pairs(&[("b", "2"), ("a", "1"), ("b", ""), ("b", "1")]);
        for name in ["a", "b", "c"] {
            pairs.join(name, "; ");
        }
        assert_eq!(json(&pairs), r#"{"a":"1","b":"2; ; 1"}"#);
    }

    #[test]
    fn a_name_that_is_taken_is_gone() {
        let mut pairs = pairs(&[("b", "2"), ("a", "1"), ("b", "1")]);
        assert_eq!(pairs.take("b"), ["2", "1"]);
        assert!(pairs.take("b").is_empty());
        assert_eq!(json(&pairs), r#"{"a":"1"}"#);
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
            let written: Vec<_> = written.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let pairs = || pairs(&written);
            prop_assert_eq!(all_of(&pairs()), json(&expected));
            let last: std::collections::BTreeMap<_, _> = expected.iter().map(|(name, all)| (*name, all[all.len() - 1])).collect();
            prop_assert_eq!(last_of(&pairs()), json(&last));
            let joined: std::collections::BTreeMap<_, _> = expected.iter().map(|(name, all)| (*name, all.join(","))).collect();
            prop_assert_eq!(joined_of(&pairs()), json(&joined));
            let mut one = pairs();
            one.join(&name, ",");
            prop_assert_eq!(joined_of(&one), json(&joined));
            let mut more = pairs();
            more.insert(&name, "new".into());
            let mut expected_more = expected.clone();
            expected_more.entry(&name).or_default().push("new");
            prop_assert_eq!(all_of(&more), json(&expected_more));
            let mut taken = pairs();
            prop_assert_eq!(taken.take(&name), expected.remove(&*name).unwrap_or_default());
            prop_assert_eq!(all_of(&taken), json(&expected));
        }
    }
}
