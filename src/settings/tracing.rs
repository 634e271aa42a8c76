//! The section `tracing`: what becomes of the traces that requests belong to.
//!
//! `process.rs` comes here with what is written; `trace.rs` does it.

use serde::Deserialize;

use super::{check::Checker, units::WrittenShare};

/// Traces.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tracing {
    /// Whether requests take part in them.
    pub propagate: bool,
    /// How many of those that begin here are recorded, from 0 to 1; `None` leaves that to AWS.
    pub sample: Option<f64>,
}

impl Default for Tracing {
    fn default() -> Self {
        Self { propagate: true, sample: None }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table about traces")]
pub(super) struct WrittenTracing {
    propagate: Option<bool>,
    sample: Option<WrittenShare>,
}

impl WrittenTracing {
    pub(super) fn check(self, checker: &mut Checker<'_>, default: Tracing) -> Tracing {
        let share = |WrittenShare(share)| checker.number("sample", Some(share), 0.0, 0.0..=1.0);
        Tracing {
            propagate: self.propagate.unwrap_or(default.propagate),
            sample: self.sample.map(share).or(default.sample),
        }
    }
}
