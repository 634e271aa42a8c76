//! On which line of a YAML text each key stands.
//!
//! The `config` crate reads the values and forgets the positions; this runs the parser below it again for
//! the positions alone. `tree.rs` puts both together.

use std::collections::BTreeMap;

use yaml_rust2::{
    Event,
    parser::{MarkedEventReceiver, Parser},
    scanner::Marker,
};

/// The line on which each key or list item of a YAML text stands.
#[derive(Debug, Default)]
pub struct Lines {
    by_path: BTreeMap<Vec<String>, usize>,
    open: Vec<Level>,
    /// Keys that stand in the same table a second time, with that line.
    pub twice: Vec<(String, usize)>,
}

/// A mapping or sequence that the parser is inside of.
#[derive(Debug)]
enum Level {
    Mapping { key: Option<String> },
    Sequence { next: usize },
}

impl Lines {
    /// Reads the positions in a text; the error is the first syntax error.
    pub fn of(text: &str) -> Result<Self, yaml_rust2::ScanError> {
        let mut lines = Self::default();
        Parser::new_from_str(text).load(&mut lines, false)?;
        Ok(lines)
    }

    /// The line of a path, or of its nearest ancestor that has one.
    pub fn line(&self, path: &[String]) -> Option<usize> {
        (0..=path.len()).rev().find_map(|length| self.by_path.get(&path[..length])).copied()
    }

    /// Whether the text has something at a path.
    pub fn has(&self, path: &[String]) -> bool {
        self.by_path.contains_key(path)
    }

    fn path(&self) -> Vec<String> {
        self.open
            .iter()
            .filter_map(|level| match level {
                Level::Mapping { key } => key.clone(),
                Level::Sequence { next } => Some(next.to_string()),
            })
            .collect()
    }

    /// A value has ended: the mapping awaits its next key, the sequence its next item.
    fn value_ended(&mut self) {
        match self.open.last_mut() {
            Some(Level::Mapping { key }) => *key = None,
            Some(Level::Sequence { next }) => *next += 1,
            None => {}
        }
    }

    fn value_started(&mut self, mark: Marker) {
        let path = self.path();
        self.by_path.entry(path).or_insert(mark.line());
    }
}

impl MarkedEventReceiver for Lines {
    fn on_event(&mut self, event: Event, mark: Marker) {
        match event {
            Event::Scalar(text, ..) => match self.open.last_mut() {
                Some(Level::Mapping { key: key @ None }) => {
                    *key = Some(text);
                    let path = self.path();
                    if self.by_path.contains_key(&path) {
                        self.twice.push((path.join("."), mark.line()));
                    }
                    // the key's own line, which is where the reader looks
                    self.value_started(mark);
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
