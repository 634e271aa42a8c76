//! `check --connect`: opens a connection to every endpoint of the settings, as a call would, and closes it
//! (`client/probe.rs`).

use std::time::Duration;

use serde_json::{Value, json};

use super::routes_text;
use crate::{
    backend,
    client::{Endpoint, KeepAlive, ProbeFailure, probe_all},
    credentials::key_endpoint,
    settings::{ForwardProxy, RouteSettings, Settings, schema::WAITING},
    state::builder::collector,
    tls::{Configurations, failure::TlsFailure},
};

/// Probed connections are not kept open.
const NO_KEEP_ALIVE: KeepAlive = KeepAlive { enabled: false, pool: 0, timeout: Duration::ZERO };

/// The use of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// Calls of routes.
    Calls,
    /// STS, for the credentials of routes.
    Keys,
    /// The collector of traces.
    Traces,
}

/// An endpoint to check, with its routes.
struct EndpointCheck {
    purpose: Purpose,
    endpoint: Endpoint,
    routes: Vec<String>,
}

/// The result for one endpoint.
pub(super) struct EndpointResult {
    purpose: Purpose,
    /// `None` if it cannot be built from the settings.
    endpoint: Option<Endpoint>,
    routes: Vec<String>,
    outcome: Result<Duration, ProbeFailure>,
}

/// The endpoints of all enabled routes, and the results for those that cannot be built.
#[derive(Default)]
struct Endpoints {
    checks: Vec<EndpointCheck>,
    invalid: Vec<EndpointResult>,
}

impl Endpoints {
    async fn of(settings: &Settings) -> Self {
        let mut endpoints = Self::default();
        let mut tls = Configurations::default();
        // the host may be a placeholder for a secret that is not fetched
        let is_known = |route: &RouteSettings| !route.backend.section().server().host.contains(WAITING);
        for route in settings.routes.iter().filter(|route| route.enabled && is_known(route)) {
            let id = Some(route.id.as_str());
            for known in route.backend.with_known_hosts() {
                let built = backend::build(&known, &mut tls).map_err(|error| error.to_string());
                let called = built.map(|backend| Some(Endpoint::clone(&backend.target().endpoint)));
                endpoints.add(Purpose::Calls, called, id);
            }
            if let Some(source) = route.backend.source() {
                endpoints.add(Purpose::Keys, key_endpoint(source, &mut tls).await, id);
            }
        }
        if let Some(otlp) = &settings.tracing.otlp {
            let collector = collector(otlp, &mut tls).map(Some).map_err(|error| error.to_string());
            endpoints.add(Purpose::Traces, collector, None);
        }
        endpoints
    }

    /// Adds a route to an endpoint. Endpoints that differ only in `connect_timeout` are one.
    fn add(&mut self, purpose: Purpose, endpoint: Result<Option<Endpoint>, String>, route: Option<&str>) {
        let routes: Vec<String> = route.map(str::to_owned).into_iter().collect();
        let endpoint = match endpoint {
            Ok(Some(endpoint)) => Endpoint { keepalive: NO_KEEP_ALIVE, ..endpoint },
            Ok(None) => return,
            Err(problem) => {
                let outcome =
                    Err(ProbeFailure { step: "settings", failure: TlsFailure { problem, cure: None } });
                self.invalid.push(EndpointResult { purpose, endpoint: None, routes, outcome });
                return;
            }
        };
        let is_same = |known: &&mut EndpointCheck| {
            let limit = known.endpoint.connect_timeout;
            known.purpose == purpose
                && known.endpoint == Endpoint { connect_timeout: limit, ..endpoint.clone() }
        };
        match self.checks.iter_mut().find(is_same) {
            Some(known) => {
                known.endpoint.connect_timeout = known.endpoint.connect_timeout.max(endpoint.connect_timeout);
                known.routes.extend(routes);
            }
            None => self.checks.push(EndpointCheck { purpose, endpoint, routes }),
        }
    }
}

/// Opens a connection to each endpoint of the settings; at most five seconds.
pub(super) async fn connect_all(settings: &Settings) -> Vec<EndpointResult> {
    let Endpoints { checks, invalid } = Endpoints::of(settings).await;
    let outcomes = probe_all(checks.iter().map(|check| check.endpoint.clone()).collect()).await;
    let connections = checks.into_iter().zip(outcomes).map(|(check, outcome)| EndpointResult {
        purpose: check.purpose,
        endpoint: Some(check.endpoint),
        routes: check.routes,
        outcome,
    });
    connections.chain(invalid).collect()
}

impl EndpointResult {
    pub(super) fn is_good(&self) -> bool {
        self.outcome.is_ok()
    }

    /// The endpoint, or nothing if it cannot be built.
    fn endpoint(&self) -> String {
        self.endpoint.as_ref().map(ToString::to_string).unwrap_or_default()
    }

    fn proxy(&self) -> Option<&ForwardProxy> {
        self.endpoint.as_ref()?.proxy.as_ref()
    }

    fn is_tls(&self) -> bool {
        self.endpoint.as_ref().is_some_and(|endpoint| endpoint.tls.is_some())
    }

    /// The line in the text output.
    pub(super) fn text(&self) -> String {
        let routes = routes_text(&self.routes);
        let users = match self.purpose {
            Purpose::Calls => routes,
            Purpose::Keys => format!("{routes}, keys by STS"),
            Purpose::Traces => "tracing.otlp".to_owned(),
        };
        match &self.outcome {
            Ok(elapsed) => {
                let with = if self.is_tls() { "TLS" } else { "TCP, without TLS" };
                let through =
                    self.proxy().map(|proxy| format!(" through the proxy {proxy} ({})", proxy.named_by));
                let through = through.unwrap_or_default();
                let milliseconds = elapsed.as_millis();
                format!("{users}: {} is reached{through} by {with} in {milliseconds} ms", self.endpoint())
            }
            Err(ProbeFailure { failure, .. }) => format!("{users}: {}", failure.for_check()),
        }
    }

    pub(super) fn json(&self) -> Value {
        let purpose = match self.purpose {
            Purpose::Calls => "calls",
            Purpose::Keys => "keys",
            Purpose::Traces => "traces",
        };
        let (probed, unreached) = (self.outcome.as_ref().ok(), self.outcome.as_ref().err());
        let milliseconds = probed.map(|elapsed| u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX));
        json!({
            "endpoint": self.endpoint(),
            "purpose": purpose,
            "routes": self.routes,
            "proxy": self.proxy().map(ToString::to_string),
            "proxy_reason": self.proxy().map(|proxy| proxy.named_by),
            "tls": self.is_tls(),
            "reached": probed.is_some(),
            "milliseconds": milliseconds,
            "failed_step": unreached.map(|unreached| unreached.step),
            "problem": unreached.map(|unreached| &unreached.failure.problem),
            "cure": unreached.and_then(|unreached| Some(unreached.failure.cure.as_ref()?.text())),
        })
    }
}
