//! Durations, sizes and shares in settings.
//!
//! A duration is an integer of milliseconds, as in APISIX and Kong, or a text with its unit (`30s`,
//! `1m 30s`); a size is an integer of bytes or a text with its unit (`10MiB`, `64KB`). `humantime` and
//! `bytesize` parse the texts.

use std::{fmt, time::Duration};

use bytesize::ByteSize;
use serde::{
    Deserialize, Deserializer,
    de::{self, Visitor},
};

/// The word for no limit.
pub const NONE: &str = "none";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrittenDuration(pub Duration);

/// A size in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrittenSize(pub u64);

/// A quantity, or no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrNone<T>(pub Option<T>);

impl OrNone<u64> {
    /// The bytes that a size allows.
    pub fn bytes(self) -> u64 {
        self.0.unwrap_or(u64::MAX)
    }
}

impl fmt::Display for OrNone<u64> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(bytes) => f.write_str(&size_text(bytes)),
            None => f.write_str(NONE),
        }
    }
}

/// A part of a whole, which is 1. The range is checked later.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WrittenShare(pub f64);

/// A quantity that is written as an integer or as a text with its unit.
trait Written: Sized {
    const EXPECTED: &'static str;
    const EXPECTED_OR_NONE: &'static str;

    fn of_text(text: &str) -> Option<Self>;
    fn of_whole(number: i64) -> Option<Self>;
}

impl Written for WrittenDuration {
    const EXPECTED: &'static str = "a duration: whole milliseconds, or `30s`, `500ms`, `1m`";
    const EXPECTED_OR_NONE: &'static str =
        "a duration: whole milliseconds, or `30s`, `500ms`, `1m`; or `none`";

    fn of_text(text: &str) -> Option<Self> {
        match text.parse() {
            Ok(milliseconds) => Some(Self(Duration::from_millis(milliseconds))),
            Err(_) => humantime::parse_duration(text).ok().map(Self),
        }
    }

    fn of_whole(number: i64) -> Option<Self> {
        Some(Self(Duration::from_millis(u64::try_from(number).ok()?)))
    }
}

impl Written for WrittenSize {
    const EXPECTED: &'static str = "a size: whole bytes, or `10MiB`, `64KiB`";
    const EXPECTED_OR_NONE: &'static str = "a size: whole bytes, or `10MiB`, `64KiB`; or `none`";

    fn of_text(text: &str) -> Option<Self> {
        match text.strip_suffix("bytes").or_else(|| text.strip_suffix("byte")) {
            // as `size_text` formats it
            Some(number) => number.trim_end().parse().ok().map(Self),
            None => text.parse::<ByteSize>().ok().map(|size| Self(size.as_u64())),
        }
    }

    fn of_whole(number: i64) -> Option<Self> {
        u64::try_from(number).ok().map(Self)
    }
}

impl<T: Written> Written for OrNone<T> {
    const EXPECTED: &'static str = T::EXPECTED_OR_NONE;
    const EXPECTED_OR_NONE: &'static str = T::EXPECTED_OR_NONE;

    fn of_text(text: &str) -> Option<Self> {
        if text == NONE { Some(Self(None)) } else { T::of_text(text).map(|quantity| Self(Some(quantity))) }
    }

    fn of_whole(number: i64) -> Option<Self> {
        T::of_whole(number).map(|quantity| Self(Some(quantity)))
    }
}

/// Reads a quantity by its [`Written`] forms.
macro_rules! read_as_written {
    ($($Type:ty),*) => { $(
        impl<'de> Deserialize<'de> for $Type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(Quantity {
                    expected: Self::EXPECTED,
                    of_text: Self::of_text,
                    of_whole: Self::of_whole,
                    of_fraction: |_| None,
                })
            }
        }
    )* };
}

read_as_written! { WrittenDuration, WrittenSize, OrNone<WrittenDuration>, OrNone<WrittenSize> }

impl<'de> Deserialize<'de> for WrittenShare {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Quantity {
            expected: "a number from 0 to 1",
            of_text: |text| text.parse().ok().map(Self),
            #[expect(clippy::cast_precision_loss, reason = "a large number is out of range in any case")]
            of_whole: |number| Some(Self(number as f64)),
            of_fraction: |number| Some(Self(number)),
        })
    }
}

/// Reads a number, or a text with or without a unit; `None` is an invalid value.
struct Quantity<T> {
    expected: &'static str,
    of_text: fn(&str) -> Option<T>,
    of_whole: fn(i64) -> Option<T>,
    of_fraction: fn(f64) -> Option<T>,
}

