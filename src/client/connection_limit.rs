//! How many connections to AWS are open, of all workers, and how many may be.
//!
//! `state/open_files.rs` has a connection for each request in flight (`resilience/admission.rs`), and what no one
//! else needs. The idle connections of the pools may be more than that: they give way to new ones (`client.rs`), so
//! that the files that are set aside for the admin port and for reading settings stay free.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

/// The count, shared by all workers.
#[derive(Debug)]
pub struct ConnectionLimit {
    open: AtomicU32,
    limit: AtomicU32,
}

/// One connection, counted until this is dropped.
#[derive(Debug)]
pub struct ConnectionPermit(Arc<ConnectionLimit>);

impl Default for ConnectionLimit {
    fn default() -> Self {
        Self { open: AtomicU32::new(0), limit: AtomicU32::new(u32::MAX) }
    }
}

impl ConnectionLimit {
    /// Takes another limit, from now on.
    pub fn set_limit(&self, limit: u32) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// Counts one more. A request that has been let in is not refused for connections that others leave idle.
    pub(super) fn enter(self: &Arc<Self>) -> ConnectionPermit {
        self.open.fetch_add(1, Ordering::Relaxed);
        ConnectionPermit(Arc::clone(self))
    }

    pub(super) fn count(&self) -> u32 {
        self.open.load(Ordering::Relaxed)
    }

    /// Whether one more would be too many.
    pub(super) fn is_full(&self) -> bool {
        self.count() >= self.limit.load(Ordering::Relaxed)
    }

    /// Whether there are too many.
    pub(super) fn is_exceeded(&self) -> bool {
        self.count() > self.limit.load(Ordering::Relaxed)
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}
