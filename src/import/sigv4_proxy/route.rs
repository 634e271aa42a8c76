//! One proxy as a route for every path, and its port as the listener's.

use super::{
    containers::Container,
    credentials,
    flags::Flags,
    variables::{name_of, variables_in},
};
use crate::{
    import::{
        feature::Feature,
        route::{ImportedRoute, Secret, Table, Value},
        values::{kept_reference, shown},
    },
    settings::foreign::ForeignNode,
    text::{aws_endpoints::endpoint, aws_hosts::region_in},
};

/// Names of headers whose values are no secrets.
const HARMLESS: [&str; 7] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "cache-control",
    "content-type",
    "user-agent",
    "x-amz-target",
];
/// Headers that the sidecar sets, removes or answers itself.
const OWN_HEADERS: [&str; 16] = [
    "authorization",
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-amz-date",
    "x-amz-security-token",
];
/// Translates the flags of a proxy.
pub fn translate(flags: &Flags, container: &Container, route: &mut ImportedRoute, process: &mut Table) {
    route.flags.clone_from(&flags.set);
    for flag in &flags.unknown {
        route.left_out(shown(flag), "not a flag of aws-sigv4-proxy that is known here");
    }
    if flags.arguments > 0 {
        let text = format!("{} without a flag: aws-sigv4-proxy has no arguments", flags.arguments);
        route.left_out("arguments", text);
    }
    refuse_variables(flags, route);
    listen(flags, route, process);
    route.keys.push("uri", "/*");
    headers(flags, route);
    let mut section = Table::default();
    target(flags, route, &mut section);
    let mut authorization = Table::default();
    apikey(flags, route, &mut authorization);
    let iam = iam(flags, container, route);
    authorization.push("iam", Value::Table(iam));
    section.push("authorization", Value::Table(authorization));
    section.push_with("timeout", "1m", "aws-sigv4-proxy has no time limit; the default here is 3s");
    let about_body = "aws-sigv4-proxy has no limit; the default here is 10MiB";
    section.push_with("max_req_body_size", "64MiB", about_body);
    if let Some(timeout) = &flags.idle_conn_timeout {
        match duration(timeout) {
            Some(duration) => section.push("keepalive_timeout", duration),
            None => {
                route.problem(format!("`--transport.idle-conn-timeout {}` is no duration", shown(timeout)));
            }
        }
    }
    if flags.no_verify_ssl {
        section.push("ssl_verify", false);
    }
    route.features.extend([Feature::Authorization, Feature::Signed]);
    route.keys.push("api_gateway", Value::Table(section));
    if !flags.duplicate_headers.is_empty() {
        let names = flags.duplicate_headers.iter().map(|name| shown(name)).collect::<Vec<_>>().join(", ");
        route.left_out("--duplicate-headers", format!("no `X-Original-` copy of {names}"));
    }
}

/// Reports variables whose values are not in the file. A key that is one of them as a whole may refer to it.
fn refuse_variables(flags: &Flags, route: &mut ImportedRoute) {
    let Flags { port, role_arn, name, sign_host, host, region, scheme, idle_conn_timeout, .. } = flags;
    for (flag, value, may_refer) in [
        ("--port", port, false),
        ("--role-arn", role_arn, true),
        ("--name", name, true),
        ("--sign-host", sign_host, false),
        ("--host", host, false),
        ("--region", region, true),
        ("--upstream-url-scheme", scheme, false),
        ("--transport.idle-conn-timeout", idle_conn_timeout, false),
    ] {
        let Some(value) = value else { continue };
        if may_refer && kept_reference(value).is_some() {
            continue;
        }
        for variable in variables_in(value) {
            let variable = shown(variable);
            route.problem(format!("`{flag}`: the value of the variable `{variable}` is not in the file"));
        }
    }
}

