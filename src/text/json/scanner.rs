//! The grammar of JSON (RFC 8259): finds the end of a value and checks it.

use std::iter;

use super::{Json, text::JsonText};

/// The first byte of a document that violates the grammar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} at byte {at}")]
pub struct MalformedJson {
    at: usize,
    expected: &'static str,
}

/// A position in a document.
pub struct Scanner<'a> {
    document: &'a str,
    at: usize,
    /// The next item is the first of its list.
    is_first: bool,
}

impl<'a> Scanner<'a> {
    /// The start of a document.
    pub fn of(document: &'a str) -> Self {
        Self { document, at: 0, is_first: false }
    }

    /// The items of a valid object or array that begins with `open`; of another value there are none.
    pub fn items<T>(
        value: Json<'a>,
        open: u8,
        next: fn(&mut Self) -> Result<Option<T>, MalformedJson>,
    ) -> impl Iterator<Item = T> {
        let mut scanner = Self::of(value.0);
        let items = scanner.enter(open).then(|| iter::from_fn(move || next(&mut scanner).ok().flatten()));
        items.into_iter().flatten()
    }

    /// Enters the object or array that begins with `open`, if it comes next.
    pub fn enter(&mut self, open: u8) -> bool {
        self.is_first = self.next() == Some(open);
        self.at += usize::from(self.is_first);
        self.is_first
    }

    /// The next member of the object that was entered; `None` at its end.
    pub fn member(&mut self) -> Result<Option<(JsonText<'a>, Json<'a>)>, MalformedJson> {
        if self.is_over(b'}')? {
            return Ok(None);
        }
        let name = self.name()?;
        let value = self.value()?;
        Ok(Some((name, value)))
    }

