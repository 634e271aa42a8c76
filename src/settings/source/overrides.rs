//! Environment variables that override the files, as a tree, read by the `config` crate.
//!
//! `loader/reading.rs` merges it into the trees of the files.

use config::{Config, Map, Value, ValueKind};

use super::{
    mistake::{Mistake, Mistakes, Place},
    tree::{Content, Environment, Node, Notation},
    yaml::{MAX_LEVELS, is_path},
};
use crate::text::log_safe::log_safe;

/// Variables with this prefix override the files: `APIGW_INVOKER__LISTEN__HTTP`.
const VARIABLE_PREFIX: &str = "APIGW_INVOKER";
/// Between the levels of a variable's name.
const VARIABLE_SEPARATOR: &str = "__";
/// Characters of a variable's name that a mistake shows.
const MAX_SHOWN_NAME_CHARS: usize = 100;

/// The tree of the variables that override the files; an empty table if there is none.
pub fn overrides(environment: &Environment, mistakes: &mut Mistakes) -> Node {
    let variables = variables(environment, mistakes);
    let source = config::Environment::with_prefix(VARIABLE_PREFIX)
        .prefix_separator(VARIABLE_SEPARATOR)
        .separator(VARIABLE_SEPARATOR)
        .ignore_empty(true)
        .source(Some(variables));
    match Config::builder().add_source(source).build() {
        Ok(config) => node(config.cache, &mut Vec::new()),
        Err(error) => {
            mistakes.push(Mistake::new(Place::file("settings"), "", error.to_string()));
            Node::empty()
        }
    }
}

/// The variables that override the files. A name that could be no key of a file is a mistake.
fn variables(environment: &Environment, mistakes: &mut Mistakes) -> Map<String, String> {
    let prefix = format!("{VARIABLE_PREFIX}{VARIABLE_SEPARATOR}");
    let is_ours = |name: &str| name.to_uppercase().starts_with(&prefix);
    let mut variables = Map::new();
    for (name, value) in environment.iter().filter(|(name, _)| is_ours(name)) {
        if is_path(name) || name.matches(VARIABLE_SEPARATOR).count() > MAX_LEVELS {
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

/// Variables are texts, and their levels are tables.
fn node(value: Value, path: &mut Vec<String>) -> Node {
    let levels: Vec<String> = path.iter().map(|level| level.to_uppercase()).collect();
    let name = format!("{VARIABLE_PREFIX}{VARIABLE_SEPARATOR}{}", levels.join(VARIABLE_SEPARATOR));
    let content = match value.kind {
        ValueKind::Table(table) => {
            let children = table.into_iter().map(|(key, value)| {
                path.push(key.clone());
                let child = node(value, path);
                path.pop();
                (key, child)
            });
            Content::Table(children.collect())
        }
        ValueKind::String(text) => Content::Text(text),
        _ => Content::Null,
    };
    let place = Place::file(format!("environment variable {name}"));
    Node { content, place, notation: Notation::Text, file: None, secret: None }
}
