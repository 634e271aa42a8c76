//! A route with all its settings, defaults among them, as JSON in the shape of its file, for people and scripts.
//!
//! `state/snapshot.rs` has it made for the admin port's `/routes`. Whatever is a secret, or may be one since it can be a
//! reference, is said to be there and not shown.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{
    ApiGatewaySettings, BackendSettings, ClientAuthorization, EmptyArraysMode, ForwardProxy, InvokeMode,
    LambdaSettings, MayHaveRun, MetadataProtocol, MountedKeys, Origin, Part, PayloadSettings, PayloadVersion,
    RouteSettings, Scheme, Source, UpstreamSettings,
};
use crate::routing::{HostPattern, RouteRule, UriPattern};
use crate::text::units::{duration_text, size_text};

/// In the place of what is not shown.
pub const REDACTED: &str = "(redacted)";

/// How a route is set, without its secrets. What is not set and has no default is `null`.
pub fn effective(route: &RouteSettings) -> Value {
    let RouteRule { uris, hosts, methods, priority } = &route.rule;
    let methods: &[_] = if methods.is_any() { &[] } else { methods.allowed() };
    let mut members = Map::new();
    let mut add = |name: &str, value: Value| members.insert(name.to_owned(), value);
    add("id", json!(route.id));
    add("file", json!(route.place.source));
    add("enabled", json!(route.enabled));
    add("uris", uris.iter().map(uri).collect());
    add("hosts", hosts.iter().map(host).collect());
    add("methods", methods.iter().map(|method| json!(method.as_str())).collect());
    add("priority", json!(priority));
    add("max_in_flight", json!(route.max_in_flight));
    match &route.backend {
        BackendSettings::ApiGateway(settings) => add("api_gateway", api_gateway(settings)),
        BackendSettings::Lambda(settings) => add("lambda", lambda(settings)),
    };
    let mut route_as_set = Value::Object(members);
    for path in &route.hidden {
        let last = path.iter().try_fold(&mut route_as_set, |value, key| value.get_mut(key));
        if let Some(value) = last.filter(|value| !value.is_null()) {
            *value = json!(REDACTED);
        }
    }
    route_as_set
}

fn uri(uri: &UriPattern) -> String {
    match uri {
        UriPattern::Exact(path) => path.clone(),
        UriPattern::Below(path) | UriPattern::AtAndBelow(path) => format!("{path}*"),
    }
}

fn host(host: &HostPattern) -> String {
    match host {
        HostPattern::Exact(name) => name.clone(),
        HostPattern::Suffix(suffix) => format!("*{suffix}"),
    }
}

fn api_gateway(settings: &ApiGatewaySettings) -> Value {
    let uri = &settings.function_uri;
    let query = if uri.query.is_some() { format!("?{REDACTED}") } else { String::new() };
    let authorization = &settings.authorization;
    let iam = authorization.iam.as_ref().map(|iam| {
        let mut members = source(&iam.source, "", ["accesskey", "secretkey", "session_token"]);
        members.insert("aws_region".to_owned(), json!(iam.region));
        members.insert("service".to_owned(), json!(iam.service));
        members
    });
    let mut members = object(json!({
        "function_uri": format!("{}://{}{}{query}", uri.scheme.name(), uri.authority, uri.path),
        "authorization": { "apikey": hidden(authorization.apikey.as_ref()), "iam": iam },
        "client_authorization": match settings.client_authorization {
            ClientAuthorization::Replace => "replace",
            ClientAuthorization::Pass => "pass",
        },
    }));
    let keepalive = &settings.upstream;
    members.extend(upstream(&settings.upstream));
    members.insert("keepalive".to_owned(), json!(keepalive.keepalive));
    members.insert("keepalive_timeout".to_owned(), duration(keepalive.keepalive_timeout));
    members.insert("max_req_body_size".to_owned(), json!(size_text(settings.max_req_body_size)));
    Value::Object(members)
}

fn lambda(settings: &LambdaSettings) -> Value {
    let mut members = object(json!({
        "function_name": settings.function,
        "qualifier": settings.qualifier,
        "aws_region": settings.region,
        "host": settings.endpoint.host,
        "port": settings.endpoint.port,
        "disable_https": settings.endpoint.scheme == Scheme::Http,
        // their names are Kong's words
        "invocation_type": format!("{:?}", settings.invocation_type),
        "log_type": format!("{:?}", settings.log_type),
        "invoke_mode": match settings.invoke_mode {
            InvokeMode::Buffered => "buffered",
            InvokeMode::ResponseStream => "response_stream",
        },
        "client_context": hidden(settings.client_context.as_ref()),
        "tenant_id": hidden(settings.tenant_id.as_ref()),
    }));
    members.extend(source(&settings.source, "aws_", ["aws_key", "aws_secret", "aws_session_token"]));
    members.extend(payload(&settings.payload));
    members.extend(answer(settings));
    members.extend(upstream(&settings.upstream));
    let keepalive = &settings.upstream;
    let kept = if keepalive.keepalive { keepalive.keepalive_timeout } else { Duration::ZERO };
    members.insert("keepalive".to_owned(), duration(kept));
    members.insert("max_request_body".to_owned(), json!(size_text(settings.max_request_body)));
    Value::Object(members)
}

