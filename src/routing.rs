//! The routing table: finds the route of a request.
//!
//! As in APISIX's default router, the host decides first, then the path: an exact host before the longest
//! wildcard before no host; an exact path before the longest prefix, by whole segments of the raw, undecoded
//! path; then the higher `priority`; then a route that names the method before one for any method. If a
//! route's method does not match, the next best route is tried. The order of files does not matter, because
//! two routes that tie on all of this are a settings mistake (`clashes`). `specificity.rs` has the same order
//! for a single rule, for `explain`.

mod clash;
mod paths;
mod pattern;
mod specificity;

use std::{borrow::Borrow, collections::HashMap, sync::Arc};

use actix_http::Method;

pub(crate) use clash::clashes;
pub use pattern::{HostPattern, MethodSet, RouteRule, UriPattern};
pub(crate) use specificity::{Mismatch, match_rule};

use self::paths::{PathTable, PathTableBuilder};

/// The route in logs and in labels of metrics if no route matched.
pub const UNROUTED: &str = "-";

/// Finds the route of a request, in a time that depends on the length of path and host, not on the number of
/// routes.
#[derive(Debug, Clone)]
pub struct RouteTable<R> {
    routes: Vec<R>,
    index: Arc<RouteIndex>,
}

/// The places of the routes in a table, by host and path.
#[derive(Debug)]
struct RouteIndex {
    /// By name, and by suffix with its leading dot: `.example.com` for `*.example.com`.
    by_host: HashMap<String, PathTable>,
    any_host: PathTable,
}

/// The route of a request.
#[derive(Debug, PartialEq, Eq)]
pub struct Match<'t, 'p, R> {
    pub route: &'t R,
    /// The raw path after the matched prefix; `None` for an exact path, or if nothing follows.
    pub remainder: Option<&'p str>,
}

/// The reason why no route matches.
#[derive(Debug, PartialEq, Eq)]
pub enum Miss {
    /// No route matches host and path.
    NoRoute,
    /// Routes match host and path, but only with these methods, in alphabetical order.
    NoMethod(Vec<Method>),
}

/// A route of a path, with the criteria that are compared after the path.
#[derive(Debug, Clone)]
struct PathRoute {
    route: usize,
    methods: MethodSet,
    priority: i32,
}

impl<R> RouteTable<R> {
    /// Builds the table. Rules must not clash (`clashes`).
    pub fn new(rules: impl IntoIterator<Item = (impl Borrow<RouteRule>, R)>) -> Self {
        let mut routes = Vec::new();
        let mut by_host: HashMap<String, PathTableBuilder> = HashMap::new();
        let mut any_host = PathTableBuilder::default();
        for (rule, route) in rules {
            let rule = rule.borrow();
            let path_route =
                PathRoute { route: routes.len(), methods: rule.methods.clone(), priority: rule.priority };
            routes.push(route);
            for path in rule.uris.iter().flat_map(UriPattern::paths) {
                if rule.hosts.is_empty() {
                    any_host.add(path.clone(), path_route.clone());
                }
                for HostPattern::Exact(host) | HostPattern::Suffix(host) in &rule.hosts {
                    by_host.entry(host.clone()).or_default().add(path.clone(), path_route.clone());
                }
            }
        }
        let by_host = by_host.into_iter().map(|(host, builder)| (host, builder.build())).collect();
        Self { routes, index: Arc::new(RouteIndex { by_host, any_host: any_host.build() }) }
    }

    /// A table of other routes with the same rules, in the same order.
    pub fn with_routes<S>(&self, routes: Vec<S>) -> RouteTable<S> {
        RouteTable { routes, index: Arc::clone(&self.index) }
    }

    /// Every route, in the order given.
    pub fn routes(&self) -> &[R] {
        &self.routes
    }

    /// Finds the route of a request: `host` as the client sent it, with or without a port; `path` raw.
    ///
    /// # Errors
    /// No route matches.
    pub fn find<'p>(&self, host: &str, path: &'p str, method: &Method) -> Result<Match<'_, 'p, R>, Miss> {
        let mut allowed = Vec::new();
        let tables = self.index.tables_for_host(host).chain([&self.index.any_host]);
        for table in tables {
            if let Some((path_route, remainder)) = table.find(path, method, &mut allowed) {
                return Ok(Match { route: &self.routes[path_route.route], remainder });
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
    /// The tables of the hosts that match, the most specific first.
    fn tables_for_host(&self, host: &str) -> impl Iterator<Item = &PathTable> {
        let name = if self.by_host.is_empty() { String::new() } else { pattern::host_name(host) };
        let exact = self.by_host.get(&name).filter(|_| !name.starts_with('.'));
        // `a.b.c` has the suffixes `.b.c` and `.c`
        let suffixes: Vec<&PathTable> = name
            .match_indices('.')
            .filter(|(dot, _)| *dot > 0)
            .filter_map(|(dot, _)| self.by_host.get(&name[dot..]))
            .collect();
        exact.into_iter().chain(suffixes)
    }
}

#[cfg(test)]
mod tests;
