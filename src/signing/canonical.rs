//! The canonical request (docs.aws.amazon.com, "Create a signed AWS API request"), in one buffer.

use actix_http::header::{self, HeaderName, HeaderValue};

use crate::proxy::outbound::OutboundRequest;

/// A request with what signing adds to it.
pub struct Request<'a> {
    /// What is about to be sent.
    pub outbound: &'a OutboundRequest,
    /// The value of `x-amz-date`.
    pub date: &'a str,
    /// The value of `x-amz-security-token`.
    pub security_token: Option<&'a HeaderValue>,
    /// The body's SHA-256 in hexadecimal.
    pub payload_hash: String,
}

/// The canonical request and the list of the headers in it.
#[derive(Debug, PartialEq, Eq)]
pub struct Text {
    /// Six parts, one a line or more.
    pub canonical: Vec<u8>,
    /// Names with `;` between.
    pub signed_headers: String,
}

/// The value of a header that is signed: ours, or all lines of one that is sent.
enum Value<'a> {
    Ours(&'a [u8]),
    Sent(&'a HeaderName),
}

impl Request<'_> {
    /// Writes it out.
    pub fn text(&self) -> Text {
        let headers = self.signed_headers();
        let mut text = Vec::with_capacity(512);
        text.extend_from_slice(self.outbound.method.as_str().as_bytes());
        text.push(b'\n');
        push_path(self.outbound.path(), &mut text);
        text.push(b'\n');
        push_query(self.outbound.query().unwrap_or_default(), &mut text);
        text.push(b'\n');
        for (name, value) in &headers {
            text.extend_from_slice(name.as_bytes());
            text.push(b':');
            match value {
                Value::Ours(value) => push_header_value(value, &mut text),
                Value::Sent(name) => {
                    for (index, line) in self.outbound.headers.get_all(*name).enumerate() {
                        if index > 0 {
                            text.push(b',');
                        }
                        push_header_value(line.as_bytes(), &mut text);
                    }
                }
            }
            text.push(b'\n');
        }
        text.push(b'\n');
        let names = text.len();
        for (index, (name, _)) in headers.iter().enumerate() {
            if index > 0 {
                text.push(b';');
            }
            text.extend_from_slice(name.as_bytes());
        }
        let signed_headers = String::from_utf8_lossy(&text[names..]).into_owned();
        text.push(b'\n');
        text.extend_from_slice(self.payload_hash.as_bytes());
        Text { canonical: text, signed_headers }
    }

    /// What is signed, sorted by name: `host`, `content-type` and every `x-amz-*`, ours in place of others.
    fn signed_headers(&self) -> Vec<(&str, Value<'_>)> {
        let ours = [
            Some(("x-amz-date", Value::Ours(self.date.as_bytes()))),
            self.security_token.map(|token| ("x-amz-security-token", Value::Ours(token.as_bytes()))),
        ];
        let sent = self.outbound.headers.keys().filter(|name| is_signed(name));
        let mut headers: Vec<(&str, Value<'_>)> = Vec::with_capacity(8);
        headers.extend(ours.into_iter().flatten());
        headers.extend(sent.map(|name| (name.as_str(), Value::Sent(name))));
        headers.sort_unstable_by_key(|(name, _)| *name);
        headers
    }
}

/// Whether a header that is sent has to be signed; the two that signing itself sets come from elsewhere.
fn is_signed(name: &HeaderName) -> bool {
    *name == header::HOST
        || *name == header::CONTENT_TYPE
        || (name.as_str().starts_with("x-amz-")
            && !matches!(name.as_str(), "x-amz-date" | "x-amz-security-token"))
}

/// The path normalised, then every byte but the unreserved ones and `/` encoded, so that an escape on the
/// wire is encoded once more.
fn push_path(path: &str, text: &mut Vec<u8>) {
    if !(path.contains("/.") || path.contains("//")) {
        return push_encoded(path.as_bytes(), b"/", text);
    }
    let start = text.len();
    let mut ends_with_slash = true;
    for segment in path.split('/').skip(1) {
        ends_with_slash = matches!(segment, "" | "." | "..");
        match segment {
            "" | "." => {}
            ".." => {
                let parent = text[start..].iter().rposition(|byte| *byte == b'/').unwrap_or_default();
                text.truncate(start + parent);
            }
            name => {
                text.push(b'/');
                push_encoded(name.as_bytes(), b"", text);
            }
        }
    }
    if ends_with_slash {
        text.push(b'/');
    }
}

/// The query's pairs sorted by name, then value. The query itself is in strict form already.
fn push_query(query: &str, text: &mut Vec<u8>) {
    let mut pairs: Vec<(&str, &str)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .collect();
    pairs.sort_unstable();
    for (index, (name, value)) in pairs.into_iter().enumerate() {
        if index > 0 {
            text.push(b'&');
        }
        text.extend_from_slice(name.as_bytes());
        text.push(b'=');
        text.extend_from_slice(value.as_bytes());
    }
}

/// A header's value without blanks at its ends and with runs of blanks as one.
fn push_header_value(value: &[u8], text: &mut Vec<u8>) {
    let mut words = value.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    if let Some(first) = words.next() {
        text.extend_from_slice(first);
    }
    for word in words {
        text.push(b' ');
        text.extend_from_slice(word);
    }
}

/// Encodes every byte that is neither unreserved (RFC 3986, 2.3) nor among `kept`.
pub(super) fn push_encoded(bytes: &[u8], kept: &[u8], text: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') || kept.contains(byte) {
            text.push(*byte);
        } else {
            text.extend_from_slice(&[b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
    }
}
