//! The checks of RFC 9113 on the fields of one block, and the block as `h2` gets it.
//!
//! `filter.rs` passes each field as it is decoded. A path gets the escapes that it gets over HTTP/1.1, an
//! authority that `http::Uri` does not parse (gRPC clients send the path of a Unix socket) moves to a mark,
//! and a malformed head becomes a minimal request with the mark of its fault: `h2` itself would reset the
//! stream or end the connection for each.

use http::uri::{Authority, Scheme};

use super::{
    fault::{self, FieldFault},
    hpack,
    table::{Field, Known, OVERHEAD, place},
};
use crate::{listener::request_target, message::chunks};

/// Bytes of the longest path that `http::Uri` parses. No setting allows more.
const LONGEST_PATH: usize = 65_534;
/// Bytes of the longest name that `http` parses.
const LONGEST_NAME: usize = 65_535;
/// Digits of the longest length that `h2` parses.
const MOST_DIGITS: usize = 19;
/// Bytes that a block may take from the dynamic table, which holds 4 KiB: four times every entry. Without
/// this limit a block of 70 bytes would become one of 256 KiB, on each stream of a connection.
const MOST_REFERRED: usize = 16 << 10;

/// The part of a request that a block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Head,
    /// The trailers behind its body.
    Trailers,
}

/// The pseudo-headers of requests (RFC 9113, 8.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pseudo {
    Method,
    Scheme,
    Path,
    Authority,
}

impl Pseudo {
    fn of(name: &[u8]) -> Option<Self> {
        match name {
            b":method" => Some(Self::Method),
            b":scheme" => Some(Self::Scheme),
            b":path" => Some(Self::Path),
            b":authority" => Some(Self::Authority),
            _ => None,
        }
    }
}

/// The methods that the rules for heads and answers name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Head,
    Connect,
    Other,
}

/// A block that is being written.
#[derive(Debug)]
pub struct Rewrite<'a> {
    block: &'a mut Vec<u8>,
    start: usize,
    part: Part,
    /// The stream ends with this block.
    is_end: bool,
    /// The size of the header list (RFC 9113, 6.5.2), and its limit.
    size: usize,
    limit: usize,
    /// The pseudo-headers so far, each at the place of its number.
    pseudo: [bool; 4],
    has_headers: bool,
    method: Method,
    /// An authority that `http::Uri` does not parse, for the mark behind the pseudo-headers.
    other_authority: Option<Vec<u8>>,
    referred: usize,
    length: Option<u64>,
    fault: Option<FieldFault>,
}

impl<'a> Rewrite<'a> {
    /// Begins a block at the end of `block`; a header list of `limit` bytes or more is refused.
    pub fn new(block: &'a mut Vec<u8>, part: Part, is_end: bool, limit: usize) -> Self {
        let start = block.len();
        Self {
            block,
            start,
            part,
            is_end,
            size: 0,
            limit,
            pseudo: [false; 4],
            has_headers: false,
            method: Method::Other,
            other_authority: None,
            referred: 0,
            length: None,
            fault: None,
        }
    }

    /// Adds a field. Behind a fault only the method matters: the answer to HEAD has no body.
    pub fn take(&mut self, field: Field<'_>) {
        if field.name == b":method" {
            self.method = match field.value {
                b"HEAD" => Method::Head,
                b"CONNECT" => Method::Connect,
                _ => Method::Other,
            };
        }
        self.referred += field.referred;
        if self.fault.is_none() && self.referred > MOST_REFERRED {
            self.fault = Some(FieldFault::TooLarge);
        }
        if self.fault.is_none() {
            let taken =
                if field.name.starts_with(b":") { self.take_pseudo(field) } else { self.take_header(field) };
            self.fault = taken.err();
        }
    }

    /// Completes the block, and returns the fault that replaced the fields.
    pub fn finish(mut self) -> Option<FieldFault> {
        if let (None, Some(authority)) = (self.fault, self.other_authority.take()) {
            self.fault = self.put(header(fault::AUTHORITY.as_str().as_bytes(), &authority)).err();
        }
        if self.fault.is_none() && self.part == Part::Head {
            self.fault = self.check_whole().err();
        }
        let fault = self.fault?;
        self.block.truncate(self.start);
        match self.part {
            Part::Head => self.write_refused(fault),
            // for a header of connections `h2` resets the stream
            Part::Trailers => hpack::write(header(b"connection", b""), self.block),
        }
        Some(fault)
    }

    /// Writes a minimal request with the mark of the fault.
    fn write_refused(&mut self, fault: FieldFault) {
        let method = if self.method == Method::Head {
            Field { known: Known::Name(place::GET), name: b":method", value: b"HEAD", referred: 0 }
        } else {
            whole(place::GET)
        };
        for field in [method, whole(place::HTTP), whole(place::ROOT)] {
            hpack::write(field, self.block);
        }
        hpack::write(header(fault::FAULT.as_str().as_bytes(), &fault.mark()), self.block);
    }

    /// Checks the pseudo-headers (RFC 9113, 8.3.1 and 8.5), and the length if there is no body (8.1.1).
    fn check_whole(&self) -> Result<(), FieldFault> {
        let has = |pseudo: Pseudo| self.pseudo[pseudo as usize];
        let (scheme, path) = (has(Pseudo::Scheme), has(Pseudo::Path));
        let is_connect = self.method == Method::Connect;
        let is_whole = has(Pseudo::Method) && if is_connect { !scheme && !path } else { scheme && path };
        let has_length = !self.is_end || self.length.is_none_or(|length| length == 0);
        if !is_whole {
            Err(FieldFault::Pseudo)
        } else if has_length {
            Ok(())
        } else {
            Err(FieldFault::Length)
        }
    }

