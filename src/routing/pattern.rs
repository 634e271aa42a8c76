//! Patterns of `hosts` and `methods` of a route, and the rule by which it matches requests.

use std::{fmt, sync::Arc};

use actix_http::Method;

use super::uri_pattern::UriPattern;

/// The criteria by which a route matches requests.
#[derive(Debug, Clone, PartialEq)]
pub struct RouteRule {
    /// At least one.
    pub uris: Vec<Arc<UriPattern>>,
    /// Empty for any host.
    pub hosts: Vec<HostPattern>,
    pub methods: MethodSet,
    /// Decides between routes with the same host and path; the higher wins.
    pub priority: i32,
}

/// Displays the pattern as in the settings, in lower case.
impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Suffix(suffix) => write!(f, "*{suffix}"),
        }
    }
}

/// A host of `hosts`: a name, or a wildcard for all names below one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostPattern {
    /// `a.example.com`.
    Exact(String),
    /// `*.example.com`, stored as `.example.com`: all names below, at any depth, as in APISIX.
    Suffix(String),
}

impl HostPattern {
    pub(crate) const EXPECTED: &'static str = "a host name without port, or `*.` and a host name";

    /// Parses a host of `hosts`, without regard to case.
    pub fn parse(text: &str) -> Option<Self> {
        let is_name = |name: &str| {
            name.split('.').all(|label| {
                !label.is_empty()
                    && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
            })
        };
        let lower = text.to_ascii_lowercase();
        match lower.strip_prefix('*') {
            Some(suffix) => {
                suffix.strip_prefix('.').is_some_and(is_name).then(|| Self::Suffix(suffix.to_owned()))
            }
            None => {
                let address = lower.starts_with('[') && lower.ends_with(']');
                (is_name(&lower) || address).then_some(Self::Exact(lower))
            }
        }
    }

    /// True if the pattern has this name, in lower case.
    pub(crate) fn has(&self, name: &str) -> bool {
        match self {
            Self::Exact(exact) => exact == name,
            Self::Suffix(suffix) => name.len() > suffix.len() && name.ends_with(suffix.as_str()),
        }
    }
}

/// The name in a `Host` value: lower case, without port and final dot.
pub(crate) fn host_name(host: &str) -> String {
    let name = match host.rfind(':') {
        // the colons of an IPv6 address are inside its brackets
        Some(colon) if !host[colon..].contains(']') => &host[..colon],
        _ => host,
    };
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// The methods in `Allow` of a route for any method.
const USUAL_METHODS: [Method; 7] =
    [Method::DELETE, Method::GET, Method::HEAD, Method::OPTIONS, Method::PATCH, Method::POST, Method::PUT];

/// The methods of a route; empty for any method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MethodSet(Vec<Method>);

impl MethodSet {
    pub fn new(methods: Vec<Method>) -> Self {
        Self(methods)
    }

    pub fn is_any(&self) -> bool {
        self.0.is_empty()
    }

    /// True if the method matches. `CONNECT` and `TRACE` address the proxy itself (RFC 9110, 9.3.6 and
    /// 9.3.8), so no route matches them.
    pub fn takes(&self, method: &Method) -> bool {
        if self.is_any() {
            *method != Method::CONNECT && *method != Method::TRACE
        } else {
            self.0.contains(method)
        }
    }

    /// The methods to name in `Allow`.
    pub fn allowed(&self) -> &[Method] {
        if self.is_any() { &USUAL_METHODS } else { &self.0 }
    }

    /// The first method in both sets.
    pub(super) fn shared<'a>(&'a self, other: &Self) -> Option<&'a Method> {
        self.0.iter().find(|method| other.0.contains(method))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_host_that_is_taken_is_its_own_name_in_lower_case(text in "(\\*\\.)?[A-Ca-c._:\\[\\]*-]{0,10}") {
            match HostPattern::parse(&text) {
                Some(HostPattern::Exact(name)) => {
                    prop_assert_eq!(&name, &text.to_ascii_lowercase());
                    prop_assert_eq!(host_name(&name), &*name);
                    prop_assert_eq!(host_name(&format!("{}:80", text.to_uppercase())), name);
                }
                Some(HostPattern::Suffix(suffix)) => {
                    prop_assert_eq!(format!("*{suffix}"), text.to_ascii_lowercase());
                }
                None => {}
            }
        }

        #[test]
        fn any_host_has_a_name(host in any::<String>()) {
            prop_assert!(host_name(&host).len() <= host.len());
        }
    }
}
