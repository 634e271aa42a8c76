//! Circuit breaker: refuses calls to an upstream that fails them all, so that clients get an error at once
//! instead of after a timeout, and the upstream can recover.
//!
//! Closed, it admits every call and counts consecutive failures. Open, it refuses all calls for `open_for`.
//! Half-open, it admits one call at a time as a probe, until one succeeds. `state/builder.rs` shares one
//! among the routes with the same endpoint and settings; `proxy/call.rs` enters before each attempt and
//! reports its outcome. While it is closed and nothing fails, that costs one load and one compare: no lock,
//! no clock read, no write.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    backend::Verdict,
    client::Endpoint,
    message::error::{ErrorKind, ProxyError, Side, UpstreamFailure},
    settings::CircuitBreakerSettings,
};

/// The circuit breaker of one upstream.
#[derive(Debug)]
pub struct CircuitBreaker {
    /// For the log.
    upstream: String,
    settings: CircuitBreakerSettings,
    created: Instant,
    /// Consecutive failures while it is closed.
    failures: AtomicU32,
    /// Milliseconds after `created`; 0 while it is closed.
    open_until: AtomicU64,
    /// A probe is in flight.
    probing: AtomicBool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CircuitState {
    Closed,
    Open,
    HalfOpen,
}

/// An admitted call until its outcome is reported. Dropped without a report, it changes nothing.
#[derive(Debug)]
pub struct CallGuard<'a> {
    breaker: &'a CircuitBreaker,
    is_probe: bool,
}

/// The circuit breakers by endpoint and settings.
#[derive(Debug, Default)]
pub struct CircuitBreakers(HashMap<(Arc<Endpoint>, CircuitBreakerSettings), Arc<CircuitBreaker>>);

impl CircuitBreakers {
    /// The shared circuit breaker of an endpoint with these settings.
    pub fn get(&mut self, endpoint: &Arc<Endpoint>, settings: CircuitBreakerSettings) -> Arc<CircuitBreaker> {
        let made = self.0.entry((Arc::clone(endpoint), settings));
        Arc::clone(made.or_insert_with(|| Arc::new(CircuitBreaker::new(endpoint.to_string(), settings))))
    }

    /// Drops those that no route uses any more.
    pub fn forget_unused(&mut self) {
        self.0.retain(|_, breaker| Arc::strong_count(breaker) > 1);
    }
}

impl CircuitBreaker {
    pub fn new(upstream: String, settings: CircuitBreakerSettings) -> Self {
        Self {
            upstream,
            settings,
            created: Instant::now(),
            failures: AtomicU32::new(0),
            open_until: AtomicU64::new(0),
            probing: AtomicBool::new(false),
        }
    }

