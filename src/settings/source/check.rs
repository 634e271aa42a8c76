//! Checks of values: a cursor over the tree that has the place of the key under check.

use std::{fmt, path::PathBuf};

use super::{
    declaration::{Key, Kind},
    key_type::KeyType,
    mistake::{Mistake, Mistakes, Place, invalid_value},
    remote_secret::NamedSecret,
    secrecy::Secrecy,
    tree::{Content, Environment, LinkedFiles, Node, Notation},
};
use crate::settings::schema::key_at;

/// Keys with the path of a PEM file.
const PEM_KEYS: [&str; 3] = ["ca_certificate", "client_certificate", "client_key"];

/// Collects mistakes below one key path.
pub struct Checker<'a> {
    root: &'a Node,
    environment: &'a Environment,
    path: Vec<String>,
    mistakes: &'a mut Mistakes,
    /// The keys are those of `defaults`, and a route may add others to them.
    is_partial: bool,
}

impl<'a> Checker<'a> {
    /// Starts at the root.
    pub fn new(root: &'a Node, environment: &'a Environment, mistakes: &'a mut Mistakes) -> Self {
        Self { root, environment, path: Vec::new(), mistakes, is_partial: false }
    }

    /// Leaves out mistakes that a further key in a route would correct.
    pub fn partial(self) -> Self {
        Self { is_partial: true, ..self }
    }

    /// A variable of the process's environment that is not empty.
    pub fn variable(&self, name: &str) -> Option<String> {
        self.environment.get(name).filter(|value| !value.is_empty()).cloned()
    }

