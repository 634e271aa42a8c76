//! Bytes of a request as text, which is all that JSON can hold.
//!
//! Everything that goes into an event by name (`arguments.rs`, `headers.rs`) comes through here. Bodies do
//! not: they have base64 (`event_body.rs`).

use std::borrow::Cow;

/// UTF-8 as it is; of anything else each byte becomes the character of the same number (ISO 8859-1), so that
/// a function can have the bytes back and nothing becomes `U+FFFD`.
pub fn text<'a>(bytes: impl Into<Cow<'a, [u8]>>) -> Cow<'a, str> {
    match bytes.into() {
        Cow::Borrowed(bytes) => match str::from_utf8(bytes) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => Cow::Owned(byte_by_byte(bytes)),
        },
        Cow::Owned(bytes) => match String::from_utf8(bytes) {
            Ok(text) => Cow::Owned(text),
            Err(error) => Cow::Owned(byte_by_byte(error.as_bytes())),
        },
    }
}

fn byte_by_byte(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utf_8_stays_and_other_bytes_become_the_characters_of_their_numbers() {
        assert_eq!(text("größe".as_bytes()), "größe");
        assert_eq!(text(&b"gr\xF6\xDFe"[..]), "größe");
        assert_eq!(text(vec![0xFF, 0x00, 0x80]), "\u{FF}\0\u{80}");
        assert!(matches!(text(&b"plain"[..]), Cow::Borrowed("plain")));
    }
}
