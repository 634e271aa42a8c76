//! The grammar of JSON (RFC 8259): where a value ends, and whether it is sound.

use super::{Json, text::JsonText};

/// The first byte of a document that JSON does not have there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} at byte {at}")]
pub struct MalformedJson {
    at: usize,
    expected: &'static str,
}

/// A place in a document.
pub struct Scanner<'a> {
    document: &'a str,
    at: usize,
    /// Whether a list has begun and its first item is still to come.
    is_first: bool,
    /// Whether the document has been read before, so that its values need no second look.
    is_sound: bool,
    /// Set by the step that returned `None`. Returning the error itself is slower: it does not fit into registers.
    fault: Option<MalformedJson>,
}

impl<'a> Scanner<'a> {
    /// The start of a document.
    pub fn of(document: &'a str) -> Self {
        Self { document, at: 0, is_first: false, is_sound: false, fault: None }
    }

    /// The start of a value of a document that was read.
    pub fn of_value(value: Json<'a>) -> Self {
        Self { is_sound: true, ..Self::of(value.0) }
    }

    /// Enters the object or array that begins with `open`, if that is what comes next.
    pub fn enter(&mut self, open: u8) -> bool {
        self.is_first = self.next() == Some(open);
        self.at += usize::from(self.is_first);
        self.is_first
    }

    /// The next member of the object that was entered; `None` at its end.
    pub fn member(&mut self) -> Option<(JsonText<'a>, Json<'a>)> {
        if self.item(b'}')? {
            return None;
        }
        let name = self.name()?;
        Some((name, self.value()?))
    }

    /// The next element of the array that was entered; `None` at its end.
    pub fn element(&mut self) -> Option<Json<'a>> {
        if self.item(b']')? { None } else { self.value() }
    }

    /// Goes past what separates two items; true if the list is over.
    fn item(&mut self, close: u8) -> Option<bool> {
        let next = self.next();
        let is_over = next == Some(close);
        if std::mem::take(&mut self.is_first) {
            self.at += usize::from(is_over);
            return Some(is_over);
        }
        if !is_over && next != Some(b',') {
            return self.wrong(AFTER_ITEM);
        }
        self.at += 1;
        Some(is_over)
    }

    /// A value, to its end.
    pub fn value(&mut self) -> Option<Json<'a>> {
        self.next();
        let start = self.at;
        if self.peek() == Some(b'"') {
            self.skip_string()?;
        } else if self.is_sound {
            self.skip_sound_value()?;
        } else {
            self.skip_value()?;
        }
        Some(Json(&self.document[start..self.at]))
    }

    /// Checks that no step has failed and that only whitespace is left.
    pub fn end(mut self) -> Result<(), MalformedJson> {
        if self.fault.is_none() && self.next().is_some() {
            self.wrong::<()>("the end");
        }
        self.fault.map_or(Ok(()), Err)
    }

    /// A member's name and the colon behind it.
    fn name(&mut self) -> Option<JsonText<'a>> {
        if self.next() != Some(b'"') {
            return self.wrong("a name in quotes");
        }
        let start = self.at + 1;
        self.skip_string()?;
        let name = JsonText::of_written(&self.document[start..self.at - 1]);
        if self.next() != Some(b':') {
            return self.wrong("a colon");
        }
        self.at += 1;
        Some(name)
    }

    /// Quotes and brackets tell where a sound value ends.
    fn skip_sound_value(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        while let Some(byte) = self.peek() {
            match byte {
                b'"' => self.skip_string()?,
                b',' | b' ' | b'\t' | b'\n' | b'\r' | b'}' | b']' if depth == 0 => return Some(()),
                _ => {
                    depth += usize::from(matches!(byte, b'{' | b'['));
                    depth -= usize::from(matches!(byte, b'}' | b']'));
                    self.at += 1;
                }
            }
            if depth == 0 && matches!(byte, b'"' | b'}' | b']') {
                return Some(());
            }
        }
        Some(())
    }

    fn skip_value(&mut self) -> Option<()> {
        let mut nesting = Nesting::default();
        loop {
            match self.next() {
                Some(open @ (b'{' | b'[')) => {
                    self.at += 1;
                    let is_object = open == b'{';
                    if self.next() == Some(closing(is_object)) {
                        self.at += 1;
                    } else {
                        nesting.enter(is_object);
                        if is_object {
                            self.name()?;
                        }
                        continue;
                    }
                }
                Some(b'"') => self.skip_string()?,
                Some(b'-' | b'0'..=b'9') => self.skip_number()?,
                _ => self.skip_literal()?,
            }
            if self.leave_lists(&mut nesting)? {
                return Some(());
            }
        }
    }

    /// Goes past what follows a value: to the next one of its list, or past the ends of lists; true after the last.
    fn leave_lists(&mut self, nesting: &mut Nesting) -> Option<bool> {
        while let Some(is_object) = nesting.innermost() {
            let next = self.next();
            if next == Some(b',') {
                self.at += 1;
                if is_object {
                    self.name()?;
                }
                return Some(false);
            }
            if next != Some(closing(is_object)) {
                return self.wrong(AFTER_ITEM);
            }
            self.at += 1;
            nesting.leave();
        }
        Some(true)
    }

    fn skip_string(&mut self) -> Option<()> {
        self.at += 1;
        loop {
            self.at += plain_run(&self.document.as_bytes()[self.at..]);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Some(());
                }
                Some(b'\\') => self.skip_escape()?,
                _ => return self.wrong("the rest of a string"),
            }
        }
    }

    fn skip_escape(&mut self) -> Option<()> {
        self.at += 1;
        let digits = match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 0,
            Some(b'u') => 4,
            _ => return self.wrong("an escape"),
        };
        self.at += 1;
        for _ in 0..digits {
            if !self.peek().is_some_and(|byte| byte.is_ascii_hexdigit()) {
                return self.wrong("a hexadecimal digit");
            }
            self.at += 1;
        }
        Some(())
    }

    fn skip_number(&mut self) -> Option<()> {
        self.take(b'-');
        // no zeros before the first digit
        if !self.take(b'0') {
            self.skip_digits()?;
        }
        match self.peek() {
            Some(b'.' | b'e' | b'E') => self.skip_fraction(),
            _ => Some(()),
        }
    }

    fn skip_fraction(&mut self) -> Option<()> {
        if self.take(b'.') {
            self.skip_digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            if !self.take(b'+') {
                self.take(b'-');
            }
            self.skip_digits()?;
        }
        Some(())
    }

    fn skip_digits(&mut self) -> Option<()> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at > start { Some(()) } else { self.wrong("a digit") }
    }

    fn skip_literal(&mut self) -> Option<()> {
        let rest = &self.document.as_bytes()[self.at..];
        let literal = ["null", "true", "false"].iter().find(|literal| rest.starts_with(literal.as_bytes()));
        match literal {
            Some(literal) => self.at += literal.len(),
            None => return self.wrong("a value"),
        }
        Some(())
    }

    /// The next byte that is no blank, which stays where it is.
    fn next(&mut self) -> Option<u8> {
        while let Some(byte) = self.peek() {
            if byte > b' ' || !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                return Some(byte);
            }
            self.at += 1;
        }
        None
    }

    fn peek(&self) -> Option<u8> {
        self.document.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let is_there = self.peek() == Some(byte);
        self.at += usize::from(is_there);
        is_there
    }

    #[cold]
    fn wrong<T>(&mut self, expected: &'static str) -> Option<T> {
        self.fault = Some(MalformedJson { at: self.at, expected });
        None
    }
}

