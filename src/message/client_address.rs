//! The address of a request's client: the peer's, or the one that a trusted proxy names.

use std::net::{IpAddr, SocketAddr};

use actix_http::{
    Request,
    header::{HeaderName, HeaderValue},
};

use crate::settings::TrustedIps;

pub const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The sender of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress {
    /// The other end of the connection, or the address that the PROXY protocol names; `None` on a Unix
    /// socket.
    pub peer: Option<SocketAddr>,
    pub trust: PeerTrust,
    /// The client's address, IPv4 rather than IPv4-mapped; `None` on a Unix socket where nothing names it.
    pub ip: Option<IpAddr>,
}

/// The treatment of a peer's `X-Forwarded-*` and `Forwarded`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerTrust {
    /// The peer is in `listen.trusted_ips`: its headers are kept.
    Trusted,
    /// The peer is not in the list: its headers are replaced.
    Untrusted,
    /// `listen.trusted_ips` is empty: `X-Forwarded-For` is appended to, as API Gateway does, because a
    /// sidecar's application may speak for its users; the other headers are replaced.
    Unconfigured,
}

impl ClientAddress {
    pub fn of(request: &Request, trusted: &TrustedIps) -> Self {
        let peer = request.head().peer_addr;
        let ip = peer.map(|peer| peer.ip().to_canonical());
        if trusted.is_empty() {
            return Self { peer, trust: PeerTrust::Unconfigured, ip };
        }
        if !trusted.trusts(ip) {
            return Self { peer, trust: PeerTrust::Untrusted, ip };
        }
        let forwarded_for = request.head().headers.get_all(&FORWARDED_FOR).map(HeaderValue::as_bytes);
        Self { peer, trust: PeerTrust::Trusted, ip: trusted.client_ip(ip, forwarded_for) }
    }
}
