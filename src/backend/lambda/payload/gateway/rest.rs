//! The event 1.0, of REST APIs (`aws.md` 3.1).
//!
//! What is absent is null and not left out. The maps of single values hold the LAST of several, as AWS was recorded
//! to do (`LocalStack`'s snapshots of 2024-08 and 2024-11) and Kong does not (`peers.md` K22); those of several values
//! are the truth.

use std::{borrow::Cow, collections::BTreeMap, net::IpAddr};

use serde::Serialize;

use super::{
    super::{
        arguments::PlainArguments,
        event_body::EventBody,
        grouped::{AllOf, Indexed, LastOf},
        json::json,
        pairs::Pairs,
    },
    call::{Call, PathParameters},
};
use crate::error::ProxyError;

type Query<'c> = Indexed<PlainArguments<'c>>;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RestEvent<'c> {
    version: &'static str,
    resource: &'c str,
    path: &'c str,
    http_method: &'c str,
    headers: LastOf<'c, Pairs<'c>>,
    multi_value_headers: AllOf<'c, Pairs<'c>>,
    query_string_parameters: Option<LastOf<'c, Query<'c>>>,
    multi_value_query_string_parameters: Option<AllOf<'c, Query<'c>>>,
    path_parameters: Option<PathParameters<'c>>,
    stage_variables: Option<&'c BTreeMap<String, String>>,
    request_context: RequestContext<'c>,
    body: EventBody<'c>,
    is_base64_encoded: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext<'c> {
    account_id: &'c str,
    api_id: &'c str,
    domain_name: &'c str,
    domain_prefix: &'c str,
    extended_request_id: &'c str,
    http_method: &'c str,
    identity: Identity<'c>,
    path: Cow<'c, str>,
    protocol: &'static str,
    request_id: &'c str,
    request_time: &'c str,
    request_time_epoch: i64,
    resource_id: &'c str,
    resource_path: &'c str,
    stage: &'c str,
}

/// Who the client is: nobody has asked it for more than its address.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Identity<'c> {
    access_key: Null,
    account_id: Null,
    api_key: Null,
    api_key_id: Null,
    caller: Null,
    client_cert: Null,
    cognito_authentication_provider: Null,
    cognito_authentication_type: Null,
    cognito_identity_id: Null,
    cognito_identity_pool_id: Null,
    principal_org_id: Null,
    source_ip: IpAddr,
    user: Null,
    user_agent: Option<&'c str>,
    user_arn: Null,
}

/// A member that is there and says nothing.
#[derive(Debug, Clone, Copy, Serialize)]
struct Null;

/// Writes the event.
///
/// # Errors
/// The event is too large.
pub fn event(mut call: Call<'_>, limit: u64) -> Result<Vec<u8>, ProxyError> {
    // one line is all that RFC 6265 (5.4) knows, and all that readers of the single values would see
    call.headers.join("cookie", "; ");
    let call = &call;
    // K27
    let body = EventBody::new(call.body, !call.settings.base64_encode_body);
    let arguments = Some(&call.query).filter(|query| !query.is_empty());
    let event = RestEvent {
        version: "1.0",
        resource: &call.resource,
        path: call.path,
        http_method: call.method,
        headers: LastOf(&call.headers),
        multi_value_headers: AllOf(&call.headers),
        query_string_parameters: arguments.map(LastOf),
        multi_value_query_string_parameters: arguments.map(AllOf),
        path_parameters: call.remainder.map(PathParameters::raw),
        stage_variables: call.stage_variables(),
        request_context: request_context(call),
        body,
        is_base64_encoded: body.is_base64(),
    };
    json(&event, body.likely_length(), limit)
}

fn request_context<'c>(call: &'c Call<'_>) -> RequestContext<'c> {
    RequestContext {
        account_id: &call.settings.account_id,
        api_id: &call.settings.api_id,
        domain_name: &call.domain_name,
        domain_prefix: call.domain_prefix(),
        // AWS's second id is of the same request, for its own support
        extended_request_id: &call.request_id,
        http_method: call.method,
        identity: identity(call),
        path: call.path_with_stage(),
        protocol: call.protocol,
        request_id: &call.request_id,
        request_time: &call.moment.text,
        request_time_epoch: call.moment.epoch,
        // AWS's is a random name for the resource; any that stays the same will do
        resource_id: &call.resource,
        resource_path: &call.resource,
        stage: &call.settings.stage,
    }
}

fn identity<'c>(call: &'c Call<'_>) -> Identity<'c> {
    Identity {
        access_key: Null,
        account_id: Null,
        api_key: Null,
        api_key_id: Null,
        caller: Null,
        client_cert: Null,
        cognito_authentication_provider: Null,
        cognito_authentication_type: Null,
        cognito_identity_id: Null,
        cognito_identity_pool_id: Null,
        principal_org_id: Null,
        source_ip: call.source_ip,
        user: Null,
        user_agent: call.user_agent.as_deref(),
        user_arn: Null,
    }
}
