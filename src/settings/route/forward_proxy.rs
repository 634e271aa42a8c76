//! The key `proxy_url`: an HTTP proxy on the way to AWS, with Kong's name. `client/tunnel.rs` opens the
//! tunnel.

use std::fmt;

use actix_http::{Uri, header::HeaderValue};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::{
    settings::source::{
        secrecy::Secrecy,
        shown::{REDACTED, Show},
    },
    text::uri_syntax::{escapes_are_whole, without_brackets},
};

/// Displays `HOST:PORT`, an IPv6 address in brackets (RFC 3986, 3.2.2).
#[derive(Debug, Clone, Copy)]
pub struct HostPort<'a>(pub &'a str, pub u16);

impl fmt::Display for HostPort<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(host, port) = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// A proxy that opens tunnels (`CONNECT`). `Display` and `Debug` leave out the credentials.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ForwardProxy {
    /// Name or address; an IPv6 address has no brackets.
    pub host: String,
    pub port: u16,
    /// The value of `Proxy-Authorization`, marked as sensitive.
    pub authorization: Option<HeaderValue>,
    /// The key or the variable of the environment with its URL.
    pub named_by: &'static str,
}

impl ForwardProxy {
    /// The expected value, for mistakes.
    pub const EXPECTED: &'static str = "http://HOST:PORT, or http://USER:PASSWORD@HOST:PORT with escapes for \
                                        what is special in a URL, or none";
    const DEFAULT_PORT: u16 = 80;

    /// True for a URL with the scheme `http`, the only one that is supported.
    pub(super) fn has_scheme(text: &str) -> bool {
        text.split_once("://").is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case("http"))
    }

    /// Parses the proxy's URL.
    ///
    /// # Errors
    /// A fixed sentence: the URL may contain a password and must not be quoted.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if !Self::has_scheme(text) {
            return Err("proxy_url scheme must be http");
        }
        let uri: Uri = text.parse().map_err(|_| "not a URL")?;
        let authority = uri.authority().ok_or("a URL without a host")?;
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() || text.contains('#') {
            return Err("a URL with more than a host and a port");
        }
        let (userinfo, place) = match authority.as_str().rsplit_once('@') {
            Some((userinfo, place)) => (Some(userinfo), place),
            None => (None, authority.as_str()),
        };
        let bracketed = authority.host();
        let host = without_brackets(bracketed);
        if host.is_empty() {
            return Err("a URL without a host");
        }
        if place.len() > bracketed.len() && authority.port().is_none() {
            return Err("a URL with an invalid port");
        }
        Ok(Self {
            host: host.to_owned(),
            port: authority.port_u16().unwrap_or(Self::DEFAULT_PORT),
            authorization: userinfo.map(Self::basic).transpose()?,
            named_by: "proxy_url",
        })
    }

    /// The credentials of a URL as `Basic` (RFC 7617).
    ///
    /// # Errors
    /// A fixed sentence.
    pub fn basic(userinfo: &str) -> Result<HeaderValue, &'static str> {
        basic(userinfo)
    }
}

fn basic(userinfo: &str) -> Result<HeaderValue, &'static str> {
    let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
    if user.is_empty() || !escapes_are_whole(userinfo.as_bytes()) {
        return Err("a URL whose user and password cannot be decoded");
    }
    let user: Vec<u8> = percent_decode_str(user).collect();
    if user.contains(&b':') {
        // in Basic credentials the first colon ends the user's name
        return Err("a user with a `:` in the name");
    }
    let password: Vec<u8> = percent_decode_str(password).collect();
    let credentials = STANDARD.encode([&user[..], b":", &password].concat());
    let mut value = HeaderValue::try_from(format!("Basic {credentials}"))
        .map_err(|_| "a URL whose user and password cannot be sent")?;
    value.set_sensitive(true);
    Ok(value)
}

impl fmt::Display for ForwardProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        HostPort(&self.host, self.port).fmt(f)
    }
}

