//! The routing table: finds the route of a request.
//!
//! As in APISIX's default router, the host decides first, then the path: an exact host before the longest
//! wildcard before no host. Paths are compared by whole segments of the raw, undecoded path: at the first
//! segment in which two routes differ, a literal segment goes before `{name}`, and `{name}` before `{name+}`
//! and a final `*`. Then the higher `priority` decides, then a route that names the method goes before one
//! for any method. If a route's method does not match, the next best route is tried. The order of files does
//! not matter, because two routes that tie on all of this are a settings mistake (`clashes`).
//! `specificity.rs` has the same order for a single rule, for `explain`.

mod clash;
mod path_match;
mod paths;
mod pattern;
mod specificity;
mod uri_pattern;

use std::{borrow::Borrow, collections::HashMap, sync::Arc};

use actix_http::Method;

pub(crate) use clash::{clashes, differing_names};
pub use path_match::{PathMatch, PrefixRewrite};
pub(crate) use pattern::host_name;
pub use pattern::{HostPattern, MethodSet, RouteRule};
pub(crate) use specificity::{Mismatch, match_rule};
pub use uri_pattern::UriPattern;

use self::paths::PathTable;

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
pub struct RouteMatch<'t, R> {
    pub route: &'t R,
    pub path: PathMatch,
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
    pattern: Arc<UriPattern>,
    methods: MethodSet,
    priority: i32,
}

impl<R> RouteTable<R> {
    /// Builds the table. Rules must not clash (`clashes`).
    pub fn new(rules: impl IntoIterator<Item = (impl Borrow<RouteRule>, R)>) -> Self {
        let mut routes = Vec::new();
        let mut by_host: HashMap<String, PathTable> = HashMap::new();
        let mut any_host = PathTable::default();
        for (rule, route) in rules {
            let index = routes.len();
            routes.push(route);
            let RouteRule { uris, hosts, methods, priority } = rule.borrow();
            for pattern in uris {
                let paths = pattern.paths();
                let path_route = PathRoute {
                    route: index,
                    pattern: Arc::clone(pattern),
                    methods: methods.clone(),
                    priority: *priority,
                };
                for path in paths {
                    if hosts.is_empty() {
                        any_host.add(&path, path_route.clone());
                    }
                    for HostPattern::Exact(host) | HostPattern::Suffix(host) in hosts {
                        by_host.entry(host.clone()).or_default().add(&path, path_route.clone());
                    }
                }
            }
        }
        Self { routes, index: Arc::new(RouteIndex { by_host, any_host }) }
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
    pub fn find(&self, host: &str, path: &str, method: &Method) -> Result<RouteMatch<'_, R>, Miss> {
        let mut allowed = Vec::new();
        let by_host = self.index.find_by_host(host, path, method, &mut allowed);
        let found = by_host.or_else(|| self.index.any_host.find(path, method, &mut allowed));
        if let Some((path_route, path)) = found {
            return Ok(RouteMatch { route: &self.routes[path_route.route], path });
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
    /// The best route of the hosts that match, the most specific host first.
    fn find_by_host(
        &self,
        host: &str,
        path: &str,
        method: &Method,
        allowed: &mut Vec<Method>,
    ) -> Option<(&PathRoute, PathMatch)> {
        if self.by_host.is_empty() {
            return None;
        }
        let name = host_name(host);
        let exact = self.by_host.get(&name).filter(|_| !name.starts_with('.'));
        // `a.b.c` has the suffixes `.b.c` and `.c`
        let suffixes = name
            .match_indices('.')
            .filter(|(dot, _)| *dot > 0)
            .filter_map(|(dot, _)| self.by_host.get(&name[dot..]));
        exact.into_iter().chain(suffixes).find_map(|table| table.find(path, method, allowed))
    }
}

#[cfg(test)]
mod tests;
