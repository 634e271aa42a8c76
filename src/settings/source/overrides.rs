//! What the `config` crate merges: each document, parsed once it is known to be within bounds, and the
//! environment.
//!
//! `tree.rs` comes here and makes nodes of the result.

use config::{Config, ConfigError, FileFormat, Map, Source, Value, ValueKind};

use super::{
    bounds::{MOST_LEVELS, Unfit, is_path},
    document::{Document, Subject},
    lines::Lines,
    mistake::{Mistake, Mistakes, Place},
    tree::{Environment, ROUTES, VARIABLE_PREFIX, VARIABLE_SEPARATOR},
};
use crate::text::log_safe::log_safe;

/// Characters of a variable's name that a mistake shows.
const LONGEST_NAME: usize = 100;

/// The environment as a source that overrides the files.
pub fn overrides(environment: &Environment, mistakes: &mut Mistakes) -> config::Environment {
    config::Environment::with_prefix(VARIABLE_PREFIX)
        .prefix_separator(VARIABLE_SEPARATOR)
        .separator(VARIABLE_SEPARATOR)
        .ignore_empty(true)
        .source(Some(variables(environment, mistakes)))
}

/// The variables that override the files, without those that no file could be written like.
fn variables(environment: &Environment, mistakes: &mut Mistakes) -> Map<String, String> {
    let prefix = format!("{VARIABLE_PREFIX}{VARIABLE_SEPARATOR}");
    let is_ours = |name: &str| name.to_uppercase().starts_with(&prefix);
    let mut variables = Map::new();
    for (name, value) in environment.iter().filter(|(name, _)| is_ours(name)) {
        if is_path(name) || name.matches(VARIABLE_SEPARATOR).count() > MOST_LEVELS {
            let place = Place::file(format!("environment variable {}", log_safe(name, LONGEST_NAME)));
            let expected =
                format!("{VARIABLE_PREFIX}, and before each level of the key {VARIABLE_SEPARATOR}");
            mistakes.push(Mistake::new(place, "", "does not name a key").expected(expected));
        } else {
            variables.insert(name.clone(), value.clone());
        }
    }
    variables
}

/// Parses one document; its syntax errors carry their line.
pub fn parse(
    document: &Document,
    lines: &Result<Lines, Unfit>,
    mistakes: &mut Mistakes,
) -> Option<Map<String, Value>> {
    let at = |line| Place { source: document.source.clone(), line };
    match lines {
        Err(Unfit { line, problem, expected }) => {
            let mut mistake = Mistake::new(at(Some(*line)), "", problem);
            mistake.expected.clone_from(expected);
            mistakes.push(mistake);
            return None;
        }
        Ok(lines) if !lines.twice.is_empty() => {
            for (key, line) in &lines.twice {
                mistakes.push(Mistake::new(at(Some(*line)), key, "duplicate key"));
            }
            return None;
        }
        // of `~` the `config` crate makes no table
        Ok(lines) if lines.is_empty() => return Some(Map::new()),
        Ok(_) => {}
    }
    let parsed = Config::builder()
        .add_source(config::File::from_str(without_mark(&document.text), FileFormat::Yaml))
        .build()
        .and_then(|config| config.cache.into_table());
    match parsed {
        Ok(mut table) => {
            if document.subject == Subject::Process && table.remove(ROUTES).is_some() {
                // the environment may name a route's keys so, a file may not
                let line = lines.as_ref().ok().and_then(|lines| lines.line(&[ROUTES.to_owned()]));
                let mistake = Mistake::new(at(line), ROUTES, "routes are not read from this file");
                mistakes.push(mistake.expected("each in a file of its own, routes/NAME.yaml"));
            }
            Some(table)
        }
        Err(error) => {
            mistakes.push(Mistake::new(at(None), "", format!("not valid YAML: {}", innermost(&error))));
            None
        }
    }
}

/// A text without the byte order mark that some editors put before UTF-8 (YAML 1.2.2, 5.2). The parser takes
/// it for a part of the first key.
pub fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// The cause at the bottom of an error, which is the one that says what is wrong.
fn innermost(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), innermost)
}

/// One parsed document at its place in the tree, each value marked with the document's index.
#[derive(Debug, Clone)]
pub struct Placed {
    /// The document's, by which a value's place is found again.
    pub index: usize,
    /// What is in it.
    pub table: Map<String, Value>,
    /// What it describes.
    pub subject: Subject,
}

impl Source for Placed {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        let origin = self.index.to_string();
        let table: Map<String, Value> =
            self.table.iter().map(|(key, value)| (key.clone(), marked(value, &origin))).collect();
        Ok(match &self.subject {
            Subject::Process => table,
            Subject::Route(stem) => {
                let route = Value::new(Some(&origin), ValueKind::Table(table));
                let routes = Map::from_iter([(stem.clone(), route)]);
                Map::from_iter([(ROUTES.to_owned(), Value::new(Some(&origin), ValueKind::Table(routes)))])
            }
        })
    }
}

fn marked(value: &Value, origin: &String) -> Value {
    let kind = match &value.kind {
        ValueKind::Table(table) => {
            ValueKind::Table(table.iter().map(|(key, value)| (key.clone(), marked(value, origin))).collect())
        }
        ValueKind::Array(list) => ValueKind::Array(list.iter().map(|value| marked(value, origin)).collect()),
        other => other.clone(),
    };
    Value::new(Some(origin), kind)
}
