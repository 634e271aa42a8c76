//! The format of a log line: text for people, or one JSON object for machines.
//!
//! `env_logger` passes a buffer that each thread reuses, so a line allocates nothing.

use std::{
    cell::Cell,
    fmt::Display,
    io::{self, Write},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use env_logger::fmt::Formatter;
use log::{
    Level, Record,
    kv::{self, Key, Value, VisitSource, VisitValue},
};
use serde::Serializer as _;

use crate::system::wall_clock::Rfc3339;

/// Members of an access line that are in its message already; the text format leaves them out.
const IN_THE_MESSAGE: [&str; 3] = ["method", "path", "status"];

/// Bytes of a line's buffer that a thread keeps.
const LARGEST_BUFFER: usize = 4 << 10;

thread_local! {
    /// The buffer of this thread's next line.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    /// The last formatted second since 1970, and its text.
    static SECOND: Cell<(u64, [u8; 19])> = const { Cell::new((u64::MAX, [0; 19])) };
}

/// Writes a line for people: `[2026-01-31T23:59:59Z INFO ] message key=value`.
pub(super) fn text(line: &mut Formatter, record: &Record<'_>) -> io::Result<()> {
    in_one_piece(line, |buffer| sentence(buffer, now(), record, false))
}

/// Writes a line with the level in colour, for a terminal.
pub(super) fn coloured_text(line: &mut Formatter, record: &Record<'_>) -> io::Result<()> {
    in_one_piece(line, |buffer| sentence(buffer, now(), record, true))
}

/// Hands a line to `env_logger` with one write: its [`Formatter`] borrows its buffer anew for each.
fn in_one_piece(line: &mut Formatter, write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> io::Result<()> {
    // taken out, since the `Display` of a value may log a line itself
    let mut buffer = BUFFER.take();
    let result = write(&mut buffer).and_then(|()| line.write_all(&buffer));
    buffer.clear();
    buffer.shrink_to(LARGEST_BUFFER);
    BUFFER.set(buffer);
    result
}

fn sentence(line: &mut impl Write, now: Duration, record: &Record<'_>, in_colour: bool) -> io::Result<()> {
    // "Select Graphic Rendition" of ECMA-48: red, yellow, green, blue, faint
    let (level, colour): (&[u8], &[u8]) = match record.level() {
        Level::Error => (b"ERROR", b"\x1b[31m"),
        Level::Warn => (b"WARN ", b"\x1b[33m"),
        Level::Info => (b"INFO ", b"\x1b[32m"),
        Level::Debug => (b"DEBUG", b"\x1b[34m"),
        Level::Trace => (b"TRACE", b"\x1b[2m"),
    };
    line.write_all(b"[")?;
    line.write_all(&second(now.as_secs()))?;
    line.write_all(b"Z ")?;
    if in_colour {
        line.write_all(&[colour, level, b"\x1b[0m"].concat())?;
    } else {
        line.write_all(level)?;
    }
    line.write_all(b"] ")?;
    write!(Indented(line), "{}", record.args())?;
    record.key_values().visit(&mut TextVisitor(line)).map_err(io::Error::other)?;
    line.write_all(b"\n")
}

/// Indents the text after a line break, so that quoted text never looks like a log line.
struct Indented<'a, W>(&'a mut W);

impl<W: Write> Write for Indented<'_, W> {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        for piece in text.split_inclusive(|byte| *byte == b'\n') {
            self.0.write_all(piece)?;
            if piece.ends_with(b"\n") {
                self.0.write_all(b"    ")?;
            }
        }
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Writes a line for machines.
pub(super) fn json(line: &mut Formatter, record: &Record<'_>) -> io::Result<()> {
    in_one_piece(line, |buffer| object(buffer, now(), record))
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Writes `2026-01-31T23:59:59`. The text is cached, because a busy thread logs many lines in a second.
fn second(since_1970: u64) -> [u8; 19] {
    let (last, mut text) = SECOND.get();
    if last != since_1970 {
        let whole = Rfc3339::of_seconds(since_1970).to_string();
        if let Some(start) = whole.as_bytes().first_chunk() {
            text = *start;
        }
        SECOND.set((since_1970, text));
    }
    text
}

fn object(line: &mut impl Write, now: Duration, record: &Record<'_>) -> io::Result<()> {
    line.write_all(b"{\"timestamp\":\"")?;
    line.write_all(&second(now.as_secs()))?;
    write!(line, ".{:03}Z\",\"level\":\"", now.subsec_millis())?;
    let level = record.level().as_str();
    level.bytes().try_for_each(|letter| line.write_all(&[letter.to_ascii_lowercase()]))?;
    line.write_all(b"\",\"target\":")?;
    string(line, record.target())?;
    line.write_all(b",\"message\":")?;
    displayed(line, record.args())?;
    record.key_values().visit(&mut JsonVisitor(line)).map_err(io::Error::other)?;
    line.write_all(b"}\n")
}

struct TextVisitor<'a, W>(&'a mut W);

struct JsonVisitor<'a, W>(&'a mut W);

impl<'kvs, W: Write> VisitSource<'kvs> for TextVisitor<'_, W> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
        if IN_THE_MESSAGE.contains(&key.as_str()) {
            return Ok(());
        }
        self.0.write_all(b" ")?;
        self.0.write_all(key.as_str().as_bytes())?;
        self.0.write_all(b"=")?;
        value.visit(self)
    }
}

