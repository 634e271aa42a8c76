//! What the process counts about itself, for Prometheus.
//!
//! `app.rs` makes one of these. `state/builder.rs` gets a [`RouteMetrics`] for each route from it and `client.rs` an
//! [`EndpointMetrics`] for each endpoint, so that a request finds its counters without a look-up: it does nothing but
//! atomic additions. `admin.rs` asks for the text of it all.
//!
//! ```text
//! route.rs      of one route            endpoint.rs   of the connections to one endpoint
//! reloads.rs    of the settings         spans.rs      of the spans
//! ```

mod endpoint;
mod reloads;
mod route;
mod spans;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use prometheus::{HistogramOpts, HistogramVec};

use crate::{routing::UNROUTED, tls::Validity};

pub use self::{
    endpoint::EndpointMetrics,
    reloads::Reloads,
    route::{Count, MOST_CODES, RouteMetrics},
    spans::Spans,
};

/// Upper bounds in seconds: from what a warm function takes to the longest that API Gateway and most of Lambda's
/// callers wait.
const DURATIONS: [f64; 15] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// Everything that is counted.
#[derive(Debug)]
pub struct Metrics {
    /// Requests that no route took, and refusals before there was a request.
    pub unrouted: Arc<RouteMetrics>,
    /// What became of changed settings.
    pub reloads: Reloads,
    /// What became of what a collector was to be told.
    pub spans: Spans,
    pub(crate) whole: HistogramVec,
    pub(crate) upstream: HistogramVec,
    routes: Mutex<HashMap<Arc<str>, Weak<RouteMetrics>>>,
    endpoints: Mutex<HashMap<Arc<str>, Weak<EndpointMetrics>>>,
    pub(crate) connections: AtomicU64,
    pub(crate) connections_accepted: AtomicU64,
    pub(crate) connections_refused: AtomicU64,
    listener_certificate: Mutex<Option<Validity>>,
}

/// One connection of a client, until it is dropped.
#[derive(Debug)]
pub struct ClientConnected(Arc<Metrics>);

impl Metrics {
    /// The time in which the listener's certificate in force is valid; `None` without such a listener.
    pub fn set_listener_certificate(&self, validity: Option<Validity>) {
        *self.listener_certificate.lock().unwrap_or_else(PoisonError::into_inner) = validity;
    }

    /// The time in which the listener's certificate in force is valid.
    pub fn listener_certificate(&self) -> Option<Validity> {
        *self.listener_certificate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing counted yet.
    ///
    /// # Errors
    /// A name is none that Prometheus takes.
    pub fn new() -> prometheus::Result<Arc<Self>> {
        let whole = durations(
            "apigw_invoker_request_duration_seconds",
            "From a request's head to the last byte of its answer.",
        )?;
        let upstream = durations(
            "apigw_invoker_upstream_duration_seconds",
            "From the moment a call is sent to the head of AWS's answer, of every call that got one.",
        )?;
        let unrouted = Arc::new(RouteMetrics::new(UNROUTED.into(), &whole, &upstream));
        Ok(Arc::new(Self {
            unrouted,
            reloads: Reloads::new(),
            spans: Spans::default(),
            whole,
            upstream,
            routes: Mutex::default(),
            endpoints: Mutex::default(),
            connections: AtomicU64::new(0),
            connections_accepted: AtomicU64::new(0),
            connections_refused: AtomicU64::new(0),
            listener_certificate: Mutex::default(),
        }))
    }

    /// The counters of the route with this id. As long as anybody has them, the same route goes on with the same.
    pub fn route(&self, id: &Arc<str>) -> Arc<RouteMetrics> {
        let make = || {
            // what a route of this name has left that is gone
            self.forget(id);
            RouteMetrics::new(Arc::clone(id), &self.whole, &self.upstream)
        };
        known_or_new(&mut locked(&self.routes), id, make)
    }

    /// The counters of the connections to an endpoint, `HOST:PORT`.
    pub fn endpoint(&self, endpoint: &str) -> Arc<EndpointMetrics> {
        known_or_new(&mut locked(&self.endpoints), &endpoint.into(), EndpointMetrics::default)
    }

    /// A client has connected and is served.
    pub fn client_connects(self: &Arc<Self>) -> ClientConnected {
        self.connections.fetch_add(1, Ordering::Relaxed);
        self.connections_accepted.fetch_add(1, Ordering::Relaxed);
        ClientConnected(Arc::clone(self))
    }

    /// A client has connected and there is no room for it.
    pub fn client_refused(&self) {
        self.connections_refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Every route that somebody still has, by its id. What the others have left in the histograms is removed.
    pub(crate) fn routes(&self) -> Vec<Arc<RouteMetrics>> {
        let mut known = locked(&self.routes);
        known.retain(|id, route| {
            let is_alive = route.strong_count() > 0;
            if !is_alive {
                self.forget(id);
            }
            is_alive
        });
        let mut routes: Vec<_> = known.values().filter_map(Weak::upgrade).collect();
        routes.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        routes
    }

    /// Takes a route out of the histograms.
    fn forget(&self, id: &str) {
        for histogram in [&self.whole, &self.upstream] {
            // an error says that it is not there
            let _ = histogram.remove_label_values(&[id]);
        }
    }

    /// The same of endpoints.
    pub(crate) fn endpoints(&self) -> Vec<(Arc<str>, Arc<EndpointMetrics>)> {
        let mut known = locked(&self.endpoints);
        known.retain(|_, endpoint| endpoint.strong_count() > 0);
        let named = known.iter().filter_map(|(name, weak)| Some((Arc::clone(name), weak.upgrade()?)));
        let mut endpoints: Vec<_> = named.collect();
        endpoints.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        endpoints
    }
}

impl Drop for ClientConnected {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

fn durations(name: &str, help: &str) -> prometheus::Result<HistogramVec> {
    HistogramVec::new(HistogramOpts::new(name, help).buckets(DURATIONS.to_vec()), &["route"])
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn known_or_new<T>(
    known: &mut HashMap<Arc<str>, Weak<T>>,
    name: &Arc<str>,
    make: impl FnOnce() -> T,
) -> Arc<T> {
    if let Some(same) = known.get(name).and_then(Weak::upgrade) {
        return same;
    }
    let new = Arc::new(make());
    known.insert(Arc::clone(name), Arc::downgrade(&new));
    new
}

#[cfg(test)]
mod tests;
