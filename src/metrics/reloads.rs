//! What became of changed settings.
//!
//! Whatever reads them again while the process runs tells it here; `admin/exposition.rs` reads it.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use super::route::Count;

/// The settings in force, and how the attempts to change them ended.
#[derive(Debug)]
pub struct Reloads {
    pub(crate) applied: Count,
    pub(crate) rejected: Count,
    generation: AtomicU64,
    /// Seconds since 1970.
    in_force_since: AtomicU64,
    /// Why what was written last is not in force.
    rejection: Mutex<Option<String>>,
}

impl Reloads {
    /// The settings of the start are the first generation.
    pub(crate) fn new() -> Self {
        Self {
            applied: Count::default(),
            rejected: Count::default(),
            generation: AtomicU64::new(1),
            in_force_since: AtomicU64::new(seconds_since_1970()),
            rejection: Mutex::default(),
        }
    }

    /// Other settings are in force; the number of their generation, the first being that of the start.
    pub fn applied(&self) -> u64 {
        self.applied.add(1);
        self.in_force_since.store(seconds_since_1970(), Ordering::Relaxed);
        self.set_rejection(None);
        self.generation.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// What was written is wrong, and the settings stay as they are. `why` is shown to people, a line a mistake.
    pub fn rejected(&self, why: &str) {
        self.rejected.add(1);
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
        *self.rejection.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    pub(crate) fn in_force_since(&self) -> u64 {
        self.in_force_since.load(Ordering::Relaxed)
    }

    pub(crate) fn last_was_right(&self) -> u64 {
        u64::from(self.rejection().is_none())
    }
}

fn seconds_since_1970() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
