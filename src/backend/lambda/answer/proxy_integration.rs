//! `is_proxy_integration`: the function's answer is an object that says status, headers and body, as behind an
//! API Gateway (API Gateway developer guide, "Output format of a Lambda function for proxy integration" and
//! "Lambda function response format").
//!
//! `members.rs` has read the object, or the prelude of a stream; here it is judged. The answer goes back to
//! `answer.rs` with the API's headers beneath the function's. Failures name the member and what was expected
//! of it, and quote next to nothing: they are the function's data.

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use actix_http::{
    StatusCode,
    header::{self, HeaderMap, HeaderName, HeaderValue},
};
use bytes::Bytes;
use serde_json::Value;

use super::{
    body_for, invalid,
    members::{Body, Members},
    name_bytes,
};
use crate::{
    backend::ClientReply,
    client::{ReplyBody, UpstreamReply},
    error::ProxyError,
    excerpt::excerpt,
    lenient_base64,
    proxy::headers::clean_reply,
    settings::PayloadVersion,
};

/// Characters that are quoted of what the function wrote.
const LONGEST_QUOTE: usize = 100;
/// Bytes of names and values, and lines, that the function's headers and cookies may have: no server sends as much,
/// and few clients take it.
const LARGEST_HEADERS: usize = 64 << 10;
const MOST_LINES: usize = 200;
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The answer that the function described.
pub fn reply(version: PayloadVersion, upstream: UpstreamReply) -> Result<ClientReply, ProxyError> {
    let UpstreamReply { status: _, headers, body, prelude } = upstream;
    match (prelude, body) {
        (Some(prelude), body) => after_prelude(&prelude, headers, body),
        (None, ReplyBody::Whole(output)) => whole(version, &output, headers),
        (None, ReplyBody::None { .. }) => whole(version, &Bytes::new(), headers),
        (None, ReplyBody::Stream(_) | ReplyBody::Events(_)) => {
            Err(invalid("the function's answer streams, and has no prelude"))
        }
    }
}

/// A stream: the prelude says all but the body, which is what comes after it.
fn after_prelude(prelude: &[u8], headers: HeaderMap, body: ReplyBody) -> Result<ClientReply, ProxyError> {
    let Some(members) = Members::read(prelude)? else {
        return Err(invalid("the prelude of the function's answer is JSON, but no object"));
    };
    // the runtimes' own default
    let status = members.status_code.as_ref().map_or(Ok(StatusCode::OK), status)?;
    let mut reply = put_together(status, headers, lines(members)?, body);
    if !matches!(reply.body, ReplyBody::None { .. }) {
        name_bytes(&mut reply.headers);
    }
    Ok(reply)
}

/// An answer that came whole.
fn whole(version: PayloadVersion, output: &Bytes, headers: HeaderMap) -> Result<ClientReply, ProxyError> {
    let mut members = match (Members::read(output)?, version) {
        (Some(members), _) => members,
        (None, PayloadVersion::V1) => return Err(invalid("the function's answer is JSON, but no object")),
        (None, PayloadVersion::V2) => return Ok(inferred(output, headers)),
    };
    let status = match (&members.status_code, version) {
        (Some(written), _) => status(written)?,
        (None, PayloadVersion::V1) => return Err(invalid("statusCode is missing")),
        (None, PayloadVersion::V2) => return Ok(inferred(output, headers)),
    };
    let body = content(output, std::mem::take(&mut members.body), members.is_base64_encoded.as_ref())?;
    let mut reply = put_together(status, headers, lines(members)?, ReplyBody::Whole(body));
    if !matches!(reply.body, ReplyBody::None { .. }) && !reply.headers.contains_key(header::CONTENT_TYPE) {
        reply.headers.insert(header::CONTENT_TYPE, default_type(version));
    }
    Ok(reply)
}

/// The type of a body of which the function does not say it. AWS documents neither: REST APIs were recorded more than
/// once, the HTTP API's comes from a single capture.
fn default_type(version: PayloadVersion) -> HeaderValue {
    match version {
        PayloadVersion::V1 => JSON,
        PayloadVersion::V2 => HeaderValue::from_static("text/plain; charset=utf-8"),
    }
}

/// What version 2.0 makes of JSON without a `statusCode` ("API Gateway makes the following assumptions").
fn inferred(output: &Bytes, mut headers: HeaderMap) -> ClientReply {
    headers.insert(header::CONTENT_TYPE, JSON);
    let body = ReplyBody::Whole(output.clone());
    ClientReply { status: StatusCode::OK, headers, body, remarks: Vec::new() }
}

/// The function's headers replace the API's of the same names, whatever their case (`peers.md` R15, R16).
fn put_together(
    status: StatusCode,
    mut headers: HeaderMap,
    lines: HeaderMap,
    body: ReplyBody,
) -> ClientReply {
    for name in lines.keys() {
        headers.remove(name);
    }
    let body = body_for(status, body);
    // the API's own is about its envelope
    headers.remove(header::CONTENT_TYPE);
    for (name, value) in lines {
        headers.append(name, value);
    }
    ClientReply { status, headers, body, remarks: Vec::new() }
}