/// The port, as that of the listener on loopback.
fn listen(flags: &Flags, route: &mut ImportedRoute, process: &mut Table) {
    let written = flags.port.as_deref().unwrap_or(":8080");
    let port = written.rsplit(':').next().and_then(|port| port.parse::<u16>().ok()).filter(|port| *port != 0);
    let Some(port) = port else {
        route.attention("--port", format!("`{}` is no port: set `listen.http`", shown(written)));
        return;
    };
    let address = format!("127.0.0.1:{port}");
    if process.has("listen") {
        route.attention(
            "--port",
            format!("another proxy has `listen.http` already; this one had port {port}"),
        );
        return;
    }
    let mut listen = Table::default();
    let about =
        "aws-sigv4-proxy listens on all addresses; clients outside of this machine or pod need 0.0.0.0";
    listen.push_with("http", address, about);
    process.push("listen", Value::Table(listen));
    route.changed("--port", format!("`listen.http: 127.0.0.1:{port}` in default.yaml, on loopback alone"));
}

fn headers(flags: &Flags, route: &mut ImportedRoute) {
    let is_own = |name: &str| OWN_HEADERS.contains(&&*name.to_ascii_lowercase());
    let (mut request, mut set) = (Table::default(), Table::default());
    for (name, value) in &flags.custom_headers {
        if name.eq_ignore_ascii_case("x-api-key") {
            continue;
        }
        if is_own(name) {
            route.left_out("--custom-headers", format!("`{}` is set by the sidecar itself", shown(name)));
            continue;
        }
        let value = if HARMLESS.contains(&&*name.to_ascii_lowercase()) {
            Value::from(value.as_str())
        } else {
            let Some(value) = secret(&format!("header-{name}"), "--custom-headers", value, route) else {
                continue;
            };
            value
        };
        set.push(name.as_str(), value);
    }
    if !set.0.is_empty() {
        request.push("set", Value::Table(set));
        let text = "`set` replaces a header of the client; the proxy kept the client's";
        route.changed("--custom-headers", text);
    }
    let mut removed: Vec<&str> = Vec::new();
    for name in &flags.strip {
        if is_own(name) {
            route.left_out(
                "--strip",
                format!("`{}` is removed or set by the sidecar in any case", shown(name)),
            );
        } else if !removed.contains(&&**name) {
            removed.push(name);
        }
    }
    if !removed.is_empty() {
        request.push("remove", Value::texts(removed));
    }
    if !request.0.is_empty() {
        let mut headers = Table::default();
        headers.push("request", Value::Table(request));
        route.keys.push("headers", Value::Table(headers));
    }
}

/// `x-api-key` of `--custom-headers` is a key of its own.
fn apikey(flags: &Flags, route: &mut ImportedRoute, keys: &mut Table) {
    let header = flags.custom_headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("x-api-key"));
    if let Some((_, value)) = header
        && let Some(value) = secret("apikey", "--custom-headers x-api-key", value, route)
    {
        keys.push("apikey", value);
    }
}

/// The value of a header as a secret. One with a variable in its middle is not known.
fn secret(kind: &str, subject: &str, value: &str, route: &mut ImportedRoute) -> Option<Value> {
    let place = route.place.clone();
    if let Some(variable) = variables_in(value).first().filter(|_| kept_reference(value).is_none()) {
        let text =
            format!("the value of the variable `{}` is not in the file: set the secret", shown(variable));
        route.attention(subject, text);
        return Some(Value::Secret(Secret { kind: kind.to_owned(), value: None, place, file: None }));
    }
    let node = ForeignNode { line: place.line.unwrap_or_default(), ..ForeignNode::of_text(value) };
    route.secret(kind, subject, &node, &place.source)
}

