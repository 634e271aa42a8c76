//! The section `retry` of a route: which calls are made again, how often and when. The same keys for every backend.
//!
//! `upstream.rs` reads it with the other keys about the way to AWS; `crate::resilience::retry` acts on it.

use std::time::Duration;

use serde::Deserialize;

use crate::settings::{process::limits::LONGEST, source::check::Checker};
use crate::text::units::WrittenDuration;

const ATTEMPTS: u32 = 2;
const MOST_ATTEMPTS: u32 = 10;
/// What AWS's SDKs begin with.
const BACKOFF: Duration = Duration::from_millis(50);
const MAX_BACKOFF: Duration = Duration::from_secs(1);
/// What Finagle and Linkerd allow.
const BUDGET: u32 = 20;
/// Each of 100 requests may at most be made ten times.
const LARGEST_BUDGET: u32 = 900;

/// Which calls are made again, checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetrySettings {
    /// In all, the first among them.
    pub attempts: u32,
    /// The longest first pause; each further one may be twice as long.
    pub backoff: Duration,
    /// The longest pause, and the longest that AWS may ask for.
    pub max_backoff: Duration,
    /// Repeated calls to 100 requests.
    pub budget: u32,
    /// Outcomes after which the function may have run, and that are repeated nonetheless.
    pub accepted: MayHaveRun,
    /// Whether those are repeated for methods that are not idempotent too.
    pub any_method: bool,
}

/// The outcomes that leave it open whether the function has run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MayHaveRun {
    /// The connection broke before an answer.
    pub connection_lost: bool,
    /// AWS itself answered 500, 503 or 504.
    pub unavailable: bool,
    /// No answer in time.
    pub timeout: bool,
}

/// The section as written.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table about repeated calls")]
pub(in crate::settings) struct WrittenRetry {
    attempts: Option<u32>,
    backoff: Option<WrittenDuration>,
    max_backoff: Option<WrittenDuration>,
    budget: Option<u32>,
    #[serde(rename = "unsafe")]
    may_have_run: Option<Vec<WrittenOutcome>>,
    unsafe_methods: Option<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WrittenOutcome {
    ConnectionLost,
    Unavailable,
    Timeout,
}

impl WrittenRetry {
    /// For functions called by the Lambda API, where every call is a POST: the method says nothing.
    pub(in crate::settings) fn for_functions(mut self, checker: &mut Checker<'_>) -> Self {
        if self.unsafe_methods.is_some() {
            let problem = "a function is called by the same method whatever the client's";
            checker.below("unsafe_methods").mistake(problem, "`unsafe` alone");
        }
        self.unsafe_methods = Some(true);
        self
    }

    pub(in crate::settings) fn check(self, checker: &mut Checker<'_>) -> RetrySettings {
        let shortest = Duration::from_millis(1);
        let backoff = checker.duration("backoff", self.backoff, BACKOFF, shortest..=LONGEST);
        let default = MAX_BACKOFF.max(backoff);
        let max_backoff = checker.duration("max_backoff", self.max_backoff, default, shortest..=LONGEST);
        if max_backoff < backoff {
            checker.below("max_backoff").mistake("shorter than `backoff`", "`backoff` or more");
        }
        let accepts = |outcome| self.may_have_run.iter().flatten().any(|written| *written == outcome);
        RetrySettings {
            attempts: checker.number("attempts", self.attempts, ATTEMPTS, 1..=MOST_ATTEMPTS),
            backoff,
            max_backoff,
            budget: checker.number("budget", self.budget, BUDGET, 0..=LARGEST_BUDGET),
            accepted: MayHaveRun {
                connection_lost: accepts(WrittenOutcome::ConnectionLost),
                unavailable: accepts(WrittenOutcome::Unavailable),
                timeout: accepts(WrittenOutcome::Timeout),
            },
            any_method: self.unsafe_methods.unwrap_or(false),
        }
    }
}
