//! Finds mistakes of sense: a cursor over the tree that knows where the key under check was written.

use std::{fmt::Display, ops::RangeInclusive, path::PathBuf, time::Duration};

use super::{
    mistake::{Mistake, Mistakes, Place},
    tree::{Environment, Node, Spelling},
    units::{WrittenDuration, WrittenSize, duration_text, size_text},
};

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

    /// Whether the value at a key may be shown: what a reference yields may be a secret.
    pub fn is_quotable(&mut self, key: &str) -> bool {
        let below = self.below(key);
        below.root.nearest(&below.path).spelling != Spelling::Referred
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

    /// The text parsed, or a mistake at `key` that quotes it, unless it may hold a secret: it came from a
    /// reference, or has the `@` of a password in a URL.
    pub fn parsed<T>(
        &mut self,
        key: &str,
        text: &str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let parsed = parse(text);
        if parsed.is_none() {
            let mut at_key = self.below(key);
            let secret =
                at_key.root.nearest(&at_key.path).spelling == Spelling::Referred || text.contains('@');
            let problem = if secret { "the value is wrong".to_owned() } else { format!("`{text}` is wrong") };
            at_key.mistake(problem, expected);
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
                self.below(key).mistake(format!("{} is out of range", text(value)), expected);
                default
            }
        }
    }
}
