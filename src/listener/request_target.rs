//! Escapes bytes of a request's target that must be escaped.
//!
//! curl sends `?q=ü` or `?q="x"` as it was typed. RFC 3986 requires escapes for such bytes, the parser of
//! `http` refuses the request for them, and nginx accepts them; here each is replaced by its escape, which
//! means the same to every server and can be signed. `http1/request_reader.rs` calls this for each request
//! line before it is parsed, and `http2/fields/rewrite.rs` for each path.

use std::borrow::Cow;

use crate::text::uri_syntax;

/// A request line, or the beginning of one, with its target escaped; `None` if there is nothing to escape.
pub fn escape_in_line(line: &[u8]) -> Option<Vec<u8>> {
    let target = line.iter().position(|byte| *byte == b' ')? + 1;
    escape(&line[target..]).map(|escaped| [&line[..target], &escaped].concat())
}

pub fn escaped(target: &str) -> Cow<'_, str> {
    let escaped = escape(target.as_bytes()).and_then(|escaped| String::from_utf8(escaped).ok());
    escaped.map_or(Cow::Borrowed(target), Cow::Owned)
}

/// True for a byte that clients send and `http::Uri` refuses in a path or a query.
fn is_to_escape(byte: u8, in_query: bool) -> bool {
    match byte {
        // `http::Uri` would cut off what follows `#` as a fragment
        b'<' | b'>' | b'#' => true,
        b'"' => in_query,
        b'`' => !in_query,
        _ => !byte.is_ascii(),
    }
}

/// The escaped target; `None` if there is nothing to escape.
pub fn escape(target: &[u8]) -> Option<Vec<u8>> {
    let mut in_query = false;
    let mut escaped: Option<Vec<u8>> = None;
    for (index, &byte) in target.iter().enumerate() {
        in_query |= byte == b'?';
        if is_to_escape(byte, in_query) {
            let escaped = escaped.get_or_insert_with(|| target[..index].to_vec());
            escaped.extend_from_slice(&uri_syntax::escape(byte));
        } else if let Some(escaped) = &mut escaped {
            escaped.push(byte);
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_target_is_escaped_and_nothing_else() {
        let raw = "GET /ü#\"`?q=\"<é>`\" HTTP/1.1\r";
        let expected = "GET /%C3%BC%23\"%60?q=%22%3C%C3%A9%3E`%22 HTTP/1.1\r";
        assert_eq!(escape_in_line(raw.as_bytes()).unwrap(), expected.as_bytes());
        assert_eq!(escape_in_line(b"GET /a%2Fb?c=%22 HTTP/1.1\r"), None);
        assert_eq!(escape_in_line("ü".as_bytes()), None);
        assert_eq!(escaped("/é"), "/%C3%A9");
    }

    proptest! {
        #[test]
        fn an_escaped_line_has_nothing_to_escape_and_nothing_panics(
            line in prop::collection::vec(any::<u8>(), 0..100),
        ) {
            if let Some(escaped) = escape_in_line(&line) {
                prop_assert_eq!(escape_in_line(&escaped), None);
                prop_assert!(escaped.len() > line.len());
            }
        }
    }
}
