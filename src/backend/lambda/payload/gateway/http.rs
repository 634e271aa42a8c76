//! Event version 2.0, of HTTP APIs.
//!
//! Absent members are left out instead of null, and several values of a name are joined by commas.

use std::borrow::Cow;

use super::{
    super::{
        event_body::EventBody,
        text::text,
        writer::{EventWriter, write_event},
    },
    request::{GatewayRequest, decoded_parameter},
};
use crate::message::error::ProxyError;

/// # Errors
/// The event is too large.
pub fn event(mut call: GatewayRequest<'_>, limit: u64) -> Result<Vec<u8>, ProxyError> {
    let cookie_lines: Vec<Cow<'_, str>> = call.headers.remove("cookie").into_iter().map(text).collect();
    let cookies: Vec<&str> = cookie_lines.iter().flat_map(|line| cookies(line)).collect();
    // HTTP APIs always send it, REST APIs never; it was removed with the client's framing headers
    call.headers.insert("content-length", call.body.len().to_string().into_bytes());
    let body = EventBody::new(call.body, !call.settings.base64_encode_body || call.has_text_type());
    write_event(body.likely_length(), limit, |writer| {
        write(&call, &cookies, body, writer);
        Ok(())
    })
}

fn write(call: &GatewayRequest<'_>, cookies: &[&str], body: EventBody<'_>, writer: &mut EventWriter) {
    writer.fixed(r#"{"version":"2.0","routeKey":""#);
    call.write_route_key(writer);
    writer.fixed(r#"","rawPath":""#);
    call.write_path_with_stage(writer);
    writer.text(r#"","rawQueryString":""#, call.raw_query);
    writer.fixed("\"");
    if !cookies.is_empty() {
        writer.fixed(r#","cookies":"#);
        writer.array(cookies.iter());
    }
    writer.fixed(r#","headers":"#);
    writer.joined_of(&call.headers);
    if !call.query.is_empty() {
        writer.fixed(r#","queryStringParameters":"#);
        writer.joined_of(&call.query);
    }
    write_context(call, writer);
    if !body.is_nothing() {
        writer.fixed(r#","body":"#);
        writer.body(body);
    }
    let mut parameters =
        call.parameters().map(|(name, value)| (name, decoded_parameter(value).into_owned())).peekable();
    if parameters.peek().is_some() {
        writer.fixed(r#","pathParameters":"#);
        writer.object(parameters);
    }
    writer.fixed(r#","isBase64Encoded":"#);
    writer.boolean(body.is_base64());
    if let Some(variables) = call.stage_variables() {
        writer.fixed(r#","stageVariables":"#);
        writer.object(variables.iter());
    }
    writer.fixed("}");
}

fn write_context(call: &GatewayRequest<'_>, writer: &mut EventWriter) {
    call.write_api(writer);
    writer.text(r#"","http":{"method":""#, call.method);
    writer.fixed(r#"","path":""#);
    call.write_path_with_stage(writer);
    writer.fixed(r#"","protocol":""#);
    writer.fixed(call.protocol);
    writer.fixed(r#"","sourceIp":""#);
    writer.address(call.source_ip);
    // never null, because typed readers require a string
    writer.text(r#"","userAgent":""#, call.user_agent.unwrap_or_default());
    writer.text(r#""},"requestId":""#, call.request_id);
    writer.fixed(r#"","routeKey":""#);
    call.write_route_key(writer);
    writer.text(r#"","stage":""#, &call.settings.stage);
    writer.fixed(r#"","time":""#);
    writer.fixed(&call.time.text);
    writer.fixed(r#"","timeEpoch":"#);
    writer.number(call.time.epoch);
    writer.fixed("}");
}

/// Splits a `Cookie` header. Only blanks and tabs are trimmed: a non-ASCII space is part of a value.
fn cookies(line: &str) -> impl Iterator<Item = &str> {
    line.split(';').map(|cookie| cookie.trim_matches([' ', '\t'])).filter(|cookie| !cookie.is_empty())
}
