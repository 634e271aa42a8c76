//! Clock skew between AWS and this machine, measured from the `Date` of AWS's responses and corrected in
//! signatures.
//!
//! AWS rejects a signature whose date is more than five minutes off, so a wrong clock, as on a laptop after
//! sleep, would fail every signed call. The AWS SDKs learn the skew from such a rejection; [`ClockSkew`] does
//! the same and also reads the dates of other responses. `state/signing.rs` has one [`ClockSkew`] per
//! endpoint, takes the signing time from it and passes it each response. `proxy/call.rs` retries a call that
//! was rejected for its date.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use actix_http::header::{self, HeaderMap, HttpDate};

/// Seconds between two dates that are read; any other response costs one comparison.
const READ_INTERVAL: u64 = 10;
/// Samples kept. The median counts, so that a single wrong date has no effect.
const MAX_SAMPLES: usize = 5;
/// Samples needed before a correction, unless AWS rejected a signature.
const MIN_SAMPLES: usize = 3;
/// Milliseconds of skew from which signatures are corrected and a warning is logged. AWS tolerates less, and
/// this machine's clock may be the better one.
const CORRECTION_THRESHOLD: i64 = 60_000;
/// Milliseconds of skew from which the clock is the cause of a rejected signature. AWS's limit is five
/// minutes, and `Date` has a resolution of one second.
const REJECTION_THRESHOLD: i64 = 240_000;
/// No date read yet.
const UNKNOWN: i64 = i64::MIN;
/// `Date` has whole seconds: on average half a second is cut off.
const HALF_A_SECOND: i64 = 500;

/// The clock skew of one endpoint. Reads on the request path are atomic loads.
#[derive(Debug)]
pub struct ClockSkew {
    endpoint: String,
    is_trusted: AtomicBool,
    /// Time of the next read, in seconds since 1970 by this machine's clock.
    next_read: AtomicU64,
    /// Milliseconds by which the endpoint's clock is ahead, or `UNKNOWN`.
    offset: AtomicI64,
    /// Milliseconds added to the time of signatures.
    correction: AtomicI64,
    /// Samples in milliseconds, the latest last. Locked once per `READ_INTERVAL`.
    samples: Mutex<Vec<i64>>,
}

/// The clock skews of all endpoints, by name and by whether the endpoint is verified.
#[derive(Debug, Default)]
pub struct ClockSkews(HashMap<(String, bool), Arc<ClockSkew>>);

impl ClockSkews {
    /// Returns the clock skew of this endpoint. Dates are trusted only if responses come over verified TLS.
    pub fn get(&mut self, endpoint: &impl ToString, is_verified: bool) -> Arc<ClockSkew> {
        let name = endpoint.to_string();
        let clock = self
            .0
            .entry((name.clone(), is_verified))
            .or_insert_with(|| Arc::new(ClockSkew::new(name, is_verified)));
        Arc::clone(clock)
    }

    /// Drops the entries that no route uses.
    pub fn forget_unused(&mut self) {
        self.0.retain(|_, clock| Arc::strong_count(clock) > 1);
    }
}

impl ClockSkew {
    pub fn new(endpoint: String, is_trusted: bool) -> Self {
        Self {
            endpoint,
            is_trusted: AtomicBool::new(is_trusted),
            next_read: AtomicU64::new(0),
            offset: AtomicI64::new(UNKNOWN),
            correction: AtomicI64::new(0),
            samples: Mutex::default(),
        }
    }

    /// Trusts the dates of an endpoint without TLS whose responses cannot be tampered with, such as the
    /// stand-in on loopback.
    pub fn trust(&self) {
        self.is_trusted.store(true, Ordering::Relaxed);
    }

    /// Seconds by which AWS's clock is ahead, negative if it is behind; `None` if unknown.
    pub fn offset(&self) -> Option<f64> {
        match self.offset.load(Ordering::Relaxed) {
            UNKNOWN => None,
            // a clock that is off by more than 280,000 years loses milliseconds
            #[expect(clippy::cast_precision_loss, reason = "milliseconds of any clock are exact")]
            milliseconds => Some(milliseconds as f64 / 1000.0),
        }
    }

    /// The time to use in a signature.
    pub fn corrected(&self, now: SystemTime) -> SystemTime {
        match self.correction.load(Ordering::Relaxed) {
            0 => now,
            ahead => shifted(now, ahead),
        }
    }

