//! Where the chunks of a request's body end (RFC 9112, 7.1).
//!
//! `boundaries.rs` asks, since the next request begins there. What is in the chunks is actix's to read and to refuse,
//! and so everything is passed here that actix passes: `client/chunks.rs`, which reads answers, is stricter.

/// How far the chunks of one body have been passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Chunks(State);

/// What the next byte belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    /// The first digit of a chunk's size.
    #[default]
    FirstDigit,
    /// The rest of a size that begins like this.
    Size(u64),
    /// Blanks between a size and the `;` of its extension.
    Blank(u64),
    /// An extension.
    Extension(u64),
    /// The LF after a size.
    SizeEnd(u64),
    /// A chunk's data, of which this much is missing.
    Data(u64),
    /// The CR after a chunk's data.
    DataEnd,
    /// The LF after that.
    DataEndLf,
    /// A trailer, or the CR of the empty line that ends them all.
    LineOfTrailers,
    /// The rest of a trailer.
    Trailer,
    /// The LF after a trailer.
    TrailerEnd,
    /// The LF of the empty line.
    LastLf,
    /// Nothing.
    End,
}

impl Chunks {
    /// Passes over the bytes that belong to the body, and says how many they are; `None` if they are no chunks.
    pub fn pass(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while at < bytes.len() && !self.are_over() {
            if let State::Data(missing) = self.0 {
                let passed = usize::try_from(missing).unwrap_or(usize::MAX).min(bytes.len() - at);
                at += passed;
                let missing = missing - passed as u64;
                self.0 = if missing == 0 { State::DataEnd } else { State::Data(missing) };
            } else {
                self.0 = after(self.0, bytes[at])?;
                at += 1;
            }
        }
        Some(at)
    }

    /// Whether the last byte has been passed.
    pub fn are_over(self) -> bool {
        self.0 == State::End
    }
}

/// What comes after `byte`; `None` where it cannot stand.
fn after(state: State, byte: u8) -> Option<State> {
    let digit = char::from(byte).to_digit(16).map(u64::from);
    Some(match (state, byte) {
        (State::FirstDigit, _) => State::Size(digit?),
        (State::Size(size) | State::Blank(size), b' ' | b'\t') => State::Blank(size),
        (State::Size(size) | State::Blank(size), b';')
        | (State::Extension(size), b'\t' | b' '..=b'~' | 0x80..) => State::Extension(size),
        (State::Size(size) | State::Blank(size) | State::Extension(size), b'\r') => State::SizeEnd(size),
        (State::Size(size), _) => State::Size(size.checked_mul(16)? | digit?),
        (State::SizeEnd(0) | State::TrailerEnd, b'\n') => State::LineOfTrailers,
        (State::SizeEnd(size), b'\n') => State::Data(size),
        (State::DataEnd, b'\r') => State::DataEndLf,
        (State::DataEndLf, b'\n') => State::FirstDigit,
        (State::LineOfTrailers, b'\r') => State::LastLf,
        (State::Trailer, b'\r') => State::TrailerEnd,
        (State::LineOfTrailers | State::Trailer, _) => State::Trailer,
        (State::LastLf, b'\n') => State::End,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// How many bytes belong to the body when they come in these pieces, and whether it is over.
    fn passed<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Option<(usize, bool)> {
        let (mut chunks, mut passed) = (Chunks::default(), 0);
        for piece in pieces {
            passed += chunks.pass(piece)?;
        }
        Some((passed, chunks.are_over()))
    }

    #[test]
    fn chunks_end_behind_the_last_and_its_trailers() {
        for body in [
            "0\r\n\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
            "00A;a=b;c=\"d\"\r\n0\r\n\r\nhello\r\n0;x\r\n\r\n",
            "1 \t\r\na\r\n000\r\nA: b\r\nC: d\r\n\r\n",
        ] {
            let received = format!("{body}GET / HTTP/1.1\r\n");
            assert_eq!(passed([received.as_bytes()]), Some((body.len(), true)), "{body:?}");
            assert_eq!(passed(received.as_bytes().chunks(1)), Some((body.len(), true)), "{body:?}");
            let cut = &body.as_bytes()[..body.len() - 1];
            assert_eq!(passed([cut]), Some((cut.len(), false)), "{body:?}");
        }
    }

    #[test]
    fn what_is_no_chunk_has_no_end() {
        for body in [
            "\r\n",
            "x\r\n",
            "+1\r\na\r\n",
            "1\na",
            "1 1\r\n",
            "1;\0\r\n",
            "1\r\nab\r\n",
            "1\r\na\n",
            "0\r\n\r\r",
            "fffffffffffffffff\r\n",
        ] {
            assert_eq!(passed([body.as_bytes()]), None, "{body:?}");
        }
    }

    proptest! {
        #[test]
        fn what_was_written_is_passed_whatever_is_in_it(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6),
            behind in prop::collection::vec(any::<u8>(), 0..20),
            lengths in 1_usize..50,
        ) {
            let mut body = Vec::new();
            for piece in &pieces {
                body.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                body.extend_from_slice(piece);
                body.extend_from_slice(b"\r\n");
            }
            body.extend_from_slice(b"0\r\n\r\n");
            let received = [&body[..], &behind].concat();
            prop_assert_eq!(passed(received.chunks(lengths)), Some((body.len(), true)));
        }
    }
}
