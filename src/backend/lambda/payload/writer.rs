//! JSON of a known shape, written member by member: the fixed text between two values is copied as it stands, and only
//! what comes from the client is searched for characters to escape.
//!
//! `gateway/rest.rs` and `gateway/http.rs` write their events with it. `serde_json` writes a name or a quotation mark
//! at a time and looks at each byte of a text by itself, which took most of an event's time. `json.rs` bounds the
//! size.

use std::{fmt::Display, io};

use base64::{display::Base64Display, engine::general_purpose::STANDARD};

use super::{event_body::EventBody, grouped::Grouped};
use crate::text::json::plain_run;

/// An event that is written with a [`Writer`].
pub trait Event {
    /// Writes the whole event. The same event gives the same bytes each time.
    ///
    /// # Errors
    /// Those of the writer beneath.
    fn write<W: io::Write>(&self, writer: &mut Writer<'_, W>) -> io::Result<()>;
}

/// JSON on its way into a buffer. Each method first writes `fixed`, the JSON between the value before and its own.
#[derive(Debug)]
pub struct Writer<'w, W>(pub &'w mut W);

impl<W: io::Write> Writer<'_, W> {
    /// JSON as it stands.
    pub fn fixed(&mut self, fixed: &str) -> io::Result<()> {
        self.0.write_all(fixed.as_bytes())
    }

    pub fn text(&mut self, fixed: &str, text: &str) -> io::Result<()> {
        self.fixed(fixed)?;
        self.quoted(text)
    }

    pub fn text_or_null(&mut self, fixed: &str, text: Option<&str>) -> io::Result<()> {
        match text {
            Some(text) => self.text(fixed, text),
            None => {
                self.fixed(fixed)?;
                self.fixed("null")
            }
        }
    }

    /// Digits, or anything else that has no character to escape and needs no quotation marks.
    pub fn plain(&mut self, fixed: &str, value: impl Display) -> io::Result<()> {
        self.fixed(fixed)?;
        write!(self.0, "{value}")
    }

    /// A body: a string, its base64, or null.
    pub fn body(&mut self, fixed: &str, body: EventBody<'_>) -> io::Result<()> {
        match body {
            EventBody::Nothing => self.text_or_null(fixed, None),
            EventBody::Text(text) => self.text(fixed, text),
            EventBody::Base64(bytes) => {
                self.fixed(fixed)?;
                write!(self.0, "\"{}\"", Base64Display::new(bytes, &STANDARD))
            }
        }
    }

    pub fn texts<T: AsRef<str>>(&mut self, fixed: &str, texts: impl Iterator<Item = T>) -> io::Result<()> {
        self.fixed(fixed)?;
        let mut separator = "[";
        for text in texts {
            self.text(separator, text.as_ref())?;
            separator = ",";
        }
        self.fixed(if separator == "[" { "[]" } else { "]" })
    }

    pub fn map<N: AsRef<str>, V: AsRef<str>>(
        &mut self,
        fixed: &str,
        members: impl Iterator<Item = (N, V)>,
    ) -> io::Result<()> {
        self.members(fixed, members, |writer, value| writer.quoted(value.as_ref()))
    }

    /// An object of each name's last value.
    pub fn last_of<'g, G: Grouped<Value<'g>: AsRef<str>>>(
        &mut self,
        fixed: &str,
        grouped: &'g G,
    ) -> io::Result<()> {
        self.members(fixed, grouped.groups(), |writer, mut values| match values.next_back() {
            Some(value) => writer.quoted(value.as_ref()),
            None => writer.fixed("null"),
        })
    }

    /// An object of each name's values in an array.
    pub fn all_of<'g, G: Grouped<Value<'g>: AsRef<str>>>(
        &mut self,
        fixed: &str,
        grouped: &'g G,
    ) -> io::Result<()> {
        self.members(fixed, grouped.groups(), |writer, values| writer.texts("", values))
    }

    /// An object of each name's values, joined by commas.
    pub fn joined_of<'g, G: Grouped<Value<'g>: AsRef<str>>>(
        &mut self,
        fixed: &str,
        grouped: &'g G,
    ) -> io::Result<()> {
        self.members(fixed, grouped.groups(), |writer, values| {
            let mut separator = "\"";
            for value in values {
                writer.fixed(separator)?;
                writer.escaped(value.as_ref())?;
                separator = ",";
            }
            writer.fixed("\"")
        })
    }

    fn members<N: AsRef<str>, V>(
        &mut self,
        fixed: &str,
        members: impl Iterator<Item = (N, V)>,
        mut value: impl FnMut(&mut Self, V) -> io::Result<()>,
    ) -> io::Result<()> {
        self.fixed(fixed)?;
        let mut separator = "{";
        for (name, of_name) in members {
            self.text(separator, name.as_ref())?;
            self.fixed(":")?;
            value(self, of_name)?;
            separator = ",";
        }
        self.fixed(if separator == "{" { "{}" } else { "}" })
    }

    fn quoted(&mut self, text: &str) -> io::Result<()> {
        self.fixed("\"")?;
        self.escaped(text)?;
        self.fixed("\"")
    }

    fn escaped(&mut self, text: &str) -> io::Result<()> {
        let mut rest = text;
        loop {
            let (plain, special) = rest.split_at(plain_run(rest.as_bytes()));
            self.fixed(plain)?;
            let Some(byte) = special.bytes().next() else { return Ok(()) };
            self.escape(byte)?;
            rest = &special[1..];
        }
    }

    /// Escapes as `serde_json` has them (RFC 8259, 7).
    fn escape(&mut self, byte: u8) -> io::Result<()> {
        match byte {
            b'"' => self.fixed(r#"\""#),
            b'\\' => self.fixed(r"\\"),
            b'\n' => self.fixed(r"\n"),
            b'\r' => self.fixed(r"\r"),
            b'\t' => self.fixed(r"\t"),
            0x08 => self.fixed(r"\b"),
            0x0c => self.fixed(r"\f"),
            _ => write!(self.0, r"\u{byte:04x}"),
        }
    }
}

