//! The routes of hosts that clients name: a route with `function_uri: https://{host}` has one for each host
//! in use, with its own connections, signer, clock and circuit breaker.
//!
//! `proxy.rs` calls [`HostRoutes::get`] after a request has matched the route. A bounded number is kept, so
//! that names below a wildcard cannot take up memory.

use std::{fmt, sync::Arc, time::Instant};

use quick_cache::sync::Cache;

use super::{signing::Signing, snapshot::Route};
use crate::{
    backend,
    message::error::{ErrorKind, ProxyError},
    resilience::{
        circuit_breaker::{CircuitBreaker, CircuitState},
        retry::Retries,
    },
    settings::{RouteSettings, TargetProblem, name_and_port},
    signing::{Scope, Signer, clock_skew::ClockSkew, derived_keys::DerivedKeys},
};

/// The most hosts of a route that are kept.
const MAX_HOSTS: usize = 128;
/// The most regions and services of a route whose signers are kept.
const MAX_SCOPES: usize = 64;

/// The routes of the hosts that clients have named, the most used ones.
pub struct HostRoutes {
    routes: Cache<(String, u16), Arc<Route>>,
    /// Shared by hosts with the same scope, because each has the derived key of a day.
    signers: Cache<Scope, Arc<Signer>>,
}

impl Default for HostRoutes {
    fn default() -> Self {
        Self { routes: Cache::new(MAX_HOSTS), signers: Cache::new(MAX_SCOPES) }
    }
}

impl fmt::Debug for HostRoutes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostRoutes").field("hosts", &self.routes.len()).finish_non_exhaustive()
    }
}

impl HostRoutes {
    /// The route of the host that a client has named, from the `route` with `{host}`.
    ///
    /// # Errors
    /// The host is not listed, or its region or service is unknown.
    pub fn get(&self, route: &Route, authority: &str) -> Result<Arc<Route>, ProxyError> {
        let Some(key) = name_and_port(authority) else {
            return Err(match settings_for(&route.settings, authority) {
                Err(error) => error,
                Ok(_) => ErrorKind::RouteNotFound.into(),
            });
        };
        self.routes.get_or_insert_with(&key, || {
            let settings = settings_for(&route.settings, authority)?.ok_or(ErrorKind::RouteNotFound)?;
            self.named(route, settings)
        })
    }

    /// The worst state of the circuit breakers; `None` if no host has one.
    pub fn circuit_state(&self, now: Instant) -> Option<CircuitState> {
        let states =
            self.routes.iter().filter_map(|(_, route)| Some(route.circuit_breaker.as_ref()?.state(now)));
        states.max_by_key(|state| match state {
            CircuitState::Closed => 0,
            CircuitState::HalfOpen => 1,
            CircuitState::Open => 2,
        })
    }

    fn named(&self, route: &Route, settings: RouteSettings) -> Result<Arc<Route>, ProxyError> {
        let upstream = settings.backend.upstream();
        let endpoint = backend::endpoint_of_named_host(&settings.backend, &route.backend.target().endpoint);
        // a name that TLS cannot verify
        let endpoint =
            endpoint.map_err(|error| ProxyError::new(ErrorKind::RouteNotFound, error.to_string()))?;
        let endpoint = Arc::new(endpoint);
        let backend = backend::with_endpoint(&settings.backend, Arc::clone(&endpoint));
        let name = endpoint.to_string();
        let signing = route.signing.as_ref().zip(backend.target().scope.as_ref()).map(|(signing, scope)| {
            let is_verified = endpoint.tls.is_some() && upstream.ssl_verify;
            Signing {
                signer: self.signer(scope),
                credentials: signing.credentials.clone(),
                caller_keys: signing.caller_keys.as_ref().map(|_| Box::<DerivedKeys>::default()),
                clock: Arc::new(ClockSkew::new(name.clone(), is_verified)),
                secrets: signing.secrets.clone(),
            }
        });
        let breaker = upstream.circuit_breaker;
        Ok(Arc::new(Route {
            id: Arc::clone(&route.id),
            metrics: Arc::clone(&route.metrics),
            signing,
            waiting: None,
            body_timeout: route.body_timeout,
            request_timeout: route.request_timeout,
            admission: route.admission.clone(),
            retries: Retries::new(upstream.retry),
            circuit_breaker: breaker.map(|settings| Arc::new(CircuitBreaker::new(name, settings))),
            host_routes: None,
            backend,
            settings: Arc::new(settings),
        }))
    }

    fn signer(&self, scope: &Scope) -> Arc<Signer> {
        let made = self.signers.get_or_insert_with(scope, || {
            Ok::<_, std::convert::Infallible>(Arc::new(Signer::new(scope.clone())))
        });
        match made {
            Ok(signer) => signer,
            Err(never) => match never {},
        }
    }
}

/// The settings of a route for the host that a client has named; `None` if the route has its own host.
///
/// # Errors
/// 404 for a host that is not listed or cannot be signed for, 502 for one whose proxy cannot be used.
pub fn settings_for(route: &RouteSettings, authority: &str) -> Result<Option<RouteSettings>, ProxyError> {
    route.for_host(authority).map_err(|problem| {
        let kind = match &problem {
            TargetProblem::Unknown(_) => ErrorKind::RouteNotFound,
            TargetProblem::Proxy(_) => ErrorKind::UpstreamConnect,
        };
        ProxyError::new(kind, problem)
    })
}
