//! The event 1.0, of REST APIs (`aws.md` 3.1).
//!
//! What is absent is null and not left out. The maps of single values hold the LAST of several, as AWS was recorded
//! to do (`LocalStack`'s snapshots of 2024-08 and 2024-11) and Kong does not (`peers.md` K22); those of several values
//! are the truth.

use std::io;

use super::{
    super::{
        event_body::EventBody,
        json::written,
        writer::{Event, Writer},
    },
    call::{GatewayRequest, raw_parameter},
};
use crate::message::error::ProxyError;

/// Writes the event.
///
/// # Errors
/// The event is too large.
pub fn event(mut call: GatewayRequest<'_>, limit: u64) -> Result<Vec<u8>, ProxyError> {
    // one line is all that RFC 6265 (5.4) knows, and all that readers of the single values would see
    call.headers.join("cookie", "; ");
    // K27
    let body = EventBody::new(call.body, !call.settings.base64_encode_body);
    written(&RestEvent { call, body }, body.likely_length(), limit)
}

struct RestEvent<'c> {
    call: GatewayRequest<'c>,
    body: EventBody<'c>,
}

impl Event for RestEvent<'_> {
    fn write<W: io::Write>(&self, writer: &mut Writer<'_, W>) -> io::Result<()> {
        let call = &self.call;
        writer.text(r#"{"version":"1.0","resource":"#, &call.resource)?;
        writer.text(r#","path":"#, &call.path)?;
        writer.text(r#","httpMethod":"#, call.method)?;
        writer.last_of(r#","headers":"#, &call.headers)?;
        writer.all_of(r#","multiValueHeaders":"#, &call.headers)?;
        if call.query.is_empty() {
            writer.fixed(r#","queryStringParameters":null,"multiValueQueryStringParameters":null"#)?;
        } else {
            writer.last_of(r#","queryStringParameters":"#, &call.query)?;
            writer.all_of(r#","multiValueQueryStringParameters":"#, &call.query)?;
        }
        if call.parameters.is_empty() {
            writer.fixed(r#","pathParameters":null"#)?;
        } else {
            let parameters = call.parameters.iter().map(|(name, value)| (name, raw_parameter(value)));
            writer.map(r#","pathParameters":"#, parameters)?;
        }
        match call.stage_variables() {
            Some(variables) => writer.map(r#","stageVariables":"#, variables.iter())?,
            None => writer.fixed(r#","stageVariables":null"#)?,
        }
        write_context(call, writer)?;
        writer.body(r#"},"body":"#, self.body)?;
        writer.plain(r#","isBase64Encoded":"#, self.body.is_base64())?;
        writer.fixed("}")
    }
}

/// `requestContext`, but for the brace that closes it.
fn write_context<W: io::Write>(call: &GatewayRequest<'_>, writer: &mut Writer<'_, W>) -> io::Result<()> {
    writer.text(r#","requestContext":{"accountId":"#, &call.settings.account_id)?;
    writer.text(r#","apiId":"#, &call.settings.api_id)?;
    writer.text(r#","domainName":"#, &call.domain_name)?;
    writer.text(r#","domainPrefix":"#, call.domain_prefix())?;
    // AWS's second id is of the same request, for its own support
    writer.text(r#","extendedRequestId":"#, &call.request_id)?;
    writer.text(r#","httpMethod":"#, call.method)?;
    // nobody has asked the client for more than its address
    writer.plain(
        concat!(
            r#","identity":{"accessKey":null,"accountId":null,"apiKey":null,"apiKeyId":null,"caller":null"#,
            r#","clientCert":null,"cognitoAuthenticationProvider":null,"cognitoAuthenticationType":null"#,
            r#","cognitoIdentityId":null,"cognitoIdentityPoolId":null,"principalOrgId":null,"sourceIp":""#,
        ),
        call.source_ip,
    )?;
    writer.text_or_null(r#"","user":null,"userAgent":"#, call.user_agent.as_deref())?;
    writer.text(r#","userArn":null},"path":"#, &call.path_with_stage())?;
    writer.text(r#","protocol":"#, call.protocol)?;
    writer.text(r#","requestId":"#, &call.request_id)?;
    writer.text(r#","requestTime":"#, &call.time.text)?;
    writer.plain(r#","requestTimeEpoch":"#, call.time.epoch)?;
    // AWS's is a random name for the resource; any that stays the same will do
    writer.text(r#","resourceId":"#, &call.resource)?;
    writer.text(r#","resourcePath":"#, &call.resource)?;
    writer.text(r#","stage":"#, &call.settings.stage)
}