fn payload(settings: &PayloadSettings) -> Map<String, Value> {
    object(match settings {
        PayloadSettings::Gateway(event) => json!({
            "awsgateway_compatible": true,
            "awsgateway_compatible_payload_version": version(event.version),
            "base64_encode_body": event.base64_encode_body,
            "account_id": event.account_id,
            "api_id": event.api_id,
            "stage": event.stage,
            "stage_variables": names(event.stage_variables.keys()),
        }),
        PayloadSettings::Forward(parts) => json!({
            "forward_request_method": parts.method,
            "forward_request_uri": parts.uri,
            "forward_request_headers": parts.headers,
            "forward_request_body": parts.body,
            "base64_encode_body": parts.base64_encode_body,
        }),
        PayloadSettings::Merge { body } => json!({ "body": body.as_ref().map(|body| names(body.keys())) }),
    })
}

fn answer(settings: &LambdaSettings) -> Map<String, Value> {
    let answer = &settings.answer;
    object(json!({
        "is_proxy_integration": answer.is_proxy_integration,
        "unhandled_status": answer.unhandled_status.map(|status| status.as_u16()),
        "empty_arrays_mode": match answer.empty_arrays_mode {
            EmptyArraysMode::Correct => "correct",
            EmptyArraysMode::Legacy => "legacy",
        },
        "preserve_lambda_api_error_code": answer.preserve_lambda_api_error_code,
    }))
}

/// Where the keys come from; `names` are those of the three that the route may have itself.
fn source(source: &Source, prefix: &str, names: [&str; 3]) -> Map<String, Value> {
    let part = |part: &Part| match part {
        Part::Text(_) => REDACTED.to_owned(),
        Part::File(path) => format!("$file://{}", path.display()),
    };
    let keys = match &source.origin {
        Origin::Keys(keys) => [
            Some(REDACTED.to_owned()),
            Some(REDACTED.to_owned()),
            hidden(keys.session_token()).map(str::to_owned),
        ],
        Origin::Mounted(MountedKeys { key, secret, session_token }) => {
            [Some(part(key)), Some(part(secret)), session_token.as_ref().map(part)]
        }
        Origin::Profile(_) | Origin::Chain => [None, None, None],
    };
    let mut members: Map<String, Value> =
        names.iter().zip(keys).map(|(name, key)| ((*name).to_owned(), json!(key))).collect();
    let profile = if let Origin::Profile(profile) = &source.origin { Some(profile) } else { None };
    let role = source.role.as_ref();
    for (name, value) in [
        ("profile", json!(profile)),
        ("assume_role_arn", json!(role.map(|role| &role.arn))),
        ("role_session_name", json!(role.map(|role| &role.session_name))),
        ("external_id", json!(hidden(role.and_then(|role| role.external_id.as_ref())))),
        ("role_duration", role.and_then(|role| role.duration).map_or(Value::Null, duration)),
        ("sts_endpoint_url", json!(source.sts_endpoint)),
        ("imds_protocol_version", json!(if source.metadata == MetadataProtocol::V1 { "v1" } else { "v2" })),
    ] {
        members.insert(format!("{prefix}{name}"), value);
    }
    members
}

fn upstream(settings: &UpstreamSettings) -> Map<String, Value> {
    let identity = settings.client_identity.as_ref();
    let address = settings.connect.address.as_ref().map(|(host, port)| match port {
        Some(port) => super::HostPort(host, *port).to_string(),
        None => host.clone(),
    });
    object(json!({
        "connect_timeout": duration(settings.timeouts.connect),
        "first_byte_timeout": duration(settings.timeouts.first_byte),
        "idle_timeout": duration(settings.timeouts.idle),
        "request_timeout": settings.request_timeout.map(duration),
        "retry": {
            "attempts": settings.retry.attempts,
            "backoff": duration(settings.retry.backoff),
            "max_backoff": duration(settings.retry.max_backoff),
            "budget": settings.retry.budget,
            "unsafe": may_have_run(settings.retry.accepted),
            "unsafe_methods": settings.retry.any_method,
        },
        "circuit_breaker": settings.circuit_breaker.map(|breaker| json!({
            "failures": breaker.failures,
            "open_for": duration(breaker.open_for),
        })),
        "ssl_verify": settings.ssl_verify,
        "ca_certificate": settings.ca_certificate,
        "client_certificate": hidden(identity),
        "client_key": hidden(identity),
        "connect": { "address": address, "sni": settings.connect.sni },
        "proxy_url": settings.proxy.as_ref().map(proxy),
        "keepalive_pool": settings.keepalive_pool,
    }))
}

fn proxy(proxy: &ForwardProxy) -> String {
    let user = if proxy.authorization.is_some() { format!("{REDACTED}@") } else { String::new() };
    format!("http://{user}{proxy}")
}

fn may_have_run(outcomes: MayHaveRun) -> Vec<&'static str> {
    let MayHaveRun { connection_lost, unavailable, timeout } = outcomes;
    [("connection_lost", connection_lost), ("unavailable", unavailable), ("timeout", timeout)]
        .into_iter()
        .filter_map(|(name, accepted)| accepted.then_some(name))
        .collect()
}

/// That something is there.
fn hidden<T>(secret: Option<T>) -> Option<&'static str> {
    secret.map(|_| REDACTED)
}

/// A table of which only the names are shown.
fn names<'a>(names: impl Iterator<Item = &'a String>) -> Value {
    names.map(|name| (name.clone(), json!(REDACTED))).collect()
}

fn version(version: PayloadVersion) -> &'static str {
    match version {
        PayloadVersion::V1 => "1.0",
        PayloadVersion::V2 => "2.0",
    }
}

fn duration(duration: Duration) -> Value {
    json!(duration_text(duration))
}

/// The members of what is an object.
fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}
