//! Builds snapshots from settings. A route whose settings have not changed since the last snapshot is reused,
//! with its connections, credentials, counters and circuit breaker.
//!
//! `app.rs` builds the first snapshot, `reload.rs` each later one.

use std::{
    collections::{HashMap, HashSet},
    io,
    sync::{Arc, OnceLock},
    time::Duration,
};

use crate::{
    backend,
    client::{ConnectionLimit, Endpoint, EndpointTls, KeepAlive},
    credentials::{CredentialSource, RefresherPool, SecretFetcher, Secrets},
    metrics::Metrics,
    resilience::{admission::Admission, circuit_breaker::CircuitBreakers, retry::Retries},
    routing::{RouteRule, RouteTable, clashes},
    settings::{CallerKeys, Otlp, RouteSettings, Scheme, Settings},
    signing::{Scope, Signer, clock_skew::ClockSkews, derived_keys::DerivedKeys},
    spans::Exporter,
    state::{
        inspector::{Inspection, Inspector},
        open_files::{OpenFiles, TooFewFiles},
        signing::Signing,
        snapshot::{KeptRoute, Route, Snapshot},
        waiting::{NamedSecrets, WaitingSecrets},
    },
    tls::{Configurations, TlsError},
};

/// The exporter's one thread needs one connection, and most collectors keep an idle one for longer than 30
/// seconds.
const COLLECTOR_KEEPALIVE: KeepAlive = KeepAlive { enabled: true, pool: 1, timeout: Duration::from_secs(30) };

/// The parts that routes share, and the routes of the last snapshot.
#[derive(Debug)]
pub struct SnapshotBuilder {
    secrets: SecretFetcher,
    refreshers: RefresherPool,
    metrics: Arc<Metrics>,
    tls: Configurations,
    breakers: CircuitBreakers,
    clocks: ClockSkews,
    /// Routes with equal endpoints share one, because there may be thousands of routes.
    endpoints: HashSet<Arc<Endpoint>>,
    /// By scope and [`CredentialSource::address`], if the route has credentials of its own.
    signers: HashMap<(Scope, Option<usize>), Arc<Signer>>,
    files: OpenFiles,
    in_flight: Admission,
    connections: Admission,
    upstream_connections: Arc<ConnectionLimit>,
    /// The exporter of the last snapshot.
    exporter: Option<Arc<Exporter>>,
    /// The inspector, by the settings of the first snapshot.
    inspector: OnceLock<Option<Arc<Inspector>>>,
    /// The routes of the last snapshot with their inputs.
    routes: HashMap<Arc<str>, (RouteInputs, Arc<Route>)>,
    /// The settings of the routes in the last table, and the table without its routes.
    table: (Vec<Arc<RouteSettings>>, RouteTable<()>),
}

/// The inputs of a route: equal inputs make an equal route.
#[derive(Debug, Clone, PartialEq)]
struct RouteInputs {
    settings: Arc<RouteSettings>,
    body_timeout: Duration,
}

