//! The event 2.0, of HTTP APIs (`aws.md` 3.2).
//!
//! What is absent is left out and not null, and several values of a name are one text with commas.

use std::{borrow::Cow, collections::BTreeMap, net::IpAddr};

use serde::Serialize;

use super::{
    super::{
        arguments::PlainArguments,
        event_body::EventBody,
        grouped::{Indexed, JoinedOf},
        json::json,
        pairs::Pairs,
    },
    call::{Call, PathParameters},
};
use crate::error::ProxyError;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct HttpEvent<'c> {
    version: &'static str,
    route_key: &'c str,
    raw_path: &'c str,
    raw_query_string: &'c str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cookies: Vec<&'c str>,
    headers: JoinedOf<'c, Pairs<'c>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    query_string_parameters: Option<JoinedOf<'c, Indexed<PlainArguments<'c>>>>,
    request_context: RequestContext<'c>,
    #[serde(skip_serializing_if = "EventBody::is_nothing")]
    body: EventBody<'c>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_parameters: Option<PathParameters<'c>>,
    is_base64_encoded: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stage_variables: Option<&'c BTreeMap<String, String>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext<'c> {
    account_id: &'c str,
    api_id: &'c str,
    domain_name: &'c str,
    domain_prefix: &'c str,
    http: Http<'c>,
    request_id: &'c str,
    route_key: &'c str,
    stage: &'c str,
    time: &'c str,
    time_epoch: i64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Http<'c> {
    method: &'c str,
    path: &'c str,
    protocol: &'static str,
    source_ip: IpAddr,
    /// A text even if the client has no name for itself: typed readers demand one.
    user_agent: &'c str,
}

/// Writes the event.
///
/// # Errors
/// The event is too large.
pub fn event(mut call: Call<'_>, limit: u64) -> Result<Vec<u8>, ProxyError> {
    let cookie_lines = call.headers.take("cookie");
    // HTTP APIs tell it of every request, REST APIs of none; it was taken out with the client's framing
    call.headers.insert("content-length", Cow::Owned(call.body.len().to_string()));
    let may_be_text = !call.settings.base64_encode_body || call.has_text_type;
    let body = EventBody::new(call.body, may_be_text);
    let path = call.path_with_stage();
    let route_key = ["ANY ", &call.resource].concat();
    let event = HttpEvent {
        version: "2.0",
        route_key: &route_key,
        raw_path: &path,
        raw_query_string: call.raw_query,
        cookies: cookie_lines.iter().flat_map(|line| cookies(line)).collect(),
        headers: JoinedOf(&call.headers),
        query_string_parameters: Some(&call.query).filter(|query| !query.is_empty()).map(JoinedOf),
        request_context: request_context(&call, &path, &route_key),
        body,
        path_parameters: call.remainder.map(PathParameters::decoded),
        is_base64_encoded: body.is_base64(),
        stage_variables: call.stage_variables(),
    };
    json(&event, body.likely_length(), limit)
}

fn request_context<'c>(call: &'c Call<'_>, path: &'c str, route_key: &'c str) -> RequestContext<'c> {
    RequestContext {
        account_id: &call.settings.account_id,
        api_id: &call.settings.api_id,
        domain_name: &call.domain_name,
        domain_prefix: call.domain_prefix(),
        http: Http {
            method: call.method,
            path,
            protocol: call.protocol,
            source_ip: call.source_ip,
            user_agent: call.user_agent.as_deref().unwrap_or_default(),
        },
        request_id: &call.request_id,
        route_key,
        stage: &call.settings.stage,
        time: &call.moment.text,
        time_epoch: call.moment.epoch,
    }
}

/// The cookies of a `Cookie` header. Blanks alone are trimmed: a character beyond ASCII is part of a value.
fn cookies(line: &str) -> impl Iterator<Item = &str> {
    line.split(';').map(|cookie| cookie.trim_matches([' ', '\t'])).filter(|cookie| !cookie.is_empty())
}
