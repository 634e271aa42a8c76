//! Builds snapshots from settings, one after the other, so that what has not changed stays what it was: an equal
//! route is the same route, with its connections, its keys, its count of requests and its circuit breaker.
//!
//! `app.rs` has the first snapshot built, `reload.rs` the others.

use std::{collections::HashMap, io, sync::Arc, time::Duration};

use crate::{
    backend,
    client::{ConnectionLimit, Endpoint, EndpointTls, KeepAlive},
    credentials::RefresherPool,
    metrics::Metrics,
    resilience::{admission::Admission, circuit_breaker::CircuitBreakers, retry::Retries},
    routing::RouteTable,
    settings::{Otlp, RouteSettings, Scheme, Settings},
    signing::{Signer, clock_skew::ClockSkews},
    spans::Exporter,
    state::{
        open_files::{OpenFiles, TooFewFiles},
        signing::Signing,
        snapshot::{Route, Snapshot},
    },
    tls::{Configurations, TlsError},
};

/// One connection is enough for one thread, and most collectors keep it for longer.
const COLLECTOR_KEEPALIVE: KeepAlive = KeepAlive { enabled: true, pool: 1, timeout: Duration::from_secs(30) };

/// What routes are built from, and share.
#[derive(Debug)]
pub struct SnapshotBuilder {
    refreshers: RefresherPool,
    metrics: Arc<Metrics>,
    tls: Configurations,
    breakers: CircuitBreakers,
    clocks: ClockSkews,
    files: OpenFiles,
    in_flight: Admission,
    connections: Admission,
    upstream_connections: Arc<ConnectionLimit>,
    /// Who tells a collector, since the last snapshot.
    exporter: Option<Arc<Exporter>>,
    /// The routes of the last snapshot, with what they were made of.
    routes: HashMap<String, (RouteInputs, Arc<Route>)>,
}

/// What a route is made of.
#[derive(Debug, Clone, PartialEq)]
struct RouteInputs {
    settings: Arc<RouteSettings>,
    body_timeout: Duration,
}

/// A part that cannot be had as it is set.
#[derive(Debug, thiserror::Error)]
#[error("{part}: {cause}")]
pub struct BuildError {
    part: String,
    cause: String,
}

impl BuildError {
    fn of(part: String) -> impl FnOnce(TlsError) -> Self {
        |cause| Self { part, cause: cause.to_string() }
    }
}

impl SnapshotBuilder {
    /// Begins with nothing. The keys that sign are `refreshers`', and fresh for as long as this lives; what happens is
    /// counted in `metrics`; `files` may be open.
    pub fn new(refreshers: RefresherPool, metrics: Arc<Metrics>, files: OpenFiles) -> Self {
        Self {
            refreshers,
            metrics,
            tls: Configurations::default(),
            breakers: CircuitBreakers::default(),
            clocks: ClockSkews::default(),
            files,
            in_flight: Admission::new(u32::MAX),
            connections: Admission::new(u32::MAX),
            upstream_connections: Arc::default(),
            exporter: None,
            routes: HashMap::new(),
        }
    }

    /// Builds the next snapshot from checked settings; routes that are not enabled stay out.
    ///
    /// # Errors
    /// Authorities to trust cannot be used, the system gives no thread, or too few files may be open. The
    /// snapshot before remains what it is.
    pub fn build(&mut self, settings: &Settings) -> Result<Snapshot, BuildError> {
        let limits = &settings.limits;
        let too_few =
            |cause: TooFewFiles| BuildError { part: "open files".to_owned(), cause: cause.to_string() };
        let capacity = self.files.divide(settings).map_err(too_few)?;
        let mut rules = Vec::new();
        let mut routes = HashMap::new();
        // the routes and who asks how they are set have one copy
        let routes_as_set: Vec<_> = settings.routes.iter().cloned().map(Arc::new).collect();
        for settings in routes_as_set.iter().filter(|route| route.enabled) {
            let inputs = RouteInputs { settings: Arc::clone(settings), body_timeout: limits.body_timeout };
            let route = self.route(&inputs)?;
            rules.push((settings.rule.clone(), Arc::clone(&route)));
            routes.insert(settings.id.clone(), (inputs, route));
        }
        self.exporter = self.exporter(settings.tracing.otlp.as_ref())?;
        self.routes = routes;
        self.tls.forget_unused();
        self.breakers.forget_unused();
        self.clocks.forget_unused();
        self.upstream_connections.set_limit(capacity.upstream_connections);
        Ok(Snapshot {
            generation: 1,
            routes: RouteTable::new(rules),
            admission: self.in_flight.with_limit(capacity.max_in_flight),
            client_connections: self.connections.with_limit(capacity.max_connections),
            upstream_connections: Arc::clone(&self.upstream_connections),
            capacity,
            limits: limits.clone(),
            shutdown: settings.shutdown.clone(),
            access_log: settings.log.access,
            tracing: settings.tracing.clone(),
            spans: self.exporter.clone(),
            metrics: Arc::clone(&self.metrics),
            routes_as_set,
        })
    }

