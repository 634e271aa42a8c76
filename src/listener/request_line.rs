//! What a request line should have escaped, escaped on the way in.
//!
//! A client such as curl sends `?q=ü` or `?q="x"` as it was typed. RFC 3986 wants such bytes escaped, the parser
//! below actix refuses the request for them, and nginx takes them; here each becomes its escape, which means
//! the same to every server and can be signed. `connection.rs` passes everything that it reads through here.
//!
//! Rewriting must never touch a body, so the place of the next request line has to be certain: it is the start
//! of a connection, and the byte after a request whose head and body, of announced length, have been counted.
//! After pipelined or chunked requests it is not, and such bytes are then refused as before.

use std::borrow::Cow;

/// Watches the bytes of one connection.
#[derive(Debug)]
pub struct RequestLine {
    place: Place,
    /// Whether the head's current line has nothing in it yet.
    line_is_empty: bool,
    /// Bytes of the request line so far.
    length: usize,
    /// Bytes received after the head.
    beyond_head: u64,
}

/// Which part of a request the next byte belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Method,
    Target { in_query: bool },
    Head,
    Body,
    Unknown,
}

impl Default for RequestLine {
    fn default() -> Self {
        Self { place: Place::Method, line_is_empty: false, length: 0, beyond_head: 0 }
    }
}

impl RequestLine {
    /// Takes note of received bytes; `Some` is what is to be read in their place.
    pub fn receive(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut escaped = None;
        let mut rest = bytes;
        if matches!(self.place, Place::Method | Place::Target { .. }) {
            self.length += bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
        }
        if self.place == Place::Method {
            let blank = rest.iter().position(|byte| *byte == b' ')?;
            self.place = Place::Target { in_query: false };
            rest = &rest[blank + 1..];
        }
        if let Place::Target { in_query } = &mut self.place {
            let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
            let (target, after) = rest.split_at(end);
            if let Some(target) = escape(target, in_query) {
                let before = &bytes[..bytes.len() - rest.len()];
                escaped = Some([before, &target, after].concat());
            }
            if let [_, after @ ..] = after {
                self.place = Place::Head;
                self.line_is_empty = true;
                rest = after;
            } else {
                return escaped;
            }
        }
        if self.place == Place::Head {
            rest = self.pass_head(rest);
        }
        if self.place == Place::Body {
            self.beyond_head += rest.len() as u64;
        }
        escaped
    }

    /// The length of the request line, as far as it has come.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Passes over the head's lines, to what follows the empty one.
    fn pass_head<'a>(&mut self, mut rest: &'a [u8]) -> &'a [u8] {
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line_is_empty = self.line_is_empty && matches!(&rest[..end], b"" | b"\r");
            self.line_is_empty = true;
            rest = &rest[end + 1..];
            if line_is_empty {
                self.place = Place::Body;
                return rest;
            }
        }
        self.line_is_empty &= matches!(rest, b"" | b"\r");
        b""
    }

    /// The request has been answered; `body` is the length that it announced, `None` if it announced none.
    pub fn answered(&mut self, body: Option<u64>) {
        let is_over = self.place == Place::Body && body == Some(self.beyond_head);
        *self = Self { place: if is_over { Place::Method } else { Place::Unknown }, ..Self::default() };
    }
}

/// What `http::Uri` refuses in a path or a query and others send; the rest stays as it is.
fn is_to_escape(byte: u8, in_query: bool) -> bool {
    match byte {
        // `http::Uri` would take the rest for a fragment and cut it off
        b'<' | b'>' | b'#' => true,
        b'"' => in_query,
        b'`' => !in_query,
        _ => !byte.is_ascii(),
    }
}

/// A whole target with its escapes.
pub fn escaped(target: &str) -> Cow<'_, str> {
    let escaped = escape(target.as_bytes(), &mut false).and_then(|escaped| String::from_utf8(escaped).ok());
    escaped.map_or(Cow::Borrowed(target), Cow::Owned)
}

/// The target, or a piece of it, with its escapes; `None` if it needs none.
fn escape(target: &[u8], in_query: &mut bool) -> Option<Vec<u8>> {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut escaped: Option<Vec<u8>> = None;
    for (index, &byte) in target.iter().enumerate() {
        *in_query |= byte == b'?';
        if is_to_escape(byte, *in_query) {
            let escaped = escaped.get_or_insert_with(|| target[..index].to_vec());
            escaped.extend([b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
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

    /// What is read of these pieces.
    fn read(line: &mut RequestLine, pieces: &[&[u8]]) -> Vec<u8> {
        pieces.iter().flat_map(|piece| line.receive(piece).unwrap_or_else(|| piece.to_vec())).collect()
    }

    const RAW: &[u8] = "GET /ü#\"`?q=\"<é>`\" HTTP/1.1\r\nHost: ü\r\n\r\n".as_bytes();
    const ESCAPED: &[u8] = "GET /%C3%BC%23\"%60?q=%22%3C%C3%A9%3E`%22 HTTP/1.1\r\nHost: ü\r\n\r\n".as_bytes();

    #[test]
    fn the_target_is_escaped_and_nothing_else_wherever_it_is_cut() {
        assert_eq!(read(&mut RequestLine::default(), &[RAW]), ESCAPED);
        for cut in 0..RAW.len() {
            let (first, second) = RAW.split_at(cut);
            assert_eq!(read(&mut RequestLine::default(), &[first, second]), ESCAPED, "cut at {cut}");
        }
    }

    #[test]
    fn the_next_request_is_found_after_a_counted_body() {
        let mut line = RequestLine::default();
        let post = "POST / HTTP/1.1\r\nContent-Length: 7\r\n\r\nü é ü".as_bytes();
        assert_eq!(read(&mut line, &[post]), post);
        line.answered(Some(8));
        assert_eq!(read(&mut line, &[RAW]), ESCAPED);
        line.answered(Some(0));
        assert_eq!(read(&mut line, &[RAW]), ESCAPED);
    }

    #[test]
    fn nothing_is_touched_where_the_next_request_line_is_not_certain() {
        for (received, body) in [
            (&b"POST / HTTP/1.1\r\n\r\n5\r\nhello\r\n0\r\n\r\n"[..], None),
            (b"POST / HTTP/1.1\r\n\r\nhalf", Some(10)),
            (b"GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n", Some(0)),
            (b"GET / HTTP/1.1\r\n", Some(0)),
        ] {
            let mut line = RequestLine::default();
            assert_eq!(read(&mut line, &[received]), received);
            line.answered(body);
            assert_eq!(read(&mut line, &[RAW]), RAW);
            line.answered(Some(0));
            assert_eq!(read(&mut line, &[RAW]), RAW, "what is lost stays lost");
        }
    }

    proptest! {
        #[test]
        fn a_body_is_never_touched(
            body in proptest::collection::vec(any::<u8>(), 0..200),
            cuts in proptest::collection::vec(0_usize..300, 0..4),
        ) {
            let mut request = b"POST /a HTTP/1.1\r\nHost: h\r\n\r\n".to_vec();
            request.extend_from_slice(&body);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(request.len())).collect();
            cuts.extend([0, request.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|ends| &request[ends[0]..ends[1]]).collect();
            let mut line = RequestLine::default();
            prop_assert_eq!(&read(&mut line, &pieces), &request);
            line.answered(Some(body.len() as u64));
            prop_assert_eq!(read(&mut line, &[RAW]), ESCAPED);
        }
    }
}
