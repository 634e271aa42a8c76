//! Parser of a response's head: status, headers and the framing of the body (RFC 9112, 6.3).
//!
//! `exchange.rs` calls it after each read. A head that leaves the end of the body unclear is malformed: a
//! guess would take the end of one response for the start of the next.

use std::mem::MaybeUninit;

use actix_http::{
    StatusCode,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use bytes::{Buf as _, Bytes, BytesMut};

use crate::{
    message::{
        chunks::MalformedChunk,
        error::{ErrorKind, ProxyError},
        header_map_pool as header_maps,
    },
    text::header_names::is_hop_by_hop,
};

/// Maximum header lines of a response, sent by an upstream or described by a function: twice the default of
/// Envoy and of Python's `http.client`. The array for them is not initialised beyond the lines that are
/// parsed.
pub const MAX_HEADERS: usize = 200;
/// Maximum bytes of a response's head, or of the names and values that a function describes. API Gateway
/// forwards 10 KiB, a load balancer 32 KiB, Envoy 60 KiB; a Function URL has no limit of its own.
pub const MAX_HEAD: usize = 64 << 10;
/// Maximum `Content-Length`, as in curl, nginx and nghttp2, whose lengths are signed 64-bit numbers. An
/// HTTP/2 client would reset the stream on a larger one.
const MAX_LENGTH: u64 = i64::MAX as u64;

/// Result of parsing the received bytes.
#[derive(Debug)]
pub enum ParsedHead {
    /// The head is incomplete.
    Partial,
    /// An interim response (1xx), now removed; the final one follows.
    Interim,
    /// The final head, now removed.
    Final(ResponseHead),
}

#[derive(Debug)]
pub struct ResponseHead {
    pub status: StatusCode,
    /// Without `Content-Length`, hop-by-hop headers and those that `Connection` names (RFC 9110, 7.6.1).
    pub headers: HeaderMap,
    /// The whole head as received, which the values share.
    pub bytes: Bytes,
    pub framing: BodyFraming,
    /// `Content-Length`, even if there is no body.
    pub content_length: Option<u64>,
    /// True if the connection can be reused.
    pub reusable: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyFraming {
    /// No body: by status, by method, or of length 0.
    Empty,
    Length(u64),
    Chunked,
    UntilClose,
}

/// A response that is not valid HTTP.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum MalformedHead {
    /// No valid status line and headers.
    #[error("not an HTTP response: {0}")]
    Head(httparse::Error),
    #[error("the answer's head exceeds {MAX_HEAD} bytes or {MAX_HEADERS} headers")]
    TooLarge,
    /// The headers do not determine the length of the body.
    #[error("ambiguous response length: {0}")]
    Framing(&'static str),
    /// A status outside 200 to 599, or 101.
    #[error("unexpected status {0}")]
    Status(u16),
    #[error("more than {0} interim answers")]
    Interim(u32),
    #[error(transparent)]
    Chunk(#[from] MalformedChunk),
}

impl From<MalformedHead> for ProxyError {
    fn from(malformed: MalformedHead) -> Self {
        Self::new(ErrorKind::UpstreamProtocol, malformed)
    }
}

/// Removes the head from the start of `received`; `to_head` is true for the method HEAD.
///
/// # Errors
/// The head is malformed, or does not determine the end of the body.
pub fn parse(received: &mut BytesMut, to_head: bool) -> Result<ParsedHead, MalformedHead> {
    if received.is_empty() {
        return Ok(ParsedHead::Partial);
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
        Ok(httparse::Status::Partial) => return Ok(ParsedHead::Partial),
        Err(httparse::Error::TooManyHeaders) => return Err(MalformedHead::TooLarge),
        Err(error) => return Err(MalformedHead::Head(error)),
    };
    let code = response.code.ok_or(MalformedHead::Head(httparse::Error::Status))?;
    match code {
        // the client never sends `Upgrade`
        101 => return Err(MalformedHead::Status(code)),
        100..200 => {
            received.advance(length);
            return Ok(ParsedHead::Interim);
        }
        200..600 => {}
        _ => return Err(MalformedHead::Status(code)),
    }
    let status = StatusCode::from_u16(code).map_err(|_| MalformedHead::Status(code))?;
    let bytes = Bytes::copy_from_slice(&received[..length]);
    let (headers, fields) = header_map(response.headers, &received[..length], &bytes)?;
    let is_1_1 = response.version == Some(1);
    let framing = fields.framing(is_1_1, to_head, status)?;
    received.advance(length);
    Ok(ParsedHead::Final(ResponseHead {
        status,
        headers,
        bytes,
        framing,
        content_length: fields.content_length,
        reusable: is_1_1 && !fields.close && framing != BodyFraming::UntilClose,
    }))
}

/// Separates the headers of the message from those of the connection. The values share one copy of the head,
/// so that they do not keep the receive buffer alive.
fn header_map(
    parsed: &[httparse::Header<'_>],
    head: &[u8],
    shared: &Bytes,
) -> Result<(HeaderMap, Fields), MalformedHead> {
    let mut headers = header_maps::take();
    let mut fields = Fields::default();
    for header in parsed {
        let name = HeaderName::from_bytes(header.name.as_bytes())
            .map_err(|_| MalformedHead::Head(httparse::Error::HeaderName))?;
        if fields.take(&name, header.value)? {
            continue;
        }
        let start = header.value.as_ptr().addr() - head.as_ptr().addr();
        let value = HeaderValue::from_maybe_shared(shared.slice(start..start + header.value.len()))
            .map_err(|_| MalformedHead::Head(httparse::Error::HeaderValue))?;
        headers.append(name, value);
    }
    for name in &fields.nominated {
        headers.remove(name);
    }
    Ok((headers, fields))
}

/// The header fields of the connection.
#[derive(Default)]
struct Fields {
    content_length: Option<u64>,
    chunked: bool,
    close: bool,
    /// The names in `Connection`.
    nominated: Vec<HeaderName>,
}

impl Fields {
    /// Reads a header of the connection; false for a header of the message.
    fn take(&mut self, name: &HeaderName, value: &[u8]) -> Result<bool, MalformedHead> {
        match name.as_str() {
            "content-length" => {
                let digits = value.trim_ascii();
                let length = str::from_utf8(digits)
                    .ok()
                    .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
                    .and_then(|text| text.parse().ok())
                    .filter(|length| *length <= MAX_LENGTH)
                    .ok_or(MalformedHead::Framing("a Content-Length that is not a number below 2^63"))?;
                if self.content_length.replace(length).is_some() {
                    return Err(MalformedHead::Framing("two Content-Length headers"));
                }
            }
            "transfer-encoding" => {
                if self.chunked || !value.trim_ascii().eq_ignore_ascii_case(b"chunked") {
                    return Err(MalformedHead::Framing("a Transfer-Encoding other than chunked"));
                }
                self.chunked = true;
            }
            "connection" => {
                for option in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                    if option.eq_ignore_ascii_case(b"close") {
                        self.close = true;
                    } else if !option.eq_ignore_ascii_case(b"keep-alive") {
                        self.nominated.extend(HeaderName::from_bytes(option));
                    }
                }
            }
            other => return Ok(is_hop_by_hop(other)),
        }
        Ok(true)
    }

    /// RFC 9112, 6.3.
    fn framing(&self, is_1_1: bool, to_head: bool, status: StatusCode) -> Result<BodyFraming, MalformedHead> {
        let is_bodyless = to_head || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        match (self.chunked, self.content_length) {
            (true, Some(_)) => Err(MalformedHead::Framing("both Content-Length and Transfer-Encoding")),
            (true, None) if !is_1_1 => Err(MalformedHead::Framing("Transfer-Encoding in HTTP/1.0")),
            _ if is_bodyless => Ok(BodyFraming::Empty),
            (true, None) => Ok(BodyFraming::Chunked),
            (false, Some(0)) => Ok(BodyFraming::Empty),
            (false, Some(length)) => Ok(BodyFraming::Length(length)),
            (false, None) => Ok(BodyFraming::UntilClose),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: impl AsRef<[u8]>, to_head: bool) -> Result<ParsedHead, MalformedHead> {
        parse(&mut BytesMut::from(text.as_ref()), to_head)
    }

    #[track_caller]
    fn head(text: &str) -> ResponseHead {
        match parsed(text, false) {
            Ok(ParsedHead::Final(head)) => head,
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
        assert!(matches!(parsed(head(MAX_LENGTH), true), Ok(ParsedHead::Final(_))));
        for to_head in [false, true] {
            assert!(matches!(parsed(head(MAX_LENGTH + 1), to_head), Err(MalformedHead::Framing(_))));
        }
    }

    #[test]
    fn a_body_ends_by_length_by_last_chunk_or_with_the_connection() {
        let length = head("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
        assert_eq!((length.framing, length.reusable), (BodyFraming::Length(5), true));
        let chunked = head("HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n");
        assert_eq!((chunked.framing, chunked.reusable), (BodyFraming::Chunked, true));
        let close = head("HTTP/1.1 200 OK\r\n\r\nhello");
        assert_eq!((close.framing, close.reusable), (BodyFraming::UntilClose, false));
    }

    #[test]
    fn status_and_method_exclude_a_body_despite_its_length() {
        for status in ["204 No Content", "304 Not Modified"] {
            let head = head(&format!("HTTP/1.1 {status}\r\ncontent-length: 5\r\n\r\n"));
            assert_eq!((head.framing, head.content_length), (BodyFraming::Empty, Some(5)), "{status}");
        }
        let Ok(ParsedHead::Final(head)) = parsed("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", true) else {
            panic!()
        };
        assert_eq!((head.framing, head.content_length), (BodyFraming::Empty, Some(5)));
    }

    #[test]
    fn a_connection_with_close_or_http_1_0_is_not_reused() {
        assert!(!head("HTTP/1.1 200 OK\r\nconnection: x, Close\r\ncontent-length: 1\r\n\r\n").reusable);
        assert!(!head("HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\n").reusable);
    }

    #[test]
    fn a_head_is_removed_and_the_bytes_behind_it_stay() {
        let mut received =
            BytesMut::from(&b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n\r\nbody"[..]);
        assert!(matches!(parse(&mut received, false), Ok(ParsedHead::Interim)));
        assert!(matches!(parse(&mut received, false), Ok(ParsedHead::Final(_))));
        assert_eq!(received, &b"body"[..]);
        assert_eq!(malformed("HTTP/1.1 101 Switching\r\n\r\n"), MalformedHead::Status(101));
    }

    #[test]
    fn headers_of_the_message_are_as_received_and_repeated_ones_keep_their_order() {
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
    fn headers_of_the_connection_are_left_out() {
        let head = head(concat!(
            "HTTP/1.1 200 OK\r\nx-hop: 1\r\nConnection: keep-alive, X-Hop ,,é\r\nKeep-Alive: timeout=5\r\n",
            "content-length: 5\r\nTE: a\r\nTrailer: a\r\nupgrade: h2c\r\nProxy-Connection: close\r\n",
            "proxy-authenticate: a\r\nx-hop: 2\r\nx-hope: 3\r\nset-cookie: a=1\r\nset-cookie: b=2\r\n\r\n",
        ));
        let mut names: Vec<&str> = head.headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["set-cookie", "x-hope"]);
        assert_eq!(head.headers.get_all("set-cookie").count(), 2);
        assert_eq!((head.content_length, head.reusable), (Some(5), true));
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
        fn a_head_is_parsed_in_pieces_of_any_size(
            lines in lines(),
            status in 200_u16..600,
            body in "[ -~]{0,20}",
            cut in any::<prop::sample::Index>(),
        ) {
            let head: String = lines.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
            let head = format!("HTTP/1.1 {status} any reason\r\n{head}\r\n");
            let whole = format!("{head}{body}");
            let cut = cut.index(whole.len() + 1);
            let mut received = BytesMut::from(&whole.as_bytes()[..cut]);
            let mut outcome = parse(&mut received, false).unwrap();
            prop_assert_eq!(matches!(outcome, ParsedHead::Partial), cut < head.len());
            if matches!(outcome, ParsedHead::Partial) {
                prop_assert_eq!(received.len(), cut, "nothing is lost of a head that is not complete");
                received.extend_from_slice(&whole.as_bytes()[cut..]);
                outcome = parse(&mut received, false).unwrap();
            } else {
                received.extend_from_slice(&whole.as_bytes()[cut..]);
            }
            let ParsedHead::Final(read) = outcome else { panic!("{outcome:?}") };
            prop_assert_eq!(read.status.as_u16(), status);
            prop_assert_eq!(read.headers.len(), lines.len());
            for (name, _) in &lines {
                let written: Vec<&[u8]> =
                    lines.iter().filter(|(own, _)| own == name).map(|(_, value)| value.as_bytes()).collect();
                let read: Vec<&[u8]> =
                    read.headers.get_all(name.as_str()).map(HeaderValue::as_bytes).collect();
                prop_assert_eq!(read, written);
            }
            prop_assert_eq!(received, body.as_bytes());
        }

        #[test]
        fn no_bytes_make_it_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..256),
            to_head in any::<bool>(),
        ) {
            let with_start = [b"HTTP/1.1 200 OK\r\n", &bytes[..]].concat();
            let _ = (parsed(&bytes, to_head), parsed(with_start, to_head));
        }
    }
}