    /// The next element of the array that was entered; `None` at its end.
    pub fn element(&mut self) -> Result<Option<Json<'a>>, MalformedJson> {
        if self.is_over(b']')? { Ok(None) } else { self.value().map(Some) }
    }

    /// Goes past the comma before the next item or past the end of the list; true at the end.
    fn is_over(&mut self, close: u8) -> Result<bool, MalformedJson> {
        let next = self.next();
        let is_over = next == Some(close);
        if std::mem::take(&mut self.is_first) {
            self.at += usize::from(is_over);
            return Ok(is_over);
        }
        if !is_over && next != Some(b',') {
            return Err(self.malformed("a comma or the end of the list"));
        }
        self.at += 1;
        Ok(is_over)
    }

    /// A value, to its end.
    pub fn value(&mut self) -> Result<Json<'a>, MalformedJson> {
        self.next();
        let start = self.at;
        self.skip_value()?;
        Ok(Json(&self.document[start..self.at]))
    }

    /// Checks that nothing but blanks is left.
    pub fn end(&mut self) -> Result<(), MalformedJson> {
        if self.next().is_none() { Ok(()) } else { Err(self.malformed("the end")) }
    }

    /// A member's name and the colon after it.
    fn name(&mut self) -> Result<JsonText<'a>, MalformedJson> {
        if self.next() != Some(b'"') {
            return Err(self.malformed("a name in quotes"));
        }
        let start = self.at + 1;
        self.skip_string()?;
        let name = JsonText(&self.document[start..self.at - 1]);
        if self.next() != Some(b':') {
            return Err(self.malformed("a colon"));
        }
        self.at += 1;
        Ok(name)
    }

    fn skip_value(&mut self) -> Result<(), MalformedJson> {
        let mut nesting = Nesting::default();
        loop {
            match self.next() {
                Some(open @ (b'{' | b'[')) => {
                    self.at += 1;
                    self.is_first = true;
                    nesting.enter(open == b'{');
                }
                Some(b'"') => self.skip_string()?,
                Some(b'-' | b'0'..=b'9') => self.skip_number()?,
                _ => self.skip_literal()?,
            }
            loop {
                let Some(is_object) = nesting.innermost() else { return Ok(()) };
                if !self.is_over(if is_object { b'}' } else { b']' })? {
                    if is_object {
                        self.name()?;
                    }
                    break;
                }
                nesting.leave();
            }
        }
    }

    fn skip_string(&mut self) -> Result<(), MalformedJson> {
        self.at += 1;
        loop {
            self.at += plain_run(&self.document.as_bytes()[self.at..]);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => self.skip_escape()?,
                _ => return Err(self.malformed("the rest of a string")),
            }
        }
    }

    fn skip_escape(&mut self) -> Result<(), MalformedJson> {
        self.at += 1;
        let digits = match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 0,
            Some(b'u') => 4,
            _ => return Err(self.malformed("an escape")),
        };
        self.at += 1;
        for _ in 0..digits {
            if !self.peek().is_some_and(|byte| byte.is_ascii_hexdigit()) {
                return Err(self.malformed("a hexadecimal digit"));
            }
            self.at += 1;
        }
        Ok(())
    }

    fn skip_number(&mut self) -> Result<(), MalformedJson> {
        self.take(b'-');
        // no zeros before the first digit
        if !self.take(b'0') {
            self.skip_digits()?;
        }
        match self.peek() {
            Some(b'.' | b'e' | b'E') => self.skip_fraction(),
            _ => Ok(()),
        }
    }

    fn skip_fraction(&mut self) -> Result<(), MalformedJson> {
        if self.take(b'.') {
            self.skip_digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            if !self.take(b'+') {
                self.take(b'-');
            }
            self.skip_digits()?;
        }
        Ok(())
    }

    fn skip_digits(&mut self) -> Result<(), MalformedJson> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at > start { Ok(()) } else { Err(self.malformed("a digit")) }
    }

    fn skip_literal(&mut self) -> Result<(), MalformedJson> {
        let rest = &self.document.as_bytes()[self.at..];
        let literal = ["null", "true", "false"].iter().find(|literal| rest.starts_with(literal.as_bytes()));
        self.at += literal.ok_or_else(|| self.malformed("a value"))?.len();
        Ok(())
    }

    /// The next byte that is no blank, without going past it.
    fn next(&mut self) -> Option<u8> {
        loop {
            match self.peek() {
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.at += 1,
                next => return next,
            }
        }
    }

    fn peek(&self) -> Option<u8> {
        self.document.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let is_there = self.peek() == Some(byte);
        self.at += usize::from(is_there);
        is_there
    }

    fn malformed(&self, expected: &'static str) -> MalformedJson {
        MalformedJson { at: self.at, expected }
    }
}

/// The number of bytes before the first quote, backslash or control character, which JSON has only escaped. Most texts
/// are short and searched by words. A body has megabytes, searched in blocks that the compiler turns into vector
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

/// The same, eight bytes at a time; the last eight may overlap the plain ones before.
fn plain_words(bytes: &[u8]) -> usize {
    let Some(last) = bytes.last_chunk() else {
        return bytes.iter().position(|byte| is_special(*byte)).unwrap_or(bytes.len());
    };
    let words = bytes.as_chunks().0.iter().enumerate().map(|(index, word)| (index * 8, word));
    for (start, word) in words.chain([(bytes.len() - 8, last)]) {
        let special = special_bytes(u64::from_le_bytes(*word));
        if special != 0 {
            return start + special.trailing_zeros() as usize / 8;
        }
    }
    bytes.len()
}

fn is_special(byte: u8) -> bool {
    matches!(byte, 0..b' ' | b'"' | b'\\')
}

/// The highest bit of each byte that must be escaped. A borrow may mark the byte above such a byte, so only the lowest
/// mark counts.
fn special_bytes(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHEST: u64 = 0x80 * ONES;
    let control = word.wrapping_sub(0x20 * ONES) & !word;
    let zero = |word: u64| word.wrapping_sub(ONES) & !word;
    (control | zero(word ^ (0x22 * ONES)) | zero(word ^ (0x5c * ONES))) & HIGHEST
}

/// The objects and arrays around a position: a bit each, set for an object. The first 64 need no allocation.
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
