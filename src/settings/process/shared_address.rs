//! Mistake: two listeners with the same address, of which only the first could be bound.

use std::net::{IpAddr, SocketAddr};

use crate::settings::{AdminSettings, Listen, source::check::Checker};

const EXPECTED: &str = "an address and a port that no other listener uses";

/// Reports each pair of listeners that cannot both be bound, at the second of the two.
pub(in crate::settings) fn check(listen: &Listen, admin: &AdminSettings, checker: &mut Checker<'_>) {
    let https = listen.https.as_ref().map(|https| https.address);
    let listeners: Vec<(&[&str], SocketAddr)> = [
        (&["listen", "http"][..], Some(listen.http)),
        (&["listen", "https", "address"][..], https),
        (&["admin", "address"][..], Some(admin.address)),
    ]
    .into_iter()
    .filter_map(|(key, address)| Some((key, address?)))
    .collect();
    for (index, (key, address)) in listeners.iter().enumerate() {
        let taken = listeners[..index].iter().find(|(_, other)| is_shared(*address, *other));
        let Some((other_key, other)) = taken else { continue };
        let place = match checker.place_of(other_key) {
            Some(place) => format!("{place}: {}", other_key.join(".")),
            None => format!("the default of {}", other_key.join(".")),
        };
        // if this address is a default, the other key is the one to change
        let blamed = if checker.place_of(key).is_some() { *key } else { *other_key };
        let problem = if blamed == *key {
            format!("{address} is already used by {other} ({place})")
        } else {
            format!("{other} is already used by {address} (the default of {})", key.join("."))
        };
        checker.at_path(blamed).report(problem, EXPECTED);
    }
}

/// True if the system would refuse to bind the second of two addresses. An unspecified IPv6 address includes
/// the IPv4 addresses, see `listener/sockets.rs`. Port 0 never conflicts: the system chooses a free port.
fn is_shared(one: SocketAddr, other: SocketAddr) -> bool {
    let takes = |all: IpAddr, ip: IpAddr| match all {
        IpAddr::V4(all) => all.is_unspecified() && ip.is_ipv4(),
        IpAddr::V6(all) => all.is_unspecified(),
    };
    let (own, others) = (one.ip().to_canonical(), other.ip().to_canonical());
    one.port() != 0
        && one.port() == other.port()
        && (own == others || takes(own, others) || takes(others, own))
}

#[cfg(test)]
mod tests {
    use crate::settings::{Document, Settings};

    use super::*;

    #[test]
    fn k3_addresses_of_which_one_takes_the_others_connections_are_shared() {
        let shared = |one: &str, other: &str| {
            let (one, other) = (one.parse().unwrap(), other.parse().unwrap());
            assert_eq!(is_shared(one, other), is_shared(other, one), "{one} {other}");
            is_shared(one, other)
        };
        for (one, other) in [
            ("127.0.0.1:9080", "127.0.0.1:9080"),
            ("0.0.0.0:9080", "127.0.0.1:9080"),
            ("[::]:9080", "127.0.0.1:9080"),
            ("[::]:9080", "0.0.0.0:9080"),
            ("[::]:9080", "[::1]:9080"),
            ("[::ffff:127.0.0.1]:9080", "127.0.0.1:9080"),
        ] {
            assert!(shared(one, other), "{one} {other}");
        }
        for (one, other) in [
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("127.0.0.1:9080", "127.0.0.1:9180"),
            ("127.0.0.1:9080", "127.0.0.2:9080"),
            ("0.0.0.0:9080", "[::1]:9080"),
        ] {
            assert!(!shared(one, other), "{one} {other}");
        }
    }

    #[test]
    fn k3_equal_listeners_are_a_mistake_with_both_places() {
        let mistakes = |process: &str| {
            let route = "uri: /\napi_gateway: { function_uri: https://a.example/ }\n";
            let documents = [Document::process(process), Document::route("r", route)];
            Settings::from_documents(&documents, &[].into())
                .map_or_else(|mistakes| mistakes.to_string(), |_| String::new())
        };
        let expected =
            "; expected an address and a port that no other listener uses\n1 mistake in the settings";
        for (process, told) in [
            (
                "listen:\n  http: 0.0.0.0:9080\nadmin:\n  address: 127.0.0.1:9080\n",
                "default.yaml:4: admin.address: 127.0.0.1:9080 is already used by 0.0.0.0:9080 \
                 (default.yaml:2: listen.http)",
            ),
            (
                "listen:\n  http: 127.0.0.1:9180\n",
                "default.yaml:2: listen.http: 127.0.0.1:9180 is already used by 127.0.0.1:9180 \
                 (the default of admin.address)",
            ),
            (
                "admin:\n  address: '[::]:9080'\n",
                "default.yaml:2: admin.address: [::]:9080 is already used by 127.0.0.1:9080 (the default of \
                 listen.http)",
            ),
        ] {
            assert_eq!(mistakes(process), format!("{told}{expected}"));
        }
        assert_eq!(mistakes("listen: { http: 127.0.0.1:0 }\nadmin: { address: 127.0.0.1:0 }\n"), "");
    }
}
