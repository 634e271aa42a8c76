//! The checks of RFC 9113 on the fields of one block, and the block that `h2` gets.
//!
//! `filter.rs` passes each field as it is decoded. A path gets the escapes that it gets over HTTP/1.1, an
//! authority that `http::Uri` does not parse (gRPC clients send the path of a Unix socket) moves to a mark,
//! and a malformed head becomes a minimal request with the mark of its fault: `h2` itself would reset the
//! stream or end the connection for each.

use http::{
    Method,
    uri::{Authority, Scheme},
};

use super::{
    fault::{self, FieldFault},
    frames::HEAD,
    hpack,
    table::{ENTRY_OVERHEAD, Field, StaticMatch},
};
use crate::{listener::request_target, message::chunks};

/// Bytes of the longest path that `http::Uri` parses. No setting allows more.
const MAX_PATH: usize = 65_534;
/// Bytes of the longest name that `http` parses.
const MAX_NAME: usize = 65_535;
/// Digits of the longest length that `h2` parses.
const MAX_LENGTH_DIGITS: usize = 19;
/// Bytes that a block may take from the dynamic table, which holds 4 KiB: four times every entry. Without
/// this limit a block of 70 bytes would become one of 256 KiB, on each stream of a connection.
const MAX_REFERRED: usize = 16 << 10;
/// The pseudo-headers of requests (RFC 9113, 8.3.1).
const PSEUDO_HEADERS: [&[u8]; 4] = [b":method", b":scheme", b":path", b":authority"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockKind {
    Head,
    Trailers,
}

/// A block that is being written.
#[derive(Debug)]
pub struct Rewrite<'a> {
    block: &'a mut Vec<u8>,
    kind: BlockKind,
    /// The stream ends with this block.
    is_end: bool,
    /// The size of the header list (RFC 9113, 6.5.2), and its limit.
    size: usize,
    limit: usize,
    /// The pseudo-headers so far, in the order of [`PSEUDO_HEADERS`].
    seen: [bool; 4],
    has_headers: bool,
    method: Method,
    /// An authority that `http::Uri` does not parse, for the mark behind the pseudo-headers.
    other_authority: Option<Vec<u8>>,
    referred: usize,
    length: Option<u64>,
    fault: Option<FieldFault>,
}

impl<'a> Rewrite<'a> {
    /// Begins a block behind the room for a frame head; header lists of `limit` bytes or more are refused.
    pub fn new(block: &'a mut Vec<u8>, kind: BlockKind, is_end: bool, limit: usize) -> Self {
        block.resize(HEAD, 0);
        Self {
            block,
            kind,
            is_end,
            size: 0,
            limit,
            seen: [false; 4],
            has_headers: false,
            method: Method::GET,
            other_authority: None,
            referred: 0,
            length: None,
            fault: None,
        }
    }

    /// Adds a field. After a fault only the method matters: the response to HEAD has no body.
    pub fn take(&mut self, field: Field<'_>) {
        if field.name == b":method" {
            self.method = Method::from_bytes(field.value).unwrap_or_default();
        }
        self.referred += field.referred;
        if self.fault.is_none() && self.referred > MAX_REFERRED {
            self.fault = Some(FieldFault::TOO_LARGE);
        }
        if self.fault.is_none() {
            let taken =
                if field.name.starts_with(b":") { self.take_pseudo(field) } else { self.take_header(field) };
            self.fault = taken.err();
        }
    }

    /// Completes the block, and returns the fault that it was replaced for.
    pub fn finish(mut self) -> Option<FieldFault> {
        if let (None, Some(authority)) = (self.fault, self.other_authority.take()) {
            self.fault = self.put(Field::literal(fault::AUTHORITY.as_str().as_bytes(), &authority)).err();
        }
        if self.fault.is_none() && self.kind == BlockKind::Head {
            self.fault = self.check_whole().err();
        }
        let fault = self.fault?;
        self.block.truncate(HEAD);
        match self.kind {
            BlockKind::Head => self.write_refused(fault),
            // `h2` resets the stream for a connection-specific header
            BlockKind::Trailers => hpack::write(Field::literal(b"connection", b""), self.block),
        }
        Some(fault)
    }

    /// Writes a minimal request with the mark of the fault.
    fn write_refused(&mut self, fault: FieldFault) {
        // by their indices in the static table: `:method`, `:scheme: http` and `:path: /`
        let method: &[u8] = if self.method == Method::HEAD { b"\x02\x04HEAD" } else { b"\x82" };
        self.block.extend_from_slice(method);
        self.block.extend_from_slice(b"\x86\x84");
        hpack::write(Field::literal(fault::FAULT.as_str().as_bytes(), fault.0.as_bytes()), self.block);
    }

    /// Checks the pseudo-headers (RFC 9113, 8.3.1 and 8.5), and the length if there is no body (8.1.1).
    fn check_whole(&self) -> Result<(), FieldFault> {
        let [method, scheme, path, _] = self.seen;
        let is_whole =
            method && if self.method == Method::CONNECT { !scheme && !path } else { scheme && path };
        if !is_whole {
            Err(FieldFault::MISSING_PSEUDO)
        } else if self.is_end && self.length.is_some_and(|length| length > 0) {
            Err(FieldFault::LENGTH)
        } else {
            Ok(())
        }
    }

