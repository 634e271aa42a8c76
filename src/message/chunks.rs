//! The chunked transfer coding (RFC 9112, 7.1), decoded as the bytes come in.
//!
//! `client/exchange.rs` decodes answers with it, `listener/http1/request_reader.rs` requests. The decoder is strict,
//! because two readers that disagree about the end of a message are how messages are smuggled: lines end in CR LF,
//! and a size is nothing but hexadecimal digits. Extensions and trailers are bounded and dropped: API Gateway sends
//! and takes none.

use bytes::{Buf as _, Bytes, BytesMut};

/// Bytes of extensions, trailers and needless zeros in one message, in all: the decoder reads them only to drop them
/// (RFC 9112, 7.1.1 asks for such a limit).
const MAX_OVERHEAD: u32 = 8 << 10;

/// A body that violates the chunked coding; the text names the violation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed chunk: {0}")]
pub struct MalformedChunk(pub &'static str);

/// The decoder's progress through the chunks of one message.
#[derive(Debug, Default)]
pub struct Chunks {
    state: State,
    /// Bytes of these so far.
    overhead: u32,
}

/// What the next byte belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// A chunk's size, of which this has been read; `None` before its first digit.
    Size(Option<u64>),
    /// Blanks between a size and the `;` of its extension.
    Blank(u64),
    Extension(u64),
    /// The LF after a chunk's size.
    SizeEnd(u64),
    /// A chunk's data, of which this much is missing.
    Data(u64),
    /// The CR after a chunk's data.
    DataEnd,
    DataEndLf,
    /// A trailer, or the CR of the empty line that ends them all.
    Trailer,
    TrailerName,
    TrailerValue,
    /// The LF after a trailer.
    TrailerEnd,
    /// The LF of the empty line.
    LastLf,
    /// Nothing: the body is over.
    End,
}

impl Default for State {
    fn default() -> Self {
        Self::Size(None)
    }
}

/// What came of the bytes at hand.
#[derive(Debug, PartialEq, Eq)]
pub enum Decoded {
    /// A piece of the body.
    Piece(Bytes),
    /// The body is over; what is left belongs to nothing.
    End,
    /// They do not hold a piece, and are used up.
    NeedsMore,
}

impl Chunks {
    /// Takes the next piece of the body out of `received`.
    ///
    /// # Errors
    /// The bytes are no chunks.
    pub fn decode(&mut self, received: &mut BytesMut) -> Result<Decoded, MalformedChunk> {
        loop {
            if self.state == State::End {
                return Ok(Decoded::End);
            }
            if received.is_empty() {
                return Ok(Decoded::NeedsMore);
            }
            if let State::Data(missing) = self.state {
                let length = usize::try_from(missing).unwrap_or(usize::MAX).min(received.len());
                let missing = missing - length as u64;
                self.state = if missing == 0 { State::DataEnd } else { State::Data(missing) };
                return Ok(Decoded::Piece(received.split_to(length).freeze()));
            }
            self.state = self.after(received.get_u8())?;
        }
    }

    fn after(&mut self, byte: u8) -> Result<State, MalformedChunk> {
        let malformed = |problem| Err(MalformedChunk(problem));
        match (self.state, byte) {
            // zeros before a size could go on for ever
            (State::Size(Some(0)), b'0') => self.pass(State::Size(Some(0))),
            (State::Size(size), b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => larger(size, byte),
            (State::Size(None), _) => malformed("a size without a digit"),
            (State::Size(Some(size)) | State::Blank(size), b' ' | b'\t') => self.pass(State::Blank(size)),
            (State::Size(Some(size)) | State::Blank(size), b';') => self.pass(State::Extension(size)),
            (State::Size(Some(size)) | State::Extension(size), b'\r') => Ok(State::SizeEnd(size)),
            (State::Size(Some(_)) | State::Blank(_), _) => malformed("a size that is not a number"),
            (State::Extension(size), byte) if is_text(byte) => self.pass(State::Extension(size)),
            (State::SizeEnd(0) | State::TrailerEnd, b'\n') => Ok(State::Trailer),
            (State::SizeEnd(size), b'\n') => Ok(State::Data(size)),
            (State::DataEnd, b'\r') => Ok(State::DataEndLf),
            (State::DataEndLf, b'\n') => Ok(State::Size(None)),
            (State::DataEnd | State::DataEndLf, _) => malformed("more data than its size says"),
            (State::Trailer, b'\r') => Ok(State::LastLf),
            (State::Trailer | State::TrailerName, byte) if is_token(byte) => self.pass(State::TrailerName),
            (State::TrailerName, b':') => self.pass(State::TrailerValue),
            (State::TrailerValue, b'\r') => Ok(State::TrailerEnd),
            (State::TrailerValue, byte) if is_text(byte) => self.pass(State::TrailerValue),
            (State::LastLf, b'\n') => Ok(State::End),
            (State::Extension(_) | State::SizeEnd(_), _) => malformed("a line of a size that does not end"),
            _ => malformed("a trailer without a name or a colon, or with a control character"),
        }
    }

    /// Goes on to `state` past a byte that is dropped.
    fn pass(&mut self, state: State) -> Result<State, MalformedChunk> {
        self.overhead += 1;
        if self.overhead > MAX_OVERHEAD {
            return Err(MalformedChunk("too many bytes of extensions, trailers and zeros"));
        }
        Ok(state)
    }
}

/// A size with one more digit.
fn larger(size: Option<u64>, digit: u8) -> Result<State, MalformedChunk> {
    let value = char::from(digit).to_digit(16).map_or(0, u64::from);
    let size = size.unwrap_or(0).checked_mul(16).ok_or(MalformedChunk("a size of more than 64 bits"))?;
    Ok(State::Size(Some(size | value)))
}

/// What may stand in an extension or a trailer's value (RFC 9110, 5.5).
fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

/// What may stand in a name (RFC 9110, 5.6.2).
pub fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The body that chunks make when they come in these pieces, what is left behind them, and whether they are over.
    fn decoded<'a>(
        pieces: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<(Vec<u8>, Vec<u8>, bool), MalformedChunk> {
        let (mut chunks, mut received, mut body) = (Chunks::default(), BytesMut::new(), Vec::new());
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
    fn chunks_make_a_body_without_extensions_and_trailers() {
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
    fn what_other_readers_might_read_otherwise_is_malformed() {
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
    fn a_size_of_16_digits_is_the_largest_and_is_not_waited_for() {
        assert_eq!(whole("ffffffffffffffff\r\na"), Ok((b"a".to_vec(), Vec::new(), false)));
    }

    #[test]
    fn extensions_and_trailers_are_bounded_together() {
        let half = "x".repeat(4000);
        assert!(whole(&format!("1;{half}\r\na\r\n0\r\nt:{half}\r\n\r\n")).is_ok());
        assert!(whole(&format!("1;{half}{half}{half}\r\na\r\n")).is_err());
        assert!(whole(&format!("0\r\nt:{half}\r\nt:{half}\r\nt:{half}\r\n\r\n")).is_err());
        assert!(whole(&"0".repeat(10_000)).is_err());
        // the old trick: many small chunks, each with a long extension
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

    /// The same bytes, cut into pieces.
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
        fn what_was_written_is_read_however_it_comes_in(
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
        fn a_body_that_was_cut_is_never_over(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..4),
            at in any::<prop::sample::Index>(),
        ) {
            let text = written(&pieces, "", "a: b\r\n");
            let (_, _, is_over) = decoded([&text[..at.index(text.len())]]).unwrap();
            prop_assert!(!is_over);
        }

        #[test]
        fn any_bytes_mean_the_same_however_they_come_in(
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