    /// The exporter of the last snapshot if it would be the same, or a new one; `None` where there is no collector.
    fn exporter(&mut self, settings: Option<&Otlp>) -> Result<Option<Arc<Exporter>>, BuildError> {
        let Some(settings) = settings else { return Ok(None) };
        let part = || "tracing.otlp".to_owned();
        let endpoint = Arc::new(collector(settings, &mut self.tls).map_err(BuildError::of(part()))?);
        if let Some(same) = self.exporter.as_ref().filter(|last| last.is_for(settings, &endpoint)) {
            return Ok(Some(Arc::clone(same)));
        }
        let started = Exporter::start(settings, endpoint, Arc::clone(&self.metrics));
        let failed = |error: io::Error| BuildError { part: part(), cause: error.to_string() };
        started.map(Some).map_err(failed)
    }

    /// The route of the last snapshot if it would be the same, or a new one.
    fn route(&mut self, inputs: &RouteInputs) -> Result<Arc<Route>, BuildError> {
        let RouteInputs { settings, body_timeout } = inputs;
        let failed = || BuildError::of(format!("route {}", settings.id));
        let backend = backend::build(&settings.backend, &mut self.tls).map_err(failed())?;
        let endpoint = &backend.target().endpoint;
        // an equal endpoint has the same TLS configuration: the file of its authorities has not changed either
        if let Some((last, route)) = self.routes.get(&settings.id)
            && last == inputs
            && route.backend.target().endpoint == *endpoint
        {
            return Ok(Arc::clone(route));
        }
        let signing = match (&backend.target().scope, settings.backend.source()) {
            (Some(scope), Some(source)) => {
                let id = settings.id.as_str().into();
                let credentials = self.refreshers.source(source).map_err(failed())?.used_by(&id);
                // anybody on the way could say what time it is
                let is_verified = endpoint.tls.is_some() && settings.backend.upstream().ssl_verify;
                let clock = self.clocks.get(endpoint, is_verified);
                Some(Signing { signer: Signer::new(scope.clone()), credentials, clock })
            }
            _ => None,
        };
        let upstream = settings.backend.upstream();
        let limit = *body_timeout;
        let id = settings.id.as_str().into();
        Ok(Arc::new(Route {
            metrics: self.metrics.route(&id),
            id,
            signing,
            body_timeout: upstream.request_timeout.map_or(limit, |request| request.min(limit)),
            request_timeout: upstream.request_timeout,
            admission: settings.max_in_flight.map(Admission::new),
            retries: Retries::new(upstream.retry),
            circuit_breaker: upstream.circuit_breaker.map(|settings| self.breakers.get(endpoint, settings)),
            backend,
        }))
    }
}

/// Where a collector is.
///
/// # Errors
/// The authorities to trust cannot be used.
pub fn collector(settings: &Otlp, tls: &mut Configurations) -> Result<Endpoint, TlsError> {
    let Otlp { endpoint: uri, timeout, ca_certificate, proxy, .. } = settings;
    let tls = match uri.scheme {
        Scheme::Http => None,
        Scheme::Https => {
            let configuration = tls.get(true, ca_certificate.as_deref(), None)?;
            Some(EndpointTls::with(&uri.host, configuration)?.trusting(ca_certificate.as_deref()))
        }
    };
    Ok(Endpoint {
        host: uri.host.clone(),
        port: uri.port,
        tls,
        proxy: proxy.proxy().cloned(),
        connect_timeout: *timeout,
        keepalive: COLLECTOR_KEEPALIVE,
    })
}
