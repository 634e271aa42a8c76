//! A string of a document, and its text without escapes.

/// A valid string as written between its quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JsonText<'a>(pub(super) &'a str);

impl<'a> JsonText<'a> {
    /// A string that [`JsonText::written`] returned before.
    pub fn of_written(written: &'a str) -> Self {
        Self(written)
    }

    /// The text, borrowed, if it has no escapes.
    pub fn plain(self) -> Option<&'a str> {
        (!self.0.as_bytes().contains(&b'\\')).then_some(self.0)
    }

    /// The string as written between its quotes.
    pub fn written(self) -> &'a str {
        self.0
    }

    pub fn is(self, text: &str) -> bool {
        match self.plain() {
            Some(plain) => plain == text,
            // an escape of one byte has at most six
            None => self.0.len() <= text.len() * 6 && self.unescaped() == text,
        }
    }

    /// The text without escapes, in a buffer of the size of the written string.
    pub fn unescaped(self) -> String {
        let mut text = String::with_capacity(self.0.len());
        self.unescape(&mut text, usize::MAX);
        text
    }

    /// The first bytes of the text: at least `bytes` of them, if there are as many, and at most three more.
    pub fn beginning(self, bytes: usize) -> String {
        let mut text = String::with_capacity(self.0.len().min(bytes + 4));
        self.unescape(&mut text, bytes);
        text
    }

    fn unescape(self, text: &mut String, least: usize) {
        let mut rest = self.0;
        while !rest.is_empty() && text.len() < least {
            let plain = rest.bytes().position(|byte| byte == b'\\').unwrap_or(rest.len());
            // `least` may lie within a character
            let wanted = rest.ceil_char_boundary((least - text.len()).min(plain));
            text.push_str(&rest[..wanted]);
            rest = &rest[wanted..];
            if wanted == plain
                && text.len() < least
                && let Some(escape) = rest.strip_prefix('\\')
            {
                rest = push_escaped(text, escape);
            }
        }
    }
}

/// Appends the character of an escape without its backslash, and returns the rest.
fn push_escaped<'a>(text: &mut String, escape: &'a str) -> &'a str {
    let char = match escape.as_bytes().first() {
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => return push_code(text, &escape[1..]),
        Some(own) => char::from(*own),
        None => return escape,
    };
    text.push(char);
    &escape[1..]
}

/// Appends the character of one `\u` escape or a surrogate pair, and returns the rest. A lone surrogate (RFC
/// 8259, 8.2) becomes the replacement character.
fn push_code<'a>(text: &mut String, digits: &'a str) -> &'a str {
    let (first, rest) = code(digits);
    let pair = rest.strip_prefix("\\u").map(code);
    let (second, rest) = match pair {
        Some((second @ 0xdc00..0xe000, rest)) if (0xd800..0xdc00).contains(&first) => (Some(second), rest),
        _ => (None, rest),
    };
    let units = std::iter::once(first).chain(second);
    text.extend(char::decode_utf16(units).map(|char| char.unwrap_or(char::REPLACEMENT_CHARACTER)));
    rest
}

fn code(digits: &str) -> (u16, &str) {
    let (digits, rest) = digits.split_at(4);
    (u16::from_str_radix(digits, 16).unwrap_or(0xfffd), rest)
}
