//! `check --connect`: every endpoint that the settings lead to, opened as a call would open it and closed
//! again.
//!
//! `check.rs` comes here; `client/probe.rs` opens the connections.

use serde_json::{Value, json};

use crate::{
    backend,
    client::{Endpoint, KeepAlive, Probed, Unreached, probe_all},
    credentials::sts_endpoint,
    settings::Settings,
    state::builder::collector,
    tls::{Configurations, failure::TlsFailure},
};

/// Nothing is kept of a connection that only shows that it can be opened.
const NOT_KEPT: KeepAlive = KeepAlive { enabled: false, pool: 0, timeout: std::time::Duration::ZERO };

/// The use that the settings have for an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// Calls of routes.
    Calls,
    /// STS, for the keys of routes.
    Keys,
    /// The collector of traces.
    Traces,
}

/// An endpoint with its users.
struct EndpointCheck {
    purpose: Purpose,
    endpoint: Endpoint,
    routes: Vec<String>,
}

/// The outcome for one endpoint.
pub(super) struct EndpointResult {
    purpose: Purpose,
    /// Empty where the settings lead to none.
    endpoint: String,
    proxy: Option<String>,
    is_secured: bool,
    routes: Vec<String>,
    outcome: Result<Probed, Unreached>,
}

/// The endpoints of all enabled routes, and what keeps some from being called.
#[derive(Default)]
struct Endpoints {
    checks: Vec<EndpointCheck>,
    unfit: Vec<EndpointResult>,
}

impl Endpoints {
    async fn of(settings: &Settings) -> Self {
        let mut endpoints = Self::default();
        let mut tls = Configurations::default();
        for route in settings.routes.iter().filter(|route| route.enabled) {
            let id = Some(route.id.as_str());
            let built = backend::build(&route.backend, &mut tls).map_err(|error| error.to_string());
            let called = built.map(|backend| Some(Endpoint::clone(&backend.target().endpoint)));
            endpoints.add(Purpose::Calls, called, id);
            if let Some(source) = route.backend.source() {
                endpoints.add(Purpose::Keys, sts_endpoint(source, &mut tls).await, id);
            }
        }
        if let Some(otlp) = &settings.tracing.otlp {
            let collector = collector(otlp, &mut tls).map(Some).map_err(|error| error.to_string());
            endpoints.add(Purpose::Traces, collector, None);
        }
        endpoints
    }

    /// Adds a route to an endpoint; those that differ in nothing that a connection has are one.
    fn add(&mut self, purpose: Purpose, endpoint: Result<Option<Endpoint>, String>, route: Option<&str>) {
        let routes: Vec<String> = route.map(str::to_owned).into_iter().collect();
        let endpoint = match endpoint {
            Ok(Some(endpoint)) => Endpoint { keepalive: NOT_KEPT, ..endpoint },
            Ok(None) => return,
            Err(problem) => {
                let outcome =
                    Err(Unreached { step: "settings", failure: TlsFailure { problem, cure: None } });
                let endpoint = String::new();
                let connection =
                    EndpointResult { purpose, endpoint, proxy: None, is_secured: false, routes, outcome };
                self.unfit.push(connection);
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
    let Endpoints { checks, unfit } = Endpoints::of(settings).await;
    let outcomes = probe_all(checks.iter().map(|check| check.endpoint.clone()).collect()).await;
    let connections = checks.into_iter().zip(outcomes).map(|(check, outcome)| EndpointResult {
        purpose: check.purpose,
        endpoint: check.endpoint.to_string(),
        proxy: check.endpoint.proxy.as_ref().map(ToString::to_string),
        is_secured: check.endpoint.tls.is_some(),
        routes: check.routes,
        outcome,
    });
    connections.chain(unfit).collect()
}

impl EndpointResult {
    pub(super) fn is_good(&self) -> bool {
        self.outcome.is_ok()
    }

    /// A line for a person.
    pub(super) fn text(&self) -> String {
        let routes = if self.routes.len() == 1 { "route" } else { "routes" };
        let routes = format!("{routes} {}", self.routes.join(", "));
        let users = match self.purpose {
            Purpose::Calls => routes,
            Purpose::Keys => format!("{routes}, keys by STS"),
            Purpose::Traces => "tracing.otlp".to_owned(),
        };
        match &self.outcome {
            Ok(Probed { elapsed }) => {
                let with = if self.is_secured { "TLS" } else { "TCP, without TLS" };
                let through = self.proxy.as_ref().map(|proxy| format!(" through the proxy {proxy}"));
                let through = through.unwrap_or_default();
                let milliseconds = elapsed.as_millis();
                format!("{users}: {} is reached{through} by {with} in {milliseconds} ms", self.endpoint)
            }
            Err(Unreached { failure, .. }) => format!("{users}: {}", failure.for_check()),
        }
    }

    /// The same for a script.
    pub(super) fn json(&self) -> Value {
        let purpose = match self.purpose {
            Purpose::Calls => "calls",
            Purpose::Keys => "keys",
            Purpose::Traces => "traces",
        };
        let (probed, unreached) = (self.outcome.as_ref().ok(), self.outcome.as_ref().err());
        let milliseconds = probed.map(|probed| u64::try_from(probed.elapsed.as_millis()).unwrap_or(u64::MAX));
        json!({
            "endpoint": self.endpoint,
            "purpose": purpose,
            "routes": self.routes,
            "proxy": self.proxy,
            "tls": self.is_secured,
            "reached": probed.is_some(),
            "milliseconds": milliseconds,
            "failed_step": unreached.map(|unreached| unreached.step),
            "problem": unreached.map(|unreached| &unreached.failure.problem),
            "cure": unreached.and_then(|unreached| Some(unreached.failure.cure.as_ref()?.text())),
        })
    }
}