/// A number or its three digits, which is how some frameworks write it (R18); a whole number may have a point.
fn status(written: &Value) -> Result<StatusCode, ProxyError> {
    let digits = match written {
        Value::Number(number) => number.as_f64().map(|number| Cow::Owned(number.to_string())),
        Value::String(text) => Some(Cow::Borrowed(text.as_str())),
        _ => None,
    };
    // three bytes that are a status can be nothing but its digits: no sign, no zeros before it
    let code = digits.and_then(|digits| StatusCode::from_bytes(digits.as_bytes()).ok());
    code.filter(|code| (200..=599).contains(&code.as_u16())).ok_or_else(|| {
        let found = excerpt(&written.to_string(), LONGEST_QUOTE);
        invalid(format!("statusCode is {found}, expected a number from 200 to 599"))
    })
}

fn content(output: &Bytes, body: Body<'_>, is_base64: Option<&Value>) -> Result<Bytes, ProxyError> {
    let is_base64 = match is_base64 {
        None => false,
        Some(Value::Bool(is_base64)) => *is_base64,
        Some(_) => return Err(invalid("isBase64Encoded is not what was expected, a boolean")),
    };
    match body {
        Body::None => Ok(Bytes::new()),
        Body::Text(text) if is_base64 => {
            lenient_base64::decode(text.as_bytes()).map(Bytes::from).map_err(|error| {
                invalid(format!("body is not what isBase64Encoded promises, standard base64: {error}"))
            })
        }
        Body::Text(Cow::Borrowed(text)) => Ok(output.slice_ref(text.as_bytes())),
        Body::Text(Cow::Owned(text)) => Ok(Bytes::from(text)),
        Body::Other => Err(invalid("body is not what was expected, a string")),
    }
}

/// The function's headers but for those about a connection or framing, which are not its business (R31, R35).
fn lines(members: Members<'_>) -> Result<HeaderMap, ProxyError> {
    let mut room = Room::default();
    // API Gateway writes cookies before a `Set-Cookie` among the headers (R36)
    let mut lines = cookies(members.cookies, &mut room)?;
    let single = header_map("headers", members.headers, &mut room)?;
    let multiple = header_map("multiValueHeaders", members.multi_value_headers, &mut room)?;
    for (name, value) in single {
        // R29
        if !multiple.contains_key(&name) {
            lines.append(name, value);
        }
    }
    for (name, value) in multiple {
        lines.append(name, value);
    }
    clean_reply(&mut lines);
    Ok(lines)
}

/// What the function's headers and cookies have taken up.
#[derive(Default)]
struct Room {
    size: usize,
    lines: usize,
}

impl Room {
    /// Makes a line of what the function wrote, if it can be one and there is room for it.
    fn line(&mut self, name: &HeaderName, value: String) -> Result<Option<HeaderValue>, ProxyError> {
        self.size += name.as_str().len() + value.len();
        self.lines += 1;
        if self.size > LARGEST_HEADERS || self.lines > MOST_LINES {
            return Err(invalid(format!(
                "headers and cookies are more than {MOST_LINES} lines or {LARGEST_HEADERS} bytes"
            )));
        }
        Ok(HeaderValue::try_from(value.into_bytes()).ok())
    }
}

fn cookies(written: Value, room: &mut Room) -> Result<HeaderMap, ProxyError> {
    let mut lines = HeaderMap::new();
    let expected = || invalid("cookies is not what was expected, an array of strings that headers can hold");
    let cookies = match written {
        Value::Null => return Ok(lines),
        Value::Array(cookies) => cookies,
        _ => return Err(expected()),
    };
    for cookie in cookies {
        let Value::String(text) = cookie else { return Err(expected()) };
        lines.append(header::SET_COOKIE, room.line(&header::SET_COOKIE, text)?.ok_or_else(expected)?);
    }
    Ok(lines)
}

/// Either of the two members: one value or an array of them for each name, as Kong takes them in both.
///
/// Names that differ in case alone are lines of one header: before there were multi-value headers, that was how
/// functions set two cookies.
fn header_map(member: &str, written: Value, room: &mut Room) -> Result<HeaderMap, ProxyError> {
    let mut lines = HeaderMap::new();
    let headers = match written {
        Value::Null => return Ok(lines),
        // an empty map, as PHP writes it
        Value::Array(items) if items.is_empty() => return Ok(lines),
        Value::Object(headers) => headers,
        _ => return Err(invalid(format!("{member} is not what was expected, an object"))),
    };
    for (name, value) in headers {
        let failure = |what: &str| invalid(format!("{member}: `{}` {what}", excerpt(&name, LONGEST_QUOTE)));
        let header = HeaderName::from_bytes(name.as_bytes());
        let header = header.map_err(|_| failure("is not a header's name"))?;
        let values = if let Value::Array(values) = value { values } else { vec![value] };
        for value in values {
            let text = scalar(value).ok_or_else(|| failure("is not a string, number or boolean"))?;
            let value = room.line(&header, text)?;
            lines
                .append(header.clone(), value.ok_or_else(|| failure("has a value that no header can have"))?);
        }
    }
    Ok(lines)
}

/// The text of a header's value; null is an empty one (R30).
fn scalar(value: Value) -> Option<String> {
    match value {
        Value::Null => Some(String::new()),
        Value::String(text) => Some(text),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Array(_) | Value::Object(_) => None,
    }
}
