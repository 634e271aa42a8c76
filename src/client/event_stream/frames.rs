//! Splits the bytes of an event stream into frames and decodes them.
//!
//! `aws-smithy-eventstream` decodes a frame once it is complete. A length out of bounds and a damaged prelude
//! are detected earlier, from the first 12 bytes. `event_stream.rs` pushes chunks and takes messages.

use aws_smithy_eventstream::frame::read_message_from;
use aws_smithy_types::event_stream::Message;
use bytes::{Buf as _, Bytes};

use crate::client::piece_buffer::PieceBuffer;

/// Length of the prelude: total length, length of the headers, and their checksum.
const PRELUDE: usize = 12;
/// Minimum length of a frame: the prelude and the checksum of the frame.
const MIN_FRAME: usize = PRELUDE + 4;
/// Maximum length of a frame, as in AWS's own decoders.
const MAX_FRAME: usize = 16 << 20;
/// Maximum bytes of a frame's headers. Lambda's have a hundred or two; decoded, they take a multiple of that.
const MAX_FRAME_HEADERS: usize = 8 << 10;

/// A malformed frame.
#[derive(Debug, thiserror::Error)]
pub enum BadFrame {
    #[error("a frame of {0} bytes in the event stream, not of {MIN_FRAME} to {MAX_FRAME}")]
    Length(usize),
    #[error("{0} bytes of headers in a frame of the event stream, of {MAX_FRAME_HEADERS} at most")]
    Headers(usize),
    /// The prelude is damaged.
    #[error("a wrong checksum at the start of a frame in the event stream")]
    Prelude,
    /// The rest of the frame is malformed.
    #[error("a broken frame in the event stream: {0}")]
    Content(aws_smithy_eventstream::error::Error),
}

/// Received bytes that are not decoded yet.
#[derive(Default)]
pub struct Frames {
    /// The start of a frame that spans several chunks; empty if the next frame starts with `chunk`.
    partial: PieceBuffer,
    /// The last chunk.
    chunk: Bytes,
}

impl Frames {
    /// Adds a chunk. [`Frames::take`] must have returned `None` before.
    pub fn push(&mut self, chunk: Bytes) {
        if !self.chunk.is_empty() {
            let rest = std::mem::take(&mut self.chunk);
            self.partial.push(rest, None);
        }
        self.chunk = chunk;
    }

    pub fn is_empty(&self) -> bool {
        self.partial.is_empty() && self.chunk.is_empty()
    }

    /// The next message, or `None` if more bytes are needed.
    ///
    /// # Errors
    /// The bytes are not a valid frame.
    pub fn take(&mut self) -> Result<Option<Message>, BadFrame> {
        if self.partial.is_empty() {
            // the usual case: the frame is within one chunk and needs no copy
            if let Some(length) = length(&self.chunk)?.filter(|length| *length <= self.chunk.len()) {
                return read(self.chunk.split_to(length)).map(Some);
            }
        }
        self.fill(PRELUDE);
        let Some(length) = length(self.partial.bytes())? else { return Ok(None) };
        self.fill(length);
        if self.partial.len() < length {
            return Ok(None);
        }
        read(self.partial.take()).map(Some)
    }

    /// Moves bytes of the chunk to the partial frame until it has this length.
    fn fill(&mut self, length: usize) {
        let missing = length.saturating_sub(self.partial.len()).min(self.chunk.len());
        self.partial.push(self.chunk.split_to(missing), Some(length));
    }
}

/// The length of the frame that starts with `bytes`; `None` if the prelude is incomplete.
fn length(bytes: &[u8]) -> Result<Option<usize>, BadFrame> {
    let Some(mut prelude) = bytes.get(..PRELUDE) else { return Ok(None) };
    let checksum = crc32fast::hash(&prelude[..PRELUDE - 4]);
    let length = usize::try_from(prelude.get_u32()).unwrap_or(usize::MAX);
    let headers = usize::try_from(prelude.get_u32()).unwrap_or(usize::MAX);
    if !(MIN_FRAME..=MAX_FRAME).contains(&length) {
        return Err(BadFrame::Length(length));
    }
    if prelude.get_u32() != checksum {
        return Err(BadFrame::Prelude);
    }
    if headers > MAX_FRAME_HEADERS {
        return Err(BadFrame::Headers(headers));
    }
    Ok(Some(length))
}

