//! The settings as one tree: files merged with the environment by the `config` crate, every value
//! knowing where it was written.
//!
//! `document.rs` comes before it, `reference.rs` and `reader.rs` after. The `config` crate keeps no line
//! numbers and no bounds, so the same YAML parser runs before it for these alone (`lines.rs`).

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
};

use config::{Config, Value, ValueKind};

use super::{
    bounds::Unfit,
    document::{Document, Subject},
    lines::Lines,
    mistake::{Mistake, Mistakes, Place},
    shown_key,
    sources::{self, Placed, without_mark},
};

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

    /// The files that values were read from, and those of certificates and their keys that are named.
    pub fn files(&self, found: &mut Vec<PathBuf>) {
        const NAME_FILES: [&str; 3] = ["ca_certificate", "client_certificate", "client_key"];
        found.extend(self.file.clone());
        match &self.content {
            Content::List(list) => list.iter().for_each(|node| node.files(found)),
            Content::Table(table) => {
                for (key, node) in table {
                    if let (true, Content::Text(path)) = (NAME_FILES.contains(&&**key), &node.content)
                        && path.starts_with(['/', '.'])
                    {
                        found.push(path.into());
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

/// Merges the documents and lays the environment over them.
pub fn merge(documents: &[Document], environment: &Environment, mistakes: &mut Mistakes) -> Node {
    let lines: Vec<Result<Lines, Unfit>> =
        documents.iter().map(|document| Lines::of(without_mark(&document.text))).collect();
    let mut builder = Config::builder();
    for (index, document) in documents.iter().enumerate() {
        if let Some(table) = sources::parse(document, &lines[index], mistakes) {
            builder = builder.add_source(Placed { index, table, subject: document.subject.clone() });
        }
    }
    let lines: Vec<Lines> = lines.into_iter().map(Result::unwrap_or_default).collect();
    let overrides = sources::overrides(environment, mistakes);
    match builder.add_source(overrides).build() {
        Ok(config) => Annotator::of(documents, environment, &lines).node(config.cache, &mut Vec::new()),
        Err(error) => {
            mistakes.push(Mistake::new(Place::file("settings"), "", error.to_string()));
            Node::empty()
        }
    }
}

/// The part of a path that lies inside a document.
fn inside<'p>(document: &Document, path: &'p [String]) -> &'p [String] {
    match document.subject {
        Subject::Process => path,
        Subject::Route(_) => path.get(2..).unwrap_or_default(),
    }
}

/// Turns `config`'s values into nodes that know their file and line.
struct Annotator<'a> {
    documents: &'a [Document],
    environment: &'a Environment,
    lines: &'a [Lines],
    /// The documents about the process, in their order.
    of_process: Vec<usize>,
    /// Those of each route, in theirs: there may be thousands of routes, and more nodes.
    of_routes: HashMap<&'a str, Vec<usize>>,
}

impl<'a> Annotator<'a> {
    fn of(documents: &'a [Document], environment: &'a Environment, lines: &'a [Lines]) -> Self {
        let (mut of_process, mut of_routes) = (Vec::new(), HashMap::<&str, Vec<usize>>::new());
        for (index, document) in documents.iter().enumerate() {
            match &document.subject {
                Subject::Process => of_process.push(index),
                Subject::Route(stem) => of_routes.entry(stem).or_default().push(index),
            }
        }
        Self { documents, environment, lines, of_process, of_routes }
    }

    /// The documents that may hold what is at a path.
    fn candidates(&self, path: &[String]) -> impl Iterator<Item = usize> {
        let of_route = match path {
            [first, stem, ..] if first == ROUTES => self.of_routes.get(stem.as_str()),
            _ => None,
        };
        self.of_process.iter().chain(of_route.into_iter().flatten()).copied()
    }

    fn node(&self, value: Value, path: &mut Vec<String>) -> Node {
        let (place, notation) = self.place(value.origin(), path);
        let content = match value.kind {
            ValueKind::Nil => Content::Null,
            ValueKind::Boolean(value) => Content::Boolean(value),
            ValueKind::I64(value) => Content::Integer(value.into()),
            ValueKind::I128(value) => Content::Integer(value),
            ValueKind::U64(value) => Content::Integer(value.into()),
            ValueKind::U128(value) => Content::Integer(i128::try_from(value).unwrap_or(i128::MAX)),
            ValueKind::Float(value) => Content::Float(value),
            ValueKind::String(value) => Content::Text(value),
            ValueKind::Array(list) => Content::List(
                list.into_iter()
                    .enumerate()
                    .map(|(index, value)| self.descend(index.to_string(), value, path))
                    .collect(),
            ),
            ValueKind::Table(table) => Content::Table(
                table.into_iter().map(|(key, value)| (key.clone(), self.descend(key, value, path))).collect(),
            ),
        };
        Node { content, place, notation, file: None }
    }

    fn descend(&self, key: String, value: Value, path: &mut Vec<String>) -> Node {
        path.push(key);
        let node = self.node(value, path);
        path.pop();
        node
    }

    fn place(&self, origin: Option<&str>, path: &[String]) -> (Place, Notation) {
        let index = match origin {
            Some(origin) => origin.parse::<usize>().ok(),
            // a table that several sources share has lost its origin; if a file has it, it is the file's
            None => self.document_with(path),
        };
        let Some(index) = index else {
            let levels: Vec<String> = path.iter().map(|level| level.to_uppercase()).collect();
            let name = format!("{VARIABLE_PREFIX}{VARIABLE_SEPARATOR}{}", levels.join(VARIABLE_SEPARATOR));
            if !self.environment.keys().any(|set| set.to_uppercase().starts_with(&name)) {
                // a file with nothing in it
                return (self.file_of(path), Notation::Typed);
            }
            return (Place::file(format!("environment variable {name}")), Notation::Text);
        };
        let document = &self.documents[index];
        let line = self.lines[index].line(inside(document, path));
        (Place { source: document.source.clone(), line }, Notation::Typed)
    }

    /// The file that a path belongs to, whether it says anything or not.
    fn file_of(&self, path: &[String]) -> Place {
        let is_route = |index: &usize| matches!(self.documents[*index].subject, Subject::Route(_));
        let in_routes = path.first().is_some_and(|first| first == ROUTES);
        let own = self.candidates(path).find(|index| is_route(index) == in_routes);
        Place::file(own.map_or("settings", |index| &self.documents[index].source))
    }

    fn document_with(&self, path: &[String]) -> Option<usize> {
        self.candidates(path).find(|index| self.lines[*index].has(inside(&self.documents[*index], path)))
    }
}
