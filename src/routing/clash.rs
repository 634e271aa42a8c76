//! Routes that match the same requests with equal precedence: a settings mistake, because the order of files
//! must not decide.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    sync::Arc,
};

use actix_http::Method;

use super::{
    pattern::{HostPattern, RouteRule},
    uri_pattern::{ANY_SEGMENT, PathPattern, UriPattern},
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
    /// As the second route's `uri` has it.
    path: String,
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
        f.write_str(&self.path)?;
        match &self.host {
            Some(HostPattern::Exact(host)) => write!(f, " on {host}")?,
            Some(HostPattern::Suffix(suffix)) => write!(f, " on *{suffix}")?,
            None => {}
        }
        write!(f, " with priority {}", self.priority)
    }
}

/// Two patterns of one route that match the same paths and give their parameters different names.
pub fn differing_names(uris: &[Arc<UriPattern>]) -> Option<(usize, usize)> {
    let mut seen: HashMap<PathPattern, usize> = HashMap::new();
    for (second, uri) in uris.iter().enumerate() {
        for path in uri.paths() {
            let first = *seen.entry(path.clone()).or_insert(second);
            if !names_in(&path, &uris[first]).eq(names_in(&path, uri)) {
                return Some((first, second));
            }
        }
    }
    None
}

/// The names of a pattern's parameters in one of its paths.
fn names_in<'u>(path: &PathPattern, uri: &'u UriPattern) -> impl Iterator<Item = &'u str> {
    let rest = uri.name_of_rest().filter(|_| matches!(path, PathPattern::Exact(_)));
    uri.names().filter(move |name| Some(*name) != rest)
}

/// A path of a rule with the names of its parameters.
fn path_text(path: &PathPattern, rule: &RouteRule) -> String {
    let (PathPattern::Exact(text) | PathPattern::Prefix(text)) = path;
    let star = if matches!(path, PathPattern::Prefix(_)) { "*" } else { "" };
    let Some(uri) = rule.uris.iter().find(|uri| uri.paths().contains(path)) else { return text.clone() };
    let named = uri.names().fold(text.clone(), |text, name| {
        text.replacen(&format!("/{ANY_SEGMENT}"), &format!("/{{{name}}}"), 1)
    });
    named + star
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
                        path: path_text(&path, rules[second]),
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
