//! A string of a document, and its text without the escapes.

/// A string, as it is written between its quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JsonText<'a>(&'a str);

impl<'a> JsonText<'a> {
    /// Of what the scanner has found to be sound, and [`JsonText::written`] has given.
    pub fn of_written(written: &'a str) -> Self {
        Self(written)
    }

    /// The text where it lies, if it has no escapes.
    pub fn plain(self) -> Option<&'a str> {
        (!self.0.as_bytes().contains(&b'\\')).then_some(self.0)
    }

    /// As it is written between the quotes.
    pub fn written(self) -> &'a str {
        self.0
    }

    pub fn is(self, text: &str) -> bool {
        match self.plain() {
            Some(plain) => plain == text,
            // an escape is at most six bytes for one
            None => self.0.len() <= text.len() * 6 && self.unescaped() == text,
        }
    }

    /// The text without its escapes, in a buffer of the size of what is written.
    pub fn unescaped(self) -> String {
        let mut text = String::with_capacity(self.0.len());
        self.unescape(&mut text, usize::MAX);
        text
    }

    /// The beginning of the text: at least so many bytes of it, if there are as many, and a few more at most.
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

/// Puts the character in that begins after a backslash, and gives what follows it.
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

/// Puts the character in that stands as four hexadecimal digits, or as two times four. Half of a pair is no character
/// (RFC 8259, 8.2), and becomes the one that stands for such.
fn push_code<'a>(text: &mut String, digits: &'a str) -> &'a str {
    let (first, rest) = code(digits);
    let mut units = [first, 0];
    let (mut count, mut after) = (1, rest);
    if (0xd800..0xdc00).contains(&first)
        && let Some(digits) = rest.strip_prefix("\\u")
    {
        let (second, behind) = code(digits);
        if (0xdc00..0xe000).contains(&second) {
            (units[1], count, after) = (second, 2, behind);
        }
    }
    text.extend(char::decode_utf16(units[..count].iter().copied()).map(|char| char.unwrap_or('\u{fffd}')));
    after
}

fn code(digits: &str) -> (u16, &str) {
    let (digits, rest) = digits.split_at(4);
    (u16::from_str_radix(digits, 16).unwrap_or(0xfffd), rest)
}
