//! Everything a request needs to know, built from the settings (`builder.rs`) and never changed: each request keeps
//! the snapshot that it started with, while another takes its place (`reload.rs`).

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use arc_swap::ArcSwap;
use aws_credential_types::Credentials;

use crate::{
    backend::Backend,
    client::{UpstreamReply, UpstreamRoom},
    credentials::CredentialSource,
    message::{
        error::{ErrorKind, ProxyError},
        head::HeadLimits,
        inbound::BodyLimits,
        outbound::OutboundRequest,
    },
    metrics::{Metrics, RouteMetrics},
    resilience::{
        admission::Admission,
        circuit_breaker::{CircuitBreaker, Pass},
        retry::Retries,
    },
    routing::{RouteTable, UriPattern},
    settings::{
        BackendSettings, EndpointVariant, GatewayEvent, HostPort, Limits, Otlp, PayloadSettings,
        PayloadVersion, RouteSettings, Scheme, Settings, Shutdown, Tracing, effective, service,
    },
    signing::{Signer, SigningHeaders, clock_skew::ClockSkew},
    spans::Exporter,
    state::open_files::Capacity,
    text::{aws_hosts::region_in, uri_syntax::is_loopback},
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
    /// What clients may take.
    pub limits: Limits,
    /// What a request's head may cost.
    pub head_limits: HeadLimits,
    /// How many connections of clients may be open.
    pub room: Admission,
    /// How many connections to AWS may be open, whichever the snapshot.
    pub upstream_room: Arc<UpstreamRoom>,
    /// How the process ends.
    pub shutdown: Shutdown,
    /// Whether each request is one line in the log.
    pub access_log: bool,
    /// What becomes of traces.
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
    /// The paths that it takes.
    pub uris: Vec<UriPattern>,
    /// What is counted of it.
    pub metrics: Arc<RouteMetrics>,
    /// Where its requests go.
    pub backend: Arc<dyn Backend>,
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

/// The signature of a route.
#[derive(Debug)]
pub struct Signing {
    /// Makes it.
    pub signer: Signer,
    /// With these keys.
    pub credentials: CredentialSource,
    /// By this clock, which routes to the same endpoint share.
    pub clock: Arc<ClockSkew>,
}

/// What a request was signed with.
#[derive(Debug)]
pub struct Signed {
    /// The keys.
    pub keys: Arc<Credentials>,
    /// The time by our clock.
    pub at: SystemTime,
    /// The time that the signature says.
    pub dated: SystemTime,
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

/// The snapshot in force, shared by all threads.
#[derive(Debug)]
pub struct Current(ArcSwap<Snapshot>);

impl Current {
    /// One to begin with.
    pub fn new(snapshot: Snapshot) -> Self {
        Self(ArcSwap::from_pointee(snapshot))
    }

    /// The one in force now.
    pub fn get(&self) -> Arc<Snapshot> {
        self.0.load_full()
    }

    /// Takes another into force, for all requests that begin from now on.
    pub fn replace(&self, mut snapshot: Snapshot) {
        snapshot.generation = self.get().generation + 1;
        self.0.store(Arc::new(snapshot));
    }
}

impl Signing {
    /// Signs a request as it is about to be sent, and says with what. Waits for nothing but the very first keys.
    ///
    /// # Errors
    /// There is nothing to sign with, or it does not fit into a header.
    pub async fn sign(&self, outbound: &OutboundRequest) -> Result<(SigningHeaders, Signed), ProxyError> {
        let unavailable = |cause: String| ProxyError::new(ErrorKind::CredentialsUnavailable, cause);
        // the few seconds that the first keys may take are nothing to AWS
        let at = SystemTime::now();
        let keys = self.credentials.current(at).await;
        let keys = keys.map_err(|cause| unavailable(cause.to_string()))?;
        let dated = self.clock.corrected(at);
        let headers = self.signer.sign(outbound, &keys, dated);
        let headers = headers.map_err(|cause| unavailable(cause.to_string()))?;
        Ok((headers, Signed { keys, at, dated }))
    }

    /// Keys that AWS calls expired are fetched anew, whatever their own expiry says, and the time that AWS says is
    /// compared with ours. Whether the signature was refused for a wrong clock, which is now set right.
    pub fn heed(&self, upstream: &UpstreamReply, used: &Signed) -> bool {
        if upstream.is_refusal_for("ExpiredToken") {
            self.credentials.refresh_soon(&used.keys);
        } else if !upstream.status.is_client_error() && !upstream.status.is_server_error() {
            self.credentials.accepted(&used.keys);
        }
        if is_refused_date(upstream) {
            return self.clock.refused(&upstream.headers, used.dated);
        }
        self.clock.observe(&upstream.headers, used.at);
        false
    }

    /// Waits until there are other keys than those that AWS has refused, no longer than `limit`; whether there are.
    pub async fn newer_than(&self, refused: &Credentials, limit: Duration) -> bool {
        self.credentials.newer_than(refused, limit).await
    }
}

/// Whether AWS may have refused a signature for its date: API Gateway and Lambda have one word for all that is wrong with
/// a signature, STS and S3 have one for the clock.
fn is_refused_date(upstream: &UpstreamReply) -> bool {
    ["InvalidSignature", "SignatureDoesNotMatch", "RequestTimeTooSkewed"]
        .iter()
        .any(|kind| upstream.is_refusal_for(kind))
}

impl Route {
    /// Asks the circuit breaker, if there is one, whether to try a call.
    ///
    /// # Errors
    /// It is open.
    pub fn enter(&self) -> Result<Option<Pass<'_>>, ProxyError> {
        self.circuit_breaker.as_ref().map(|breaker| breaker.enter(Instant::now)).transpose()
    }

    /// By which of its paths it takes this one, as it is written.
    pub fn pattern(&self, path: &str) -> String {
        let closest = self.uris.iter().max_by_key(|uri| uri.fit(path));
        closest.map(ToString::to_string).unwrap_or_default()
    }

    /// Whether no circuit breaker keeps calls away.
    pub fn takes_calls(&self) -> bool {
        self.circuit_breaker.as_ref().is_none_or(|breaker| breaker.is_closed())
    }

    /// What a request's body may cost.
    pub fn body_limits(&self) -> BodyLimits {
        self.backend.target().body_limits(self.body_timeout)
    }
}

/// What OpenTelemetry proposes for what is not spoken here.
const OTLP_OVER_GRPC: u16 = 4317;

/// What is allowed but unwise, a sentence each, for the log at start and for `check`.
pub fn warnings(settings: &Settings) -> Vec<String> {
    let mut warnings = settings.warnings.clone();
    warnings.extend(collector_warnings(settings));
    for route in settings.routes.iter().filter(|route| route.enabled) {
        warnings.extend(EndpointVariant::warnings(route));
        let (scheme, host, upstream, proves) = match &route.backend {
            BackendSettings::ApiGateway(settings) => {
                let uri = &settings.function_uri;
                (uri.scheme, &uri.host, &settings.upstream, !settings.authorization.is_none())
            }
            BackendSettings::Lambda(settings) => {
                (settings.endpoint.scheme, &settings.endpoint.host, &settings.upstream, true)
            }
        };
        let id = &route.id;
        let sts = route.backend.source().and_then(|source| source.sts_endpoint.as_deref());
        if let Some(sts_host) = sts.and_then(|sts| sts.strip_prefix("http://"))
            && !is_loopback(sts_host.split(['/', ':']).next().unwrap_or_default())
        {
            warnings.push(format!("route {id}: {sts_host} gives secret keys without TLS"));
        }
        if let BackendSettings::ApiGateway(gateway) = &route.backend
            && let Some(iam) = &gateway.authorization.iam
            && let Some(region) = region_in(host).filter(|region| *region != iam.region)
        {
            warnings.push(format!(
                "route {id}: it signs for the region {}, and {host} is in {region}: set aws_region",
                iam.region
            ));
        }
        if let BackendSettings::ApiGateway(gateway) = &route.backend {
            warnings.extend(service::warning(id, gateway));
        }
        if scheme == Scheme::Https && !upstream.ssl_verify {
            warnings.push(format!("route {id}: ssl_verify is off, so anyone on the way can pose as {host}"));
        }
        let HostPort(connected, _) = upstream.connect.place(host, 0);
        if scheme == Scheme::Http && proves && !is_loopback(connected) {
            warnings.push(format!("route {id}: keys and signatures go to {connected} without TLS"));
        }
    }
    warnings
}

/// Defaults that surprise who knows API Gateway, a sentence each, for `check` alone: a log line at each start would not be
/// worth it.
pub fn remarks(settings: &Settings) -> Vec<String> {
    let surprises = |route: &&RouteSettings| match &route.backend {
        BackendSettings::Lambda(settings) => matches!(
            &settings.payload,
            PayloadSettings::Gateway(GatewayEvent {
                version: PayloadVersion::V1,
                base64_encode_body: true,
                base64_is_written: false,
                ..
            })
        ),
        BackendSettings::ApiGateway(_) => false,
    };
    let remark = |route: &RouteSettings| {
        format!(
            "route {}: every body is base64 in events of payload 1.0, as with Kong; `base64_encode_body: false` leaves \
             text as it is, as API Gateway does, and `true` ends this remark",
            route.id
        )
    };
    settings.routes.iter().filter(|route| route.enabled).filter(surprises).map(remark).collect()
}

/// Those of the collector of spans.
fn collector_warnings(settings: &Settings) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(Otlp { endpoint, headers, .. }) = &settings.tracing.otlp
        && endpoint.scheme == Scheme::Http
        && !headers.is_empty()
        && !is_loopback(&endpoint.host)
    {
        warnings.push(format!("tracing.otlp: its headers go to {} without TLS", endpoint.host));
    }
    if let Some(Otlp { endpoint, .. }) = &settings.tracing.otlp
        && endpoint.port == OTLP_OVER_GRPC
    {
        warnings.push(format!(
            "tracing.otlp: at port {OTLP_OVER_GRPC} collectors speak gRPC; OTLP over HTTP is at 4318"
        ));
    }
    warnings
}
