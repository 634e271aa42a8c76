//! What a stand-in may be told. `dev.rs` and the tests say it; `stand_in.rs` and the services behind it heed
//! it.

use std::{
    path::PathBuf,
    time::{Duration, SystemTime},
};

use crate::stand_in::{Fault, StandInKeys};

/// Slow enough to see the words arrive.
const WORDS_PAUSE: Duration = Duration::from_millis(300);
/// "The default is one hour" (`AssumeRole`, STS API reference, `DurationSeconds`).
const LIFE: Duration = Duration::from_hours(1);

#[derive(Debug, Clone)]
pub struct StandInOptions {
    pub keys: StandInKeys,
    /// How far its clock is ahead of this machine's, in seconds.
    pub clock_ahead: i64,
    /// The time that the function `words` takes between two of them.
    pub words_pause: Duration,
    /// How long the keys live that it hands out. Less than the 15 minutes that AWS gives at least also goes
    /// before `DurationSeconds`, so that nobody has to wait to see keys end.
    pub life: Duration,
    /// The `ExternalId` that `AssumeRole` demands.
    pub external_id: Option<String>,
    /// The directory to which `credentials::environment` writes: the tokens in its files are the ones that
    /// are good. Without it none is.
    pub tokens: Option<PathBuf>,
    /// What is wrong with every signed call.
    pub fault: Option<Fault>,
}

impl StandInOptions {
    /// A right clock and these keys.
    pub fn new(keys: StandInKeys) -> Self {
        Self {
            keys,
            clock_ahead: 0,
            words_pause: WORDS_PAUSE,
            life: LIFE,
            external_id: None,
            tokens: None,
            fault: None,
        }
    }

    /// The same with something wrong.
    #[must_use]
    pub fn with_fault(self, fault: Fault) -> Self {
        Self { keys: fault.keys(self.keys), clock_ahead: fault.clock_ahead(), fault: Some(fault), ..self }
    }

    pub fn now(&self) -> SystemTime {
        let offset = Duration::from_secs(self.clock_ahead.unsigned_abs());
        if self.clock_ahead < 0 { SystemTime::now() - offset } else { SystemTime::now() + offset }
    }
}