    /// Reads the date of a response once per `READ_INTERVAL`. `signed_at` is the time of signing by this
    /// machine's clock.
    pub fn observe(&self, headers: &HeaderMap, signed_at: SystemTime) {
        let second = signed_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let next = self.next_read.load(Ordering::Relaxed);
        // a read that is planned further ahead was planned before the clock was set back
        let is_early = second < next && next - second <= READ_INTERVAL;
        if is_early || !self.is_trusted.load(Ordering::Relaxed) {
            return;
        }
        self.next_read.store(second + READ_INTERVAL, Ordering::Relaxed);
        if let Some(ahead) = ahead_of(SystemTime::now(), headers) {
            self.learn(ahead);
        }
    }

    /// Reads the date of a response that rejects a signature dated `dated`. Returns true if the clock skew
    /// was the cause; the correction then applies at once.
    pub fn refused(&self, headers: &HeaderMap, dated: SystemTime) -> bool {
        if !self.is_trusted.load(Ordering::Relaxed) {
            return false;
        }
        let Some(apart) = ahead_of(dated, headers).filter(|apart| apart.abs() >= REJECTION_THRESHOLD) else {
            return false;
        };
        let ahead = apart.saturating_sub(milliseconds_between(dated, SystemTime::now()));
        *self.samples.lock().unwrap_or_else(PoisonError::into_inner) = vec![ahead; MIN_SAMPLES];
        self.set(ahead, true);
        true
    }

    fn learn(&self, ahead: i64) {
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        if samples.len() == MAX_SAMPLES {
            samples.remove(0);
        }
        samples.push(ahead);
        let mut sorted = samples.clone();
        sorted.sort_unstable();
        self.set(sorted[sorted.len() / 2], samples.len() >= MIN_SAMPLES);
    }

    /// Stores a skew, and logs if the correction changes.
    fn set(&self, ahead: i64, is_sure: bool) {
        self.offset.store(ahead, Ordering::Relaxed);
        if !is_sure {
            return;
        }
        let correction = if ahead.abs() >= CORRECTION_THRESHOLD { ahead } else { 0 };
        let before = self.correction.swap(correction, Ordering::Relaxed);
        let endpoint = &self.endpoint;
        if correction == 0 && before != 0 {
            log::info!("clock skew: this machine's clock agrees with that of {endpoint} again");
        } else if correction != 0
            && (before == 0 || before.abs_diff(correction) >= CORRECTION_THRESHOLD.unsigned_abs())
        {
            log::warn!(
                "clock skew: this machine's clock is {} that of {endpoint}; signatures use the corrected \
                 time, set this machine's clock right",
                skew_text(-correction)
            );
        }
    }
}

/// Formats a skew in milliseconds, such as `3m 20s behind`.
pub fn skew_text(ahead: i64) -> String {
    let time = humantime::format_duration(Duration::from_secs((ahead.unsigned_abs() + 500) / 1000));
    format!("{time} {}", if ahead < 0 { "behind" } else { "ahead of" })
}

/// Milliseconds by which the date of a response is ahead of `time`. A cached response (`Age`, RFC 9111, 5.1)
/// has no current date.
pub fn ahead_of(time: SystemTime, headers: &HeaderMap) -> Option<i64> {
    if headers.contains_key(header::AGE) {
        return None;
    }
    let date: HttpDate = headers.get(header::DATE)?.to_str().ok()?.parse().ok()?;
    Some(milliseconds_between(time, date.into()).saturating_add(HALF_A_SECOND))
}

fn milliseconds_between(from: SystemTime, to: SystemTime) -> i64 {
    let whole = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    match to.duration_since(from) {
        Ok(later) => whole(later),
        Err(earlier) => -whole(earlier.duration()),
    }
}

