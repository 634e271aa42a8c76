//! The client's spelling of header names. `actix-http` lowers every name, but AWS's events 1.0 keep the case.
//!
//! The listener reads the spelling from the bytes of a head, if a route's backend writes it. HTTP/2 has lower
//! case alone (RFC 9113, 8.2.1).

use memchr::memchr;

/// Bytes that the names of most heads need.
const USUAL_SIZE: usize = 256;

/// The names of a request's headers as the client spelled them, or as the route's `headers` does.
#[derive(Debug, Default)]
pub struct HeaderSpelling {
    /// Each name in the order of the head, with the colon after it, which is no part of a name.
    names: String,
}

impl HeaderSpelling {
    /// The names of a whole head with its request line; `None` if the head is incomplete or every name is in
    /// lower case.
    pub fn of_head(head: &[u8]) -> Option<Self> {
        let mut rest = after_line(head)?;
        let mut spelling = Self { names: String::with_capacity(USUAL_SIZE) };
        while !matches!(rest, [b'\n', ..] | [b'\r', b'\n', ..]) {
            let line = rest;
            rest = after_line(rest)?;
            let name = &line[..memchr(b':', line)?];
            spelling.push(str::from_utf8(name).ok()?);
        }
        spelling.names.bytes().any(|byte| byte.is_ascii_uppercase()).then_some(spelling)
    }

    pub fn push(&mut self, name: &str) {
        self.names.push_str(name);
        self.names.push(':');
    }

    /// Puts names before the others, whose spelling they replace.
    pub fn put_first(&mut self, names: &[String]) {
        let others = std::mem::replace(&mut self.names, String::with_capacity(USUAL_SIZE));
        for name in names {
            self.push(name);
        }
        self.names.push_str(&others);
    }

    /// All names: those of the route, then those of the client in the order of the head.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.split_terminator(':')
    }
}

/// The bytes after the first line.
fn after_line(bytes: &[u8]) -> Option<&[u8]> {
    memchr(b'\n', bytes).map(|end| &bytes[end + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(head: &str) -> Option<Vec<String>> {
        HeaderSpelling::of_head(head.as_bytes()).map(|spelling| spelling.names().map(str::to_owned).collect())
    }

    #[test]
    fn a_whole_head_gives_its_names_in_order() {
        let expected = Some(["Host", "x-a", "X_B", "X-a"].map(str::to_owned).to_vec());
        assert_eq!(names("GET /:/ HTTP/1.1\r\nHost: h\r\nx-a:1: 2\r\nX_B:\r\nX-a: 2\r\n\r\n"), expected);
        // line ends of LF alone, and what follows the head
        let lines = "GET / HTTP/1.1\nHost: h\nx-a:1\nX_B:\nX-a: 2\n\nPOST / HTTP/1.1\r\nOther: o\r\n\r\n";
        assert_eq!(names(lines), expected);
    }

    #[test]
    fn a_head_that_is_incomplete_or_in_lower_case_gives_none() {
        let head = "GET /A HTTP/1.1\r\nHost: h\r\nX-A: 1\r\n\r\n";
        for end in 0..head.len() {
            assert_eq!(names(&head[..end]), None, "{end}");
        }
        assert_eq!(names("GET /A HTTP/1.1\r\nhost: A\r\nx-a: B\r\n\r\n"), None);
        assert_eq!(names("GET / HTTP/1.1\r\n\r\n"), None);
    }

    #[test]
    fn bytes_that_are_not_a_head_do_no_harm() {
        for bytes in ["", "\n", "\n\n", "a\nb\n\n", "a\n: b\n\n", "a\nA b\n:\n\n", "\r\n\r\n"] {
            let _ = names(bytes);
        }
        assert!(HeaderSpelling::of_head(b"a\nA\xFF: b\n\n").is_none());
    }
}
