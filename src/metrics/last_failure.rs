//! The last failed request of a route, for the status page of the admin port.
//!
//! `proxy/record.rs` stores it; a successful request never touches it.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwapOption;

/// The cell of a route. It takes no memory until a request fails.
#[derive(Debug, Default)]
pub struct LastFailure(ArcSwapOption<Failure>);

/// A failed request, without secrets.
#[derive(Debug)]
pub struct Failure {
    pub at: SystemTime,
    pub request_id: String,
    /// The status of the response, if it is known already.
    pub status: Option<u16>,
    /// The error code of the sidecar's own answer.
    pub code: Option<&'static str>,
    /// One sentence, as in the log. Of a refusal that is diagnosed it has the cure too.
    pub cause: String,
    pub cure: Option<&'static str>,
}

impl LastFailure {
    pub fn set(&self, failure: Failure) {
        self.0.store(Some(Arc::new(failure)));
    }

    pub(crate) fn get(&self) -> Option<Arc<Failure>> {
        self.0.load_full()
    }
}

impl Failure {
    /// Time since the failure; zero if the clock was set back.
    pub(crate) fn age(&self, now: SystemTime) -> Duration {
        now.duration_since(self.at).unwrap_or_default()
    }
}