    /// Admits a call.
    ///
    /// # Errors
    /// The circuit breaker is open, or half-open with a probe in flight.
    pub fn enter(&self, now: impl Fn() -> Instant) -> Result<CallGuard<'_>, ProxyError> {
        if self.is_closed() {
            return Ok(CallGuard { breaker: self, is_probe: false });
        }
        self.refuse_until_due(&now)?;
        if self.probing.swap(true, Ordering::AcqRel) {
            return Err(self.refusal(1));
        }
        let guard = CallGuard { breaker: self, is_probe: true };
        // another probe may have ended meanwhile, and may have closed it
        if self.is_closed() {
            return Ok(CallGuard { breaker: self, is_probe: false });
        }
        self.refuse_until_due(&now)?;
        Ok(guard)
    }

    pub fn is_closed(&self) -> bool {
        self.open_until.load(Ordering::Acquire) == 0
    }

    /// The state for the metrics.
    pub fn state(&self, now: Instant) -> CircuitState {
        match self.open_until.load(Ordering::Acquire) {
            0 => CircuitState::Closed,
            until if until > self.milliseconds(now) => CircuitState::Open,
            _ => CircuitState::HalfOpen,
        }
    }

    fn refuse_until_due(&self, now: impl Fn() -> Instant) -> Result<(), ProxyError> {
        let left = self.open_until.load(Ordering::Acquire).saturating_sub(self.milliseconds(now()));
        if left == 0 { Ok(()) } else { Err(self.refusal(left.div_ceil(1000))) }
    }

    fn refusal(&self, retry_after: u64) -> ProxyError {
        let kind = ErrorKind::UpstreamUnavailable { retry_after };
        ProxyError::new(kind, format!("the circuit breaker of {} is open", self.upstream))
    }

    fn milliseconds(&self, now: Instant) -> u64 {
        milliseconds(now.saturating_duration_since(self.created))
    }

    fn open(&self, now: Instant) {
        let until = self.milliseconds(now) + milliseconds(self.settings.open_for);
        self.open_until.store(until, Ordering::Release);
    }

    fn succeeded(&self, is_probe: bool) {
        if is_probe && self.open_until.swap(0, Ordering::AcqRel) != 0 {
            log::info!("circuit breaker closed: {} answers again", self.upstream);
        }
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    fn failed(&self, is_probe: bool, now: Instant) {
        let CircuitBreakerSettings { failures, open_for } = self.settings;
        if is_probe {
            self.open(now);
            log::info!(
                "circuit breaker stays open for {open_for:?}: the call that tested {} failed",
                self.upstream
            );
            return;
        }
        // calls that were in flight when it opened change nothing
        if self.is_closed() && self.failures.fetch_add(1, Ordering::AcqRel) + 1 == failures {
            self.failures.store(0, Ordering::Relaxed);
            self.open(now);
            log::warn!(
                "circuit breaker opened for {open_for:?}: {failures} calls to {} in a row failed",
                self.upstream
            );
        }
    }
}

impl CallGuard<'_> {
    /// Reports the outcome. Each response of AWS is a success, except its own 500, 503 and 504. Failures of
    /// the upstream and of the network count; others change nothing.
    pub fn report(self, outcome: Result<Verdict, &ProxyError>, now: impl Fn() -> Instant) {
        match outcome {
            Ok(Verdict::Unavailable) => self.breaker.failed(self.is_probe, now()),
            Ok(_) => self.breaker.succeeded(self.is_probe),
            Err(error) => match error.code().side {
                Side::Upstream(
                    UpstreamFailure::Unreachable
                    | UpstreamFailure::TimedOut
                    | UpstreamFailure::ConnectionLost,
                ) => self.breaker.failed(self.is_probe, now()),
                Side::Upstream(UpstreamFailure::Malformed | UpstreamFailure::CircuitOpen)
                | Side::Client
                | Side::Sidecar
                | Side::Lambda => {}
            },
        }
    }
}

