//! How far AWS's clock and ours are apart: learned from the `Date` of its answers, and made up for in signatures.
//!
//! AWS refuses a signature that is dated more than five minutes off. A machine's clock that goes wrong, as on a laptop
//! that has slept, would end all signed calls; the SDKs of AWS learn the difference from a refusal, and so does this.
//! `state/signing.rs` has one [`ClockSkew`] for the routes of an endpoint, asks it for the time before it signs and
//! shows it each answer. `proxy/call.rs` makes a call again that was refused for its date.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use actix_http::header::{self, HeaderMap, HttpDate};

/// How often an answer's date is read, in seconds of our clock: any other answer costs one comparison.
const INTERVAL: u64 = 10;
/// Dates that are remembered; the one in the middle counts, so that a single wrong one does not.
const REMEMBERED: usize = 5;
/// Dates that it takes to be sure, where AWS has not refused anything.
const ENOUGH: usize = 3;
/// Milliseconds from where on the difference is made up for and warned about. Below it, AWS does not mind, and ours
/// may be the better clock.
const TOO_FAR: i64 = 60_000;
/// Milliseconds from where on a refused signature is the clock's fault. AWS's limit is five minutes, and its `Date`
/// has no more than whole seconds.
const REFUSED: i64 = 240_000;
/// No date was read yet.
const UNKNOWN: i64 = i64::MIN;
/// `Date` has no fractions: on average half a second is missing.
const HALF_A_SECOND: i64 = 500;

/// How far the clock of one endpoint is ahead of ours. All that is asked per request is atomic.
#[derive(Debug)]
pub struct ClockSkew {
    endpoint: String,
    is_trusted: AtomicBool,
    /// When the next date is read, in seconds since 1970 by our clock.
    next_look: AtomicU64,
    /// Milliseconds, or `UNKNOWN`.
    offset: AtomicI64,
    /// Milliseconds that signatures are dated ahead of our clock.
    correction: AtomicI64,
    /// Milliseconds, the latest last. Locked once in ten seconds.
    seen: Mutex<Vec<i64>>,
}

/// The clocks of all endpoints.
#[derive(Debug, Default)]
pub struct ClockSkews(HashMap<(String, bool), Arc<ClockSkew>>);

impl ClockSkews {
    /// The clock of this endpoint. What it says is believed where its answers come over verified TLS.
    pub fn get(&mut self, endpoint: &impl ToString, is_verified: bool) -> Arc<ClockSkew> {
        let name = endpoint.to_string();
        let clock = self
            .0
            .entry((name.clone(), is_verified))
            .or_insert_with(|| Arc::new(ClockSkew::new(name, is_verified)));
        Arc::clone(clock)
    }

    /// Lets go of those that no route has any more.
    pub fn forget_unused(&mut self) {
        self.0.retain(|_, clock| Arc::strong_count(clock) > 1);
    }
}

impl ClockSkew {
    /// One of which nothing is known.
    pub fn new(endpoint: String, is_trusted: bool) -> Self {
        Self {
            endpoint,
            is_trusted: AtomicBool::new(is_trusted),
            next_look: AtomicU64::new(0),
            offset: AtomicI64::new(UNKNOWN),
            correction: AtomicI64::new(0),
            seen: Mutex::default(),
        }
    }

    /// Believes what the endpoint says from now on, for one that is reached without TLS by a way that cannot be
    /// tampered with, as a stand-in on loopback is.
    pub fn trust(&self) {
        self.is_trusted.store(true, Ordering::Relaxed);
    }

    /// How many seconds AWS's clock is ahead of ours, below zero where it is behind; `None` where nothing is known.
    pub fn offset(&self) -> Option<f64> {
        match self.offset.load(Ordering::Relaxed) {
            UNKNOWN => None,
            // a clock that is off by more than 280,000 years loses milliseconds
            #[expect(clippy::cast_precision_loss, reason = "milliseconds of any clock are exact")]
            milliseconds => Some(milliseconds as f64 / 1000.0),
        }
    }

    /// The time to sign by.
    pub fn corrected(&self, now: SystemTime) -> SystemTime {
        match self.correction.load(Ordering::Relaxed) {
            0 => now,
            ahead => shifted(now, ahead),
        }
    }

    /// Reads the date of an answer to a request that was signed at `signed_at` by our clock, once in ten seconds.
    pub fn observe(&self, headers: &HeaderMap, signed_at: SystemTime) {
        let second = signed_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let next = self.next_look.load(Ordering::Relaxed);
        // a look that is further away than that was planned before our clock was set back
        let is_early = second < next && next - second <= INTERVAL;
        if is_early || !self.is_trusted.load(Ordering::Relaxed) {
            return;
        }
        self.next_look.store(second + INTERVAL, Ordering::Relaxed);
        if let Some(ahead) = ahead_of(SystemTime::now(), headers) {
            self.learn(ahead);
        }
    }

    /// Reads the date of an answer that refuses a signature of the time `dated`. Whether the two are so far apart that
    /// this was the reason; then AWS's date holds at once.
    pub fn refused(&self, headers: &HeaderMap, dated: SystemTime) -> bool {
        if !self.is_trusted.load(Ordering::Relaxed) {
            return false;
        }
        let Some(apart) = ahead_of(dated, headers).filter(|apart| apart.abs() >= REFUSED) else {
            return false;
        };
        let ahead = apart.saturating_sub(milliseconds_between(dated, SystemTime::now()));
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = vec![ahead; ENOUGH];
        self.set(ahead, true);
        true
    }

