//! Where one request ends and the next begins on a connection of HTTP/1.1.
//!
//! `connection.rs` passes everything that it reads through here, for two reasons.
//!
//! A request that comes before the one ahead of it has been answered is held back until then. `actix-http` would parse it
//! at once, and take the version, the method and the `Connection` of the second for those of the first when it writes
//! the first one's answer: the body of an answer to GET is left out when a HEAD comes behind it.
//!
//! And what a request line should have escaped is escaped on the way in. A client such as curl sends `?q=ü` or `?q="x"`
//! as it was typed. RFC 3986 wants such bytes escaped, the parser below actix refuses the request for them, and nginx
//! takes them; here each becomes its escape, which means the same to every server and can be signed. Rewriting must
//! never touch a body, so the place of the next request line has to be certain: where a body has no end that can be
//! told, or was answered before it, everything passes as it is from there on.
//!
//! What a head means is decided by actix alone. Were the two to disagree on a length, bytes would be late and never in
//! the wrong request.

use std::borrow::Cow;

use super::chunk_end::Chunks;

/// Watches the bytes of one connection.
#[derive(Debug, Default)]
pub struct Boundaries {
    place: Place,
    /// Bytes of the request line so far.
    request_line: usize,
    /// The beginning of a line of the head whose end has not come.
    line: Vec<u8>,
    /// What the head says about its body so far.
    body: Body,
}

/// Which part of a request the next byte belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Place {
    #[default]
    Method,
    Target {
        in_query: bool,
    },
    Head,
    /// So many bytes of it are to come.
    Body(u64),
    /// A body in chunks.
    Chunks(Chunks),
    /// The next request, which has to wait.
    Answer,
    Unknown,
}

/// How long the body of a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Body {
    #[default]
    None,
    Length(u64),
    Chunks,
    /// What actix will refuse.
    Unknown,
}

/// How many of the bytes belong to the request at hand, and what is to be read in their place if not they themselves.
#[derive(Debug, PartialEq, Eq)]
pub struct Taken {
    /// None if the rest is the next request's, which has to wait.
    pub length: usize,
    /// The same with escapes.
    pub escaped: Option<Vec<u8>>,
}

/// No line that says how long a body is needs more.
const LONGEST_LINE: usize = 128;

impl Boundaries {
    /// Takes note of received bytes, up to the end of the request at hand.
    pub fn receive(&mut self, bytes: &[u8]) -> Taken {
        let mut escaped = None;
        let mut at = 0;
        if matches!(self.place, Place::Method | Place::Target { .. }) {
            self.request_line += bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
        }
        if self.place == Place::Method {
            match bytes.iter().position(|byte| *byte == b' ') {
                None => return Taken { length: bytes.len(), escaped },
                Some(blank) => at = blank + 1,
            }
            self.place = Place::Target { in_query: false };
        }
        if let Place::Target { in_query } = &mut self.place {
            let rest = &bytes[at..];
            let end = rest.iter().position(|byte| *byte == b'\n');
            let target = &rest[..end.unwrap_or(rest.len())];
            escaped = escape(target, in_query).map(|target| [&bytes[..at], &target].concat());
            at += target.len();
            if end.is_some() {
                self.place = Place::Head;
                at += 1;
                if let Some(escaped) = &mut escaped {
                    escaped.push(b'\n');
                }
            }
        }
        let target_ends = at;
        if self.place == Place::Head {
            at += self.pass_head(&bytes[at..]);
        }
        at += self.pass_body(&bytes[at..]);
        if let Some(escaped) = &mut escaped {
            escaped.extend_from_slice(&bytes[target_ends..at]);
        }
        Taken { length: at, escaped }
    }

    /// The length of the request line, as far as it has come.
    pub fn request_line(&self) -> usize {
        self.request_line
    }

    /// The request has been answered: the next one may come.
    pub fn answered(&mut self) {
        match self.place {
            Place::Answer => *self = Self::default(),
            // answered early: what is left of the body is not the next request
            Place::Body(_)
            | Place::Chunks(_)
            | Place::Method
            | Place::Target { .. }
            | Place::Head
            | Place::Unknown => {
                self.place = Place::Unknown;
            }
        }
    }