/// Decodes a complete frame.
fn read(frame: Bytes) -> Result<Message, BadFrame> {
    read_message_from(frame).map_err(BadFrame::Content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    /// A prelude with a valid checksum.
    fn prelude(length: u32, headers: u32) -> Vec<u8> {
        let mut bytes = [length.to_be_bytes(), headers.to_be_bytes()].concat();
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_be_bytes());
        bytes
    }

    fn first(bytes: &[u8]) -> Result<Option<Message>, BadFrame> {
        let mut frames = Frames::default();
        frames.push(Bytes::copy_from_slice(bytes));
        frames.take()
    }

    #[test]
    fn a_length_out_of_bounds_is_refused_by_the_prelude_alone() {
        for length in [0, 1, 15, (16 << 20) + 1, u32::MAX] {
            assert!(matches!(first(&prelude(length, 0)), Err(BadFrame::Length(_))), "{length}");
        }
        for length in [16, 16 << 20] {
            assert!(matches!(first(&prelude(length, 0)), Ok(None)), "{length}");
        }
    }

    #[test]
    fn a_damaged_prelude_is_refused_before_the_rest_is_here() {
        for byte in 2..12 {
            let mut bytes = prelude(1000, 100);
            bytes[byte] ^= 1;
            assert!(matches!(first(&bytes), Err(BadFrame::Prelude)), "{byte}");
            assert!(matches!(first(&bytes[..11]), Ok(None)), "{byte}");
        }
    }

    #[test]
    fn headers_that_do_not_fit_into_the_frame_are_refused() {
        for headers in [1, 2, 5, 8 << 10] {
            let mut bytes = prelude(20, headers);
            bytes.extend_from_slice(&[0xff; 4]);
            bytes.extend_from_slice(&crc32fast::hash(&bytes).to_be_bytes());
            assert!(matches!(first(&bytes), Err(BadFrame::Content(_))), "{headers}");
        }
        for headers in [(8 << 10) + 1, u32::MAX] {
            let refused = first(&prelude(16 << 20, headers));
            assert!(matches!(refused, Err(BadFrame::Headers(_))), "before the rest is here: {headers}");
        }
    }

    #[test]
    fn a_frame_within_one_chunk_is_decoded_without_a_copy() {
        let mut bytes = prelude(16, 0);
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_be_bytes());
        let mut frames = Frames::default();
        frames.push([bytes.as_slice(), &bytes, &bytes[..5]].concat().into());
        assert!(frames.take().unwrap().is_some() && frames.take().unwrap().is_some());
        assert!(frames.partial.is_empty());
        assert!(frames.take().unwrap().is_none() && !frames.is_empty());
        frames.push(Bytes::copy_from_slice(&bytes[5..]));
        assert!(frames.take().unwrap().is_some() && frames.is_empty());
    }

    proptest! {
        #[test]
        fn frames_in_any_pieces_are_the_messages_that_were_written(
            payloads in vec(vec(any::<u8>(), 0..60), 0..6),
            cuts in vec(1_usize..40, 0..60),
        ) {
            let mut bytes = Vec::new();
            for payload in &payloads {
                let message = Message::new(payload.clone());
                aws_smithy_eventstream::frame::write_message_to(&message, &mut bytes).unwrap();
            }
            let mut frames = Frames::default();
            let (mut rest, mut read) = (&bytes[..], Vec::new());
            for cut in cuts.into_iter().chain([usize::MAX]) {
                let (piece, after) = rest.split_at(cut.min(rest.len()));
                rest = after;
                frames.push(Bytes::copy_from_slice(piece));
                while let Some(message) = frames.take().unwrap() {
                    read.push(message.payload().to_vec());
                }
            }
            prop_assert!(frames.is_empty());
            prop_assert_eq!(read, payloads);
        }

        #[test]
        fn a_frame_with_any_flipped_bit_is_rejected(
            payload in vec(any::<u8>(), 0..20),
            bit in any::<prop::sample::Index>(),
        ) {
            let mut bytes = Vec::new();
            aws_smithy_eventstream::frame::write_message_to(&Message::new(payload), &mut bytes).unwrap();
            let bit = bit.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(!matches!(first(&bytes), Ok(Some(_))), "bit {bit}");
        }
    }
}
