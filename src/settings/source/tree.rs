//! The settings as one tree, in which each value has the place where it was written.

use std::{collections::BTreeMap, path::PathBuf};

use super::{mistake::Place, remote_secret::NamedSecret, shown_key};

/// The key of what all routes share.
pub const DEFAULTS: &str = "defaults";
/// The key of the routes, each by the stem of its file.
pub const ROUTES: &str = "routes";

/// The process's environment variables.
pub type Environment = BTreeMap<String, String>;

/// A value and where it was written. Has no `Debug`: it may hold a secret.
#[derive(Clone)]
pub struct Node {
    pub content: Content,
    /// Where it was written.
    pub place: Place,
    pub notation: Notation,
    /// The file that a reference named.
    pub file: Option<PathBuf>,
    /// The secret in AWS that a reference named.
    pub secret: Option<Box<NamedSecret>>,
}

/// The files that the values of a tree name.
#[derive(Debug, Clone)]
pub struct LinkedFiles {
    pub paths: Vec<PathBuf>,
    /// False if a value names a file by a path that begins with neither `/` nor `.`.
    pub is_complete: bool,
}

/// The notation of a value, which decides how strictly it is read and whether it may be quoted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notation {
    /// In YAML, with YAML's types.
    Typed,
    /// In an environment variable, where everything is text.
    Text,
    /// By a reference such as `$env://NAME`: text that is never quoted, since it may be a secret.
    Reference,
}

#[derive(Clone)]
pub enum Content {
    Null,
    Boolean(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    /// Items by their index as written, which stays when another item is removed.
    List(BTreeMap<usize, Node>),
    Table(BTreeMap<String, Node>),
}

impl Node {
    /// An empty table without a file.
    pub fn empty() -> Self {
        Self {
            content: Content::Table(BTreeMap::new()),
            place: Place::file("settings"),
            notation: Notation::Typed,
            file: None,
            secret: None,
        }
    }

    /// A table with one child.
    pub fn with_child(key: &str, child: Self) -> Self {
        Self { content: Content::Table(BTreeMap::from([(key.to_owned(), child)])), ..Self::empty() }
    }

    /// Visits the node and all below it, each with its path.
    pub fn walk<'n>(&'n self, path: &mut Vec<String>, visit: &mut impl FnMut(&[String], &'n Self)) {
        visit(path, self);
        let mut child = |key: String, node: &'n Self| {
            path.push(key);
            node.walk(path, visit);
            path.pop();
        };
        match &self.content {
            Content::List(list) => list.iter().for_each(|(index, node)| child(index.to_string(), node)),
            Content::Table(table) => table.iter().for_each(|(key, node)| child(key.clone(), node)),
            _ => {}
        }
    }

    /// The secrets in AWS that the values name.
    pub fn secrets(&self) -> Vec<NamedSecret> {
        let mut found: Vec<NamedSecret> = Vec::new();
        self.walk(&mut Vec::new(), &mut |_, node| {
            found.extend(node.secret.as_deref().filter(|named| !found.contains(named)).cloned());
        });
        found
    }

    /// The child at `key`.
    pub fn child(&self, key: &str) -> Option<&Self> {
        match &self.content {
            Content::Table(table) => table.get(key),
            Content::List(list) => list.get(&key.parse().ok()?),
            _ => None,
        }
    }

    /// The node at a path of tables.
    pub fn descendant_mut(&mut self, path: &[String]) -> Option<&mut Self> {
        path.iter().try_fold(self, |node, key| match &mut node.content {
            Content::Table(table) => table.get_mut(key),
            _ => None,
        })
    }

    /// The node at a path, or its nearest ancestor that was written.
    pub fn nearest(&self, path: &[String]) -> &Self {
        let Some((first, rest)) = path.split_first() else { return self };
        self.child(first).map_or(self, |node| node.nearest(rest))
    }

    /// The place of the value at a path, and the key's path in its file; a value from `defaults` is below
    /// that key.
    pub fn locate(&self, path: &[String]) -> (Place, String) {
        let place = self.nearest(path).place.clone();
        let mut key = key_in_file(path);
        if let [first, stem, ..] = path
            && first == ROUTES
            && place.line.is_some()
            && place.source != self.nearest(&[first.clone(), stem.clone()]).place.source
        {
            key = if key.is_empty() { DEFAULTS.to_owned() } else { format!("{DEFAULTS}.{key}") };
        }
        (place, key)
    }

    /// Takes the node at a path out of the tree.
    pub fn remove(&mut self, path: &[String]) -> Option<Self> {
        let (first, rest) = path.split_first()?;
        match &mut self.content {
            Content::Table(table) if rest.is_empty() => table.remove(first),
            Content::Table(table) => table.get_mut(first)?.remove(rest),
            Content::List(list) if rest.is_empty() => list.remove(&first.parse().ok()?),
            Content::List(list) => list.get_mut(&first.parse().ok()?)?.remove(rest),
            _ => None,
        }
    }

    /// Replaces values by those of another tree, and merges tables that both have.
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

    /// Adds the values of `beneath` where this tree has none.
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

/// The path of a key inside its file, where the file of a route does not name the route.
pub fn key_in_file(path: &[String]) -> String {
    let inside = match path {
        [first, _, rest @ ..] if first == ROUTES => rest,
        all => all,
    };
    shown_key::joined(inside.iter().map(String::as_str))
}