    /// Passes over the head's lines, and says how many bytes they have.
    fn pass_head(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while let Some(end) = bytes[at..].iter().position(|byte| *byte == b'\n') {
            let line = &bytes[at..at + end];
            at += end + 1;
            let is_last = if self.line.is_empty() {
                self.read_line(line)
            } else {
                self.remember(line);
                let line = std::mem::take(&mut self.line);
                self.read_line(&line)
            };
            if is_last {
                self.place = match self.body {
                    Body::None | Body::Length(0) => Place::Answer,
                    Body::Length(length) => Place::Body(length),
                    Body::Chunks => Place::Chunks(Chunks::default()),
                    Body::Unknown => Place::Unknown,
                };
                return at;
            }
        }
        self.remember(&bytes[at..]);
        bytes.len()
    }

    fn remember(&mut self, beginning: &[u8]) {
        let room = LONGEST_LINE.saturating_sub(self.line.len());
        self.line.extend_from_slice(&beginning[..beginning.len().min(room)]);
    }

    /// Reads one line of the head; whether it is the empty one at its end.
    fn read_line(&mut self, line: &[u8]) -> bool {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match line.first() {
            None => return true,
            Some(b'c' | b'C') => {
                if let Some(value) = value_of(line, b"content-length") {
                    self.body =
                        match (self.body, str::from_utf8(value).ok().and_then(|text| text.parse().ok())) {
                            (Body::None, Some(length)) => Body::Length(length),
                            _ => Body::Unknown,
                        };
                }
            }
            Some(b't' | b'T') => {
                if let Some(coding) = value_of(line, b"transfer-encoding") {
                    let is_clear = self.body == Body::None && coding.eq_ignore_ascii_case(b"chunked");
                    self.body = if is_clear { Body::Chunks } else { Body::Unknown };
                }
            }
            Some(_) => {}
        }
        false
    }

    fn pass_body(&mut self, bytes: &[u8]) -> usize {
        match &mut self.place {
            Place::Unknown => bytes.len(),
            Place::Chunks(chunks) => match chunks.pass(bytes) {
                Some(passed) => {
                    if chunks.are_over() {
                        self.place = Place::Answer;
                    }
                    passed
                }
                None => {
                    self.place = Place::Unknown;
                    bytes.len()
                }
            },
            Place::Body(left) => {
                let passed = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= passed as u64;
                if *left == 0 {
                    self.place = Place::Answer;
                }
                passed
            }
            Place::Method | Place::Target { .. } | Place::Head | Place::Answer => 0,
        }
    }
}

