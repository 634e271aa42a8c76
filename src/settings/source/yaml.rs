//! On which line of a YAML text each key stands, and whether the text may be built at all (`bounds.rs`).
//!
//! The `config` crate reads the values and forgets the positions; this runs the parser below it for the
//! positions alone, and before it: what is refused here is never built. `tree.rs` puts both together.

use std::collections::BTreeMap;

use yaml_rust2::{Event, parser::Parser, scanner::Marker};

use super::{
    bounds::{Bounds, Unfit, check_characters},
    shown_key,
};

/// More keys that stand in a table twice say nothing new.
const MOST_TWICE: usize = 100;

/// The line on which each key or list item of a YAML text stands.
#[derive(Debug, Default)]
pub struct Lines {
    root: Position,
    open: Vec<Level>,
    /// Keys that stand in the same table a second time, with that line.
    pub twice: Vec<(String, usize)>,
}

/// The line of a value, and what stands below it.
#[derive(Debug, Default)]
struct Position {
    /// None for the file itself, as long as nothing is in it.
    line: Option<usize>,
    below: BTreeMap<String, Position>,
}

/// A mapping or sequence that the parser is inside of.
#[derive(Debug)]
enum Level {
    Mapping { key: Option<String> },
    Sequence { next: usize },
}

impl Lines {
    /// Reads the positions in a text.
    ///
    /// # Errors
    /// The first thing that keeps it from being read.
    pub fn of(text: &str) -> Result<Self, Unfit> {
        check_characters(text)?;
        let (mut lines, mut bounds) = (Self::default(), Bounds::default());
        let mut parser = Parser::new_from_str(text);
        loop {
            // event by event: `Parser::load` calls itself for each level, which has no end to it
            let (event, mark) = parser.next_token()?;
            if event == Event::StreamEnd {
                return Ok(lines);
            }
            bounds.take(&event, mark)?;
            lines.take(event, mark);
        }
    }

    /// The line of a path, or of its nearest ancestor that has one.
    pub fn line(&self, path: &[String]) -> Option<usize> {
        let (mut position, mut line) = (&self.root, self.root.line);
        for key in path {
            let Some(below) = position.below.get(key) else { break };
            (position, line) = (below, below.line.or(line));
        }
        line
    }

    /// True for a text without a key: comments alone, or YAML's null.
    pub fn is_empty(&self) -> bool {
        self.root.below.is_empty()
    }

    /// Whether the text has something at a path.
    pub fn has(&self, path: &[String]) -> bool {
        let mut position = Some(&self.root);
        for key in path {
            position = position.and_then(|position| position.below.get(key));
        }
        position.is_some_and(|position| position.line.is_some())
    }

    fn path(&self) -> impl Iterator<Item = String> {
        self.open.iter().filter_map(|level| match level {
            Level::Mapping { key } => key.clone(),
            Level::Sequence { next } => Some(next.to_string()),
        })
    }

    /// A value has ended: the mapping awaits its next key, the sequence its next item.
    fn value_ended(&mut self) {
        match self.open.last_mut() {
            Some(Level::Mapping { key }) => *key = None,
            Some(Level::Sequence { next }) => *next += 1,
            None => {}
        }
    }

    /// Notes the line of the value that begins, unless it has one; whether it has.
    fn value_started(&mut self, mark: Marker) -> bool {
        let path: Vec<String> = self.path().collect();
        let mut position = &mut self.root;
        for key in path {
            position = position.below.entry(key).or_default();
        }
        let is_known = position.line.is_some();
        position.line.get_or_insert(mark.line());
        is_known
    }

    fn take(&mut self, event: Event, mark: Marker) {
        match event {
            Event::Scalar(text, ..) => match self.open.last_mut() {
                Some(Level::Mapping { key: key @ None }) => {
                    *key = Some(text);
                    // the key's own line, which is where the reader looks
                    if self.value_started(mark) && self.twice.len() < MOST_TWICE {
                        let path: Vec<String> = self.path().collect();
                        let shown = shown_key::joined(path.iter().map(String::as_str));
                        self.twice.push((shown, mark.line()));
                    }
                }
                _ => {
                    self.value_started(mark);
                    self.value_ended();
                }
            },
            Event::Alias(_) => self.value_ended(),
            Event::MappingStart(..) => {
                self.value_started(mark);
                self.open.push(Level::Mapping { key: None });
            }
            Event::SequenceStart(..) => {
                self.value_started(mark);
                self.open.push(Level::Sequence { next: 0 });
            }
            Event::MappingEnd | Event::SequenceEnd => {
                self.open.pop();
                self.value_ended();
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(path: &str) -> Vec<String> {
        path.split('.').map(str::to_owned).collect()
    }

    #[test]
    fn keys_and_list_items_have_the_line_they_stand_on() {
        let text = "# a comment\nuri: /aws/*\nmethods:\n  - GET\n  - POST\napi_gateway:\n  authorization:\n    apikey: k\n";
        let lines = Lines::of(text).unwrap();
        assert_eq!(lines.line(&path("uri")), Some(2));
        assert_eq!(lines.line(&path("methods.1")), Some(5));
        assert_eq!(lines.line(&path("api_gateway.authorization.apikey")), Some(8));
    }

    #[test]
    fn a_path_that_is_not_there_has_the_line_of_its_nearest_ancestor() {
        let lines = Lines::of("a:\n  b: 1\n").unwrap();
        assert_eq!(lines.line(&path("a.c.d")), Some(1));
    }

    #[test]
    fn a_value_behind_an_alias_does_not_shift_the_keys_after_it() {
        let lines = Lines::of("a: &x\n  b: 1\nc: *x\nd: 2\n").unwrap();
        assert_eq!(lines.line(&path("d")), Some(4));
    }
}