impl<W: Write> VisitValue<'_> for TextVisitor<'_, W> {
    fn visit_any(&mut self, value: Value<'_>) -> Result<(), kv::Error> {
        Ok(write!(self.0, "{value}")?)
    }

    fn visit_u64(&mut self, value: u64) -> Result<(), kv::Error> {
        Ok(whole(self.0, value)?)
    }

    fn visit_str(&mut self, value: &str) -> Result<(), kv::Error> {
        Ok(self.0.write_all(value.as_bytes())?)
    }

    fn visit_f64(&mut self, value: f64) -> Result<(), kv::Error> {
        Ok(thousandths(self.0, value)?)
    }
}

impl<'kvs, W: Write> VisitSource<'kvs> for JsonVisitor<'_, W> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
        self.0.write_all(b",")?;
        string(self.0, key.as_str())?;
        self.0.write_all(b":")?;
        value.visit(self)
    }
}

impl<W: Write> VisitValue<'_> for JsonVisitor<'_, W> {
    fn visit_any(&mut self, value: Value<'_>) -> Result<(), kv::Error> {
        Ok(displayed(self.0, &value)?)
    }

    fn visit_null(&mut self) -> Result<(), kv::Error> {
        Ok(self.0.write_all(b"null")?)
    }

    fn visit_u64(&mut self, value: u64) -> Result<(), kv::Error> {
        Ok(whole(self.0, value)?)
    }

    fn visit_i64(&mut self, value: i64) -> Result<(), kv::Error> {
        Ok(write!(self.0, "{value}")?)
    }

    fn visit_f64(&mut self, value: f64) -> Result<(), kv::Error> {
        // JSON has neither infinity nor NaN
        if value.is_finite() { Ok(thousandths(self.0, value)?) } else { self.visit_null() }
    }

    fn visit_bool(&mut self, value: bool) -> Result<(), kv::Error> {
        Ok(write!(self.0, "{value}")?)
    }

    fn visit_str(&mut self, value: &str) -> Result<(), kv::Error> {
        Ok(string(self.0, value)?)
    }
}

/// Writes a number with three decimals. Formatting integers takes a fraction of the time of exact floats, and each
/// access line has two of them.
fn thousandths(line: &mut impl Write, value: f64) -> io::Result<()> {
    const LARGEST: f64 = 1e12;
    if !(0.0..LARGEST).contains(&value) {
        return write!(line, "{value:.3}");
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is in range")]
    let thousandths = (value * 1000.0).round() as u64;
    whole(line, thousandths / 1000)?;
    let [hundreds, tens, ones] = [100, 10, 1].map(|place| b'0' + (thousandths / place % 10) as u8);
    line.write_all(&[b'.', hundreds, tens, ones])
}

fn whole(line: &mut impl Write, number: u64) -> io::Result<()> {
    line.write_all(itoa::Buffer::new().format(number).as_bytes())
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
        let record = Record::builder().args(args).level(Level::Warn).target("t").key_values(&pairs).build();
        object(&mut line, Duration::from_millis(1_769_903_999_007), &record).unwrap();
        let text = String::from_utf8(line).unwrap();
        assert_eq!(text.find('\n'), Some(text.len() - 1), "{text}");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    #[test]
    fn numbers_have_three_decimals() {
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
    fn a_text_line_begins_with_time_and_level_and_ends_with_the_key_values() {
        let said = |level, seconds| {
            let pairs = [("path", Value::from("/in/the/message")), ("ms", 1.5.into()), ("in", 7_u64.into())];
            let mut line = Vec::new();
            let args = format_args!("a\"b");
            let record = Record::builder().args(args).level(level).key_values(&pairs).build();
            sentence(&mut line, Duration::from_secs(seconds), &record, false).unwrap();
            String::from_utf8(line).unwrap()
        };
        for (level, seconds, start) in [
            (Level::Info, 0, "[1970-01-01T00:00:00Z INFO ]"),
            (Level::Error, 1_769_903_999, "[2026-01-31T23:59:59Z ERROR]"),
            (Level::Warn, 1_769_904_000, "[2026-02-01T00:00:00Z WARN ]"),
            (Level::Debug, u64::MAX - 1, "[9999-12-31T23:59:59Z DEBUG]"),
        ] {
            assert_eq!(said(level, seconds), format!("{start} a\"b ms=1.500 in=7\n"));
        }
    }

    #[test]
    fn quoted_text_cannot_begin_a_line() {
        let mut line = Vec::new();
        let args = format_args!("one\n{}\nend", "two\n[three");
        sentence(&mut line, Duration::ZERO, &Record::builder().args(args).build(), false).unwrap();
        let text = String::from_utf8(line).unwrap();
        assert_eq!(text, "[1970-01-01T00:00:00Z INFO ] one\n    two\n    [three\n    end\n");
    }

    #[test]
    fn numbers_and_booleans_keep_their_json_types() {
        let pairs = [
            ("whole", Value::from(u64::MAX)),
            ("negative", (-1_i64).into()),
            ("part", 1.23456.into()),
            ("none", f64::NAN.into()),
            ("truth", true.into()),
            ("shown", Value::from_display(&"a\"b")),
        ];
        let expected = serde_json::json!({
            "timestamp": "2026-01-31T23:59:59.007Z", "level": "warn", "target": "t", "message": "m", "whole": u64::MAX, "negative": -1,
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
