//! Times from outside (expiries, the machine's clock), clamped to the years that can be formatted.
//!
//! A zero time of Go is in the year 1, an expiry "for ever" in the year 9999 or, by its offset, after it.
//! `SystemTime` holds both, and the crates that format dates panic on them. All such times are parsed,
//! clamped, added to and formatted here, or clamped here for another format.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_smithy_types::{DateTime, date_time::Format};
use rustls::time_provider::TimeProvider;
use rustls_pki_types::UnixTime;

/// The end of the year 9999: RFC 3339, AWS and the Common Log Format have four digits for the year.
const LATEST: Duration = Duration::new(253_402_300_799, 999_999_999);

/// The nearest time in the years from 1970 to 9999.
pub fn clamped(time: SystemTime) -> SystemTime {
    time.clamp(UNIX_EPOCH, UNIX_EPOCH + LATEST)
}

/// Parses a time of RFC 3339 with any offset; the result is clamped.
pub fn parse(text: &str) -> Option<SystemTime> {
    let time = DateTime::from_str(text, Format::DateTimeWithOffset).ok()?;
    // a time that `SystemTime` cannot hold counts as the latest
    Some(SystemTime::try_from(time).map_or(UNIX_EPOCH + LATEST, clamped))
}

/// `time + by`, or the latest time on overflow. The machine's clock may be before 1970.
pub fn later(time: SystemTime, by: Duration) -> SystemTime {
    time.checked_add(by).unwrap_or(UNIX_EPOCH + LATEST)
}

/// The machine's clock for TLS. The one of `rustls` panics before 1970; with this one a certificate is not
/// yet valid.
#[derive(Debug)]
pub struct TlsClock;

impl TimeProvider for TlsClock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(unix_time(SystemTime::now()))
    }
}

fn unix_time(time: SystemTime) -> UnixTime {
    UnixTime::since_unix_epoch(clamped(time).duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// Formats a clamped time by RFC 3339 in whole seconds.
#[derive(Debug, Clone, Copy)]
pub struct Rfc3339(pub SystemTime);

impl Rfc3339 {
    pub fn of_seconds(since_1970: u64) -> Self {
        Self(UNIX_EPOCH + Duration::from_secs(since_1970).min(LATEST))
    }
}

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_rfc3339_seconds(clamped(self.0)).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(text: &str) -> String {
        Rfc3339(parse(text).unwrap()).to_string()
    }

    #[test]
    fn x15_a_clock_before_1970_is_1970_for_tls() {
        let early = UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(unix_time(early), UnixTime::since_unix_epoch(Duration::ZERO));
        let today = Duration::from_secs(1_900_000_000);
        assert_eq!(unix_time(UNIX_EPOCH + today), UnixTime::since_unix_epoch(today));
    }

    #[test]
    fn x3_x13_times_out_of_range_are_clamped() {
        assert_eq!(written("0001-01-01T00:00:00Z"), "1970-01-01T00:00:00Z");
        assert_eq!(written("9999-12-31T23:59:59-10:00"), "9999-12-31T23:59:59Z");
        assert_eq!(written("2030-01-01T02:00:00+02:00"), "2030-01-01T00:00:00Z");
        assert_eq!(parse("hush"), None);
        let early = UNIX_EPOCH - Duration::from_secs(1 << 40);
        assert_eq!(later(early, Duration::from_secs(1 << 40)), UNIX_EPOCH);
        assert_eq!(later(early, Duration::MAX), UNIX_EPOCH + LATEST);
    }

    proptest! {
        #[test]
        fn no_time_panics(seconds: i64, by: u64, text in "[0-9]{1,5}-[0-9]{2}-[0-9]{2}T[0-9:]{8}(Z|[+-][0-9:]\
            {5})") {
            let apart = Duration::from_secs(seconds.unsigned_abs());
            let shift = if seconds < 0 { SystemTime::checked_sub } else { SystemTime::checked_add };
            let time = shift(&UNIX_EPOCH, apart);
            if let Some(time) = time {
                prop_assert_eq!(Rfc3339(time).to_string().len(), "1970-01-01T00:00:00Z".len());
                let _ = Rfc3339(later(time, Duration::from_secs(by))).to_string();
            }
            if let Some(time) = parse(&text) {
                prop_assert_eq!(time, clamped(time));
            }
        }
    }
}