/// The server: `--host`, or the host that clients name.
fn target(flags: &Flags, route: &mut ImportedRoute, keys: &mut Table) {
    let scheme = flags.scheme.as_deref().unwrap_or("https");
    let Some(host) = flags.host.as_deref() else {
        route.flags.insert(0, "no --host");
        if scheme != "https" {
            route.problem("without `--host` the sidecar calls hosts by https alone");
        }
        if flags.sign_host.is_some() {
            route.problem("`--sign-host` without `--host`: name the host to connect to");
        }
        keys.push("function_uri", "https://{host}");
        let about =
            "aws-sigv4-proxy signs for every endpoint of AWS: write down those that the application calls";
        keys.push_with("hosts", Value::texts(["*.amazonaws.com", "*.on.aws"]), about);
        route
            .attention("hosts", "every endpoint of AWS may be called: name those that the application calls");
        return;
    };
    match flags.sign_host.as_deref().filter(|sign_host| *sign_host != host) {
        None => keys.push("function_uri", format!("{scheme}://{host}")),
        Some(sign_host) => {
            keys.push("function_uri", format!("{scheme}://{sign_host}"));
            let mut connect = Table::default();
            connect.push("address", host);
            if scheme == "https" {
                let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
                connect.push("sni", name);
            }
            keys.push("connect", Value::Table(connect));
        }
    }
}

fn iam(flags: &Flags, container: &Container, route: &mut ImportedRoute) -> Table {
    let mut iam = Table::default();
    let host = flags.sign_host.as_deref().or(flags.host.as_deref());
    // the proxy ignores one without the other
    let given = flags.name.as_deref().zip(flags.region.as_deref());
    match (given, host) {
        (Some((name, region)), _) => {
            let known = |text: &str| kept_reference(text).unwrap_or_else(|| text.to_owned());
            iam.push("aws_region", known(region));
            iam.push("service", known(name));
        }
        (None, Some(host)) => match (region_in(host), endpoint(host)) {
            (Some(region), Some(endpoint)) => {
                iam.push("aws_region", region);
                iam.push("service", endpoint.service);
            }
            _ => route.problem(format!(
                "`--name` and `--region` are not both set, and `{}` names no service and region of AWS",
                shown(host)
            )),
        },
        (None, None) => {}
    }
    if given.is_none() && (flags.name.is_some() || flags.region.is_some()) {
        route.changed("--name, --region", "one without the other, which the proxy ignores");
    }
    let Container { arguments, environment, .. } = container;
    let mut written = credentials::push_keys(environment, route, &mut iam);
    if let Some(arn) = &flags.role_arn {
        let node = ForeignNode::of_text(arn.as_str());
        if let Some(arn) = route.text("--role-arn", &node) {
            iam.push("assume_role_arn", arn);
            if credentials::push_session_name(environment, route, &mut iam) {
                written.push(credentials::SESSION_NAME);
            }
        }
    }
    let mentioned = arguments.iter().flat_map(|argument| variables_in(argument));
    let mentioned: Vec<String> = mentioned.filter_map(name_of).map(str::to_owned).collect();
    credentials::report(environment, &mentioned, &written, route);
    if flags.unsigned_payload {
        iam.push("payload", "unsigned");
    }
    iam
}

/// A duration of Go (`1m30s`) in the spelling of settings (`1m 30s`).
fn duration(text: &str) -> Option<String> {
    let mut parts = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let digits = rest.find(|char: char| !char.is_ascii_digit())?;
        let unit_end =
            rest[digits..].find(|char: char| char.is_ascii_digit()).map_or(rest.len(), |end| digits + end);
        let (number, unit) = (&rest[..digits], &rest[digits..unit_end]);
        if number.is_empty() || !matches!(unit, "ms" | "s" | "m" | "h") {
            return None;
        }
        parts.push(format!("{number}{unit}"));
        rest = &rest[unit_end..];
    }
    (!parts.is_empty()).then(|| parts.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_of_go_are_those_of_settings() {
        for (text, expected) in [
            ("40s", Some("40s")),
            ("1m30s", Some("1m 30s")),
            ("500ms", Some("500ms")),
            ("", None),
            ("40", None),
            ("1.5h", None),
            ("s", None),
        ] {
            assert_eq!(duration(text).as_deref(), expected, "{text}");
        }
    }
}
