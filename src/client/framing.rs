//! An answer's head: its status and headers, and how its body is framed (RFC 9112, 6.3).
//!
//! `exchange.rs` asks for it each time that bytes have come in, and then knows where the answer ends. What would
//! leave that open is malformed: a guess would take the end of one answer for the beginning of the next.

use std::mem::MaybeUninit;

use actix_http::{
    StatusCode,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use bytes::{Buf as _, Bytes, BytesMut};

use crate::message::{
    chunks::MalformedChunk,
    error::{ErrorKind, ProxyError},
    header_map_pool as header_maps,
};

/// Header lines of an answer, whether an upstream sends them or a function's answer describes them: twice what Envoy
/// and Python's `http.client` take by default. They are parsed into memory that is not touched beyond the lines there
/// are.
pub const MAX_HEADERS: usize = 200;
/// Bytes of an answer's head, or of the names and values that a function's answer describes. API Gateway passes 10 KiB
/// on, a load balancer 32 KiB, Envoy 60 KiB, and a Function URL's function has no limit of its own.
pub const MAX_HEAD: usize = 64 << 10;
/// Largest `Content-Length` of an answer: that of curl, nginx and nghttp2, whose lengths are signed 64-bit numbers. A
/// client over HTTP/2 would break off the stream at a larger one.
const MAX_LENGTH: u64 = i64::MAX as u64;

/// What the first bytes of an answer say.
#[derive(Debug)]
pub enum Parsed {
    /// The head is not complete.
    Partial,
    /// An interim answer (1xx), now taken out; the real one follows.
    Interim,
    /// The answer's head, now taken out.
    Final(Head),
}

#[derive(Debug)]
pub struct Head {
    pub status: StatusCode,
    /// Headers as received, the connection's own among them.
    pub headers: HeaderMap,
    pub framing: Framing,
    /// `Content-Length`, whether or not there is a body.
    pub content_length: Option<u64>,
    /// Whether the connection may serve another request after this one.
    pub reusable: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// There is none: by status, by method, or of length 0.
    Empty,
    Length(u64),
    Chunked,
    UntilClose,
}

/// Why an answer is not HTTP as it should be.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum MalformedHead {
    /// No status line and headers.
    #[error("not an HTTP response: {0}")]
    Head(httparse::Error),
    /// More than is taken.
    #[error("the answer's head exceeds {MAX_HEAD} bytes or {MAX_HEADERS} headers")]
    TooLarge,
    /// Headers that contradict each other about the body.
    #[error("ambiguous response length: {0}")]
    Framing(&'static str),
    /// A status that nobody asked for.
    #[error("unexpected status {0}")]
    Status(u16),
    /// More interim answers than these.
    #[error("more than {0} interim answers")]
    Interim(u32),
    #[error("{0}")]
    Chunk(MalformedChunk),
}

impl From<MalformedChunk> for MalformedHead {
    fn from(malformed: MalformedChunk) -> Self {
        Self::Chunk(malformed)
    }
}

impl From<MalformedHead> for ProxyError {
    fn from(malformed: MalformedHead) -> Self {
        Self::new(ErrorKind::UpstreamProtocol, malformed)
    }
}

/// Takes the head out of the start of `received`; `to_head` tells that the request's method was HEAD.
///
/// # Errors
/// The bytes are no answer that can be told apart from the next one.
pub fn parse(received: &mut BytesMut, to_head: bool) -> Result<Parsed, MalformedHead> {
    if received.is_empty() {
        return Ok(Parsed::Partial);
    }
    let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut []);
    let length = match httparse::ParserConfig::default().parse_response_with_uninit_headers(
        &mut response,
        received,
        &mut headers,
    ) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if received.len() >= MAX_HEAD => return Err(MalformedHead::TooLarge),
        Ok(httparse::Status::Partial) => return Ok(Parsed::Partial),
        Err(httparse::Error::TooManyHeaders) => return Err(MalformedHead::TooLarge),
        Err(error) => return Err(MalformedHead::Head(error)),
    };
    let code = response.code.ok_or(MalformedHead::Head(httparse::Error::Status))?;
    match code {
        // nothing here asks for another protocol
        101 => return Err(MalformedHead::Status(code)),
        100..200 => {
            received.advance(length);
            return Ok(Parsed::Interim);
        }
        200..600 => {}
        _ => return Err(MalformedHead::Status(code)),
    }
    let status = StatusCode::from_u16(code).map_err(|_| MalformedHead::Status(code))?;
    let fields = Fields::read(response.headers)?;
    let is_1_1 = response.version == Some(1);
    let framing = fields.framing(is_1_1, to_head, status)?;
    let headers = header_map(response.headers, &received[..length])?;
    received.advance(length);
    Ok(Parsed::Final(Head {
        status,
        headers,
        framing,
        content_length: fields.content_length,
        reusable: is_1_1 && !fields.close && framing != Framing::UntilClose,
    }))
}

