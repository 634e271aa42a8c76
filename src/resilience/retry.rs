//! Retries of one route: decides after each attempt whether and when to retry.
//!
//! `proxy/call.rs` calls it. By default only calls that cannot have run are retried: nothing was sent, or AWS
//! reports that nothing ran. `budget.rs` limits the load of retries on a failing upstream.

pub mod budget;

use std::time::Duration;

use actix_http::header::{self, HeaderMap, HeaderName, HeaderValue};

use self::budget::RetryBudget;
use crate::{
    backend::Verdict,
    message::error::{ProxyError, Side, UpstreamFailure},
    settings::RetrySettings,
};

/// The delay that an AWS service requests, in milliseconds (AWS SDKs, retry behavior).
const RETRY_AFTER_MILLISECONDS: HeaderName = HeaderName::from_static("x-amz-retry-after");

#[derive(Debug)]
pub struct Retries {
    settings: RetrySettings,
    pub budget: RetryBudget,
}

/// The wait before a retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryDelay {
    For(Duration),
    /// Until there are new keys, for at most this time.
    UntilNewKeys(Duration),
}

impl Retries {
    /// `None` if the settings allow one attempt only.
    pub fn new(settings: RetrySettings) -> Option<Self> {
        (settings.attempts > 1).then(|| Self { settings, budget: RetryBudget::new(settings.budget) })
    }

    /// The wait after the `attempt`th attempt, counted from 1; `None` if there is no retry.
    ///
    /// `outcome` is the response's verdict and headers, or the failure; `is_idempotent` is a property of the
    /// method, and `jitter` returns a number from 0 to 1.
    pub fn after(
        &self,
        attempt: u32,
        outcome: Result<(Verdict, &HeaderMap), &ProxyError>,
        is_idempotent: bool,
        jitter: impl FnOnce() -> f64,
    ) -> Option<RetryDelay> {
        let known = outcome.map(|(verdict, _)| verdict);
        if attempt >= self.settings.attempts || !self.repeats(attempt, known, is_idempotent) {
            return None;
        }
        let longest = self.settings.max_backoff;
        let step = match known {
            Ok(Verdict::KeysExpired) => return Some(RetryDelay::UntilNewKeys(longest)),
            // signed with the corrected time it is a different request
            Ok(Verdict::ClockWrong) => return Some(RetryDelay::For(Duration::ZERO)),
            // a network interface or a snapshot takes its time
            Ok(Verdict::NotReady | Verdict::SlowStart) => longest,
            _ => self.step(attempt),
        };
        let asked = outcome.ok().and_then(|(_, headers)| asked(headers)).unwrap_or_default();
        // full jitter, so that many clients do not retry at the same time
        // (<https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>); before the requested
        // delay AWS would refuse again, and a delay above the maximum is the client's decision
        (asked <= longest).then(|| RetryDelay::For(asked.max(step.mul_f64(jitter()))))
    }

    /// The reason of a retry, a label of the metric.
    pub fn reason(outcome: Result<Verdict, &ProxyError>) -> &'static str {
        match outcome {
            Ok(Verdict::Final) => "settled",
            Ok(Verdict::Throttled) => "throttled",
            Ok(Verdict::NotReady) => "not_ready",
            Ok(Verdict::SlowStart) => "slow_start",
            Ok(Verdict::KeysExpired) => "keys_expired",
            Ok(Verdict::ClockWrong) => "clock_wrong",
            Ok(Verdict::Unavailable) => "unavailable",
            Err(error) if error.is_retryable() => "not_sent",
            Err(error) => match error.code().side {
                Side::Upstream(UpstreamFailure::ConnectionLost) => "connection_lost",
                Side::Upstream(UpstreamFailure::TimedOut) => "timeout",
                Side::Upstream(_) | Side::Client | Side::Sidecar | Side::Lambda => "failed",
            },
        }
    }

    fn repeats(&self, attempt: u32, outcome: Result<Verdict, &ProxyError>, is_idempotent: bool) -> bool {
        let RetrySettings { accepted, any_method, .. } = self.settings;
        let may_run_twice = is_idempotent || any_method;
        match outcome {
            Ok(Verdict::Final) => false,
            Ok(Verdict::Throttled | Verdict::NotReady | Verdict::KeysExpired | Verdict::ClockWrong) => true,
            Ok(Verdict::SlowStart) => attempt == 1,
            Ok(Verdict::Unavailable) => accepted.unavailable && may_run_twice,
            Err(error) if error.is_retryable() => true,
            Err(error) => match error.code().side {
                Side::Upstream(UpstreamFailure::ConnectionLost) => accepted.connection_lost && may_run_twice,
                Side::Upstream(UpstreamFailure::TimedOut) => accepted.timeout && may_run_twice,
                Side::Upstream(
                    UpstreamFailure::Unreachable | UpstreamFailure::Malformed | UpstreamFailure::CircuitOpen,
                )
                | Side::Client
                | Side::Sidecar
                | Side::Lambda => false,
            },
        }
    }

    /// The maximum back-off after this attempt: it doubles each time.
    fn step(&self, attempt: u32) -> Duration {
        let RetrySettings { backoff, max_backoff, .. } = self.settings;
        backoff.saturating_mul(2_u32.saturating_pow(attempt - 1)).min(max_backoff)
    }
}

/// The delay from `Retry-After`; `Duration::MAX` if it cannot be parsed (AWS never sends a date).
fn asked(headers: &HeaderMap) -> Option<Duration> {
    let read = |name: HeaderName, unit: fn(u64) -> Duration| {
        let number = |value: &HeaderValue| value.to_str().ok()?.trim().parse().ok();
        headers.get(name).map(|value| number(value).map_or(Duration::MAX, unit))
    };
    read(header::RETRY_AFTER, Duration::from_secs).max(read(RETRY_AFTER_MILLISECONDS, Duration::from_millis))
}

#[cfg(test)]
mod tests;