impl<T> Visitor<'_> for Quantity<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        (self.of_whole)(number).ok_or_else(|| E::invalid_value(de::Unexpected::Signed(number), &self))
    }

    /// Lua, and so Kong, has one type for all numbers: `60000.0` is 60000.
    fn visit_f64<E: de::Error>(self, number: f64) -> Result<T, E> {
        whole(number)
            .map_or_else(|| (self.of_fraction)(number), self.of_whole)
            .ok_or_else(|| E::invalid_value(de::Unexpected::Float(number), &self))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.of_text)(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

/// The integer of a number without a fraction.
pub fn whole(number: f64) -> Option<i64> {
    /// The largest number below which an `f64` holds every integer.
    const MAX_EXACT: f64 = 9_007_199_254_740_992.0;
    let is_whole = number.fract() == 0.0 && number.abs() <= MAX_EXACT;
    #[expect(clippy::cast_possible_truncation, reason = "an integer below 2^53")]
    is_whole.then_some(number as i64)
}

/// A duration that is at least 1 ms and at most a day, for an option of the command line.
///
/// # Errors
/// The text is something else.
pub fn timeout(text: &str) -> Result<Duration, String> {
    let limits = Duration::from_millis(1)..=Duration::from_hours(24);
    let duration = WrittenDuration::of_text(text).map(|WrittenDuration(duration)| duration);
    duration
        .filter(|duration| limits.contains(duration))
        .ok_or_else(|| format!("expected {}, from 1ms to 1day", WrittenDuration::EXPECTED))
}

/// A duration in the form that the settings take.
pub fn duration_text(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

/// A size in the form that the settings take.
pub fn size_text(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let unit = UNITS.iter().find(|(size, _)| bytes != 0 && bytes.is_multiple_of(*size));
    match unit {
        Some((size, name)) => format!("{}{name}", bytes / size),
        None if bytes == 1 => "1 byte".to_owned(),
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::de::{
        IntoDeserializer,
        value::{Error, I64Deserializer, StrDeserializer},
    };

    use super::*;

    fn text<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, String> {
        let deserializer: StrDeserializer<'_, Error> = text.into_deserializer();
        T::deserialize(deserializer).map_err(|error| error.to_string())
    }

    fn number<T: for<'a> Deserialize<'a>>(number: i64) -> Result<T, String> {
        let deserializer: I64Deserializer<Error> = number.into_deserializer();
        T::deserialize(deserializer).map_err(|error| error.to_string())
    }

    #[test]
    fn an_integer_is_milliseconds_and_a_text_carries_its_unit() {
        assert_eq!(number(3000), Ok(WrittenDuration(Duration::from_secs(3))));
        assert_eq!(text("3000"), Ok(WrittenDuration(Duration::from_secs(3))));
        assert_eq!(text("30s"), Ok(WrittenDuration(Duration::from_secs(30))));
        assert_eq!(text("1m 30s"), Ok(WrittenDuration(Duration::from_secs(90))));
        assert!(number::<WrittenDuration>(-1).is_err());
        assert!(text::<WrittenDuration>("soon").unwrap_err().contains("a duration"));
    }

    #[test]
    fn a_size_is_bytes_or_carries_its_unit() {
        assert_eq!(number(10), Ok(WrittenSize(10)));
        assert_eq!(text("10MiB"), Ok(WrittenSize(10 << 20)));
        assert_eq!(text("64 KB"), Ok(WrittenSize(64_000)));
        assert_eq!(text("64bytes"), Ok(WrittenSize(64)));
        for wrong in ["10 bananas", "10k bytes", "bytes", "1.5 bytes"] {
            assert!(text::<WrittenSize>(wrong).unwrap_err().contains("a size"), "{wrong}");
        }
    }

    #[test]
    fn sizes_and_durations_are_shown_as_they_would_be_written() {
        assert_eq!(size_text(10 << 20), "10MiB");
        assert_eq!(size_text(1000), "1000 bytes");
        assert_eq!(size_text(1), "1 byte");
        assert_eq!(duration_text(Duration::from_millis(1500)), "1s 500ms");
    }

    #[test]
    fn a_share_is_a_number_in_any_spelling() {
        assert_eq!(number(1), Ok(WrittenShare(1.0)));
        assert_eq!(number(-(1 << 40)), Ok(WrittenShare(-1_099_511_627_776.0)));
        assert_eq!(text("0.25"), Ok(WrittenShare(0.25)));
        assert!(text::<WrittenShare>("half").unwrap_err().contains("a number from 0 to 1"));
    }

    proptest! {
        #[test]
        fn a_duration_is_read_as_it_is_shown(milliseconds in 0..86_400_000_u64) {
            let duration = Duration::from_millis(milliseconds);
            prop_assert_eq!(text(&duration_text(duration)), Ok(WrittenDuration(duration)));
            prop_assert_eq!(text(&milliseconds.to_string()), Ok(WrittenDuration(duration)));
        }

        #[test]
        fn a_size_is_read_as_it_is_shown(bytes in any::<u64>(), unit in 0..4_u32) {
            let bytes = bytes >> (10 * unit) << (10 * unit);
            prop_assert_eq!(text(&size_text(bytes)), Ok(WrittenSize(bytes)));
        }

        #[test]
        fn a_size_is_read_as_it_is_written(number in 0..1_u64 << 20, unit in 0..5_usize) {
            let (name, bytes) = [("", 1), ("B", 1), ("KiB", 1 << 10), ("KB", 1000), ("MiB", 1 << 20)][unit];
            prop_assert_eq!(text(&format!("{number}{name}")), Ok(WrittenSize(number * bytes)));
        }

        #[test]
        fn no_text_and_no_number_make_them_panic(written in any::<String>(), whole in any::<i64>()) {
            let _ = (text::<WrittenDuration>(&written), text::<WrittenSize>(&written));
            prop_assert_eq!(number::<WrittenDuration>(whole).is_ok(), whole >= 0);
            prop_assert_eq!(number::<WrittenSize>(whole).is_ok(), whole >= 0);
        }

        #[test]
        fn no_quantity_of_any_unit_makes_them_panic(written in "[0-9]{0,25}(\\.[0-9]{0,3})? ?[a-zA-Z]{0,4}") {
            let _ = (text::<WrittenDuration>(&written), text::<WrittenSize>(&written));
        }
    }
}