    fn take_pseudo(&mut self, field: Field<'_>) -> Result<(), FieldFault> {
        let number = PSEUDO_HEADERS.iter().position(|name| *name == field.name);
        let seen = &mut self.seen[number.ok_or(FieldFault::UNKNOWN_PSEUDO)?];
        if std::mem::replace(seen, true) || self.has_headers || self.kind == BlockKind::Trailers {
            return Err(FieldFault::MISPLACED_PSEUDO);
        }
        match field.name {
            b":method" => self.put_if(field, is_token(field.value), FieldFault::METHOD),
            b":scheme" => self.put_if(field, is_scheme(field.value), FieldFault::SCHEME),
            b":path" => self.take_path(field),
            _ => self.take_authority(field),
        }
    }

    /// Adds the path with the escapes that it gets over HTTP/1.1.
    fn take_path(&mut self, field: Field<'_>) -> Result<(), FieldFault> {
        let escaped = request_target::escape(field.value);
        let field = escaped.as_deref().map_or(field, |path| Field::literal(field.name, path));
        if field.value.len() > MAX_PATH {
            return Err(FieldFault::LONG_PATH);
        }
        let is_path = field.value.starts_with(b"/") || field.value == b"*";
        self.put_if(field, is_path && field.value.iter().all(u8::is_ascii_graphic), FieldFault::PATH)
    }

    /// Adds the authority. One that `http::Uri` does not parse waits for its mark, since `h2` takes no
    /// pseudo-header after a header; `message/head.rs` checks it like `Host` of HTTP/1.1.
    fn take_authority(&mut self, field: Field<'_>) -> Result<(), FieldFault> {
        let Field { value, .. } = field;
        if value.is_empty() || !is_value(value) {
            return Err(FieldFault::AUTHORITY);
        }
        if is_plain_authority(value) || Authority::try_from(value).is_ok() {
            return self.put(field);
        }
        self.other_authority = Some(value.to_vec());
        Ok(())
    }

    fn take_header(&mut self, field: Field<'_>) -> Result<(), FieldFault> {
        self.has_headers = true;
        let Field { in_static, name, value, .. } = field;
        if in_static == StaticMatch::None && !is_name(name) {
            return Err(FieldFault::NAME);
        }
        if !is_value(value) {
            return Err(FieldFault::VALUE);
        }
        match name {
            b"connection" | b"transfer-encoding" | b"upgrade" | b"keep-alive" | b"proxy-connection" => {
                return Err(FieldFault::CONNECTION_SPECIFIC);
            }
            b"te" if value != b"trailers" => return Err(FieldFault::CONNECTION_SPECIFIC),
            b"content-length" if self.kind == BlockKind::Head => {
                let length = length(value).ok_or(FieldFault::LENGTH)?;
                if self.length.replace(length).is_some_and(|other| other != length) {
                    return Err(FieldFault::LENGTH);
                }
            }
            _ => {}
        }
        self.put(field)
    }

    fn put_if(&mut self, field: Field<'_>, is_valid: bool, fault: FieldFault) -> Result<(), FieldFault> {
        if is_valid { self.put(field) } else { Err(fault) }
    }

    fn put(&mut self, field: Field<'_>) -> Result<(), FieldFault> {
        self.size += field.name.len() + field.value.len() + ENTRY_OVERHEAD;
        if self.size >= self.limit {
            return Err(FieldFault::TOO_LARGE);
        }
        hpack::write(field, self.block);
        Ok(())
    }
}

fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().copied().all(chunks::is_token)
}

/// RFC 9113, 8.2.1
fn is_name(text: &[u8]) -> bool {
    is_token(text) && text.len() <= MAX_NAME && !text.iter().any(u8::is_ascii_uppercase)
}

/// RFC 9110, 5.5. Without an early return the compiler checks many bytes at a time.
fn is_value(text: &[u8]) -> bool {
    let is_control = |byte: u8| (byte < b' ' && byte != b'\t') || byte == 0x7f;
    text.iter().fold(0, |found, &byte| found | u8::from(is_control(byte))) == 0
}

fn is_scheme(text: &[u8]) -> bool {
    matches!(text, b"http" | b"https") || Scheme::try_from(text).is_ok()
}

/// True for a host name or an IPv4 address, with or without a port: the usual case, which needs no copy into
/// an `Authority`.
fn is_plain_authority(text: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-.".contains(byte);
    let (host, port) = match text.iter().position(|byte| *byte == b':') {
        Some(colon) => (&text[..colon], &text[colon + 1..]),
        None => (text, &[][..]),
    };
    !host.is_empty() && host.iter().all(is_plain) && port.iter().all(u8::is_ascii_digit)
}

fn length(text: &[u8]) -> Option<u64> {
    let is_number = text.len() <= MAX_LENGTH_DIGITS && text.iter().all(u8::is_ascii_digit);
    if is_number { str::from_utf8(text).ok()?.parse().ok() } else { None }
}
