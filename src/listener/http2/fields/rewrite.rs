//! The fields of one block as `h2` gets them: checked by the rules of RFC 9113, and changed so that `h2` takes
//! what HTTP/1.1 would.
//!
//! `filter.rs` hands the fields over as they are decoded. `h2` itself would reset a stream, or end the connection,
//! for what is refused here; it knows no escapes, and no authority that is the path of a Unix socket.

use http::uri::{Authority, Scheme};

use super::{
    fault::{self, Fault},
    hpack,
    table::{Field, Known, OVERHEAD, place},
};
use crate::listener::request_target;

/// Bytes of the longest path that `http::Uri` takes. No setting allows more.
const LONGEST_PATH: usize = 65_534;
/// Bytes of the longest name that `http` takes.
const LONGEST_NAME: usize = 65_535;
/// Digits that `h2` takes in a length.
const MOST_DIGITS: usize = 19;

/// The place of a block in its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// A request's head.
    Head,
    /// The trailers behind its body.
    Trailers,
}

/// Which pseudo-headers a head has.
#[derive(Debug, Default)]
struct Pseudo {
    method: bool,
    scheme: bool,
    path: bool,
    authority: bool,
}

/// A block that is being written.
#[derive(Debug)]
pub struct Rewrite<'a> {
    block: &'a mut Vec<u8>,
    start: usize,
    part: Part,
    /// Whether the stream ends with this block.
    is_end: bool,
    /// The size of the header list (RFC 9113, 6.5.2), and its limit.
    size: usize,
    limit: usize,
    pseudo: Pseudo,
    has_headers: bool,
    is_head: bool,
    is_connect: bool,
    length: Option<u64>,
    fault: Option<Fault>,
}

impl<'a> Rewrite<'a> {
    /// A block that is appended to `block`, of a header list smaller than `limit`.
    pub fn new(block: &'a mut Vec<u8>, part: Part, is_end: bool, limit: usize) -> Self {
        let start = block.len();
        Self {
            block,
            start,
            part,
            is_end,
            size: 0,
            limit,
            pseudo: Pseudo::default(),
            has_headers: false,
            is_head: false,
            is_connect: false,
            length: None,
            fault: None,
        }
    }

    /// Adds a field. Behind a fault nothing is looked at but the method, which decides on the body of the answer.
    pub fn take(&mut self, field: Field<'_>) {
        if field.name == b":method" {
            (self.is_head, self.is_connect) = (field.value == b"HEAD", field.value == b"CONNECT");
        }
        if self.fault.is_none() {
            let taken =
                if field.name.starts_with(b":") { self.take_pseudo(field) } else { self.take_header(field) };
            self.fault = taken.err();
        }
    }

    /// Completes the block.
    pub fn finish(mut self) {
        if self.fault.is_none() && self.part == Part::Head {
            self.fault = self.whole().err();
        }
        let Some(fault) = self.fault else { return };
        self.block.truncate(self.start);
        match self.part {
            Part::Head => self.write_refused(fault),
            // `h2` resets a stream with a header of connections
            Part::Trailers => hpack::write(header(b"connection", b""), self.block),
        }
    }

    /// A request that has nothing but the mark of its fault.
    fn write_refused(&mut self, fault: Fault) {
        let method = if self.is_head {
            Field { known: Known::Name(place::GET), name: b":method", value: b"HEAD" }
        } else {
            whole(place::GET)
        };
        for field in [method, whole(place::HTTP), whole(place::ROOT)] {
            hpack::write(field, self.block);
        }
        hpack::write(header(fault::FAULT.as_str().as_bytes(), &fault.mark()), self.block);
    }

    /// RFC 9113, 8.3.1 and 8.5, and 8.1.1 for the length of a body that is not there.
    fn whole(&self) -> Result<(), Fault> {
        let Pseudo { method, scheme, path, .. } = self.pseudo;
        let is_whole = method && if self.is_connect { !scheme && !path } else { scheme && path };
        let has_body = !self.is_end || self.length.is_none_or(|length| length == 0);
        if !is_whole {
            Err(Fault::Pseudo)
        } else if has_body {
            Ok(())
        } else {
            Err(Fault::Length)
        }
    }

