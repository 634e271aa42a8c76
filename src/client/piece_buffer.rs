//! Joins bytes that arrive in pieces.
//!
//! A single piece, the usual case, is kept without a copy. A second piece moves both into one buffer that
//! grows by half: while a doubling buffer is moved, three times its bytes are allocated.

use bytes::Bytes;

/// Minimum capacity of the joined buffer.
const MIN_CAPACITY: usize = 16 << 10;

#[derive(Debug, Default)]
pub struct PieceBuffer {
    /// The bytes while there is one piece.
    only: Bytes,
    /// The bytes once there are more.
    joined: Vec<u8>,
}

impl PieceBuffer {
    /// Appends a piece. `whole` is the total length, if it is known.
    pub fn push(&mut self, piece: Bytes, whole: Option<usize>) {
        if self.is_empty() {
            self.only = piece;
            return;
        }
        if piece.is_empty() {
            return;
        }
        let needed = self.len() + piece.len();
        if self.joined.capacity() < needed {
            let grown = (self.joined.capacity() + self.joined.capacity() / 2).max(MIN_CAPACITY);
            let room = grown.min(whole.unwrap_or(usize::MAX)).max(needed);
            self.joined.reserve_exact(room - self.joined.len());
        }
        self.joined.extend_from_slice(&std::mem::take(&mut self.only));
        self.joined.extend_from_slice(&piece);
    }

    pub fn len(&self) -> usize {
        self.bytes().len()
    }

    pub fn is_empty(&self) -> bool {
        self.bytes().is_empty()
    }

    pub fn bytes(&self) -> &[u8] {
        if self.joined.is_empty() { &self.only } else { &self.joined }
    }

    pub fn take(&mut self) -> Bytes {
        let Self { only, joined } = std::mem::take(self);
        if joined.is_empty() { only } else { joined.into() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_piece_is_not_copied() {
        let piece = Bytes::from(vec![1; 100]);
        let mut buffer = PieceBuffer::default();
        buffer.push(Bytes::new(), None);
        buffer.push(piece.clone(), None);
        buffer.push(Bytes::new(), None);
        assert_eq!(buffer.take().as_ptr(), piece.as_ptr());
        assert!(buffer.is_empty());
    }

    proptest! {
        #[test]
        fn pieces_are_joined_in_their_order_and_in_no_more_room_than_they_need(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9000), 0..12),
            is_known in any::<bool>(),
        ) {
            let whole = pieces.concat();
            let mut buffer = PieceBuffer::default();
            for piece in &pieces {
                buffer.push(Bytes::copy_from_slice(piece), is_known.then_some(whole.len()));
            }
            let room = buffer.joined.capacity();
            let spare = if is_known { 0 } else { MIN_CAPACITY.max(whole.len() * 3 / 2) };
            prop_assert!(room <= whole.len().max(spare), "{}", room);
            prop_assert_eq!(buffer.len(), whole.len());
            prop_assert_eq!(buffer.take(), whole);
        }
    }
}
