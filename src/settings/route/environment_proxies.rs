//! The proxies of the process's environment: `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`, in upper or lower
//! case.
//!
//! `proxy_rule.rs` uses them for routes without `proxy_url`. `NO_PROXY` is matched by hyper-util.

use std::{borrow::Cow, net::IpAddr};

use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;

use super::{
    forward_proxy::{ForwardProxy, HostPort},
    proxy_rule::{Direct, ProxyChoice},
    upstream::Scheme,
};
use crate::text::uri_syntax::is_on_this_machine;

// upper case takes precedence, as in Go and hyper-util
const HTTPS_PROXY: [&str; 2] = ["HTTPS_PROXY", "https_proxy"];
const HTTP_PROXY: [&str; 2] = ["HTTP_PROXY", "http_proxy"];
const NO_PROXY: [&str; 2] = ["NO_PROXY", "no_proxy"];
/// All variables about proxies.
pub const PROXY_VARIABLES: [&str; 6] =
    [HTTPS_PROXY[0], HTTPS_PROXY[1], HTTP_PROXY[0], HTTP_PROXY[1], NO_PROXY[0], NO_PROXY[1]];
/// Set by CGI servers (RFC 3875, 4.1.12).
const REQUEST_METHOD: &str = "REQUEST_METHOD";

/// A variable whose value is not the URL of a supported proxy. Contains no part of the value, which may
/// contain a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{variable} in the environment: {problem}")]
pub struct UnusableProxy {
    variable: &'static str,
    problem: &'static str,
}

impl UnusableProxy {
    /// The expected value, for mistakes.
    pub(in crate::settings) const EXPECTED: &'static str = "http://HOST:PORT or \
        http://USER:PASSWORD@HOST:PORT there, with escapes for what is special in a URL, or \
        `proxy_url: none` here";
}

/// The proxies for both schemes, and the hosts that are connected to directly.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EnvironmentProxies {
    http: Option<Result<ForwardProxy, UnusableProxy>>,
    https: Option<Result<ForwardProxy, UnusableProxy>>,
    /// The name of the variable and its value.
    no_proxy: Option<(&'static str, String)>,
}

impl EnvironmentProxies {
    /// Reads the variables; an empty one is the same as none.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let is_cgi = variable(REQUEST_METHOD).is_some();
        let first = |names: [&'static str; 2]| {
            names.into_iter().find_map(|name| {
                // a CGI server stores the request header `Proxy` there (httpoxy, CVE-2016-5385)
                if is_cgi && name == HTTP_PROXY[0] {
                    return None;
                }
                let value = variable(name)?.trim().to_owned();
                (!value.is_empty()).then_some((name, value))
            })
        };
        let proxy_of = |names| first(names).map(|(name, url)| proxy(name, &url));
        Self { http: proxy_of(HTTP_PROXY), https: proxy_of(HTTPS_PROXY), no_proxy: first(NO_PROXY) }
    }

    /// True if no proxy is set.
    pub fn is_empty(&self) -> bool {
        self.http.is_none() && self.https.is_none()
    }

    /// The proxy for connections to a host, an IPv6 address without brackets.
    ///
    /// # Errors
    /// The variable for this scheme is not the URL of a supported proxy.
    pub fn choose(&self, scheme: Scheme, host: &str, port: u16) -> Result<ProxyChoice, UnusableProxy> {
        let named = match scheme {
            Scheme::Http => &self.http,
            Scheme::Https => &self.https,
        };
        let Some(named) = named else { return Ok(ProxyChoice::Direct(Direct::NotSet)) };
        if is_on_this_machine(host) {
            return Ok(ProxyChoice::Direct(Direct::ThisMachine));
        }
        match &self.no_proxy {
            Some((name, list)) if is_listed(list, host, port) => {
                Ok(ProxyChoice::Direct(Direct::Exempt(name)))
            }
            _ => named.clone().map(Box::new).map(ProxyChoice::Through),
        }
    }
}

/// The proxy of a variable; `http` is the scheme of a value without one, as in curl.
fn proxy(variable: &'static str, url: &str) -> Result<ForwardProxy, UnusableProxy> {
    let url = if url.contains("://") { Cow::from(url) } else { format!("http://{url}").into() };
    if !ForwardProxy::has_scheme(&url) {
        let problem = "the scheme must be http; TLS to a proxy and SOCKS are not supported";
        return Err(UnusableProxy { variable, problem });
    }
    let parsed = ForwardProxy::parse(&url).map_err(|problem| UnusableProxy { variable, problem })?;
    Ok(ForwardProxy { named_by: variable, ..parsed })
}

