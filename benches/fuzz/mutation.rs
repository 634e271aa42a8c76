//! Mutations of byte strings. They are small, because most interesting inputs are nearly valid.

use fastrand::Rng;

/// Mutations never make an input larger than this.
const MAX_INPUT: usize = 256 << 10;

/// Bytes that parsers treat specially.
const BYTES: &[u8] = b"\0\t\n\r \"#%&',-./09:;<=>?@A[\\]_`a{|}~\x01\x7f\x80\xc3\xff";

/// Tokens of HTTP/1.1, including whole header lines.
pub const HTTP: &[&[u8]] = &[
    b"Transfer-Encoding: chunked\r\n",
    b"transfer-encoding:chunked\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n",
    b"Transfer-Encoding : chunked\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: 0\r\n",
    b"Content-Length: 99999999999999999999\r\n",
    b"content-length: 18446744073709551615\r\n",
    b"Content-Length: 5, 5\r\n",
    b"Content-Length: +5\r\n",
    b"Connection: close\r\n",
    b"Connection: keep-alive\r\n",
    b"Connection: Upgrade\r\n",
    b"Connection: content-length, x-fuzz, te\r\n",
    b"Upgrade: websocket\r\n",
    b"Upgrade: h2c\r\n",
    b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n",
    b"Expect: 100-continue\r\n",
    b"Expect: 100-continue, x\r\n",
    b"Host: other\r\n",
    b"Host:\r\n",
    b"TE: trailers\r\n",
    b"Trailer: x-t\r\n",
    b"X-A: a\r\n b\r\n",
    b"X-Quote: \"a  b\"; c=\"\\\"\"\r\n",
    b"Via: 1.1 other\r\n",
    b"X-Forwarded-For: 1.2.3.4\r\n",
    b"X-Amz-Content-Sha256: UNSIGNED-PAYLOAD\r\n",
    b"Content-Type: multipart/form-data; boundary=\"a  b\"\r\n",
    b"Content-Type: application/grpc\r\n",
    b"grpc-timeout: 1S\r\n",
    b"CONNECT ",
    b"HEAD ",
    b"OPTIONS * ",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b" HTTP/1.0\r\n",
    b" HTTP/1.1\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n",
    b"HTTP/1.1 304 Not Modified\r\n",
    b"HTTP/1.1 599 \r\n",
    b"http://user:pw@h/",
    b"%2e%2e",
    b"%2F",
    b"/../",
    b"%",
    b"%00",
    b"\r\n\r\n",
    b"\n\n",
    b"\n",
    b"\r",
    b"\0",
    b"0\r\n\r\n",
    b"5\r\nhello\r\n",
    b"5;x=y\r\nhello\r\n",
    b"ffffffffffffffff\r\n",
    b"-1\r\n",
    b"\xc3\xbc",
    b"\xff",
];

/// Tokens of JSON and of functions' responses.
pub const JSON: &[&[u8]] = &[
    b"null",
    b"true",
    b"false",
    b"[]",
    b"{}",
    b"\"\"",
    b"0",
    b"-1",
    b"1e400",
    b"599",
    b"99",
    b"1000",
    b"200.0",
    b"18446744073709551616",
    b"\"statusCode\":200,",
    b"\"statusCode\":\"404\",",
    b"\"statusCode\":204,",
    b"\"statusCode\":304,",
    b"\"body\":null,",
    b"\"body\":\"\\ud800\",",
    b"\"body\":{\"a\":[1]},",
    b"\"isBase64Encoded\":true,",
    b"\"isBase64Encoded\":null,",
    b"\"headers\":{\"a\":\"b\\r\\nc: d\"},",
    b"\"headers\":{\"a\\u0000\":\"b\"},",
    b"\"headers\":{\"a\\\"\":\"b\"},",
    b"\"headers\":{\"Transfer-Encoding\":\"chunked\"},",
    b"\"headers\":{\"Content-Length\":\"1\"},",
    b"\"headers\":{\"Connection\":\"close\"},",
    b"\"headers\":{\"Set-Cookie\":\"a=1\"},",
    b"\"multiValueHeaders\":{\"Set-Cookie\":[\"b=2\",\"c=3\"]},",
    b"\"cookies\":[\"d=4\",\"e=5\"],",
    b"\"cookies\":[\"\"],",
    b"\\u0000",
    b"\\n",
    b"\xff",
    b"[[[[[[[[",
    b"{\"a\":",
    b",",
    b":",
    b"\"",
];

