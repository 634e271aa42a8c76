//! The pieces of a response's body in the queue of `h2`, and the number of their bytes that `h2` has written.
//!
//! `h2` does not report which frames it has written, and drops the queue of a stream that is reset. A
//! [`Piece`] is the buffer of one DATA frame: it counts the bytes that `h2` takes from it, and wakes the
//! waiting task when `h2` drops it.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    task::{Context, Poll, Waker},
};

use bytes::{Buf, Bytes};

/// Bytes of one response that `h2` was given, and those of them that it has written.
#[derive(Debug, Default)]
pub struct BodyProgress {
    given: Cell<u64>,
    written: Cell<u64>,
    /// Pieces in the queue of `h2`.
    queued: Cell<usize>,
    /// The task that waits for the queue to become empty.
    waker: RefCell<Option<Waker>>,
}

impl BodyProgress {
    pub fn given(&self) -> u64 {
        self.given.get()
    }

    pub fn written(&self) -> u64 {
        self.written.get()
    }

    /// Ready once the queue of `h2` is empty.
    pub fn poll_empty(&self, context: &mut Context<'_>) -> Poll<()> {
        if self.queued.get() == 0 {
            return Poll::Ready(());
        }
        *self.waker.borrow_mut() = Some(context.waker().clone());
        Poll::Pending
    }
}

/// The buffer of one DATA frame.
#[derive(Debug)]
pub struct Piece {
    bytes: Bytes,
    progress: Option<Rc<BodyProgress>>,
}

impl Piece {
    /// A piece that counts for this progress.
    pub fn of(progress: &Rc<BodyProgress>, bytes: Bytes) -> Self {
        progress.given.set(progress.given.get() + bytes.len() as u64);
        progress.queued.set(progress.queued.get() + 1);
        Self { bytes, progress: Some(Rc::clone(progress)) }
    }

    /// A piece that does not count.
    pub fn uncounted(bytes: Bytes) -> Self {
        Self { bytes, progress: None }
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        if let Some(progress) = &self.progress {
            progress.written.set(progress.written.get() + count as u64);
        }
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let Some(progress) = &self.progress else { return };
        progress.queued.set(progress.queued.get() - 1);
        if progress.queued.get() == 0
            && let Some(waker) = progress.waker.take()
        {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c1_bytes_count_as_written_when_they_are_taken_and_a_dropped_piece_leaves_the_queue() {
        let progress = Rc::<BodyProgress>::default();
        let context = &mut Context::from_waker(Waker::noop());
        assert!(progress.poll_empty(context).is_ready());
        let mut first = Piece::of(&progress, Bytes::from_static(b"12345"));
        let second = Piece::of(&progress, Bytes::from_static(b"678"));
        first.advance(2);
        assert_eq!((progress.given(), progress.written()), (8, 2));
        drop(second);
        assert!(progress.poll_empty(context).is_pending());
        first.advance(3);
        drop(first);
        assert!(progress.poll_empty(context).is_ready());
        assert_eq!((progress.given(), progress.written()), (8, 5));
    }
}
