//! YAML of a settings file, parsed into nodes of the settings' tree, each with its line.
//!
//! The reader takes the parser's events one by one and counts before it builds: a few bytes of nested lists
//! overflow the stack of a recursive reader, and a few bytes of nested aliases fill the memory. YAML without
//! a meaning in settings (a second document, merge keys, a list as a key) is refused with its line.

pub(super) mod node_size;

use std::{
    collections::{BTreeMap, HashMap},
    iter,
    sync::Arc,
};

use yaml_rust2::{
    Event, ScanError, Yaml, YamlLoader,
    parser::{MarkedEventReceiver as _, Parser, Tag},
    scanner::{Marker, TScalarStyle},
};

use self::node_size::{Excess, NodeSize};
use super::{
    mistake::Place,
    shown_key,
    tree::{Content, Node, Notation},
};

/// Levels of lists and tables. The settings have eight, and `body` takes JSON.
pub const MAX_LEVELS: usize = 32;
/// Values with keys, and bytes of all texts, those behind aliases each time. A route with every key has a
/// hundred values.
const MAX_SIZE: NodeSize = NodeSize { values: 10_000, bytes: 1 << 20 };
/// Of a key (YAML 1.2.2, 7.4.2: implicit keys are limited to 1,024 characters).
const MAX_KEY_BYTES: usize = 1024;
/// Of a key that a mistake repeats.
const MAX_SHOWN_KEY_BYTES: usize = 60;
/// Duplicate keys that are reported.
const MAX_DUPLICATES: usize = 100;
/// The parser's message about a text with more levels of brackets than it counts.
pub(super) const PARSER_LEVELS: &str = "recursion limit exceeded";

/// A parsed document.
pub struct ParsedYaml {
    /// The table of its keys, empty for a document without any.
    pub root: Node,
    /// Duplicate keys by their paths, with the line of the second.
    pub duplicates: Vec<(String, usize)>,
}

/// The reason why a text is refused, and its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct YamlError {
    /// Counted from 1.
    pub line: usize,
    /// As one clause.
    pub problem: String,
    pub expected: Option<String>,
}

impl YamlError {
    fn new(mark: Marker, problem: impl Into<String>, expected: impl Into<String>) -> Self {
        Self { line: mark.line(), problem: problem.into(), expected: Some(expected.into()) }
    }

    fn levels(mark: Marker) -> Self {
        Self::new(mark, "nested too deep", format!("at most {MAX_LEVELS} levels of lists and tables"))
    }

    fn key(found: &str, mark: Marker) -> Self {
        Self::new(mark, format!("{found} as a key"), "a key that is a text")
    }

    fn root(found: &str, mark: Marker) -> Self {
        let expected = "a table of keys such as `uri: /aws/*`, and each route in a file of its own";
        Self::new(mark, format!("found {found}"), expected)
    }
}

impl From<ScanError> for YamlError {
    fn from(error: ScanError) -> Self {
        if error.info() == PARSER_LEVELS {
            return Self::levels(*error.marker());
        }
        let problem = format!("not valid YAML: {}", error.info());
        Self { line: error.marker().line(), problem, expected: None }
    }
}

/// Parses a text of the file `source`.
///
/// # Errors
/// The first reason why the text is refused.
pub fn parse(text: &str, source: &Arc<str>) -> Result<ParsedYaml, YamlError> {
    parse_with(YamlReader::new(source), text)
}

/// As [`parse`], and the root may be a list.
#[cfg(feature = "dev")]
pub fn parse_list(text: &str, source: &Arc<str>) -> Result<ParsedYaml, YamlError> {
    parse_with(YamlReader { takes_list: true, ..YamlReader::new(source) }, text)
}

fn parse_with(mut reader: YamlReader<'_>, text: &str) -> Result<ParsedYaml, YamlError> {
    // the parser takes a byte order mark (YAML 1.2.2, 5.2) for a part of the first key
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    check_characters(text)?;
    let mut parser = Parser::new_from_str(text);
    loop {
        // `Parser::load` recurses for each level without a limit
        let (event, mark) = parser.next_token()?;
        if event == Event::StreamEnd {
            return Ok(ParsedYaml { root: reader.root, duplicates: reader.duplicates });
        }
        reader.take(event, mark)?;
    }
}

/// A list or table whose end has not been read.
struct OpenNode {
    anchor: usize,
    line: usize,
    /// Of all values before it.
    size_before: NodeSize,
    items: OpenItems,
}

