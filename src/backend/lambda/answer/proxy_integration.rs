//! `is_proxy_integration`: the function returns an object with status, headers and body, as behind API
//! Gateway (API Gateway developer guide, "Output format of a Lambda function for proxy integration" and
//! "Lambda function response format").
//!
//! The function's headers replace those of the Lambda API. An error names the member and the expected value,
//! and quotes as little as possible, because the response is the function's data.

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use actix_http::{
    StatusCode,
    header::{self, HeaderMap, HeaderValue},
};
use bytes::Bytes;
use log::Level;

use super::{
    BYTES, MAX_QUOTE, body_for,
    header_lines::{self, HeaderLines},
    invalid,
    members::ResponseMembers,
};
use crate::{
    backend::ClientReply,
    client::{ReplyBody, UpstreamReply},
    message::{error::ProxyError, log_note::LogNote},
    settings::PayloadVersion,
    text::{
        json::{Json, JsonKind},
        lenient_base64,
        log_safe::log_safe,
    },
};

const JSON: HeaderValue = HeaderValue::from_static("application/json");

pub fn reply(version: PayloadVersion, upstream: UpstreamReply) -> Result<ClientReply, ProxyError> {
    let UpstreamReply { status: _, headers, body, prelude } = upstream;
    match (prelude, body) {
        (Some(prelude), body) => after_prelude(&prelude, headers, body),
        (None, ReplyBody::Whole(output)) => whole(version, output, headers),
        (None, ReplyBody::None { .. }) => whole(version, Bytes::new(), headers),
        (None, ReplyBody::Stream(_) | ReplyBody::Events(_)) => {
            Err(invalid("the function's answer is a stream without a prelude"))
        }
    }
}

/// A streamed response: the prelude contains status and headers, the rest of the stream is the body.
fn after_prelude(prelude: &[u8], headers: HeaderMap, body: ReplyBody) -> Result<ClientReply, ProxyError> {
    let Some(members) = ResponseMembers::read(prelude)? else {
        return Err(invalid("the prelude of the function's answer is JSON, but not an object"));
    };
    // the default of the Lambda runtimes
    let status = members.status_code.map_or(Ok(StatusCode::OK), status)?;
    Ok(put_together(status, headers, header_lines::read(&members)?, body, BYTES))
}

/// A buffered response.
fn whole(version: PayloadVersion, output: Bytes, headers: HeaderMap) -> Result<ClientReply, ProxyError> {
    let members = match (ResponseMembers::read(&output)?, version) {
        (Some(members), _) => members,
        (None, PayloadVersion::V1) => {
            return Err(invalid("the function's answer is JSON, but not an object"));
        }
        (None, PayloadVersion::V2) => return Ok(inferred(output, headers)),
    };
    let status = match (members.status_code, version) {
        (Some(written), _) => status(written)?,
        (None, PayloadVersion::V1) => return Err(invalid("statusCode is missing")),
        (None, PayloadVersion::V2) => return Ok(inferred(output, headers)),
    };
    let lines = header_lines::read(&members)?;
    let is_base64 = is_base64(members.is_base64_encoded)?;
    let default_type = default_type(version, members.body);
    let note = members.body.and_then(note_on_body);
    let mut body = content(&output, members.body, is_base64)?;
    // frees the response before the base64 is decoded, if the body was copied out of it
    drop(output);
    if is_base64 {
        body = decoded(&body)?;
    }
    let mut reply = put_together(status, headers, lines, ReplyBody::Whole(body), default_type);
    reply.notes.extend(note);
    Ok(reply)
}

/// Default content type. Undocumented: the value of REST APIs was recorded several times, that of HTTP APIs
/// once. A body that is not a string is JSON.
fn default_type(version: PayloadVersion, body: Option<Json<'_>>) -> HeaderValue {
    let is_text = body.is_none_or(|body| matches!(body.kind(), JsonKind::Text | JsonKind::Null));
    match version {
        PayloadVersion::V2 if is_text => HeaderValue::from_static("text/plain; charset=utf-8"),
        PayloadVersion::V1 | PayloadVersion::V2 => JSON,
    }
}

