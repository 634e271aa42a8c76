//! An immutable snapshot of everything that requests need, built from the settings by `builder.rs`. A request
//! keeps the snapshot that it started with, also when `reload.rs` replaces it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    backend::Backend,
    client::ConnectionLimit,
    message::{error::ProxyError, inbound::BodyLimits},
    metrics::{Metrics, RouteMetrics},
    resilience::{
        admission::Admission,
        circuit_breaker::{CircuitBreaker, CircuitState},
        retry::Retries,
    },
    routing::RouteTable,
    settings::{Limits, RouteSettings, Shutdown, Tracing, effective},
    spans::Exporter,
    state::{
        host_routes::HostRoutes, inspector::Inspection, open_files::Capacity, signing::Signing,
        waiting::WaitingSecrets,
    },
};

#[derive(Debug)]
pub struct Snapshot {
    /// 1 at the start, plus 1 with each reload that changes something.
    pub generation: u64,
    pub routes: RouteTable<Arc<Route>>,
    /// The limit of requests in flight.
    pub admission: Admission,
    pub capacity: Capacity,
    pub limits: Limits,
    /// The limit of open connections of clients.
    pub client_connections: Admission,
    /// The limit of open connections to AWS, shared by all snapshots.
    pub upstream_connections: Arc<ConnectionLimit>,
    pub shutdown: Shutdown,
    /// Logs one line for each request.
    pub access_log: bool,
    pub tracing: Tracing,
    /// Exports recorded spans, if there is a collector.
    pub spans: Option<Arc<Exporter>>,
    /// Records requests for the admin port, if `admin.inspect` is set.
    pub inspection: Option<Inspection>,
    /// The counters of the process, shared by all snapshots.
    pub metrics: Arc<Metrics>,
    /// The settings of all routes, the disabled ones too, for `/routes`.
    pub routes_as_set: Vec<Arc<RouteSettings>>,
    pub kept_routes: Vec<KeptRoute>,
}

/// A changed route whose former version stays in use until its secrets have been fetched.
#[derive(Debug)]
pub struct KeptRoute {
    pub id: String,
    pub waiting: WaitingSecrets,
}

/// One route, ready to serve.
#[derive(Debug)]
pub struct Route {
    pub id: Arc<str>,
    pub settings: Arc<RouteSettings>,
    pub metrics: Arc<RouteMetrics>,
    pub backend: Arc<dyn Backend>,
    /// None on a route without signatures.
    pub signing: Option<Signing>,
    /// The secrets without which the route cannot serve.
    pub waiting: Option<WaitingSecrets>,
    /// The time limit for receiving a request's body.
    pub body_timeout: Duration,
    /// The time limit for the whole request, to the last byte of the response.
    pub request_timeout: Option<Duration>,
    /// The route's own limit of requests in flight.
    pub admission: Option<Admission>,
    /// None on a route without retries.
    pub retries: Option<Retries>,
    pub circuit_breaker: Option<Arc<CircuitBreaker>>,
    /// The routes of the hosts that clients name; `None` on a route with its own host.
    pub host_routes: Option<Box<HostRoutes>>,
}

impl Snapshot {
    /// The settings of every route as JSON, without secrets.
    pub fn effective(&self) -> String {
        self.routes_as_set.iter().map(|route| effective(route)).collect::<serde_json::Value>().to_string()
    }

    /// A sentence for each changed route whose former version stays in use.
    pub fn kept_routes(&self) -> Vec<String> {
        let sentence =
            |kept: &KeptRoute| format!("route {} keeps its former version, {}", kept.id, kept.waiting);
        self.kept_routes.iter().map(sentence).collect()
    }

    /// True if a route's backend needs the client's spelling of header names.
    pub fn keeps_spelling(&self) -> bool {
        self.routes.routes().iter().any(|route| route.backend.keeps_spelling())
    }

    /// True if another snapshot has the same `Route`s, not only equal ones, and the same exporter.
    pub fn has_same_routes(&self, other: &Self) -> bool {
        let (own, others) = (self.routes.routes(), other.routes.routes());
        let has_same_routes =
            own.len() == others.len() && own.iter().zip(others).all(|(own, other)| Arc::ptr_eq(own, other));
        let collector = |snapshot: &Self| snapshot.spans.as_ref().map(Arc::as_ptr);
        has_same_routes && collector(self) == collector(other)
    }
}

impl Route {
    /// The state of the circuit breaker, the worst of several hosts; `None` without one.
    pub fn circuit_state(&self, now: Instant) -> Option<CircuitState> {
        match &self.host_routes {
            Some(hosts) => hosts.circuit_state(now),
            None => self.circuit_breaker.as_ref().map(|breaker| breaker.state(now)),
        }
    }

    /// Refuses a request while a secret of the route's settings is missing.
    ///
    /// # Errors
    /// 503 with the missing secrets.
    pub fn require_secrets(&self) -> Result<(), ProxyError> {
        self.waiting.as_ref().map_or(Ok(()), |waiting| Err(waiting.error()))
    }

    /// The limits of a request's body.
    pub fn body_limits(&self) -> BodyLimits {
        self.backend.target().body_limits(self.body_timeout)
    }
}
