//! What the bytes of a path mean: escapes, and `..` in all its spellings.
//!
//! Settings, routing, signing and the backends ask here; `proxy/target.rs` refuses what is not sound.

use std::borrow::Cow;

/// Whether every `%` is followed by two hexadecimal digits (RFC 3986, 2.1).
pub fn escapes_are_whole(text: &[u8]) -> bool {
    let mut rest = text;
    while let Some(percent) = rest.iter().position(|byte| *byte == b'%') {
        match rest.get(percent + 1..percent + 3) {
            Some(digits) if digits.iter().all(u8::is_ascii_hexdigit) => rest = &rest[percent + 3..],
            _ => return false,
        }
    }
    true
}

/// Whether a path holds a `..` segment in any spelling, wherever it leads.
pub fn climbs(path: &str) -> bool {
    path.split('/').any(|segment| ups(segment) > 0)
}

/// Whether `..` segments of a remainder would lead above the place where it is appended.
///
/// Servers differ in what they take for a segment, so the worst reading counts: an escaped slash or a
/// backslash divides where that leads up, and does not divide where it would lead down; escapes are undone
/// however often they were applied; a `;` ends the name (Tomcat's `..;/`), and so does a NUL; overlong UTF-8 is what it was
/// meant to be taken for.
pub fn leaves(remainder: &str) -> bool {
    // most paths end here
    if !remainder.contains("..") && !remainder.contains('%') {
        return false;
    }
    let mut depth = 0_usize;
    for segment in remainder.split('/') {
        match ups(segment) {
            0 if segment.is_empty() || segment == "." => {}
            0 => depth += 1,
            up => match depth.checked_sub(up) {
                Some(left) => depth = left,
                None => return true,
            },
        }
    }
    false
}

/// How many levels up a segment leads in its worst reading.
fn ups(segment: &str) -> usize {
    let Some(plain) = unescaped(segment.as_bytes()) else { return usize::MAX };
    plain
        .split(|byte| matches!(byte, b'/' | b'\\'))
        .filter(|part| part.split(|byte| matches!(byte, b';' | 0)).next() == Some(b".."))
        .count()
}

/// A segment with its escapes undone until none is left; `None` if they are nested deeper than anybody who
/// means well nests them, which would also make the undoing costly.
fn unescaped(segment: &[u8]) -> Option<Cow<'_, [u8]>> {
    const DEEPEST: usize = 4;
    let mut text = Cow::Borrowed(segment);
    for _ in 0..=DEEPEST {
        match unescaped_once(&text) {
            Some(once) => text = Cow::Owned(once),
            None => return Some(text),
        }
    }
    None
}

/// One round of undoing; `None` if there was nothing to undo.
fn unescaped_once(text: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        let (byte, after) = match (byte, after) {
            // a `%` that escapes nothing takes nothing with it
            (b'%', [high, low, behind @ ..]) => match (hex_digit(*high), hex_digit(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, behind),
                _ => (byte, after),
            },
            // overlong `.` and `/`
            (0xC0, [0xAE, after @ ..]) | (0xE0, [0x80, 0xAE, after @ ..]) => (b'.', after),
            (0xC0, [0xAF, after @ ..]) | (0xE0, [0x80, 0xAF, after @ ..]) => (b'/', after),
            _ => (byte, after),
        };
        plain.push(byte);
        rest = after;
    }
    (plain.len() < text.len()).then_some(plain)
}

/// The value of a hexadecimal digit.
pub fn hex_digit(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_escape_has_two_hexadecimal_digits() {
        for sound in ["", "/a", "%2F", "a%c3%A9", "%25zz"] {
            assert!(escapes_are_whole(sound.as_bytes()), "{sound}");
        }
        for broken in ["%", "a%", "%2", "%zz", "%2g/x", "100%/x"] {
            assert!(!escapes_are_whole(broken.as_bytes()), "{broken}");
        }
    }

    #[test]
    fn dots_that_lead_out_are_found_in_every_spelling() {
        for out in [
            "..",
            "../x",
            "a/../../x",
            "%2e%2e/x",
            ".%2E/x",
            "%2e./x",
            "..%2fx",
            "a/..%2f..%2fx",
            "a/..%5c../x",
            "..\\x",
            "%252e%252e/x",
            "%25%2f../..",
            "%25%2f..%2f..",
            "a%25%252e%252e/../..",
            "%25252e%25252e%25252fx",
            "..;/x",
            "..;a=b/x",
            "%c0%ae%c0%ae/x",
            "%e0%80%ae%e0%80%ae/x",
            "..%00/x",
            "a%2fb/../../x",
            "a//../../x",
            "./../x",
            "a/%252525252525252e%2e",
        ] {
            assert!(leaves(out), "{out}");
        }
    }

    #[test]
    fn dots_that_stay_inside_or_are_names_pass() {
        for inside in
            ["", "a", "a/../b", "a/b/../../c", "...", "..a", "a..", ".", "./a", "a/.", "a.%2e", "a%2F%2Fb"]
        {
            assert!(!leaves(inside), "{inside}");
        }
    }

    #[test]
    fn settings_take_no_climbing_at_all() {
        assert!(climbs("/a/../b"));
        assert!(climbs("/a/%2e%2e"));
        assert!(!climbs("/a/..b/"));
    }

    proptest! {
        /// A reference reading: segments at raw slashes, one round of unescaping, resolved on a stack.
        #[test]
        fn whatever_leads_out_for_a_plain_server_leads_out_here(
            parts in prop::collection::vec(prop::sample::select(vec!["a", ".", "..", "", "%2e%2e", "b%2fc", ".%2E"]), 0..8)
        ) {
            let mut depth = 0_i32;
            let mut out = false;
            for part in &parts {
                match *part {
                    "" | "." => {}
                    ".." | "%2e%2e" | ".%2E" => depth -= 1,
                    _ => depth += 1,
                }
                out |= depth < 0;
            }
            prop_assert!(!out || leaves(&parts.join("/")));
        }

        #[test]
        fn no_text_makes_it_panic_or_hang(text in "[%./\\\\;a-f0-9]{0,64}") {
            let _ = (leaves(&text), climbs(&text), escapes_are_whole(text.as_bytes()));
        }
    }
}
