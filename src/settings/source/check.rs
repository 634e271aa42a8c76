//! Finds mistakes of sense: a cursor over the tree that knows where the key under check was written.

use std::path::PathBuf;

use super::{
    declaration::{Key, Kind},
    key_type::KeyType,
    mistake::{Mistake, Mistakes, Place, invalid_value},
    secrecy::Secrecy,
    tree::{Environment, LinkedFiles, Node},
};
use crate::settings::schema::key_at;

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
    pub fn at(&mut self, key: &str) -> Checker<'_> {
        let mut path = self.path.clone();
        path.push(key.to_owned());
        Checker { root: self.root, environment: self.environment, path, mistakes: self.mistakes }
    }

    /// Goes down to the key at a path.
    pub fn at_path(&mut self, path: &[&str]) -> Checker<'_> {
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
    pub fn has_error(&mut self, key: &str) -> bool {
        let child = self.at(key);
        let (place, key) = child.root.locate(&child.path);
        child.mistakes.has_error(&place.source, &key)
    }

    /// As much of the value at a key as a mistake may quote, by the key's declaration.
    pub fn quotable(&mut self, key: &str, text: &str) -> Option<String> {
        let child = self.at(key);
        Secrecy::of_key(&child.path).quotable(text, child.root.nearest(&child.path).notation)
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
        self.root.nearest(&self.path).references(&mut self.path.clone(), &mut |path| {
            if is_hidden(path) {
                found.push(path[self.path.len()..].to_vec());
            }
        });
        found
    }

    /// The file that the value at a key was read from, if it is a reference to one.
    pub fn file_of(&mut self, key: &str) -> Option<PathBuf> {
        let child = self.at(key);
        child.root.nearest(&child.path).file.clone()
    }

    /// Every file that something written leads to.
    pub fn files(&self) -> LinkedFiles {
        let mut files = LinkedFiles { paths: Vec::new(), is_complete: true };
        self.root.files(&mut files);
        files
    }

    /// Reports a mistake at the current key.
    pub fn report(&mut self, problem: impl Into<String>, expected: impl Into<String>) {
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
            let problem = invalid_value(self.quotable(key, text).as_deref());
            self.at(key).report(problem, expected);
        }
        parsed
    }

    /// The value of a key, or its default.
    pub fn settled<T: KeyType>(&mut self, key: &Key, written: Option<T>) -> T::Checked {
        self.checked(key, written).unwrap_or_else(|| T::standard(key))
    }

    /// The value of a key, if one is written that is right.
    pub fn checked<T: KeyType>(&mut self, key: &Key, written: Option<T>) -> Option<T::Checked> {
        written?.checked(key, self)
    }

    /// The declaration of the key below the current one.
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        let mut path = self.path.clone();
        path.push(name.to_owned());
        key_at(&path)
    }

    /// Whether a quantity is within the range of its key, else a mistake with its text. Durations are in nanoseconds.
    pub fn is_within(&mut self, key: &Key, quantity: i128, text: impl FnOnce() -> String) -> bool {
        let Some((least, most)) = key.kind.bounds() else { return true };
        let may_be_none = matches!(key.kind, Kind::DurationOrNone(..));
        if (least..=most).contains(&quantity) || (may_be_none && quantity == 0) {
            return true;
        }
        let [least_text, most_text] = [least, most].map(|bound| key.kind.text(bound));
        if may_be_none && quantity < least {
            let expected = format!("at least {least_text}, or 0 for none");
            self.at(key.name).report("too short", expected);
        } else {
            self.out_of_range(key, &text(), &format!("{least_text} to {most_text}"));
        }
        false
    }

    /// Reports a value outside of the range of its key.
    pub fn out_of_range(&mut self, key: &Key, text: &str, expected: &str) {
        let value = self.quotable(key.name, text).unwrap_or_else(|| "the value".to_owned());
        self.at(key.name).report(format!("{value} is out of range"), expected);
    }
}
