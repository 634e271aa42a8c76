//! A YAML text as nodes of the settings' tree, each with the line of its key.
//!
//! The texts are read event by event: `bounds.rs` refuses a text before a value is built that is too deep or too large.
//! `yaml-rust2` decides the types of plain scalars.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use yaml_rust2::{
    Event, Yaml,
    parser::{Parser, Tag},
    scanner::{Marker, TScalarStyle},
};

use super::{
    bounds::{Bounds, Unfit, check_characters},
    mistake::Place,
    shown_key,
    tree::{Content, Node, Notation},
};

/// More duplicate keys are not reported.
const MOST_DUPLICATES: usize = 100;
/// The handle of YAML's own tags, such as `!!int`.
const CORE_TAGS: &str = "tag:yaml.org,2002:";

/// A YAML text, parsed.
pub struct Parsed {
    /// An empty table for a text without a key.
    pub root: Node,
    /// Keys that stand in the same table a second time, with that line.
    pub duplicates: Vec<(String, usize)>,
}

/// Parses a text of the file `source`.
///
/// # Errors
/// The first reason why the text cannot be read.
pub fn parse(text: &str, source: &Arc<str>) -> Result<Parsed, Unfit> {
    check_characters(text)?;
    let mut builder = Builder::new(source);
    // some editors put a byte order mark before UTF-8 (YAML 1.2.2, 5.2), which the parser takes for a part of a key
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (mut bounds, mut parser) = (Bounds::default(), Parser::new_from_str(text));
    loop {
        // event by event: `Parser::load` recurses for each level, without a limit
        let (event, mark) = parser.next_token()?;
        if event == Event::StreamEnd {
            return Ok(builder.finish());
        }
        bounds.take(&event, mark)?;
        builder.take(event, mark)?;
    }
}

struct Builder<'s> {
    source: &'s Arc<str>,
    root: Option<Node>,
    open: Vec<Level>,
    /// Values with an anchor, by the parser's number of the anchor.
    anchors: HashMap<usize, Content>,
    duplicates: Vec<(String, usize)>,
}

/// A table or list that the parser is inside of.
struct Level {
    content: Collection,
    anchor: usize,
    line: usize,
}

enum Collection {
    Table {
        table: BTreeMap<String, Node>,
        /// The key whose value comes next, and its line.
        key: Option<(String, usize)>,
    },
    List(Vec<Node>),
}

impl<'s> Builder<'s> {
    fn new(source: &'s Arc<str>) -> Self {
        Self { source, root: None, open: Vec::new(), anchors: HashMap::new(), duplicates: Vec::new() }
    }

