//! Strict parser of HTTP/1.1 responses (RFC 9112). Everything that the sidecar sends must satisfy it.

use std::fmt;

use super::case::Escaped;

/// How the connection ended, if it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    NotYet,
    Closed,
    Reset,
}

/// A response, or as much of one as was received.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
    /// The connection closes after this response.
    pub is_last: bool,
    /// Number of 1xx responses before it.
    pub interim: usize,
}

#[derive(Debug)]
pub enum Parsed {
    /// A complete response and its length in bytes.
    Whole(Answer, usize),
    /// An incomplete response: the head once it is complete, with the body bytes received so far.
    Partial(Option<Answer>),
    /// A violation of RFC 9112.
    Malformed(String),
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        for (name, value) in &self.headers {
            write!(f, " | {name}: {}", Escaped(value))?;
        }
        write!(f, " | \"{}\"", Escaped(&self.body))
    }
}

impl Answer {
    pub fn all(&self, name: &str) -> Vec<&[u8]> {
        let named = self.headers.iter().filter(|(own, _)| own.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_slice()).collect()
    }

    /// Error code of a response that the sidecar made itself.
    pub fn code(&self) -> Option<String> {
        let body: serde_json::Value = serde_json::from_slice(&self.body).ok()?;
        body.get("request_id")?;
        Some(body.get("code")?.as_str()?.to_owned())
    }
}

/// Parses one response at the start of `bytes`. `to_head` is set if the request's method was HEAD.
pub fn parse(bytes: &[u8], to_head: bool, ended: Ended) -> Parsed {
    let (mut at, mut interim) = (0, 0);
    loop {
        let mut headers = [httparse::EMPTY_HEADER; 512];
        let mut response = httparse::Response::new(&mut headers);
        let length = match response.parse(&bytes[at..]) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return Parsed::Partial(None),
            Err(error) => return malformed(&error.to_string(), &bytes[at..]),
        };
        let status = response.code.unwrap_or_default();
        if !(100..=599).contains(&status) {
            return malformed(&format!("status {status}"), &bytes[at..]);
        }
        let head = &bytes[at..at + length];
        if head.windows(2).any(|pair| pair[1] == b'\n' && pair[0] != b'\r') {
            return malformed("a line that ends in LF alone", head);
        }
        at += length;
        if status < 200 {
            interim += 1;
            continue;
        }
        let is_1_1 = response.version == Some(1);
        let headers: Vec<_> =
            response.headers.iter().map(|header| (header.name.to_owned(), header.value.to_vec())).collect();
        let mut answer = Answer { status, headers, interim, ..Answer::default() };
        let connection = answer.all("connection").join(&b',').to_ascii_lowercase();
        let says = |word: &[u8]| connection.split(|byte| *byte == b',').any(|own| own.trim_ascii() == word);
        answer.is_last = says(b"close") || !(is_1_1 || says(b"keep-alive"));
        let is_bodyless = to_head || matches!(status, 204 | 304);
        return match framing(&answer, is_1_1, is_bodyless) {
            Ok(framing) => body(answer, framing, bytes, at, ended),
            Err(problem) => malformed(&problem, head),
        };
    }
}

#[derive(Clone, Copy)]
enum Framing {
    Length(usize),
    Chunked,
    UntilClose,
}

fn framing(answer: &Answer, is_1_1: bool, is_bodyless: bool) -> Result<Framing, String> {
    let (codings, lengths) = (answer.all("transfer-encoding"), answer.all("content-length"));
    let length = match lengths[..] {
        [] => None,
        [digits] if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) => {
            // too large for usize: such a body never completes
            Some(std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok()).unwrap_or(usize::MAX))
        }
        _ => return Err(format!("{} lengths, or one that is no number", lengths.len())),
    };
    match (&codings[..], length) {
        ([], _) | ([b"chunked"], None) if is_bodyless => Ok(Framing::Length(0)),
        ([b"chunked"], None) if is_1_1 => Ok(Framing::Chunked),
        ([], Some(length)) => Ok(Framing::Length(length)),
        ([], None) => Ok(Framing::UntilClose),
        _ => Err("a transfer coding besides a length, unknown, or in HTTP/1.0".to_owned()),
    }
}

fn body(mut answer: Answer, framing: Framing, bytes: &[u8], at: usize, ended: Ended) -> Parsed {
    let rest = &bytes[at..];
    match framing {
        Framing::Length(length) => match rest.get(..length) {
            Some(body) => {
                answer.body = body.to_vec();
                Parsed::Whole(answer, at + length)
            }
            None => {
                answer.body = rest.to_vec();
                Parsed::Partial(Some(answer))
            }
        },
        Framing::UntilClose => {
            answer.body = rest.to_vec();
            answer.is_last = true;
            if ended == Ended::Closed {
                Parsed::Whole(answer, bytes.len())
            } else {
                Parsed::Partial(Some(answer))
            }
        }
        Framing::Chunked => chunks(answer, bytes, at),
    }
}

fn chunks(mut answer: Answer, bytes: &[u8], mut at: usize) -> Parsed {
    loop {
        let rest = &bytes[at..];
        let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") else {
            return Parsed::Partial(Some(answer));
        };
        let size = std::str::from_utf8(&rest[..end]).ok();
        let size = size.filter(|size| size.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let Some(size) = size.and_then(|size| usize::from_str_radix(size, 16).ok()) else {
            return malformed("a chunk's size", rest);
        };
        let data = &rest[end + 2..];
        answer.body.extend_from_slice(&data[..size.min(data.len())]);
        if data.len() < size + 2 {
            return Parsed::Partial(Some(answer));
        }
        if &data[size..size + 2] != b"\r\n" {
            return malformed("more in a chunk than its size", data);
        }
        at += end + size + 4;
        if size == 0 {
            return Parsed::Whole(answer, at);
        }
    }
}

fn malformed(problem: &str, bytes: &[u8]) -> Parsed {
    Parsed::Malformed(format!("{problem}, in \"{}\"", Escaped(bytes)))
}