enum OpenItems {
    List(BTreeMap<usize, Node>),
    Table {
        entries: BTreeMap<String, Node>,
        /// The key whose value comes next, and its line.
        key: Option<(String, usize)>,
    },
}

struct YamlReader<'s> {
    source: &'s Arc<str>,
    root: Node,
    duplicates: Vec<(String, usize)>,
    open: Vec<OpenNode>,
    anchors: HashMap<usize, (Content, NodeSize)>,
    size: NodeSize,
    /// A document has begun.
    has_begun: bool,
    /// The root may be a list.
    takes_list: bool,
}

impl<'s> YamlReader<'s> {
    fn new(source: &'s Arc<str>) -> Self {
        Self {
            source,
            root: Node { place: Place::file(Arc::clone(source)), ..Node::empty() },
            duplicates: Vec::new(),
            open: Vec::new(),
            anchors: HashMap::new(),
            size: NodeSize::default(),
            has_begun: false,
            takes_list: false,
        }
    }

    fn take(&mut self, event: Event, mark: Marker) -> Result<(), YamlError> {
        match event {
            Event::DocumentStart if self.has_begun => {
                let expected = "one document in a file, and each route in a file of its own";
                return Err(YamlError::new(mark, "a second YAML document begins", expected));
            }
            Event::DocumentStart => self.has_begun = true,
            Event::Scalar(text, style, anchor, tag) if self.expects_key() => {
                self.key(text, style, anchor, tag, mark)?;
            }
            Event::Scalar(text, style, anchor, tag) => {
                if self.open.is_empty() && !matches!(&*text, "" | "~" | "null") {
                    return Err(YamlError::root("a text", mark));
                }
                let (size_before, size) = (self.size, NodeSize::of_text(&text));
                let kind = scalar(text, style, tag, mark)?;
                self.count(size, mark)?;
                self.close(kind, anchor, mark.line(), size_before);
            }
            Event::Alias(_) if self.expects_key() => return Err(YamlError::key("an alias", mark)),
            Event::Alias(anchor) => {
                let Some((kind, size)) = self.anchors.get(&anchor).cloned() else {
                    let expected = "an alias after the end of the node with its anchor";
                    return Err(YamlError::new(
                        mark,
                        "a recursive alias: it is inside its own anchor",
                        expected,
                    ));
                };
                self.count(size, mark)?;
                self.close(kind, 0, mark.line(), self.size);
            }
            Event::SequenceStart(anchor, _) => self.open(anchor, OpenItems::List(BTreeMap::new()), mark)?,
            Event::MappingStart(anchor, _) => {
                self.open(anchor, OpenItems::Table { entries: BTreeMap::new(), key: None }, mark)?;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(OpenNode { anchor, line, size_before, items }) = self.open.pop() {
                    let kind = match items {
                        OpenItems::List(items) => Content::List(items),
                        OpenItems::Table { entries, .. } => Content::Table(entries),
                    };
                    self.close(kind, anchor, line, size_before);
                }
            }
            Event::DocumentEnd | Event::StreamStart | Event::StreamEnd | Event::Nothing => {}
        }
        Ok(())
    }

    fn expects_key(&self) -> bool {
        matches!(self.open.last(), Some(OpenNode { items: OpenItems::Table { key: None, .. }, .. }))
    }

    fn key(
        &mut self,
        text: String,
        style: TScalarStyle,
        anchor: usize,
        tag: Option<Tag>,
        mark: Marker,
    ) -> Result<(), YamlError> {
        check_key(&text, style, mark)?;
        if self.open.len() == 1 && is_path(&text) {
            return Err(path_as_key(&text, mark));
        }
        let size = NodeSize::of_text(&text);
        let kind = scalar(text.clone(), style, tag, mark)?;
        if matches!(kind, Content::Null) {
            return Err(YamlError::key("null", mark));
        }
        self.count(size, mark)?;
        if anchor > 0 {
            self.anchors.insert(anchor, (kind, size));
        }
        let duplicates = &mut self.duplicates;
        if let Some((OpenNode { items: OpenItems::Table { entries, key }, .. }, above)) =
            self.open.split_last_mut()
        {
            if entries.contains_key(&text) && duplicates.len() < MAX_DUPLICATES {
                let path: Vec<String> =
                    above.iter().map(OpenNode::next_name).chain(iter::once(text.clone())).collect();
                duplicates.push((shown_key::joined(path.iter().map(String::as_str)), mark.line()));
            }
            *key = Some((text, mark.line()));
        }
        Ok(())
    }