    fn take(&mut self, event: Event, mark: Marker) -> Result<(), Unfit> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let value = scalar(text, style, tag.as_ref());
                if self.is_key_next() {
                    return self.key(value, anchor, mark);
                }
                let line = self.line_of_value(mark);
                self.add(content(value), anchor, line);
            }
            Event::Alias(anchor) => {
                // an alias in a list has no line of its own
                let line = match self.open.last() {
                    Some(Level { content: Collection::List(_), line, .. }) => *line,
                    _ => self.line_of_value(mark),
                };
                let mut content = self.anchors.get(&anchor).cloned().unwrap_or(Content::Null);
                move_to_line(&mut content, line);
                self.add(content, 0, line);
            }
            Event::MappingStart(anchor, _) => {
                let line = self.line_of_value(mark);
                let content = Collection::Table { table: BTreeMap::new(), key: None };
                self.open.push(Level { content, anchor, line });
            }
            Event::SequenceStart(anchor, _) => {
                let line = self.line_of_value(mark);
                self.open.push(Level { content: Collection::List(Vec::new()), anchor, line });
            }
            Event::MappingEnd | Event::SequenceEnd => {
                if let Some(Level { content, anchor, line }) = self.open.pop() {
                    let content = match content {
                        Collection::Table { table, .. } => Content::Table(table),
                        Collection::List(list) => Content::List(list),
                    };
                    self.add(content, anchor, line);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn is_key_next(&self) -> bool {
        matches!(self.open.last(), Some(Level { content: Collection::Table { key: None, .. }, .. }))
    }

    /// Notes a key. Its duplicates are reported with the path.
    fn key(&mut self, value: Yaml, anchor: usize, mark: Marker) -> Result<(), Unfit> {
        let name = match value {
            Yaml::String(name) | Yaml::Real(name) => name,
            Yaml::Integer(number) => number.to_string(),
            Yaml::Boolean(boolean) => boolean.to_string(),
            _ => return Err(Unfit::null_key(mark)),
        };
        if anchor > 0 {
            self.anchors.insert(anchor, Content::Text(name.clone()));
        }
        let Some(Level { content: Collection::Table { table, key }, .. }) = self.open.last_mut() else {
            return Ok(());
        };
        let is_duplicate = table.contains_key(&name);
        *key = Some((name, mark.line()));
        if is_duplicate && self.duplicates.len() < MOST_DUPLICATES {
            let path: Vec<String> = self.open.iter().map(Level::next).collect();
            let shown = shown_key::joined(path.iter().map(String::as_str));
            self.duplicates.push((shown, mark.line()));
        }
        Ok(())
    }

    /// The line of the value that begins: the line of its key, if it has one.
    fn line_of_value(&self, mark: Marker) -> usize {
        match self.open.last() {
            Some(Level { content: Collection::Table { key: Some((_, line)), .. }, .. }) => *line,
            _ => mark.line(),
        }
    }

    fn add(&mut self, content: Content, anchor: usize, line: usize) {
        if anchor > 0 {
            self.anchors.insert(anchor, content.clone());
        }
        let place = Place { source: Arc::clone(self.source), line: Some(line) };
        let node = Node { content, place, notation: Notation::Typed, file: None };
        match self.open.last_mut().map(|level| &mut level.content) {
            Some(Collection::Table { table, key }) => {
                if let Some((key, _)) = key.take() {
                    table.insert(key, node);
                }
            }
            Some(Collection::List(list)) => list.push(node),
            None => self.root = Some(node),
        }
    }

    fn finish(self) -> Parsed {
        let mut root = self
            .root
            .unwrap_or_else(|| Node { place: Place::file(Arc::clone(self.source)), ..Node::empty() });
        // `bounds.rs` takes no other root than a table or null
        if let Content::Null | Content::Text(_) = root.content {
            root.content = Content::Table(BTreeMap::new());
        }
        Parsed { root, duplicates: self.duplicates }
    }
}

impl Level {
    /// The name of the value that comes next.
    fn next(&self) -> String {
        match &self.content {
            Collection::Table { key, .. } => key.as_ref().map(|(name, _)| name.clone()).unwrap_or_default(),
            Collection::List(list) => list.len().to_string(),
        }
    }
}

/// The typed value of a scalar. Only plain scalars have another type than text, and a tag of YAML's own decides it.
fn scalar(text: String, style: TScalarStyle, tag: Option<&Tag>) -> Yaml {
    if style != TScalarStyle::Plain {
        return Yaml::String(text);
    }
    let Some(tag) = tag else { return Yaml::from_str(&text) };
    let typed = match (tag.handle.as_str(), tag.suffix.as_str()) {
        (CORE_TAGS, "bool" | "int" | "float" | "null") => Yaml::from_str(&text),
        _ => return Yaml::String(text),
    };
    match (tag.suffix.as_str(), typed) {
        ("bool", boolean @ Yaml::Boolean(_)) => boolean,
        ("int", integer @ Yaml::Integer(_)) => integer,
        ("float", Yaml::Integer(_) | Yaml::Real(_)) => Yaml::Real(text),
        _ => Yaml::Null,
    }
}

fn content(value: Yaml) -> Content {
    match value {
        Yaml::Boolean(boolean) => Content::Boolean(boolean),
        Yaml::Integer(number) => Content::Integer(number.into()),
        Yaml::Real(number) => number.parse().map_or(Content::Text(number), Content::Float),
        Yaml::String(text) => Content::Text(text),
        _ => Content::Null,
    }
}

/// Gives all that is behind an alias the line of the alias.
fn move_to_line(content: &mut Content, line: usize) {
    let move_node = |node: &mut Node| {
        node.place.line = Some(line);
        move_to_line(&mut node.content, line);
    };
    match content {
        Content::Table(table) => table.values_mut().for_each(move_node),
        Content::List(list) => list.iter_mut().for_each(move_node),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Node {
        parse(text, &"file".into()).unwrap().root
    }

    fn line(text: &str, path: &str) -> Option<usize> {
        let path: Vec<String> = path.split('.').map(str::to_owned).collect();
        parsed(text).nearest(&path).place.line
    }

    #[test]
    fn keys_and_list_items_have_the_line_they_stand_on() {
        let text = "# a comment\nuri: /aws/*\nmethods:\n  - GET\n  - POST\napi_gateway:\n  authorization:\n    apikey: k\n";
        assert_eq!(line(text, "uri"), Some(2));
        assert_eq!(line(text, "methods.1"), Some(5));
        assert_eq!(line(text, "api_gateway.authorization.apikey"), Some(8));
    }

    #[test]
    fn a_path_that_is_not_there_has_the_line_of_its_nearest_ancestor() {
        assert_eq!(line("a:\n  b: 1\n", "a.c.d"), Some(1));
    }

    #[test]
    fn a_value_behind_an_alias_has_the_line_of_the_alias_and_shifts_no_key() {
        let text = "a: &x\n  b: 1\nc: *x\nd: 2\n";
        assert_eq!(line(text, "d"), Some(4));
        assert_eq!(line(text, "c.b"), Some(3));
        assert!(matches!(parsed(text).nearest(&["c".into(), "b".into()]).content, Content::Integer(1)));
    }

    #[test]
    fn plain_scalars_have_yamls_types_and_all_others_are_texts() {
        let text = |text: &str| match parsed(&format!("a: {text}\n")).child("a").unwrap().content.clone() {
            Content::Null => "null".to_owned(),
            Content::Boolean(value) => format!("boolean {value}"),
            Content::Integer(value) => format!("integer {value}"),
            Content::Float(value) => format!("float {value}"),
            Content::Text(value) => format!("text {value}"),
            Content::List(_) | Content::Table(_) => "more".to_owned(),
        };
        for (written, expected) in [
            ("true", "boolean true"),
            ("yes", "text yes"),
            ("'true'", "text true"),
            ("0x10", "integer 16"),
            ("1.50", "float 1.5"),
            ("\"1.5\"", "text 1.5"),
            ("~", "null"),
            ("", "null"),
            ("!!str 7", "text 7"),
            ("!!int 7", "integer 7"),
            ("!!int x", "null"),
            ("!!float 7", "float 7"),
            ("!own 7", "text 7"),
            ("99999999999999999999", "float 100000000000000000000"),
        ] {
            assert_eq!(text(written), expected, "{written}");
        }
    }

    #[test]
    fn keys_are_texts_whatever_their_type() {
        let root = parsed("a: { 007: a, true: b, 1.5: c }\n");
        let keys = root.child("a").unwrap();
        assert!(["7", "true", "1.5"].iter().all(|key| keys.child(key).is_some()));
        let refused = parse("~: a\n", &"file".into()).err().unwrap();
        assert_eq!((refused.line, refused.problem.as_str()), (1, "null as a key"));
    }

    #[test]
    fn a_key_that_is_there_twice_is_found_with_its_path_and_second_line() {
        let found =
            parse("a: 1\nb: { c: 1, d: [{ e: 1, e: 2 }] }\na: 2\n", &"file".into()).unwrap().duplicates;
        assert_eq!(found, [("b.d.0.e".to_owned(), 2), ("a".to_owned(), 3)]);
    }
}
