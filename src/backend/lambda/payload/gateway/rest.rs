//! Event version 1.0, of REST APIs (`aws.md` 3.1).
//!
//! Absent members are null. The maps of single values contain the last of several values, as recorded at AWS
//! (`LocalStack`'s snapshots of 2024-08 and 2024-11); Kong differs (`peers.md` K22). The multi-value maps
//! contain all.

use super::{
    super::{
        event_body::EventBody,
        writer::{EventWriter, write_event},
    },
    request::{GatewayRequest, raw_parameter},
};
use crate::message::error::ProxyError;

/// # Errors
/// The event is too large.
pub fn event(mut call: GatewayRequest<'_>, limit: u64) -> Result<Vec<u8>, ProxyError> {
    // RFC 6265, 5.4: one line; `headers` has a single value
    call.headers.join("cookie", "; ");
    // K27
    let body = EventBody::new(call.body, !call.settings.base64_encode_body);
    write_event(body.likely_length(), limit, |writer| {
        write(&call, body, writer);
        Ok(())
    })
}

fn write(call: &GatewayRequest<'_>, body: EventBody<'_>, writer: &mut EventWriter) {
    writer.fixed(r#"{"version":"1.0","resource":""#);
    call.write_resource(writer);
    writer.text(r#"","path":""#, &*call.path);
    writer.text(r#"","httpMethod":""#, call.method);
    writer.fixed(r#"","headers":"#);
    writer.last_of(&call.headers);
    writer.fixed(r#","multiValueHeaders":"#);
    writer.all_of(&call.headers);
    if call.query.is_empty() {
        writer.fixed(r#","queryStringParameters":null,"multiValueQueryStringParameters":null"#);
    } else {
        writer.fixed(r#","queryStringParameters":"#);
        writer.last_of(&call.query);
        writer.fixed(r#","multiValueQueryStringParameters":"#);
        writer.all_of(&call.query);
    }
    let mut parameters = call.parameters().map(|(name, value)| (name, raw_parameter(value))).peekable();
    writer.fixed(r#","pathParameters":"#);
    match parameters.peek() {
        Some(_) => writer.object(parameters),
        None => writer.fixed("null"),
    }
    writer.fixed(r#","stageVariables":"#);
    match call.stage_variables() {
        Some(variables) => writer.object(variables.iter()),
        None => writer.fixed("null"),
    }
    write_context(call, writer);
    writer.fixed(r#","body":"#);
    writer.body(body);
    writer.fixed(r#","isBase64Encoded":"#);
    writer.boolean(body.is_base64());
    writer.fixed("}");
}

fn write_context(call: &GatewayRequest<'_>, writer: &mut EventWriter) {
    call.write_api(writer);
    // AWS has a second id of the same request for its support
    writer.text(r#"","extendedRequestId":""#, call.request_id);
    writer.text(r#"","httpMethod":""#, call.method);
    // only the address of the client is known
    writer.fixed(concat!(
        r#"","identity":{"accessKey":null,"accountId":null,"apiKey":null,"apiKeyId":null,"caller":null"#,
        r#","clientCert":null,"cognitoAuthenticationProvider":null,"cognitoAuthenticationType":null"#,
        r#","cognitoIdentityId":null,"cognitoIdentityPoolId":null,"principalOrgId":null,"sourceIp":""#,
    ));
    writer.address(call.source_ip);
    writer.fixed(r#"","user":null,"userAgent":"#);
    match call.user_agent {
        Some(user_agent) => writer.quoted(user_agent),
        None => writer.fixed("null"),
    }
    writer.fixed(r#","userArn":null},"path":""#);
    call.write_path_with_stage(writer);
    writer.fixed(r#"","protocol":""#);
    writer.fixed(call.protocol);
    writer.text(r#"","requestId":""#, call.request_id);
    writer.fixed(r#"","requestTime":""#);
    writer.fixed(&call.time.text);
    writer.fixed(r#"","requestTimeEpoch":"#);
    writer.number(call.time.epoch);
    // a random id of the resource at AWS; any constant value is valid
    writer.fixed(r#","resourceId":""#);
    call.write_resource(writer);
    writer.fixed(r#"","resourcePath":""#);
    call.write_resource(writer);
    writer.text(r#"","stage":""#, &call.settings.stage);
    writer.fixed("\"}");
}
