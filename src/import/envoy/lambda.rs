//! Envoy's filter `aws_lambda` as a section `lambda`.

use std::sync::Arc;

use super::{get, route::Endpoint};
use crate::{
    import::{
        feature::Feature,
        parameters::{self, Form, Parameter, Preset},
        route::{ImportedRoute, Table, Value},
    },
    settings::foreign::ForeignNode,
    text::aws_hosts::region_of_lambda_host,
};

#[rustfmt::skip]
const CREDENTIALS: &[Parameter] = &[
    Parameter("access_key_id", "aws_key", Form::Secret, Preset::None),
    Parameter("secret_access_key", "aws_secret", Form::Secret, Preset::None),
    Parameter("session_token", "aws_session_token", Form::Secret, Preset::None),
];
const KNOWN: [&str; 12] = [
    "@type",
    "arn",
    "payload_passthrough",
    "payloadPassthrough",
    "invocation_mode",
    "invocationMode",
    "host_rewrite",
    "hostRewrite",
    "credentials_profile",
    "credentialsProfile",
    "credentials",
    "match_excluded_headers",
];

/// The sentence about the event that Envoy makes.
const OWN_EVENT: &str = "`payload_passthrough: false`: the function gets an event of Envoy's own shape, \
    which the sidecar does not send; once the function reads API Gateway's event 1.0 or 2.0, write \
    `awsgateway_compatible: true` and `is_proxy_integration: true`";

/// Translates a configuration; returns the keys of `lambda`.
pub fn translate(
    config: &ForeignNode,
    endpoint: &Endpoint,
    file: &Arc<str>,
    route: &mut ImportedRoute,
) -> Table {
    let mut keys = Table::default();
    route.features.extend([Feature::EnvoyLambda, Feature::Signed]);
    match get(config, "arn") {
        Some(arn) => {
            if let Some(arn) = route.text("arn", arn) {
                keys.push("function_name", arn);
            }
        }
        None => route.problem("`arn` is missing"),
    }
    let is_passthrough = get(config, "payload_passthrough").and_then(ForeignNode::boolean) == Some(true);
    if !is_passthrough {
        route.problem(OWN_EVENT);
    }
    let mode = get(config, "invocation_mode").and_then(ForeignNode::scalar).unwrap_or_default();
    if mode.eq_ignore_ascii_case("asynchronous") || mode == "1" {
        keys.push("invocation_type", "Event");
        route.changed("invocation_mode", "202 of the Lambda API is sent as it is; Envoy answers 200");
    }
    keys.push_with("log_type", "None", "Envoy requests no log");
    host(config, endpoint, route, &mut keys);
    if let Some(profile) = get(config, "credentials_profile")
        && let Some(profile) = route.text("credentials_profile", profile)
    {
        keys.push("aws_profile", profile);
    }
    if let Some(credentials) = config.get("credentials") {
        let credentials = super::signing::in_snake_case(credentials);
        parameters::translate(&credentials, CREDENTIALS, "credentials.", file, route, &mut keys);
    }
    for (name, _) in config.entries().iter().filter(|(name, _)| !KNOWN.contains(&&**name)) {
        route.left_out(name.as_str(), "not a parameter that is known here");
    }
    keys
}

/// The server, where it is not the endpoint of the region.
fn host(config: &ForeignNode, endpoint: &Endpoint, route: &mut ImportedRoute, keys: &mut Table) {
    let rewritten = get(config, "host_rewrite").and_then(|node| route.text("host_rewrite", node));
    let Endpoint { address, port, is_tls, .. } = endpoint;
    if let Some(rewritten) = rewritten {
        let name = rewritten.rsplit_once(':').map_or(&*rewritten, |(name, _)| name);
        keys.push("host", name);
        if name != address {
            let mut connect = Table::default();
            connect.push("address", format!("{address}:{port}"));
            keys.push("connect", Value::Table(connect));
        }
    } else if region_of_lambda_host(address).is_none() {
        keys.push("host", address.as_str());
    }
    if !is_tls {
        keys.push("disable_https", true);
    }
    if *port != if *is_tls { 443 } else { 80 } {
        keys.push("port", i64::from(*port));
    }
}
