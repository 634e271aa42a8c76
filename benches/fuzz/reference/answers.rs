//! Parses an upstream's bytes (RFC 9112, 6.3).

use super::chunks::{self, ChunksEnd};

/// A parser may reject a response with more headers.
const MAX_HEADERS: usize = 96;
const LONGEST_HEAD: usize = 64 << 10;
const MOST_INTERIM: usize = 32;

/// Result of parsing.
#[derive(Debug)]
pub enum Reading {
    /// A head, and the body bytes received so far.
    Answer { status: u16, body: Vec<u8>, end: BodyEnd },
    /// No head, an incomplete head, or a response of ambiguous length.
    NoAnswer,
    /// Parsers may disagree.
    Unclear,
}

/// How a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyEnd {
    /// Complete after this many bytes of input.
    Whole(usize),
    /// At the end of the connection.
    UntilClose,
    /// The input ends inside the body.
    Incomplete,
    /// The chunked encoding is invalid.
    Malformed,
}

/// Parses the response at the start of `bytes`.
pub fn read(bytes: &[u8], to_head: bool) -> Reading {
    let (mut at, mut interim) = (0, 0);
    loop {
        let mut headers = [httparse::EMPTY_HEADER; 400];
        let mut response = httparse::Response::new(&mut headers);
        let length = match response.parse(&bytes[at..]) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if bytes.len() - at > LONGEST_HEAD / 2 => return Reading::Unclear,
            Ok(httparse::Status::Partial) | Err(_) => return Reading::NoAnswer,
        };
        let status = response.code.unwrap_or_default();
        if response.headers.len() > MAX_HEADERS || length > LONGEST_HEAD / 2 || interim > MOST_INTERIM / 2 {
            return Reading::Unclear;
        }
        at += length;
        match status {
            101 => return Reading::NoAnswer,
            100..200 => interim += 1,
            200..600 => return final_answer(&response, status, bytes, at, to_head),
            _ => return Reading::NoAnswer,
        }
    }
}

fn final_answer(
    response: &httparse::Response<'_, '_>,
    status: u16,
    bytes: &[u8],
    at: usize,
    to_head: bool,
) -> Reading {
    let all = |name: &str| -> Vec<&[u8]> {
        let named = response.headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
        named.map(|header| header.value.trim_ascii()).collect()
    };
    let (codings, lengths) = (all("transfer-encoding"), all("content-length"));
    let length: Option<i64> = match lengths[..] {
        [] => None,
        // larger lengths are rejected
        [digits] if digits.iter().all(u8::is_ascii_digit) => {
            let length = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
            let Some(length) = length else { return Reading::NoAnswer };
            Some(length)
        }
        _ => return Reading::NoAnswer,
    };
    let is_chunked = match codings[..] {
        [] => false,
        [coding] if coding.eq_ignore_ascii_case(b"chunked") => true,
        _ => return Reading::NoAnswer,
    };
    if is_chunked && (length.is_some() || response.version != Some(1)) {
        return Reading::NoAnswer;
    }
    let rest = &bytes[at..];
    if to_head || matches!(status, 204 | 304) {
        return Reading::Answer { status, body: Vec::new(), end: BodyEnd::Whole(at) };
    }
    if is_chunked {
        let chunked = chunks::read(rest);
        if chunked.is_excessive {
            return Reading::Unclear;
        }
        let end = match chunked.end {
            Some(ChunksEnd::Whole(length)) => BodyEnd::Whole(at + length),
            Some(ChunksEnd::Malformed) => BodyEnd::Malformed,
            None => BodyEnd::Incomplete,
        };
        return Reading::Answer { status, body: chunked.body, end };
    }
    let Some(length) = length else {
        return Reading::Answer { status, body: rest.to_vec(), end: BodyEnd::UntilClose };
    };
    match usize::try_from(length).ok().and_then(|length| rest.get(..length)) {
        Some(body) => Reading::Answer { status, body: body.to_vec(), end: BodyEnd::Whole(at + body.len()) },
        None => Reading::Answer { status, body: rest.to_vec(), end: BodyEnd::Incomplete },
    }
}
