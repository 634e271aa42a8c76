//! Streaming decoder of the chunked transfer coding (RFC 9112, 7.1).
//!
//! `client/exchange.rs` decodes responses with it, `listener/http1/request_reader.rs` requests. The decoder
//! is strict, because two parsers that disagree about the end of a message allow request smuggling: a line
//! ends in CR LF, and a size has only hexadecimal digits. Extensions and trailers are limited and dropped:
//! API Gateway neither sends nor accepts any.

use bytes::{Buf as _, Bytes, BytesMut};

/// Limit of extensions, trailers and leading zeros of one message, in bytes; all are dropped (RFC 9112, 7.1.1
/// asks for such a limit).
const MAX_OVERHEAD: u32 = 8 << 10;

/// A body that violates the chunked coding; the text names the violation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed chunk: {0}")]
pub struct MalformedChunk(pub &'static str);

/// Decoder of the chunks of one message.
#[derive(Debug, Default)]
pub struct ChunkDecoder {
    state: ChunkState,
    /// Bytes counted towards `MAX_OVERHEAD`.
    overhead: u32,
}

/// Position of the next byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum ChunkState {
    /// The first digit of a size.
    #[default]
    SizeStart,
    /// Further digits; the value so far.
    Size(u64),
    /// Whitespace between a size and the `;` of its extension.
    Blank(u64),
    Extension(u64),
    /// The LF after a chunk's size.
    SizeEnd(u64),
    /// A chunk's data; bytes still missing.
    Data(u64),
    /// The CR after a chunk's data.
    DataEnd,
    DataEndLf,
    /// A trailer, or the CR of the empty line that ends the trailers.
    Trailer,
    TrailerName,
    TrailerValue,
    /// The LF after a trailer.
    TrailerEnd,
    /// The LF of the empty line.
    LastLf,
    /// The body is complete.
    End,
}

/// Result of one decoding step.
#[derive(Debug, PartialEq, Eq)]
pub enum Decoded {
    /// A piece of the body.
    Piece(Bytes),
    /// The body is complete; any bytes left are not part of it.
    End,
    /// All bytes are consumed; more are needed for a piece.
    NeedsMore,
}

impl ChunkDecoder {
    /// Takes the next piece of the body out of `received`.
    ///
    /// # Errors
    /// The bytes violate the chunked coding.
    pub fn decode(&mut self, received: &mut BytesMut) -> Result<Decoded, MalformedChunk> {
        loop {
            if self.state == ChunkState::End {
                return Ok(Decoded::End);
            }
            if received.is_empty() {
                return Ok(Decoded::NeedsMore);
            }
            if let ChunkState::Data(missing) = self.state {
                let length = usize::try_from(missing).unwrap_or(usize::MAX).min(received.len());
                let missing = missing - length as u64;
                self.state = if missing == 0 { ChunkState::DataEnd } else { ChunkState::Data(missing) };
                return Ok(Decoded::Piece(received.split_to(length).freeze()));
            }
            self.state = self.after(received.get_u8())?;
        }
    }

