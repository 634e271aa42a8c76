//! Endpoint of connections: host, port, TLS, proxy and keep-alive.
//!
//! A backend's target contains one; `pool.rs` keeps connections for it, `dial.rs` opens them.

use std::{
    fmt,
    hash::{Hash, Hasher},
    path::Path,
    sync::Arc,
    time::Duration,
};

use rustls_pki_types::ServerName;

use crate::{
    settings::{ForwardProxy, HostPort},
    tls::{Tls, TlsError},
};

/// Endpoint of connections; routes with equal endpoints share connections.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Name or address to connect to.
    pub host: String,
    pub port: u16,
    /// TLS with the server; `None` for plain HTTP.
    pub tls: Option<EndpointTls>,
    /// Forward proxy, if there is one.
    pub proxy: Option<ForwardProxy>,
    /// Timeout for name resolution, TCP, tunnel and TLS together.
    pub connect_timeout: Duration,
    pub keepalive: KeepAlive,
    /// The entry of `hosts` for a host that a client has named; `None` for a host of the settings.
    pub listed: Option<ListedHost>,
}

/// A host that a client has named.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ListedHost {
    /// Its entry of `hosts` with the port: the name in metrics, of which there must be a bounded number.
    pub pattern: String,
    /// False if the name must not lead to this machine or its metadata (`connect.address` is not set).
    pub may_be_local: bool,
}

/// TLS settings for the server of an endpoint.
#[derive(Debug, Clone)]
pub struct EndpointTls {
    /// Trusted authorities and client certificate.
    pub configuration: Tls,
    /// Server name in SNI and in the certificate.
    pub name: ServerName<'static>,
    /// File of the trusted authorities, for error messages.
    pub authorities: Option<Arc<Path>>,
}

impl EndpointTls {
    /// TLS with the server of this name or address.
    ///
    /// # Errors
    /// The name is neither a DNS name nor an IP address.
    pub fn with(name: &str, configuration: Tls) -> Result<Self, TlsError> {
        let server = ServerName::try_from(name.to_owned());
        let server = server.map_err(|_| TlsError(format!("`{name}` is not a valid server name")))?;
        Ok(Self { configuration, name: server, authorities: None })
    }

    /// Names the file of the authorities that `configuration` trusts instead of the platform's.
    #[must_use]
    pub fn trusting(self, ca_certificate: Option<&Path>) -> Self {
        Self { authorities: ca_certificate.map(Arc::from), ..self }
    }
}

/// Fields that make two endpoints equal.
type EndpointKey<'a> = (
    &'a str,
    u16,
    Option<(*const rustls::ClientConfig, &'a ServerName<'static>)>,
    Option<&'a ForwardProxy>,
    Duration,
    KeepAlive,
    Option<&'a ListedHost>,
);

impl Endpoint {
    /// TLS configurations are compared by address.
    fn key(&self) -> EndpointKey<'_> {
        let tls = self.tls.as_ref().map(|tls| (Arc::as_ptr(&tls.configuration), &tls.name));
        let listed = self.listed.as_ref();
        (&self.host, self.port, tls, self.proxy.as_ref(), self.connect_timeout, self.keepalive, listed)
    }

    /// The name in metrics.
    pub fn label(&self) -> String {
        self.listed.as_ref().map_or_else(|| self.to_string(), |listed| listed.pattern.clone())
    }
}

impl PartialEq for Endpoint {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Endpoint {}

impl Hash for Endpoint {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        HostPort(&self.host, self.port).fmt(f)
    }
}

/// Keep-alive of connections to AWS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeepAlive {
    /// True if connections are reused.
    pub enabled: bool,
    /// Maximum idle connections per worker; those idle for less than a second do not count.
    pub pool: u32,
    /// Idle timeout.
    pub timeout: Duration,
}
