//! Matches a single rule against a request and orders the rules that match by specificity.
//!
//! `explain` uses it to say why a route was not chosen. A property test compares it with the table of
//! `routing.rs`.

use actix_http::Method;

use super::{
    pattern::{HostPattern, RouteRule, host_name},
    uri_pattern::PathRank,
};

/// The specificity of a match, in the order of the routing table; the greatest wins.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Specificity {
    /// 0 for any host, the length of the longest wildcard that matches, or `usize::MAX` for an exact host.
    host: usize,
    path: PathRank,
    priority: i32,
    names_method: bool,
}

/// The first criterion that does not match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mismatch {
    Host,
    Path,
    Method,
}

/// Matches a rule: `host` as the client sent it, `path` raw.
///
/// # Errors
/// The criterion that does not match.
pub fn match_rule(
    rule: &RouteRule,
    host: &str,
    path: &str,
    method: &Method,
) -> Result<Specificity, Mismatch> {
    let name = host_name(host);
    let by_name = |pattern: &HostPattern| match pattern {
        HostPattern::Exact(own) => (*own == name).then_some(usize::MAX),
        HostPattern::Suffix(suffix) => (name.ends_with(suffix) && name != *suffix).then_some(suffix.len()),
    };
    let by_host = if rule.hosts.is_empty() { Some(0) } else { rule.hosts.iter().filter_map(by_name).max() };
    let by_path = rule.uris.iter().filter_map(|uri| uri.fit(path));
    let host = by_host.ok_or(Mismatch::Host)?;
    let path = by_path.map(|(rank, _)| rank).max().ok_or(Mismatch::Path)?;
    if !rule.methods.takes(method) {
        return Err(Mismatch::Method);
    }
    let names_method = !rule.methods.is_any();
    Ok(Specificity { host, path, priority: rule.priority, names_method })
}

impl Specificity {
    /// The first criterion in which the winner is better.
    pub fn why_it_lost(&self, winner: &Self) -> &'static str {
        if self.host != winner.host {
            "host: the other route's host is more specific"
        } else if self.path.has_rest() && winner.path.is_literal() {
            "path: the other route's path is exact"
        } else if self.path != winner.path {
            self.path.why_it_lost(&winner.path)
        } else if self.priority != winner.priority {
            "priority: the other route's priority is higher"
        } else {
            "method: the other route names it"
        }
    }

    /// The criteria that match, as text.
    pub fn text(&self) -> String {
        let host = match self.host {
            0 => "any host",
            usize::MAX => "this host",
            _ => "a wildcard of this host",
        };
        let path = match (self.path.is_literal(), self.path.has_parameter()) {
            (true, _) => "this path",
            (_, true) => "a template of this path",
            _ => "a prefix of this path",
        };
        let method = if self.names_method { "this method" } else { "any method" };
        format!("{host}, {path}, {method}")
    }
}