/// True if `NO_PROXY` contains the host.
///
/// hyper-util's matcher has addresses, networks and domains. Added are ports and `*.DOMAIN` as in Go, `*` for
/// addresses too, and blanks between entries as in curl.
fn is_listed(list: &str, host: &str, port: u16) -> bool {
    let entries = list.split(|char: char| char == ',' || char.is_whitespace());
    let entries: Vec<&str> = entries.filter_map(|entry| at_port(entry, port)).collect();
    if entries.contains(&"*") {
        return true;
    }
    let host = match host.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().to_string().into(),
        Err(_) => Cow::from(host.trim_end_matches('.')),
    };
    let Ok(uri) = Uri::try_from(format!("http://{}/", HostPort(&host, port))) else { return false };
    // with a proxy for every host, only the list makes the connection direct
    let matcher = Matcher::builder().http("http://proxy.invalid").no(entries.join(",")).build();
    matcher.intercept(&uri).is_none()
}

/// An entry of `NO_PROXY` as the matcher reads it; `None` if it is for another port.
fn at_port(entry: &str, port: u16) -> Option<&str> {
    let entry = entry.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(entry);
    let (host, own_port) = match entry.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            (host, rest.strip_prefix(':'))
        }
        None => match entry.split_once(':') {
            // two colons are in an IPv6 address
            Some((host, own_port)) if !own_port.contains(':') => (host, Some(own_port)),
            _ => (entry, None),
        },
    };
    if own_port.is_some_and(|own_port| own_port.parse() != Ok(port)) {
        return None;
    }
    let host = host.trim_end_matches('.');
    (!host.is_empty()).then_some(host)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TARGET: (Scheme, &str, u16) = (Scheme::Https, "api.example", 443);

    fn read(variables: &[(&str, &str)]) -> EnvironmentProxies {
        EnvironmentProxies::read(|asked| {
            let found = variables.iter().find(|(name, value)| *name == asked && !value.is_empty());
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    fn choice(variables: &[(&str, &str)], (scheme, host, port): (Scheme, &str, u16)) -> String {
        read(variables)
            .choose(scheme, host, port)
            .map_or_else(|error| error.to_string(), |choice| choice.to_string())
    }

    #[test]
    fn each_scheme_has_its_variable_in_either_case() {
        let http = (Scheme::Http, "api.example", 80);
        for (variables, of_https, of_http) in [
            (&[][..], "none", "none"),
            (&[("HTTPS_PROXY", "http://a:1")], "a:1 (HTTPS_PROXY)", "none"),
            (&[("https_proxy", "http://a:1")], "a:1 (https_proxy)", "none"),
            (&[("HTTP_PROXY", "http://a:1")], "none", "a:1 (HTTP_PROXY)"),
            (&[("http_proxy", "http://a:1")], "none", "a:1 (http_proxy)"),
            (&[("HTTPS_PROXY", "a:1"), ("https_proxy", "b:1")], "a:1 (HTTPS_PROXY)", "none"),
            (&[("HTTPS_PROXY", ""), ("https_proxy", "b:1")], "b:1 (https_proxy)", "none"),
            (&[("HTTPS_PROXY", " "), ("https_proxy", "b:1")], "b:1 (https_proxy)", "none"),
            (&[("HTTPS_PROXY", " b:1\n")], "b:1 (HTTPS_PROXY)", "none"),
            (&[("HTTPS_PROXY", "http://b/")], "b:80 (HTTPS_PROXY)", "none"),
            (&[("ALL_PROXY", "http://a:1"), ("all_proxy", "http://a:1")], "none", "none"),
        ] {
            assert_eq!(choice(variables, TARGET), of_https, "{variables:?}");
            assert_eq!(choice(variables, http), of_http, "{variables:?}");
        }
    }

    #[test]
    fn http_proxy_is_ignored_under_cgi() {
        let http = (Scheme::Http, "api.example", 80);
        let both =
            [("HTTP_PROXY", "a:1"), ("http_proxy", "b:1"), ("HTTPS_PROXY", "c:1"), (REQUEST_METHOD, "GET")];
        assert_eq!(choice(&both, http), "b:1 (http_proxy)");
        assert_eq!(choice(&both, TARGET), "c:1 (HTTPS_PROXY)");
        assert_eq!(choice(&both[..3], http), "a:1 (HTTP_PROXY)");
        assert_eq!(choice(&[both[0], both[3]], http), "none");
    }

    #[test]
    fn no_proxy_exempts_hosts_domains_addresses_networks_and_ports() {
        for (list, host, port, is_exempt) in [
            ("api.example", "api.example", 443, true),
            ("API.Example", "api.example", 443, true),
            ("api.example", "api.example.", 443, true),
            ("api.example.", "api.example", 443, true),
            ("example", "api.example", 443, true),
            (".example", "api.example", 443, true),
            (".example", "example", 443, true),
            ("*.example", "api.example", 443, true),
            ("pi.example", "api.example", 443, false),
            ("api.example", "other.example", 443, false),
            ("api", "api.example", 443, false),
            ("a.b, api.example", "api.example", 443, true),
            ("a.b api.example", "api.example", 443, true),
            (",, ,", "api.example", 443, false),
            ("*", "api.example", 443, true),
            ("a.b,*", "10.0.0.1", 443, true),
            ("*", "fd00::1", 443, true),
            ("api.example:443", "api.example", 443, true),
            ("api.example:443", "api.example", 8443, false),
            (".example:8443", "api.example", 8443, true),
            ("api.example:x", "api.example", 443, false),
            ("*:443", "api.example", 443, true),
            ("10.0.0.1", "10.0.0.1", 443, true),
            ("10.0.0.1:443", "10.0.0.1", 443, true),
            ("10.0.0.1:444", "10.0.0.1", 443, false),
            ("10.0.0.1", "::ffff:10.0.0.1", 443, true),
            ("10.0.0.0/8", "10.9.8.7", 443, true),
            ("10.0.0.0/8", "11.0.0.1", 443, false),
            ("0.0.0.1", "10.0.0.1", 443, false),
            ("fd00::/8", "fd12::1", 443, true),
            ("fd00::1", "fd00::1", 443, true),
            ("[fd00::1]", "fd00::1", 443, true),
            ("[fd00::1]:443", "fd00::1", 443, true),
            ("[fd00::1]:444", "fd00::1", 443, false),
            ("fd00::/8", "fe00::1", 443, false),
        ] {
            let expected = if is_exempt { "none (no_proxy)" } else { "p:1 (HTTPS_PROXY)" };
            let variables = [("HTTPS_PROXY", "p:1"), ("no_proxy", list)];
            assert_eq!(choice(&variables, (Scheme::Https, host, port)), expected, "{list} for {host}:{port}");
        }
        let both = [("HTTPS_PROXY", "p:1"), ("NO_PROXY", "other.example"), ("no_proxy", "api.example")];
        assert_eq!(choice(&both, TARGET), "p:1 (HTTPS_PROXY)");
    }

    #[test]
    fn addresses_of_this_machine_use_no_proxy() {
        let both = [("HTTPS_PROXY", "p:1"), ("HTTP_PROXY", "p:1")];
        for host in ["localhost", "127.0.0.1", "::1", "169.254.169.254", "169.254.170.2", "fe80::1"] {
            for scheme in [Scheme::Http, Scheme::Https] {
                assert_eq!(choice(&both, (scheme, host, 443)), "none (address of this machine)", "{host}");
            }
        }
    }

    #[test]
    fn an_unsupported_proxy_is_named_by_its_variable_alone() {
        for url in [
            "https://hush:hush@hush:1",
            "socks5://hush:1",
            "socks5h://hush:1",
            "http://hush:hush@",
            "http://hush:1/path",
            "hush:99999",
            "http://hush:%zz@h:1",
            "://hush",
        ] {
            let unusable = [("https_proxy", url)];
            let error = choice(&unusable, TARGET);
            assert!(
                error.starts_with("https_proxy in the environment: ") && !error.contains("hush"),
                "{error}"
            );
            let debug = format!("{:?}", read(&unusable));
            assert!(!debug.contains("hush"), "{debug}");
            // where it is not used it does no harm
            assert_eq!(choice(&unusable, (Scheme::Http, "api.example", 80)), "none");
            assert_eq!(choice(&[unusable[0], ("NO_PROXY", "*")], TARGET), "none (NO_PROXY)");
            assert_eq!(choice(&unusable, (Scheme::Https, "::1", 443)), "none (address of this machine)");
        }
    }

    #[test]
    fn the_password_of_a_proxy_is_in_no_text() {
        let proxies = read(&[("HTTPS_PROXY", "http://hush-user:hush-word@p:1")]);
        let shown = format!("{proxies:?} {}", proxies.choose(TARGET.0, TARGET.1, TARGET.2).unwrap());
        assert!(!shown.contains("hush") && !shown.contains("Basic"), "{shown}");
    }

    proptest! {
        #[test]
        fn no_list_makes_it_panic(
            list in "[a-z0-9*.:/,\\[\\] é]{0,24}",
            host in "[a-z0-9.:é]{0,9}",
            port: u16,
        ) {
            let _ = is_listed(&list, &host, port);
        }

        #[test]
        fn a_host_is_exempt_by_its_own_name_and_each_domain_of_it(
            labels in prop::collection::vec("[a-z][a-z0-9-]{0,4}[a-z0-9]", 1..5),
            port in 1_u16..,
        ) {
            let host = labels.join(".");
            for start in 0..labels.len() {
                let domain = labels[start..].join(".");
                let with_port = format!("{domain}:{port}");
                for entry in [domain.clone(), format!(".{domain}"), format!("*.{domain}"), with_port] {
                    prop_assert!(is_listed(&entry, &host, port), "{entry} {host}");
                }
                let (longer, other_port) = (format!("x{domain}"), format!("{domain}:{}", port ^ 1));
                prop_assert!(!is_listed(&longer, &host, port) && !is_listed(&other_port, &host, port));
            }
        }
    }
}