    /// Goes down to `key`.
    pub fn at(&mut self, key: &str) -> Checker<'_> {
        self.at_path(&[key])
    }

    /// Goes down to the key at a path.
    pub fn at_path(&mut self, path: &[&str]) -> Checker<'_> {
        let path = self.path_of(path);
        self.with_path(path)
    }

    fn with_path(&mut self, path: Vec<String>) -> Checker<'_> {
        let Self { root, environment, is_partial, .. } = *self;
        Checker { root, environment, path, mistakes: self.mistakes, is_partial }
    }

    fn path_of(&self, below: &[&str]) -> Vec<String> {
        self.path.iter().cloned().chain(below.iter().map(|key| (*key).to_owned())).collect()
    }

    /// The place of the key at a path; `None` if it was not written.
    pub fn place_of(&self, path: &[&str]) -> Option<Place> {
        let node = self.path_of(path).iter().try_fold(self.root, |node, key| node.child(key))?;
        Some(node.place.clone())
    }

    /// The place of the current key.
    pub fn place(&self) -> Place {
        self.root.nearest(&self.path).place.clone()
    }

    /// True if a mistake about a key below the current one has been reported.
    pub fn has_error(&self, key: &str) -> bool {
        let (place, key) = self.root.locate(&self.path_of(&[key]));
        self.mistakes.has_error(&place.source, &key)
    }

    /// True if an unknown key of the current table is probably a misspelled `name`.
    pub fn has_misspelled(&self, name: &str) -> bool {
        let (place, key) = self.root.locate(&self.path);
        self.mistakes.iter().any(|mistake| {
            let table = mistake.key.rsplit_once('.').map_or("", |(table, _)| table);
            mistake.place.source == place.source && table == key && mistake.nearest.as_deref() == Some(name)
        })
    }

    /// The indices, as written, of the items that the current list still has.
    pub fn indices(&self) -> Option<Vec<String>> {
        match &self.root.nearest(&self.path).content {
            Content::List(list) => Some(list.keys().map(usize::to_string).collect()),
            _ => None,
        }
    }

    /// As much of the value at a key as a mistake may quote, by the key's declaration.
    pub fn quotable(&self, key: &str, text: &str) -> Option<String> {
        let path = self.path_of(&[key]);
        Secrecy::of_key(&path).quotable(text, self.root.nearest(&path).notation)
    }

    /// The value at a key in quotes, or `otherwise` where it may be a secret.
    pub fn quoted(&self, key: &str, text: &str, otherwise: &str) -> String {
        self.quotable(key, text).map_or_else(|| otherwise.to_owned(), |text| format!("`{text}`"))
    }

    /// The paths below the current key of the values from a reference that are not shown for it.
    pub fn hidden_references(&self) -> Vec<Vec<String>> {
        let mut found = Vec::new();
        self.root.nearest(&self.path).walk(&mut self.path.clone(), &mut |path, node| {
            let is_hidden = Secrecy::of_key(path) == Secrecy::Reference || node.secret.is_some();
            if node.notation == Notation::Reference && is_hidden {
                found.push(path[self.path.len()..].to_vec());
            }
        });
        found
    }

    /// The secrets in AWS that values below the current key name.
    pub fn secrets(&self) -> Vec<NamedSecret> {
        self.root.nearest(&self.path).secrets()
    }

    /// True if the value at a key came from a reference.
    pub fn is_reference(&self, key: &str) -> bool {
        self.root.nearest(&self.path_of(&[key])).notation == Notation::Reference
    }

    /// The file that the value at a key was read from by a reference.
    pub fn file_of(&self, key: &str) -> Option<PathBuf> {
        self.root.nearest(&self.path_of(&[key])).file.clone()
    }

    /// Every file that a reference or the path of a PEM file names.
    pub fn files(&self) -> LinkedFiles {
        let mut files = LinkedFiles { paths: Vec::new(), is_complete: true };
        self.root.walk(&mut Vec::new(), &mut |path, node| {
            files.paths.extend(node.file.clone());
            if let (Some(key), Content::Text(text)) = (path.last(), &node.content)
                && PEM_KEYS.contains(&&**key)
            {
                if text.starts_with(['/', '.']) {
                    files.paths.push(text.into());
                } else {
                    files.is_complete = false;
                }
            }
        });
        files
    }

    /// Reports a mistake at the current key.
    pub fn report(&mut self, problem: impl Into<String>, expected: impl Into<String>) {
        if self.is_partial && self.place_of(&[]).is_none() {
            return;
        }
        let (place, key) = self.root.locate(&self.path);
        self.mistakes.push(Mistake::new(place, key, problem).expected(expected));
    }

    /// Reports a problem of the file at `key`, with its path unless that may be a secret.
    pub fn report_file(&mut self, key: &str, path: &str, problem: &dyn fmt::Display, expected: &str) {
        let problem = match self.quotable(key, path) {
            Some(path) => format!("{path}: {problem}"),
            None => problem.to_string(),
        };
        self.at(key).report(problem, expected);
    }

    /// Reports that the current key needs another one, which is missing.
    pub fn report_incomplete(&mut self, problem: impl Into<String>, expected: impl Into<String>) {
        if !self.is_partial {
            self.report(problem, expected);
        }
    }

    /// Reports a warning at the current key, whose value stays valid.
    pub fn warn(&mut self, warning: impl Into<String>) {
        let (place, key) = self.root.locate(&self.path);
        self.mistakes.warn(Mistake::new(place, key, warning));
    }

    /// The parsed text, or a mistake at `key` that quotes it, unless it may hold a secret.
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

    /// The value of a key, if a valid one is written.
    pub fn checked<T: KeyType>(&mut self, key: &Key, written: Option<T>) -> Option<T::Checked> {
        written?.checked(key, self)
    }

    /// The declaration of a key below the current one.
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        key_at(&self.path_of(&[name]))
    }

    /// True if a quantity is within the range of its key; otherwise a mistake with its text. Durations are in
    /// nanoseconds.
    pub fn is_within(&mut self, key: &Key, quantity: i128, text: impl FnOnce() -> String) -> bool {
        let Some((least, most)) = key.kind.bounds() else { return true };
        let unit = key.kind.unit();
        let may_be_none = matches!(key.kind, Kind::DurationOrNone(..));
        if (least * unit..=most * unit).contains(&quantity) || (may_be_none && quantity == 0) {
            return true;
        }
        let [least_text, most_text] = [least, most].map(|bound| key.kind.text(bound));
        if may_be_none && quantity < least * unit {
            let expected = format!("at least {least_text}, or 0 for none");
            self.at(key.name).report("too short", expected);
        } else {
            self.out_of_range(key, &text(), &format!("{least_text} to {most_text}"));
        }
        false
    }

    /// Reports a value out of the range of its key.
    pub fn out_of_range(&mut self, key: &Key, text: &str, expected: &str) {
        let value = self.quotable(key.name, text).unwrap_or_else(|| "the value".to_owned());
        self.at(key.name).report(format!("{value} is out of range"), expected);
    }
}
