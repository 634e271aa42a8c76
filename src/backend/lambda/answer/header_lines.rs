//! Merges `headers`, `multiValueHeaders` and `cookies` of a function's response into header lines.
//!
//! Lines are counted while they are read: a response of six megabytes can contain two million cookies.

use std::borrow::Cow;

use actix_http::header::{self, HeaderName, HeaderValue};

use super::{MAX_QUOTE, invalid, members::ResponseMembers};
use crate::{
    client::{MAX_HEAD, MAX_HEADERS},
    message::{error::ProxyError, headers::clean_reply_lines},
    text::{
        header_names::is_hop_by_hop,
        json::{Json, JsonKind, JsonText},
        log_safe::log_safe,
    },
};

/// Initial capacity.
const USUAL_LINES: usize = 8;

pub type HeaderLine = (HeaderName, HeaderValue);

/// The head of a function's response, without the status.
#[derive(Debug)]
pub struct HeaderLines {
    /// The lines without hop-by-hop and framing headers (R31, R35).
    pub lines: Vec<HeaderLine>,
    /// `Content-Length` of the response to a GET, which a response to HEAD and a 304 may contain (RFC 9110,
    /// 8.6). Never used for framing.
    pub length: Option<u64>,
}

/// Reads the lines in API Gateway's order: `cookies` before `Set-Cookie` among the headers (R36), and
/// `multiValueHeaders` before `headers` (recorded at AWS by `LocalStack`,
/// `test_aws_proxy_response_payload_format_validation` on 2024-11-15).
///
/// # Errors
/// A member has the wrong type or an invalid value, or there are too many lines.
pub fn read(members: &ResponseMembers<'_>) -> Result<HeaderLines, ProxyError> {
    let mut size = HeadSize::default();
    let mut lines = Vec::with_capacity(USUAL_LINES);
    for cookie in cookies(members.cookies)? {
        lines.push((header::SET_COOKIE, size.cookie(cookie)?));
    }
    let cookies_end = lines.len();
    let many = HeadersMember { name: "multiValueHeaders", value: members.multi_value_headers };
    many.each_line(&mut size, |line| put(&mut lines, cookies_end, line))?;
    let many_end = lines.len();
    let single = HeadersMember { name: "headers", value: members.headers };
    single.each_line(&mut size, |line| {
        if !is_repetition(&lines[cookies_end..many_end], &line) {
            put(&mut lines, many_end, line);
        }
    })?;
    let mut length = None;
    if size.has_framing {
        length = content_length(&lines);
        clean_reply_lines(&mut lines);
    }
    Ok(HeaderLines { lines, length })
}

/// Adds a line to the lines of its member, which begin at `start`. The last of several `Content-Type` lines
/// replaces the others: a response has one at most (RFC 9110, 8.3).
fn put(lines: &mut Vec<HeaderLine>, start: usize, line: HeaderLine) {
    if line.0 == header::CONTENT_TYPE
        && let Some(other) = lines[start..].iter_mut().find(|other| other.0 == line.0)
    {
        *other = line;
    } else {
        lines.push(line);
    }
}

/// True if `multiValueHeaders` already contains this line of `headers`: a pair of name and value in both is
/// sent once (API Gateway developer guide, "Output format of a Lambda function for proxy integration"). A
/// `Content-Type` there replaces the one in `headers`.
fn is_repetition(many: &[HeaderLine], (name, value): &HeaderLine) -> bool {
    many.iter().any(|other| other.0 == *name && (*name == header::CONTENT_TYPE || other.1 == *value))
}

/// `None` for several lengths and for an invalid one.
fn content_length(lines: &[HeaderLine]) -> Option<u64> {
    let mut lengths =
        lines.iter().filter(|(name, _)| *name == header::CONTENT_LENGTH).map(|(_, value)| value);
    let digits = lengths.next().filter(|_| lengths.next().is_none())?.to_str().ok()?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

/// Number of lines and bytes read so far.
#[derive(Default)]
struct HeadSize {
    bytes: usize,
    lines: usize,
    /// True if a name is hop-by-hop or `Content-Length`, so that some lines have to go.
    has_framing: bool,
}

impl HeadSize {
    fn line(&mut self, name: &HeaderName) -> Result<(), ProxyError> {
        self.lines += 1;
        if self.lines > MAX_HEADERS {
            return Err(too_much());
        }
        let name = name.as_str();
        self.has_framing |= is_hop_by_hop(name) || name == header::CONTENT_LENGTH;
        self.take(name.len())
    }

    fn take(&mut self, bytes: usize) -> Result<(), ProxyError> {
        self.bytes += bytes;
        if self.bytes > MAX_HEAD { Err(too_much()) } else { Ok(()) }
    }

    /// The text of a value, unescaped only up to the limit.
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

/// `headers` or `multiValueHeaders`: both may contain one value or an array of values for each name, as with
/// Kong.
///
/// Names that differ only in case are lines of one header: functions set two cookies in this way before
/// `multiValueHeaders` existed.
struct HeadersMember<'a> {
    name: &'static str,
    value: Option<Json<'a>>,
}

impl HeadersMember<'_> {
    fn each_line(&self, size: &mut HeadSize, mut put: impl FnMut(HeaderLine)) -> Result<(), ProxyError> {
        let Some(headers) = self.value else { return Ok(()) };
        match headers.kind() {
            JsonKind::Null | JsonKind::Object => {}
            // PHP writes an empty map as `[]`
            JsonKind::Array if headers.each_element().next().is_none() => {}
            _ => return Err(invalid(format!("{} must be an object", self.name))),
        }
        for (name, value) in headers.each_member() {
            let header = header_name(name).ok_or_else(|| self.failure(name, "is not a valid header name"))?;
            let mut line = |value: Json<'_>| {
                size.line(&header)?;
                let text = self.scalar(size, name, value)?;
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

    /// The text of a header's value; null is an empty text (R30).
    fn scalar<'a>(
        &self,
        size: &mut HeadSize,
        name: JsonText<'_>,
        value: Json<'a>,
    ) -> Result<Cow<'a, str>, ProxyError> {
        match (value.kind(), value.text()) {
            (_, Some(text)) => size.text(text),
            (JsonKind::Null, _) => Ok(Cow::Borrowed("")),
            (JsonKind::Boolean | JsonKind::Number, _) => {
                size.take(value.written().len())?;
                // normalises 1.50 to 1.5
                let number = serde_json::from_str::<serde_json::Number>(value.written());
                Ok(number.map_or(Cow::Borrowed(value.written()), |number| Cow::Owned(number.to_string())))
            }
            _ => Err(self.failure(name, "is not a string, number or boolean")),
        }
    }

    fn failure(&self, name: JsonText<'_>, what: &str) -> ProxyError {
        // a character has four bytes at most
        let name = log_safe(&name.beginning(4 * MAX_QUOTE), MAX_QUOTE);
        invalid(format!("{}: `{name}` {what}", self.name))
    }
}

/// A header's name (RFC 9110, 5.1). `HeaderName` also accepts a quotation mark, which HTTP/1.1 parsers
/// reject.
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
