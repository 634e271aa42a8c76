//! The time of a signature: `x-amz-date`, and the day of the credential scope.

use std::{cell::Cell, time::SystemTime};

use time::OffsetDateTime;

use crate::system::wall_clock::clamped;

thread_local! {
    /// The last second that was written, since 1970, and its text: a busy thread signs many requests in each.
    static SECOND: Cell<(u64, [u8; 16])> = const { Cell::new((u64::MAX, [0; 16])) };
}

/// `20261120T120000Z`; the first eight characters are the day of the credential scope.
#[derive(Debug, Clone)]
pub struct Timestamp(pub(super) [u8; 16]);

impl Timestamp {
    pub fn at(now: SystemTime) -> Self {
        let now = clamped(now);
        let since_1970 = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let (last, mut text) = SECOND.get();
        if last != since_1970 {
            text = Self::text_of(now.into());
            SECOND.set((since_1970, text));
        }
        Self(text)
    }

    #[expect(clippy::expect_used, reason = "the time is clamped to years of four digits")]
    fn text_of(time: OffsetDateTime) -> [u8; 16] {
        let mut text = *b"00000000T000000Z";
        let mut put = |position: usize, value: u8| {
            text[position] = b'0' + value / 10;
            text[position + 1] = b'0' + value % 10;
        };
        let century = u8::try_from(time.year() / 100).expect("a century of two digits");
        let year = u8::try_from(time.year() % 100).expect("a year of a century");
        for (position, value) in [
            (0, century),
            (2, year),
            (4, time.month().into()),
            (6, time.day()),
            (9, time.hour()),
            (11, time.minute()),
            (13, time.second()),
        ] {
            put(position, value);
        }
        text
    }

    #[expect(clippy::expect_used, reason = "digits, `T` and `Z` are ASCII")]
    pub fn date_time(&self) -> &str {
        str::from_utf8(&self.0).expect("a timestamp")
    }

    pub fn day(&self) -> &str {
        &self.date_time()[..8]
    }

    pub fn day_bytes(&self) -> [u8; 8] {
        let mut day = [0; 8];
        day.copy_from_slice(&self.0[..8]);
        day
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_timestamp_is_basic_iso_8601_in_utc() {
        let at = |seconds| {
            Timestamp::at(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).date_time().to_owned()
        };
        assert_eq!(at(0), "19700101T000000Z");
        assert_eq!(at(1_440_938_160), "20150830T123600Z");
        assert_eq!(at(4_102_444_799), "20991231T235959Z");
        assert_eq!(at(999_999_999_999), "99991231T235959Z");
        assert_eq!(
            Timestamp::at(SystemTime::UNIX_EPOCH - Duration::from_secs(1)).date_time(),
            "19700101T000000Z"
        );
    }
}
