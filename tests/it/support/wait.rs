//! Waits for a condition instead of a fixed time.

use std::time::{Duration, Instant};

/// Timeout for slow machines; a passing test never waits so long.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Polls until the condition is true.
#[track_caller]
pub fn eventually(what: &str, mut is_true: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_true() {
        assert!(start.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
