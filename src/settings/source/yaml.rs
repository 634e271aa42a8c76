//! YAML of a settings file as nodes of the settings' tree, each with its line.
//!
//! YAML without a meaning in settings (a second document, merge keys, a list as a key) is refused with its
//! line.

pub(super) mod node_size;
pub(super) mod tree;

use std::{collections::BTreeMap, fmt::Display, iter, sync::Arc};

use self::{
    node_size::{Excess, NodeSize},
    tree::{YamlFault, YamlFaultKind, YamlKey, YamlLimits, YamlNode, YamlValue},
};
use super::{
    mistake::Place,
    shown_key,
    tree::{Content, Node, Notation},
};

/// Levels of lists and tables. The settings have eight, and `body` takes JSON.
pub const MAX_LEVELS: usize = 32;
/// A route with every key has a hundred values.
const LIMITS: YamlLimits =
    YamlLimits { levels: MAX_LEVELS, size: NodeSize { values: 10_000, bytes: 1 << 20 } };
/// Of a key (YAML 1.2.2, 7.4.2: implicit keys are limited to 1,024 characters).
const MAX_KEY_BYTES: usize = 1024;
/// Of a key that a mistake repeats.
const MAX_SHOWN_KEY_BYTES: usize = 60;
/// Duplicate keys that are reported.
const MAX_DUPLICATES: usize = 100;

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
    fn new(line: usize, problem: impl Into<String>, expected: impl Into<String>) -> Self {
        Self { line, problem: problem.into(), expected: Some(expected.into()) }
    }

    fn key(found: &str, line: usize) -> Self {
        Self::new(line, format!("{found} as a key"), "a key that is a text")
    }

    fn root(found: &str, line: usize) -> Self {
        let expected = "a table of keys such as `uri: /aws/*`, and each route in a file of its own";
        Self::new(line, format!("found {found}"), expected)
    }

    fn too_large(problem: &str, limit: impl Display, line: usize) -> Self {
        Self::new(line, problem, format!("at most {limit} in a file, those behind aliases each time"))
    }
}

impl From<YamlFault> for YamlError {
    fn from(YamlFault { line, kind }: YamlFault) -> Self {
        let NodeSize { values, bytes } = LIMITS.size;
        match kind {
            YamlFaultKind::Syntax(message) => {
                Self { line, problem: format!("not valid YAML: {message}"), expected: None }
            }
            YamlFaultKind::Levels => {
                Self::new(line, "nested too deep", format!("at most {MAX_LEVELS} levels of lists and tables"))
            }
            YamlFaultKind::Size(Excess::Values) => Self::too_large("too many keys and values", values, line),
            YamlFaultKind::Size(Excess::Bytes) => {
                Self::too_large("too much text", format!("{bytes} bytes"), line)
            }
            YamlFaultKind::RecursiveAlias => {
                let expected = "an alias after the end of the node with its anchor";
                Self::new(line, "a recursive alias: it is inside its own anchor", expected)
            }
            YamlFaultKind::Key(found) => Self::key(found, line),
        }
    }
}

/// Parses a text of the file `source`.
///
/// # Errors
/// The first reason why the text is refused.
pub fn parse(text: &str, source: &Arc<str>) -> Result<ParsedYaml, YamlError> {
    parse_root(text, source, |root| matches!(root, YamlValue::Table(_)))
}

/// As [`parse`], and the root may be a list.
#[cfg(feature = "dev")]
pub fn parse_list(text: &str, source: &Arc<str>) -> Result<ParsedYaml, YamlError> {
    parse_root(text, source, |root| matches!(root, YamlValue::Table(_) | YamlValue::List(_)))
}

fn parse_root(
    text: &str,
    source: &Arc<str>,
    is_root: impl Fn(&YamlValue) -> bool,
) -> Result<ParsedYaml, YamlError> {
    // the parser takes a byte order mark (YAML 1.2.2, 5.2) for a part of the first key
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    check_characters(text)?;
    let mut documents = tree::documents(text, LIMITS)?.into_iter();
    let (first, second) = (documents.next(), documents.next());
    if let Some(second) = second {
        let expected = "one document in a file, and each route in a file of its own";
        return Err(YamlError::new(second.line, "a second YAML document begins", expected));
    }
    let mut reader = YamlReader { source, path: Vec::new(), duplicates: Vec::new(), is_in_alias: false };
    let root = match first.map(|document| document.root) {
        Some(root) if is_root(&root.value) => {
            let content = reader.content(&root)?;
            reader.node(content, root.line)
        }
        // a document of null has no keys
        None | Some(YamlNode { value: YamlValue::Null, .. }) => {
            Node { place: Place::file(Arc::clone(source)), ..Node::empty() }
        }
        Some(YamlNode { value: YamlValue::List(_), line, .. }) => {
            return Err(YamlError::root("a list", line));
        }
        Some(YamlNode { line, .. }) => return Err(YamlError::root("a text", line)),
    };
    Ok(ParsedYaml { root, duplicates: reader.duplicates })
}