fn shifted(time: SystemTime, milliseconds: i64) -> SystemTime {
    let by = Duration::from_millis(milliseconds.unsigned_abs());
    let shifted = if milliseconds < 0 { time.checked_sub(by) } else { time.checked_add(by) };
    shifted.unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use actix_http::header::HeaderValue;

    use super::*;

    fn dated(ahead: i64) -> HeaderMap {
        let date = HttpDate::from(shifted(SystemTime::now(), ahead * 1000));
        let mut headers = HeaderMap::new();
        headers.insert(header::DATE, HeaderValue::from_str(&date.to_string()).unwrap());
        headers
    }

    /// A clock skew after responses that are ahead by these seconds, one per `READ_INTERVAL`.
    fn after(is_trusted: bool, ahead: &[i64]) -> ClockSkew {
        let clock = ClockSkew::new("a.example:443".into(), is_trusted);
        for (index, ahead) in ahead.iter().enumerate() {
            clock.observe(
                &dated(*ahead),
                SystemTime::UNIX_EPOCH + Duration::from_secs(index as u64 * READ_INTERVAL),
            );
        }
        clock
    }

    #[track_caller]
    fn assert_corrects_by(clock: &ClockSkew, seconds: i64) {
        let now = SystemTime::now();
        let by = milliseconds_between(now, clock.corrected(now));
        assert!((by - seconds * 1000).abs() <= 1000, "{by} ms instead of {seconds} s");
    }

    #[test]
    fn the_offset_is_the_median_of_the_last_dates() {
        let offset = |ahead: &[i64]| after(true, ahead).offset().unwrap().round();
        assert!((offset(&[30]) - 30.0).abs() <= 1.0);
        assert!((offset(&[30, 31, 9000, 30, 31]) - 30.0).abs() <= 1.0);
        assert!(offset(&[300, 300, 300, 0, 0, 0]).abs() <= 1.0);
        assert_eq!(after(true, &[]).offset(), None);
    }

    #[test]
    fn a_skew_over_a_minute_is_corrected_after_three_samples() {
        assert_corrects_by(&after(true, &[300, 300]), 0);
        assert_corrects_by(&after(true, &[300, 300, 300]), 300);
        assert_corrects_by(&after(true, &[-300, -300, -300]), -300);
        assert_corrects_by(&after(true, &[50, 50, 50]), 0);
        assert_corrects_by(&after(true, &[300, 300, 300, 0, 0, 0]), 0);
    }

    #[test]
    fn dates_without_verified_tls_from_a_cache_or_too_soon_are_ignored() {
        let clock = after(false, &[300, 300, 300]);
        assert!(!clock.refused(&dated(300), SystemTime::now()));
        assert_eq!(clock.offset(), None);
        let clock = ClockSkew::new("a".into(), true);
        let mut cached = dated(300);
        cached.insert(header::AGE, HeaderValue::from_static("300"));
        clock.observe(&cached, SystemTime::now());
        assert_eq!(clock.offset(), None);
        let now = SystemTime::now() + Duration::from_secs(READ_INTERVAL);
        clock.observe(&dated(10), now);
        clock.observe(&dated(5000), now);
        assert!(clock.offset().unwrap() < 20.0);
    }

    #[test]
    fn a_rejection_corrects_at_once_if_its_date_shows_a_wrong_clock() {
        let clock = after(true, &[0, 0, 0, 0, 0]);
        assert!(!clock.refused(&dated(200), SystemTime::now()));
        assert!(!clock.refused(&HeaderMap::new(), SystemTime::now()));
        assert_corrects_by(&clock, 0);
        assert!(clock.refused(&dated(400), SystemTime::now()));
        assert_corrects_by(&clock, 400);
        // a signature with the corrected time is not rejected for its date again
        assert!(!clock.refused(&dated(400), clock.corrected(SystemTime::now())));
        assert!(clock.refused(&dated(0), clock.corrected(SystemTime::now())));
        assert_corrects_by(&clock, 0);
    }

    #[test]
    fn clocks_of_removed_endpoints_are_dropped() {
        let mut clocks = ClockSkews::default();
        let kept = clocks.get(&"kept.example:443", true);
        drop(clocks.get(&"gone.example:443", true));
        clocks.forget_unused();
        assert_eq!(clocks.0.len(), 1);
        assert!(Arc::ptr_eq(&kept, &clocks.get(&"kept.example:443", true)));
    }

    #[test]
    fn dates_are_still_read_after_the_clock_is_set_back() {
        let clock = ClockSkew::new("a".into(), true);
        clock.observe(&dated(10), SystemTime::now() + Duration::from_secs(10_000));
        clock.observe(&dated(90), SystemTime::now());
        assert!(clock.offset().unwrap() > 60.0, "of two samples the greater is the median");
    }
}