/// The headers as a map. Their values share one copy of the head, so that they hold no more of what was received
/// than that.
fn header_map(parsed: &[httparse::Header<'_>], head: &[u8]) -> Result<HeaderMap, MalformedHead> {
    let shared = Bytes::copy_from_slice(head);
    let mut headers = header_maps::take();
    for header in parsed {
        let name = HeaderName::from_bytes(header.name.as_bytes())
            .map_err(|_| MalformedHead::Head(httparse::Error::HeaderName))?;
        let start = header.value.as_ptr().addr() - head.as_ptr().addr();
        let value = HeaderValue::from_maybe_shared(shared.slice(start..start + header.value.len()))
            .map_err(|_| MalformedHead::Head(httparse::Error::HeaderValue))?;
        headers.append(name, value);
    }
    Ok(headers)
}

/// The header fields that matter to framing.
#[derive(Default)]
struct Fields {
    content_length: Option<u64>,
    chunked: bool,
    close: bool,
}

impl Fields {
    fn read(headers: &[httparse::Header<'_>]) -> Result<Self, MalformedHead> {
        let mut fields = Self::default();
        for header in headers {
            if header.name.eq_ignore_ascii_case("content-length") {
                let digits = header.value.trim_ascii();
                let length = str::from_utf8(digits)
                    .ok()
                    .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
                    .and_then(|text| text.parse().ok())
                    .filter(|length| *length <= MAX_LENGTH)
                    .ok_or(MalformedHead::Framing("a Content-Length that is not a number below 2^63"))?;
                if fields.content_length.replace(length).is_some() {
                    return Err(MalformedHead::Framing("two Content-Length headers"));
                }
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                if fields.chunked || !header.value.trim_ascii().eq_ignore_ascii_case(b"chunked") {
                    return Err(MalformedHead::Framing("a Transfer-Encoding other than chunked"));
                }
                fields.chunked = true;
            } else if header.name.eq_ignore_ascii_case("connection") {
                let mut options = header.value.split(|byte| *byte == b',');
                fields.close |= options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"));
            }
        }
        Ok(fields)
    }

    /// RFC 9112, 6.3.
    fn framing(&self, is_1_1: bool, to_head: bool, status: StatusCode) -> Result<Framing, MalformedHead> {
        let is_bodyless = to_head || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        match (self.chunked, self.content_length) {
            (true, Some(_)) => Err(MalformedHead::Framing("both Content-Length and Transfer-Encoding")),
            (true, None) if !is_1_1 => Err(MalformedHead::Framing("Transfer-Encoding in HTTP/1.0")),
            _ if is_bodyless => Ok(Framing::Empty),
            (true, None) => Ok(Framing::Chunked),
            (false, Some(0)) => Ok(Framing::Empty),
            (false, Some(length)) => Ok(Framing::Length(length)),
            (false, None) => Ok(Framing::UntilClose),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: impl AsRef<[u8]>, to_head: bool) -> Result<Parsed, MalformedHead> {
        parse(&mut BytesMut::from(text.as_ref()), to_head)
    }

    #[track_caller]
    fn head(text: &str) -> Head {
        match parsed(text, false) {
            Ok(Parsed::Final(head)) => head,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn malformed(text: impl AsRef<[u8]>) -> MalformedHead {
        parsed(text, false).expect_err("it is malformed")
    }

    #[test]
    fn c1_a_length_that_no_client_can_hold_is_malformed() {
        let head = |length: u64| format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        assert!(matches!(parsed(head(MAX_LENGTH), true), Ok(Parsed::Final(_))));
        for to_head in [false, true] {
            assert!(matches!(parsed(head(MAX_LENGTH + 1), to_head), Err(MalformedHead::Framing(_))));
        }
    }

    #[test]
    fn a_body_ends_by_length_by_last_chunk_or_with_the_connection() {
        let length = head("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
        assert_eq!((length.framing, length.reusable), (Framing::Length(5), true));
        let chunked = head("HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n");
        assert_eq!((chunked.framing, chunked.reusable), (Framing::Chunked, true));
        let close = head("HTTP/1.1 200 OK\r\n\r\nhello");
        assert_eq!((close.framing, close.reusable), (Framing::UntilClose, false));
    }

    #[test]
    fn by_status_and_method_there_may_be_no_body_whatever_the_length_says() {
        for status in ["204 No Content", "304 Not Modified"] {
            let head = head(&format!("HTTP/1.1 {status}\r\ncontent-length: 5\r\n\r\n"));
            assert_eq!((head.framing, head.content_length), (Framing::Empty, Some(5)), "{status}");
        }
        let Ok(Parsed::Final(head)) = parsed("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", true) else {
            panic!()
        };
        assert_eq!((head.framing, head.content_length), (Framing::Empty, Some(5)));
    }

    #[test]
    fn a_connection_that_says_close_or_speaks_1_0_is_not_used_again() {
        assert!(!head("HTTP/1.1 200 OK\r\nconnection: x, Close\r\ncontent-length: 1\r\n\r\n").reusable);
        assert!(!head("HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\n").reusable);
    }

    #[test]
    fn a_head_is_taken_out_and_what_follows_stays() {
        let mut received =
            BytesMut::from(&b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n\r\nbody"[..]);
        assert!(matches!(parse(&mut received, false), Ok(Parsed::Interim)));
        assert!(matches!(parse(&mut received, false), Ok(Parsed::Final(_))));
        assert_eq!(received, &b"body"[..]);
        assert_eq!(malformed("HTTP/1.1 101 Switching\r\n\r\n"), MalformedHead::Status(101));
    }

    #[test]
    fn headers_are_as_received_and_repeated_ones_keep_their_order() {
        let head = head(
            "HTTP/1.1 299 Odd\r\nSet-Cookie: a=1\r\nX-Empty:\r\nx-b:  \u{e9} b\t \r\nset-cookie: b=2\r\n\r\n",
        );
        assert_eq!(head.status.as_u16(), 299);
        let all =
            |name: &str| -> Vec<&[u8]> { head.headers.get_all(name).map(HeaderValue::as_bytes).collect() };
        assert_eq!(all("set-cookie"), [b"a=1", b"b=2"]);
        assert_eq!((all("x-empty"), all("x-b")), (vec![&b""[..]], vec!["\u{e9} b".as_bytes()]));
        assert_eq!(head.headers.len(), 4);
    }

    #[test]
    fn an_unclear_length_is_malformed() {
        for headers in [
            "content-length: 5\r\ncontent-length: 5",
            "content-length: 5\r\ntransfer-encoding: chunked",
            "content-length: +5",
            "content-length: 5, 5",
            "content-length: -1",
            "content-length: 99999999999999999999999",
            "transfer-encoding: gzip, chunked",
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
        ] {
            let text = format!("HTTP/1.1 200 OK\r\n{headers}\r\n\r\n");
            assert!(matches!(malformed(&text), MalformedHead::Framing(_)), "{headers}");
        }
        let old = "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        assert!(matches!(malformed(old), MalformedHead::Framing(_)));
    }

    #[test]
    fn garbage_and_endless_heads_are_malformed() {
        assert!(matches!(malformed("SSH-2.0-OpenSSH\r\n"), MalformedHead::Head(_)));
        assert!(matches!(malformed(b"\x15\x03\x01\x00\x02\x02\x28"), MalformedHead::Head(_)));
        let endless = format!("HTTP/1.1 200 OK\r\nx: {}", "x".repeat(MAX_HEAD));
        assert_eq!(malformed(&endless), MalformedHead::TooLarge);
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(MAX_HEADERS + 1));
        assert_eq!(malformed(&many), MalformedHead::TooLarge);
    }

    fn lines() -> impl Strategy<Value = Vec<(String, String)>> {
        prop::collection::vec(("x-[a-z0-9-]{1,12}", "[!-~]([ -~\t]{0,20}[!-~])?"), 0..20)
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_however_it_comes_in(
            lines in lines(), status in 200_u16..600, body in "[ -~]{0,20}", cut in any::<prop::sample::Index>(),
        ) {
            let head: String = lines.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
            let head = format!("HTTP/1.1 {status} any reason\r\n{head}\r\n");
            let whole = format!("{head}{body}");
            let cut = cut.index(whole.len() + 1);
            let mut received = BytesMut::from(&whole.as_bytes()[..cut]);
            let mut outcome = parse(&mut received, false).unwrap();
            prop_assert_eq!(matches!(outcome, Parsed::Partial), cut < head.len());
            if matches!(outcome, Parsed::Partial) {
                prop_assert_eq!(received.len(), cut, "nothing is lost of a head that is not complete");
                received.extend_from_slice(&whole.as_bytes()[cut..]);
                outcome = parse(&mut received, false).unwrap();
            } else {
                received.extend_from_slice(&whole.as_bytes()[cut..]);
            }
            let Parsed::Final(read) = outcome else { panic!("{outcome:?}") };
            prop_assert_eq!(read.status.as_u16(), status);
            prop_assert_eq!(read.headers.len(), lines.len());
            for (name, _) in &lines {
                let written: Vec<&[u8]> =
                    lines.iter().filter(|(own, _)| own == name).map(|(_, value)| value.as_bytes()).collect();
                let read: Vec<&[u8]> = read.headers.get_all(name.as_str()).map(HeaderValue::as_bytes).collect();
                prop_assert_eq!(read, written);
            }
            prop_assert_eq!(received, body.as_bytes());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..256), to_head in any::<bool>()) {
            let with_start = [b"HTTP/1.1 200 OK\r\n", &bytes[..]].concat();
            let _ = (parsed(&bytes, to_head), parsed(with_start, to_head));
        }
    }
}
