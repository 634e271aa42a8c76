//! Where connections lead, and which of them are kept.
//!
//! A backend's target names one; `pool.rs` keeps connections for it, `dial.rs` opens them.

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use crate::{
    settings::{ForwardProxy, HostPort},
    tls::Tls,
};

/// Where connections lead; routes with an equal one share connections.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// How the server is verified; `None` for plain HTTP.
    pub tls: Option<Tls>,
    /// What stands between, if something does.
    pub proxy: Option<ForwardProxy>,
    /// For name resolution, TCP, a proxy's tunnel and TLS together.
    pub connect_timeout: Duration,
    /// Which connections are kept.
    pub keepalive: KeepAlive,
}

/// What makes two endpoints the same.
type Identity<'a> =
    (&'a str, u16, Option<*const rustls::ClientConfig>, Option<&'a ForwardProxy>, Duration, KeepAlive);

impl Endpoint {
    /// A TLS configuration is only the same as itself.
    fn identity(&self) -> Identity<'_> {
        let tls = self.tls.as_ref().map(Arc::as_ptr);
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