/// A part of a snapshot that cannot be built from the settings.
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
    /// A builder without a last snapshot. `refreshers` keep credentials fresh until the builder is dropped.
    pub fn new(refreshers: RefresherPool, metrics: Arc<Metrics>, files: OpenFiles) -> Self {
        Self {
            secrets: refreshers.secret_fetcher(Arc::clone(&metrics)),
            refreshers,
            metrics,
            tls: Configurations::default(),
            breakers: CircuitBreakers::default(),
            clocks: ClockSkews::default(),
            endpoints: HashSet::new(),
            signers: HashMap::new(),
            files,
            in_flight: Admission::new(u32::MAX),
            connections: Admission::new(u32::MAX),
            upstream_connections: Arc::default(),
            exporter: None,
            inspector: OnceLock::new(),
            routes: HashMap::new(),
            table: (Vec::new(), RouteTable::new(Vec::<(RouteRule, ())>::new())),
        }
    }

    /// The secrets in AWS that settings name.
    pub fn secrets(&self) -> &Arc<Secrets> {
        self.secrets.secrets()
    }

    /// Fetches the secrets of these settings and no others.
    ///
    /// # Errors
    /// The platform's certificate authorities cannot be used.
    pub fn follow_secrets(&self, settings: &Settings) -> Result<(), BuildError> {
        let failed = BuildError::of("secrets".to_owned());
        self.secrets.follow(settings, &self.refreshers).map_err(failed)
    }

    /// Builds the next snapshot from checked settings, without disabled routes.
    ///
    /// # Errors
    /// A CA certificate cannot be used, a thread cannot be started, or the limit of open files is too low.
    /// The last snapshot stays valid.
    pub fn build(&mut self, settings: &Settings) -> Result<Snapshot, BuildError> {
        let limits = &settings.limits;
        self.tls.forget_digests();
        let too_few =
            |cause: TooFewFiles| BuildError { part: "open files".to_owned(), cause: cause.to_string() };
        let capacity = self.files.divide(settings).map_err(too_few)?;
        let (enabled, kept) = self.serving(settings);
        let mut in_order = Vec::with_capacity(enabled.len());
        let mut routes = HashMap::with_capacity(enabled.len());
        for settings in &enabled {
            let inputs = RouteInputs { settings: Arc::clone(settings), body_timeout: limits.body_timeout };
            let route = self.route(&inputs)?;
            in_order.push(Arc::clone(&route));
            routes.insert(Arc::clone(&route.id), (inputs, route));
        }
        self.exporter = self.exporter(settings.tracing.otlp.as_ref())?;
        self.routes = routes;
        let table = self.table(&enabled, in_order);
        self.table = (enabled, table.with_routes(Vec::new()));
        self.tls.forget_unused();
        self.breakers.forget_unused();
        self.clocks.forget_unused();
        self.endpoints.retain(|endpoint| Arc::strong_count(endpoint) > 1);
        self.signers.retain(|_, signer| Arc::strong_count(signer) > 1);
        self.refreshers.forget_unused();
        self.upstream_connections.set_limit(capacity.upstream_connections);
        Ok(Snapshot {
            generation: 1,
            routes: table,
            admission: self.in_flight.with_limit(capacity.max_in_flight),
            client_connections: self.connections.with_limit(capacity.max_connections),
            upstream_connections: Arc::clone(&self.upstream_connections),
            capacity,
            limits: limits.clone(),
            shutdown: settings.shutdown.clone(),
            access_log: settings.log.access,
            tracing: settings.tracing.clone(),
            spans: self.exporter.clone(),
            inspection: self.inspection(settings),
            metrics: Arc::clone(&self.metrics),
            routes_as_set: settings.routes.clone(),
            kept_routes: kept,
        })
    }

    /// The enabled routes. A changed route that waits for a secret keeps its former version, unless that
    /// matches the same requests as another route; returned are also such routes.
    fn serving(&self, settings: &Settings) -> (Vec<Arc<RouteSettings>>, Vec<KeptRoute>) {
        let new: Vec<_> = settings.routes.iter().filter(|route| route.enabled).cloned().collect();
        let former = |route: &RouteSettings| {
            if !route.is_waiting() {
                return None;
            }
            let (inputs, _) = self.routes.get(&*route.id)?;
            (!inputs.settings.is_waiting()).then(|| Arc::clone(&inputs.settings))
        };
        let with_former = |new: &[Arc<RouteSettings>], may_differ: bool| -> Vec<Arc<RouteSettings>> {
            let serving = |route: &Arc<RouteSettings>| {
                let former = former(route).filter(|former| may_differ || former.rule == route.rule);
                former.unwrap_or_else(|| Arc::clone(route))
            };
            new.iter().map(serving).collect()
        };
        let mut serving = with_former(&new, true);
        let is_other = |(new, serving): (&Arc<RouteSettings>, &Arc<RouteSettings>)| {
            !Arc::ptr_eq(new, serving) && new.rule != serving.rule
        };
        if new.iter().zip(&serving).any(is_other)
            && !clashes(serving.iter().map(|route| &route.rule)).is_empty()
        {
            serving = with_former(&new, false);
        }
        let pairs = new.iter().zip(&serving);
        let kept = pairs.filter(|(new, serving)| !Arc::ptr_eq(new, serving)).filter_map(|(new, _)| {
            let waiting = WaitingSecrets::of(new, self.secrets())?;
            Some(KeptRoute { id: new.id.clone(), waiting })
        });
        let kept = kept.collect();
        (serving, kept)
    }

    /// The table of routes. If no rule has changed, the index of the last table is reused.
    fn table(&self, settings: &[Arc<RouteSettings>], routes: Vec<Arc<Route>>) -> RouteTable<Arc<Route>> {
        let (last, table) = &self.table;
        let is_same = |(last, new): (&Arc<RouteSettings>, &Arc<RouteSettings>)| {
            Arc::ptr_eq(last, new) || last.rule == new.rule
        };
        if last.len() == settings.len() && last.iter().zip(settings).all(is_same) {
            return table.with_routes(routes);
        }
        RouteTable::new(settings.iter().map(|settings| &settings.rule).zip(routes))
    }

    /// The exporter of the last snapshot if its settings are equal, otherwise a new one; `None` without a
    /// collector.
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

    /// The inspector of the first snapshot with the secrets of these settings. Without `admin.inspect` these
    /// were not collected, so nothing may be recorded.
    fn inspection(&self, settings: &Settings) -> Option<Inspection> {
        let inspect = settings.admin.inspect.as_ref();
        let new = || inspect.map(|settings| Arc::new(Inspector::new(settings)));
        let inspector = self.inspector.get_or_init(new).clone().filter(|_| inspect.is_some())?;
        Some(Inspection { inspector, hidden: Arc::new(settings.hidden.clone()) })
    }

    /// The route of the last snapshot if its inputs are equal, otherwise a new one.
    fn route(&mut self, inputs: &RouteInputs) -> Result<Arc<Route>, BuildError> {
        let RouteInputs { settings, body_timeout } = inputs;
        let failed = |cause| BuildError::of(format!("route {}", settings.id))(cause);
        let upstream = settings.backend.upstream();
        let last = self.routes.get(&*settings.id).filter(|(last, _)| last == inputs);
        let has_files = upstream.ca_certificate.is_some() || upstream.client_identity.is_some();
        if let Some((_, route)) = last.filter(|_| !has_files) {
            return Ok(Arc::clone(route));
        }
        let endpoint = backend::endpoint(&settings.backend, &mut self.tls).map_err(failed)?;
        // equal endpoints have the same TLS configuration, so the CA certificate has not changed either
        if let Some((_, route)) = last.filter(|(_, route)| *route.backend.target().endpoint == endpoint) {
            return Ok(Arc::clone(route));
        }
        let endpoint = self.endpoints.get(&endpoint).cloned().unwrap_or_else(|| Arc::new(endpoint));
        self.endpoints.insert(Arc::clone(&endpoint));
        let backend = backend::with_endpoint(&settings.backend, Arc::clone(&endpoint));
        let endpoint = &endpoint;
        let waiting = WaitingSecrets::of(settings, self.secrets());
        // with a placeholder for a part of its keys, a route must not call STS
        let scope = backend.target().scope.as_ref().filter(|_| waiting.is_none());
        let signing = match scope {
            Some(scope) => Some(self.signing(settings, scope, endpoint).map_err(failed)?),
            None => None,
        };
        let is_named = settings.backend.section().target_hosts().is_some();
        let limit = *body_timeout;
        let id = settings.id.as_str().into();
        Ok(Arc::new(Route {
            metrics: self.metrics.route(&id),
            id,
            settings: Arc::clone(settings),
            signing,
            waiting,
            body_timeout: upstream.request_timeout.map_or(limit, |request| request.min(limit)),
            request_timeout: upstream.request_timeout,
            admission: settings.max_in_flight.map(Admission::new),
            retries: Retries::new(upstream.retry),
            circuit_breaker: upstream
                .circuit_breaker
                .filter(|_| !is_named)
                .map(|settings| self.breakers.get(endpoint, settings)),
            host_routes: is_named.then(Box::default),
            backend,
        }))
    }

    fn signing(
        &mut self,
        settings: &RouteSettings,
        scope: &Scope,
        endpoint: &Endpoint,
    ) -> Result<Signing, TlsError> {
        let id = settings.id.as_str().into();
        let credentials = match settings.backend.source() {
            Some(source) => Some(self.refreshers.source(source)?.used_by(&id)),
            None => None,
        };
        let takes_keys = settings.backend.section().caller_keys() != CallerKeys::Off;
        let caller_keys = takes_keys.then(Box::<DerivedKeys>::default);
        // without a verified connection a machine in between could change the date
        let is_verified = endpoint.tls.is_some() && settings.backend.upstream().ssl_verify;
        let clock = self.clocks.get(endpoint, is_verified);
        let signer = self.signers.entry((scope.clone(), credentials.as_ref().map(CredentialSource::address)));
        let signer = Arc::clone(signer.or_insert_with(|| Arc::new(Signer::new(scope.clone()))));
        let secrets = NamedSecrets::of(settings, self.secrets());
        Ok(Signing { signer, credentials, caller_keys, clock, secrets })
    }
}

/// The endpoint of a collector.
///
/// # Errors
/// The CA certificate cannot be used.
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
        listed: None,
    })
}
