//! Everything a request needs to know, built from the settings (`builder.rs`) and never changed: each request keeps
//! the snapshot that it started with, while another takes its place (`reload.rs`).

use std::{sync::Arc, time::Duration};

use crate::{
    backend::Backend,
    client::ConnectionLimit,
    message::inbound::BodyLimits,
    metrics::{Metrics, RouteMetrics},
    resilience::{admission::Admission, circuit_breaker::CircuitBreaker, retry::Retries},
    routing::RouteTable,
    settings::{HeaderSettings, Limits, RouteSettings, Shutdown, Tracing, effective},
    spans::Exporter,
    state::{open_files::Capacity, signing::Signing},
};

/// The running program's view of the settings.
#[derive(Debug)]
pub struct Snapshot {
    /// How many there have been, with this one.
    pub generation: u64,
    /// Which route takes a request.
    pub routes: RouteTable<Arc<Route>>,
    /// How many requests may be in flight.
    pub admission: Admission,
    /// How the files that may be open are divided.
    pub capacity: Capacity,
    pub limits: Limits,
    /// How many connections of clients may be open.
    pub client_connections: Admission,
    /// How many connections to AWS may be open, whichever the snapshot.
    pub upstream_connections: Arc<ConnectionLimit>,
    pub shutdown: Shutdown,
    /// Whether each request is one line in the log.
    pub access_log: bool,
    pub tracing: Tracing,
    /// Who tells a collector of those that are recorded, if there is one.
    pub spans: Option<Arc<Exporter>>,
    /// Where everything is counted; the same for every snapshot of the process.
    pub metrics: Arc<Metrics>,
    /// How each route is set, for those who ask.
    pub routes_as_set: Vec<Arc<RouteSettings>>,
}

/// One route, ready to serve.
#[derive(Debug)]
pub struct Route {
    /// Its name in logs.
    pub id: Arc<str>,
    /// What is counted of it.
    pub metrics: Arc<RouteMetrics>,
    /// Where its requests go.
    pub backend: Arc<dyn Backend>,
    /// Changes of headers; `None` without any.
    pub headers: Option<HeaderSettings>,
    /// What signs them; `None` where nothing does.
    pub signing: Option<Signing>,
    /// Until a request's body has arrived.
    pub body_timeout: Duration,
    /// Until the last byte of the answer, if that has a limit.
    pub request_timeout: Option<Duration>,
    /// How many of its requests may be in flight, if that has a limit of its own.
    pub admission: Option<Admission>,
    /// Which calls are made again; `None` where none is.
    pub retries: Option<Retries>,
    /// Whether calls are tried at all; `None` where they always are.
    pub circuit_breaker: Option<Arc<CircuitBreaker>>,
}

impl Snapshot {
    /// The settings of every route as JSON, without secrets.
    pub fn effective(&self) -> String {
        self.routes_as_set.iter().map(|route| effective(route)).collect::<serde_json::Value>().to_string()
    }

    /// Whether another has the very same routes, and the same collector.
    pub fn is_made_of_the_same(&self, other: &Self) -> bool {
        let (own, others) = (self.routes.routes(), other.routes.routes());
        let has_same_routes =
            own.len() == others.len() && own.iter().zip(others).all(|(own, other)| Arc::ptr_eq(own, other));
        let collector = |snapshot: &Self| snapshot.spans.as_ref().map(Arc::as_ptr);
        has_same_routes && collector(self) == collector(other)
    }
}

impl Route {
    /// What a request's body may cost.
    pub fn body_limits(&self) -> BodyLimits {
        self.backend.target().body_limits(self.body_timeout)
    }
}
