//! What every backend has in common: the trait, and the target that tells the rest of the path how to reach
//! AWS for it.
//!
//! A new backend is one file beside `api_gateway.rs` and one variant of `settings::BackendSettings`.
//! `proxy.rs` calls [`Backend::request`] before signing and [`Backend::reply`] after sending.

pub mod api_gateway;

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use actix_http::header::HeaderValue;

use crate::{
    client::tls::TlsError,
    error::ProxyError,
    proxy::{
        inbound::{BodyMode, InboundRequest},
        outbound::{ClientReply, OutboundRequest, ReplyMode, UpstreamReply},
    },
    settings::{BackendSettings, Scheme, Timeouts},
    signing::Scope,
};

/// Turns a client's request into one for AWS, and AWS's answer into one for the client.
///
/// Both directions are pure: no clock, no input or output, no credentials. One suite of tests runs against
/// every backend with bytes alone (`tests/it/backend_contract.rs`).
pub trait Backend: fmt::Debug + Send + Sync {
    /// Where requests go and under which conditions.
    fn target(&self) -> &Target;

    /// The request that goes out, complete but for its signature.
    ///
    /// # Errors
    /// The client's request is not one that this backend can forward.
    fn request(&self, inbound: InboundRequest) -> Result<OutboundRequest, ProxyError>;

    /// Whether the body of an answer with this head has to be here before [`Backend::reply`] is asked.
    fn reply_mode(&self, upstream: &UpstreamReply) -> ReplyMode;

    /// The answer for the client.
    ///
    /// # Errors
    /// AWS's answer is not one that may be passed on.
    fn reply(&self, upstream: UpstreamReply) -> Result<ClientReply, ProxyError>;
}

/// How to reach AWS for one route.
#[derive(Debug, Clone)]
pub struct Target {
    /// Where connections lead.
    pub endpoint: Arc<Endpoint>,
    /// The value of `Host`.
    pub authority: HeaderValue,
    /// What signatures are good for; `None` on a route that does not sign.
    pub scope: Option<Scope>,
    /// Time limits.
    pub timeouts: Timeouts,
    /// Whether a request's body has to be here before anything is sent.
    pub body_mode: BodyMode,
    /// Bytes of a request's body.
    pub max_request_body: u64,
}

/// Where connections lead; routes with an equal one share connections.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// How the server is verified; `None` for plain HTTP.
    pub tls: Option<Tls>,
    /// For name resolution, TCP and TLS together.
    pub connect_timeout: Duration,
    /// Which connections are kept.
    pub keepalive: KeepAlive,
}

impl Endpoint {
    /// What makes two of them the same; a TLS configuration is only the same as itself.
    fn identity(&self) -> (&str, u16, Option<*const rustls::ClientConfig>, Duration, KeepAlive) {
        (&self.host, self.port, self.tls.as_ref().map(Arc::as_ptr), self.connect_timeout, self.keepalive)
    }
}

impl PartialEq for Endpoint {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }
}

impl Eq for Endpoint {}

impl Hash for Endpoint {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// A TLS configuration; connections with the same one share its session tickets.
pub type Tls = Arc<rustls::ClientConfig>;

/// Which connections to AWS are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeepAlive {
    /// Whether a connection is used again at all.
    pub enabled: bool,
    /// How many stay in each worker once they have been idle for a second.
    pub pool: u32,
    /// How long an idle one stays.
    pub timeout: Duration,
}

/// Builds the backend that the settings describe.
///
/// # Errors
/// The authorities to trust cannot be read.
pub fn build(
    settings: &BackendSettings,
    tls: &mut crate::client::tls::Configurations,
) -> Result<Arc<dyn Backend>, TlsError> {
    match settings {
        BackendSettings::ApiGateway(settings) => {
            let upstream = &settings.upstream;
            let tls = match settings.function_uri.scheme {
                Scheme::Http => None,
                Scheme::Https => Some(tls.get(upstream.ssl_verify, upstream.ca_certificate.as_deref())?),
            };
            Ok(Arc::new(api_gateway::ApiGateway::new(settings, tls)))
        }
    }
}
