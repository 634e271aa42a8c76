//! Strict parser of chunked bodies (RFC 9112, 7.1).

/// A parser may reject more bytes of extensions, trailers and leading zeros.
const MAX_OVERHEAD: usize = 8 << 10;

/// The decoded data, possibly incomplete.
#[derive(Debug, Default)]
pub struct Chunked {
    pub body: Vec<u8>,
    pub end: Option<ChunksEnd>,
    /// A parser may reject the body for its overhead.
    pub is_excessive: bool,
}

/// How the body ends; absent while it is incomplete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChunksEnd {
    /// Complete after this many bytes of input.
    Whole(usize),
    Malformed,
}

/// Parses the chunked body at the start of `bytes`.
pub fn read(bytes: &[u8]) -> Chunked {
    let (mut chunked, mut at) = (Chunked::default(), 0);
    chunked.end = read_into(&mut chunked.body, bytes, &mut at);
    chunked.is_excessive = at.saturating_sub(chunked.body.len()) > MAX_OVERHEAD;
    chunked
}

fn read_into(body: &mut Vec<u8>, bytes: &[u8], at: &mut usize) -> Option<ChunksEnd> {
    loop {
        let line = match line(&bytes[*at..]) {
            Ok(line) => line?,
            Err(()) => return Some(ChunksEnd::Malformed),
        };
        let Some(size) = size(line) else { return Some(ChunksEnd::Malformed) };
        *at += line.len() + 2;
        if size == 0 {
            return trailers(bytes, at);
        }
        let data = &bytes[*at..];
        let present = usize::try_from(size).unwrap_or(usize::MAX).min(data.len());
        body.extend_from_slice(&data[..present]);
        *at += present;
        if (present as u64) < size {
            return None;
        }
        match &bytes[*at..] {
            [b'\r', b'\n', ..] => *at += 2,
            [] | [b'\r'] => return None,
            _ => return Some(ChunksEnd::Malformed),
        }
    }
}

fn trailers(bytes: &[u8], at: &mut usize) -> Option<ChunksEnd> {
    loop {
        let line = match line(&bytes[*at..]) {
            Ok(line) => line?,
            Err(()) => return Some(ChunksEnd::Malformed),
        };
        *at += line.len() + 2;
        if line.is_empty() {
            return Some(ChunksEnd::Whole(*at));
        }
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
        let is_trailer = name.len() < line.len() && !name.is_empty() && name.iter().copied().all(is_token);
        if !is_trailer {
            return Some(ChunksEnd::Malformed);
        }
    }
}

/// The first line without CR LF; `None` if it is incomplete, an error if it has another line end or a control
/// byte.
fn line(bytes: &[u8]) -> Result<Option<&[u8]>, ()> {
    let is_text = |byte: u8| byte == b'\t' || (byte >= b' ' && byte != 0x7f);
    match bytes.iter().position(|byte| !is_text(*byte)) {
        None => Ok(None),
        Some(end) if bytes[end] != b'\r' => Err(()),
        Some(end) => match bytes.get(end + 1) {
            None => Ok(None),
            Some(b'\n') => Ok(Some(&bytes[..end])),
            Some(_) => Err(()),
        },
    }
}

fn size(line: &[u8]) -> Option<u64> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let rest = line[digits..].trim_ascii_start();
    let is_size = digits > 0 && if rest.is_empty() { digits == line.len() } else { rest[0] == b';' };
    let significant = line[..digits].iter().skip_while(|byte| **byte == b'0').copied();
    let text = String::from_utf8(significant.collect()).ok()?;
    let size = if text.is_empty() { Some(0) } else { u64::from_str_radix(&text, 16).ok() };
    size.filter(|_| is_size)
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
