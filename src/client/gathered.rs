//! Bytes that arrive in pieces and are wanted whole.
//!
//! The usual answer arrives in one piece, which is kept as it is. A second piece moves both into one buffer that
//! grows by half: while a buffer that doubles is moved, three times its bytes are held.

use bytes::Bytes;

/// A buffer that grows holds so many bytes at least.
const LEAST: usize = 16 << 10;

/// The bytes that have arrived so far.
#[derive(Debug, Default)]
pub struct Gathered {
    /// All of it, as long as that is one piece.
    only: Bytes,
    /// All of it once there are more.
    joined: Vec<u8>,
}

impl Gathered {
    /// Adds a piece. `whole` is the length that all pieces will have, if that is known.
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
            let grown = (self.joined.capacity() + self.joined.capacity() / 2).max(LEAST);
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

    /// The bytes, with nothing left behind.
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
        let mut gathered = Gathered::default();
        gathered.push(Bytes::new(), None);
        gathered.push(piece.clone(), None);
        gathered.push(Bytes::new(), None);
        assert_eq!(gathered.take().as_ptr(), piece.as_ptr());
        assert!(gathered.is_empty());
    }

    proptest! {
        #[test]
        fn pieces_are_joined_in_their_order_and_in_no_more_room_than_they_need(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9000), 0..12),
            is_known in any::<bool>(),
        ) {
            let whole = pieces.concat();
            let mut gathered = Gathered::default();
            for piece in &pieces {
                gathered.push(Bytes::copy_from_slice(piece), is_known.then_some(whole.len()));
            }
            let room = gathered.joined.capacity();
            prop_assert!(room <= whole.len().max(if is_known { 0 } else { LEAST.max(whole.len() * 3 / 2) }), "{}", room);
            prop_assert_eq!(gathered.len(), whole.len());
            prop_assert_eq!(gathered.take(), whole);
        }
    }
}
