//! Counters of the process, for Prometheus.
//!
//! `app.rs` makes one of these. `state/builder.rs` gets a `RouteMetrics` for each route from it and `client.rs` an
//! `EndpointMetrics` for each endpoint, so that a request finds its counters without a look-up: it does nothing but
//! atomic additions. `admin/exposition.rs` makes a page of it all.
//!
//! ```text
//! table.rs      a metric's declaration  values.rs     the types that count
//! route.rs      of one route            endpoint.rs   of the connections to one endpoint
//! clients.rs    of clients' connections reloads.rs    of the settings
//! spans.rs      of the spans
//! ```

mod clients;
mod endpoint;
mod reloads;
mod route;
mod spans;
pub(crate) mod table;
mod values;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

pub(crate) use self::{
    clients::ClientMetrics,
    endpoint::EndpointMetrics,
    reloads::{ReloadMetrics, Reloads},
    route::RouteMetrics,
    spans::SpanMetrics,
    values::Counter,
};
use crate::{routing::UNROUTED, tls::Validity};

#[derive(Debug)]
pub struct Metrics {
    /// Requests that no route took, and refusals before there was a request.
    pub unrouted: Arc<RouteMetrics>,
    /// Changed settings.
    pub reloads: Reloads,
    /// Spans for a collector.
    pub spans: SpanMetrics,
    pub(crate) clients: ClientMetrics,
    routes: Known<RouteMetrics>,
    endpoints: Known<EndpointMetrics>,
    listener_certificate: Mutex<Option<Validity>>,
}

/// Counters by name. As long as anybody has them, the same name goes on with the same.
#[derive(Debug)]
struct Known<T>(Mutex<HashMap<Arc<str>, Weak<T>>>);

impl Metrics {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            unrouted: Arc::new(RouteMetrics::new(UNROUTED.into())),
            reloads: Reloads::new(),
            spans: SpanMetrics::new(),
            clients: ClientMetrics::new(),
            routes: Known(Mutex::default()),
            endpoints: Known(Mutex::default()),
            listener_certificate: Mutex::default(),
        })
    }

    /// The time in which the listener's certificate in force is valid; `None` without such a listener.
    pub fn set_listener_certificate(&self, validity: Option<Validity>) {
        *self.listener_certificate.lock().unwrap_or_else(PoisonError::into_inner) = validity;
    }

    /// The time in which the listener's certificate in force is valid.
    pub fn listener_certificate(&self) -> Option<Validity> {
        *self.listener_certificate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The counters of the route with this id.
    pub fn route(&self, id: &Arc<str>) -> Arc<RouteMetrics> {
        self.routes.named(id, RouteMetrics::new)
    }

    /// The counters of the connections to an endpoint, `HOST:PORT`.
    pub fn endpoint(&self, endpoint: &str) -> Arc<EndpointMetrics> {
        self.endpoints.named(&endpoint.into(), EndpointMetrics::new)
    }

    /// Every route that somebody still has.
    pub(crate) fn routes(&self) -> Vec<Arc<RouteMetrics>> {
        self.routes.alive()
    }

    /// The same of endpoints.
    pub(crate) fn endpoints(&self) -> Vec<Arc<EndpointMetrics>> {
        self.endpoints.alive()
    }
}

impl<T> Known<T> {
    fn named(&self, name: &Arc<str>, make: impl FnOnce(Arc<str>) -> T) -> Arc<T> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(same) = known.get(name).and_then(Weak::upgrade) {
            return same;
        }
        let new = Arc::new(make(Arc::clone(name)));
        known.insert(Arc::clone(name), Arc::downgrade(&new));
        new
    }

    /// Those that somebody has; the others are forgotten.
    fn alive(&self) -> Vec<Arc<T>> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, counters| counters.strong_count() > 0);
        known.values().filter_map(Weak::upgrade).collect()
    }
}

#[cfg(test)]
mod tests;
