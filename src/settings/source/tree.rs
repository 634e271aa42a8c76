//! The settings as a tree of values, each with the place where it was written.
//!
//! `yaml.rs` makes trees of the files and `overrides.rs` one of the environment; `reference.rs` and `reader.rs` come
//! next.

use std::{collections::BTreeMap, path::PathBuf};

use super::{mistake::Place, shown_key};

/// Variables that start so override the files: `APIGW_INVOKER__LISTEN__HTTP`.
pub const VARIABLE_PREFIX: &str = "APIGW_INVOKER";
/// Stands between the levels of a variable's name.
pub const VARIABLE_SEPARATOR: &str = "__";
/// The key of what lies beneath every route.
pub const DEFAULTS: &str = "defaults";
/// The key under which routes hang, each by the stem of its file.
pub const ROUTES: &str = "routes";

/// The process's environment, or a stand-in for it.
pub type Environment = BTreeMap<String, String>;

/// A value and where it was written. Has no `Debug`: it may hold a secret.
#[derive(Clone)]
pub struct Node {
    /// The value.
    pub content: Content,
    /// Where it was written.
    pub place: Place,
    /// How the text came about, which decides how strictly it is read and whether it may be quoted.
    pub notation: Notation,
    /// The file that a reference led to.
    pub file: Option<PathBuf>,
}

/// The files that the values of a tree lead to.
#[derive(Debug, Clone)]
pub struct LinkedFiles {
    pub paths: Vec<PathBuf>,
    /// False if a value names a file in another way than by a path that begins with `/` or `.`.
    pub is_complete: bool,
}

/// How a value was spelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notation {
    /// In YAML, with YAML's types.
    Typed,
    /// In an environment variable, where everything is text.
    Text,
    /// By a reference such as `$env://NAME`: text, and never quoted, since it may be a secret.
    Reference,
}

/// What a node holds.
#[derive(Clone)]
pub enum Content {
    Null,
    Boolean(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Table(BTreeMap<String, Node>),
}

impl Node {
    /// An empty table that was written nowhere.
    pub fn empty() -> Self {
        Self {
            content: Content::Table(BTreeMap::new()),
            place: Place::file("settings"),
            notation: Notation::Typed,
            file: None,
        }
    }

    /// Finds the files that values were read from, and those of certificates and their keys that are named.
    pub fn files(&self, found: &mut LinkedFiles) {
        const NAME_FILES: [&str; 3] = ["ca_certificate", "client_certificate", "client_key"];
        found.paths.extend(self.file.clone());
        match &self.content {
            Content::List(list) => list.iter().for_each(|node| node.files(found)),
            Content::Table(table) => {
                for (key, node) in table {
                    if let (true, Content::Text(path)) = (NAME_FILES.contains(&&**key), &node.content) {
                        if path.starts_with(['/', '.']) {
                            found.paths.push(path.into());
                        } else {
                            found.is_complete = false;
                        }
                    }
                    node.files(found);
                }
            }
            Content::Null
            | Content::Boolean(_)
            | Content::Integer(_)
            | Content::Float(_)
            | Content::Text(_) => {}
        }
    }

    /// Tells the path of each text that a reference has yielded.
    pub fn references(&self, path: &mut Vec<String>, tell: &mut impl FnMut(&[String])) {
        match &self.content {
            Content::Table(table) => {
                for (key, node) in table {
                    path.push(key.clone());
                    node.references(path, tell);
                    path.pop();
                }
            }
            _ if self.notation == Notation::Reference => tell(path),
            _ => {}
        }
    }

    /// The child at `key`, if this is a table that has it.
    pub fn child(&self, key: &str) -> Option<&Self> {
        match &self.content {
            Content::Table(table) => table.get(key),
            _ => None,
        }
    }

    /// The node at a path, or the nearest ancestor that was written.
    pub fn nearest(&self, path: &[String]) -> &Self {
        let Some((first, rest)) = path.split_first() else { return self };
        let next = match &self.content {
            Content::Table(table) => table.get(first),
            Content::List(list) => first.parse::<usize>().ok().and_then(|index| list.get(index)),
            _ => None,
        };
        next.map_or(self, |node| node.nearest(rest))
    }

    /// Where the value at a path was written, and the key's path in that file: a route's file does not name
    /// the route again, and what a route has from `defaults` stands there.
    pub fn locate(&self, path: &[String]) -> (Place, String) {
        let place = self.nearest(path).place.clone();
        let key = match path {
            [first, stem, rest @ ..] if first == ROUTES => {
                let own = &self.nearest(&[first.clone(), stem.clone()]).place.source;
                let elsewhere = place.line.is_some() && place.source != *own;
                let section = elsewhere.then(|| DEFAULTS.to_owned());
                shown_key::joined(section.as_deref().into_iter().chain(rest.iter().map(String::as_str)))
            }
            all => shown_key::joined(all.iter().map(String::as_str)),
        };
        (place, key)
    }

    /// Takes the node at a path out of the tree.
    pub fn remove(&mut self, path: &[String]) -> Option<Self> {
        let (first, rest) = path.split_first()?;
        match &mut self.content {
            Content::Table(table) if rest.is_empty() => table.remove(first),
            Content::Table(table) => table.get_mut(first)?.remove(rest),
            Content::List(list) => {
                let index = first.parse::<usize>().ok().filter(|index| *index < list.len())?;
                if rest.is_empty() { Some(list.remove(index)) } else { list[index].remove(rest) }
            }
            _ => None,
        }
    }

    /// A table with this child alone.
    pub fn with_child(key: &str, child: Self) -> Self {
        Self { content: Content::Table(BTreeMap::from([(key.to_owned(), child)])), ..Self::empty() }
    }

    /// Lays another tree over this one: values of the other replace those here, and tables of both are merged.
    pub fn override_with(&mut self, other: Self) {
        match (&mut self.content, other.content) {
            (Content::Table(own), Content::Table(others)) => {
                for (key, node) in others {
                    match own.get_mut(&key) {
                        Some(existing) => existing.override_with(node),
                        None => drop(own.insert(key, node)),
                    }
                }
            }
            (_, table @ Content::Table(_)) => self.content = table,
            (_, content) => *self = Self { content, ..other },
        }
    }

    /// Puts `beneath` under this tree: what this one says stays.
    pub fn fill(&mut self, beneath: &Self) {
        if let (Content::Table(own), Content::Table(other)) = (&mut self.content, &beneath.content) {
            for (key, node) in other {
                match own.get_mut(key) {
                    Some(existing) => existing.fill(node),
                    None => drop(own.insert(key.clone(), node.clone())),
                }
            }
        }
    }
}
