//! The section `circuit_breaker` of a route: when calls are not even tried. The same keys for every backend.
//!
//! `upstream.rs` reads it with the other keys about the way to AWS; `crate::resilience::circuit_breaker` acts on it.

use std::time::Duration;

use serde::Deserialize;

use crate::settings::{process::limits::LONGEST, source::check::Checker};
use crate::text::units::WrittenDuration;

const FAILURES: u32 = 5;
const OPEN_FOR: Duration = Duration::from_secs(10);

/// When calls are not even tried, checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CircuitBreakerSettings {
    /// Failures in a row that open it, 1 or more.
    pub failures: u32,
    /// How long it then lets nothing through.
    pub open_for: Duration,
}

/// The section as written.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table with `failures` and `open_for`")]
pub(in crate::settings) struct WrittenCircuitBreaker {
    failures: Option<u32>,
    open_for: Option<WrittenDuration>,
}

impl WrittenCircuitBreaker {
    /// `None` where a route turns off with 0 what `defaults` turns on.
    pub(in crate::settings) fn check(self, checker: &mut Checker<'_>) -> Option<CircuitBreakerSettings> {
        let failures = checker.number("failures", self.failures, FAILURES, 0..=10_000);
        let bounds = Duration::from_millis(100)..=LONGEST;
        let open_for = checker.duration("open_for", self.open_for, OPEN_FOR, bounds);
        (failures > 0).then_some(CircuitBreakerSettings { failures, open_for })
    }
}
