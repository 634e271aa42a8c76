//! Bytes of a request's target that must be escaped and were not, and their escapes.
//!
//! `listener/request_target.rs` escapes the targets of clients, `routing/pattern.rs` the `uri` of a route, so that the
//! two are compared in one spelling.

/// Part of a target: each allows other bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Scheme and authority of an absolute target, or the authority of CONNECT.
    Authority,
    Path,
    Query,
}

/// A target with its escapes; `None` if it lacks none.
pub fn escape(target: &[u8]) -> Option<Vec<u8>> {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let path = path_start(target);
    let mut is_query = false;
    let mut escaped: Option<Vec<u8>> = None;
    for (index, &byte) in target.iter().enumerate() {
        is_query |= byte == b'?';
        let part = if is_query {
            Part::Query
        } else if index < path {
            Part::Authority
        } else {
            Part::Path
        };
        if is_to_escape(byte, part) {
            let escaped = escaped.get_or_insert_with(|| target[..index].to_vec());
            escaped.extend([b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        } else if let Some(escaped) = &mut escaped {
            escaped.push(byte);
        }
    }
    escaped
}

/// The position of the path, or the length of a target that has none.
fn path_start(target: &[u8]) -> usize {
    const SCHEME_END: &[u8] = b"://";
    if target.starts_with(b"/") {
        return 0;
    }
    let scheme = target.windows(SCHEME_END.len()).position(|bytes| bytes == SCHEME_END);
    let path = scheme.map(|scheme| scheme + SCHEME_END.len()).and_then(|authority| {
        target[authority..].iter().position(|byte| *byte == b'/').map(|slash| authority + slash)
    });
    path.unwrap_or(target.len())
}

/// True for a visible byte that RFC 3986 allows nowhere in a path (3.3). In a query only the bytes that `http::Uri`
/// refuses are escaped: the rest goes out byte for byte where nothing is signed. `http::Uri` would take `#` for a
/// fragment and cut it off.
fn is_to_escape(byte: u8, part: Part) -> bool {
    match byte {
        b'<' | b'>' | b'#' => true,
        b'"' => part != Part::Authority,
        b'`' => part != Part::Query,
        b'{' | b'}' | b'|' | b'^' | b'\\' | b'[' | b']' => part == Part::Path,
        _ => !byte.is_ascii(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn escaped(target: &str) -> String {
        escape(target.as_bytes())
            .map_or_else(|| target.to_owned(), |escaped| String::from_utf8(escaped).unwrap())
    }

    #[test]
    fn x9_a_path_has_no_byte_that_rfc_3986_does_not_allow_there() {
        assert_eq!(escaped("/a\"<>`#{}|^\\[]b"), "/a%22%3C%3E%60%23%7B%7D%7C%5E%5C%5B%5Db");
        for byte in 0x21..=0xff_u8 {
            let allowed = byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/%?".contains(&byte);
            assert_eq!(escape(&[b'/', byte]).is_none(), allowed || byte == 0x7f, "{byte:#x}");
        }
    }

    #[test]
    fn x9_a_query_keeps_what_the_parser_takes() {
        assert_eq!(escaped("/?q=\"<\u{e9}>#`{}|^\\[]"), "/?q=%22%3C%C3%A9%3E%23`{}|^\\[]");
    }

    #[test]
    fn an_authority_keeps_its_brackets() {
        assert_eq!(escaped("http://[::1]:80/a[0]?b[0]"), "http://[::1]:80/a%5B0%5D?b[0]");
        assert_eq!(escaped("http://[::1]?b=/[0]"), "http://[::1]?b=/[0]");
        assert_eq!(escaped("[::1]:443"), "[::1]:443");
        assert_eq!(escaped("*"), "*");
    }

    proptest! {
        #[test]
        fn a_target_with_its_escapes_lacks_none(target in prop::collection::vec(any::<u8>(), 0..100)) {
            if let Some(escaped) = escape(&target) {
                prop_assert_eq!(escape(&escaped), None);
            }
        }

        #[test]
        fn x9_a_backslash_climbs_escaped_as_it_does_raw(path in "(/|\\\\|\\.\\.|\\.|a|;|\\{){0,12}") {
            let path = format!("/{path}");
            let escaped = escaped(&path);
            prop_assert_eq!(super::super::climbs(&escaped), super::super::climbs(&path));
            let check = super::super::check_remainder;
            prop_assert_eq!(check(&escaped[1..]).is_ok(), check(&path[1..]).is_ok(), "{}", path);
        }
    }
}