impl Show for ForwardProxy {
    fn show(&self, _: Secrecy) -> Value {
        let user = if self.authorization.is_some() { format!("{REDACTED}@") } else { String::new() };
        format!("http://{user}{self}").into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(text: &str) -> (String, u16, Option<String>) {
        let ForwardProxy { host, port, authorization, .. } = ForwardProxy::parse(text).unwrap();
        (host, port, authorization.map(|value| value.to_str().unwrap().to_owned()))
    }

    #[test]
    fn a_proxy_is_a_host_with_a_port_and_maybe_credentials() {
        assert_eq!(parsed("http://proxy.example:3128"), ("proxy.example".into(), 3128, None));
        assert_eq!(parsed("HTTP://proxy.example/"), ("proxy.example".into(), 80, None));
        assert_eq!(parsed("http://[::1]:3128"), ("::1".into(), 3128, None));
        let with = |text: &str| parsed(text).2.unwrap();
        // RFC 7617, 2
        assert_eq!(with("http://Aladdin:open%20sesame@h:1"), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert_eq!(with("http://u:p%40%3A%25:x@h:1"), format!("Basic {}", STANDARD.encode("u:p@:%:x")));
        assert_eq!(with("http://u@h"), format!("Basic {}", STANDARD.encode("u:")));
        assert_eq!(with("http://u:%FF%00@h"), format!("Basic {}", STANDARD.encode(b"u:\xff\0")));
    }

    #[test]
    fn k40_a_scheme_other_than_http_is_wrong() {
        for text in ["https://h:1", "ftp://h", "wss://h", "socks5://h", "h:3128", "//h", ""] {
            assert_eq!(ForwardProxy::parse(text), Err("proxy_url scheme must be http"), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_host_with_a_port_is_wrong() {
        for text in [
            "http://",
            "http://:3128",
            "http://[]",
            "http://[]:3128",
            "http://h:",
            "http://h:99999",
            "http://h:x",
            "http://h/path",
            "http://h?query",
            "http://h#fragment",
            "http://u:p%4@h",
            "http://@h",
            "http://:p@h",
            "http://u%3Av:p@h",
            "http://h\r\nx: y",
            "http://u p@h",
        ] {
            assert!(ForwardProxy::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn neither_display_nor_debug_shows_the_credentials() {
        let proxy = ForwardProxy::parse("http://hush-user:hush-password@[::1]:3128").unwrap();
        assert_eq!(proxy.to_string(), "[::1]:3128");
        let shown = format!("{proxy:?}");
        assert!(!shown.contains("hush") && !shown.contains("Basic"), "{shown}");
    }

    proptest! {
        #[test]
        fn user_and_password_of_any_bytes_arrive(
            user in prop::collection::vec(
                any::<u8>().prop_filter("ends the name", |byte| *byte != b':'),
                1..9,
            ),
            password in prop::collection::vec(any::<u8>(), 0..9),
            port in 1_u16..,
        ) {
            let escaped = |bytes: &[u8]| {
                percent_encoding::percent_encode(bytes, percent_encoding::NON_ALPHANUMERIC).to_string()
            };
            let url = format!("http://{}:{}@proxy.example:{port}/", escaped(&user), escaped(&password));
            let expected = format!("Basic {}", STANDARD.encode([&user[..], b":", &password].concat()));
            prop_assert_eq!(parsed(&url), ("proxy.example".to_owned(), port, Some(expected)));
        }

        #[test]
        fn no_text_makes_it_panic_or_is_told(text in "[a-z:@/%\\[\\]?#.é 0-9]{0,24}") {
            match ForwardProxy::parse(&format!("http://{text}")) {
                Ok(proxy) => prop_assert!(!proxy.host.is_empty() && !proxy.host.contains('@'), "{proxy}"),
                // a fixed sentence: the text may hold a password
                Err(problem) => prop_assert!(!problem.is_empty()),
            }
        }
    }
}
