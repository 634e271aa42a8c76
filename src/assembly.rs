//! Builds snapshots from settings, one after the other, so that what has not changed stays what it was: an equal route is
//! the same route, with its connections, its keys, its count of requests and its circuit breaker.
//!
//! `app.rs` has the first snapshot built, `reload.rs` the others.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use crate::{
    admission::Admission,
    backend,
    circuit_breaker::CircuitBreakers,
    clock_skew::ClockSkews,
    credentials::Keeper,
    metrics::Metrics,
    proxy::target::HeadLimits,
    retry::Retries,
    routing::RouteTable,
    settings::{RouteSettings, Settings, effective},
    signing::Signer,
    snapshot::{Route, Signing, Snapshot},
    tls::{Configurations, TlsError},
};

/// What routes are built from, and share.
#[derive(Debug)]
pub struct Assembly {
    keeper: Keeper,
    metrics: Arc<Metrics>,
    tls: Configurations,
    breakers: CircuitBreakers,
    clocks: ClockSkews,
    in_flight: Admission,
    connections: Admission,
    /// The routes of the last snapshot, with what they were made of.
    routes: HashMap<String, (Origin, Arc<Route>)>,
}

/// What a route is made of.
#[derive(Debug, Clone, PartialEq)]
struct Origin {
    settings: RouteSettings,
    body_timeout: Duration,
}

/// A route that cannot be served as it is set.
#[derive(Debug)]
pub struct RouteError {
    route: String,
    cause: TlsError,
}

impl fmt::Display for RouteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "route {}: {}", self.route, self.cause)
    }
}

impl std::error::Error for RouteError {}

impl Assembly {
    /// Begins with nothing. The keys that sign are `keeper`'s, and fresh for as long as this lives; what happens is
    /// counted in `metrics`.
    pub fn new(keeper: Keeper, metrics: Arc<Metrics>) -> Self {
        Self {
            keeper,
            metrics,
            tls: Configurations::default(),
            breakers: CircuitBreakers::default(),
            clocks: ClockSkews::default(),
            in_flight: Admission::new(u32::MAX),
            connections: Admission::new(u32::MAX),
            routes: HashMap::new(),
        }
    }

    /// Builds the next snapshot from checked settings; routes that are not enabled stay out.
    ///
    /// # Errors
    /// A route's authorities to trust cannot be used. The snapshot before remains what it is.
    pub fn build(&mut self, settings: &Settings) -> Result<Snapshot, RouteError> {
        let limits = &settings.limits;
        let mut rules = Vec::new();
        let mut routes = HashMap::new();
        for settings in settings.routes.iter().filter(|route| route.enabled) {
            let origin = Origin { settings: settings.clone(), body_timeout: limits.body_timeout };
            let route = self.route(&origin)?;
            rules.push((settings.rule.clone(), Arc::clone(&route)));
            routes.insert(settings.id.clone(), (origin, route));
        }
        self.routes = routes;
        self.tls.forget_unused();
        self.breakers.forget_unused();
        self.clocks.forget_unused();
        Ok(Snapshot {
            generation: 1,
            routes: RouteTable::new(rules),
            admission: self.in_flight.with_limit(limits.max_in_flight),
            room: self.connections.with_limit(limits.max_connections),
            head_limits: HeadLimits::of(limits),
            limits: limits.clone(),
            shutdown: settings.shutdown.clone(),
            access_log: settings.log.access,
            tracing: settings.tracing,
            metrics: Arc::clone(&self.metrics),
            effective: settings.routes.iter().map(effective).collect::<serde_json::Value>().to_string(),
        })
    }

    /// The route of the last snapshot if it would be the same, or a new one.
    fn route(&mut self, origin: &Origin) -> Result<Arc<Route>, RouteError> {
        let Origin { settings, body_timeout } = origin;
        let failed = |cause| RouteError { route: settings.id.clone(), cause };
        let backend = backend::build(&settings.backend, &mut self.tls).map_err(failed)?;
        let endpoint = &backend.target().endpoint;
        // an equal endpoint has the same TLS configuration: the file of its authorities has not changed either
        if let Some((last, route)) = self.routes.get(&settings.id)
            && last == origin
            && route.backend.target().endpoint == *endpoint
        {
            return Ok(Arc::clone(route));
        }
        let signing = match (&backend.target().scope, settings.backend.source()) {
            (Some(scope), Some(source)) => {
                let credentials = self.keeper.source(source).map_err(failed)?;
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
