//! The snapshot in use: a request takes it when it begins, a reload replaces it.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::snapshot::Snapshot;

/// The snapshot in use, shared by all threads.
#[derive(Debug)]
pub struct Current(ArcSwap<Snapshot>);

impl Current {
    pub fn new(snapshot: Snapshot) -> Self {
        Self(ArcSwap::from_pointee(snapshot))
    }

    pub fn get(&self) -> Arc<Snapshot> {
        self.0.load_full()
    }

    /// Replaces the snapshot for all requests that begin from now on.
    pub fn replace(&self, mut snapshot: Snapshot) {
        snapshot.generation = self.get().generation + 1;
        self.0.store(Arc::new(snapshot));
    }
}