    fn after(&mut self, byte: u8) -> Result<ChunkState, MalformedChunk> {
        let malformed = |problem| Err(MalformedChunk(problem));
        match (self.state, byte) {
            // leading zeros must be limited too
            (ChunkState::Size(0), b'0') => self.pass(ChunkState::Size(0)),
            (ChunkState::SizeStart, byte) if byte.is_ascii_hexdigit() => push_digit(0, byte),
            (ChunkState::SizeStart, _) => malformed("a size without a digit"),
            (ChunkState::Size(size), byte) if byte.is_ascii_hexdigit() => push_digit(size, byte),
            (ChunkState::Size(size) | ChunkState::Blank(size), b' ' | b'\t') => {
                self.pass(ChunkState::Blank(size))
            }
            (ChunkState::Size(size) | ChunkState::Blank(size), b';') => {
                self.pass(ChunkState::Extension(size))
            }
            (ChunkState::Size(size) | ChunkState::Extension(size), b'\r') => Ok(ChunkState::SizeEnd(size)),
            (ChunkState::Size(_) | ChunkState::Blank(_), _) => malformed("a size that is not a number"),
            (ChunkState::Extension(size), byte) if is_text(byte) => self.pass(ChunkState::Extension(size)),
            (ChunkState::SizeEnd(0) | ChunkState::TrailerEnd, b'\n') => Ok(ChunkState::Trailer),
            (ChunkState::SizeEnd(size), b'\n') => Ok(ChunkState::Data(size)),
            (ChunkState::DataEnd, b'\r') => Ok(ChunkState::DataEndLf),
            (ChunkState::DataEndLf, b'\n') => Ok(ChunkState::SizeStart),
            (ChunkState::DataEnd | ChunkState::DataEndLf, _) => malformed("more data than its size says"),
            (ChunkState::Trailer, b'\r') => Ok(ChunkState::LastLf),
            (ChunkState::Trailer | ChunkState::TrailerName, byte) if is_token(byte) => {
                self.pass(ChunkState::TrailerName)
            }
            (ChunkState::TrailerName, b':') => self.pass(ChunkState::TrailerValue),
            (ChunkState::TrailerValue, b'\r') => Ok(ChunkState::TrailerEnd),
            (ChunkState::TrailerValue, byte) if is_text(byte) => self.pass(ChunkState::TrailerValue),
            (ChunkState::LastLf, b'\n') => Ok(ChunkState::End),
            (ChunkState::Extension(_) | ChunkState::SizeEnd(_), _) => {
                malformed("a line of a size that does not end")
            }
            _ => malformed("a trailer without a name or a colon, or with a control character"),
        }
    }

    /// Drops a byte and continues in `state`.
    fn pass(&mut self, state: ChunkState) -> Result<ChunkState, MalformedChunk> {
        self.overhead += 1;
        if self.overhead > MAX_OVERHEAD {
            return Err(MalformedChunk("too many bytes of extensions, trailers and zeros"));
        }
        Ok(state)
    }
}

/// Appends a hexadecimal digit to a size.
fn push_digit(size: u64, digit: u8) -> Result<ChunkState, MalformedChunk> {
    let value = char::from(digit).to_digit(16).map_or(0, u64::from);
    let size = size.checked_mul(16).ok_or(MalformedChunk("a size of more than 64 bits"))?;
    Ok(ChunkState::Size(size | value))
}

/// True for a byte of an extension or of a trailer's value (RFC 9110, 5.5).
fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

