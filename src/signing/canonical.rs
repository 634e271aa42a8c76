//! The canonical request (docs.aws.amazon.com, "Create a signed AWS API request"), in one buffer.
//!
//! `signing.rs` chooses the headers; this writes them and all else down, byte by byte as AWS will.

use actix_http::header::HeaderValue;

use crate::text::uri_syntax::{push_encoded, query::pairs};

/// Everything that a signature covers.
#[derive(Debug)]
pub struct Canonical<'a> {
    pub method: &'a str,
    /// The path as it goes out.
    pub path: &'a str,
    /// The query as it goes out, in the strict form of `uri_syntax/query.rs`.
    pub query: &'a str,
    /// The headers, sorted by their lower-case names.
    pub headers: &'a [SignedHeader<'a>],
    /// The body's SHA-256 in hexadecimal.
    pub payload_hash: &'a str,
}

/// A header with its lower-case name.
#[derive(Debug)]
pub struct SignedHeader<'a> {
    pub name: &'a str,
    pub value: SignedValue<'a>,
}

#[derive(Debug)]
pub enum SignedValue<'a> {
    /// One that signing adds.
    Added(&'a str),
    /// The lines of one that is in the request.
    Lines(&'a [HeaderValue]),
}

/// The canonical request and the list of the headers in it.
#[derive(Debug, PartialEq, Eq)]
pub struct CanonicalText {
    /// Six parts, one a line or more.
    pub text: Vec<u8>,
    /// Names with `;` between.
    pub signed_headers: String,
}

impl Canonical<'_> {
    pub fn write(&self) -> CanonicalText {
        let mut text = Vec::with_capacity(512);
        text.extend_from_slice(self.method.as_bytes());
        text.push(b'\n');
        push_path(self.path, &mut text);
        text.push(b'\n');
        push_query(self.query, &mut text);
        text.push(b'\n');
        for header in self.headers {
            push_header(header, &mut text);
        }
        text.push(b'\n');
        let mut signed_headers = String::with_capacity(64);
        for header in self.headers {
            if !signed_headers.is_empty() {
                signed_headers.push(';');
            }
            signed_headers.push_str(header.name);
        }
        text.extend_from_slice(signed_headers.as_bytes());
        text.push(b'\n');
        text.extend_from_slice(self.payload_hash.as_bytes());
        CanonicalText { text, signed_headers }
    }
}

/// A header's lines joined by commas, in the order in which they go out.
fn push_header(header: &SignedHeader<'_>, text: &mut Vec<u8>) {
    text.extend_from_slice(header.name.as_bytes());
    text.push(b':');
    match header.value {
        SignedValue::Added(value) => text.extend_from_slice(value.as_bytes()),
        SignedValue::Lines(lines) => {
            for (index, line) in lines.iter().enumerate() {
                if index > 0 {
                    text.push(b',');
                }
                push_header_value(line.as_bytes(), text);
            }
        }
    }
    text.push(b'\n');
}

/// The path normalised, then every byte but the unreserved ones and `/` encoded, so that an escape on the
/// wire is encoded once more.
///
/// A path that ends in a slash keeps it; one that ends in `/.` or `/..` gets none, as in botocore, awscrt and
/// AWS's SDKs for Java. RFC 3986, 5.2.4, and the crate `aws-sigv4` would put one there.
fn push_path(path: &str, text: &mut Vec<u8>) {
    if !(path.contains("/.") || path.contains("//")) {
        return push_encoded(path.as_bytes(), b"/", text);
    }
    let start = text.len();
    for segment in path.split('/').skip(1) {
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
    // `/` is left of a path without a name
    if path.ends_with('/') || text.len() == start {
        text.push(b'/');
    }
}

/// The query's pairs sorted by name, then value. The query itself is in strict form already.
fn push_query(query: &str, text: &mut Vec<u8>) {
    let mut pairs: Vec<(&str, &str)> = pairs(query).collect();
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

/// A header's value without blanks at its ends and with runs of blanks as one, within quotes too, as AWS's
/// vector `get-header-value-trim` has it. A tab is a blank: so it is in botocore, awscrt and AWS's SDKs for Java,
/// .NET and JavaScript, but not in those for Go and Rust.
fn push_header_value(value: &[u8], text: &mut Vec<u8>) {
    let mut words = value.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
    if let Some(first) = words.next() {
        text.extend_from_slice(first);
    }
    for word in words {
        text.push(b' ');
        text.extend_from_slice(word);
    }
}
