//! The section `connect`: another server to connect to, and its name in TLS.
//!
//! A private API is behind a VPC endpoint with another name, while `Host` and signature name the API.

use super::{function_uri::host_and_port, upstream::Scheme};
use crate::settings::{HostPort, source::check::Checker};
use actix_http::uri::Authority;
use rustls_pki_types::ServerName;

section! {
    /// The server to connect to; empty without the section.
    #[derive(Debug, Clone, Default, PartialEq, Eq)]
    pub struct Connect, read as WrittenConnect, filled "a table with `address` or `sni`";

    made ConnectParts {
        /// Host, and optionally port; an IPv6 address has no brackets.
        address: Option<(String, Option<u16>)>,
        /// The server's name in SNI and in its certificate, instead of the endpoint's host.
        sni: Option<String>,
    }

    /// `HOST` or `HOST:PORT` to connect to instead of the endpoint's host, which is still sent as `Host` and
    /// signed; see "Private APIs".
    address: String, kind(Kind::HostPort) => Connect::address_text;
    /// Server name in TLS (SNI and certificate); the endpoint's host by default.
    sni: String, kind(Kind::ServerName) => |connect| &connect.sni;
}

impl Connect {
    /// The host and port to connect to for the endpoint `host` and `port`.
    pub fn place<'a>(&'a self, host: &'a str, port: u16) -> HostPort<'a> {
        match &self.address {
            Some((own, own_port)) => HostPort(own, own_port.unwrap_or(port)),
            None => HostPort(host, port),
        }
    }

    fn address_text(&self) -> Option<String> {
        self.address.as_ref().map(|(host, port)| match port {
            Some(port) => HostPort(host, *port).to_string(),
            None => host.clone(),
        })
    }
}

impl WrittenConnect {
    /// `scheme` is the backend's, `None` if it is invalid.
    pub(in crate::settings) fn check(mut self, scheme: Option<Scheme>, checker: &mut Checker<'_>) -> Connect {
        let is_written = self.address.is_some() || self.sni.is_some();
        if !is_written && !checker.has_error("address") && !checker.has_error("sni") {
            checker.report_incomplete("missing `address` or `sni`", "one of them, or no `connect`");
        }
        if self.sni.is_some() && scheme == Some(Scheme::Http) {
            checker.at("sni").report("has no effect without TLS", "https, or remove the key");
        }
        let expected = "HOST or HOST:PORT, without a scheme; an IPv6 address in brackets";
        let parts = ConnectParts {
            address: self.address.take().and_then(|text| checker.parsed("address", &text, expected, address)),
            sni: self.sni.take().and_then(|text| {
                let expected = "the name of a host, or an address";
                checker.parsed("sni", &text, expected, |text| {
                    ServerName::try_from(text).is_ok().then(|| text.to_owned())
                })
            }),
        };
        self.settled(checker)(parts)
    }
}

fn address(text: &str) -> Option<(String, Option<u16>)> {
    let authority: Authority = text.parse().ok()?;
    let (host, port) = host_and_port(&authority)?;
    Some((host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_maybe_a_port() {
        let parsed = |text| address(text).unwrap();
        assert_eq!(parsed("vpce-1.example"), ("vpce-1.example".into(), None));
        assert_eq!(parsed("10.0.0.1:8443"), ("10.0.0.1".into(), Some(8443)));
        assert_eq!(parsed("[fd00::1]:443"), ("fd00::1".into(), Some(443)));
        assert_eq!(parsed("[fd00::1]"), ("fd00::1".into(), None));
        for wrong in [
            "",
            "https://a",
            "a:",
            "a:0",
            "a:99999",
            "a:b",
            "u@a",
            "a/b",
            "::1",
            "[::1",
            "a..b",
            "*.a",
            "a b",
        ] {
            assert_eq!(address(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_not_written_is_where_the_call_goes() {
        let place = |connect: &Connect| connect.place("api.example", 443).to_string();
        assert_eq!(place(&Connect::default()), "api.example:443");
        let host = Connect { address: address("vpce.example"), sni: None };
        assert_eq!(place(&host), "vpce.example:443");
        assert_eq!(place(&Connect { address: address("[::1]:8443"), sni: None }), "[::1]:8443");
    }
}
