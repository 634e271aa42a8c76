//! Finds mistakes of sense: a cursor over the tree that knows where the key under check was written.

use std::{fmt::Display, ops::RangeInclusive, path::PathBuf, time::Duration};

use super::{
    mistake::{Mistake, Mistakes, Place},
    tree::{Environment, Node},
};
use crate::settings::schema::secrecy::Secrecy;
use crate::text::units::{WrittenDuration, WrittenSize, duration_text, size_text};

/// Collects mistakes below one key path.
pub struct Checker<'a> {
    root: &'a Node,
    environment: &'a Environment,
    path: Vec<String>,
    mistakes: &'a mut Mistakes,
}

impl<'a> Checker<'a> {
    /// Starts at the root.
    pub fn new(root: &'a Node, environment: &'a Environment, mistakes: &'a mut Mistakes) -> Self {
        Self { root, environment, path: Vec::new(), mistakes }
    }

    /// A variable of the process's environment, if it is set to anything.
    pub fn variable(&self, name: &str) -> Option<String> {
        self.environment.get(name).filter(|value| !value.is_empty()).cloned()
    }

    /// Goes down to `key`.
    pub fn below(&mut self, key: &str) -> Checker<'_> {
        let mut path = self.path.clone();
        path.push(key.to_owned());
        Checker { root: self.root, environment: self.environment, path, mistakes: self.mistakes }
    }

    /// Goes down to the key at a path.
    pub fn at(&mut self, path: &[&str]) -> Checker<'_> {
        let path = self.path.iter().cloned().chain(path.iter().map(|key| (*key).to_owned())).collect();
        Checker { root: self.root, environment: self.environment, path, mistakes: self.mistakes }
    }

    /// Where the key at a path was written; `None` if it was not.
    pub fn place_of(&self, path: &[&str]) -> Option<Place> {
        let own = self.path.iter().map(String::as_str).chain(path.iter().copied());
        let node = own.into_iter().try_fold(self.root, |node, key| node.child(key))?;
        Some(node.place.clone())
    }

    /// Where the current key was written.
    pub fn place(&self) -> Place {
        self.root.nearest(&self.path).place.clone()
    }

    /// Whether something is already wrong with a key below the current one.
    pub fn is_wrong(&mut self, key: &str) -> bool {
        let below = self.below(key);
        let (place, key) = below.root.locate(&below.path);
        below.mistakes.is_wrong(&place.source, &key)
    }

    /// As much of the value at a key as a mistake may quote, by the key's declaration.
    pub fn quotable(&mut self, key: &str, text: &str) -> Option<String> {
        let below = self.below(key);
        Secrecy::of_key(&below.path).quotable(text, below.root.nearest(&below.path).spelling)
    }

    /// The value at a key in quotes, or `otherwise` where it may be a secret.
    pub fn quoted(&mut self, key: &str, text: &str, otherwise: &str) -> String {
        self.quotable(key, text).map_or_else(|| otherwise.to_owned(), |text| format!("`{text}`"))
    }

    /// The paths below the current key of the values that a reference has yielded and that are not shown for
    /// it.
    pub fn hidden_references(&self) -> Vec<Vec<String>> {
        let mut found = Vec::new();
        let is_hidden = |path: &[String]| Secrecy::of_key(path) == Secrecy::Reference;
        self.root.nearest(&self.path).referred(&mut self.path.clone(), &mut |path| {
            if is_hidden(path) {
                found.push(path[self.path.len()..].to_vec());
            }
        });
        found
    }

    /// The file that the value at a key was read from, if it is a reference to one.
    pub fn file_of(&mut self, key: &str) -> Option<PathBuf> {
        let below = self.below(key);
        below.root.nearest(&below.path).file.clone()
    }

    /// Every file that something written leads to.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        self.root.files(&mut files);
        files.sort();
        files.dedup();
        files
    }

    /// Reports a mistake at the current key.
    pub fn mistake(&mut self, problem: impl Into<String>, expected: impl Into<String>) {
        let (place, key) = self.root.locate(&self.path);
        self.mistakes.push(Mistake::new(place, key, problem).expected(expected));
    }

    /// Reports a warning at the current key, which is taken nonetheless.
    pub fn warn(&mut self, warning: impl Into<String>) {
        let (place, key) = self.root.locate(&self.path);
        self.mistakes.warn(Mistake::new(place, key, warning));
    }

    /// The text parsed, or a mistake at `key` that quotes it, unless it may hold a secret.
    pub fn parsed<T>(
        &mut self,
        key: &str,
        text: &str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let parsed = parse(text);
        if parsed.is_none() {
            let problem = format!("{} is wrong", self.quoted(key, text, "the value"));
            self.below(key).mistake(problem, expected);
        }
        parsed
    }

    /// A number within its range, the default if it was not written.
    pub fn number<T>(&mut self, key: &str, written: Option<T>, default: T, range: RangeInclusive<T>) -> T
    where
        T: PartialOrd + Display + Copy,
    {
        self.within(key, written, default, &range, |value| value.to_string())
    }

    /// A duration within its range, the default if it was not written.
    pub fn duration(
        &mut self,
        key: &str,
        written: Option<WrittenDuration>,
        default: Duration,
        range: RangeInclusive<Duration>,
    ) -> Duration {
        self.within(key, written.map(|written| written.0), default, &range, duration_text)
    }

    /// A size within its range, the default if it was not written.
    pub fn size(
        &mut self,
        key: &str,
        written: Option<WrittenSize>,
        default: u64,
        range: RangeInclusive<u64>,
    ) -> u64 {
        self.within(key, written.map(|written| written.0), default, &range, size_text)
    }

    fn within<T: PartialOrd + Copy>(
        &mut self,
        key: &str,
        written: Option<T>,
        default: T,
        range: &RangeInclusive<T>,
        text: impl Fn(T) -> String,
    ) -> T {
        match written {
            None => default,
            Some(value) if range.contains(&value) => value,
            Some(value) => {
                let expected = format!("{} to {}", text(*range.start()), text(*range.end()));
                let value = self.quotable(key, &text(value)).unwrap_or_else(|| "the value".to_owned());
                self.below(key).mistake(format!("{value} is out of range"), expected);
                default
            }
        }
    }
}