    fn take_pseudo(&mut self, field: Field<'_>) -> Result<(), Fault> {
        let Pseudo { method, scheme, path, authority } = &mut self.pseudo;
        let is_there = match field.name {
            b":method" => method,
            b":scheme" => scheme,
            b":path" => path,
            b":authority" => authority,
            _ => return Err(Fault::UnknownPseudo),
        };
        let is_repeated = std::mem::replace(is_there, true);
        if is_repeated || self.has_headers || self.part == Part::Trailers {
            return Err(Fault::MisplacedPseudo);
        }
        match field.name {
            b":method" => self.put_if(field, is_token(field.value), Fault::Method),
            b":scheme" => self.put_if(field, is_scheme(field.value), Fault::Scheme),
            b":path" => self.take_path(field),
            _ => self.take_authority(field),
        }
    }

    /// Escapes what HTTP/1.1 would have escaped.
    fn take_path(&mut self, field: Field<'_>) -> Result<(), Fault> {
        let escaped = request_target::escape(field.value);
        let field = match &escaped {
            Some(path) => Field { known: Known::Name(place::ROOT), value: path, ..field },
            None => field,
        };
        if field.value.len() > LONGEST_PATH {
            return Err(Fault::LongPath);
        }
        let is_path = field.value.starts_with(b"/") || field.value == b"*";
        self.put_if(field, is_path && field.value.iter().all(u8::is_ascii_graphic), Fault::Path)
    }

    /// Passes an authority by where `h2` would take it for malformed: `Host` of HTTP/1.1 may have it, and is
    /// checked where that of HTTP/1.1 is.
    fn take_authority(&mut self, field: Field<'_>) -> Result<(), Fault> {
        let Field { value, .. } = field;
        if value.is_empty() || !is_value(value) {
            return Err(Fault::Authority);
        }
        if is_plain_authority(value) || Authority::try_from(value).is_ok() {
            return self.put(field);
        }
        self.put(header(fault::AUTHORITY.as_str().as_bytes(), value))
    }

    fn take_header(&mut self, field: Field<'_>) -> Result<(), Fault> {
        self.has_headers = true;
        let Field { known, name, value } = field;
        if known == Known::Nothing && !is_name(name) {
            return Err(Fault::Name);
        }
        if !is_value(value) {
            return Err(Fault::Value);
        }
        match name {
            b"connection" | b"transfer-encoding" | b"upgrade" | b"keep-alive" | b"proxy-connection" => {
                return Err(Fault::OfConnection);
            }
            b"te" if value != b"trailers" => return Err(Fault::OfConnection),
            b"content-length" if self.part == Part::Head => {
                let length = length(value).ok_or(Fault::Length)?;
                if self.length.replace(length).is_some_and(|other| other != length) {
                    return Err(Fault::Length);
                }
            }
            _ => {}
        }
        self.put(field)
    }

    fn put_if(&mut self, field: Field<'_>, is_sound: bool, fault: Fault) -> Result<(), Fault> {
        if is_sound { self.put(field) } else { Err(fault) }
    }

    fn put(&mut self, field: Field<'_>) -> Result<(), Fault> {
        self.size += field.name.len() + field.value.len() + OVERHEAD;
        if self.size >= self.limit {
            return Err(Fault::TooLarge);
        }
        hpack::write(field, self.block);
        Ok(())
    }
}

fn header<'a>(name: &'a [u8], value: &'a [u8]) -> Field<'a> {
    Field { known: Known::Nothing, name, value }
}

fn whole(place: u8) -> Field<'static> {
    Field { known: Known::Whole(place), name: b"", value: b"" }
}

/// RFC 9110, 5.6.2.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().copied().all(is_token_byte)
}

/// RFC 9113, 8.2.1.
fn is_name(text: &[u8]) -> bool {
    is_token(text) && text.len() <= LONGEST_NAME && !text.iter().any(u8::is_ascii_uppercase)
}

/// RFC 9110, 5.5. All bytes are looked at, which the compiler does by many at a time.
fn is_value(text: &[u8]) -> bool {
    text.iter().fold(true, |is_value, &byte| is_value & ((byte >= b' ') & (byte != 0x7f) | (byte == b'\t')))
}

fn is_scheme(text: &[u8]) -> bool {
    matches!(text, b"http" | b"https") || Scheme::try_from(text).is_ok()
}

/// A name or an IPv4 address with a port or without: what nearly all requests have, known without a copy.
fn is_plain_authority(text: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-.".contains(byte);
    let (host, port) = match text.iter().position(|byte| *byte == b':') {
        Some(colon) => (&text[..colon], &text[colon + 1..]),
        None => (text, &[][..]),
    };
    host.iter().all(is_plain) && port.iter().all(u8::is_ascii_digit)
}

fn length(text: &[u8]) -> Option<u64> {
    let is_number = text.len() <= MOST_DIGITS && text.iter().all(u8::is_ascii_digit);
    if is_number { str::from_utf8(text).ok()?.parse().ok() } else { None }
}
