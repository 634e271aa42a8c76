//! Which route takes a request.
//!
//! As in APISIX's default router, the host decides first, then the path: an exact host before the longest
//! wildcard before no host; an exact path before the longest prefix, by whole segments of the raw,
//! undecoded path; then the higher `priority`; then a route that names the method before one that takes
//! any. A route whose method does not fit is passed over for the next best. The order of files plays no part,
//! because two routes that tie on all of this are a settings mistake (`clashes`).
//!
//! `state/builder.rs` builds the table; `proxy.rs` asks it once per request. `specificity.rs` says of one rule by
//! itself how it stands, for people.

mod clash;
mod paths;
mod pattern;
mod specificity;

use std::{borrow::Borrow, collections::HashMap, sync::Arc};

use actix_http::Method;

pub(crate) use clash::clashes;
pub use pattern::{HostPattern, MethodSet, RouteRule, UriPattern};
pub(crate) use specificity::{Mismatch, match_rule};

use self::paths::PathTable;

/// The route in logs and in the labels of metrics where no route took a request.
pub const UNROUTED: &str = "-";

/// Finds the route of a request; the time depends on the length of its path and host, not on how many
/// routes there are.
#[derive(Debug, Clone)]
pub struct RouteTable<R> {
    routes: Vec<R>,
    index: Arc<RouteIndex>,
}

/// The places in a table of the routes by host and path.
#[derive(Debug)]
struct RouteIndex {
    by_host: HashMap<String, PathTable>,
    by_suffix: HashMap<String, PathTable>,
    any_host: PathTable,
}

/// A route that was found.
#[derive(Debug, PartialEq, Eq)]
pub struct Match<'t, 'p, R> {
    pub route: &'t R,
    /// What follows the matched prefix, raw and without the slash before it; `None` where the route's path
    /// is exact, or the request stopped at the prefix.
    pub remainder: Option<&'p str>,
}

/// Why no route was found.
#[derive(Debug, PartialEq, Eq)]
pub enum Miss {
    /// No route has this host and path.
    NoRoute,
    /// Routes have them, but for these methods only, in alphabetical order.
    NoMethod(Vec<Method>),
}

/// A route that a path leads to, with what is still to be compared, best first in its list.
#[derive(Debug, Clone)]
struct Candidate {
    route: usize,
    methods: MethodSet,
    priority: i32,
}

impl<R> RouteTable<R> {
    /// Builds the table. Rules must not clash, see `clashes`.
    pub fn new(rules: impl IntoIterator<Item = (impl Borrow<RouteRule>, R)>) -> Self {
        let mut routes = Vec::new();
        let mut by_host: HashMap<String, paths::Builder> = HashMap::new();
        let mut by_suffix: HashMap<String, paths::Builder> = HashMap::new();
        let mut any_host = paths::Builder::default();
        for (rule, route) in rules {
            let rule = rule.borrow();
            let candidate =
                Candidate { route: routes.len(), methods: rule.methods.clone(), priority: rule.priority };
            routes.push(route);
            for uri in &rule.uris {
                for path in uri.paths() {
                    if rule.hosts.is_empty() {
                        any_host.add(path.clone(), candidate.clone());
                    }
                    for host in &rule.hosts {
                        let builder = match host {
                            HostPattern::Exact(name) => by_host.entry(name.clone()).or_default(),
                            HostPattern::Suffix(suffix) => by_suffix.entry(suffix.clone()).or_default(),
                        };
                        builder.add(path.clone(), candidate.clone());
                    }
                }
            }
        }
        let finish = |builders: HashMap<String, paths::Builder>| {
            builders.into_iter().map(|(host, builder)| (host, builder.build())).collect()
        };
        let (by_host, by_suffix) = (finish(by_host), finish(by_suffix));
        Self { routes, index: Arc::new(RouteIndex { by_host, by_suffix, any_host: any_host.build() }) }
    }

    /// The table of as many other things with the same rules, in the same order.
    pub fn with_routes<S>(&self, routes: Vec<S>) -> RouteTable<S> {
        RouteTable { routes, index: Arc::clone(&self.index) }
    }

    /// Every route, in the order given.
    pub fn routes(&self) -> &[R] {
        &self.routes
    }

    /// Finds the route for a request: `host` as the client sent it, with or without a port; `path` raw.
    ///
    /// # Errors
    /// Why there is none.
    pub fn find<'p>(&self, host: &str, path: &'p str, method: &Method) -> Result<Match<'_, 'p, R>, Miss> {
        let mut allowed = Vec::new();
        let tables = self.index.tables_for_host(host).chain([&self.index.any_host]);
        for table in tables {
            if let Some((candidate, remainder)) = table.find(path, method, &mut allowed) {
                return Ok(Match { route: &self.routes[candidate.route], remainder });
            }
        }
        if allowed.is_empty() {
            return Err(Miss::NoRoute);
        }
        allowed.sort_unstable_by(|a: &Method, b: &Method| a.as_str().cmp(b.as_str()));
        allowed.dedup();
        Err(Miss::NoMethod(allowed))
    }
}

impl RouteIndex {
    /// The tables of the routes that name this host, the most specific first.
    fn tables_for_host(&self, host: &str) -> impl Iterator<Item = &PathTable> {
        let names_hosts = !self.by_host.is_empty() || !self.by_suffix.is_empty();
        let name = if names_hosts { pattern::host_name(host) } else { String::new() };
        let exact = self.by_host.get(&name);
        // `a.b.c` has the suffixes `.b.c` and `.c`
        let suffixes: Vec<&PathTable> = name
            .match_indices('.')
            .filter(|(dot, _)| *dot > 0)
            .filter_map(|(dot, _)| self.by_suffix.get(&name[dot..]))
            .collect();
        exact.into_iter().chain(suffixes)
    }
}

#[cfg(test)]
mod tests;
