//! Per-worker pool of buffers for request bodies that are read whole. A freed buffer stays in the pool for a
//! second or two: to return a megabyte to the system and to allocate it again takes half as long as to hash
//! it, because the kernel must zero each page.
//!
//! `request_body.rs` reads into a buffer; it returns to the pool when the last part of the body has been
//! sent. A pool holds at most `MAX_IDLE_BYTES`.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::{sync::Notify, time::sleep};

/// Limit of idle bytes; buffers in use do not count.
const MAX_IDLE_BYTES: usize = 16 << 20;
/// A smaller buffer is cheap for the system's allocator and is not pooled.
const MIN_POOLED_SIZE: usize = 16 << 10;
/// Idle buffers that were not used for this long are freed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Default)]
pub struct BodyMemory(Arc<SharedPool>);

#[derive(Debug, Default)]
struct SharedPool {
    idle: Mutex<IdleBuffers>,
    /// Notified when a buffer returns.
    filled: Notify,
}

#[derive(Debug, Default)]
struct IdleBuffers {
    /// The most recently used one is the last.
    buffers: Vec<Vec<u8>>,
    bytes: usize,
    /// Number of buffers at the front not used since the last call of `free_unused`.
    unused: usize,
}

/// A pooled buffer for one body.
#[derive(Debug)]
pub struct PooledBuffer {
    bytes: Vec<u8>,
    pool: Arc<SharedPool>,
}

impl BodyMemory {
    /// Takes a buffer with this capacity, which may grow.
    pub fn take(&self, size: usize) -> PooledBuffer {
        let bytes = self.0.lock().take(size).unwrap_or_else(|| {
            // the next body may be larger; pages that are never written use no memory
            let size = if size < MIN_POOLED_SIZE { size } else { size.next_power_of_two() };
            Vec::with_capacity(size)
        });
        PooledBuffer { bytes, pool: Arc::clone(&self.0) }
    }

    /// Frees buffers that were idle for `IDLE_TIMEOUT`; never returns.
    pub async fn free_idle(self) {
        loop {
            self.0.filled.notified().await;
            while !self.0.lock().buffers.is_empty() {
                sleep(IDLE_TIMEOUT).await;
                self.0.lock().free_unused();
            }
        }
    }
}

impl SharedPool {
    fn lock(&self) -> MutexGuard<'_, IdleBuffers> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl IdleBuffers {
    fn take(&mut self, size: usize) -> Option<Vec<u8>> {
        // a small body must not occupy a large buffer
        let fits = |buffer: &Vec<u8>| size >= MIN_POOLED_SIZE && buffer.capacity() >= size;
        let at = self.buffers.iter().rposition(fits)?;
        let buffer = self.buffers.remove(at);
        self.bytes -= buffer.capacity();
        self.unused = self.unused.min(at);
        Some(buffer)
    }

    /// Returns true if the buffer stays in the pool.
    fn give_back(&mut self, mut buffer: Vec<u8>) -> bool {
        let capacity = buffer.capacity();
        let is_kept = capacity >= MIN_POOLED_SIZE && self.bytes + capacity <= MAX_IDLE_BYTES;
        if is_kept {
            buffer.clear();
            self.bytes += capacity;
            self.buffers.push(buffer);
        }
        is_kept
    }

    fn free_unused(&mut self) {
        let unused: usize = self.buffers.drain(..self.unused).map(|buffer| buffer.capacity()).sum();
        self.bytes -= unused;
        self.unused = self.buffers.len();
    }
}

impl PooledBuffer {
    pub fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// The body; its buffer returns to the pool when the last clone is dropped.
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for PooledBuffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for PooledBuffer {
    fn drop(&mut self) {
        if self.pool.lock().give_back(mem::take(&mut self.bytes)) {
            self.pool.filled.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(memory: &BodyMemory, size: usize) -> Bytes {
        let mut buffer = memory.take(size);
        buffer.bytes().resize(size, b'x');
        assert_eq!(buffer.as_ref().len(), size);
        buffer.freeze()
    }

    fn idle(memory: &BodyMemory) -> (usize, usize) {
        let idle = memory.0.lock();
        assert_eq!(idle.bytes, idle.buffers.iter().map(Vec::capacity).sum::<usize>());
        (idle.buffers.len(), idle.bytes)
    }

    #[test]
    fn a_buffer_is_reused_for_a_body_of_its_size_but_not_for_a_small_one() {
        let memory = BodyMemory::default();
        let first = body(&memory, 1 << 20);
        let (address, again) = (first.as_ptr(), first.clone());
        drop(first);
        assert_eq!(idle(&memory), (0, 0), "a clone is still in use");
        drop(again);
        assert_eq!(idle(&memory), (1, 1 << 20));
        let small = body(&memory, 100);
        let second = body(&memory, 900_000);
        assert_eq!((second.as_ptr(), second.len()), (address, 900_000));
        let third = body(&memory, 900_000);
        assert_ne!(third.as_ptr(), address);
        drop((small, second, third));
        assert_eq!(idle(&memory), (2, 2 << 20), "a small buffer is not pooled");
    }

    #[test]
    fn idle_buffers_never_exceed_the_limit() {
        let memory = BodyMemory::default();
        let bodies: Vec<Bytes> = (0..40).map(|_| body(&memory, 1 << 20)).collect();
        drop(bodies);
        assert_eq!(idle(&memory), (16, MAX_IDLE_BYTES));
        drop(body(&memory, MAX_IDLE_BYTES + 1));
        assert_eq!(idle(&memory), (16, MAX_IDLE_BYTES));
    }

    #[test]
    fn a_buffer_that_was_idle_for_a_round_is_freed() {
        let memory = BodyMemory::default();
        drop((body(&memory, 1 << 20), body(&memory, 1 << 20), body(&memory, 1 << 20)));
        memory.0.lock().free_unused();
        assert_eq!(idle(&memory).0, 3, "all were used a moment ago");
        drop((body(&memory, 1 << 20), body(&memory, 1 << 20)));
        memory.0.lock().free_unused();
        assert_eq!(idle(&memory).0, 2, "two at a time were enough");
        memory.0.lock().free_unused();
        assert_eq!(idle(&memory), (0, 0));
    }

    #[actix_rt::test]
    async fn free_idle_frees_every_idle_buffer() {
        let memory = BodyMemory::default();
        let freeing = actix_rt::spawn(memory.clone().free_idle());
        drop(body(&memory, 1 << 20));
        while idle(&memory) != (0, 0) {
            sleep(Duration::from_millis(10)).await;
        }
        freeing.abort();
    }
}