    fn open(&mut self, anchor: usize, items: OpenItems, mark: Marker) -> Result<(), YamlError> {
        let is_list = matches!(items, OpenItems::List(_));
        if self.open.is_empty() && is_list && !self.takes_list {
            return Err(YamlError::root("a list", mark));
        }
        if self.expects_key() {
            return Err(YamlError::key(if is_list { "a list" } else { "a table" }, mark));
        }
        if self.open.len() == MAX_LEVELS {
            return Err(YamlError::levels(mark));
        }
        self.open.push(OpenNode { anchor, line: mark.line(), size_before: self.size, items });
        self.count(NodeSize::EMPTY, mark)
    }

    fn count(&mut self, size: NodeSize, mark: Marker) -> Result<(), YamlError> {
        let NodeSize { values, bytes } = MAX_SIZE;
        self.size.add(size, MAX_SIZE).map_err(|excess| {
            let (problem, limit) = match excess {
                Excess::Values => ("too many keys and values", values.to_string()),
                Excess::Bytes => ("too much text", format!("{bytes} bytes")),
            };
            let expected = format!("at most {limit} in a file, those behind aliases each time");
            YamlError::new(mark, problem, expected)
        })
    }

    /// Adds a whole value to the list or table around it. An entry of a table has the line of its key.
    fn close(&mut self, kind: Content, anchor: usize, line: usize, size_before: NodeSize) {
        if anchor > 0 {
            self.anchors.insert(anchor, (kind.clone(), self.size.since(size_before)));
        }
        let source = Arc::clone(self.source);
        let is_root = matches!(kind, Content::Table(_) | Content::List(_));
        let node = |line| Node {
            content: kind,
            place: Place { source, line: Some(line) },
            notation: Notation::Typed,
            file: None,
            secret: None,
        };
        match self.open.last_mut().map(|open| &mut open.items) {
            // a document of null has no keys
            None if is_root => self.root = node(line),
            None => {}
            Some(OpenItems::List(items)) => drop(items.insert(items.len(), node(line))),
            Some(OpenItems::Table { entries, key }) => {
                if let Some((key, line)) = key.take() {
                    entries.insert(key, node(line));
                }
            }
        }
    }
}

impl OpenNode {
    /// The name of the entry or item that is being read.
    fn next_name(&self) -> String {
        match &self.items {
            OpenItems::List(items) => items.len().to_string(),
            OpenItems::Table { key, .. } => key.as_ref().map(|(key, _)| key.clone()).unwrap_or_default(),
        }
    }
}

/// A scalar as the parser's own loader resolves it.
pub(super) fn resolved(text: String, style: TScalarStyle, tag: Option<Tag>, mark: Marker) -> Yaml {
    let mut loader = YamlLoader::default();
    loader.on_event(Event::Scalar(text, style, 0, tag), mark);
    loader.on_event(Event::DocumentEnd, mark);
    loader.documents().first().cloned().unwrap_or(Yaml::Null)
}

fn scalar(text: String, style: TScalarStyle, tag: Option<Tag>, mark: Marker) -> Result<Content, YamlError> {
    Ok(match resolved(text, style, tag, mark) {
        Yaml::Boolean(value) => Content::Boolean(value),
        Yaml::Integer(value) => Content::Integer(value),
        // infinity and NaN (YAML 1.2.2, 10.3.2) are valid for no key
        Yaml::Real(text) => match text.parse::<f64>() {
            Ok(value) if value.is_finite() => Content::Float(value),
            _ => {
                return Err(YamlError::new(mark, "not a finite number", "a number, or quotes around a text"));
            }
        },
        Yaml::String(text) => Content::Text(text),
        _ => Content::Null,
    })
}

/// Refuses characters that YAML allows nowhere (YAML 1.2.2, 5.1): the parser ends a text at NUL.
fn check_characters(text: &str) -> Result<(), YamlError> {
    let Some((at, char)) = text.char_indices().find(|(_, char)| !is_printable(*char)) else { return Ok(()) };
    let before = &text[..at];
    let line_start = before.rfind('\n').map_or(0, |end| end + 1);
    let (code, byte) = (u32::from(char), at - line_start + 1);
    Err(YamlError {
        line: before.matches('\n').count() + 1,
        problem: format!("a control character, U+{code:04X}, is byte {byte} of the line"),
        expected: Some(
            "a text without control characters; in double quotes `\\xNN` stands for one".to_owned(),
        ),
    })
}

