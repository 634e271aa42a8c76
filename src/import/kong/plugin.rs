//! The configuration of Kong's `aws-lambda` as a section `lambda`.

use std::sync::Arc;

use crate::{
    import::{
        feature::Feature,
        parameters::{self, Form, Parameter, Preset},
        route::{ImportedRoute, Table, Value},
        values::is_placeholder,
    },
    settings::foreign::ForeignNode,
};

/// The longest duration of settings, one day.
const DAY: i64 = 86_400_000;

/// The parameters of every version, in the order in which their keys are written.
#[rustfmt::skip]
const PARAMETERS: &[Parameter] = &[
    Parameter("function_name", "function_name", Form::Text, Preset::None),
    Parameter("qualifier", "qualifier", Form::Text, Preset::None),
    Parameter("aws_region", "aws_region", Form::Text, Preset::None),
    Parameter("aws_key", "aws_key", Form::Secret, Preset::None),
    Parameter("aws_access_key", "aws_key", Form::Secret, Preset::None),
    Parameter("aws_secret", "aws_secret", Form::Secret, Preset::None),
    Parameter("aws_secret_key", "aws_secret", Form::Secret, Preset::None),
    Parameter("aws_session_token", "aws_session_token", Form::Secret, Preset::None),
    Parameter("aws_assume_role_arn", "aws_assume_role_arn", Form::Text, Preset::None),
    Parameter("aws_role_session_name", "aws_role_session_name", Form::Text, Preset::Text("kong")),
    Parameter("aws_sts_endpoint_url", "aws_sts_endpoint_url", Form::Text, Preset::None),
    Parameter("host", "host", Form::Text, Preset::None),
    Parameter("port", "port", Form::Port, Preset::None),
    Parameter("disable_https", "disable_https", Form::Boolean, Preset::Boolean(false)),
    Parameter("ssl_verify", "ssl_verify", Form::Boolean, Preset::Boolean(true)),
    Parameter("invocation_type", "invocation_type", Form::Text, Preset::Text("RequestResponse")),
    Parameter("log_type", "log_type", Form::Text, Preset::Text("Tail")),
    Parameter("timeout", "timeout", Form::Whole(100, DAY), Preset::Whole(60_000)),
    Parameter("keepalive", "keepalive", Form::WholeOrZero(1_000, DAY), Preset::Whole(60_000)),
    Parameter("proxy_url", "proxy_url", Form::SecretUrl, Preset::None),
    Parameter("forward_request_method", "forward_request_method", Form::Boolean, Preset::Boolean(false)),
    Parameter("forward_request_uri", "forward_request_uri", Form::Boolean, Preset::Boolean(false)),
    Parameter("forward_request_headers", "forward_request_headers", Form::Boolean, Preset::Boolean(false)),
    Parameter("forward_request_body", "forward_request_body", Form::Boolean, Preset::Boolean(false)),
    Parameter("awsgateway_compatible", "awsgateway_compatible", Form::Boolean, Preset::Boolean(false)),
    Parameter("awsgateway_compatible_payload_version", "awsgateway_compatible_payload_version", Form::Text,
        Preset::Text("1.0")),
    Parameter("base64_encode_body", "base64_encode_body", Form::Boolean, Preset::None),
    Parameter("body", "body", Form::Json, Preset::None),
    Parameter("client_context", "client_context", Form::Json, Preset::None),
    Parameter("is_proxy_integration", "is_proxy_integration", Form::Boolean, Preset::Boolean(false)),
    Parameter("unhandled_status", "unhandled_status", Form::Whole(200, 999), Preset::None),
    Parameter("empty_arrays_mode", "empty_arrays_mode", Form::Text, Preset::Text("correct")),
    Parameter("preserve_lambda_api_error_code", "preserve_lambda_api_error_code", Form::Boolean,
        Preset::Boolean(false)),
    Parameter("proxy_scheme", "", Form::LeftOut("`proxy_url` has the scheme; calls of AWS use its `CONNECT`"),
        Preset::None),
];
/// Parameters with a treatment of their own.
const OTHERS: [&str; 2] = ["aws_imds_protocol_version", "skip_large_bodies"];

/// Translates a configuration; returns the keys of `lambda`.
pub fn translate(config: &ForeignNode, file: &Arc<str>, route: &mut ImportedRoute) -> Table {
    let mut keys = Table::default();
    let has_version = config.get("aws_imds_protocol_version").is_some();
    let mut config = without_others(config, route);
    complete(&mut config);
    parameters::translate(&config, PARAMETERS, "config.", file, route, &mut keys);
    settle(&mut keys, route);
    features(&keys, &config, route);
    if !has_keys(&config) && !has_version {
        route.features.insert(Feature::DefaultMetadata);
    }
    keys
}

/// The configuration without the parameters that are not keys here.
fn without_others(config: &ForeignNode, route: &mut ImportedRoute) -> ForeignNode {
    if config.get("skip_large_bodies").and_then(ForeignNode::boolean) == Some(false) {
        route.changed("config.skip_large_bodies", "no body is skipped in any case");
    }
    let is_v1 = config.get("aws_imds_protocol_version").and_then(ForeignNode::text) == Some("v1");
    if is_v1 && !has_keys(config) {
        let text = "not written: IMDSv2 is used; `aws_imds_protocol_version: v1` for a service without it";
        route.changed("config.aws_imds_protocol_version", text);
    }
    let entries = config.entries().iter().filter(|(key, _)| !OTHERS.contains(&&**key)).cloned().collect();
    ForeignNode { line: config.line, ..ForeignNode::table(entries) }
}

