//! The snapshot in use: a request takes it when it begins, a reload replaces it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use arc_swap::ArcSwap;

use super::snapshot::Snapshot;

/// The snapshot in use, shared by all threads.
#[derive(Debug)]
pub struct Current {
    snapshot: ArcSwap<Snapshot>,
    /// [`Snapshot::keeps_spelling`] for the listener, without a load of the snapshot for each head.
    keeps_spelling: AtomicBool,
}

impl Current {
    pub fn new(snapshot: Snapshot) -> Self {
        let keeps_spelling = snapshot.keeps_spelling().into();
        Self { snapshot: ArcSwap::from_pointee(snapshot), keeps_spelling }
    }

    pub fn get(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// True if a route needs the client's spelling of header names.
    pub fn keeps_spelling(&self) -> bool {
        self.keeps_spelling.load(Ordering::Relaxed)
    }

    /// Replaces the snapshot for all requests that begin from now on.
    pub fn replace(&self, mut snapshot: Snapshot) {
        snapshot.generation = self.get().generation + 1;
        let keeps_spelling = snapshot.keeps_spelling();
        // a head that is read meanwhile may be routed by either snapshot
        self.keeps_spelling.fetch_or(keeps_spelling, Ordering::Relaxed);
        self.snapshot.store(Arc::new(snapshot));
        self.keeps_spelling.store(keeps_spelling, Ordering::Relaxed);
    }
}
