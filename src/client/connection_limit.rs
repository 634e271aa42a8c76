//! Process-wide limit of connections to AWS.
//!
//! `state/open_files.rs` computes the limit: one connection for each request in flight
//! (`resilience/admission.rs`), and the file descriptors that nothing else needs. Idle connections in the
//! pools are closed in favour of new ones (`client.rs`), so that the descriptors reserved for the admin port
//! and for reading settings stay free.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

/// Connection count and limit, shared by all workers.
#[derive(Debug)]
pub struct ConnectionLimit {
    open: AtomicU32,
    limit: AtomicU32,
}

/// Counts one connection until dropped.
#[derive(Debug)]
pub struct ConnectionPermit(Arc<ConnectionLimit>);

impl Default for ConnectionLimit {
    fn default() -> Self {
        Self { open: AtomicU32::new(0), limit: AtomicU32::new(u32::MAX) }
    }
}

impl ConnectionLimit {
    pub fn set_limit(&self, limit: u32) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// Counts a connection, even above the limit: an admitted request is not rejected because of idle
    /// connections.
    pub(super) fn enter(self: &Arc<Self>) -> ConnectionPermit {
        self.open.fetch_add(1, Ordering::Relaxed);
        ConnectionPermit(Arc::clone(self))
    }

    pub(super) fn count(&self) -> u32 {
        self.open.load(Ordering::Relaxed)
    }

    /// True if another connection would exceed the limit.
    pub(super) fn is_full(&self) -> bool {
        self.count() >= self.limit.load(Ordering::Relaxed)
    }

    pub(super) fn is_exceeded(&self) -> bool {
        self.count() > self.limit.load(Ordering::Relaxed)
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}