/// True for keys in the configuration, with which nothing asks the metadata service.
fn has_keys(config: &ForeignNode) -> bool {
    ["aws_key", "aws_access_key"].iter().any(|key| config.get(key).is_some())
}

/// YAML reads `2.0` as a number.
fn complete(config: &mut ForeignNode) {
    const VERSION: &str = "awsgateway_compatible_payload_version";
    let Some(number) = config.get(VERSION).filter(|node| node.text().is_none()).and_then(ForeignNode::number)
    else {
        return;
    };
    let mut entries = config.entries().to_vec();
    for (_, node) in entries.iter_mut().filter(|(key, _)| key == VERSION) {
        *node = ForeignNode { line: node.line, ..ForeignNode::of_text(format!("{number:.1}")) };
    }
    *config = ForeignNode { line: config.line, ..ForeignNode::table(entries) };
}

/// Removes keys that say nothing or conflict here.
fn settle(keys: &mut Table, route: &mut ImportedRoute) {
    let is_on = |keys: &Table, name: &str| {
        keys.0.iter().any(|e| e.key == name && matches!(e.value, Value::Boolean(true)))
    };
    if is_on(keys, "is_proxy_integration") && keys.has("empty_arrays_mode") {
        keys.0.retain(|entry| entry.key != "empty_arrays_mode");
        let text = "not with `is_proxy_integration`: the function's body is a text and stays as it is";
        route.left_out("config.empty_arrays_mode", text);
    }
    let is_placeholder_region = |value: &Value| matches!(value, Value::Text(text) if is_placeholder(text));
    keys.0.retain(|entry| entry.key != "aws_region" || !is_placeholder_region(&entry.value));
    if is_on(keys, "disable_https") && !keys.has("port") {
        route.features.insert(Feature::DisableHttpsAlone);
    }
    let default_port = if is_on(keys, "disable_https") { None } else { Some(443) };
    keys.0.retain(|entry| {
        entry.key != "port" || !matches!(entry.value, Value::Integer(port) if Some(port) == default_port)
    });
    // the default, and yet written: without it `check` remarks on payload 1.0
    let is_gateway = is_on(keys, "awsgateway_compatible");
    keys.0.retain(|entry| {
        entry.key != "base64_encode_body" || is_gateway || !matches!(entry.value, Value::Boolean(true))
    });
    if is_gateway && !keys.has("base64_encode_body") {
        keys.push("base64_encode_body", true);
    }
    let is_other_text = |name: &str| {
        keys.0.iter().any(|e| e.key == name && matches!(&e.value, Value::Text(t) if !t.starts_with("arn:")))
    };
    let has_arn = keys.has("function_name") && !is_other_text("function_name");
    if !keys.has("aws_region") && !has_arn {
        route.features.insert(Feature::NoRegion);
        let text = "not set: set `aws_region`, or AWS_REGION in the sidecar's environment";
        route.attention("config.aws_region", text);
    }
}

/// The features that the keys show.
fn features(keys: &Table, config: &ForeignNode, route: &mut ImportedRoute) {
    let is_on = |name: &str| keys.0.iter().any(|e| e.key == name && matches!(e.value, Value::Boolean(true)));
    let mut add = |feature: Feature, is: bool| {
        if is {
            route.features.insert(feature);
        }
    };
    let gateway = is_on("awsgateway_compatible");
    let is_second = keys.has("awsgateway_compatible_payload_version");
    let forwards =
        ["method", "uri", "headers", "body"].iter().any(|part| is_on(&format!("forward_request_{part}")));
    add(Feature::Signed, true);
    add(Feature::Gateway, gateway);
    add(Feature::Gateway1, gateway && !is_second);
    add(Feature::Gateway2, gateway && is_second);
    add(Feature::Merge, !gateway && !forwards);
    add(Feature::ForwardUri, !gateway && is_on("forward_request_uri"));
    add(Feature::ForwardHeaders, !gateway && is_on("forward_request_headers"));
    add(Feature::ForwardBody, !gateway && is_on("forward_request_body"));
    add(Feature::PlainBody, config.get("base64_encode_body").and_then(ForeignNode::boolean) == Some(false));
    add(Feature::ProxyIntegration, is_on("is_proxy_integration"));
    add(Feature::UnhandledStatus, keys.has("unhandled_status"));
    add(Feature::DisableHttps, is_on("disable_https"));
    add(Feature::RegionalHost, !keys.has("host"));
    add(Feature::DefaultTls, config.get("ssl_verify").is_none() && !is_on("disable_https"));
    add(Feature::LogTail, !keys.has("log_type"));
    let has_legacy_arrays = config.get("empty_arrays_mode").is_none() && !is_on("is_proxy_integration");
    add(Feature::EmptyArrays, has_legacy_arrays);
}