/// The value of a line with this name.
fn value_of<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (own, rest) = line.split_at_checked(name.len())?;
    let value = rest.strip_prefix(b":")?;
    own.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
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

    /// What is read of these pieces, and what has to wait.
    fn read(boundaries: &mut Boundaries, pieces: &[&[u8]]) -> (Vec<u8>, Vec<u8>) {
        let (mut read, mut waits) = (Vec::new(), Vec::new());
        for piece in pieces {
            let mut rest = *piece;
            while !rest.is_empty() && waits.is_empty() {
                let taken = boundaries.receive(rest);
                let (now, later) = rest.split_at(taken.length);
                if taken.length == 0 {
                    waits.extend_from_slice(later);
                }
                read.extend(taken.escaped.unwrap_or_else(|| now.to_vec()));
                rest = later;
            }
        }
        (read, waits)
    }

    fn read_all(boundaries: &mut Boundaries, pieces: &[&[u8]]) -> Vec<u8> {
        let (read, waits) = read(boundaries, pieces);
        assert_eq!(waits, b"");
        read
    }

    const RAW: &[u8] = "GET /ü#\"`?q=\"<é>`\" HTTP/1.1\r\nHost: ü\r\n\r\n".as_bytes();
    const ESCAPED: &[u8] = "GET /%C3%BC%23\"%60?q=%22%3C%C3%A9%3E`%22 HTTP/1.1\r\nHost: ü\r\n\r\n".as_bytes();

    #[test]
    fn the_target_is_escaped_and_nothing_else_wherever_it_is_cut() {
        assert_eq!(read_all(&mut Boundaries::default(), &[RAW]), ESCAPED);
        for cut in 0..RAW.len() {
            let (first, second) = RAW.split_at(cut);
            assert_eq!(read_all(&mut Boundaries::default(), &[first, second]), ESCAPED, "cut at {cut}");
        }
    }

    #[test]
    fn the_next_request_waits_for_the_answer_and_is_escaped_then_wherever_it_is_cut() {
        for first in [
            "GET / HTTP/1.1\r\nHost: ü\r\n\r\n",
            "GET / HTTP/1.1\nHost: h\n\n",
            "POST / HTTP/1.1\r\ncontent-LENGTH:8 \r\nHost: h\r\n\r\nü é ü",
            "POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
            "POST / HTTP/1.1\r\ntransfer-ENCODING: Chunked\r\n\r\n6;ü\r\nü\r\nü\r\n0\r\nü: \"\r\n\r\n",
        ] {
            let both = [first.as_bytes(), RAW].concat();
            for cut in 0..=both.len() {
                let mut boundaries = Boundaries::default();
                let (one, two) = both.split_at(cut);
                let (mut seen, mut waits) = read(&mut boundaries, &[one]);
                if waits.is_empty() {
                    let (more, later) = read(&mut boundaries, &[two]);
                    seen.extend(more);
                    waits = later;
                } else {
                    waits.extend_from_slice(two);
                }
                assert_eq!(seen, first.as_bytes(), "cut at {cut}");
                assert_eq!(waits, RAW, "cut at {cut}");
                boundaries.answered();
                assert_eq!(read_all(&mut boundaries, &[&waits]), ESCAPED, "cut at {cut}");
            }
        }
    }

    #[test]
    fn nothing_waits_and_nothing_is_touched_where_the_next_request_line_is_not_certain() {
        for received in [
            &b"POST / HTTP/1.1\r\ntransfer-encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"[..],
            b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello 0\r\n\r\n",
            b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhal",
            b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\nhalf",
        ] {
            let mut boundaries = Boundaries::default();
            assert_eq!(read_all(&mut boundaries, &[received]), received);
            boundaries.answered();
            assert_eq!(read_all(&mut boundaries, &[RAW]), RAW);
            boundaries.answered();
            assert_eq!(read_all(&mut boundaries, &[RAW]), RAW, "what is lost stays lost");
        }
    }

    #[test]
    fn endless_lines_are_not_kept() {
        let mut boundaries = Boundaries::default();
        boundaries.receive(b"GET / HTTP/1.1\r\nx: ");
        for _ in 0..1000 {
            boundaries.receive(&[b'v'; 100]);
        }
        assert!(boundaries.line.len() <= LONGEST_LINE);
    }

    proptest! {
        #[test]
        fn a_body_is_never_touched(
            body in proptest::collection::vec(any::<u8>(), 0..200),
            cuts in proptest::collection::vec(0_usize..300, 0..4),
        ) {
            let head = format!("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", body.len());
            let request = [head.as_bytes(), &body].concat();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(request.len())).collect();
            cuts.extend([0, request.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|ends| &request[ends[0]..ends[1]]).collect();
            let mut boundaries = Boundaries::default();
            prop_assert_eq!(&read_all(&mut boundaries, &pieces), &request);
            boundaries.answered();
            prop_assert_eq!(read_all(&mut boundaries, &[RAW]), ESCAPED);
        }

        #[test]
        fn no_bytes_make_it_panic_and_each_is_taken_once(
            pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..50), 0..8),
        ) {
            let mut boundaries = Boundaries::default();
            for piece in &pieces {
                let taken = boundaries.receive(piece);
                prop_assert!(taken.length <= piece.len());
            }
        }
    }
}
