//! When keys are fetched again: pure functions for `refresher.rs`.

use std::time::{Duration, SystemTime};

use super::credential_cell::KeyRefusal;
use crate::system::wall_clock;

/// Time before the expiry at which keys are refreshed; a fifth of their life if that is longer. botocore
/// refreshes at the latest then (`_mandatory_refresh_timeout` in its `credentials.py`), and keys stay valid
/// through an outage of STS.
const REFRESH_BUFFER: Duration = Duration::from_mins(10);
/// Keys with a shorter life are refreshed at three quarters of it: sessions of STS may last only 15 minutes.
const SHORT_LIFE: Duration = Duration::from_mins(50);
/// Shortest time between fetches. The metadata service returns the same keys until it renews them.
const MIN_INTERVAL: Duration = Duration::from_secs(1);
const MAX_BACKOFF: Duration = Duration::from_mins(1);

/// The time of the refresh of keys that were fetched `now` and expire at `expiry`. `jitter`, from 0 to 1,
/// spreads the calls to STS of sidecars that started together.
pub fn refresh_at(now: SystemTime, expiry: SystemTime, jitter: f64) -> SystemTime {
    let life = expiry.duration_since(now).unwrap_or_default();
    let buffer = if life < SHORT_LIFE { life.mul_f64(0.25) } else { REFRESH_BUFFER.max(life.mul_f64(0.2)) };
    let buffer = buffer.mul_f64(0.9 + 0.2 * jitter);
    wall_clock::later(now, life.saturating_sub(buffer).max(MIN_INTERVAL))
}

/// The pause after `failures` consecutive failures: exponential backoff with full jitter
/// (<https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>). `keys_left`, the rest of
/// life of the keys in use, shortens it, so that a source that recovers just before the expiry is noticed in
/// time.
pub fn back_off(failures: u32, keys_left: Option<Duration>, jitter: f64) -> Duration {
    let ceiling = MIN_INTERVAL.saturating_mul(2_u32.saturating_pow(failures.min(16))).min(MAX_BACKOFF);
    let ceiling = keys_left.map_or(ceiling, |left| ceiling.min(left / 2)).max(MIN_INTERVAL);
    MIN_INTERVAL + ceiling.saturating_sub(MIN_INTERVAL).mul_f64(jitter)
}

/// Capacity of the token bucket for immediate replacements of keys that AWS had accepted before.
const REPLACEMENT_BURST: u32 = 20;
/// Interval at which the bucket gains a token.
const REPLACEMENT_INTERVAL: Duration = Duration::from_secs(10);

/// The pace at which refused keys are replaced: the first refused set of a row at once, the next ones with a
/// backoff, because clients must not set the pace of calls to STS.
///
/// A set that AWS had accepted ends the row. Where one upstream accepts keys that another refuses, every set
/// has been accepted, so a token bucket limits this.
#[derive(Debug)]
pub struct RefusalPacing {
    in_a_row: u32,
    tokens: u32,
    filled_at: SystemTime,
}

impl RefusalPacing {
    pub fn new(now: SystemTime) -> Self {
        Self { in_a_row: 0, tokens: REPLACEMENT_BURST, filled_at: now }
    }

    /// Ends the row, after a refresh that was due by time alone.
    pub fn end_row(&mut self) {
        self.in_a_row = 0;
    }

    /// Counts a refusal, and returns the pause before the next fetch.
    pub fn pause(&mut self, refusal: KeyRefusal, now: SystemTime, jitter: f64) -> Duration {
        self.fill(now);
        if refusal == KeyRefusal::OfAccepted && self.tokens > 0 {
            self.tokens -= 1;
            self.in_a_row = 0;
        }
        let before = self.in_a_row;
        self.in_a_row = before.saturating_add(1);
        if before == 0 { Duration::ZERO } else { back_off(before, None, jitter) }
    }

