//! Converts names and values of a request to text, because JSON contains no bytes. Bodies are base64 instead
//! (`event_body.rs`).

use std::borrow::Cow;

/// Reads bytes as UTF-8 or, if they are not valid UTF-8, as ISO 8859-1, so that no byte is replaced by
/// `U+FFFD`.
///
/// The encoding is lost: the byte E9 and the bytes C3 A9 both become `é`. The raw path and query in the event
/// keep it.
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
    use proptest::prelude::*;

    #[test]
    fn latin_1_and_the_utf_8_of_the_same_characters_are_not_told_apart() {
        assert_eq!(text(&b"\xE9"[..]), text(&b"\xC3\xA9"[..]));
    }

    #[test]
    fn utf_8_stays_and_other_bytes_become_the_characters_of_their_numbers() {
        assert_eq!(text("größe".as_bytes()), "größe");
        assert_eq!(text(&b"gr\xF6\xDFe"[..]), "größe");
        assert_eq!(text(vec![0xFF, 0x00, 0x80]), "\u{FF}\0\u{80}");
        assert!(matches!(text(&b"plain"[..]), Cow::Borrowed("plain")));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_text_of_as_many_characters_or_of_the_same_bytes(bytes in prop::collection::vec(any::<u8>(), 0..24)) {
            let read = text(&bytes[..]);
            prop_assert_eq!(&read, &text(bytes.clone()));
            match str::from_utf8(&bytes) {
                Ok(same) => prop_assert_eq!(read, same),
                Err(_) => prop_assert!(read.chars().map(u32::from).eq(bytes.iter().copied().map(u32::from))),
            }
        }
    }
}
