//! Merges the documents with the environment by the `config` crate, and turns the result into nodes that have their
//! file and line.

use std::collections::HashMap;

use config::{Config, Map, Value, ValueKind};

use super::{
    document::{Document, Subject},
    mistake::{Mistake, Mistakes, Place},
    tree::{Content, Environment, Node, Notation, ROUTES},
    yaml::{self, MAX_LEVELS, YamlError, document_and_line},
};
use crate::text::log_safe::log_safe;

/// Variables with this prefix override the files: `APIGW_INVOKER__LISTEN__HTTP`.
const VARIABLE_PREFIX: &str = "APIGW_INVOKER";
/// Between the levels of a variable's name.
const VARIABLE_SEPARATOR: &str = "__";
/// Characters of a variable's name that a mistake shows.
const MAX_SHOWN_NAME_CHARS: usize = 100;

/// Merges the documents, and the environment over them.
pub fn merge(documents: &[Document], environment: &Environment, mistakes: &mut Mistakes) -> Node {
    let mut builder = Config::builder();
    let mut roots = Vec::with_capacity(documents.len());
    for (index, document) in documents.iter().enumerate() {
        let root = parse(document, index, mistakes);
        if let Some(root) = &root {
            let mut source = Config::default();
            source.cache = in_tree(root, &document.subject);
            builder = builder.add_source(source);
        }
        roots.push(root.unwrap_or_default());
    }
    let overrides = config::Environment::with_prefix(VARIABLE_PREFIX)
        .prefix_separator(VARIABLE_SEPARATOR)
        .separator(VARIABLE_SEPARATOR)
        .ignore_empty(true)
        .source(Some(variables(environment, mistakes)));
    match builder.add_source(overrides).build() {
        Ok(config) => NodeBuilder::of(documents, environment, &roots).node(config.cache, &mut Vec::new()),
        Err(error) => {
            mistakes.push(Mistake::new(Place::file("settings"), "", error.to_string()));
            Node::empty()
        }
    }
}

fn parse(document: &Document, index: usize, mistakes: &mut Mistakes) -> Option<Value> {
    let at = |line| Place { source: document.source.clone(), line };
    let mut parsed = match yaml::parse(&document.text, index) {
        Ok(parsed) => parsed,
        Err(YamlError { line, problem, expected }) => {
            mistakes.push(Mistake { expected, ..Mistake::new(at(Some(line)), "", problem) });
            return None;
        }
    };
    for (key, line) in &parsed.duplicates {
        mistakes.push(Mistake::new(at(Some(*line)), key, "duplicate key"));
    }
    if !parsed.duplicates.is_empty() {
        return None;
    }
    // the environment may name a route's keys so, a file may not
    if document.subject == Subject::Process
        && let ValueKind::Table(table) = &mut parsed.root.kind
        && let Some(routes) = table.remove(ROUTES)
    {
        let line = routes.origin().and_then(document_and_line).map(|(_, line)| line);
        let mistake = Mistake::new(at(line), ROUTES, "routes are not read from this file");
        mistakes.push(mistake.expected("each in a file of its own, routes/NAME.yaml"));
    }
    Some(parsed.root)
}

/// The root of a document at its place in the tree.
fn in_tree(root: &Value, subject: &Subject) -> Value {
    let table = match &root.kind {
        ValueKind::Table(table) => table.clone(),
        _ => Map::new(),
    };
    match subject {
        Subject::Process => table.into(),
        Subject::Route(stem) => {
            let routes: Map<String, Value> = Map::from_iter([(stem.clone(), table.into())]);
            Map::from_iter([(ROUTES.to_owned(), Value::from(routes))]).into()
        }
    }
}

/// The variables that override the files. A name that could be no key of a file is a mistake.
fn variables(environment: &Environment, mistakes: &mut Mistakes) -> Map<String, String> {
    let prefix = format!("{VARIABLE_PREFIX}{VARIABLE_SEPARATOR}");
    let mut variables = Map::new();
    for (name, value) in environment.iter().filter(|(name, _)| name.to_uppercase().starts_with(&prefix)) {
        if yaml::is_path(name) || name.matches(VARIABLE_SEPARATOR).count() > MAX_LEVELS {
            let place = Place::file(format!("environment variable {}", log_safe(name, MAX_SHOWN_NAME_CHARS)));
            let expected =
                format!("{VARIABLE_PREFIX}, and before each level of the key {VARIABLE_SEPARATOR}");
            mistakes.push(Mistake::new(place, "", "does not name a key").expected(expected));
        } else {
            variables.insert(name.clone(), value.clone());
        }
    }
    variables
}

