//! Counters of reloads, and the mistakes of the last reload that failed.
//!
//! `state/reload.rs` counts; `admin/exposition.rs` and `/ready` read them.

use std::{
    sync::{Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use super::{
    table::counted,
    values::{Gauge, counts},
};

/// The generation of the settings in use, and the outcomes of reloads.
#[derive(Debug)]
pub struct Reloads {
    pub(crate) counted: ReloadMetrics,
    /// The mistakes of the new settings, while the old ones stay in use.
    rejection: Mutex<Option<String>>,
}

counted! {
    ReloadMetrics {
        generation: Gauge = "apigw_invoker_settings_generation",
            "Generation of the settings in use: 1 at the start, plus 1 with each reload that changes \
             something.";
        outcomes: Outcomes["outcome"] = "apigw_invoker_settings_reloads_total",
            "Reloads of changed settings, by outcome.";
        last_was_right: Gauge = "apigw_invoker_settings_last_reload_successful",
            "1 if the last reload succeeded; 0 while the new settings have mistakes and the old ones stay \
             in use.";
        in_force_since: Gauge = "apigw_invoker_settings_in_force_timestamp_seconds",
            "Time of the last successful reload, in Unix seconds.";
    }
}

counts! {
    Outcomes {
        /// The new settings are in use.
        applied,
        /// The new settings have mistakes, and the old ones stay in use.
        rejected,
    }
}

impl Reloads {
    /// The state after the start: generation 1.
    pub(crate) fn new() -> Self {
        let counted = ReloadMetrics::new();
        counted.generation.set(1);
        counted.last_was_right.set(1);
        counted.in_force_since.set(seconds_since_1970());
        Self { counted, rejection: Mutex::default() }
    }

    /// Counts a successful reload and returns the new generation.
    pub fn applied(&self) -> u64 {
        self.counted.outcomes.applied.add(1);
        self.counted.in_force_since.set(seconds_since_1970());
        self.set_rejection(None);
        self.counted.generation.change(1);
        self.counted.generation.get()
    }

    /// Counts a failed reload; `why` has one line for each mistake.
    pub fn rejected(&self, why: &str) {
        self.counted.outcomes.rejected.add(1);
        self.set_rejection(Some(why.to_owned()));
    }

    /// Clears the mistakes: the files have the settings in use again.
    pub fn unchanged(&self) {
        self.set_rejection(None);
    }

    /// The mistakes of the last reload; `None` if it succeeded.
    pub fn rejection(&self) -> Option<String> {
        self.rejection.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_rejection(&self, why: Option<String>) {
        let mut rejection = self.rejection.lock().unwrap_or_else(PoisonError::into_inner);
        self.counted.last_was_right.set(u64::from(why.is_none()));
        *rejection = why;
    }
}

fn seconds_since_1970() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
