//! The memory of bodies that are read whole. It is kept for the next one for a second or two: to give a megabyte back
//! to the system and ask for it again costs half as much as to hash it, since each of its pages is made anew.
//!
//! `request_body.rs` reads into it; it comes back when the last part of the body has been sent. Each worker has its own
//! (`listener/worker.rs`), and keeps no more of it than `MOST_KEPT`.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::{sync::Notify, time::sleep};

/// Bytes that are kept, beyond those in use.
const MOST_KEPT: usize = 16 << 20;
/// A buffer of fewer bytes costs the system's allocator nothing worth saving.
const WORTH_KEEPING: usize = 16 << 10;
/// How long memory is kept that nobody has used meanwhile.
const ROUND: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Default)]
pub struct BodyMemory(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    kept: Mutex<IdleBuffers>,
    /// Something is kept again.
    filled: Notify,
}

#[derive(Debug, Default)]
struct IdleBuffers {
    /// The one used last is the last.
    buffers: Vec<Vec<u8>>,
    bytes: usize,
    /// As many of the first ones have not been used in this round.
    unused: usize,
}

/// A body in the making.
#[derive(Debug)]
pub struct Buffer {
    bytes: Vec<u8>,
    home: Arc<Shared>,
}

impl BodyMemory {
    /// Room for a body of this size, which may grow beyond.
    pub fn take(&self, size: usize) -> Buffer {
        let bytes = self.0.lock().take(size).unwrap_or_else(|| {
            // the next body may be somewhat larger; pages that nobody touches take no memory
            let size = if size < WORTH_KEEPING { size } else { size.next_power_of_two() };
            Vec::with_capacity(size)
        });
        Buffer { bytes, home: Arc::clone(&self.0) }
    }

    /// Gives memory back to the system that was not used for a while; never ends.
    pub async fn tidy(self) {
        loop {
            self.0.filled.notified().await;
            while !self.0.lock().buffers.is_empty() {
                sleep(ROUND).await;
                self.0.lock().end_round();
            }
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, IdleBuffers> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl IdleBuffers {
    fn take(&mut self, size: usize) -> Option<Vec<u8>> {
        // a small body does not take the room of a large one
        let fits = |buffer: &Vec<u8>| size >= WORTH_KEEPING && buffer.capacity() >= size;
        let at = self.buffers.iter().rposition(fits)?;
        let buffer = self.buffers.remove(at);
        self.bytes -= buffer.capacity();
        self.unused = self.unused.min(at);
        Some(buffer)
    }

    /// Whether it is kept.
    fn give_back(&mut self, mut buffer: Vec<u8>) -> bool {
        let capacity = buffer.capacity();
        let is_kept = capacity >= WORTH_KEEPING && self.bytes + capacity <= MOST_KEPT;
        if is_kept {
            buffer.clear();
            self.bytes += capacity;
            self.buffers.push(buffer);
        }
        is_kept
    }

    fn end_round(&mut self) {
        let unused: usize = self.buffers.drain(..self.unused).map(|buffer| buffer.capacity()).sum();
        self.bytes -= unused;
        self.unused = self.buffers.len();
    }
}

impl Buffer {
    /// The bytes so far, to be added to.
    pub fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// The body, whose memory comes back when nobody has it any more.
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.home.lock().give_back(mem::take(&mut self.bytes)) {
            self.home.filled.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(memory: &BodyMemory, size: usize) -> Bytes {
        let mut buffer = memory.take(size);
        buffer.bytes().resize(size, b'x');
        assert_eq!(buffer.as_ref().len(), size);
        buffer.freeze()
    }

    fn kept(memory: &BodyMemory) -> (usize, usize) {
        let kept = memory.0.lock();
        assert_eq!(kept.bytes, kept.buffers.iter().map(Vec::capacity).sum::<usize>());
        (kept.buffers.len(), kept.bytes)
    }

    #[test]
    fn the_memory_of_a_body_serves_the_next_one_of_its_size_and_no_small_one() {
        let memory = BodyMemory::default();
        let first = of(&memory, 1 << 20);
        let (address, again) = (first.as_ptr(), first.clone());
        drop(first);
        assert_eq!(kept(&memory), (0, 0), "somebody still has it");
        drop(again);
        assert_eq!(kept(&memory), (1, 1 << 20));
        let small = of(&memory, 100);
        let second = of(&memory, 900_000);
        assert_eq!((second.as_ptr(), second.len()), (address, 900_000));
        let third = of(&memory, 900_000);
        assert_ne!(third.as_ptr(), address);
        drop((small, second, third));
        assert_eq!(kept(&memory), (2, 2 << 20), "what is small is not kept");
    }

    #[test]
    fn no_more_is_kept_than_the_limit_whatever_is_given_back() {
        let memory = BodyMemory::default();
        let bodies: Vec<Bytes> = (0..40).map(|_| of(&memory, 1 << 20)).collect();
        drop(bodies);
        assert_eq!(kept(&memory), (16, MOST_KEPT));
        drop(of(&memory, MOST_KEPT + 1));
        assert_eq!(kept(&memory), (16, MOST_KEPT));
    }

    #[test]
    fn what_was_not_used_for_a_round_goes_and_what_was_stays() {
        let memory = BodyMemory::default();
        drop((of(&memory, 1 << 20), of(&memory, 1 << 20), of(&memory, 1 << 20)));
        memory.0.lock().end_round();
        assert_eq!(kept(&memory).0, 3, "all were used a moment ago");
        drop((of(&memory, 1 << 20), of(&memory, 1 << 20)));
        memory.0.lock().end_round();
        assert_eq!(kept(&memory).0, 2, "two at a time were enough");
        memory.0.lock().end_round();
        assert_eq!(kept(&memory), (0, 0));
    }

    #[actix_rt::test]
    async fn memory_goes_back_by_itself() {
        let memory = BodyMemory::default();
        let tidying = actix_rt::spawn(memory.clone().tidy());
        drop(of(&memory, 1 << 20));
        while kept(&memory) != (0, 0) {
            sleep(Duration::from_millis(10)).await;
        }
        tidying.abort();
    }
}