    fn fill(&mut self, now: SystemTime) {
        // a clock that was set back adds no tokens until it reaches its former time
        let passed = now.duration_since(self.filled_at).unwrap_or_default();
        let gained = u32::try_from(passed.as_secs() / REPLACEMENT_INTERVAL.as_secs()).unwrap_or(u32::MAX);
        if gained > 0 {
            self.tokens = self.tokens.saturating_add(gained).min(REPLACEMENT_BURST);
            self.filled_at = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE: u64 = 60;

    fn minutes_ahead(life: u64, jitter: f64) -> f64 {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let expiry = now + Duration::from_secs(life * MINUTE);
        expiry.duration_since(refresh_at(now, expiry, jitter)).unwrap().as_secs_f64() / 60.0
    }

    #[test]
    fn keys_are_refreshed_well_before_they_expire() {
        for (life, ahead) in [(15, 3.75), (40, 10.0), (50, 10.0), (60, 12.0), (360, 72.0), (720, 144.0)] {
            assert!((minutes_ahead(life, 0.5) - ahead).abs() < 1e-6, "{life}");
            assert!((minutes_ahead(life, 0.0) - 0.9 * ahead).abs() < 1e-6, "{life}");
            assert!((minutes_ahead(life, 1.0) - 1.1 * ahead).abs() < 1e-6, "{life}");
        }
    }

    #[test]
    fn waits_grow_to_a_minute_and_shrink_towards_the_expiry() {
        let longest = |failures, left| back_off(failures, left, 1.0).as_secs();
        assert_eq!([1, 2, 3, 4, 5, 6, 7].map(|failures| longest(failures, None)), [2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(longest(u32::MAX, None), 60);
        let left = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!([600, 60, 10, 1, 0].map(|seconds| longest(9, left(seconds))), [60, 30, 5, 1, 1]);
        assert_eq!(back_off(9, None, 0.0), MIN_INTERVAL);
    }

    #[test]
    fn of_sets_refused_in_a_row_only_the_first_is_replaced_at_once() {
        let now = SystemTime::UNIX_EPOCH;
        let mut refusals = RefusalPacing::new(now);
        let mut pause = |jitter| refusals.pause(KeyRefusal::OfUnproven, now, jitter);
        assert_eq!([1.0, 1.0, 1.0].map(|jitter| pause(jitter).as_secs()), [0, 2, 4]);
        assert_eq!(pause(0.0), MIN_INTERVAL);
        refusals.end_row();
        assert_eq!(refusals.pause(KeyRefusal::OfUnproven, now, 1.0), Duration::ZERO);
    }

    #[test]
    fn s3_a_set_that_aws_had_accepted_ends_the_row_but_not_without_limit() {
        let mut now = SystemTime::UNIX_EPOCH;
        let mut refusals = RefusalPacing::new(now);
        for _ in 0..REPLACEMENT_BURST {
            assert_eq!(refusals.pause(KeyRefusal::OfAccepted, now, 1.0), Duration::ZERO);
        }
        assert!(refusals.pause(KeyRefusal::OfAccepted, now, 1.0) > Duration::ZERO);
        now += REPLACEMENT_INTERVAL;
        assert_eq!(refusals.pause(KeyRefusal::OfAccepted, now, 1.0), Duration::ZERO);
        assert!(refusals.pause(KeyRefusal::OfAccepted, now, 1.0) > Duration::ZERO);
    }

    proptest! {
        #[test]
        fn no_schedule_is_too_fast_or_too_late(
            life in 0_u64..100_000,
            jitter in 0.0..1.0_f64,
            failures: u32,
        ) {
            let now = SystemTime::UNIX_EPOCH;
            let expiry = now + Duration::from_secs(life);
            let next = refresh_at(now, expiry, jitter);
            prop_assert!(next >= now + MIN_INTERVAL);
            prop_assert!(next <= expiry.max(now + MIN_INTERVAL));
            let wait = back_off(failures, None, jitter);
            prop_assert!((MIN_INTERVAL..=MAX_BACKOFF).contains(&wait));
        }
    }
}
