//! The snapshot in force: requests take it as they begin, a reload puts another in its place.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::snapshot::Snapshot;

/// The snapshot in force, shared by all threads.
#[derive(Debug)]
pub struct Current(ArcSwap<Snapshot>);

impl Current {
    pub fn new(snapshot: Snapshot) -> Self {
        Self(ArcSwap::from_pointee(snapshot))
    }

    /// The one in force now.
    pub fn get(&self) -> Arc<Snapshot> {
        self.0.load_full()
    }

    /// Takes another into force, for all requests that begin from now on.
    pub fn replace(&self, mut snapshot: Snapshot) {
        snapshot.generation = self.get().generation + 1;
        self.0.store(Arc::new(snapshot));
    }
}
