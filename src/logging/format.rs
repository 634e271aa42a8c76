//! What a line of the log looks like: for people, or one JSON object for machines.
//!
//! `env_logger` calls these with a buffer that each thread uses again and again; nothing is allocated for a line.

use std::{
    fmt::Display,
    io::{self, Write},
};

use env_logger::fmt::Formatter;
use log::{
    Record,
    kv::{self, Key, Source, Value, VisitSource, VisitValue},
};
use serde::Serializer as _;

/// Members of an access line that make up its message; as text they are not said twice.
const IN_THE_MESSAGE: [&str; 3] = ["method", "path", "status"];

/// Writes the pairs of a line for people: ` key=value` each.
pub(super) fn key_values(line: &mut Formatter, pairs: &dyn Source) -> io::Result<()> {
    pairs.visit(&mut Text(line)).map_err(io::Error::other)
}

/// Writes a line for machines.
pub(super) fn json(line: &mut Formatter, record: &Record<'_>) -> io::Result<()> {
    let time = line.timestamp_millis();
    object(line, &time, record)
}

fn object(line: &mut impl Write, time: &impl Display, record: &Record<'_>) -> io::Result<()> {
    write!(line, "{{\"timestamp\":\"{time}\",\"level\":\"")?;
    let level = record.level().as_str();
    level.bytes().try_for_each(|letter| line.write_all(&[letter.to_ascii_lowercase()]))?;
    line.write_all(b"\",\"target\":")?;
    string(line, record.target())?;
    line.write_all(b",\"message\":")?;
    displayed(line, record.args())?;
    record.key_values().visit(&mut Json(line)).map_err(io::Error::other)?;
    line.write_all(b"}\n")
}

struct Text<'a>(&'a mut Formatter);

struct Json<'a, W>(&'a mut W);

impl<'kvs> VisitSource<'kvs> for Text<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
        if IN_THE_MESSAGE.contains(&key.as_str()) {
            return Ok(());
        }
        write!(self.0, " {key}=")?;
        value.visit(self)
    }
}

impl VisitValue<'_> for Text<'_> {
    fn visit_any(&mut self, value: Value<'_>) -> Result<(), kv::Error> {
        Ok(write!(self.0, "{value}")?)
    }

    fn visit_f64(&mut self, value: f64) -> Result<(), kv::Error> {
        Ok(thousandths(self.0, value)?)
    }
}

impl<'kvs, W: Write> VisitSource<'kvs> for Json<'_, W> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
        self.0.write_all(b",")?;
        string(self.0, key.as_str())?;
        self.0.write_all(b":")?;
        value.visit(self)
    }
}

impl<W: Write> VisitValue<'_> for Json<'_, W> {
    fn visit_any(&mut self, value: Value<'_>) -> Result<(), kv::Error> {
        Ok(displayed(self.0, &value)?)
    }

    fn visit_null(&mut self) -> Result<(), kv::Error> {
        Ok(self.0.write_all(b"null")?)
    }

    fn visit_u64(&mut self, value: u64) -> Result<(), kv::Error> {
        Ok(write!(self.0, "{value}")?)
    }

    fn visit_i64(&mut self, value: i64) -> Result<(), kv::Error> {
        Ok(write!(self.0, "{value}")?)
    }

    fn visit_f64(&mut self, value: f64) -> Result<(), kv::Error> {
        // JSON knows neither infinity nor what is no number
        if value.is_finite() { Ok(thousandths(self.0, value)?) } else { self.visit_null() }
    }

    fn visit_bool(&mut self, value: bool) -> Result<(), kv::Error> {
        Ok(write!(self.0, "{value}")?)
    }

    fn visit_str(&mut self, value: &str) -> Result<(), kv::Error> {
        Ok(string(self.0, value)?)
    }
}

/// A number with three digits behind the point. As whole numbers that takes a fraction of what exact decimals of a float
/// take, and each access line has two of them.
fn thousandths(line: &mut impl Write, value: f64) -> io::Result<()> {
    const LARGEST: f64 = 1e12;
    if !(0.0..LARGEST).contains(&value) {
        return write!(line, "{value:.3}");
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is in range")]
    let thousandths = (value * 1000.0).round() as u64;
    write!(line, "{}.{:03}", thousandths / 1000, thousandths % 1000)
}

fn string(line: &mut impl Write, text: &str) -> io::Result<()> {
    Ok(serde_json::Serializer::new(line).serialize_str(text)?)
}

fn displayed(line: &mut impl Write, value: &impl Display) -> io::Result<()> {
    Ok(serde_json::Serializer::new(line).collect_str(value)?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(message: &str, pairs: &[(&str, Value<'_>)]) -> serde_json::Value {
        let mut line = Vec::new();
        let args = format_args!("{message}");
        let record =
            Record::builder().args(args).level(log::Level::Warn).target("t").key_values(&pairs).build();
        object(&mut line, &"now", &record).unwrap();
        let text = String::from_utf8(line).unwrap();
        assert_eq!(text.find('\n'), Some(text.len() - 1), "{text}");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    #[test]
    fn numbers_have_three_digits_behind_the_point() {
        for (value, expected) in [
            (0.0, "0.000"),
            (0.0004, "0.000"),
            (0.0006, "0.001"),
            (1.5, "1.500"),
            (999.9996, "1000.000"),
            (12345.678, "12345.678"),
            (-1.5, "-1.500"),
            (1e15, "1000000000000000.000"),
        ] {
            let mut line = Vec::new();
            thousandths(&mut line, value).unwrap();
            assert_eq!(String::from_utf8(line).unwrap(), expected);
        }
    }

    #[test]
    fn numbers_and_truths_stay_what_they_are() {
        let pairs = [
            ("whole", Value::from(u64::MAX)),
            ("negative", (-1_i64).into()),
            ("part", 1.23456.into()),
            ("none", f64::NAN.into()),
            ("truth", true.into()),
            ("shown", Value::from_display(&"a\"b")),
        ];
        let expected = serde_json::json!({
            "timestamp": "now", "level": "warn", "target": "t", "message": "m", "whole": u64::MAX, "negative": -1,
            "part": 1.235, "none": null, "truth": true, "shown": "a\"b",
        });
        assert_eq!(read("m", &pairs), expected);
    }

    proptest! {
        #[test]
        fn any_text_is_read_as_it_was_said(message in any::<String>(), value in any::<String>()) {
            let line = read(&message, &[("key", value.as_str().into()), ("shown", Value::from_display(&value))]);
            prop_assert_eq!(&line["message"], &message);
            prop_assert_eq!((&line["key"], &line["shown"]), (&value.clone().into(), &value.into()));
        }
    }
}
