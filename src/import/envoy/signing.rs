//! Envoy's filter `aws_request_signing` as a section `api_gateway`.

use std::sync::Arc;

use super::{get, route::Endpoint};
use crate::{
    import::{
        feature::Feature,
        parameters::{self, Form, Parameter, Preset},
        route::{ImportedRoute, Table, Value},
        values::shown,
    },
    settings::foreign::ForeignNode,
    text::aws_hosts::region_in,
};

#[rustfmt::skip]
const INLINE: &[Parameter] = &[
    Parameter("access_key_id", "accesskey", Form::Secret, Preset::None),
    Parameter("secret_access_key", "secretkey", Form::Secret, Preset::None),
    Parameter("session_token", "session_token", Form::Secret, Preset::None),
];
#[rustfmt::skip]
const ROLE: &[Parameter] = &[
    Parameter("role_arn", "assume_role_arn", Form::Text, Preset::None),
    Parameter("role_session_name", "role_session_name", Form::Text, Preset::None),
    Parameter("external_id", "external_id", Form::Text, Preset::None),
    Parameter("session_duration", "role_duration", Form::Text, Preset::None),
];
const KNOWN: [&str; 10] = [
    "@type",
    "service_name",
    "region",
    "host_rewrite",
    "use_unsigned_payload",
    "match_excluded_headers",
    "match_included_headers",
    "signing_algorithm",
    "query_string",
    "credential_provider",
];

/// A table whose keys are in the spelling of YAML.
pub fn in_snake_case(node: &ForeignNode) -> ForeignNode {
    let snake = |key: &str| {
        let mut name = String::new();
        for char in key.chars() {
            if char.is_ascii_uppercase() {
                name.extend(['_', char.to_ascii_lowercase()]);
            } else {
                name.push(char);
            }
        }
        name
    };
    let entries = node.entries().iter().map(|(key, value)| (snake(key), value.clone())).collect();
    ForeignNode { line: node.line, ..ForeignNode::table(entries) }
}

/// Translates a configuration; returns the keys of `api_gateway`. `path` is what is sent before the rest of
/// the request's path.
pub fn translate(
    config: &ForeignNode,
    endpoint: &Endpoint,
    path: &str,
    file: &Arc<str>,
    route: &mut ImportedRoute,
) -> Table {
    let config = &in_snake_case(config);
    let mut keys = Table::default();
    route.features.extend([Feature::EnvoySigning, Feature::Signed, Feature::Authorization]);
    let rewritten = config.get("host_rewrite").and_then(|node| route.text("host_rewrite", node));
    let host = rewritten.or_else(|| endpoint.host_rewrite.clone());
    target(host.as_deref(), endpoint, path, &mut keys);
    let iam = iam(config, host.as_deref().unwrap_or(&endpoint.address), file, route);
    let mut authorization = Table::default();
    authorization.push("iam", Value::Table(iam));
    keys.push("authorization", Value::Table(authorization));
    for (name, _) in config.entries().iter().filter(|(name, _)| !KNOWN.contains(&&**name)) {
        route.left_out(name.as_str(), "not a parameter that is known here");
    }
    keys
}

/// The URL, and the server to connect to if it is another one.
fn target(host: Option<&str>, endpoint: &Endpoint, path: &str, keys: &mut Table) {
    let Endpoint { address, port, is_tls, sni, .. } = endpoint;
    let (scheme, default) = if *is_tls { ("https", 443) } else { ("http", 80) };
    let with_port = |name: &str| if *port == default { name.to_owned() } else { format!("{name}:{port}") };
    let own = with_port(address);
    let authority = host.map_or_else(|| own.clone(), str::to_owned);
    keys.push("function_uri", format!("{scheme}://{authority}{path}"));
    let name = authority.rsplit_once(':').map_or(&*authority, |(name, _)| name);
    let sni = sni.as_deref().filter(|sni| *is_tls && *sni != name && !sni.contains('*'));
    if authority != own || sni.is_some() {
        let mut connect = Table::default();
        connect.push("address", own);
        if let Some(sni) = sni {
            connect.push("sni", sni);
        }
        keys.push("connect", Value::Table(connect));
    }
}

fn iam(config: &ForeignNode, host: &str, file: &Arc<str>, route: &mut ImportedRoute) -> Table {
    let mut iam = Table::default();
    match config.get("region").and_then(|node| route.text("region", node)) {
        Some(region) => iam.push("aws_region", region),
        None => match region_in(host) {
            Some(region) => iam.push("aws_region", region),
            None => {
                iam.push("aws_region", "$env://AWS_REGION");
                route.attention("region", "not set: AWS_REGION in the sidecar's environment, as for Envoy");
            }
        },
    }
    match config.get("service_name").and_then(|node| route.text("service_name", node)) {
        Some(service) => iam.push("service", service),
        None => route.problem("`service_name` is missing"),
    }
    let algorithm = config.get("signing_algorithm").and_then(ForeignNode::scalar).unwrap_or_default();
    if algorithm.eq_ignore_ascii_case("aws_sigv4a") || algorithm == "1" {
        route.problem("`signing_algorithm: AWS_SIGV4A`: there is no Signature Version 4A here");
    }
    if config.get("query_string").is_some() {
        route.problem("`query_string`: signatures are in the header `Authorization` here");
    }
    for key in ["match_excluded_headers", "match_included_headers"] {
        if config.get(key).is_some() {
            route.left_out(key, "`host`, `content-type` and `x-amz-*` are signed, and no other header");
        }
    }
    if config.get("use_unsigned_payload").and_then(ForeignNode::boolean) == Some(true) {
        iam.push("payload", "unsigned");
    }
    if let Some(provider) = config.get("credential_provider") {
        credentials(&in_snake_case(provider), file, route, &mut iam);
    }
    iam
}

fn credentials(provider: &ForeignNode, file: &Arc<str>, route: &mut ImportedRoute, iam: &mut Table) {
    for (name, node) in provider.entries() {
        let node = in_snake_case(node);
        let subject = format!("credential_provider.{name}");
        match &**name {
            "inline_credential" => {
                parameters::translate(&node, INLINE, &format!("{subject}."), file, route, iam);
            }
            "assume_role_credential_provider" => {
                let rest =
                    node.entries().iter().filter(|(key, _)| key != "credential_provider").cloned().collect();
                let own = ForeignNode { line: node.line, ..ForeignNode::table(rest) };
                parameters::translate(&own, ROLE, &format!("{subject}."), file, route, iam);
                if let Some(inner) = node.get("credential_provider") {
                    credentials(&in_snake_case(inner), file, route, iam);
                }
            }
            "credentials_file_provider" => {
                if let Some(profile) = node.get("profile").and_then(|node| route.text(&subject, node)) {
                    iam.push("profile", profile);
                }
                if get(&node, "credentials_data_source").is_some() {
                    let text = "AWS_SHARED_CREDENTIALS_FILE in the sidecar's environment names the file";
                    route.attention(&*subject, text);
                }
            }
            "iam_roles_anywhere_credential_provider" => {
                route.problem(format!(
                    "`{subject}`: write `roles_anywhere` by hand, see \"IAM Roles Anywhere\""
                ));
            }
            "assume_role_with_web_identity_provider" => {
                let text = "AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN in the sidecar's environment";
                route.attention(&*subject, text);
            }
            "custom_credential_provider_chain" => {}
            _ => {
                route
                    .left_out(format!("credential_provider.{}", shown(name)), "the credential chain is used");
            }
        }
    }
}
