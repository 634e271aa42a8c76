//! The configuration of APISIX's `aws-lambda` as a section `api_gateway`.

use std::sync::Arc;

use crate::{
    import::{
        feature::Feature,
        parameters::{self, Form, Parameter, Preset},
        route::{ImportedRoute, Table, Value},
    },
    settings::foreign::ForeignNode,
};

/// The longest duration of settings, one day.
const DAY: i64 = 86_400_000;
/// The largest body of settings, 1 GiB.
const MAX_BODY: i64 = 1 << 30;
/// `limits.max_request_body` by default, 64 MiB.
const PROCESS_BODY: i64 = 64 << 20;

#[rustfmt::skip]
const PARAMETERS: &[Parameter] = &[
    Parameter("timeout", "timeout", Form::Whole(100, DAY), Preset::Whole(3_000)),
    Parameter("ssl_verify", "ssl_verify", Form::Boolean, Preset::Boolean(true)),
    Parameter("keepalive", "keepalive", Form::Boolean, Preset::Boolean(true)),
    Parameter("keepalive_timeout", "keepalive_timeout", Form::Whole(1_000, DAY), Preset::Whole(60_000)),
    Parameter("keepalive_pool", "keepalive_pool", Form::Whole(1, 100_000), Preset::Whole(5)),
    Parameter("max_req_body_size", "max_req_body_size", Form::Whole(1, MAX_BODY), Preset::None),
];
#[rustfmt::skip]
const IAM: &[Parameter] = &[
    Parameter("accesskey", "accesskey", Form::Secret, Preset::None),
    Parameter("secretkey", "secretkey", Form::Secret, Preset::None),
    // in documents of 2.x
    Parameter("secret_key", "secretkey", Form::Secret, Preset::None),
    Parameter("aws_region", "aws_region", Form::Text, Preset::None),
    Parameter("service", "service", Form::Text, Preset::Text("execute-api")),
];
/// Keys with a treatment of their own.
const OTHERS: [&str; 4] = ["function_uri", "authorization", "disable", "_meta"];

/// Translates a configuration; returns the keys of `api_gateway`.
pub fn translate(config: &ForeignNode, file: &Arc<str>, route: &mut ImportedRoute) -> Table {
    let mut keys = Table::default();
    function_uri(config, file, route, &mut keys);
    let mut authorization = Table::default();
    authorize(config, file, route, &mut authorization);
    keys.push_table("authorization", authorization);
    let rest = config.entries().iter().filter(|(key, _)| !OTHERS.contains(&&**key)).cloned().collect();
    let rest = ForeignNode { line: config.line, ..ForeignNode::table(rest) };
    parameters::translate(&rest, PARAMETERS, "", file, route, &mut keys);
    limit_body(&keys, route);
    keys
}

fn function_uri(config: &ForeignNode, file: &Arc<str>, route: &mut ImportedRoute, keys: &mut Table) {
    let Some(node) = config.get("function_uri") else {
        route.problem("`function_uri` is missing");
        return;
    };
    let has_secret = node.text().is_some_and(has_secret);
    let value = if has_secret {
        route.secret("function_uri", "function_uri", node, file)
    } else {
        route.text("function_uri", node).map(Value::Text)
    };
    if let Some(text) = node.text() {
        let authority = text.split_once("://").map_or("", |(_, rest)| rest);
        let authority = authority.split(['/', '?']).next().unwrap_or_default();
        if authority.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()))
        {
            route.features.insert(Feature::Port);
        }
        if text.contains('?') {
            route.features.insert(Feature::Query);
        }
    }
    keys.0.extend(value.map(|value| crate::import::route::Entry {
        key: "function_uri".to_owned(),
        value,
        comment: None,
    }));
}

/// True for a URL with a user's password, or whose query has an argument that is called like a secret.
fn has_secret(url: &str) -> bool {
    let authority = url.split_once("://").map_or("", |(_, rest)| rest);
    if authority.split(['/', '?']).next().is_some_and(|authority| authority.contains('@')) {
        return true;
    }
    let query = url.split_once('?').map_or("", |(_, query)| query).to_ascii_lowercase();
    query.split('&').filter_map(|pair| pair.split_once('=')).any(|(name, value)| {
        let is_secret =
            ["key", "token", "secret", "code", "sig", "pass", "auth"].iter().any(|word| name.contains(word));
        is_secret && !value.is_empty()
    })
}

fn authorize(config: &ForeignNode, file: &Arc<str>, route: &mut ImportedRoute, keys: &mut Table) {
    let node = config.get("authorization");
    if let Some(apikey) = node.and_then(|node| node.get("apikey"))
        && let Some(value) = route.secret("apikey", "authorization.apikey", apikey, file)
    {
        keys.push("apikey", value);
    }
    if let Some(iam) = node.and_then(|node| node.get("iam")) {
        let mut below = Table::default();
        parameters::translate(iam, IAM, "authorization.iam.", file, route, &mut below);
        keys.push("iam", Value::Table(below));
    }
    for (name, _) in node.map_or(&[][..], ForeignNode::entries) {
        if !matches!(&**name, "apikey" | "iam") {
            route.left_out(format!("authorization.{name}"), "not a parameter that is known here");
        }
    }
    let (has_key, has_iam) = (keys.has("apikey"), keys.has("iam"));
    let features = [
        (Feature::Authorization, has_key || has_iam),
        (Feature::KeyAndIam, has_key && has_iam),
        (Feature::Signed, has_iam),
        (Feature::Unsigned, !has_iam),
    ];
    route.features.extend(features.into_iter().filter(|(_, is)| *is).map(|(feature, _)| feature));
}

/// Says what a body above the process's limit needs.
fn limit_body(keys: &Table, route: &mut ImportedRoute) {
    let written = keys.0.iter().find(|entry| entry.key == "max_req_body_size");
    match written.map(|entry| &entry.value) {
        None => drop(route.features.insert(Feature::BodyLimit)),
        Some(Value::Integer(bytes)) if *bytes > PROCESS_BODY => {
            route.problem(format!(
                "max_req_body_size: {bytes} is above `limits.max_request_body`, 64MiB: write that limit into \
                 default.yaml, and the route by hand"
            ));
        }
        Some(_) => {}
    }
}
