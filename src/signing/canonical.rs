//! The canonical request of SigV4 (docs.aws.amazon.com, "Create a signed AWS API request"), written into one
//! buffer.
//!
//! `signing.rs` selects the headers; the text must equal AWS's byte for byte.

use actix_http::header::HeaderValue;

use crate::text::{
    signing_rules::CanonicalPath,
    uri_syntax::{push_encoded, query::pairs},
};

/// The parts of a request that the signature covers.
#[derive(Debug)]
pub struct CanonicalRequest<'a> {
    pub method: &'a str,
    /// The path as sent.
    pub path: &'a str,
    pub path_form: CanonicalPath,
    /// The query as sent, in the strict form of `uri_syntax/query.rs`.
    pub query: &'a str,
    /// Sorted by lower-case name.
    pub headers: &'a [SignedHeader<'a>],
    /// SHA-256 of the body in hexadecimal, or a word that stands for it.
    pub payload_hash: &'a str,
}

#[derive(Debug)]
pub struct SignedHeader<'a> {
    /// Lower-case name.
    pub name: &'a str,
    pub value: SignedValue<'a>,
}

#[derive(Debug)]
pub enum SignedValue<'a> {
    /// The value of a header that signing adds.
    Added(&'a str),
    /// The lines of a header of the request.
    Lines(&'a [HeaderValue]),
}

/// The canonical request and the names of its headers.
#[derive(Debug, PartialEq, Eq)]
pub struct CanonicalText {
    pub text: Vec<u8>,
    /// `SignedHeaders`: names separated by `;`.
    pub signed_headers: String,
}

impl CanonicalRequest<'_> {
    pub fn write(&self) -> CanonicalText {
        let mut text = Vec::with_capacity(512);
        text.extend_from_slice(self.method.as_bytes());
        text.push(b'\n');
        match self.path_form {
            CanonicalPath::EncodedTwice => push_path(self.path, &mut text),
            CanonicalPath::EncodedOnce => text.extend_from_slice(self.path.as_bytes()),
        }
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

/// Lines of the same header are joined by commas in the order in which they are sent.
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

/// Normalises the path, then percent-encodes every byte except unreserved characters and `/`, so an escape in
/// the sent path is encoded twice.
///
/// A trailing slash is kept; a path that ends in `/.` or `/..` gets none, as in botocore, awscrt and the AWS
/// SDKs for Java. RFC 3986, 5.2.4, and the crate `aws-sigv4` would add one.
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
    // a path without segments becomes `/`
    if path.ends_with('/') || text.len() == start {
        text.push(b'/');
    }
}

/// Sorts the pairs by name, then value. The query is in strict form already.
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

/// Trims a header's value and collapses each run of whitespace into one space, within quotes too, as in AWS's
/// test vector `get-header-value-trim`. A tab counts as whitespace, as in botocore, awscrt and the AWS SDKs
/// for Java, .NET and JavaScript, but not in those for Go and Rust.
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
