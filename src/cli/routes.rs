//! `apigw-invoker routes`: the effective routes without secrets, as a table or as the JSON of the admin
//! port's `/routes`.

use serde_json::Value;

use crate::{
    settings::{CallerKeys, RouteSettings, Settings, effective},
    system::terminal::{Paint, wrapped},
    text::{key_source::KeySource, units::OrNone},
};

/// The headings of the table. A column is left out if every cell has this value.
const COLUMNS: [(&str, Option<&str>); 12] = [
    ("ID", None),
    ("HOSTS", Some(ANY)),
    ("PATHS", None),
    ("METHODS", Some(ANY)),
    ("PRIORITY", Some("0")),
    ("BACKEND", None),
    ("TARGET", None),
    ("PROXY", Some("none")),
    ("AUTHORIZATION", None),
    ("REGION/SERVICE", None),
    ("LIMITS", None),
    ("ENABLED", Some("yes")),
];
const ANY: &str = "any";

/// All routes as JSON.
pub fn json(settings: &Settings) -> Value {
    settings.routes.iter().map(|route| effective(route)).collect()
}

/// All routes as a table of at most `width` characters.
pub fn table(settings: &Settings, paint: Paint, width: usize) -> String {
    let cells: Vec<Vec<String>> = settings.routes.iter().map(|route| cells(route)).collect();
    let is_shown = |column: &usize| {
        let (_, default) = COLUMNS[*column];
        default.is_none_or(|default| cells.iter().any(|row| row[*column] != default))
    };
    let shown: Vec<usize> = (0..COLUMNS.len()).filter(is_shown).collect();
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

/// The cells of a route.
fn cells(route: &RouteSettings) -> Vec<String> {
    let shown = effective(route);
    let any = |key: &str| Some(list(&shown[key])).filter(|list| !list.is_empty());
    let section = route.backend.section();
    let keys = [
        (section.caller_keys() != CallerKeys::Off).then(|| "keys of the caller".to_owned()),
        section.source().map(|source| KeySource::from(source).to_string()),
    ];
    let keys: Vec<String> = keys.into_iter().flatten().collect();
    let authorization = match &*section.authorization_kinds() {
        [] => "none".to_owned(),
        kinds if keys.is_empty() => kinds.join("+"),
        kinds => format!("{} ({})", kinds.join("+"), keys.join(", else ")),
    };
    let scope = section.signing_scope().map(|(region, service)| format!("{region}/{service}"));
    vec![
        text(&shown["id"]),
        any("hosts").unwrap_or_else(|| ANY.to_owned()),
        list(&shown["uris"]),
        any("methods").unwrap_or_else(|| ANY.to_owned()),
        text(&shown["priority"]),
        section.name().to_owned(),
        section.summary(),
        section.upstream().proxy.to_string(),
        authorization,
        scope.unwrap_or_else(|| "-".to_owned()),
        limits(&shown, section.name(), section.max_request_body()),
        if route.enabled { "yes" } else { "no" }.to_owned(),
    ]
}

fn limits(route: &Value, backend: &str, max_request_body: OrNone<u64>) -> String {
    let section = &route[backend];
    let mut limits =
        vec![format!("body {max_request_body}"), format!("answer {}", text(&section["first_byte_timeout"]))];
    limits.extend(section["request_timeout"].as_str().map(|limit| format!("all {limit}")));
    limits.extend(route["max_in_flight"].as_u64().map(|most| format!("{most} at a time")));
    limits.join(", ")
}

/// A JSON value; a string without its quotation marks.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn list(value: &Value) -> String {
    value.as_array().into_iter().flatten().map(text).collect::<Vec<_>>().join(",")
}
