//! The [`Backend`] trait, and [`UpstreamTarget`], the connection settings of one backend.
//!
//! `proxy.rs` calls [`Backend::request`] before signing and [`Backend::reply`] after sending. The command
//! `explain` calls the same methods.
//!
//! `src/README.md` lists the places of a new backend.

pub(crate) mod api_gateway;
pub(crate) mod lambda;

use std::{fmt, sync::Arc, time::Duration};

use actix_http::{
    StatusCode,
    header::{HeaderMap, HeaderName, HeaderValue},
};

use crate::{
    client::{Endpoint, EndpointTls, KeepAlive, ListedHost, ReplyBody, UpstreamReply, aws_error::AwsApi},
    message::{
        error::ProxyError,
        inbound::{BodyLimits, BodyMode, InboundRequest},
        log_note::LogNote,
        outbound::{OutboundRequest, Signature},
    },
    settings::{
        BackendSection, BackendSettings, HostPort, Scheme, Timeouts, UpstreamServer, UpstreamSettings,
    },
    signing::Scope,
    text::header_names::ClientProofs,
    tls::{Configurations, TlsError},
};

/// Converts a client's request into a request for AWS, and AWS's response into a response for the client.
///
/// Both conversions are pure: no clock, no I/O, no credentials. `tests/it/backend_contract.rs` runs the same
/// tests against every backend.
pub trait Backend: fmt::Debug + Send + Sync {
    /// Connection, signing scope and limits of the requests.
    fn target(&self) -> &UpstreamTarget;

    /// Builds the outgoing request, without its signature.
    ///
    /// # Errors
    /// The backend cannot forward this request.
    fn request(&self, inbound: InboundRequest) -> Result<OutboundRequest, ProxyError>;

    /// True if requests must keep the client's spelling of header names.
    fn keeps_spelling(&self) -> bool {
        false
    }

    /// Classifies a response by its head: has the function run, and may a retry succeed?
    fn verdict(&self, upstream: &UpstreamReply) -> Verdict;

    /// How much of the response body must be read before [`Backend::reply`] is called.
    fn reply_mode(&self, upstream: &UpstreamReply) -> ReplyMode;

    /// Builds the response for the client.
    ///
    /// # Errors
    /// AWS's response must not be passed on.
    fn reply(&self, upstream: UpstreamReply) -> Result<ClientReply, ProxyError>;

    /// True if the query arguments that AWS would read as a signature are removed from a request with this
    /// signature.
    fn rewrites_query(&self, _signature: Signature) -> bool {
        false
    }

    /// The reason why a client's header is missing from the outgoing request, or has another value there.
    fn why_left_out(&self, name: &HeaderName, outbound: &HeaderMap) -> &'static str;

    /// The parts of the outgoing request that differ each time; `made` are the headers that the sidecar
    /// generates.
    fn varies(&self, made: &[&str]) -> Vec<String> {
        made.iter().map(|name| (*name).to_owned()).collect()
    }
}

/// Classification of a response by its head. `resilience/retry.rs` and `resilience/circuit_breaker.rs` act on
/// it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The function has run, or a retry cannot succeed: the response goes to the client.
    Final,
    /// Throttled by AWS; nothing has run.
    Throttled,
    /// A resource of the function is not ready yet; nothing has run.
    NotReady,
    /// The function did not start in time; its handler has not run. One retry is worth it, a second is not.
    SlowStart,
    /// The credentials expired early; nothing has run.
    KeysExpired,
    /// The clock that dated the signature is wrong, and the skew is now known; nothing has run. Set by
    /// `proxy/call.rs`, never by a backend.
    ClockWrong,
    /// AWS itself failed. The function may have run.
    Unavailable,
}

/// How much of a response body a backend needs before it can build the client's response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyMode {
    /// None: the body is streamed.
    Streamed,
    /// The whole body.
    Collected {
        /// Maximum size in bytes; a longer body is an error.
        limit: u64,
    },
    /// The beginning of the body; the rest is discarded.
    Truncated {
        /// Maximum size in bytes.
        limit: u64,
    },
    /// The body is an event stream of the Lambda API and is decoded while it is streamed.
    Events {
        /// True if the function sends status and headers before the body.
        prelude: bool,
    },
}

#[derive(Debug)]
pub struct ClientReply {
    pub status: StatusCode,
    /// Headers without hop-by-hop and framing headers.
    pub headers: HeaderMap,
    pub body: ReplyBody,
    /// `Content-Length` of the response to a GET, if the function states it (RFC 9110, 8.6). Never used for
    /// framing.
    pub length: Option<u64>,
    /// Notes for the log.
    pub notes: Vec<LogNote>,
}

