//! What came of the requests, counted.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// What came of one request.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// The answer that was planned, whole.
    Right,
    /// The 503 of the upstream, passed on.
    PassedOn,
    /// An error of the sidecar's with this code, as planned.
    Error(String),
    /// The connection broke in the middle of the answer, as planned.
    Broken,
    /// 504 without a planned fault: the machine was too slow.
    Late,
    /// The client left, as it wanted.
    Left,
    /// An idle connection was closed while SIGTERM was under way; the request had no answer.
    ClosedIdle,
    /// A request sent well before SIGTERM, on a connection in use, had no answer.
    Lost,
    /// An error, or a broken connection, although nothing had gone wrong.
    Innocent,
    /// A clean answer that is not the request's.
    Wrong,
}

impl Verdict {
    /// Whether it must not be.
    pub fn is_bad(&self) -> bool {
        matches!(self, Self::Lost | Self::Innocent | Self::Wrong)
    }
}

/// A request of which must not be what came of it.
#[derive(Debug)]
pub struct Example {
    pub request_id: String,
    /// What was planned, and what came.
    pub told: String,
}

/// All verdicts so far.
#[derive(Debug, Default)]
pub struct Tally(Mutex<Counts>);

/// The counts themselves.
#[derive(Debug, Default)]
pub struct Counts {
    pub verdicts: BTreeMap<Verdict, u64>,
    /// Of right answers that nothing slowed down, in microseconds.
    pub latencies: Vec<u32>,
    /// The first of what must not be.
    pub examples: Vec<Example>,
    /// Connections that could not be opened.
    pub unconnected: u64,
}

impl Tally {
    /// Counts a request; `told` tells more of one that must not be.
    pub fn count(&self, verdict: Verdict, request_id: &str, told: impl FnOnce() -> String) {
        let mut counts = self.counts();
        if verdict.is_bad() && counts.examples.len() < 10 {
            let told = format!("{verdict:?}: {}", told());
            counts.examples.push(Example { request_id: request_id.to_owned(), told });
        }
        *counts.verdicts.entry(verdict).or_default() += 1;
    }

    /// Counts how long a right answer took.
    pub fn took(&self, latency: Duration) {
        self.counts().latencies.push(u32::try_from(latency.as_micros()).unwrap_or(u32::MAX));
    }

    /// Counts a connection that could not be opened.
    pub fn unconnected(&self) {
        self.counts().unconnected += 1;
    }

    /// What there is so far.
    pub fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    /// Requests in all.
    pub fn requests(&self) -> u64 {
        self.verdicts.values().sum()
    }

    /// Requests of which must not be what came of them.
    pub fn bad(&self) -> u64 {
        self.verdicts.iter().filter(|(verdict, _)| verdict.is_bad()).map(|(_, count)| count).sum()
    }
}
