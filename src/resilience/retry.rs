//! Whether a call is made again, and when. One of these for each route that allows it.
//!
//! `proxy/call.rs` asks after each attempt. Without being asked to risk more, only that is repeated of which nothing
//! can have run: nothing was sent, or AWS says so. `budget.rs` keeps repetitions from piling up on an upstream
//! that is in trouble already.

pub mod budget;

use std::time::Duration;

use actix_http::header::{self, HeaderMap, HeaderName, HeaderValue};

use self::budget::Budget;
use crate::{
    backend::Verdict,
    message::error::{ProxyError, Side, UpstreamFailure},
    settings::RetrySettings,
};

/// How AWS's services say when to come again, in milliseconds (AWS SDKs, retry behavior).
const RETRY_AFTER_MILLISECONDS: HeaderName = HeaderName::from_static("x-amz-retry-after");

/// What a route repeats.
#[derive(Debug)]
pub struct Retries {
    settings: RetrySettings,
    /// How many repetitions there is room for.
    pub budget: Budget,
}

/// What has to happen before a call is made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pause {
    /// This much time.
    For(Duration),
    /// Other keys have to be there, which is worth waiting for so long.
    UntilNewKeys(Duration),
}

impl Retries {
    /// `None` where nothing is to be repeated.
    pub fn new(settings: RetrySettings) -> Option<Self> {
        (settings.attempts > 1).then(|| Self { settings, budget: Budget::new(settings.budget) })
    }

    /// What to wait for after the `attempt`th attempt, counted from 1, before the next one; `None` if there is none.
    ///
    /// `outcome` is the answer's verdict and headers, or the failure; `is_idempotent` tells of the method, and `jitter`
    /// gives a number from 0 to 1.
    pub fn after(
        &self,
        attempt: u32,
        outcome: Result<(Verdict, &HeaderMap), &ProxyError>,
        is_idempotent: bool,
        jitter: impl FnOnce() -> f64,
    ) -> Option<Pause> {
        let known = outcome.map(|(verdict, _)| verdict);
        if attempt >= self.settings.attempts || !self.repeats(attempt, known, is_idempotent) {
            return None;
        }
        let longest = self.settings.max_backoff;
        let step = match known {
            Ok(Verdict::KeysExpired) => return Some(Pause::UntilNewKeys(longest)),
            // by the right time it is another request
            Ok(Verdict::ClockWrong) => return Some(Pause::For(Duration::ZERO)),
            // a network interface or a snapshot takes its time
            Ok(Verdict::NotReady | Verdict::SlowStart) => longest,
            _ => self.step(attempt),
        };
        let asked = outcome.ok().and_then(|(_, headers)| asked(headers)).unwrap_or_default();
        // full jitter, so that many clients do not come back at once
        // (<https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>);
        // sooner than asked the call would be refused again, and later is for the client to decide
        (asked <= longest).then(|| Pause::For(asked.max(step.mul_f64(jitter()))))
    }

    /// Why a call is made again, in a word.
    pub fn reason(outcome: Result<Verdict, &ProxyError>) -> &'static str {
        match outcome {
            Ok(Verdict::Final) => "settled",
            Ok(Verdict::Throttled) => "throttled",
            Ok(Verdict::NotReady) => "not_ready",
            Ok(Verdict::SlowStart) => "slow_start",
            Ok(Verdict::KeysExpired) => "keys_expired",
            Ok(Verdict::ClockWrong) => "clock_wrong",
            Ok(Verdict::Unavailable) => "unavailable",
            Err(error) if error.may_be_repeated() => "not_sent",
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
            Err(error) if error.may_be_repeated() => true,
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

    /// The longest pause after this attempt: it doubles each time.
    fn step(&self, attempt: u32) -> Duration {
        let RetrySettings { backoff, max_backoff, .. } = self.settings;
        backoff.saturating_mul(2_u32.saturating_pow(attempt - 1)).min(max_backoff)
    }
}

/// How long AWS asks to wait; for ever where it cannot be read, as with a date, which AWS does not send.
fn asked(headers: &HeaderMap) -> Option<Duration> {
    let read = |name: HeaderName, unit: fn(u64) -> Duration| {
        let number = |value: &HeaderValue| value.to_str().ok()?.trim().parse().ok();
        headers.get(name).map(|value| number(value).map_or(Duration::MAX, unit))
    };
    read(header::RETRY_AFTER, Duration::from_secs).max(read(RETRY_AFTER_MILLISECONDS, Duration::from_millis))
}

#[cfg(test)]
mod tests;
