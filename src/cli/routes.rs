//! `apigw-invoker routes`: each route with all its settings, without any secret, as a table or as JSON.
//!
//! Both are made of the view that the admin port's `/routes` gives.

use serde_json::{Value, json};

use crate::{
    settings::{Settings, effective},
    system::terminal::{Paint, wrapped},
};

/// Headings of the table, and the cell for which a column may be left out because no route differs from it.
const COLUMNS: [(&str, Option<&str>); 11] = [
    ("ID", None),
    ("HOSTS", Some(ANY)),
    ("PATHS", None),
    ("METHODS", Some(ANY)),
    ("PRIORITY", Some("0")),
    ("BACKEND", None),
    ("TARGET", None),
    ("AUTHORIZATION", None),
    ("REGION/SERVICE", None),
    ("LIMITS", None),
    ("ENABLED", Some("yes")),
];
const ANY: &str = "any";

/// All routes as JSON.
pub fn json(settings: &Settings) -> Value {
    json!({ "routes": settings.routes.iter().map(effective).collect::<Vec<_>>() })
}

/// All routes as a table that is no wider than this.
pub fn table(settings: &Settings, paint: Paint, width: usize) -> String {
    let cells: Vec<Vec<String>> = settings.routes.iter().map(|route| cells(&effective(route))).collect();
    let says_something = |column: &usize| {
        let (_, default) = COLUMNS[*column];
        default.is_none_or(|default| cells.iter().any(|row| row[*column] != default))
    };
    let shown: Vec<usize> = (0..COLUMNS.len()).filter(says_something).collect();
    let mut rows: Vec<Vec<String>> = vec![shown.iter().map(|column| COLUMNS[*column].0.to_owned()).collect()];
    rows.extend(cells.iter().map(|row| shown.iter().map(|column| row[*column].clone()).collect()));
    let painted = wrapped(&rows, width).into_iter().enumerate().flat_map(|(at, lines)| {
        let paint_line = move |line: String| match at.checked_sub(1) {
            None => paint.heading(&line),
            Some(route) if !settings.routes[route].enabled => paint.faint(&line),
            Some(_) => line,
        };
        lines.into_iter().map(paint_line)
    });
    painted.collect::<Vec<_>>().join("\n")
}

/// A route's row.
fn cells(route: &Value) -> Vec<String> {
    let any = |key: &str| Some(list(&route[key])).filter(|list| !list.is_empty());
    let mut row = vec![
        text(&route["id"]),
        any("hosts").unwrap_or_else(|| ANY.to_owned()),
        list(&route["uris"]),
        any("methods").unwrap_or_else(|| ANY.to_owned()),
        text(&route["priority"]),
    ];
    let (gateway, lambda) = (&route["api_gateway"], &route["lambda"]);
    row.extend(if gateway.is_object() { of_gateway(gateway) } else { of_lambda(lambda) });
    let backend = if gateway.is_object() { gateway } else { lambda };
    row.push(limits(route, backend));
    row.push(if route["enabled"] == true { "yes" } else { "no" }.to_owned());
    row
}

/// Backend, target, authorization, and the region with the service.
fn of_gateway(section: &Value) -> [String; 4] {
    let iam = &section["authorization"]["iam"];
    let mut proofs = Vec::new();
    if !section["authorization"]["apikey"].is_null() {
        proofs.push("apikey".to_owned());
    }
    if iam.is_object() {
        proofs.push(format!("iam ({})", source(iam, "", "accesskey")));
    }
    let proof = if proofs.is_empty() { "none".to_owned() } else { proofs.join("+") };
    let scope = if iam.is_object() {
        format!("{}/{}", text(&iam["aws_region"]), text(&iam["service"]))
    } else {
        "-".to_owned()
    };
    let uri = text(&section["function_uri"]);
    // the query may hold what proves something
    let target = uri.split_once('?').map_or_else(|| uri.clone(), |(uri, _)| format!("{uri}?…"));
    ["api_gateway".to_owned(), target, proof, scope]
}

fn of_lambda(section: &Value) -> [String; 4] {
    let qualifier = section["qualifier"].as_str().map(|qualifier| format!(":{qualifier}"));
    let host = text(&section["host"]);
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    let usual_port = if section["disable_https"] == true { 80 } else { 443 };
    let port = Some(&section["port"]).filter(|port| **port != usual_port);
    let target = format!(
        "{}{} at {host}{}",
        text(&section["function_name"]),
        qualifier.unwrap_or_default(),
        port.map(|port| format!(":{port}")).unwrap_or_default()
    );
    let proof = format!("iam ({})", source(section, "aws_", "aws_key"));
    ["lambda".to_owned(), target, proof, format!("{}/lambda", text(&section["aws_region"]))]
}

/// The source of the keys that sign.
fn source(section: &Value, prefix: &str, key: &str) -> String {
    let of = |name: &str| section[format!("{prefix}{name}")].as_str();
    let is_file = |key: &Value| key.as_str().is_some_and(|key| key.starts_with("$file://"));
    let secret = key.replace("accesskey", "secretkey").replace("aws_key", "aws_secret");
    let keys = [&section[key], &section[secret], &section[format!("{prefix}session_token")]];
    let origin = match of("profile") {
        Some(profile) => format!("profile {profile}"),
        None if keys[0].is_null() => "chain".to_owned(),
        None if keys.into_iter().any(is_file) => "files of the settings".to_owned(),
        None => "settings".to_owned(),
    };
    of("assume_role_arn").map_or_else(|| origin.clone(), |role| format!("{role} by {origin}"))
}

fn limits(route: &Value, backend: &Value) -> String {
    let body = ["max_req_body_size", "max_request_body"].iter().find_map(|key| backend[key].as_str());
    let mut limits = vec![
        format!("body {}", body.unwrap_or_default()),
        format!("answer {}", text(&backend["first_byte_timeout"])),
    ];
    limits.extend(backend["request_timeout"].as_str().map(|limit| format!("all {limit}")));
    limits.extend(route["max_in_flight"].as_u64().map(|most| format!("{most} at a time")));
    limits.join(", ")
}

/// A text without its quotation marks.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn list(value: &Value) -> String {
    value.as_array().into_iter().flatten().map(text).collect::<Vec<_>>().join(",")
}