/// The value at a path inside a document.
fn value_at<'v>(root: &'v Value, path: &[String]) -> Option<&'v Value> {
    path.iter().try_fold(root, |value, key| match &value.kind {
        ValueKind::Table(table) => table.get(key),
        ValueKind::Array(list) => list.get(key.parse::<usize>().ok()?),
        _ => None,
    })
}

/// The route to which a path leads.
fn route_of(path: &[String]) -> Option<Subject> {
    match path {
        [first, stem, ..] if first == ROUTES => Some(Subject::Route(stem.clone())),
        _ => None,
    }
}

/// Turns the values of `config` into nodes with their places.
struct NodeBuilder<'a> {
    documents: &'a [Document],
    environment: &'a Environment,
    /// The values of each document before the merge.
    roots: &'a [Value],
    /// There may be thousands of routes, and more nodes.
    by_subject: HashMap<&'a Subject, Vec<usize>>,
}

impl<'a> NodeBuilder<'a> {
    fn of(documents: &'a [Document], environment: &'a Environment, roots: &'a [Value]) -> Self {
        let mut by_subject = HashMap::<_, Vec<_>>::new();
        for (index, document) in documents.iter().enumerate() {
            by_subject.entry(&document.subject).or_default().push(index);
        }
        Self { documents, environment, roots, by_subject }
    }

    fn documents_of(&self, subject: &Subject) -> &[usize] {
        self.by_subject.get(subject).map_or(&[], Vec::as_slice)
    }

    /// The value at a path in the first document that has it.
    fn before_merge(&self, path: &[String]) -> Option<&'a Value> {
        let find = |subject: &Subject, inside: &[String]| {
            self.documents_of(subject).iter().find_map(|index| value_at(&self.roots[*index], inside))
        };
        find(&Subject::Process, path).or_else(|| find(&route_of(path)?, &path[2..]))
    }

    fn node(&self, value: Value, path: &mut Vec<String>) -> Node {
        let (place, notation) = self.place(value.origin(), path);
        let content = match value.kind {
            // YAML and variables have no wider integers than 64 bits
            ValueKind::Nil | ValueKind::I128(_) | ValueKind::U64(_) | ValueKind::U128(_) => Content::Null,
            ValueKind::Boolean(value) => Content::Boolean(value),
            ValueKind::I64(value) => Content::Integer(value),
            ValueKind::Float(value) => Content::Float(value),
            ValueKind::String(value) => Content::Text(value),
            ValueKind::Array(list) => Content::List(
                list.into_iter()
                    .enumerate()
                    .map(|(index, value)| (index, self.child(index.to_string(), value, path)))
                    .collect(),
            ),
            ValueKind::Table(table) => Content::Table(
                table.into_iter().map(|(key, value)| (key.clone(), self.child(key, value, path))).collect(),
            ),
        };
        Node { content, place, notation, file: None }
    }

    fn child(&self, key: String, value: Value, path: &mut Vec<String>) -> Node {
        path.push(key);
        let node = self.node(value, path);
        path.pop();
        node
    }

    fn place(&self, origin: Option<&str>, path: &[String]) -> (Place, Notation) {
        // the merge drops the origin of tables
        let origin = origin.or_else(|| self.before_merge(path)?.origin());
        if let Some((index, line)) = origin.and_then(document_and_line) {
            let source = self.documents[index].source.clone();
            return (Place { source, line: Some(line) }, Notation::Typed);
        }
        let levels: Vec<String> = path.iter().map(|level| level.to_uppercase()).collect();
        let name = format!("{VARIABLE_PREFIX}{VARIABLE_SEPARATOR}{}", levels.join(VARIABLE_SEPARATOR));
        if self.environment.keys().any(|set| set.to_uppercase().starts_with(&name)) {
            return (Place::file(format!("environment variable {name}")), Notation::Text);
        }
        // a file without a value
        let own = self.documents_of(&route_of(path).unwrap_or(Subject::Process)).first();
        (Place::file(own.map_or("settings", |index| &self.documents[*index].source)), Notation::Typed)
    }
}