    fn take_pseudo(&mut self, field: Field<'_>) -> Result<(), FieldFault> {
        let pseudo = Pseudo::of(field.name).ok_or(FieldFault::UnknownPseudo)?;
        let is_repeated = std::mem::replace(&mut self.pseudo[pseudo as usize], true);
        if is_repeated || self.has_headers || self.part == Part::Trailers {
            return Err(FieldFault::MisplacedPseudo);
        }
        match pseudo {
            Pseudo::Method => self.put_if(field, is_token(field.value), FieldFault::Method),
            Pseudo::Scheme => self.put_if(field, is_scheme(field.value), FieldFault::Scheme),
            Pseudo::Path => self.take_path(field),
            Pseudo::Authority => self.take_authority(field),
        }
    }

    /// Adds the path with the escapes that it gets over HTTP/1.1.
    fn take_path(&mut self, field: Field<'_>) -> Result<(), FieldFault> {
        let escaped = request_target::escape(field.value);
        let field = match &escaped {
            Some(path) => Field { known: Known::Name(place::ROOT), value: path, ..field },
            None => field,
        };
        if field.value.len() > LONGEST_PATH {
            return Err(FieldFault::LongPath);
        }
        let is_path = field.value.starts_with(b"/") || field.value == b"*";
        self.put_if(field, is_path && field.value.iter().all(u8::is_ascii_graphic), FieldFault::Path)
    }

    /// Adds the authority. One that `http::Uri` does not parse waits for the mark, since `h2` takes no
    /// pseudo-header behind a header; `message/head.rs` checks the authority as it checks `Host` of HTTP/1.1.
    fn take_authority(&mut self, field: Field<'_>) -> Result<(), FieldFault> {
        let Field { value, .. } = field;
        if value.is_empty() || !is_value(value) {
            return Err(FieldFault::Authority);
        }
        if is_plain_authority(value) || Authority::try_from(value).is_ok() {
            return self.put(field);
        }
        self.other_authority = Some(value.to_vec());
        Ok(())
    }

    fn take_header(&mut self, field: Field<'_>) -> Result<(), FieldFault> {
        self.has_headers = true;
        let Field { known, name, value, .. } = field;
        if known == Known::Nothing && !is_name(name) {
            return Err(FieldFault::Name);
        }
        if !is_value(value) {
            return Err(FieldFault::Value);
        }
        match name {
            b"connection" | b"transfer-encoding" | b"upgrade" | b"keep-alive" | b"proxy-connection" => {
                return Err(FieldFault::OfConnection);
            }
            b"te" if value != b"trailers" => return Err(FieldFault::OfConnection),
            b"content-length" if self.part == Part::Head => {
                let length = length(value).ok_or(FieldFault::Length)?;
                if self.length.replace(length).is_some_and(|other| other != length) {
                    return Err(FieldFault::Length);
                }
            }
            _ => {}
        }
        self.put(field)
    }

    fn put_if(&mut self, field: Field<'_>, is_sound: bool, fault: FieldFault) -> Result<(), FieldFault> {
        if is_sound { self.put(field) } else { Err(fault) }
    }

    fn put(&mut self, field: Field<'_>) -> Result<(), FieldFault> {
        self.size += field.name.len() + field.value.len() + OVERHEAD;
        if self.size >= self.limit {
            return Err(FieldFault::TooLarge);
        }
        hpack::write(field, self.block);
        Ok(())
    }
}

fn header<'a>(name: &'a [u8], value: &'a [u8]) -> Field<'a> {
    Field { known: Known::Nothing, name, value, referred: 0 }
}

fn whole(place: u8) -> Field<'static> {
    Field { known: Known::Whole(place), name: b"", value: b"", referred: 0 }
}

fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().copied().all(chunks::is_token)
}

/// A name of RFC 9113, 8.2.1.
fn is_name(text: &[u8]) -> bool {
    is_token(text) && text.len() <= LONGEST_NAME && !text.iter().any(u8::is_ascii_uppercase)
}

/// A value of RFC 9110, 5.5. Without an early return the compiler checks many bytes at a time.
fn is_value(text: &[u8]) -> bool {
    let is_control = |byte: u8| (byte < b' ' && byte != b'\t') || byte == 0x7f;
    text.iter().fold(0, |found, &byte| found | u8::from(is_control(byte))) == 0
}

fn is_scheme(text: &[u8]) -> bool {
    matches!(text, b"http" | b"https") || Scheme::try_from(text).is_ok()
}

/// A host name or an IPv4 address, with a port or without: the usual case, which needs no copy into an
/// `Authority`.
fn is_plain_authority(text: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-.".contains(byte);
    let (host, port) = match text.iter().position(|byte| *byte == b':') {
        Some(colon) => (&text[..colon], &text[colon + 1..]),
        None => (text, &[][..]),
    };
    !host.is_empty() && host.iter().all(is_plain) && port.iter().all(u8::is_ascii_digit)
}

fn length(text: &[u8]) -> Option<u64> {
    let is_number = text.len() <= MOST_DIGITS && text.iter().all(u8::is_ascii_digit);
    if is_number { str::from_utf8(text).ok()?.parse().ok() } else { None }
}
