//! `listen.trusted_ips`: the proxies whose headers about their clients are used.

use std::{
    net::{IpAddr, SocketAddr},
    str,
};

use ipnet::{IpNet, Ipv4Net};

/// The spelling of the Unix socket, as in Kong and nginx.
const UNIX: &str = "unix:";
/// Bits of an IPv6 address before the IPv4 address that it maps (RFC 4291, 2.5.5.2).
const MAPPED_PREFIX: u8 = 96;

/// The networks of the trusted proxies, and whether clients of the Unix socket are trusted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedIps {
    networks: Vec<IpNet>,
    unix: bool,
}

/// An item of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TrustedIp {
    Network(IpNet),
    Unix,
}

impl TrustedIp {
    pub(super) const EXPECTED: &str = "an IP address, a network such as 10.0.0.0/8, or `unix:`";

    pub(super) fn parse(text: &str) -> Option<Self> {
        if text == UNIX {
            return Some(Self::Unix);
        }
        let network = match text.split_once('/') {
            Some((address, prefix)) => IpNet::new(address.parse().ok()?, prefix_length(prefix)?).ok()?,
            None => IpNet::from(text.parse::<IpAddr>().ok()?),
        };
        canonical(network).map(Self::Network)
    }
}

fn prefix_length(text: &str) -> Option<u8> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| is_number)
}

/// A network of IPv4-mapped addresses as one of IPv4 addresses, because addresses are compared as IPv4.
/// `None` if the prefix is shorter than that of mapped addresses, as in `::ffff:10.0.0.0/8`, which contains
/// no IPv4 address.
fn canonical(network: IpNet) -> Option<IpNet> {
    let IpNet::V6(v6) = network else { return Some(network) };
    let Some(address) = v6.addr().to_ipv4_mapped() else { return Some(network) };
    let prefix = v6.prefix_len().checked_sub(MAPPED_PREFIX)?;
    Ipv4Net::new(address, prefix).ok().map(IpNet::V4)
}

impl FromIterator<TrustedIp> for TrustedIps {
    fn from_iter<T: IntoIterator<Item = TrustedIp>>(items: T) -> Self {
        let mut trusted = Self::default();
        for item in items {
            match item {
                TrustedIp::Network(network) => trusted.networks.push(network),
                TrustedIp::Unix => trusted.unix = true,
            }
        }
        trusted
    }
}

impl TrustedIps {
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty() && !self.unix
    }

    /// True if clients of a TCP socket may be trusted.
    pub fn has_networks(&self) -> bool {
        !self.networks.is_empty()
    }

    /// True if a peer is trusted; `None` is a peer on the Unix socket.
    pub fn trusts(&self, peer: Option<IpAddr>) -> bool {
        peer.map_or(self.unix, |peer| self.has(peer.to_canonical()))
    }

    fn has(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&address))
    }

    /// The address of the client: the peer's, or, if the peer is trusted, the nearest address of
    /// `X-Forwarded-For` that is not trusted. If all are trusted it is the first one. A word that is not an
    /// address ends the search, because nothing before it is known to come from a trusted proxy; the client
    /// is then the address after it. `None` for a client on the Unix socket that nothing names.
    pub fn client_ip<'l>(
        &self,
        peer: Option<IpAddr>,
        forwarded_for: impl DoubleEndedIterator<Item = &'l [u8]>,
    ) -> Option<IpAddr> {
        let mut client = peer.map(|peer| peer.to_canonical());
        if !self.trusts(peer) {
            return client;
        }
        let elements = forwarded_for.rev().flat_map(|line| line.rsplit(|byte| *byte == b','));
        // a list may have empty elements (RFC 9110, 5.6.1)
        for element in elements.map(<[u8]>::trim_ascii).filter(|element| !element.is_empty()) {
            let Some(address) = address(element) else { break };
            client = Some(address);
            if !self.has(address) {
                break;
            }
        }
        client
    }
}

