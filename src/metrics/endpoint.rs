//! What is counted of the connections to one endpoint, by all workers together.
//!
//! `client.rs` and `client/pool.rs` add to it; `admin/exposition.rs` reads it.

use std::sync::atomic::{AtomicI64, Ordering};

use super::route::Count;

/// The counters of one endpoint.
#[derive(Debug, Default)]
pub struct EndpointMetrics {
    /// Connections that were opened.
    pub opened: Count,
    /// Connections that could not be opened.
    pub failed: Count,
    /// Requests that took a connection which was there already.
    pub reused: Count,
    /// Kept connections that were found closed when they were to be used.
    pub stale: Count,
    idle: AtomicI64,
}

impl EndpointMetrics {
    /// So many more connections are idle, or fewer.
    pub fn idle_changes(&self, by: i64) {
        self.idle.fetch_add(by, Ordering::Relaxed);
    }

    pub(crate) fn idle(&self) -> i64 {
        self.idle.load(Ordering::Relaxed)
    }
}