/// A serde value as an event.
#[derive(Debug)]
pub struct Document<'d, D>(pub &'d D);

impl<D: serde::Serialize> Event for Document<'_, D> {
    fn write<W: io::Write>(&self, writer: &mut Writer<'_, W>) -> io::Result<()> {
        serde_json::to_writer(&mut *writer.0, self.0).map_err(io::Error::from)
    }
}

#[cfg(test)]
pub mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The bytes that `write` gives, as text.
    pub fn written(write: impl Fn(&mut Writer<'_, Vec<u8>>) -> io::Result<()>) -> String {
        let mut bytes = Vec::new();
        write(&mut Writer(&mut bytes)).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn lists_without_an_item_are_closed() {
        assert_eq!(written(|writer| writer.texts("", std::iter::empty::<&str>())), "[]");
        assert_eq!(written(|writer| writer.map::<&str, &str>("", std::iter::empty())), "{}");
        assert_eq!(written(|writer| writer.texts(r#""a":"#, ["", "b"].into_iter())), r#""a":["","b"]"#);
    }

    #[test]
    fn a_body_is_null_a_string_or_base64() {
        let body = |bytes, may_be_text| written(|writer| writer.body("", EventBody::new(bytes, may_be_text)));
        assert_eq!(body(b"", true), "null");
        assert_eq!(body(b"\"\n", true), r#""\"\n""#);
        assert_eq!(body(b"test", false), "\"dGVzdA==\"");
    }

    proptest! {
        #[test]
        fn texts_are_escaped_as_serde_json_does_it(text in r"([\x00-\x22\x5c\x7f]|a{0,40}|.){0,12}") {
            let written = written(|writer| writer.text("", &text));
            prop_assert_eq!(written, serde_json::to_string(&text).unwrap());
        }
    }
}
