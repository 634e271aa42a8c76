//! What every backend has in common: the trait, and the target that tells the rest of the path how to reach
//! AWS for it.
//!
//! `proxy.rs` calls [`Backend::request`] before signing and [`Backend::reply`] after sending; `explain` asks the same
//! backend for its reasons.
//!
//! `src/README.md` lists the places of a new backend.

pub(crate) mod api_gateway;
pub(crate) mod lambda;
pub mod verdict;

use std::{fmt, sync::Arc, time::Duration};

use actix_http::{
    StatusCode,
    header::{HeaderMap, HeaderName, HeaderValue},
};

use self::verdict::Verdict;
use crate::{
    client::{Endpoint, EndpointTls, KeepAlive, ReplyBody, UpstreamReply, aws_error::AwsApi},
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
    tls::{Configurations, TlsError},
};

/// Turns a client's request into one for AWS, and AWS's answer into one for the client.
///
/// Both directions are pure: no clock, no input or output, no credentials. One suite of tests runs against
/// every backend with bytes alone (`tests/it/backend_contract.rs`).
pub trait Backend: fmt::Debug + Send + Sync {
    /// Where requests go and under which conditions.
    fn target(&self) -> &UpstreamTarget;

    /// The request that goes out, complete but for its signature.
    ///
    /// # Errors
    /// The client's request is not one that this backend can forward.
    fn request(&self, inbound: InboundRequest) -> Result<OutboundRequest, ProxyError>;

    /// What an answer with this head tells about the call: whether anything has run, and whether to call again.
    fn verdict(&self, upstream: &UpstreamReply) -> Verdict;

    /// Whether the body of an answer with this head has to be here before [`Backend::reply`] is asked.
    fn reply_mode(&self, upstream: &UpstreamReply) -> ReplyMode;

    /// The answer for the client.
    ///
    /// # Errors
    /// AWS's answer is not one that may be passed on.
    fn reply(&self, upstream: UpstreamReply) -> Result<ClientReply, ProxyError>;

    /// True where a request with this signature goes out without those arguments of the client's query that AWS would
    /// take for a signature.
    fn rewrites_query(&self, _signature: Signature) -> bool {
        false
    }

    /// The reason why a header of the client is not in the request that goes out, or has another value there.
    fn why_left_out(&self, name: &HeaderName, outbound: &HeaderMap) -> &'static str;

    /// The parts of a request that are another each time it goes out; `made` are the headers that the sidecar makes.
    fn varies(&self, made: &[&str]) -> Vec<String> {
        made.iter().map(|name| (*name).to_owned()).collect()
    }
}

/// Whether a backend has to see an answer's body before it can say what becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyMode {
    /// It passes as it arrives.
    Streamed,
    /// All of it is read first.
    Collected {
        /// Bytes that are read at most; a longer body is an error.
        limit: u64,
    },
    /// As much of it as this is read first, and the rest never.
    Truncated {
        /// Bytes that are read at most.
        limit: u64,
    },
    /// It is an event stream of the Lambda API, which is decoded as it arrives.
    Events {
        /// Whether the function says status and headers before the body.
        prelude: bool,
    },
}

#[derive(Debug)]
pub struct ClientReply {
    pub status: StatusCode,
    /// Headers, none of them about a connection or framing.
    pub headers: HeaderMap,
    pub body: ReplyBody,
    /// The length of the body that an answer to GET would have, where a function says it (RFC 9110, 8.6). No body is
    /// framed by it.
    pub length: Option<u64>,
    /// What the operator should know about it.
    pub notes: Vec<LogNote>,
}

/// How to reach AWS for one route.
#[derive(Debug, Clone)]
pub struct UpstreamTarget {
    /// Where connections lead.
    pub endpoint: Arc<Endpoint>,
    pub authority: HeaderValue,
    /// What signatures are good for; `None` on a route that does not sign.
    pub scope: Option<Scope>,
    pub timeouts: Timeouts,
    /// Whether a request's body has to be here before anything is sent.
    pub body_mode: BodyMode,
    /// Bytes of a request's body.
    pub max_request_body: u64,
    /// The interface of AWS that is called, for advice about its refusals; `None` where it is not AWS's.
    pub api: Option<AwsApi>,
}

impl UpstreamTarget {
    /// The limits of a request's body, with the route's time limit.
    pub fn body_limits(&self, timeout: Duration) -> BodyLimits {
        BodyLimits { mode: self.body_mode, max_size: self.max_request_body, timeout }
    }
}

/// Builds the backend that the settings describe.
///
/// # Errors
/// The authorities to trust cannot be read.
pub fn build(settings: &BackendSettings, tls: &mut Configurations) -> Result<Arc<dyn Backend>, TlsError> {
    let section = settings.section();
    let (server, upstream) = (section.server(), section.upstream());
    let tls = secured(server, upstream, tls)?;
    let endpoint = endpoint(server, tls, upstream);
    Ok(match settings {
        BackendSettings::ApiGateway(settings) => Arc::new(api_gateway::ApiGateway::new(settings, endpoint)),
        BackendSettings::Lambda(settings) => Arc::new(lambda::Lambda::new(settings, endpoint)),
    })
}

/// The scope of a backend's signatures; `None` where nothing signs.
fn scope(section: &dyn BackendSection) -> Option<Scope> {
    let (region, service) = section.signing_scope()?;
    Some(Scope { region: region.to_owned(), service: service.to_owned() })
}

/// TLS with a backend's server, if there is TLS at all.
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

/// The destination of connections for a backend with this server.
fn endpoint(
    server: UpstreamServer<'_>,
    tls: Option<EndpointTls>,
    upstream: &UpstreamSettings,
) -> Arc<Endpoint> {
    let HostPort(host, port) = upstream.connect.place(server.host, server.port);
    Arc::new(Endpoint {
        host: host.to_owned(),
        port,
        tls,
        connect_timeout: upstream.timeouts.connect,
        proxy: upstream.proxy.proxy().cloned(),
        keepalive: KeepAlive {
            enabled: upstream.keepalive,
            pool: upstream.keepalive_pool,
            timeout: upstream.keepalive_timeout,
        },
    })
}
