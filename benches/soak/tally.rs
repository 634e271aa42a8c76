//! Counts the outcomes of requests.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Outcome of one request.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// The planned response, complete.
    Right,
    /// The upstream's 503, forwarded.
    PassedOn,
    /// An error of the sidecar with this code, as planned.
    Error(String),
    /// The connection broke inside the response, as planned.
    Broken,
    /// 504 without a planned fault: the machine was too slow.
    Late,
    /// The client left, as planned.
    Left,
    /// During shutdown an idle connection was closed before the response's first byte.
    ClosedIdle,
    /// A request sent well before SIGTERM on a connection in use had no response.
    Lost,
    /// An error or a broken connection without a planned fault.
    Innocent,
    /// A well-formed response that belongs to another request.
    Wrong,
}

impl Verdict {
    /// True if the outcome is a failure.
    pub fn is_bad(&self) -> bool {
        matches!(self, Self::Lost | Self::Innocent | Self::Wrong)
    }
}

/// A failed request, for the report.
#[derive(Debug)]
pub struct Example {
    pub request_id: String,
    /// The planned and the actual outcome.
    pub detail: String,
}

/// The counts, shared by all clients.
#[derive(Debug, Default)]
pub struct Tally(Mutex<Counts>);

#[derive(Debug, Default)]
pub struct Counts {
    pub verdicts: BTreeMap<Verdict, u64>,
    /// Latency of correct responses without planned delay, in microseconds.
    pub latencies: Vec<u32>,
    /// The first failed requests.
    pub examples: Vec<Example>,
    /// Connections that could not be opened.
    pub unconnected: u64,
}

impl Tally {
    /// Counts a request; `detail` describes a failure.
    pub fn count(&self, verdict: Verdict, request_id: &str, detail: impl FnOnce() -> String) {
        let mut counts = self.counts();
        if verdict.is_bad() && counts.examples.len() < 10 {
            let detail = format!("{verdict:?}: {}", detail());
            counts.examples.push(Example { request_id: request_id.to_owned(), detail });
        }
        *counts.verdicts.entry(verdict).or_default() += 1;
    }

    /// Records the latency of a correct response.
    pub fn took(&self, latency: Duration) {
        self.counts().latencies.push(u32::try_from(latency.as_micros()).unwrap_or(u32::MAX));
    }

    pub fn unconnected(&self) {
        self.counts().unconnected += 1;
    }

    pub fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    /// Number of requests.
    pub fn requests(&self) -> u64 {
        self.verdicts.values().sum()
    }

    /// Number of failed requests.
    pub fn bad(&self) -> u64 {
        self.verdicts.iter().filter(|(verdict, _)| verdict.is_bad()).map(|(_, count)| count).sum()
    }
}
