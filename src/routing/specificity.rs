//! How one rule stands with a request, by itself: whether it would take it, and how good a fit it is.
//!
//! `explain.rs` orders the routes by it and says why each lost. The table of `routing.rs` decides; a property test
//! holds the two together.

use actix_http::Method;

use super::{
    pattern::{HostPattern, RouteRule, host_name},
    uri_pattern::PathRank,
};

/// How well a rule fits, better ones greater, in the order in which the table decides.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Specificity {
    /// 0 where the rule names no host, the length of the longest wildcard, or the greatest there is for the host's
    /// name.
    host: usize,
    path: PathRank,
    priority: i32,
    names_method: bool,
}

/// Why a rule does not take a request, the first of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mismatch {
    Host,
    Path,
    Method,
}

/// How a rule stands with a request of this host, as the client sent it, raw path and method.
///
/// # Errors
/// What does not fit.
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
    /// Why this one would have taken the request, and lost to a better one.
    pub fn why_it_lost(&self, winner: &Self) -> &'static str {
        if self.host != winner.host {
            "host: the other route's is more specific"
        } else if self.path.has_rest() && winner.path.is_literal() {
            "path: the other route's is exact"
        } else if self.path != winner.path {
            self.path.why_it_lost(&winner.path)
        } else if self.priority != winner.priority {
            "priority: the other route's is higher"
        } else {
            "method: the other route names it"
        }
    }

    /// What the rule has for the request.
    pub fn fit(&self) -> String {
        let host = match self.host {
            0 => "any host",
            usize::MAX => "this host",
            _ => "a wildcard of this host",
        };
        let path = match (self.path.is_literal(), self.path.has_rest()) {
            (true, _) => "this path",
            (_, true) => "a prefix of this path",
            _ => "a template of this path",
        };
        let method = if self.names_method { "this method" } else { "any method" };
        format!("{host}, {path}, {method}")
    }
}
