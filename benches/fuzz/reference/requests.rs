//! The requests in a client's bytes: the upstream may receive these and no others.

use super::chunks::{self, ChunksEnd};

/// A complete request.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    pub method: String,
    pub body: Vec<u8>,
}

/// Parses all complete requests up to the first one of ambiguous length.
pub fn read(bytes: &[u8]) -> Vec<Request> {
    let (mut requests, mut at) = (Vec::new(), 0);
    while let Some((request, length)) = first(&bytes[at..]) {
        requests.push(request);
        at += length;
    }
    requests
}

/// Upper bound for the number of responses: one for each head in `bytes`, and one for an invalid request.
pub fn most_answers(bytes: &[u8]) -> usize {
    let ends = |end: &[u8]| bytes.windows(end.len()).filter(|window| *window == end).count();
    ends(b"\n\r\n") + ends(b"\n\n") + 1
}

fn first(bytes: &[u8]) -> Option<(Request, usize)> {
    // the sidecar escapes non-ASCII bytes in a target; `httparse` rejects them
    let line = bytes.iter().position(u8::is_ascii_graphic).unwrap_or_default();
    let end = bytes[line..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |end| line + end);
    let mut ascii = bytes.to_vec();
    ascii[..end].iter_mut().filter(|byte| !byte.is_ascii()).for_each(|byte| *byte = b'x');
    let bytes = &ascii[..];
    let mut headers = [httparse::EMPTY_HEADER; 512];
    let mut request = httparse::Request::new(&mut headers);
    let Ok(httparse::Status::Complete(head)) = request.parse(bytes) else { return None };
    let all = |name: &str| -> Vec<&[u8]> {
        let named = request.headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
        named.map(|header| header.value.trim_ascii()).collect()
    };
    let method = request.method.unwrap_or_default().to_owned();
    let (body, length) = match (&all("transfer-encoding")[..], &all("content-length")[..]) {
        ([], []) => (Vec::new(), 0),
        ([], [digits]) if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) => {
            let length: usize = std::str::from_utf8(digits).ok()?.parse().ok()?;
            (bytes[head..].get(..length)?.to_vec(), length)
        }
        ([coding], []) if coding.eq_ignore_ascii_case(b"chunked") && request.version == Some(1) => {
            let chunked = chunks::read(&bytes[head..]);
            let Some(ChunksEnd::Whole(length)) = chunked.end else { return None };
            (chunked.body, length)
        }
        _ => return None,
    };
    Some((Request { method, body }, head + length))
}
