//! The section `retry` of a route: which calls are made again, how often and when. The same keys for every backend.
//!
//! `upstream.rs` reads it with the other keys about the way to AWS; `crate::resilience::retry` acts on it.

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

const SHORTEST_PAUSE: Duration = Duration::from_millis(1);

section! {
    /// Which calls are made again, checked.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct RetrySettings, read as WrittenRetry, optional "a table about repeated calls";

    made RetryParts {
        /// The longest pause, and the longest that AWS may ask for.
        max_backoff: Duration,
        /// The outcomes that are repeated although the call may have been carried out.
        accepted: MayHaveRun,
        /// `unsafe` applies to methods that are not idempotent too.
        any_method: bool,
    }

    /// How often a call is made in all; `1` turns retries off.
    attempts: u32 [1..=10] = 2;
    // what AWS's SDKs begin with
    /// The first pause is at random anything up to this; the longest doubles each time.
    backoff: WrittenDuration [SHORTEST_PAUSE..=DAY] = Duration::from_millis(50);
    /// The longest pause, and the longest that AWS may ask for; no shorter than `backoff`.
    max_backoff: WrittenDuration [SHORTEST_PAUSE..=DAY] = Duration::from_secs(1) => |retry| retry.max_backoff;
    // the default is what Finagle and Linkerd allow; at most each of 100 requests is made ten times
    /// Repeated calls to 100 requests of the route.
    budget: u32 [0..=900] = 20;
    /// Outcomes after which the function may have run, and that are repeated nonetheless: `connection_lost`,
    /// `unavailable`, `timeout`.
    may_have_run as "unsafe": Vec<Outcome> = [] => |retry| retry.accepted.outcomes();
    /// `unsafe` applies to methods that are not idempotent too, such as POST.
    unsafe_methods: bool = false => |retry| retry.any_method;
}

/// Outcomes of a call that may have been carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MayHaveRun {
    /// The connection broke before an answer.
    pub connection_lost: bool,
    /// AWS itself answered 500, 503 or 504.
    pub unavailable: bool,
    /// No answer in time.
    pub timeout: bool,
}

words! {
    pub(in crate::settings) enum Outcome {
        ConnectionLost = "connection_lost",
        Unavailable = "unavailable",
        Timeout = "timeout",
    }
}

impl MayHaveRun {
    fn outcomes(self) -> Vec<Outcome> {
        let Self { connection_lost, unavailable, timeout } = self;
        [
            (Outcome::ConnectionLost, connection_lost),
            (Outcome::Unavailable, unavailable),
            (Outcome::Timeout, timeout),
        ]
        .into_iter()
        .filter_map(|(outcome, is_accepted)| is_accepted.then_some(outcome))
        .collect()
    }
}

/// The key of a route that calls functions by the Lambda API, where every call is a POST: the method says nothing.
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
    /// For functions called by the Lambda API.
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
                connection_lost: outcomes.contains(&Outcome::ConnectionLost),
                unavailable: outcomes.contains(&Outcome::Unavailable),
                timeout: outcomes.contains(&Outcome::Timeout),
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
