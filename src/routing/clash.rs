//! Routes that match the same requests with equal precedence: a settings mistake, because the order of files
//! must not decide.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use actix_http::Method;

use super::{
    pattern::{HostPattern, RouteRule},
    uri_pattern::PathPattern,
};

/// Two routes that match the same requests with equal precedence.
#[derive(Debug, PartialEq, Eq)]
pub struct Clash {
    pub first: usize,
    pub second: usize,
    /// Requests that both match.
    pub requests: SharedRequests,
}

/// Requests that two routes match.
#[derive(Debug, PartialEq, Eq)]
pub struct SharedRequests {
    path: PathPattern,
    host: Option<HostPattern>,
    method: Option<Method>,
    priority: i32,
}

impl fmt::Display for SharedRequests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.method {
            Some(method) => write!(f, "{method} ")?,
            None => f.write_str("any method ")?,
        }
        match &self.path {
            PathPattern::Exact(path) => f.write_str(path)?,
            PathPattern::Prefix(prefix) => write!(f, "{prefix}*")?,
        }
        match &self.host {
            Some(HostPattern::Exact(host)) => write!(f, " on {host}")?,
            Some(HostPattern::Suffix(suffix)) => write!(f, " on *{suffix}")?,
            None => {}
        }
        write!(f, " with priority {}", self.priority)
    }
}

/// The clashes of each pair of rules, one per pair.
pub fn clashes<'a>(rules: impl IntoIterator<Item = &'a RouteRule>) -> Vec<Clash> {
    let rules: Vec<&RouteRule> = rules.into_iter().collect();
    let mut same_precedence: BTreeMap<(Option<&HostPattern>, PathPattern, i32), Vec<usize>> = BTreeMap::new();
    for (index, rule) in rules.iter().enumerate() {
        let hosts: Vec<Option<&HostPattern>> =
            if rule.hosts.is_empty() { vec![None] } else { rule.hosts.iter().map(Some).collect() };
        for host in hosts {
            for path in rule.uris.iter().flat_map(|uri| uri.paths()) {
                let indices = same_precedence.entry((host, path, rule.priority)).or_default();
                // a route may repeat a path or a host
                if indices.last() != Some(&index) {
                    indices.push(index);
                }
            }
        }
    }
    let mut seen = BTreeSet::new();
    let mut clashes = Vec::new();
    for ((host, path, priority), indices) in same_precedence {
        for (position, &second) in indices.iter().enumerate() {
            for &first in &indices[..position] {
                let (one, other) = (&rules[first].methods, &rules[second].methods);
                let method = one.shared(other);
                // a route that names the method takes precedence over one for any method
                let tie = method.is_some() || (one.is_any() && other.is_any());
                if tie && first != second && seen.insert((first, second)) {
                    let requests = SharedRequests {
                        path: path.clone(),
                        host: host.cloned(),
                        method: method.cloned(),
                        priority,
                    };
                    clashes.push(Clash { first, second, requests });
                }
            }
        }
    }
    clashes
}
