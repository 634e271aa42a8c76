//! The state of each route: what it matches and calls, its keys, its counters and its last failure.

use std::time::{Instant, SystemTime};

use serde::Serialize;

use super::{CertificateStatus, milliseconds};
use crate::{
    credentials::{CredentialState, Status},
    metrics::Failure,
    resilience::circuit_breaker::CircuitState,
    settings::{CallerKeys, REDACTED, RouteSettings},
    state::snapshot::{Route, Snapshot},
    system::wall_clock::Rfc3339,
};

/// Keys of a backend that its summary shows.
const OF_SUMMARY: [&str; 5] = ["function_uri", "function_name", "host", "qualifier", "upstream_url"];

/// A route of the page.
#[derive(Debug, Serialize)]
pub(in crate::admin) struct RouteStatus {
    pub(super) id: String,
    pub(super) file: String,
    pub(super) enabled: bool,
    /// Methods, hosts and paths in one line, as a person reads them.
    pub(super) pattern: String,
    pub(super) backend: &'static str,
    pub(super) target: String,
    pub(super) keys: Option<KeyStatus>,
    /// The client certificate that the route presents.
    pub(super) certificate: Option<CertificateStatus>,
    /// `closed`, `open` or `half-open`; `null` without a circuit breaker.
    pub(super) breaker: Option<&'static str>,
    pub(super) requests: u64,
    /// Requests that were answered with a status of 5xx.
    pub(super) errors: u64,
    /// Calls that AWS refused.
    pub(super) refused: u64,
    /// Failed requests by error code.
    pub(super) codes: Vec<CodeCount>,
    pub(super) p50_ms: Option<f64>,
    pub(super) p99_ms: Option<f64>,
    pub(super) in_flight: u64,
    pub(super) last_failure: Option<FailureStatus>,
}

/// The keys that sign, without secrets.
#[derive(Debug, Serialize)]
pub(in crate::admin) struct KeyStatus {
    pub(super) ready: bool,
    /// The sentence of `/ready`.
    pub(super) text: String,
    pub(super) expires: Option<String>,
}

#[derive(Debug, Serialize)]
pub(in crate::admin) struct CodeCount {
    pub(super) code: &'static str,
    pub(super) count: u64,
}

#[derive(Debug, Serialize)]
pub(in crate::admin) struct FailureStatus {
    pub(super) at: String,
    pub(super) seconds_ago: u64,
    pub(super) request_id: String,
    pub(super) status: Option<u16>,
    pub(super) code: Option<&'static str>,
    pub(super) cause: String,
    pub(super) cure: Option<&'static str>,
}

impl RouteStatus {
    pub(in crate::admin) fn is_ready(&self) -> bool {
        self.keys.as_ref().is_none_or(|keys| keys.ready)
    }
}

/// The enabled routes in the order of their files, then the disabled ones.
pub(super) fn all(snapshot: &Snapshot, now: SystemTime) -> Vec<RouteStatus> {
    let enabled = snapshot.routes.routes().iter().map(|route| of_route(route, now));
    let disabled = snapshot.routes_as_set.iter().filter(|route| !route.enabled);
    enabled.chain(disabled.map(|settings| described(settings, now))).collect()
}

fn of_route(route: &Route, now: SystemTime) -> RouteStatus {
    let metrics = &route.metrics;
    let (requests, errors) = metrics.completed();
    let source = route.signing.as_ref().and_then(|signing| signing.credentials.as_ref());
    let quantile = |share| metrics.durations.quantile(share).map(milliseconds);
    let breaker = route.circuit_breaker.as_ref().map(|breaker| match breaker.state(Instant::now()) {
        CircuitState::Closed => "closed",
        CircuitState::Open => "open",
        CircuitState::HalfOpen => "half-open",
    });
    // a route without the secrets of its settings has no keys either
    let waiting = route.waiting.as_ref().map(|waiting| KeyStatus {
        ready: false,
        text: waiting.to_string(),
        expires: None,
    });
    let described = described(&route.settings, now);
    RouteStatus {
        keys: waiting.or_else(|| source.map(|source| keys(&source.status(now)))).or(described.keys),
        breaker,
        requests,
        errors,
        refused: metrics.refused(),
        codes: metrics.errors.all().map(|(code, count)| CodeCount { code, count }).collect(),
        p50_ms: quantile(0.5),
        p99_ms: quantile(0.99),
        in_flight: metrics.in_flight.get(),
        last_failure: metrics.last_failure.get().map(|last| failure(&last, now)),
        ..described
    }
}

/// A route by its settings alone.
fn described(settings: &RouteSettings, now: SystemTime) -> RouteStatus {
    let section = settings.backend.section();
    let is_hidden = |path: &Vec<String>| path.iter().any(|key| OF_SUMMARY.contains(&key.as_str()));
    let target = if settings.hidden.iter().any(is_hidden) { REDACTED.to_owned() } else { section.summary() };
    let of_caller = || KeyStatus { ready: true, text: "keys of the caller".to_owned(), expires: None };
    let identity = section.upstream().client_identity.as_ref();
    RouteStatus {
        id: settings.id.clone(),
        file: settings.place.source.to_string(),
        enabled: settings.enabled,
        pattern: pattern(settings),
        backend: section.name(),
        target,
        keys: (section.caller_keys() != CallerKeys::Off).then(of_caller),
        certificate: identity.and_then(|identity| Some(CertificateStatus::of(identity.validity()?, now))),
        breaker: None,
        requests: 0,
        errors: 0,
        refused: 0,
        codes: Vec::new(),
        p50_ms: None,
        p99_ms: None,
        in_flight: 0,
        last_failure: None,
    }
}

/// Methods, hosts and paths, unless they came from references.
fn pattern(settings: &RouteSettings) -> String {
    let is_hidden = |key: &str| settings.hidden.iter().any(|path| path.first().is_some_and(|of| of == key));
    let shown = |key: &str, texts: Vec<String>| {
        if is_hidden(key) { REDACTED.to_owned() } else { texts.join(", ") }
    };
    let rule = &settings.rule;
    let uris = if is_hidden("uri") { "uri" } else { "uris" };
    let mut parts = Vec::new();
    if !rule.methods.is_any() {
        let methods = rule.methods.allowed().iter().map(ToString::to_string).collect();
        parts.push(shown("methods", methods));
    }
    parts.push(shown(uris, rule.uris.iter().map(ToString::to_string).collect()));
    if !rule.hosts.is_empty() {
        parts.push(format!("at {}", shown("hosts", rule.hosts.iter().map(ToString::to_string).collect())));
    }
    parts.join(" ")
}

fn keys(status: &Status) -> KeyStatus {
    let expires = match &status.state {
        CredentialState::Ready(ready) => ready.expires.map(|time| Rfc3339(time).to_string()),
        CredentialState::Waiting | CredentialState::Unavailable { .. } => None,
    };
    let ready = matches!(status.state, CredentialState::Ready(_));
    KeyStatus { ready, text: status.to_string(), expires }
}

pub(super) fn failure(last: &Failure, now: SystemTime) -> FailureStatus {
    FailureStatus {
        at: Rfc3339(last.at).to_string(),
        seconds_ago: last.age(now).as_secs(),
        request_id: last.request_id.clone(),
        status: last.status,
        code: last.code,
        cause: last.cause.clone(),
        cure: last.cure,
    }
}
