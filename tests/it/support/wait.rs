//! Waiting for what must come true, without guessing how long it takes.

use std::time::{Duration, Instant};

/// Long enough for a slow machine; a test that passes never waits so long.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Asks until the answer is yes.
#[track_caller]
pub fn eventually(what: &str, mut is_true: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_true() {
        assert!(start.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