/// YAML's `c-printable`.
fn is_printable(char: char) -> bool {
    match char {
        '\t' | '\n' | '\r' | '\u{85}' => true,
        '\u{fffe}' | '\u{ffff}' => false,
        other => !other.is_control(),
    }
}

fn check_key(text: &str, style: TScalarStyle, mark: Marker) -> Result<(), YamlError> {
    if text == "<<" && style == TScalarStyle::Plain {
        let expected = "the keys themselves, or what all routes share under `defaults` in default.yaml";
        return Err(YamlError::new(mark, "merge keys (`<<`) are not supported", expected));
    }
    if text.len() > MAX_KEY_BYTES {
        return Err(YamlError::new(mark, "a key too long", format!("at most {MAX_KEY_BYTES} bytes")));
    }
    Ok(())
}

/// True if the `config` crate takes a key at the first level of a file, or a variable's name, for a path: of
/// `a[400000000]` it makes a list of as many items.
pub fn is_path(key: &str) -> bool {
    key.contains(['.', '[', ']'])
}

fn path_as_key(text: &str, mark: Marker) -> YamlError {
    let is_word =
        |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let expected = match text.split_once('.') {
        Some((first, rest)) if text.len() < MAX_SHOWN_KEY_BYTES && is_word(first) && is_word(rest) => {
            format!("`{first}:`, and below it, indented, `{rest}:`")
        }
        _ => "keys one below the other, each on a line of its own".to_owned(),
    };
    YamlError::new(mark, "a key with `.` or `[`", expected)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> Result<ParsedYaml, YamlError> {
        parse(text, &"routes/r.yaml".into())
    }

    #[track_caller]
    fn refused(text: &str) -> (usize, String) {
        let start = Instant::now();
        let error = parsed(text).err().unwrap();
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        (error.line, error.problem)
    }

    /// The line of the value at a path of keys.
    fn line(text: &str, path: &[&str]) -> usize {
        let root = parsed(text).unwrap().root;
        let node = path.iter().fold(&root, |node, key| node.child(key).unwrap());
        assert_eq!(&*node.place.source, "routes/r.yaml");
        node.place.line.unwrap()
    }

    #[test]
    fn keys_and_list_items_have_the_line_they_stand_on() {
        let text = "# a comment\nuri: /aws/*\nmethods:\n  - GET\n  - POST\nvariables:\n  text:\n    \
            apikey:\n      k\n";
        assert_eq!(line(text, &["uri"]), 2);
        assert_eq!(line(text, &["variables", "text", "apikey"]), 8);
        assert_eq!(line(text, &["methods", "1"]), 5);
    }

    #[test]
    fn a_value_behind_an_alias_has_the_line_where_it_was_written_and_keys_after_it_their_own() {
        let text = "a: &x\n  b: 1\nc: *x\nd: 2\n";
        assert_eq!(["c", "d"].map(|key| line(text, &[key])), [3, 4]);
        assert_eq!(line(text, &["c", "b"]), 2);
    }

    #[test]
    fn a_duplicate_key_is_reported_with_its_path_and_line() {
        let parsed = parsed("a:\n  - b: { c: 1, d: 2,\n      c: 3 }\na: 4\n").unwrap();
        assert_eq!(parsed.duplicates, [("a.0.b.c".to_owned(), 3), ("a".to_owned(), 4)]);
    }

    #[test]
    fn x4_depth_is_bounded_whatever_it_is_made_of() {
        let deep = |line| (line, "nested too deep".to_owned());
        assert_eq!(refused(&format!("a:\n{}", "- ".repeat(1500))), deep(2));
        assert_eq!(refused(&format!("a: {}", "[".repeat(1500))), deep(1));
        assert_eq!(refused(&format!("a: {}", "{a: ".repeat(1500))), deep(1));
        let keys: String = (0..100).map(|level| format!("{}a:\n", " ".repeat(level))).collect();
        assert_eq!(refused(&keys), deep(33));
        let most = format!("a: {}1{}", "[".repeat(31), "]".repeat(31));
        assert!(parsed(&most).is_ok());
        assert_eq!(refused(&format!("a: {}1{}", "[".repeat(32), "]".repeat(32))), deep(1));
    }

    #[test]
    fn x4_aliases_count_as_often_as_they_stand_there() {
        let mut laughs = "a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for (name, below) in ["b", "c", "d", "e", "f", "g"].iter().zip(["a", "b", "c", "d", "e", "f"]) {
            let items = vec![format!("*{below}"); 10].join(", ");
            laughs.extend([name, ": &", name, " [", &items, "]\n"]);
        }
        assert_eq!(refused(&laughs), (4, "too many keys and values".to_owned()));
        let text = format!("a: &a {}\nb: [{}]\n", "x".repeat(1000), vec!["*a"; 1100].join(", "));
        assert_eq!(refused(&text), (2, "too much text".to_owned()));
        assert_eq!(refused("a: &a [*a]"), (1, "a recursive alias: it is inside its own anchor".to_owned()));
        assert!(parsed("a: &a [x]\nb: *a\nc: *a\n").is_ok());
    }

    #[test]
    fn x4_a_key_that_is_a_path_makes_no_list_of_any_length() {
        let path = (1, "a key with `.` or `[`".to_owned());
        for key in ["a[400000000]", "a.b", "'x[1]'", "\"x[-1]\"", "a]"] {
            assert_eq!(refused(&format!("{key}: 1\n")), path, "{key}");
        }
        // below the first level no key is a path
        assert!(parsed("a: { 'service.name': x, 'b[1]': y }\n").is_ok());
    }

    #[test]
    fn x4_a_control_character_is_refused_with_its_line_and_byte() {
        for (text, line, told) in [
            ("uri: /a\n\0\ngarbage: [\n", 2, "U+0000, is byte 1 of the line"),
            ("a: b\0", 1, "U+0000, is byte 5 of the line"),
            ("a: é\u{1b}[2J\n", 1, "U+001B, is byte 6 of the line"),
            ("# \u{7f}\n", 1, "U+007F, is byte 3 of the line"),
            ("a: '\u{9b}'\n", 1, "U+009B, is byte 5 of the line"),
            ("a: \u{ffff}\n", 1, "U+FFFF, is byte 4 of the line"),
        ] {
            let (found, problem) = refused(text);
            assert!(found == line && problem.ends_with(told), "{text:?}: {found}: {problem}");
        }
        assert!(parsed("a: \"\\0\"\r\nb:\t'é \u{85}\u{feff}'\n").is_ok());
    }

    #[test]
    fn k7_yaml_that_means_nothing_here_is_refused_with_its_line() {
        assert_eq!(refused("uri: /a\n---\nuri: /b\n"), (2, "a second YAML document begins".to_owned()));
        assert_eq!(
            refused("a: &a {b: 1}\nc:\n  <<: *a\n"),
            (3, "merge keys (`<<`) are not supported".to_owned())
        );
        assert_eq!(refused("# routes\n- uri: /a\n"), (2, "found a list".to_owned()));
        assert_eq!(refused("hello\n"), (1, "found a text".to_owned()));
        assert_eq!(refused("? [a]\n: 1\n"), (1, "a list as a key".to_owned()));
        assert_eq!(refused("? {a: 1}\n: 1\n"), (1, "a table as a key".to_owned()));
        assert_eq!(refused("a: &x b\n*x : 1\n"), (2, "an alias as a key".to_owned()));
        assert_eq!(refused("a: .inf\n"), (1, "not a finite number".to_owned()));
        assert_eq!(refused("a: 1\nlisten.http: 1\n"), (2, "a key with `.` or `[`".to_owned()));
        assert_eq!(refused(&format!("? {}\n: 1\n", "k".repeat(1025))), (1, "a key too long".to_owned()));
        for fits in ["", "# nothing\n", "---\n", "~\n", "--- \na: 1\n...\n", "'<<': 1\n"] {
            assert!(parsed(fits).is_ok(), "{fits}");
        }
    }

    proptest! {
        #[test]
        fn x4_no_text_makes_it_panic_or_take_long(
            pieces in prop::collection::vec(
                prop::sample::select(vec![
                    "a", "b: ", "- ", "? ", ": ", "[", "]", "{", "}", ",", "&a ", "*a", "!t ",
                    "%TAG ! x\n", "---\n", "...\n", "| ", "> ", "'", "\"", "\\x41", "\n", "\n  ", "\t",
                    " ", "#c\n", "\u{feff}", "é", "\r", "\0", "<<: ", "1.5", "|2+\n", "!!float ",
                ]),
                0..40,
            ),
            times in 1..200_usize,
        ) {
            let start = Instant::now();
            let text = pieces.concat().repeat(times);
            let _ = parsed(&text);
            prop_assert!(start.elapsed() < Duration::from_secs(5), "{:?}: {text}", start.elapsed());
        }
    }
}
