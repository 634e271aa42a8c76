//! The settings in force, and the attempts to change them.
//!
//! Whatever reads them again while the process runs tells it here; `admin/exposition.rs` reads it.

use std::{
    sync::{Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use super::{
    table::counted,
    values::{Gauge, counts},
};

/// The settings in force, and how the attempts to change them ended.
#[derive(Debug)]
pub struct Reloads {
    pub(crate) counted: ReloadMetrics,
    /// Why what was written last is not in force.
    rejection: Mutex<Option<String>>,
}

counted! {
    /// Attempts and generations in numbers.
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
    /// Ends of an attempt.
    Outcomes {
        /// The settings are in force.
        applied,
        /// The settings are wrong, and those before them serve on.
        rejected,
    }
}

impl Reloads {
    /// The settings of the start are the first generation.
    pub(crate) fn new() -> Self {
        let counted = ReloadMetrics::new();
        counted.generation.set(1);
        counted.last_was_right.set(1);
        counted.in_force_since.set(seconds_since_1970());
        Self { counted, rejection: Mutex::default() }
    }

    /// Other settings are in force; the number of their generation, the first being that of the start.
    pub fn applied(&self) -> u64 {
        self.counted.outcomes.applied.add(1);
        self.counted.in_force_since.set(seconds_since_1970());
        self.set_rejection(None);
        self.counted.generation.change(1);
        self.counted.generation.get()
    }

    /// What was written is wrong, and the settings stay as they are. `why` is shown to people, a line a mistake.
    pub fn rejected(&self, why: &str) {
        self.counted.outcomes.rejected.add(1);
        self.set_rejection(Some(why.to_owned()));
    }

    /// What is written is what is in force again, after it had been wrong.
    pub fn unchanged(&self) {
        self.set_rejection(None);
    }

    /// Why what was written last is not in force; `None` where it is.
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