/// Changes `bytes` in one to four places: inserts `words`, splices in parts of `others`.
pub fn mutate(bytes: &mut Vec<u8>, words: &[&[u8]], others: &[&[u8]], random: &mut Rng) {
    let mut count = 1;
    while count < 4 && random.u8(..5) < 2 {
        count += 1;
    }
    for _ in 0..count {
        mutate_once(bytes, words, others, random);
        bytes.truncate(MAX_INPUT);
    }
}

fn mutate_once(bytes: &mut Vec<u8>, words: &[&[u8]], others: &[&[u8]], random: &mut Rng) {
    let at = random.usize(..=bytes.len());
    match random.u8(..16) {
        0 => change(bytes, at, |byte| byte ^ (1 << (at % 8))),
        1 => {
            let other = BYTES[random.usize(..BYTES.len())];
            change(bytes, at, |_| other);
        }
        2 => bytes.insert(at, BYTES[random.usize(..BYTES.len())]),
        3 => drop(bytes.drain(range(bytes.len(), random))),
        4 => {
            let copied = bytes[range(bytes.len(), random)].to_vec();
            insert(bytes, at, &copied);
        }
        5 => {
            let other = others.get(random.usize(..others.len().max(1))).copied().unwrap_or_default();
            bytes.truncate(at);
            bytes.extend_from_slice(&other[random.usize(..=other.len())..]);
        }
        6 => {
            let other = others.get(random.usize(..others.len().max(1))).copied().unwrap_or_default();
            bytes.extend_from_slice(other);
        }
        7 => bytes.truncate(at),
        8 => change_number(bytes, random),
        9 => {
            let line = line_start(bytes, at);
            let end = line_start(bytes, random.usize(..=bytes.len()));
            let copied = bytes[line.min(end)..line.max(end)].to_vec();
            insert(bytes, line, &copied);
        }
        10 => insert(bytes, at, words[random.usize(..words.len())]),
        11 => {
            let count = 1 << random.u32(..12);
            let byte = [b'0', b'a', b' ', b'\n', b'/', b'['][random.usize(..6)];
            insert(bytes, at, &vec![byte; count]);
        }
        _ => {
            let line = line_start(bytes, at);
            insert(bytes, line, words[random.usize(..words.len())]);
        }
    }
}

fn change(bytes: &mut [u8], at: usize, to: impl Fn(u8) -> u8) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte = to(*byte);
    }
}

fn insert(bytes: &mut Vec<u8>, at: usize, inserted: &[u8]) {
    drop(bytes.splice(at..at, inserted.iter().copied()));
}

/// A random range, usually a short one.
fn range(length: usize, random: &mut Rng) -> std::ops::Range<usize> {
    let start = random.usize(..=length);
    let longest = if random.u8(..4) == 0 { length } else { 8 };
    start..(start + random.usize(..=longest)).min(length)
}

/// Index of the first byte of the line that contains `at`.
fn line_start(bytes: &[u8], at: usize) -> usize {
    bytes[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1)
}

/// Replaces one of the numbers in `bytes` by another.
fn change_number(bytes: &mut Vec<u8>, random: &mut Rng) {
    let starts: Vec<usize> = (0..bytes.len())
        .filter(|at| bytes[*at].is_ascii_digit() && (*at == 0 || !bytes[*at - 1].is_ascii_digit()))
        .collect();
    let Some(start) = random.choice(starts) else { return };
    let length = bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let old: u64 = std::str::from_utf8(&bytes[start..start + length])
        .ok()
        .and_then(|digits| digits.parse().ok())
        .unwrap_or_default();
    let new = match random.u8(..8) {
        0 => "0".to_owned(),
        1 => "18446744073709551616".to_owned(),
        2 => "4294967296".to_owned(),
        3 => format!("-{old}"),
        4 => format!("0{old}"),
        5 => old.saturating_sub(1).to_string(),
        6 => random.u16(..).to_string(),
        _ => old.saturating_add(1).to_string(),
    };
    drop(bytes.splice(start..start + length, new.into_bytes()));
}
