//! Durations, sizes and shares as people write them.
//!
//! A duration is an integer of milliseconds, as in APISIX and Kong, or a text with its unit (`30s`,
//! `1m 30s`); a size is an integer of bytes or a text with its unit (`10MiB`, `64KB`). Parsing is the
//! `humantime` and `bytesize` crates'.

use std::{fmt, time::Duration};

use bytesize::ByteSize;
use serde::{
    Deserialize, Deserializer,
    de::{self, Visitor},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrittenDuration(pub Duration);

/// A size in bytes as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrittenSize(pub u64);

/// A part of a whole as written: 1 is all of it. Whether it is between 0 and 1 is looked at later.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WrittenShare(pub f64);

impl<'de> Deserialize<'de> for WrittenDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let parse = |text: &str| match text.parse() {
            Ok(milliseconds) => Some(Duration::from_millis(milliseconds)),
            Err(_) => humantime::parse_duration(text).ok(),
        };
        let whole = Duration::from_millis;
        let quantity =
            Quantity { expected: "a duration: whole milliseconds, or `30s`, `500ms`, `1m`", parse, whole };
        deserializer.deserialize_any(quantity).map(Self)
    }
}

impl<'de> Deserialize<'de> for WrittenSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let parse = |text: &str| text.parse::<ByteSize>().ok().map(|size| size.as_u64());
        let whole = |bytes| bytes;
        let quantity = Quantity { expected: "a size: whole bytes, or `10MiB`, `64KiB`", parse, whole };
        deserializer.deserialize_any(quantity).map(Self)
    }
}

impl<'de> Deserialize<'de> for WrittenShare {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Share).map(Self)
    }
}

/// Reads any number, also from where everything is text.
struct Share;

impl Visitor<'_> for Share {
    type Value = f64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number from 0 to 1")
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<f64, E> {
        // what does not fit is out of range in any case
        Ok(f64::from(i32::try_from(value).unwrap_or(if value < 0 { i32::MIN } else { i32::MAX })))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<f64, E> {
        Ok(value)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<f64, E> {
        text.parse().map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

/// Reads a non-negative integer or a text with a unit.
struct Quantity<T> {
    expected: &'static str,
    parse: fn(&str) -> Option<T>,
    whole: fn(u64) -> T,
}

impl<T> Visitor<'_> for Quantity<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<T, E> {
        match u64::try_from(value) {
            Ok(value) => Ok((self.whole)(value)),
            Err(_) => Err(E::invalid_value(de::Unexpected::Signed(value), &self)),
        }
    }

    /// Kong's numbers have no type of their own for whole ones: `60000.0` is 60000.
    fn visit_f64<E: de::Error>(self, value: f64) -> Result<T, E> {
        match whole(value) {
            Some(value) => self.visit_i64(value),
            None => Err(E::invalid_value(de::Unexpected::Float(value), &self)),
        }
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.parse)(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

/// A number without a fraction that is written with a point.
pub fn whole(number: f64) -> Option<i64> {
    /// Up to here every whole number has a spelling of its own.
    const MOST: f64 = 9_007_199_254_740_992.0;
    let is_whole = number.fract() == 0.0 && number.abs() <= MOST;
    #[expect(clippy::cast_possible_truncation, reason = "it is whole and small")]
    is_whole.then_some(number as i64)
}

/// A duration the way it would be written in the settings.
pub fn duration_text(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

/// A size the way it would be written in the settings.
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
        assert!(text::<WrittenSize>("10 bananas").unwrap_err().contains("a size"));
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
        assert_eq!(number(i64::MIN), Ok(WrittenShare(f64::from(i32::MIN))));
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
