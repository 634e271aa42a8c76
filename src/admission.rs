//! How many requests are in flight: those beyond the limit are turned away at once instead of queued.
//!
//! `proxy.rs` asks before it reads a body. The permit travels in the answer's body to its last byte, so a slow
//! download counts for as long as it lasts.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

/// A limit on requests in flight, shared by all workers.
#[derive(Debug, Clone)]
pub struct Admission {
    limit: u32,
    in_flight: Arc<AtomicU32>,
}

/// One request in flight, until it is dropped.
#[derive(Debug)]
pub struct Permit(Arc<AtomicU32>);

impl Admission {
    /// Nothing in flight yet.
    pub fn new(limit: u32) -> Self {
        Self { limit, in_flight: Arc::default() }
    }

    /// Lets one more in, unless the limit is reached.
    pub fn try_enter(&self) -> Option<Permit> {
        let permit = Permit(Arc::clone(&self.in_flight));
        let before = self.in_flight.fetch_add(1, Ordering::Relaxed);
        // a permit that is refused counts itself out again by being dropped
        (before < self.limit).then_some(permit)
    }

    /// Requests in flight now.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permit_counts_until_it_is_dropped() {
        let admission = Admission::new(2);
        let first = admission.try_enter().unwrap();
        let _second = admission.try_enter().unwrap();
        assert!(admission.try_enter().is_none());
        assert_eq!(admission.in_flight(), 2);
        drop(first);
        assert!(admission.try_enter().is_some());
    }
}
