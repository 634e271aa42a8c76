//! Where connections lead, and which of them are kept.
//!
//! A backend's target names one; `pool.rs` keeps connections for it, `dial.rs` opens them.

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

/// Where connections lead; routes with an equal one share connections.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Name or address to connect to.
    pub host: String,
    pub port: u16,
    /// TLS with the server; `None` for plain HTTP.
    pub tls: Option<Secured>,
    /// What stands between, if something does.
    pub proxy: Option<ForwardProxy>,
    /// For name resolution, TCP, a proxy's tunnel and TLS together.
    pub connect_timeout: Duration,
    /// Which connections are kept.
    pub keepalive: KeepAlive,
}

/// TLS with the server that a connection leads to.
#[derive(Debug, Clone)]
pub struct Secured {
    /// How it is verified, and what it is shown of us.
    pub configuration: Tls,
    /// What it is called: in SNI and in its certificate.
    pub name: ServerName<'static>,
    /// The file of the authorities that are trusted, for the message that names it.
    pub authorities: Option<Arc<Path>>,
}

impl Secured {
    /// TLS with the server of this name or address.
    ///
    /// # Errors
    /// It is neither.
    pub fn with(name: &str, configuration: Tls) -> Result<Self, TlsError> {
        let server = ServerName::try_from(name.to_owned());
        let server = server.map_err(|_| TlsError(format!("`{name}` is not a valid server name")))?;
        Ok(Self { configuration, name: server, authorities: None })
    }

    /// Names the file that `configuration` trusts in place of the platform's authorities.
    #[must_use]
    pub fn trusting(self, ca_certificate: Option<&Path>) -> Self {
        Self { authorities: ca_certificate.map(Arc::from), ..self }
    }
}

/// What makes two endpoints the same.
type Identity<'a> = (
    &'a str,
    u16,
    Option<(*const rustls::ClientConfig, &'a ServerName<'static>)>,
    Option<&'a ForwardProxy>,
    Duration,
    KeepAlive,
);

impl Endpoint {
    /// A TLS configuration is only the same as itself.
    fn identity(&self) -> Identity<'_> {
        let tls = self.tls.as_ref().map(|tls| (Arc::as_ptr(&tls.configuration), &tls.name));
        (&self.host, self.port, tls, self.proxy.as_ref(), self.connect_timeout, self.keepalive)
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
        HostPort(&self.host, self.port).fmt(f)
    }
}

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