/// Version 2.0: JSON without `statusCode` is the body ("API Gateway makes the following assumptions").
fn inferred(output: Bytes, mut headers: HeaderMap) -> ClientReply {
    headers.insert(header::CONTENT_TYPE, JSON);
    let body = ReplyBody::Whole(output);
    ClientReply { status: StatusCode::OK, headers, body, length: None, notes: Vec::new() }
}

/// Merges the headers: the function's replace the API's with the same name in any case (`peers.md` R15, R16).
fn put_together(
    status: StatusCode,
    mut headers: HeaderMap,
    HeaderLines { lines, length }: HeaderLines,
    body: ReplyBody,
    default_type: HeaderValue,
) -> ClientReply {
    let body = body_for(status, body, length);
    if !lines.iter().any(|(name, _)| *name == header::CONTENT_TYPE) {
        // the API's content type describes the response object
        headers.remove(header::CONTENT_TYPE);
        if !matches!(body, ReplyBody::None { .. }) {
            headers.insert(header::CONTENT_TYPE, default_type);
        }
    }
    for (name, _) in lines.iter().filter(|(name, _)| *name != header::CONTENT_TYPE) {
        headers.remove(name);
    }
    for (name, value) in lines {
        if name == header::CONTENT_TYPE {
            // there is one line at most
            headers.insert(name, value);
        } else {
            headers.append(name, value);
        }
    }
    ClientReply { status, headers, body, length, notes: Vec::new() }
}

/// Parses a number, or its three digits in a string, as some frameworks write it (R18); 200.0 is accepted.
fn status(written: Json<'_>) -> Result<StatusCode, ProxyError> {
    let digits = match written.kind() {
        JsonKind::Number if written.written().bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(Cow::Borrowed(written.written()))
        }
        JsonKind::Number => {
            written.written().parse::<f64>().ok().map(|number| Cow::Owned(number.to_string()))
        }
        JsonKind::Text => written.text().map(|text| Cow::Owned(text.beginning(4))),
        _ => None,
    };
    // three bytes that parse as a status are digits: no sign and no leading zero
    let code = digits.and_then(|digits| StatusCode::from_bytes(digits.as_bytes()).ok());
    code.filter(|code| (200..=599).contains(&code.as_u16())).ok_or_else(|| {
        let found = log_safe(written.written(), MAX_QUOTE);
        invalid(format!("statusCode is {found}, expected a number from 200 to 599"))
    })
}

/// Null is false.
fn is_base64(written: Option<Json<'_>>) -> Result<bool, ProxyError> {
    match written.filter(|written| written.kind() != JsonKind::Null) {
        None => Ok(false),
        Some(written) => written.boolean().ok_or_else(|| invalid("isBase64Encoded must be a boolean")),
    }
}

/// The body, a slice of the response unless it contains escapes.
fn content(output: &Bytes, body: Option<Json<'_>>, is_base64: bool) -> Result<Bytes, ProxyError> {
    let Some(body) = body.filter(|body| body.kind() != JsonKind::Null) else { return Ok(Bytes::new()) };
    match body.text().map(|text| (text, text.plain())) {
        Some((_, Some(plain))) => Ok(output.slice_ref(plain.as_bytes())),
        Some((text, None)) => Ok(Bytes::from(text.unescaped())),
        // a function may return JSON that it did not serialize to a string
        None if !is_base64 => Ok(output.slice_ref(body.written().as_bytes())),
        None => Err(invalid("isBase64Encoded is true, but body is not a string")),
    }
}

fn decoded(body: &[u8]) -> Result<Bytes, ProxyError> {
    lenient_base64::decode(body).map(Bytes::from).map_err(|error| {
        invalid(format!("isBase64Encoded is true, but body is not standard base64: {error}"))
    })
}

/// Debug note about a body that API Gateway would refuse.
fn note_on_body(body: Json<'_>) -> Option<LogNote> {
    let is_usual = matches!(body.kind(), JsonKind::Text | JsonKind::Null) || log::max_level() < Level::Debug;
    let text = "the function's `body` is not a string, it is sent to the client as JSON";
    (!is_usual).then(|| LogNote { level: Level::Debug, text: text.to_owned() })
}
