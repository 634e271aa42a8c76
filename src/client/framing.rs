//! Where an answer's head ends and how its body is framed (RFC 9112, 6.3), decided before `awc` sees it.
//!
//! `awc` takes `103` for the answer, a body that ends with the connection for none, and a cut body for a
//! whole one. `connection.rs` applies what is found here to the bytes on their way to it.

use std::fmt;

use actix_http::StatusCode;

/// `awc`'s own limits, so that it never sees a head that it would refuse.
const MAX_HEADERS: usize = 96;
/// Bytes of a head; `awc` would take up to 128 KiB.
pub const MAX_HEAD: usize = 64 << 10;

/// What the first bytes of an answer say.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed {
    /// The head is not complete.
    Partial,
    /// An interim answer (1xx) of this many bytes; the real one follows.
    Interim(usize),
    /// The answer's head.
    Final(Head),
}

/// An answer's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Bytes up to the body.
    pub length: usize,
    /// How the body is framed.
    pub framing: Framing,
    /// `Content-Length`, whether or not there is a body.
    pub content_length: Option<u64>,
    /// Whether the connection may serve another request after this one.
    pub reusable: bool,
}

/// How a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// There is none: by status, by method, or of length 0.
    Empty,
    /// After this many bytes.
    Length(u64),
    /// After the last chunk.
    Chunked,
    /// With the connection.
    UntilClose,
}

/// Why an answer is not HTTP as it should be.
#[derive(Debug, PartialEq, Eq)]
pub enum Malformed {
    /// No status line and headers.
    Head(httparse::Error),
    /// More than is taken.
    TooLarge,
    /// Headers that contradict each other about the body.
    Framing(&'static str),
    /// A status that nobody asked for.
    Status(u16),
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Head(error) => write!(f, "no HTTP answer: {error}"),
            Self::TooLarge => {
                write!(f, "the answer's head exceeds {MAX_HEAD} bytes or {MAX_HEADERS} headers")
            }
            Self::Framing(problem) => write!(f, "the answer's length is unclear: {problem}"),
            Self::Status(status) => write!(f, "unexpected status {status}"),
        }
    }
}

impl std::error::Error for Malformed {}

/// Reads the head at the start of `bytes`; `to_head` tells that the request's method was HEAD.
///
/// # Errors
/// The bytes are no answer that can be told apart from the next one.
pub fn parse(bytes: &[u8], to_head: bool) -> Result<Parsed, Malformed> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let length = match response.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if bytes.len() >= MAX_HEAD => return Err(Malformed::TooLarge),
        Ok(httparse::Status::Partial) => return Ok(Parsed::Partial),
        Err(httparse::Error::TooManyHeaders) => return Err(Malformed::TooLarge),
        Err(error) => return Err(Malformed::Head(error)),
    };
    let status = response.code.unwrap_or_default();
    match status {
        // nothing here asks for another protocol
        101 => return Err(Malformed::Status(status)),
        100..200 => return Ok(Parsed::Interim(length)),
        200..600 => {}
        _ => return Err(Malformed::Status(status)),
    }
    let fields = Fields::read(response.headers)?;
    let persistent = response.version == Some(1) && !fields.close;
    let bodyless =
        to_head || status == StatusCode::NO_CONTENT.as_u16() || status == StatusCode::NOT_MODIFIED.as_u16();
    let framing = match (fields.chunked, fields.content_length) {
        (true, Some(_)) => return Err(Malformed::Framing("both Content-Length and Transfer-Encoding")),
        (true, None) if response.version == Some(0) => {
            return Err(Malformed::Framing("Transfer-Encoding in HTTP/1.0"));
        }
        _ if bodyless => Framing::Empty,
        (true, None) => Framing::Chunked,
        (false, Some(0)) => Framing::Empty,
        (false, Some(length)) => Framing::Length(length),
        (false, None) => Framing::UntilClose,
    };
    Ok(Parsed::Final(Head {
        length,
        framing,
        content_length: fields.content_length,
        reusable: persistent && framing != Framing::UntilClose,
    }))
}

/// The header fields that matter to framing.
#[derive(Default)]
struct Fields {
    content_length: Option<u64>,
    chunked: bool,
    close: bool,
}

impl Fields {
    fn read(headers: &[httparse::Header<'_>]) -> Result<Self, Malformed> {
        let mut fields = Self::default();
        for header in headers {
            if header.name.eq_ignore_ascii_case("content-length") {
                let digits = header.value.trim_ascii();
                let length = str::from_utf8(digits)
                    .ok()
                    .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
                    .and_then(|text| text.parse().ok())
                    .ok_or(Malformed::Framing("a Content-Length that is no number"))?;
                if fields.content_length.replace(length).is_some() {
                    return Err(Malformed::Framing("two Content-Length headers"));
                }
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                if fields.chunked || !header.value.trim_ascii().eq_ignore_ascii_case(b"chunked") {
                    return Err(Malformed::Framing("a Transfer-Encoding other than chunked"));
                }
                fields.chunked = true;
            } else if header.name.eq_ignore_ascii_case("connection") {
                let mut options = header.value.split(|byte| *byte == b',');
                fields.close |= options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"));
            }
        }
        Ok(fields)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn head(text: &str) -> Head {
        match parse(text.as_bytes(), false) {
            Ok(Parsed::Final(head)) => head,
            other => panic!("{other:?}"),
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
        assert_eq!(head("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").framing, Framing::Empty);
    }

    #[test]
    fn head_204_and_304_have_no_body_whatever_their_length_says() {
        for status in ["204 No Content", "304 Not Modified"] {
            let head = head(&format!("HTTP/1.1 {status}\r\ncontent-length: 5\r\n\r\n"));
            assert_eq!((head.framing, head.content_length), (Framing::Empty, Some(5)));
        }
        let Ok(Parsed::Final(head)) = parse(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", true) else {
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
    fn interim_answers_are_recognised() {
        let early = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";
        assert_eq!(parse(early.as_bytes(), false), Ok(Parsed::Interim(early.len())));
        assert_eq!(parse(b"HTTP/1.1 101 Switching\r\n\r\n", false), Err(Malformed::Status(101)));
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
            assert!(matches!(parse(text.as_bytes(), false), Err(Malformed::Framing(_))), "{headers}");
        }
    }

    #[test]
    fn garbage_and_endless_heads_are_malformed() {
        assert!(matches!(parse(b"SSH-2.0-OpenSSH\r\n", false), Err(Malformed::Head(_))));
        assert!(matches!(parse(b"\x15\x03\x01\x00\x02\x02\x28", false), Err(Malformed::Head(_))));
        let endless = format!("HTTP/1.1 200 OK\r\nx: {}", "x".repeat(MAX_HEAD));
        assert_eq!(parse(endless.as_bytes(), false), Err(Malformed::TooLarge));
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(MAX_HEADERS + 1));
        assert_eq!(parse(many.as_bytes(), false), Err(Malformed::TooLarge));
    }

    proptest! {
        #[test]
        fn a_head_cut_anywhere_is_partial(cut in 0_usize..49) {
            let text = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nx-a: 123\r\n\r\n";
            prop_assert_eq!(parse(&text[..cut.min(text.len() - 1)], false), Ok(Parsed::Partial));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..256), to_head in any::<bool>()) {
            let mut with_start = b"HTTP/1.1 200 OK\r\n".to_vec();
            with_start.extend_from_slice(&bytes);
            let _ = (parse(&bytes, to_head), parse(&with_start, to_head));
        }
    }
}
