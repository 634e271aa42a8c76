//! The source of the settings, for `/ready` and the status page; nothing if they come from a directory.

use std::time::SystemTime;

use serde::Serialize;

use crate::metrics::{Metrics, SourceState};

#[derive(Debug, Serialize)]
pub(super) struct SourceStatus {
    /// Without user info and query.
    pub(super) address: String,
    /// The beginning of the SHA-256 of the bundle in use.
    pub(super) bundle: String,
    pub(super) serial: Option<u64>,
    /// Seconds since the last successful fetch.
    pub(super) age_seconds: u64,
    /// The reason why the last fetch failed; the bundle in use stays.
    pub(super) error: Option<String>,
}

impl SourceStatus {
    pub(super) fn of(metrics: &Metrics, now: SystemTime) -> Option<Self> {
        let state = metrics.source.state()?;
        let age_seconds = state.age(now).as_secs();
        let SourceState { address, bundle, serial, failure, .. } = state;
        Some(Self { address, bundle, serial, age_seconds, error: failure })
    }
}
