//! When keys are fetched again: pure arithmetic for `refresher.rs`.

use std::time::{Duration, SystemTime};

use super::credential_cell::KeyRefusal;
use crate::system::wall_clock;

/// By then botocore insists on new keys (`_mandatory_refresh_timeout` in its `credentials.py`); long enough to sit
/// out a failure of STS.
const AHEAD: Duration = Duration::from_mins(10);
/// Of lives shorter than this, ten minutes would be too large a part: sessions of STS may last fifteen.
const SHORT_LIFE: Duration = Duration::from_mins(50);
/// Sources such as the metadata service give the same keys until they change them, and are asked again no faster.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST_BACK_OFF: Duration = Duration::from_mins(1);

/// When keys that were fetched `now` and expire at `expiry` are fetched again. `jitter`, from 0 to 1, spreads the
/// sidecars of a deployment that started together, so that they do not ask STS together.
pub fn refresh_at(now: SystemTime, expiry: SystemTime, jitter: f64) -> SystemTime {
    let life = expiry.duration_since(now).unwrap_or_default();
    let ahead = if life < SHORT_LIFE { life.mul_f64(0.25) } else { AHEAD.max(life.mul_f64(0.2)) };
    let ahead = ahead.mul_f64(0.9 + 0.2 * jitter);
    wall_clock::later(now, life.saturating_sub(ahead).max(SHORTEST))
}

/// How long to wait after the `failures`th failure in a row: exponential with full jitter, so that many clients
/// do not come back at once
/// (<https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>). While old keys still serve, the
/// waits get shorter towards their expiry, so that a source that recovers just before it is not missed.
pub fn back_off(failures: u32, keys_left: Option<Duration>, jitter: f64) -> Duration {
    let ceiling = SHORTEST.saturating_mul(2_u32.saturating_pow(failures.min(16))).min(LONGEST_BACK_OFF);
    let ceiling = keys_left.map_or(ceiling, |left| ceiling.min(left / 2)).max(SHORTEST);
    SHORTEST + ceiling.saturating_sub(SHORTEST).mul_f64(jitter)
}

/// Sets of keys that may be replaced at once although the set before them was refused too, and the time in which one
/// more is earned.
const SPARE: u32 = 20;
const EARNS_ONE: Duration = Duration::from_secs(10);

/// Keys that AWS refused, and the pace at which they are replaced: the first set of a row at once. Where that does not
/// help, nor will the next, and clients must not set the pace of calls to STS.
///
/// A set that AWS had accepted ends the row. Where one upstream accepts what another refuses, every set has been
/// accepted, so this is limited.
#[derive(Debug)]
pub struct Refusals {
    in_a_row: u32,
    spare: u32,
    earned_until: SystemTime,
}

impl Refusals {
    pub fn none(now: SystemTime) -> Self {
        Self { in_a_row: 0, spare: SPARE, earned_until: now }
    }

    /// Keys were refreshed for their age alone: the row ends.
    pub fn forget(&mut self) {
        self.in_a_row = 0;
    }

    /// Counts a refusal, and returns the pause before new keys are fetched.
    pub fn pause(&mut self, refusal: KeyRefusal, now: SystemTime, jitter: f64) -> Duration {
        self.earn(now);
        if refusal == KeyRefusal::OfAccepted && self.spare > 0 {
            self.spare -= 1;
            self.in_a_row = 0;
        }
        let before = self.in_a_row;
        self.in_a_row = before.saturating_add(1);
        if before == 0 { Duration::ZERO } else { back_off(before, None, jitter) }
    }

    fn earn(&mut self, now: SystemTime) {
        // a clock that was set back earns nothing until it is where it was
        let passed = now.duration_since(self.earned_until).unwrap_or_default();
        let earned = u32::try_from(passed.as_secs() / EARNS_ONE.as_secs()).unwrap_or(u32::MAX);
        if earned > 0 {
            self.spare = self.spare.saturating_add(earned).min(SPARE);
            self.earned_until = now;
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
    fn keys_are_fetched_again_well_before_they_expire() {
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
        assert_eq!(back_off(9, None, 0.0), SHORTEST);
    }

    #[test]
    fn of_sets_refused_in_a_row_only_the_first_is_replaced_at_once() {
        let now = SystemTime::UNIX_EPOCH;
        let mut refusals = Refusals::none(now);
        let mut pause = |jitter| refusals.pause(KeyRefusal::OfUnproven, now, jitter);
        assert_eq!([1.0, 1.0, 1.0].map(|jitter| pause(jitter).as_secs()), [0, 2, 4]);
        assert_eq!(pause(0.0), SHORTEST);
        refusals.forget();
        assert_eq!(refusals.pause(KeyRefusal::OfUnproven, now, 1.0), Duration::ZERO);
    }

    #[test]
    fn s3_a_set_that_aws_had_accepted_ends_the_row_but_not_without_limit() {
        let mut now = SystemTime::UNIX_EPOCH;
        let mut refusals = Refusals::none(now);
        for _ in 0..SPARE {
            assert_eq!(refusals.pause(KeyRefusal::OfAccepted, now, 1.0), Duration::ZERO);
        }
        assert!(refusals.pause(KeyRefusal::OfAccepted, now, 1.0) > Duration::ZERO);
        now += EARNS_ONE;
        assert_eq!(refusals.pause(KeyRefusal::OfAccepted, now, 1.0), Duration::ZERO);
        assert!(refusals.pause(KeyRefusal::OfAccepted, now, 1.0) > Duration::ZERO);
    }

    proptest! {
        #[test]
        fn no_schedule_is_too_fast_or_too_late(life in 0_u64..100_000, jitter in 0.0..1.0_f64, failures: u32) {
            let now = SystemTime::UNIX_EPOCH;
            let expiry = now + Duration::from_secs(life);
            let next = refresh_at(now, expiry, jitter);
            prop_assert!(next >= now + SHORTEST);
            prop_assert!(next <= expiry.max(now + SHORTEST));
            let wait = back_off(failures, None, jitter);
            prop_assert!((SHORTEST..=LONGEST_BACK_OFF).contains(&wait));
        }
    }
}
