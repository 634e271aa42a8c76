//! The section `retry` of a backend's section; `crate::resilience::retry` implements it.

use std::{sync::LazyLock, time::Duration};

use crate::{
    settings::source::{
        check::Checker,
        declaration::{Key, Kind},
        key_type::{DAY, KeyType as _},
        section::Section as _,
    },
    text::units::WrittenDuration,
};

const MIN_BACKOFF: Duration = Duration::from_millis(1);

section! {
    /// The settings of retries.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct RetrySettings, read as WrittenRetry, optional "a table about retries";

    made RetryParts {
        /// The longest pause, and the longest `Retry-After` that is obeyed.
        max_backoff: Duration,
        /// The failures that are retried although the function may have run.
        accepted: MayHaveRun,
        /// `unsafe` also applies to methods that are not idempotent.
        any_method: bool,
    }

    /// Maximum number of attempts of a call, the first included; `1` turns retries off.
    attempts: u32 [1..=10] = 2;
    // as in AWS's SDKs
    /// Upper bound of the random pause before the first retry. The bound doubles with each retry.
    backoff: WrittenDuration [MIN_BACKOFF..=DAY] = Duration::from_millis(50);
    /// Upper bound of every pause, and of a `Retry-After` by AWS; not less than `backoff`.
    max_backoff: WrittenDuration [MIN_BACKOFF..=DAY] = Duration::from_secs(1) => |retry| retry.max_backoff;
    // the default of Finagle and Linkerd; the upper bound is nine retries of each of 100 requests
    /// Maximum number of retries per 100 requests of the route.
    budget: u32 [0..=900] = 20;
    /// Failures that are retried although the function may have run: `connection_lost`, `unavailable`,
    /// `timeout`.
    may_have_run as "unsafe": Vec<RetriedFailure> = [] => |retry| retry.accepted.outcomes();
    /// `unsafe` also applies to methods that are not idempotent, such as POST.
    unsafe_methods: bool = false => |retry| retry.any_method;
}

/// Failures of calls after which the function may have run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MayHaveRun {
    /// The connection broke before an answer.
    pub connection_lost: bool,
    /// AWS itself answered 500, 503 or 504.
    pub unavailable: bool,
    /// AWS did not answer in time.
    pub timeout: bool,
}

words! {
    pub(in crate::settings) enum RetriedFailure {
        ConnectionLost = "connection_lost",
        Unavailable = "unavailable",
        Timeout = "timeout",
    }
}

impl MayHaveRun {
    fn outcomes(self) -> Vec<RetriedFailure> {
        let Self { connection_lost, unavailable, timeout } = self;
        [
            (RetriedFailure::ConnectionLost, connection_lost),
            (RetriedFailure::Unavailable, unavailable),
            (RetriedFailure::Timeout, timeout),
        ]
        .into_iter()
        .filter_map(|(outcome, is_accepted)| is_accepted.then_some(outcome))
        .collect()
    }
}

/// The key `retry` of `lambda`, without `unsafe_methods`: every call of the Lambda API is a POST.
pub(super) fn of_functions(key: Key) -> Key {
    fn keys() -> &'static [Key] {
        static KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| {
            WrittenRetry::keys().iter().filter(|key| key.name != "unsafe_methods").copied().collect()
        });
        &KEYS
    }
    key.kind(Kind::Section(keys))
}

impl WrittenRetry {
    /// The section of `lambda`, where every call is a POST.
    pub(super) fn for_functions(mut self, checker: &mut Checker<'_>) -> Self {
        // null too
        if checker.place_of(&["unsafe_methods"]).is_some() {
            let problem = "a function is called by the same method whatever the client's";
            checker.at("unsafe_methods").report(problem, "`unsafe` alone");
        }
        self.unsafe_methods = Some(true);
        self
    }

    pub(super) fn check(mut self, checker: &mut Checker<'_>) -> RetrySettings {
        let key = declared!(WrittenRetry, "max_backoff");
        let max_backoff = checker.checked(key, self.max_backoff);
        let outcomes = self.may_have_run.take().unwrap_or_default();
        let parts = RetryParts {
            max_backoff: max_backoff.unwrap_or_else(|| WrittenDuration::standard(key)),
            accepted: MayHaveRun {
                connection_lost: outcomes.contains(&RetriedFailure::ConnectionLost),
                unavailable: outcomes.contains(&RetriedFailure::Unavailable),
                timeout: outcomes.contains(&RetriedFailure::Timeout),
            },
            any_method: self.unsafe_methods.unwrap_or(false),
        };
        let mut retry = self.settled(checker)(parts);
        if max_backoff.is_some_and(|longest| longest < retry.backoff) {
            checker.at("max_backoff").report("shorter than `backoff`", "`backoff` or more");
        }
        retry.max_backoff = retry.max_backoff.max(retry.backoff);
        retry
    }
}
