//! Addresses that lead to this machine or to its metadata service.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// True for loopback, link-local and unspecified addresses, and for those of AWS's metadata services over
/// IPv6 (`fd00:ec2::/32`: EC2 user guide, "Access instance metadata"; EKS Pod Identity). An IPv4-mapped
/// address counts as IPv4.
pub fn is_of_this_machine(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => address.is_loopback() || address.is_link_local() || address.is_unspecified(),
        IpAddr::V6(address) => {
            address.is_loopback()
                || address.is_unicast_link_local()
                || address.is_unspecified()
                || address.segments()[..2] == [0xfd00, 0x0ec2]
        }
    }
}

/// True for the addresses of [`is_of_this_machine`], for `0.0.0.0/8`, and for broadcast and multicast
/// addresses. IPv6 addresses that contain an IPv4 address count as that one (RFC 4291, 2.5.5; RFC 6052).
pub fn may_reach_this_machine(address: IpAddr) -> bool {
    let contained = match address {
        IpAddr::V6(address) => embedded(address),
        IpAddr::V4(_) => None,
    };
    let address = contained.map_or(address, IpAddr::V4);
    let is_special =
        matches!(address, IpAddr::V4(address) if address.octets()[0] == 0 || address.is_broadcast());
    is_special || address.is_multicast() || is_of_this_machine(address)
}

fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    match address.segments() {
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
            Some(Ipv4Addr::new(a, b, c, d))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_link_local_metadata_and_their_ipv6_forms_may_reach_this_machine() {
        let is = |text: &str| may_reach_this_machine(text.parse().unwrap());
        for local in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "169.254.170.23",
            "255.255.255.255",
            "224.0.0.1",
            "::1",
            "::",
            "fe80::1",
            "ff02::1",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
        ] {
            assert!(is(local), "{local}");
        }
        for other in ["10.0.0.1", "192.168.1.1", "52.95.110.1", "fd12:3456::1", "2600::1", "::ffff:10.0.0.1"]
        {
            assert!(!is(other), "{other}");
        }
    }
}
