//! The headers and cookies of a function's answer as header lines: `headers`, `multiValueHeaders` and `cookies`,
//! merged.
//!
//! `proxy_integration.rs` asks for them, for a whole answer and for the prelude of a streamed one. They are counted as
//! they are read: an answer of six megabytes may hold two million cookies.

use std::borrow::Cow;

use actix_http::header::{self, HeaderName, HeaderValue};

use super::{LONGEST_QUOTE, invalid, members::Members};
use crate::{
    client::{MAX_HEAD, MAX_HEADERS},
    message::{error::ProxyError, headers::clean_reply_lines},
    text::{
        json::{Json, JsonKind, JsonText},
        log_safe::log_safe,
    },
};

/// Room for the lines of most answers.
const USUAL_LINES: usize = 8;

pub type HeaderLine = (HeaderName, HeaderValue);

/// The head of a function's answer, without the status.
#[derive(Debug)]
pub struct HeaderLines {
    /// The lines, but for those about a connection or framing, which are not the function's business (R31, R35).
    pub lines: Vec<HeaderLine>,
    /// `Content-Length`: the length of the body that an answer to GET would have, which answers to HEAD and with 304
    /// may tell (RFC 9110, 8.6). Bodies are framed by their own length.
    pub length: Option<u64>,
}

/// Reads the lines that a function's answer describes.
///
/// The order is API Gateway's: cookies before a `Set-Cookie` among the headers (R36), and many values before the single
/// one (recorded at AWS by `LocalStack`, `test_aws_proxy_response_payload_format_validation` on 2024-11-15).
///
/// # Errors
/// A member is not what was expected, or there are too many lines.
pub fn read(members: &Members<'_>) -> Result<HeaderLines, ProxyError> {
    let mut room = Room::default();
    let mut lines = Vec::with_capacity(USUAL_LINES);
    for cookie in cookies(members.cookies)? {
        lines.push((header::SET_COOKIE, room.cookie(cookie)?));
    }
    let cookies_end = lines.len();
    let many = Member { name: "multiValueHeaders", value: members.multi_value_headers };
    many.each_line(&mut room, |line| put(&mut lines, cookies_end, line))?;
    let many_end = lines.len();
    let single = Member { name: "headers", value: members.headers };
    single.each_line(&mut room, |line| {
        if !is_repetition(&lines[cookies_end..many_end], &line) {
            put(&mut lines, many_end, line);
        }
    })?;
    let length = content_length(&lines);
    clean_reply_lines(&mut lines);
    Ok(HeaderLines { lines, length })
}

/// Adds a line to those of its member, which begin at `start`. Of several types the last stays: an answer has one at
/// most (RFC 9110, 8.3).
fn put(lines: &mut Vec<HeaderLine>, start: usize, line: HeaderLine) {
    if line.0 == header::CONTENT_TYPE
        && let Some(other) = lines[start..].iter_mut().find(|other| other.0 == line.0)
    {
        *other = line;
    } else {
        lines.push(line);
    }
}

/// Whether a line of `headers` adds nothing to `multiValueHeaders`. The two are merged, and of a pair of name and value
/// that is in both one stays (API Gateway developer guide, "Output format of a Lambda function for proxy integration").
/// A type there goes before one here.
fn is_repetition(many: &[HeaderLine], (name, value): &HeaderLine) -> bool {
    many.iter().any(|other| other.0 == *name && (*name == header::CONTENT_TYPE || other.1 == *value))
}

/// Several lengths, or what is no length, are none.
fn content_length(lines: &[HeaderLine]) -> Option<u64> {
    let mut lengths =
        lines.iter().filter(|(name, _)| *name == header::CONTENT_LENGTH).map(|(_, value)| value);
    let digits = lengths.next().filter(|_| lengths.next().is_none())?.to_str().ok()?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

/// Lines and bytes of the headers and cookies that were read so far.
#[derive(Default)]
struct Room {
    bytes: usize,
    lines: usize,
}

impl Room {
    fn line(&mut self, name: &HeaderName) -> Result<(), ProxyError> {
        self.lines += 1;
        if self.lines > MAX_HEADERS {
            return Err(too_much());
        }
        self.take(name.as_str().len())
    }

    fn take(&mut self, bytes: usize) -> Result<(), ProxyError> {
        self.bytes += bytes;
        if self.bytes > MAX_HEAD { Err(too_much()) } else { Ok(()) }
    }

    /// The text of a value, which is read no further than there is room.
    fn text<'a>(&mut self, text: JsonText<'a>) -> Result<Cow<'a, str>, ProxyError> {
        let text = match text.plain() {
            Some(plain) => Cow::Borrowed(plain),
            None => Cow::Owned(text.beginning(MAX_HEAD - self.bytes + 1)),
        };
        self.take(text.len())?;
        Ok(text)
    }

    fn cookie(&mut self, cookie: Json<'_>) -> Result<HeaderValue, ProxyError> {
        self.line(&header::SET_COOKIE)?;
        let text = self.text(cookie.text().ok_or_else(bad_cookies)?)?;
        HeaderValue::from_str(&text).map_err(|_| bad_cookies())
    }
}

