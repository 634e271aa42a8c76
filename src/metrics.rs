//! Counters of the process, for Prometheus.
//!
//! `app.rs` creates one [`Metrics`]. `state/builder.rs` gets a `RouteMetrics` for each route from it, and
//! `client.rs` an `EndpointMetrics` for each endpoint, so a request needs no look-up and only adds to
//! atomics. `admin/exposition.rs` renders the page.
//!
//! ```text
//! table.rs      declarations of metrics      values.rs     counters, gauges and histograms
//! route.rs      requests of one route        endpoint.rs   connections to one endpoint
//! clients.rs    connections of clients       reloads.rs    reloads of the settings
//! spans.rs      exported spans                last_failure.rs  the last failed request of a route
//! secrets.rs    fetched secrets
//! source.rs     fetches of the settings
//! ```

mod clients;
mod endpoint;
mod last_failure;
mod reloads;
mod route;
mod secrets;
mod source;
mod spans;
pub(crate) mod table;
mod values;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

pub use self::source::SourceState;
pub(crate) use self::{
    clients::ClientMetrics,
    endpoint::EndpointMetrics,
    last_failure::Failure,
    reloads::{ReloadMetrics, Reloads},
    route::RouteMetrics,
    secrets::SecretMetrics,
    source::{SourceCounts, SourceMetrics},
    spans::SpanMetrics,
    values::Counter,
};
use crate::{routing::UNROUTED, tls::Validity};

#[derive(Debug)]
pub struct Metrics {
    /// Requests without a route, and connections refused before a request was read.
    pub unrouted: Arc<RouteMetrics>,
    pub reloads: Reloads,
    pub source: SourceMetrics,
    pub spans: SpanMetrics,
    pub(crate) secrets: SecretMetrics,
    pub(crate) clients: ClientMetrics,
    routes: SharedByName<RouteMetrics>,
    endpoints: SharedByName<EndpointMetrics>,
    listener_certificate: Mutex<Option<Validity>>,
    exchanged_certificates: Mutex<Vec<(Arc<str>, Validity)>>,
}

/// Counters by name. While a caller holds the counters of a name, every other caller gets the same ones.
#[derive(Debug)]
struct SharedByName<T>(Mutex<HashMap<Arc<str>, Weak<T>>>);

impl Metrics {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            unrouted: Arc::new(RouteMetrics::new(UNROUTED.into())),
            reloads: Reloads::new(),
            source: SourceMetrics::new(),
            spans: SpanMetrics::new(),
            secrets: SecretMetrics::new(),
            clients: ClientMetrics::new(),
            routes: SharedByName(Mutex::default()),
            endpoints: SharedByName(Mutex::default()),
            listener_certificate: Mutex::default(),
            exchanged_certificates: Mutex::default(),
        })
    }

    /// Sets the validity of the listener's certificate in force; `None` without TLS.
    pub fn set_listener_certificate(&self, validity: Option<Validity>) {
        *self.listener_certificate.lock().unwrap_or_else(PoisonError::into_inner) = validity;
    }

    pub fn listener_certificate(&self) -> Option<Validity> {
        *self.listener_certificate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the validity of the routes' certificates that IAM Roles Anywhere exchanges.
    pub fn set_exchanged_certificates(&self, certificates: Vec<(Arc<str>, Validity)>) {
        *self.exchanged_certificates.lock().unwrap_or_else(PoisonError::into_inner) = certificates;
    }

    pub fn exchanged_certificates(&self) -> Vec<(Arc<str>, Validity)> {
        self.exchanged_certificates.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The counters of the route with this id.
    pub fn route(&self, id: &Arc<str>) -> Arc<RouteMetrics> {
        self.routes.named(id, RouteMetrics::new)
    }

    /// The counters of the connections to an endpoint, `HOST:PORT`.
    pub fn endpoint(&self, endpoint: &str) -> Arc<EndpointMetrics> {
        self.endpoints.named(&endpoint.into(), EndpointMetrics::new)
    }

    /// The counters of every route that is still in use.
    pub(crate) fn routes(&self) -> Vec<Arc<RouteMetrics>> {
        self.routes.alive()
    }

    /// The counters of every endpoint that is still in use.
    pub(crate) fn endpoints(&self) -> Vec<Arc<EndpointMetrics>> {
        self.endpoints.alive()
    }
}

impl<T> SharedByName<T> {
    fn named(&self, name: &Arc<str>, new: impl FnOnce(Arc<str>) -> T) -> Arc<T> {
        let mut by_name = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(same) = by_name.get(name).and_then(Weak::upgrade) {
            return same;
        }
        let new = Arc::new(new(Arc::clone(name)));
        by_name.insert(Arc::clone(name), Arc::downgrade(&new));
        new
    }

    /// Counters in use. Unused names are removed.
    fn alive(&self) -> Vec<Arc<T>> {
        let mut by_name = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        by_name.retain(|_, counters| counters.strong_count() > 0);
        by_name.values().filter_map(Weak::upgrade).collect()
    }
}

#[cfg(test)]
mod tests;
