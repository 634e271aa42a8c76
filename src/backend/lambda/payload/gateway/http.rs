//! The event 2.0, of HTTP APIs (`aws.md` 3.2).
//!
//! What is absent is left out and not null, and several values of a name are one text with commas.

use std::{borrow::Cow, io};

use super::{
    super::{
        event_body::EventBody,
        json::written,
        writer::{Event, Writer},
    },
    call::{GatewayRequest, decoded_parameter},
};
use crate::message::error::ProxyError;

/// Writes the event.
///
/// # Errors
/// The event is too large.
pub fn event(mut call: GatewayRequest<'_>, limit: u64) -> Result<Vec<u8>, ProxyError> {
    let cookie_lines = call.headers.take("cookie");
    // HTTP APIs tell it of every request, REST APIs of none; it was taken out with the client's framing
    call.headers.insert("content-length", Cow::Owned(call.body.len().to_string()));
    let may_be_text = !call.settings.base64_encode_body || call.has_text_type;
    let body = EventBody::new(call.body, may_be_text);
    let event = HttpEvent {
        path: call.path_with_stage(),
        route_key: ["ANY ", &call.resource].concat(),
        cookies: cookie_lines.iter().flat_map(|line| cookies(line)).collect(),
        body,
        call: &call,
    };
    written(&event, body.likely_length(), limit)
}

struct HttpEvent<'c> {
    call: &'c GatewayRequest<'c>,
    path: Cow<'c, str>,
    route_key: String,
    cookies: Vec<&'c str>,
    body: EventBody<'c>,
}

impl Event for HttpEvent<'_> {
    fn write<W: io::Write>(&self, writer: &mut Writer<'_, W>) -> io::Result<()> {
        let call = self.call;
        writer.text(r#"{"version":"2.0","routeKey":"#, &self.route_key)?;
        writer.text(r#","rawPath":"#, &self.path)?;
        writer.text(r#","rawQueryString":"#, call.raw_query)?;
        if !self.cookies.is_empty() {
            writer.texts(r#","cookies":"#, self.cookies.iter().copied())?;
        }
        writer.joined_of(r#","headers":"#, &call.headers)?;
        if !call.query.is_empty() {
            writer.joined_of(r#","queryStringParameters":"#, &call.query)?;
        }
        self.write_context(writer)?;
        if !self.body.is_nothing() {
            writer.body(r#","body":"#, self.body)?;
        }
        if !call.parameters.is_empty() {
            let parameters = call.parameters.iter().map(|(name, value)| (name, decoded_parameter(value)));
            writer.map(r#","pathParameters":"#, parameters)?;
        }
        writer.plain(r#","isBase64Encoded":"#, self.body.is_base64())?;
        if let Some(variables) = call.stage_variables() {
            writer.map(r#","stageVariables":"#, variables.iter())?;
        }
        writer.fixed("}")
    }
}

impl HttpEvent<'_> {
    fn write_context<W: io::Write>(&self, writer: &mut Writer<'_, W>) -> io::Result<()> {
        let call = self.call;
        writer.text(r#","requestContext":{"accountId":"#, &call.settings.account_id)?;
        writer.text(r#","apiId":"#, &call.settings.api_id)?;
        writer.text(r#","domainName":"#, &call.domain_name)?;
        writer.text(r#","domainPrefix":"#, call.domain_prefix())?;
        writer.text(r#","http":{"method":"#, call.method)?;
        writer.text(r#","path":"#, &self.path)?;
        writer.text(r#","protocol":"#, call.protocol)?;
        writer.plain(r#","sourceIp":""#, call.source_ip)?;
        // a text even if the client has no name for itself: typed readers demand one
        writer.text(r#"","userAgent":"#, call.user_agent.as_deref().unwrap_or_default())?;
        writer.text(r#"},"requestId":"#, &call.request_id)?;
        writer.text(r#","routeKey":"#, &self.route_key)?;
        writer.text(r#","stage":"#, &call.settings.stage)?;
        writer.text(r#","time":"#, &call.time.text)?;
        writer.plain(r#","timeEpoch":"#, call.time.epoch)?;
        writer.fixed("}")
    }
}

/// The cookies of a `Cookie` header. Blanks alone are trimmed: a character beyond ASCII is part of a value.
fn cookies(line: &str) -> impl Iterator<Item = &str> {
    line.split(';').map(|cookie| cookie.trim_matches([' ', '\t'])).filter(|cookie| !cookie.is_empty())
}
