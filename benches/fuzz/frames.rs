//! Encoder and decoder of HTTP/2 frames (RFC 9113, 4.1), and uncompressed header blocks (RFC 7541).

use std::fmt;

use super::case::Escaped;

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// An HTTP/2 frame.
#[derive(Debug, Clone)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
    /// Value of the length field, if it must differ from the payload's length.
    pub length: Option<u32>,
}

impl Frame {
    pub fn new(kind: u8, flags: u8, stream: u32, payload: impl AsRef<[u8]>) -> Self {
        Self { kind, flags, stream, payload: payload.as_ref().to_vec(), length: None }
    }

    pub fn write(&self, to: &mut Vec<u8>) {
        let length = self.length.unwrap_or(u32::try_from(self.payload.len()).unwrap_or(u32::MAX));
        to.extend_from_slice(&length.to_be_bytes()[1..]);
        to.extend([self.kind, self.flags]);
        to.extend(self.stream.to_be_bytes());
        to.extend_from_slice(&self.payload);
    }

    /// Removes the first frame from `bytes`; `None` if it is incomplete.
    pub fn read(bytes: &mut &[u8]) -> Option<Self> {
        let head = bytes.get(..9)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let frame = Self::new(head[3], head[4], stream, bytes.get(9..9 + length)?);
        *bytes = &bytes[9 + length..];
        Some(frame)
    }
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, flags, stream, payload, length } = self;
        write!(f, "kind {kind} flags {flags:#x} stream {stream}")?;
        if let Some(length) = length {
            write!(f, " length {length}")?;
        }
        write!(f, " \"{}\"", Escaped(payload))
    }
}

/// A header block of literal fields without indexing.
pub fn block(fields: &[(&str, &[u8])]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        string(name.as_bytes(), &mut block);
        string(value, &mut block);
    }
    block
}

/// A string without Huffman coding (RFC 7541, 5.2).
fn string(text: &[u8], to: &mut Vec<u8>) {
    const PREFIX: usize = 127;
    if text.len() < PREFIX {
        to.extend(u8::try_from(text.len()));
    } else {
        to.push(0x7f);
        let mut rest = text.len() - PREFIX;
        while rest >= 128 {
            to.extend(u8::try_from(rest % 128 + 128));
            rest /= 128;
        }
        to.extend(u8::try_from(rest));
    }
    to.extend_from_slice(text);
}