fn too_much() -> ProxyError {
    invalid(format!("headers and cookies are more than {MAX_HEADERS} lines or {MAX_HEAD} bytes"))
}

fn bad_cookies() -> ProxyError {
    invalid("cookies must be an array of strings that are valid header values")
}

fn cookies(written: Option<Json<'_>>) -> Result<impl Iterator<Item = Json<'_>>, ProxyError> {
    match written.map(Json::kind) {
        None | Some(JsonKind::Null | JsonKind::Array) => Ok(written.into_iter().flat_map(Json::each_element)),
        Some(_) => Err(bad_cookies()),
    }
}

/// Either of the two members with headers: one value or an array of them for each name, as Kong takes them in both.
///
/// Names that differ in case alone are lines of one header: before there were multi-value headers, that was how
/// functions set two cookies.
struct Member<'a> {
    name: &'static str,
    value: Option<Json<'a>>,
}

impl Member<'_> {
    fn each_line(&self, room: &mut Room, mut put: impl FnMut(HeaderLine)) -> Result<(), ProxyError> {
        let Some(headers) = self.value else { return Ok(()) };
        match headers.kind() {
            JsonKind::Null | JsonKind::Object => {}
            // an empty map, as PHP writes it
            JsonKind::Array if headers.each_element().next().is_none() => {}
            _ => return Err(invalid(format!("{} must be an object", self.name))),
        }
        for (name, value) in headers.each_member() {
            let header = header_name(name).ok_or_else(|| self.failure(name, "is not a valid header name"))?;
            let mut line = |value: Json<'_>| {
                room.line(&header)?;
                let text = self.scalar(room, name, value)?;
                let value = HeaderValue::from_str(&text);
                let value = value.map_err(|_| self.failure(name, "has an invalid header value"))?;
                put((header.clone(), value));
                Ok::<_, ProxyError>(())
            };
            if value.kind() == JsonKind::Array {
                value.each_element().try_for_each(line)?;
            } else {
                line(value)?;
            }
        }
        Ok(())
    }

    /// The text of a header's value; null is an empty one (R30).
    fn scalar<'a>(
        &self,
        room: &mut Room,
        name: JsonText<'_>,
        value: Json<'a>,
    ) -> Result<Cow<'a, str>, ProxyError> {
        match (value.kind(), value.text()) {
            (_, Some(text)) => room.text(text),
            (JsonKind::Null, _) => Ok(Cow::Borrowed("")),
            (JsonKind::Boolean | JsonKind::Number, _) => {
                room.take(value.written().len())?;
                // 1.50 is 1.5
                let number = serde_json::from_str::<serde_json::Number>(value.written());
                Ok(number.map_or(Cow::Borrowed(value.written()), |number| Cow::Owned(number.to_string())))
            }
            _ => Err(self.failure(name, "is not a string, number or boolean")),
        }
    }

    fn failure(&self, name: JsonText<'_>, what: &str) -> ProxyError {
        // a character has four bytes at most
        let name = log_safe(&name.beginning(4 * LONGEST_QUOTE), LONGEST_QUOTE);
        invalid(format!("{}: `{name}` {what}", self.name))
    }
}

/// A header's name (RFC 9110, 5.1). `HeaderName` takes a quote besides, which no reader of HTTP/1.1 does.
fn header_name(written: JsonText<'_>) -> Option<HeaderName> {
    let name = written.plain().map_or_else(|| Cow::Owned(written.beginning(MAX_HEAD + 1)), Cow::Borrowed);
    if name.contains('"') { None } else { HeaderName::from_bytes(name.as_bytes()).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::chunks::is_token;

    #[test]
    fn names_are_tokens() {
        for byte in 0..=0x7F_u8 {
            for length in [1, 100] {
                let written = format!("a{}", char::from(byte)).repeat(length);
                let is_name = !matches!(byte, b'\\') && header_name(JsonText::of_written(&written)).is_some();
                assert_eq!(is_name, is_token(byte), "{byte}");
            }
        }
    }
}
