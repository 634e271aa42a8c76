//! The check of `Host` for the pages of the admin port.
//!
//! A web page of any site can let its own name resolve to this machine (DNS rebinding), and a browser then
//! treats the admin port as a part of that site. Such a request has the site's name in `Host`, which this
//! check refuses. An address and `localhost` are names that no site owns.

use std::net::IpAddr;

use actix_web::{HttpResponse, dev::ServiceRequest, http::header};

use crate::routing::{HostPattern, host_name};

/// Paths for probes and Prometheus, which answer any host.
const ANY_HOST: [&str; 3] = ["/live", "/ready", "/metrics"];

/// The answer to a request with another host; `None` if the request may go on.
pub(super) fn refusal(request: &ServiceRequest, hosts: &[HostPattern]) -> Option<HttpResponse> {
    if ANY_HOST.contains(&request.path()) {
        return None;
    }
    let header = request.headers().get(header::HOST);
    // the authority of an absolute target takes precedence over `Host` (RFC 9112, 3.2.2)
    let host = request.uri().authority().map(|authority| authority.as_str().as_bytes());
    let is_known = match host.or(header.map(header::HeaderValue::as_bytes)) {
        // a browser always sends it
        None => true,
        Some(host) => str::from_utf8(host).is_ok_and(|host| is_known(host, hosts)),
    };
    (!is_known).then(|| {
        HttpResponse::MisdirectedRequest().content_type("text/plain; charset=utf-8").body(
            "The admin port serves this page only for an IP address, localhost, or a host of `admin.hosts`\n",
        )
    })
}

fn is_known(host: &str, hosts: &[HostPattern]) -> bool {
    let name = host_name(host);
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(&name);
    address.parse::<IpAddr>().is_ok() || name == "localhost" || hosts.iter().any(|own| own.has(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_localhost_and_the_named_hosts_are_known() {
        let hosts = ["sidecar.example.com", "*.internal"].map(|host| HostPattern::parse(host).unwrap());
        for host in [
            "127.0.0.1:9180",
            "127.0.0.1",
            "[::1]:9180",
            "[::1]",
            "10.1.2.3:80",
            "localhost",
            "LOCALHOST:9180",
            "localhost.:1",
            "sidecar.example.com:9180",
            "Sidecar.Example.com",
            "a.internal",
            "a.b.internal:1",
        ] {
            assert!(is_known(host, &hosts), "{host}");
        }
        for host in [
            "",
            ":9180",
            "evil.example",
            "evil.example:9180",
            "localhost.evil.example",
            "internal",
            ".internal",
            "x.sidecar.example.com",
            "127.0.0.1.evil.example",
            "127.0.0.1@evil.example",
            "u@localhost",
            "[::1",
        ] {
            assert!(!is_known(host, &hosts), "{host}");
        }
    }
}
