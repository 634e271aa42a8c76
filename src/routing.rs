//! Which route takes a request.
//!
//! As in APISIX's default router, the host decides first, then the path: an exact host before the longest wildcard
//! before no host. Paths are compared by whole segments of the raw, undecoded path: at the first segment in which two
//! routes differ, a literal segment goes before `{name}`, and `{name}` before `{name+}` and a final `*`. Then the
//! higher `priority` wins, then a route that names the method before one that takes any. A route whose method does not
//! fit is passed over for the next best. The order of files plays no part, because two routes that tie on all of this
//! are a settings mistake (`clashes`).
//!
//! `state/builder.rs` builds the table; `proxy.rs` asks it once per request. `specificity.rs` says of one rule by
//! itself how it stands, for people.

mod clash;
mod path_match;
mod paths;
mod pattern;
mod specificity;
mod uri_pattern;

use std::{collections::HashMap, sync::Arc};

use actix_http::Method;

pub(crate) use clash::clashes;
pub use path_match::{PathMatch, PrefixRewrite};
pub use pattern::{HostPattern, MethodSet, RouteRule};
pub(crate) use specificity::{Mismatch, match_rule};
pub use uri_pattern::UriPattern;

use self::paths::PathTable;

/// The route in logs and in the labels of metrics where no route took a request.
pub const UNROUTED: &str = "-";

/// Finds the route of a request; the time depends on the length of its path and host, not on how many
/// routes there are.
#[derive(Debug)]
pub struct RouteTable<R> {
    routes: Vec<R>,
    by_host: HashMap<String, PathTable>,
    by_suffix: HashMap<String, PathTable>,
    any_host: PathTable,
}

/// A route that was found.
#[derive(Debug, PartialEq, Eq)]
pub struct RouteMatch<'t, R> {
    pub route: &'t R,
    pub path: PathMatch,
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
    pattern: Arc<UriPattern>,
    methods: MethodSet,
    priority: i32,
}

impl<R> RouteTable<R> {
    /// Builds the table. Rules must not clash, see `clashes`.
    pub fn new(rules: impl IntoIterator<Item = (RouteRule, R)>) -> Self {
        let mut routes = Vec::new();
        let mut by_host: HashMap<String, PathTable> = HashMap::new();
        let mut by_suffix: HashMap<String, PathTable> = HashMap::new();
        let mut any_host = PathTable::default();
        for (rule, route) in rules {
            let index = routes.len();
            routes.push(route);
            let RouteRule { uris, hosts, methods, priority } = rule;
            for pattern in uris {
                let paths = pattern.paths();
                let candidate = Candidate { route: index, pattern, methods: methods.clone(), priority };
                for path in paths {
                    if hosts.is_empty() {
                        any_host.add(&path, candidate.clone());
                    }
                    for host in &hosts {
                        let table = match host {
                            HostPattern::Exact(name) => by_host.entry(name.clone()).or_default(),
                            HostPattern::Suffix(suffix) => by_suffix.entry(suffix.clone()).or_default(),
                        };
                        table.add(&path, candidate.clone());
                    }
                }
            }
        }
        Self { routes, by_host, by_suffix, any_host }
    }

    /// Every route, in the order given.
    pub fn routes(&self) -> &[R] {
        &self.routes
    }

    /// Finds the route for a request: `host` as the client sent it, with or without a port; `path` raw.
    ///
    /// # Errors
    /// Why there is none.
    pub fn find(&self, host: &str, path: &str, method: &Method) -> Result<RouteMatch<'_, R>, Miss> {
        let mut allowed = Vec::new();
        let tables = self.tables_for_host(host).chain([&self.any_host]);
        for table in tables {
            if let Some((candidate, path)) = table.find(path, method, &mut allowed) {
                return Ok(RouteMatch { route: &self.routes[candidate.route], path });
            }
        }
        if allowed.is_empty() {
            return Err(Miss::NoRoute);
        }
        allowed.sort_unstable_by(|a: &Method, b: &Method| a.as_str().cmp(b.as_str()));
        allowed.dedup();
        Err(Miss::NoMethod(allowed))
    }

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
