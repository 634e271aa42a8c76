//! `apigw-invoker routes`: what each route is in effect, without any secret, as a table or as JSON.
//!
//! `cli.rs` comes here with checked settings.

use serde::Serialize;

use crate::{
    settings::{
        ApiGatewaySettings, BackendSettings, LambdaSettings, Origin, RouteSettings, Settings, Source,
    },
    system::terminal::{Paint, wrapped},
    text::units::{duration_text, size_text},
};

/// One route.
#[derive(Debug, Serialize)]
pub struct RouteRow {
    id: String,
    enabled: bool,
    hosts: Vec<String>,
    paths: Vec<String>,
    methods: Vec<String>,
    priority: i32,
    backend: &'static str,
    target: String,
    authorization: Vec<&'static str>,
    /// Where the keys come from that sign.
    credentials: Option<String>,
    region: Option<String>,
    service: Option<String>,
    limits: RouteLimits,
}

/// What its requests may cost: bytes and milliseconds.
#[derive(Debug, Serialize)]
struct RouteLimits {
    max_in_flight: Option<u32>,
    max_request_body: u64,
    connect_timeout: u128,
    first_byte_timeout: u128,
    idle_timeout: u128,
    request_timeout: Option<u128>,
    attempts: u32,
}

impl RouteRow {
    /// What a route is in effect.
    pub fn of(route: &RouteSettings) -> Self {
        let (backend, target, authorization, scope, max_request_body) = match &route.backend {
            BackendSettings::ApiGateway(settings) => {
                let scope = settings.authorization.iam.as_ref().map(|iam| (&*iam.region, &*iam.service));
                ("api_gateway", gateway(settings), proofs(settings), scope, settings.max_req_body_size)
            }
            BackendSettings::Lambda(settings) => {
                let scope = Some((&*settings.region, "lambda"));
                ("lambda", function(settings), vec!["iam"], scope, settings.max_request_body)
            }
        };
        let upstream = route.backend.upstream();
        let rule = &route.rule;
        let methods = if rule.methods.is_any() { &[] } else { rule.methods.allowed() };
        Self {
            id: route.id.clone(),
            enabled: route.enabled,
            hosts: rule.hosts.iter().map(ToString::to_string).collect(),
            paths: rule.uris.iter().map(ToString::to_string).collect(),
            methods: methods.iter().map(ToString::to_string).collect(),
            priority: rule.priority,
            backend,
            target,
            authorization,
            credentials: route.backend.source().map(source),
            region: scope.map(|(region, _)| region.to_owned()),
            service: scope.map(|(_, service)| service.to_owned()),
            limits: RouteLimits {
                max_in_flight: route.max_in_flight,
                max_request_body,
                connect_timeout: upstream.timeouts.connect.as_millis(),
                first_byte_timeout: upstream.timeouts.first_byte.as_millis(),
                idle_timeout: upstream.timeouts.idle.as_millis(),
                request_timeout: upstream.request_timeout.map(|limit| limit.as_millis()),
                attempts: upstream.retry.attempts,
            },
        }
    }

    fn cells(&self, route: &RouteSettings) -> Vec<String> {
        let any = |list: &[String]| if list.is_empty() { ANY.to_owned() } else { list.join(",") };
        let proof = match (&*self.authorization, &self.credentials) {
            ([], _) => "none".to_owned(),
            (proofs, Some(source)) => format!("{} ({source})", proofs.join("+")),
            (proofs, None) => proofs.join("+"),
        };
        let scope = match (&self.region, &self.service) {
            (Some(region), Some(service)) => format!("{region}/{service}"),
            _ => "-".to_owned(),
        };
        let mut limits = vec![format!("body {}", size_text(self.limits.max_request_body))];
        limits.push(format!("answer {}", duration_text(route.backend.upstream().timeouts.first_byte)));
        limits.extend(
            route.backend.upstream().request_timeout.map(|limit| format!("all {}", duration_text(limit))),
        );
        limits.extend(self.limits.max_in_flight.map(|most| format!("{most} at a time")));
        vec![
            self.id.clone(),
            any(&self.hosts),
            self.paths.join(","),
            any(&self.methods),
            self.priority.to_string(),
            self.backend.to_owned(),
            self.target.clone(),
            proof,
            scope,
            limits.join(", "),
            if self.enabled { "yes" } else { "no" }.to_owned(),
        ]
    }
}

/// The query of `function_uri` may hold what proves something.
fn gateway(settings: &ApiGatewaySettings) -> String {
    let mut uri = settings.function_uri.clone();
    let has_query = uri.query.take().is_some();
    format!("{uri}{}", if has_query { "?…" } else { "" })
}

fn function(settings: &LambdaSettings) -> String {
    let qualifier = settings.qualifier.as_ref().map(|qualifier| format!(":{qualifier}")).unwrap_or_default();
    format!("{}{qualifier} at {}", settings.function, settings.endpoint.authority())
}

fn proofs(settings: &ApiGatewaySettings) -> Vec<&'static str> {
    let authorization = &settings.authorization;
    let key = authorization.apikey.as_ref().map(|_| "apikey");
    key.into_iter().chain(authorization.iam.as_ref().map(|_| "iam")).collect()
}

fn source(source: &Source) -> String {
    let origin = match &source.origin {
        Origin::Keys(_) => "settings".to_owned(),
        Origin::Mounted(_) => "files of the settings".to_owned(),
        Origin::Profile(name) => format!("profile {name}"),
        Origin::Chain => "chain".to_owned(),
    };
    match &source.role {
        Some(role) => format!("{} by {origin}", role.arn),
        None => origin,
    }
}

/// All routes as JSON.
pub fn json(settings: &Settings) -> serde_json::Value {
    serde_json::json!({ "routes": settings.routes.iter().map(RouteRow::of).collect::<Vec<_>>() })
}

/// Headings of the table, and what stands in a column that may be left out because no route differs from it.
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

/// All routes as a table that is no wider than this.
pub fn table(settings: &Settings, paint: Paint, width: usize) -> String {
    let cells: Vec<Vec<String>> =
        settings.routes.iter().map(|route| RouteRow::of(route).cells(route)).collect();
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