const AFTER_ITEM: &str = "a comma or the end of the list";

fn closing(is_object: bool) -> u8 {
    if is_object { b'}' } else { b']' }
}

/// Bytes of a string up to a quote, an escape, or a control character, which JSON has only escaped. Most texts are
/// short and taken a word at a time. A body is megabytes, taken in blocks that the compiler turns into vector
/// instructions.
pub fn plain_run(bytes: &[u8]) -> usize {
    const BLOCK: usize = 32;
    let near = plain_words(&bytes[..bytes.len().min(BLOCK)]);
    if near < BLOCK {
        return near;
    }
    let blocks = bytes
        .chunks_exact(BLOCK)
        .take_while(|block| !block.iter().fold(false, |found, byte| found | is_special(*byte)))
        .count();
    let start = blocks * BLOCK;
    start + plain_words(&bytes[start..])
}

/// The same, eight bytes at a time.
fn plain_words(bytes: &[u8]) -> usize {
    let (words, rest) = bytes.as_chunks();
    for (index, word) in words.iter().enumerate() {
        let special = special_bytes(u64::from_le_bytes(*word));
        if special != 0 {
            return index * 8 + special.trailing_zeros() as usize / 8;
        }
    }
    words.len() * 8 + rest.iter().take_while(|byte| !is_special(**byte)).count()
}

fn is_special(byte: u8) -> bool {
    matches!(byte, 0..b' ' | b'"' | b'\\')
}

/// The highest bit of each byte that a string has only escaped. A byte above such a one may be marked by a borrow, so
/// only the lowest mark counts.
fn special_bytes(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let control = word.wrapping_sub(0x20 * ONES);
    let quote = (word ^ (0x22 * ONES)).wrapping_sub(ONES);
    let backslash = (word ^ (0x5c * ONES)).wrapping_sub(ONES);
    // bytes beyond ASCII have the bit by themselves
    (control | quote | backslash) & !word & (0x80 * ONES)
}

/// The lists around a place, innermost last: a bit each, set for an object. The first 64 need no memory.
#[derive(Default)]
struct Nesting {
    depth: usize,
    innermost: u64,
    outer: Vec<u64>,
}

impl Nesting {
    fn enter(&mut self, is_object: bool) {
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.outer.push(self.innermost);
        }
        self.innermost = (self.innermost << 1) | u64::from(is_object);
        self.depth += 1;
    }

    fn leave(&mut self) {
        self.depth -= 1;
        self.innermost >>= 1;
        if self.depth.is_multiple_of(64)
            && let Some(outer) = self.outer.pop()
        {
            self.innermost = outer;
        }
    }

    fn innermost(&self) -> Option<bool> {
        (self.depth > 0).then_some(self.innermost & 1 == 1)
    }
}