/// An address of `X-Forwarded-For`, which some proxies write with a port or in brackets.
fn address(element: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(element).ok()?;
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    let with_port = || text.parse().ok().map(|address: SocketAddr| address.ip());
    text.parse().ok().or_else(with_port).or_else(in_brackets).map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn trusted(items: &[&str]) -> TrustedIps {
        items.iter().map(|item| TrustedIp::parse(item).unwrap_or_else(|| panic!("{item}"))).collect()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_networks_and_the_unix_socket_are_items() {
        for (text, network) in [
            ("10.0.0.1", "10.0.0.1/32"),
            ("10.1.2.3/8", "10.1.2.3/8"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("fd00::/8", "fd00::/8"),
            ("::1", "::1/128"),
            ("::ffff:10.0.0.1", "10.0.0.1/32"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:0.0.0.0/96", "0.0.0.0/0"),
            ("::/0", "::/0"),
        ] {
            let item = TrustedIp::Network(network.parse().unwrap());
            assert_eq!(TrustedIp::parse(text), Some(item), "{text}");
        }
        assert_eq!(TrustedIp::parse("unix:"), Some(TrustedIp::Unix));
        for text in [
            "",
            "unix",
            "unix:/run/s",
            "10.0.0.0/33",
            "10.0.0.0/08",
            "10.0.0.0/+8",
            "10.0.0.0/",
            "10.0.0/8",
            "010.0.0.1",
            "::1/129",
            "[::1]",
            "10.0.0.1:80",
            "localhost",
            "10.0.0.1/255.0.0.0",
            "::ffff:10.0.0.0/8",
            "::ffff:0.0.0.0/95",
            " ::1",
        ] {
            assert_eq!(TrustedIp::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_peer_is_trusted_by_its_network_or_its_socket() {
        let networks = trusted(&["10.0.0.0/8", "fd00::/8"]);
        for (peer, is_trusted) in [
            ("10.9.9.9", true),
            ("::ffff:10.9.9.9", true),
            ("fd12::1", true),
            ("11.0.0.1", false),
            ("::1", false),
        ] {
            assert_eq!(networks.trusts(Some(ip(peer))), is_trusted, "{peer}");
        }
        assert!(!networks.trusts(None) && trusted(&["unix:"]).trusts(None));
        assert!(!TrustedIps::default().trusts(Some(ip("127.0.0.1"))));
    }

    /// Peer, lines of `X-Forwarded-For`, client; `-` is the Unix socket.
    const CHAINS: [(&str, &[&str], &str); 24] = [
        // one proxy
        ("10.0.0.1", &["203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", &[], "10.0.0.1"),
        ("10.0.0.1", &[""], "10.0.0.1"),
        // several proxies, in one line and in several
        ("10.0.0.1", &["203.0.113.7, 10.0.0.3, 10.0.0.2"], "203.0.113.7"),
        ("10.0.0.1", &["203.0.113.7", "10.0.0.3,10.0.0.2"], "203.0.113.7"),
        ("10.0.0.1", &["203.0.113.7,, ,", " ,10.0.0.2, "], "203.0.113.7"),
        // all are trusted
        ("10.0.0.1", &["10.0.0.4", "10.0.0.3, 10.0.0.2"], "10.0.0.4"),
        // elements that the client sent itself
        ("10.0.0.1", &["198.51.100.1, 203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", &["10.0.0.9, 203.0.113.7, 10.0.0.2"], "203.0.113.7"),
        ("10.0.0.1", &["10.0.0.9", "203.0.113.7"], "203.0.113.7"),
        // a peer that is not trusted
        ("203.0.113.7", &["198.51.100.1"], "203.0.113.7"),
        ("::ffff:203.0.113.7", &["10.0.0.1"], "203.0.113.7"),
        // IPv6
        ("fd00::1", &["2001:db8::7, fd00::2"], "2001:db8::7"),
        ("::ffff:10.0.0.1", &["::ffff:203.0.113.7, ::ffff:10.0.0.2"], "203.0.113.7"),
        ("10.0.0.1", &["[2001:db8::7], [fd00::2]:443"], "2001:db8::7"),
        // ports
        ("10.0.0.1", &["203.0.113.7:1234, 10.0.0.2:80"], "203.0.113.7"),
        ("10.0.0.1", &["[2001:db8::7]:1234"], "2001:db8::7"),
        // words that are not addresses
        ("10.0.0.1", &["203.0.113.7, unknown"], "10.0.0.1"),
        ("10.0.0.1", &["203.0.113.7, _secret, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", &["203.0.113.7, 10.0.0.300"], "10.0.0.1"),
        ("10.0.0.1", &["203.0.113.7, \"10.0.0.2\"", "10.0.0.3"], "10.0.0.3"),
        ("10.0.0.1", &["203.0.113.7 10.0.0.2"], "10.0.0.1"),
        // the Unix socket
        ("-", &["203.0.113.7, 10.0.0.2"], "203.0.113.7"),
        ("-", &["unknown"], "-"),
    ];

    #[test]
    fn the_client_is_the_nearest_address_that_is_not_trusted() {
        let trusted = trusted(&["10.0.0.0/8", "fd00::/8", "unix:"]);
        for (peer, lines, client) in CHAINS {
            let of = |text: &str| (text != "-").then(|| ip(text));
            let found = trusted.client_ip(of(peer), lines.iter().map(|line| line.as_bytes()));
            assert_eq!(found, of(client), "{peer} {lines:?}");
        }
    }

    #[test]
    fn without_trusted_addresses_the_client_is_the_peer() {
        for (peer, lines, _) in CHAINS {
            let peer = (peer != "-").then(|| ip(peer));
            let found = TrustedIps::default().client_ip(peer, lines.iter().map(|line| line.as_bytes()));
            assert_eq!(found, peer.map(|peer| peer.to_canonical()));
        }
    }

    proptest! {
        #[test]
        fn bytes_before_an_address_that_is_not_trusted_change_nothing(
            spoofed in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..4),
        ) {
            let trusted = trusted(&["10.0.0.0/8"]);
            let lines = spoofed.iter().map(Vec::as_slice).chain([&b"203.0.113.7, 10.0.0.2"[..]]);
            let lines: Vec<&[u8]> = lines.collect();
            let client = trusted.client_ip(Some(ip("10.0.0.1")), lines.into_iter());
            prop_assert_eq!(client, Some(ip("203.0.113.7")));
        }
    }
}