impl Drop for CallGuard<'_> {
    fn drop(&mut self) {
        if self.is_probe {
            self.breaker.probing.store(false, Ordering::Release);
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN_FOR: Duration = Duration::from_secs(10);

    fn breaker(failures: u32) -> CircuitBreaker {
        CircuitBreaker::new(
            "a.example:443".to_owned(),
            CircuitBreakerSettings { failures, open_for: OPEN_FOR },
        )
    }

    fn lost() -> ProxyError {
        ErrorKind::UpstreamTruncated.into()
    }

    /// Makes a call that fails.
    fn fail(breaker: &CircuitBreaker) {
        breaker.enter(Instant::now).unwrap().report(Err(&lost()), Instant::now);
    }

    /// The seconds of `Retry-After`.
    fn refused(breaker: &CircuitBreaker, now: Instant) -> u64 {
        match breaker.enter(|| now).unwrap_err().kind {
            ErrorKind::UpstreamUnavailable { retry_after } => retry_after,
            other => unreachable!("{other:?}"),
        }
    }

    /// The time at which an open one becomes half-open.
    fn due(breaker: &CircuitBreaker) -> Instant {
        breaker.created + Duration::from_millis(breaker.open_until.load(Ordering::Relaxed))
    }

    #[test]
    fn consecutive_failures_open_it_and_any_answer_resets_the_count() {
        let breaker = breaker(3);
        for verdict in [Verdict::Final, Verdict::Throttled, Verdict::NotReady, Verdict::KeysExpired] {
            fail(&breaker);
            fail(&breaker);
            breaker.enter(Instant::now).unwrap().report(Ok(verdict), Instant::now);
        }
        fail(&breaker);
        breaker.enter(Instant::now).unwrap().report(Ok(Verdict::Unavailable), Instant::now);
        assert!(breaker.is_closed());
        fail(&breaker);
        let left = refused(&breaker, Instant::now());
        assert!((1..=10).contains(&left), "{left}");
    }

    #[test]
    fn only_failures_of_the_upstream_and_of_the_network_count() {
        for (kind, counts) in [
            (ErrorKind::UpstreamConnect, true),
            (ErrorKind::UpstreamTls, true),
            (ErrorKind::UpstreamTimeout, true),
            (ErrorKind::UpstreamTruncated, true),
            (ErrorKind::UpstreamProtocol, false),
            (ErrorKind::InvalidBody, false),
            (ErrorKind::RequestTimeout, false),
            (ErrorKind::Internal, false),
        ] {
            let breaker = breaker(1);
            breaker.enter(Instant::now).unwrap().report(Err(&kind.clone().into()), Instant::now);
            assert_eq!(breaker.is_closed(), !counts, "{kind:?}");
        }
    }

    #[test]
    fn other_outcomes_neither_count_nor_reset_the_count() {
        let breaker = breaker(2);
        fail(&breaker);
        drop(breaker.enter(Instant::now).unwrap());
        breaker.enter(Instant::now).unwrap().report(Err(&ErrorKind::InvalidBody.into()), Instant::now);
        fail(&breaker);
        assert!(!breaker.is_closed());
    }

    #[test]
    fn a_half_open_one_admits_one_probe_at_a_time_and_closes_when_one_succeeds() {
        let breaker = breaker(1);
        fail(&breaker);
        let due = due(&breaker);
        let before = |time| due.checked_sub(time).unwrap();
        assert_eq!(refused(&breaker, before(OPEN_FOR)), 10);
        assert_eq!(refused(&breaker, before(Duration::from_millis(1001))), 2);
        assert_eq!(refused(&breaker, before(Duration::from_millis(1))), 1);
        let probe = breaker.enter(|| due).unwrap();
        assert_eq!(refused(&breaker, due), 1);
        // a probe whose client has left
        drop(probe);
        let probe = breaker.enter(|| due).unwrap();
        probe.report(Ok(Verdict::Final), || due);
        assert!(breaker.is_closed());
        let (first, second) = (breaker.enter(|| due).unwrap(), breaker.enter(|| due).unwrap());
        assert!(!first.is_probe && !second.is_probe);
    }

    #[test]
    fn a_probe_that_fails_keeps_it_open_for_as_long_again() {
        let breaker = breaker(5);
        for _ in 0..5 {
            fail(&breaker);
        }
        let first = due(&breaker);
        breaker.enter(|| first).unwrap().report(Err(&lost()), || first);
        let second = due(&breaker);
        assert!(second > first);
        assert_eq!(second, first + OPEN_FOR);
        assert_eq!(refused(&breaker, first), 10);
        breaker.enter(|| second).unwrap().report(Ok(Verdict::Final), || second);
        for _ in 0..4 {
            fail(&breaker);
        }
        assert!(breaker.is_closed(), "the count is reset");
    }

    #[test]
    fn calls_that_were_in_flight_when_it_opened_change_nothing() {
        let breaker = breaker(2);
        let before: Vec<_> = (0..10).map(|_| breaker.enter(Instant::now).unwrap()).collect();
        fail(&breaker);
        fail(&breaker);
        let until = due(&breaker);
        for (index, guard) in before.into_iter().enumerate() {
            if index % 2 == 0 {
                guard.report(Err(&lost()), Instant::now);
            } else {
                guard.report(Ok(Verdict::Final), Instant::now);
            }
        }
        assert_eq!(due(&breaker), until);
    }

    #[test]
    fn many_threads_get_one_probe_between_them() {
        let breaker = breaker(1);
        fail(&breaker);
        let due = due(&breaker);
        let start = std::sync::Barrier::new(4);
        let probes: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        start.wait();
                        let guard = breaker.enter(|| due);
                        start.wait();
                        usize::from(guard.is_ok())
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(probes, 1);
    }
}
