//! The status as plain text, for `curl` and terminals.

use std::{fmt::Write as _, time::Duration};

use super::{
    ListenerStatus, Status,
    routes::{FailureStatus, RouteStatus},
};
use crate::{admin::source::SourceStatus, system::terminal::aligned};

const HEADINGS: [&str; 11] = [
    "ROUTE",
    "MATCHES",
    "TARGET",
    "KEYS",
    "BREAKER",
    "REQUESTS",
    "ERRORS",
    "REFUSED",
    "P50 MS",
    "P99 MS",
    "IN FLIGHT",
];

/// The whole page.
pub(in crate::admin) fn text(status: &Status) -> String {
    let mut text = String::new();
    for line in aligned(&facts(status)) {
        let _ = writeln!(text, "{line}");
    }
    for line in &status.settings.rejected {
        let _ = writeln!(text, "  {line}");
    }
    let mut rows: Vec<Vec<String>> = vec![HEADINGS.map(str::to_owned).to_vec()];
    rows.extend(status.routes.iter().map(row));
    text.push('\n');
    for line in aligned(&rows) {
        let _ = writeln!(text, "{line}");
    }
    let routes = status.routes.iter().map(|route| (route.id.as_str(), &route.last_failure));
    for (id, last) in routes.chain([("-", &status.unrouted.last_failure)]) {
        if let Some(last) = last {
            push_failure(&mut text, id, last);
        }
    }
    text
}

/// The state of the process, a name and a value in each row.
fn facts(status: &Status) -> Vec<Vec<String>> {
    let uptime = humantime::format_duration(Duration::from_secs(status.uptime_seconds));
    // the last of the lines is the number of mistakes
    let rejected = if status.settings.rejected.is_empty() { "" } else { "; changed settings are rejected:" };
    let (connections, descriptors) = (&status.connections, &status.descriptors);
    let number = |number: Option<u64>| number.map_or_else(|| "unknown".to_owned(), |it| it.to_string());
    let mut facts = vec![
        ("apigw-invoker", format!("{}, {}", status.version, status.state)),
        ("uptime", format!("{uptime}, since {}", status.started)),
        ("clock", format!("{}, {}", status.now, status.clock.text)),
    ];
    facts.extend(status.listeners.iter().map(|listener| (listener.setting, listener_text(listener))));
    facts.extend([
        (
            "connections",
            format!(
                "{} of at most {} clients, {} refused; {} idle to AWS",
                connections.clients, connections.most_clients, connections.refused, connections.upstream_idle
            ),
        ),
        ("in flight", format!("{} requests", connections.requests_in_flight)),
        ("descriptors", format!("{} open, limit {}", number(descriptors.open), number(descriptors.limit))),
        ("log lines lost", status.log_lines_lost.to_string()),
    ]);
    facts.extend(descriptors.shortage.iter().map(|shortage| ("shortage", shortage.clone())));
    let failed = status.failed_tasks.iter();
    facts.extend(failed.map(|failed| ("failed task", format!("{}, {} times", failed.task, failed.failures))));
    facts.push(("unrouted", format!("{} requests", status.unrouted.requests)));
    let (generation, since) = (status.settings.generation, &status.settings.since);
    facts.push(("settings", format!("generation {generation}, since {since}{rejected}")));
    if let Some(source) = &status.settings.source {
        facts.push(("source", source_text(source)));
    }
    facts.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect()
}

fn source_text(source: &SourceStatus) -> String {
    let SourceStatus { address, bundle, serial, age_seconds, error } = source;
    let serial = serial.map(|serial| format!(", serial {serial}")).unwrap_or_default();
    let age = humantime::format_duration(Duration::from_secs(*age_seconds));
    // the last line of mistakes is their number
    let error = error.as_ref().and_then(|error| error.lines().last());
    let error = error.map(|error| format!("; the last fetch failed: {error}")).unwrap_or_default();
    format!("{address}, bundle {bundle}{serial}, fetched {age} ago{error}")
}

fn listener_text(listener: &ListenerStatus) -> String {
    match &listener.certificate {
        Some(certificate) => {
            format!("{}, certificate {}, until {}", listener.address, certificate.state, certificate.expires)
        }
        None => listener.address.clone(),
    }
}

fn row(route: &RouteStatus) -> Vec<String> {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let target = if route.enabled { route.target.clone() } else { format!("{} (disabled)", route.target) };
    vec![
        route.id.clone(),
        route.pattern.clone(),
        target,
        or_dash(route.keys.as_ref().map(|keys| keys.text.clone())),
        or_dash(route.breaker.map(str::to_owned)),
        route.requests.to_string(),
        route.errors.to_string(),
        route.refused.to_string(),
        or_dash(route.p50_ms.map(|ms| ms.to_string())),
        or_dash(route.p99_ms.map(|ms| ms.to_string())),
        route.in_flight.to_string(),
    ]
}

fn push_failure(text: &mut String, id: &str, last: &FailureStatus) {
    let FailureStatus { at, seconds_ago, request_id, status, code, cause, cure } = last;
    let ago = humantime::format_duration(Duration::from_secs(*seconds_ago));
    let status = status.map(|status| format!(", status {status}")).unwrap_or_default();
    let code = code.map(|code| format!(", {code}")).unwrap_or_default();
    let _ = writeln!(text, "\nlast failure of {id}: {at}, {ago} ago{status}{code}");
    let _ = writeln!(text, "  cause       {cause}");
    if let Some(cure) = cure {
        let _ = writeln!(text, "  cure        {cure}");
    }
    let _ = writeln!(text, "  request id  {request_id}");
}