/// True for a byte of a token (RFC 9110, 5.6.2), such as a header name.
pub fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The decoded body, the bytes left, and whether the body is complete.
    fn decoded<'a>(
        pieces: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<(Vec<u8>, Vec<u8>, bool), MalformedChunk> {
        let (mut chunks, mut received, mut body) = (ChunkDecoder::default(), BytesMut::new(), Vec::new());
        let mut is_over = false;
        for piece in pieces {
            received.extend_from_slice(piece);
            loop {
                match chunks.decode(&mut received)? {
                    Decoded::Piece(data) => {
                        assert!(!data.is_empty(), "an empty piece would look like the end");
                        body.extend_from_slice(&data);
                    }
                    Decoded::NeedsMore => {
                        assert!(received.is_empty());
                        break;
                    }
                    Decoded::End => {
                        is_over = true;
                        break;
                    }
                }
            }
        }
        Ok((body, received.to_vec(), is_over))
    }

    fn whole(text: &str) -> Result<(Vec<u8>, Vec<u8>, bool), MalformedChunk> {
        decoded([text.as_bytes()])
    }

    #[test]
    fn extensions_and_trailers_are_dropped() {
        for (text, body, behind) in [
            ("0\r\n\r\n", "", ""),
            ("5\r\nhello\r\n0\r\n\r\n", "hello", ""),
            ("005\r\nhello\r\nA;a=b;c=\"d e\"\r\n0123456789\r\n000\r\n\r\n", "hello0123456789", ""),
            ("1 \t;x\r\na\r\n0;last\r\nX-Trailer: a\r\nb:\r\n\r\n", "a", ""),
            ("2\r\n\r\n\r\n0\r\n\r\n", "\r\n", ""),
            ("1\r\na\r\n0\r\n\r\nHTTP/1.1 200 OK", "a", "HTTP/1.1 200 OK"),
        ] {
            assert_eq!(whole(text), Ok((body.into(), behind.into(), true)), "{text:?}");
        }
    }

    #[test]
    fn chunks_that_other_parsers_might_read_differently_are_malformed() {
        for text in [
            "\r\n",
            "x\r\n",
            "-1\r\n",
            "+1\r\na\r\n",
            "0x1\r\na\r\n",
            " 1\r\na\r\n",
            "1 \r\na\r\n",
            "1 1\r\na\r\n",
            "1\na\n0\n\n",
            "1\r\na\n0\r\n\r\n",
            "1\r\nab\r\n",
            "1\r\na0\r\n\r\n",
            "1;a\nb\r\na\r\n",
            "1;a\0\r\na\r\n",
            "1\ra",
            "0\r\n\rx",
            "0\r\n\n",
            "0\r\n folded\r\n\r\n",
            "0\r\nno colon\r\n\r\n",
            "0\r\n: no name\r\n\r\n",
            "0\r\na: b\nc: d\r\n\r\n",
            "0\r\na: \u{7f}\r\n\r\n",
            "10000000000000000\r\n",
        ] {
            assert!(matches!(whole(text), Err(MalformedChunk(_))), "{text:?}: {:?}", whole(text));
        }
    }

    #[test]
    fn a_size_of_16_digits_is_the_largest() {
        assert_eq!(whole("ffffffffffffffff\r\na"), Ok((b"a".to_vec(), Vec::new(), false)));
    }

    #[test]
    fn extensions_and_trailers_share_one_limit() {
        let half = "x".repeat(4000);
        assert!(whole(&format!("1;{half}\r\na\r\n0\r\nt:{half}\r\n\r\n")).is_ok());
        assert!(whole(&format!("1;{half}{half}{half}\r\na\r\n")).is_err());
        assert!(whole(&format!("0\r\nt:{half}\r\nt:{half}\r\nt:{half}\r\n\r\n")).is_err());
        assert!(whole(&"0".repeat(10_000)).is_err());
        // many small chunks, each with a long extension
        assert!(whole(&format!("1;{half}\r\na\r\n").repeat(3)).is_err());
    }

    fn written(pieces: &[Vec<u8>], extension: &str, trailer: &str) -> Vec<u8> {
        let mut text = Vec::new();
        for piece in pieces {
            text.extend_from_slice(format!("{:x}{extension}\r\n", piece.len()).as_bytes());
            text.extend_from_slice(piece);
            text.extend_from_slice(b"\r\n");
        }
        text.extend_from_slice(format!("0{extension}\r\n{trailer}\r\n").as_bytes());
        text
    }

    fn cut<'a>(bytes: &'a [u8], lengths: &[usize]) -> Vec<&'a [u8]> {
        let mut rest = bytes;
        let mut pieces = Vec::new();
        for length in lengths {
            let (piece, others) = rest.split_at((*length).min(rest.len()));
            pieces.push(piece);
            rest = others;
        }
        pieces.push(rest);
        pieces
    }

    proptest! {
        #[test]
        fn chunks_are_decoded_in_pieces_of_any_size(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8),
            extension in "(;[a-z]{1,4}(=[a-z]{1,4})?){0,2}",
            trailer in "([a-z]{1,4}: [ -~]{0,8}\r\n){0,2}",
            lengths in prop::collection::vec(0_usize..12, 0..60),
            behind in "[ -~]{0,5}",
        ) {
            let text = [written(&pieces, &extension, &trailer), behind.clone().into_bytes()].concat();
            let expected = (pieces.concat(), behind.into_bytes(), true);
            prop_assert_eq!(decoded(cut(&text, &lengths)), Ok(expected.clone()));
            prop_assert_eq!(decoded(text.chunks(1)), Ok(expected));
        }

        #[test]
        fn a_truncated_body_is_never_complete(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..4),
            at in any::<prop::sample::Index>(),
        ) {
            let text = written(&pieces, "", "a: b\r\n");
            let (_, _, is_over) = decoded([&text[..at.index(text.len())]]).unwrap();
            prop_assert!(!is_over);
        }

        #[test]
        fn the_result_does_not_depend_on_the_pieces(
            text in "[0-9a-f;: \r\n]{0,60}", lengths in prop::collection::vec(0_usize..6, 0..30),
        ) {
            let cut = decoded(cut(text.as_bytes(), &lengths));
            prop_assert_eq!(&cut, &whole(&text));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let with_start = [b"5\r\nhello\r\n", &bytes[..]].concat();
            let _ = (decoded([&bytes[..]]), decoded([&with_start[..]]));
        }
    }
}
