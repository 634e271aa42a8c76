//! When a request came, as API Gateway tells it.

use std::{
    cell::RefCell,
    rc::Rc,
    time::{SystemTime, UNIX_EPOCH},
};

use time::{OffsetDateTime, format_description::StaticFormatDescription, macros::format_description};

use crate::system::wall_clock::clamped;

/// The Common Log Format, always in UTC (`aws.md` 3.2).
const COMMON_LOG: StaticFormatDescription =
    format_description!("[day]/[month repr:short]/[year]:[hour]:[minute]:[second] +0000");

thread_local! {
    /// The last second whose text was written: requests come many to a second, and a text takes longer than all other
    /// members of an event together.
    static LAST_TEXT: RefCell<(u64, Rc<str>)> = RefCell::new((u64::MAX, Rc::from("")));
}

/// A point in time, in both forms.
#[derive(Debug, PartialEq, Eq)]
pub struct RequestTime {
    /// `12/Mar/2020:19:03:58 +0000`.
    pub text: Rc<str>,
    /// Milliseconds since 1970.
    pub epoch: i64,
}

impl RequestTime {
    /// That of a clock's reading; one before 1970 or after 9999 is moved to that end.
    pub fn new(time: SystemTime) -> Self {
        let time = clamped(time);
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let epoch = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
        let text = LAST_TEXT.with_borrow_mut(|(second, text)| {
            if *second != since.as_secs() {
                (*second, *text) = (since.as_secs(), common_log(time).into());
            }
            text.clone()
        });
        Self { text, epoch }
    }
}

#[expect(clippy::expect_used, reason = "a date has every part that the format asks for")]
fn common_log(time: SystemTime) -> String {
    OffsetDateTime::from(time).format(COMMON_LOG).expect("a date in the common log format")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn k26_a_moment_is_told_in_the_common_log_format_and_in_milliseconds() {
        for (milliseconds, text) in [
            (0, "01/Jan/1970:00:00:00 +0000"),
            (1_583_348_638_390, "04/Mar/2020:19:03:58 +0000"),
            (1_709_208_000_001, "29/Feb/2024:12:00:00 +0000"),
            (253_402_300_799_999, "31/Dec/9999:23:59:59 +0000"),
        ] {
            let time = RequestTime::new(UNIX_EPOCH + Duration::from_millis(milliseconds));
            assert_eq!(time, RequestTime { text: text.into(), epoch: milliseconds.cast_signed() });
        }
    }

    #[test]
    fn a_clock_that_is_far_off_does_no_harm() {
        let early = RequestTime::new(UNIX_EPOCH - Duration::from_hours(1));
        assert_eq!(early, RequestTime::new(UNIX_EPOCH));
        let late = UNIX_EPOCH + Duration::from_secs(u64::from(u32::MAX) << 20);
        assert_eq!(&*RequestTime::new(late).text, "31/Dec/9999:23:59:59 +0000");
    }
}
