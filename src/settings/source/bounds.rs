//! Bounds of a YAML text, counted event by event before a value is built of it: a few bytes of nested lists
//! overflow the stack of whoever builds them, and a few bytes of nested aliases the memory.
//!
//! `yaml.rs` asks for each event. YAML that has no meaning here (a second document, merge keys, a list as a
//! key) is refused here too, where its line is known.

use std::collections::HashMap;

use yaml_rust2::{
    Event, ScanError,
    scanner::{Marker, TScalarStyle},
};

/// Levels of lists and tables. The settings have eight, and `body` takes JSON.
pub const MOST_LEVELS: usize = 32;
/// Values and keys, those behind aliases each time. A route with every key has a hundred.
const MOST_VALUES: u64 = 10_000;
/// Bytes of all texts, those behind aliases each time.
const MOST_BYTES: u64 = 1 << 20;
/// Of a key (YAML 1.2.2, 7.4.2: implicit keys are limited to 1,024 characters).
const LONGEST_KEY: usize = 1024;
/// Of a key that a cure repeats.
const LONGEST_SHOWN: usize = 60;
/// The parser's own words for a text with more levels of brackets than it counts.
const PARSER_LEVELS: &str = "recursion limit exceeded";

/// The reason why a text is not read, and its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfit {
    /// Counted from 1.
    pub line: usize,
    /// As one clause.
    pub problem: String,
    /// The cure.
    pub expected: Option<String>,
}

impl Unfit {
    fn new(mark: Marker, problem: impl Into<String>, expected: impl Into<String>) -> Self {
        Self { line: mark.line(), problem: problem.into(), expected: Some(expected.into()) }
    }

    /// A key that has YAML's null for a name.
    pub fn null_key(mark: Marker) -> Self {
        Self::new(mark, "null as a key", "a key that is a text")
    }

    fn levels(mark: Marker) -> Self {
        Self::new(mark, "nested too deep", format!("at most {MOST_LEVELS} levels of lists and tables"))
    }
}

impl From<ScanError> for Unfit {
    fn from(error: ScanError) -> Self {
        if error.info() == PARSER_LEVELS {
            return Self::levels(*error.marker());
        }
        let problem = format!("not valid YAML: {}", error.info());
        Self { line: error.marker().line(), problem, expected: None }
    }
}

/// The size of a value with all that is below it.
#[derive(Debug, Clone, Copy, Default)]
struct Size {
    values: u64,
    bytes: u64,
}

/// A list or table that the parser is inside of.
#[derive(Debug)]
struct Open {
    anchor: usize,
    before: Size,
    is_table: bool,
    /// In a table: the next value is a key.
    is_key_next: bool,
}

/// Sizes so far.
#[derive(Debug, Default)]
pub struct Bounds {
    total: Size,
    anchors: HashMap<usize, Size>,
    open: Vec<Open>,
    documents: usize,
}

impl Bounds {
    /// Counts an event.
    ///
    /// # Errors
    /// The text exceeds a bound, or has what no settings have.
    pub fn take(&mut self, event: &Event, mark: Marker) -> Result<(), Unfit> {
        match event {
            Event::DocumentStart => self.document(mark),
            Event::Scalar(text, style, anchor, _) => {
                let (before, is_key) = (self.total, self.enter());
                if is_key {
                    key(text, *style, mark)?;
                    if self.open.len() == 1 && is_path(text) {
                        return Err(path_as_key(text, mark));
                    }
                }
                if self.open.is_empty() && !(text.is_empty() || text == "~" || text == "null") {
                    return Err(root("a text", mark));
                }
                if !is_key && *style == TScalarStyle::Plain && is_infinite(text) {
                    return Err(Unfit::new(mark, "not a finite number", "a number, or quotes around a text"));
                }
                self.add(Size { values: 1, bytes: text.len() as u64 }, mark)?;
                self.close(*anchor, before);
                Ok(())
            }
            Event::Alias(anchor) => {
                self.refuse_key("an alias", mark)?;
                let Some(size) = self.anchors.get(anchor).copied() else {
                    let expected = "an alias after the end of the node with its anchor";
                    return Err(Unfit::new(mark, "a recursive alias: it is inside its own anchor", expected));
                };
                self.add(size, mark)
            }
            Event::SequenceStart(anchor, _) => self.start(*anchor, false, mark),
            Event::MappingStart(anchor, _) => self.start(*anchor, true, mark),
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(Open { anchor, before, .. }) = self.open.pop() {
                    self.close(anchor, before);
                }
                Ok(())
            }
            Event::DocumentEnd | Event::StreamStart | Event::StreamEnd | Event::Nothing => Ok(()),
        }
    }

    fn document(&mut self, mark: Marker) -> Result<(), Unfit> {
        self.documents += 1;
        if self.documents == 1 {
            return Ok(());
        }
        let expected = "one document in a file, and each route in a file of its own";
        Err(Unfit::new(mark, "a second YAML document begins", expected))
    }

    /// A value begins where the parser is; whether it is a key.
    fn enter(&mut self) -> bool {
        let Some(open) = self.open.last_mut().filter(|open| open.is_table) else { return false };
        let is_key = open.is_key_next;
        open.is_key_next = !is_key;
        is_key
    }

    fn refuse_key(&mut self, what: &str, mark: Marker) -> Result<(), Unfit> {
        if self.enter() {
            return Err(Unfit::new(mark, format!("{what} as a key"), "a key that is a text"));
        }
        Ok(())
    }

    fn start(&mut self, anchor: usize, is_table: bool, mark: Marker) -> Result<(), Unfit> {
        if self.open.is_empty() && !is_table {
            return Err(root("a list", mark));
        }
        self.refuse_key(if is_table { "a table" } else { "a list" }, mark)?;
        if self.open.len() == MOST_LEVELS {
            return Err(Unfit::levels(mark));
        }
        self.open.push(Open { anchor, before: self.total, is_table, is_key_next: is_table });
        self.add(Size { values: 1, bytes: 0 }, mark)
    }

    fn add(&mut self, size: Size, mark: Marker) -> Result<(), Unfit> {
        self.total.values = self.total.values.saturating_add(size.values);
        self.total.bytes = self.total.bytes.saturating_add(size.bytes);
        if self.total.values > MOST_VALUES {
            let expected = format!("at most {MOST_VALUES} in a file, those behind aliases each time");
            return Err(Unfit::new(mark, "too many keys and values", expected));
        }
        if self.total.bytes > MOST_BYTES {
            let expected = format!("at most {MOST_BYTES} bytes in a file, those behind aliases each time");
            return Err(Unfit::new(mark, "too much text", expected));
        }
        Ok(())
    }

    /// An anchor, if there is one, stands for what has been added since.
    fn close(&mut self, anchor: usize, before: Size) {
        if anchor > 0 {
            let Size { values, bytes } = self.total;
            let size = Size { values: values - before.values, bytes: bytes - before.bytes };
            self.anchors.insert(anchor, size);
        }
    }
}

