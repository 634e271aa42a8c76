//! Counters and state of the settings' source, if the settings come from one.
//!
//! `settings_source/follower.rs` writes them; `admin` shows them on `/ready`, `/metrics` and the status page.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::{
    table::counted,
    values::{Gauge, counts},
};

#[derive(Debug)]
pub struct SourceMetrics {
    pub(crate) counted: SourceCounts,
    state: Mutex<Option<SourceState>>,
}

/// The state of the source, without secrets.
#[derive(Debug, Clone)]
pub struct SourceState {
    /// The address without user info and query.
    pub address: String,
    /// The beginning of the SHA-256 of the bundle in use.
    pub bundle: String,
    pub serial: Option<u64>,
    /// The time of the last successful fetch.
    pub confirmed: SystemTime,
    /// The reason why the last fetch failed.
    pub failure: Option<String>,
}

counted! {
    SourceCounts {
        outcomes: SourceOutcomes["outcome"] = "apigw_invoker_settings_source_fetches_total",
            "Fetches of the settings' bundle, by outcome; only if the settings come from a source.";
        is_good: Gauge = "apigw_invoker_settings_source_last_fetch_successful",
            "1 if the last fetch of the settings' bundle succeeded; 0 while the last good one stays in use.";
        confirmed: Gauge = "apigw_invoker_settings_source_last_success_timestamp_seconds",
            "Time of the last successful fetch of the settings' bundle, in Unix seconds.";
        serial: Gauge = "apigw_invoker_settings_source_serial",
            "Serial number of the settings' bundle in use; 0 if it has none.";
    }
}

counts! {
    SourceOutcomes {
        /// Another bundle is in use.
        changed,
        /// The source has the bundle in use.
        unchanged,
        /// The source cannot be reached, or its answer is no bundle.
        failed,
        /// The settings of the bundle have mistakes.
        rejected,
    }
}

impl SourceMetrics {
    pub(crate) fn new() -> Self {
        Self { counted: SourceCounts::new(), state: Mutex::default() }
    }

    pub fn set(&self, state: SourceState) {
        let confirmed = state.confirmed.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self.counted.confirmed.set(confirmed);
        self.counted.is_good.set(u64::from(state.failure.is_none()));
        self.counted.serial.set(state.serial.unwrap_or(0));
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = Some(state);
    }

    /// `None` if the settings come from a directory.
    pub fn state(&self) -> Option<SourceState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The counters, if the settings come from a source.
    pub(crate) fn in_use(&self) -> Option<&SourceCounts> {
        let is_in_use = self.state.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        is_in_use.then_some(&self.counted)
    }
}

impl SourceState {
    /// Time since the last successful fetch; zero if the clock was set back.
    pub fn age(&self, now: SystemTime) -> Duration {
        now.duration_since(self.confirmed).unwrap_or_default()
    }
}