/// Makes the settings' nodes of YAML's.
struct YamlReader<'s> {
    source: &'s Arc<str>,
    /// Of the keys and items around the value that is read.
    path: Vec<String>,
    duplicates: Vec<(String, usize)>,
    /// Duplicates behind an alias are reported where they are written.
    is_in_alias: bool,
}

impl YamlReader<'_> {
    fn content(&mut self, node: &YamlNode) -> Result<Content, YamlError> {
        let was_in_alias = self.is_in_alias;
        self.is_in_alias |= node.is_alias;
        let content = match &node.value {
            YamlValue::List(items) => self.list(items)?,
            YamlValue::Table(entries) => self.table(entries)?,
            value => scalar(value, node.line)?,
        };
        self.is_in_alias = was_in_alias;
        Ok(content)
    }

    fn list(&mut self, items: &[YamlNode]) -> Result<Content, YamlError> {
        let mut list = BTreeMap::new();
        for (index, item) in items.iter().enumerate() {
            self.path.push(index.to_string());
            let content = self.content(item)?;
            self.path.pop();
            list.insert(index, self.node(content, item.line));
        }
        Ok(Content::List(list))
    }

    /// An entry has the line of its key.
    fn table(&mut self, entries: &[(YamlKey, YamlNode)]) -> Result<Content, YamlError> {
        let mut table = BTreeMap::new();
        for (key, value) in entries {
            self.check_key(key)?;
            if table.contains_key(&key.text) && !self.is_in_alias && self.duplicates.len() < MAX_DUPLICATES {
                let path = self.path.iter().chain(iter::once(&key.text)).map(String::as_str);
                self.duplicates.push((shown_key::joined(path), key.line));
            }
            self.path.push(key.text.clone());
            let content = self.content(value)?;
            self.path.pop();
            table.insert(key.text.clone(), self.node(content, key.line));
        }
        Ok(Content::Table(table))
    }

    fn node(&self, content: Content, line: usize) -> Node {
        let place = Place { source: Arc::clone(self.source), line: Some(line) };
        Node { content, place, notation: Notation::Typed, file: None, secret: None }
    }

    fn check_key(&self, YamlKey { text, value, is_plain, line }: &YamlKey) -> Result<(), YamlError> {
        if text == "<<" && *is_plain {
            let expected = "the keys themselves, or what all routes share under `defaults` in default.yaml";
            return Err(YamlError::new(*line, "merge keys (`<<`) are not supported", expected));
        }
        if text.len() > MAX_KEY_BYTES {
            return Err(YamlError::new(*line, "a key too long", format!("at most {MAX_KEY_BYTES} bytes")));
        }
        if self.path.is_empty() && is_path(text) {
            return Err(path_as_key(text, *line));
        }
        match scalar(value, *line)? {
            Content::Null => Err(YamlError::key("null", *line)),
            _ => Ok(()),
        }
    }
}

fn scalar(value: &YamlValue, line: usize) -> Result<Content, YamlError> {
    Ok(match value {
        YamlValue::Boolean(value) => Content::Boolean(*value),
        YamlValue::Integer(value) => Content::Integer(*value),
        // infinity and NaN are valid for no key
        YamlValue::Real(text) => match text.parse::<f64>() {
            Ok(value) if value.is_finite() => Content::Float(value),
            _ => {
                return Err(YamlError::new(line, "not a finite number", "a number, or quotes around a text"));
            }
        },
        YamlValue::Text(text) => Content::Text(text.clone()),
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

/// True if the `config` crate takes a key at the first level of a file, or a variable's name, for a path: of
/// `a[400000000]` it makes a list of as many items.
pub fn is_path(key: &str) -> bool {
    key.contains(['.', '[', ']'])
}

fn path_as_key(text: &str, line: usize) -> YamlError {
    let is_word =
        |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let expected = match text.split_once('.') {
        Some((first, rest)) if text.len() < MAX_SHOWN_KEY_BYTES && is_word(first) && is_word(rest) => {
            format!("`{first}:`, and below it, indented, `{rest}:`")
        }
        _ => "keys one below the other, each on a line of its own".to_owned(),
    };
    YamlError::new(line, "a key with `.` or `[`", expected)
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
    fn x4_aliases_add_the_levels_behind_them() {
        let anchored = |levels| format!("a: &a {}1{}\n", "[".repeat(levels), "]".repeat(levels));
        assert!(parsed(&format!("{}b: [*a]\n", anchored(30))).is_ok());
        assert_eq!(refused(&format!("{}b: [*a]\n", anchored(31))), (2, "nested too deep".to_owned()));
    }

    #[test]
    fn a_duplicate_key_behind_an_alias_is_reported_once() {
        let parsed = parsed("a: &a { b: 1, b: 2 }\nc: [*a, *a]\nd: &k e\nf: *k\n").unwrap();
        assert_eq!(parsed.duplicates, [("a.b".to_owned(), 1)]);
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