/// Connection, signing scope and limits of one route.
#[derive(Debug, Clone)]
pub struct UpstreamTarget {
    /// Server of the connections.
    pub endpoint: Arc<Endpoint>,
    pub authority: HeaderValue,
    /// Scope of the signatures; `None` on a route that does not sign.
    pub scope: Option<Scope>,
    pub timeouts: Timeouts,
    /// Is the request body buffered before anything is sent?
    pub body_mode: BodyMode,
    /// Maximum size of a request body in bytes.
    pub max_request_body: u64,
    /// The treatment of the headers by which AWS recognises a caller (cases A08, A09, S14).
    pub client_proofs: ClientProofs,
    /// The AWS API behind the endpoint, for advice about its refusals; `None` for another server.
    pub api: Option<AwsApi>,
    /// True if the endpoint's name belongs to another service or region than the scope.
    pub has_doubtful_scope: bool,
}

impl UpstreamTarget {
    /// Limits of a request body, with the route's time limit.
    pub fn body_limits(&self, timeout: Duration) -> BodyLimits {
        BodyLimits { mode: self.body_mode, max_size: self.max_request_body, timeout }
    }
}

/// Builds the backend of a route.
///
/// # Errors
/// The CA certificates cannot be read.
pub fn build(settings: &BackendSettings, tls: &mut Configurations) -> Result<Arc<dyn Backend>, TlsError> {
    let mut endpoint = endpoint(settings, tls)?;
    if settings.section().named_by_client().is_some() {
        endpoint = endpoint_of_named_host(settings, &endpoint)?;
    }
    Ok(with_endpoint(settings, Arc::new(endpoint)))
}

/// The backend that the settings describe, with their [`endpoint`].
pub fn with_endpoint(settings: &BackendSettings, endpoint: Arc<Endpoint>) -> Arc<dyn Backend> {
    match settings {
        BackendSettings::ApiGateway(settings) => Arc::new(api_gateway::ApiGateway::new(settings, endpoint)),
        BackendSettings::Lambda(settings) => Arc::new(lambda::Lambda::new(settings, endpoint)),
    }
}

/// The destination of a backend's connections.
///
/// # Errors
/// The authorities to trust cannot be read.
pub fn endpoint(settings: &BackendSettings, tls: &mut Configurations) -> Result<Endpoint, TlsError> {
    let section = settings.section();
    let (server, upstream) = (section.server(), section.upstream());
    let HostPort(host, port) = upstream.connect.place(server.host, server.port);
    Ok(Endpoint {
        host: host.to_owned(),
        port,
        tls: secured(server, upstream, tls)?,
        connect_timeout: upstream.timeouts.connect,
        proxy: upstream.proxy.proxy().cloned(),
        keepalive: KeepAlive {
            enabled: upstream.keepalive,
            pool: upstream.keepalive_pool,
            timeout: upstream.keepalive_timeout,
        },
        listed: None,
    })
}

/// The endpoint of a host that a client has named, from that of its route.
///
/// # Errors
/// The name cannot be verified in TLS.
pub fn endpoint_of_named_host(settings: &BackendSettings, route: &Endpoint) -> Result<Endpoint, TlsError> {
    let section = settings.section();
    let (server, upstream) = (section.server(), section.upstream());
    let HostPort(host, port) = upstream.connect.place(server.host, server.port);
    let name = upstream.connect.sni.as_deref().unwrap_or(server.host);
    let tls = route.tls.as_ref().map(|tls| {
        let named = EndpointTls::with(name, Arc::clone(&tls.configuration))?;
        Ok::<_, TlsError>(EndpointTls { authorities: tls.authorities.clone(), ..named })
    });
    let listed = section.named_by_client().map(|pattern| ListedHost {
        pattern: pattern.to_owned(),
        may_be_local: upstream.connect.address.is_some(),
    });
    Ok(Endpoint {
        host: host.to_owned(),
        port,
        tls: tls.transpose()?,
        proxy: upstream.proxy.proxy().cloned(),
        listed,
        ..route.clone()
    })
}

/// The signing scope; `None` on a route that does not sign.
fn scope(section: &dyn BackendSection) -> Option<Scope> {
    let (region, service) = section.signing_scope()?;
    Some(Scope { region: region.to_owned(), service: service.to_owned() })
}

/// TLS of the connections; `None` for plain HTTP.
fn secured(
    server: UpstreamServer<'_>,
    upstream: &UpstreamSettings,
    tls: &mut Configurations,
) -> Result<Option<EndpointTls>, TlsError> {
    if server.scheme == Scheme::Http {
        return Ok(None);
    }
    let identity = upstream.client_identity.as_ref();
    let configuration = tls.get(upstream.ssl_verify, upstream.ca_certificate.as_deref(), identity)?;
    let name = upstream.connect.sni.as_deref().unwrap_or(server.host);
    Ok(Some(EndpointTls::with(name, configuration)?.trusting(upstream.ca_certificate.as_deref())))
}