/// Refuses characters that YAML allows nowhere (YAML 1.2.2, 5.1): the parser ends a text at NUL and takes what
/// is before it for the whole.
///
/// # Errors
/// The first of them, with its line.
pub fn check_characters(text: &str) -> Result<(), Unfit> {
    let Some((at, char)) = text.char_indices().find(|(_, char)| !is_printable(*char)) else { return Ok(()) };
    let before = &text[..at];
    let line_start = before.rfind('\n').map_or(0, |end| end + 1);
    Err(Unfit {
        line: before.matches('\n').count() + 1,
        problem: format!(
            "a control character, U+{:04X}, is byte {} of the line",
            u32::from(char),
            at - line_start + 1
        ),
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

fn key(text: &str, style: TScalarStyle, mark: Marker) -> Result<(), Unfit> {
    if text == "<<" && style == TScalarStyle::Plain {
        let expected = "the keys themselves, or what all routes share under `defaults` in default.yaml";
        return Err(Unfit::new(mark, "merge keys (`<<`) are not supported", expected));
    }
    if text.len() > LONGEST_KEY {
        return Err(Unfit::new(mark, "a key too long", format!("at most {LONGEST_KEY} bytes")));
    }
    Ok(())
}

fn path_as_key(text: &str, mark: Marker) -> Unfit {
    let is_word =
        |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let expected = match text.split_once('.') {
        Some((first, rest)) if text.len() < LONGEST_SHOWN && is_word(first) && is_word(rest) => {
            format!("`{first}:`, and below it, indented, `{rest}:`")
        }
        _ => "keys one below the other, each on a line of its own".to_owned(),
    };
    Unfit::new(mark, "a key with `.` or `[`", expected)
}

/// Whether the `config` crate takes a key at the beginning of a file, or a variable's name, for a path to
/// another: of `a[400000000]` it makes a list of as many items.
pub fn is_path(key: &str) -> bool {
    key.contains(['.', '[', ']'])
}

fn root(found: &str, mark: Marker) -> Unfit {
    let expected = "a table of keys such as `uri: /aws/*`, and each route in a file of its own";
    Unfit::new(mark, format!("found {found}"), expected)
}

/// YAML's infinities and what is no number (YAML 1.2.2, 10.3.2), which no key takes.
fn is_infinite(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    [".inf", ".nan"].iter().any(|word| unsigned.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use crate::settings::source::yaml;

    fn parse(text: &str) -> Result<yaml::Parsed, super::Unfit> {
        yaml::parse(text, &"file".into())
    }

    #[track_caller]
    fn refused(text: &str) -> (usize, String) {
        let start = Instant::now();
        let unfit = parse(text).err().unwrap();
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        (unfit.line, unfit.problem)
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
        assert!(parse(&most).is_ok());
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
        assert!(parse("a: &a [x]\nb: *a\nc: *a\n").is_ok());
    }

    #[test]
    fn x4_a_key_that_is_a_path_makes_no_list_of_any_length() {
        let path = (1, "a key with `.` or `[`".to_owned());
        for key in ["a[400000000]", "a.b", "'x[1]'", "\"x[-1]\"", "a]"] {
            assert_eq!(refused(&format!("{key}: 1\n")), path, "{key}");
        }
        // below the first level no key is a path
        assert!(parse("a: { 'service.name': x, 'b[1]': y }\n").is_ok());
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
        assert!(parse("a: \"\\0\"\r\nb:\t'é \u{85}\u{feff}'\n").is_ok());
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
            assert!(parse(fits).is_ok(), "{fits}");
        }
    }

    proptest! {
        #[test]
        fn x4_no_text_makes_it_panic_or_take_long(
            pieces in prop::collection::vec(
                prop::sample::select(vec![
                    "a", "b: ", "- ", "? ", ": ", "[", "]", "{", "}", ",", "&a ", "*a", "!t ", "%TAG ! x\n", "---\n",
                    "...\n", "| ", "> ", "'", "\"", "\\x41", "\n", "\n  ", "\t", " ", "#c\n", "\u{feff}", "é", "\r",
                    "\0", "<<: ", "1.5", "|2+\n", "!!float ",
                ]),
                0..40,
            ),
            times in 1..200_usize,
        ) {
            let start = Instant::now();
            let text = pieces.concat().repeat(times);
            let _ = parse(&text);
            prop_assert!(start.elapsed() < Duration::from_secs(5), "{:?}: {text}", start.elapsed());
        }
    }
}
