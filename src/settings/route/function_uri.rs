//! The key `function_uri`: the URL of an API Gateway endpoint or a Function URL.

use std::{fmt, net::Ipv6Addr};

use actix_http::{Uri, header::HeaderValue, uri::Authority};
use rustls_pki_types::ServerName;

use super::{
    target_hosts::BY_HOST,
    upstream::{Scheme, host_header},
    uri_template::UriTemplate,
};
use crate::text::uri_syntax::{climbs, escapes_are_whole, without_brackets};

/// The most bytes of a URL: more than any URL of API Gateway, and few enough that the client's path fits
/// behind it.
const MAX_LENGTH: usize = 8 << 10;

/// The URL, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionUri {
    pub scheme: Scheme,
    /// Name or address to connect to; an IPv6 address has no brackets.
    pub host: String,
    pub port: u16,
    /// Host and port, without the scheme's default port.
    pub authority: String,
    /// The path with its escapes as written; never empty.
    pub path: UriTemplate,
    pub query: Option<UriTemplate>,
}

impl FunctionUri {
    pub(in crate::settings) const EXPECTED: &'static str = "an http or https URL with a host, without user, \
        fragment, `*` or `..`, and with `{name}` in path and query alone: https://HOST/STAGE/PATH";

    /// Parses an absolute URL; path and query stay as written.
    pub fn parse(text: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        let scheme = match uri.scheme_str()? {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return None,
        };
        let authority = uri.authority()?;
        if text.contains('#') {
            return None;
        }
        let host = authority.host();
        let (bare, port) = host_and_port(authority)?;
        let port = port.unwrap_or_else(|| scheme.default_port());
        if text.len() > MAX_LENGTH || text.contains('*') {
            return None;
        }
        let path = if uri.path().is_empty() { "/" } else { uri.path() };
        if climbs(path) || !escapes_are_whole(path.as_bytes()) {
            return None;
        }
        let query = uri.query().filter(|query| !query.is_empty());
        if query.is_some_and(|query| !escapes_are_whole(query.as_bytes())) {
            return None;
        }
        let query = query.map(|query| UriTemplate::parse(query).ok_or(())).transpose().ok()?;
        let authority =
            if port == scheme.default_port() { host.to_owned() } else { format!("{host}:{port}") };
        HeaderValue::from_str(&authority).ok()?;
        Some(Self { scheme, host: bare.to_owned(), port, authority, path: UriTemplate::parse(path)?, query })
    }

    /// Parses a URL whose host may be `{host}`, which the client names.
    pub(in crate::settings) fn parse_with_named_host(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let Some(rest) = rest.strip_prefix(BY_HOST) else { return Self::parse(text) };
        if !rest.is_empty() && !rest.starts_with(['/', '?']) {
            return None;
        }
        let uri = Self::parse(&format!("{scheme}://host.invalid{rest}"))?;
        Some(Self { host: BY_HOST.to_owned(), authority: BY_HOST.to_owned(), ..uri })
    }

    /// True if the client names the host.
    pub fn has_named_host(&self) -> bool {
        self.authority == BY_HOST
    }

    /// Sets the host that a client has named. It is meant to be reached by TLS, also if a stand-in without
    /// TLS takes its place.
    pub(super) fn set_server(&mut self, host: String, port: u16) {
        let default = Scheme::Https.default_port();
        self.authority = if port == default { host.clone() } else { format!("{host}:{port}") };
        (self.host, self.port) = (host, port);
    }

    /// The names of the path parameters in it.
    pub fn parameters(&self) -> impl Iterator<Item = &str> {
        self.path.names().chain(self.query.iter().flat_map(UriTemplate::names))
    }

    /// The value of `Host`.
    pub fn host_header(&self) -> HeaderValue {
        host_header(&self.authority)
    }
}

/// The host without brackets and the port of an authority; `None` if it has a user or is invalid.
pub(in crate::settings) fn host_and_port(authority: &Authority) -> Option<(&str, Option<u16>)> {
    let host = authority.host();
    let bare = without_brackets(host);
    let is_address = bare.parse::<Ipv6Addr>().is_ok();
    let is_bracketed = bare.len() < host.len();
    let is_host = if is_bracketed { is_address } else { !is_address && ServerName::try_from(host).is_ok() };
    let says_port = authority.as_str().len() > host.len();
    let port = authority.port_u16();
    let is_right =
        is_host && !authority.as_str().contains('@') && port != Some(0) && says_port == port.is_some();
    is_right.then_some((bare, port))
}

impl fmt::Display for FunctionUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme.name(), self.authority, self.path)?;
        match &self.query {
            Some(query) => write!(f, "?{query}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_function_uri_is_taken_apart_and_keeps_its_escapes() {
        let uri =
            FunctionUri::parse("https://abc.execute-api.us-east-1.amazonaws.com/prod/a%2Fb?stage=x").unwrap();
        assert_eq!(uri.host, "abc.execute-api.us-east-1.amazonaws.com");
        assert_eq!(
            (uri.port, uri.path.as_str(), uri.query.as_ref().map(UriTemplate::as_str)),
            (443, "/prod/a%2Fb", Some("stage=x"))
        );
        assert_eq!(uri.authority, uri.host);
    }

    #[test]
    fn only_a_port_that_is_not_the_schemes_own_is_in_the_host_header() {
        let authority = |text: &str| FunctionUri::parse(text).unwrap().authority;
        assert_eq!(authority("https://a:443/"), "a");
        assert_eq!(authority("http://a:443/"), "a:443");
        assert_eq!(authority("http://[::1]:3000/x"), "[::1]:3000");
        assert_eq!(FunctionUri::parse("http://[::1]:3000/x").unwrap().host, "::1");
    }

    #[test]
    fn a23_an_empty_path_is_a_slash() {
        assert_eq!(FunctionUri::parse("https://a").unwrap().path.as_str(), "/");
        assert_eq!(FunctionUri::parse("https://a?x=1").unwrap().path.as_str(), "/");
    }

    #[test]
    fn what_is_no_plain_url_is_refused() {
        for text in [
            "",
            "abc/def",
            "/path",
            "ftp://a/",
            "https://",
            "https://user:pw@a/",
            "https://a/#f",
            "https://a/../b",
            "https://a/%2e%2E/b",
            "https://a:99999/",
            "https://a/%zz",
            "https://a:0/",
            "https://a..b/",
            "https://[zz]/",
            "https://*.a/",
            "https://a/p/*",
            "https://{a}/",
            "{a}://b/",
            "https://a:{b}/",
            "https://a/{",
            "https://a/?{}",
            &format!("https://a/{}", "p".repeat(9000)),
        ] {
            assert_eq!(FunctionUri::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_uri_that_is_taken_is_taken_again_as_it_is_shown(
            text in "https?://([a-c.]{1,6}|\\[(::1|[0-9a-f:]{0,6})\\]|127\\.0\\.0\\.1)(:[0-9]{0,6})?(/|[a-c.;\
                é]|%2[ef]){0,6}(\\?[a=&%2é]{0,5})?",
        ) {
            if let Some(uri) = FunctionUri::parse(&text) {
                let shown = uri.to_string();
                let again = FunctionUri::parse(&shown);
                prop_assert_eq!(again.as_ref(), Some(&uri), "{}", shown);
                let path = uri.path.as_str();
                prop_assert!(path.starts_with('/') && text.contains(path) || path == "/");
                prop_assert!(uri.authority.contains(&uri.host) && uri.port != 0);
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in any::<String>()) {
            let _ = (FunctionUri::parse(&text), FunctionUri::parse(&format!("https://{text}")));
        }
    }
}
