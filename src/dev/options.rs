//! What a stand-in may be told. `dev.rs` and the tests say it; `stand_in.rs` and `lambda.rs` heed it.

use std::time::{Duration, SystemTime};

use super::verify::Keys;

/// Slow enough to see the words arrive.
const WORDS_PAUSE: Duration = Duration::from_millis(300);

/// How a stand-in behaves.
#[derive(Debug, Clone)]
pub struct StandInOptions {
    /// What it accepts.
    pub keys: Keys,
    /// How far its clock is ahead of this machine's, in seconds.
    pub clock_ahead: i64,
    /// The time that the function `words` takes between two of them.
    pub words_pause: Duration,
}

impl StandInOptions {
    /// A right clock and these keys.
    pub fn new(keys: Keys) -> Self {
        Self { keys, clock_ahead: 0, words_pause: WORDS_PAUSE }
    }

    /// What its clock shows.
    pub fn now(&self) -> SystemTime {
        let offset = Duration::from_secs(self.clock_ahead.unsigned_abs());
        if self.clock_ahead < 0 { SystemTime::now() - offset } else { SystemTime::now() + offset }
    }
}
