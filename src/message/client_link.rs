//! The connection of a client, as far as it decides about secrets.

use std::net::SocketAddr;

/// The kind of a client's connection. It describes the connection itself, whatever an earlier hop or its
/// headers say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientLink {
    /// TCP without TLS from another machine.
    Plain,
    /// A Unix socket, or TCP without TLS from a loopback address.
    Local,
    /// TCP with TLS.
    Tls,
}

impl ClientLink {
    /// The link of a socket without TLS; `peer` is the address of its other end, and a Unix socket has none.
    pub fn without_tls(peer: Option<SocketAddr>) -> Self {
        let is_local = peer.is_none_or(|peer| peer.ip().to_canonical().is_loopback());
        if is_local { Self::Local } else { Self::Plain }
    }

    pub fn is_tls(self) -> bool {
        self == Self::Tls
    }

    /// True if nobody else on the network can read what the client sends.
    pub fn is_private(self) -> bool {
        self != Self::Plain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_addresses_and_unix_sockets_are_local() {
        assert_eq!(ClientLink::without_tls(None), ClientLink::Local);
        for (peer, expected) in [
            ("127.0.0.1:1", ClientLink::Local),
            ("127.8.8.8:1", ClientLink::Local),
            ("[::1]:1", ClientLink::Local),
            ("[::ffff:127.0.0.1]:1", ClientLink::Local),
            ("10.0.0.1:1", ClientLink::Plain),
            ("169.254.1.1:1", ClientLink::Plain),
            ("0.0.0.0:1", ClientLink::Plain),
            ("[::ffff:10.0.0.1]:1", ClientLink::Plain),
            ("[fe80::1]:1", ClientLink::Plain),
            ("[::]:1", ClientLink::Plain),
        ] {
            assert_eq!(ClientLink::without_tls(Some(peer.parse().unwrap())), expected, "{peer}");
        }
    }
}