    fn learn(&self, ahead: i64) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() == REMEMBERED {
            seen.remove(0);
        }
        seen.push(ahead);
        let mut sorted = seen.clone();
        sorted.sort_unstable();
        self.set(sorted[sorted.len() / 2], seen.len() >= ENOUGH);
    }

    /// Takes over a difference, and a word to the operator where that changes what is done about it.
    fn set(&self, ahead: i64, is_sure: bool) {
        self.offset.store(ahead, Ordering::Relaxed);
        if !is_sure {
            return;
        }
        let correction = if ahead.abs() >= TOO_FAR { ahead } else { 0 };
        let before = self.correction.swap(correction, Ordering::Relaxed);
        let endpoint = &self.endpoint;
        if correction == 0 && before != 0 {
            log::info!("clock skew: this machine's clock agrees with that of {endpoint} again");
        } else if correction != 0 && (before == 0 || before.abs_diff(correction) >= TOO_FAR.unsigned_abs()) {
            log::warn!(
                "clock skew: this machine's clock is {} that of {endpoint}; signatures use the corrected \
                 time, set this machine's clock right",
                told(-correction)
            );
        }
    }
}

/// `3m 20s behind`, of a difference in milliseconds.
pub fn told(ahead: i64) -> String {
    let time = humantime::format_duration(Duration::from_secs((ahead.unsigned_abs() + 500) / 1000));
    format!("{time} {}", if ahead < 0 { "behind" } else { "ahead of" })
}

/// Milliseconds that an answer's date is ahead of this time. What a cache has kept says nothing of now
/// (RFC 9111, 5.1).
pub fn ahead_of(time: SystemTime, headers: &HeaderMap) -> Option<i64> {
    if headers.contains_key(header::AGE) {
        return None;
    }
    let date: HttpDate = headers.get(header::DATE)?.to_str().ok()?.parse().ok()?;
    Some(milliseconds_between(time, date.into()).saturating_add(HALF_A_SECOND))
}

/// Milliseconds from one time to another.
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

    /// Shows a clock answers that are ahead by so many seconds, ten seconds apart.
    fn shown(is_trusted: bool, ahead: &[i64]) -> ClockSkew {
        let clock = ClockSkew::new("a.example:443".into(), is_trusted);
        for (index, ahead) in ahead.iter().enumerate() {
            clock.observe(
                &dated(*ahead),
                SystemTime::UNIX_EPOCH + Duration::from_secs(index as u64 * INTERVAL),
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
    fn the_middle_of_the_last_dates_counts() {
        let offset = |ahead: &[i64]| shown(true, ahead).offset().unwrap().round();
        assert!((offset(&[30]) - 30.0).abs() <= 1.0);
        assert!((offset(&[30, 31, 9000, 30, 31]) - 30.0).abs() <= 1.0);
        assert!(offset(&[300, 300, 300, 0, 0, 0]).abs() <= 1.0);
        assert_eq!(shown(true, &[]).offset(), None);
    }

    #[test]
    fn a_difference_is_made_up_for_once_it_is_sure_and_more_than_a_minute() {
        assert_corrects_by(&shown(true, &[300, 300]), 0);
        assert_corrects_by(&shown(true, &[300, 300, 300]), 300);
        assert_corrects_by(&shown(true, &[-300, -300, -300]), -300);
        assert_corrects_by(&shown(true, &[50, 50, 50]), 0);
        assert_corrects_by(&shown(true, &[300, 300, 300, 0, 0, 0]), 0);
    }

    #[test]
    fn what_comes_over_no_verified_tls_out_of_a_cache_or_too_soon_is_not_believed() {
        let clock = shown(false, &[300, 300, 300]);
        assert!(!clock.refused(&dated(300), SystemTime::now()));
        assert_eq!(clock.offset(), None);
        let clock = ClockSkew::new("a".into(), true);
        let mut cached = dated(300);
        cached.insert(header::AGE, HeaderValue::from_static("300"));
        clock.observe(&cached, SystemTime::now());
        assert_eq!(clock.offset(), None);
        let now = SystemTime::now() + Duration::from_secs(INTERVAL);
        clock.observe(&dated(10), now);
        clock.observe(&dated(5000), now);
        assert!(clock.offset().unwrap() < 20.0);
    }

    #[test]
    fn a_refusal_is_believed_at_once_if_its_date_says_that_the_clock_was_the_reason() {
        let clock = shown(true, &[0, 0, 0, 0, 0]);
        assert!(!clock.refused(&dated(200), SystemTime::now()));
        assert!(!clock.refused(&HeaderMap::new(), SystemTime::now()));
        assert_corrects_by(&clock, 0);
        assert!(clock.refused(&dated(400), SystemTime::now()));
        assert_corrects_by(&clock, 400);
        // and what was signed by the new time cannot be refused for it again
        assert!(!clock.refused(&dated(400), clock.corrected(SystemTime::now())));
        assert!(clock.refused(&dated(0), clock.corrected(SystemTime::now())));
        assert_corrects_by(&clock, 0);
    }

    #[test]
    fn the_clocks_of_endpoints_that_are_gone_are_let_go() {
        let mut clocks = ClockSkews::default();
        let kept = clocks.get(&"kept.example:443", true);
        drop(clocks.get(&"gone.example:443", true));
        clocks.forget_unused();
        assert_eq!(clocks.0.len(), 1);
        assert!(Arc::ptr_eq(&kept, &clocks.get(&"kept.example:443", true)));
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_end_the_looking() {
        let clock = ClockSkew::new("a".into(), true);
        clock.observe(&dated(10), SystemTime::now() + Duration::from_secs(10_000));
        clock.observe(&dated(90), SystemTime::now());
        assert!(clock.offset().unwrap() > 60.0, "the later of two is the middle");
    }
}
