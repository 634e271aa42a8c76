//! The paths of the routes of one host, in a radix tree (the `matchit` crate) over raw bytes.
//!
//! The tree finds the best path. Each path has a link to the next shorter prefix that contains it, for
//! requests whose method the routes of the path do not match.

use std::collections::HashMap;

use actix_http::Method;

use super::{PathRoute, pattern::PathPattern};

/// The catch-all at the end of a prefix.
const CATCH_ALL: &str = "{*rest}";

/// Collects the paths of one host.
#[derive(Debug, Default)]
pub(super) struct PathTableBuilder(HashMap<PathPattern, Vec<PathRoute>>);

/// Finds the best path of one host.
#[derive(Debug, Default)]
pub(super) struct PathTable {
    tree: matchit::Router<usize>,
    entries: Vec<PathEntry>,
}

#[derive(Debug)]
struct PathEntry {
    /// The length of a prefix; `None` for an exact path.
    prefix: Option<usize>,
    /// The best first.
    routes: Vec<PathRoute>,
    /// The entry of the longest prefix that contains this path.
    parent: Option<usize>,
}

impl PathTableBuilder {
    pub(super) fn add(&mut self, path: PathPattern, route: PathRoute) {
        self.0.entry(path).or_default().push(route);
    }

    pub(super) fn build(self) -> PathTable {
        let mut patterns: Vec<(PathPattern, Vec<PathRoute>)> = self.0.into_iter().collect();
        patterns.sort_by(|a, b| a.0.cmp(&b.0));
        let prefixes: HashMap<String, usize> = patterns
            .iter()
            .enumerate()
            .filter_map(|(index, (pattern, _))| match pattern {
                PathPattern::Prefix(prefix) => Some((prefix.clone(), index)),
                PathPattern::Exact(_) => None,
            })
            .collect();
        let mut tree = matchit::Router::new();
        let entries = patterns
            .into_iter()
            .enumerate()
            .map(|(index, (pattern, mut routes))| {
                routes.sort_by_key(|route| (-i64::from(route.priority), route.methods.is_any()));
                let (PathPattern::Exact(path) | PathPattern::Prefix(path)) = &pattern;
                let prefix = matches!(pattern, PathPattern::Prefix(_)).then_some(path.len());
                let literal = path.replace('{', "{{").replace('}', "}}");
                // a catch-all does not match an empty rest, so a prefix is also an exact path. That path is
                // refused if a route has it, because exact patterns sort before prefixes; nothing else can be
                // refused
                let _ = tree.insert(literal.clone(), index);
                if prefix.is_some() {
                    let _ = tree.insert(literal + CATCH_ALL, index);
                }
                let parents = path.match_indices('/').rev().map(|(slash, _)| &path[..=slash]);
                let parent = parents
                    .filter(|parent| prefix.is_none_or(|length| parent.len() < length))
                    .find_map(|parent| prefixes.get(parent).copied());
                PathEntry { prefix, routes, parent }
            })
            .collect();
        PathTable { tree, entries }
    }
}

impl PathTable {
    /// The best route for a request and the path after its prefix. Methods of routes that match the path
    /// alone are added to `allowed`.
    pub(super) fn find<'p>(
        &self,
        path: &'p str,
        method: &Method,
        allowed: &mut Vec<Method>,
    ) -> Option<(&PathRoute, Option<&'p str>)> {
        let mut next = self.tree.at(path).ok().map(|found| *found.value);
        while let Some(index) = next {
            let entry = &self.entries[index];
            if let Some(route) = entry.routes.iter().find(|route| route.methods.takes(method)) {
                let remainder = entry.prefix.map(|end| &path[end..]).filter(|rest| !rest.is_empty());
                return Some((route, remainder));
            }
            allowed.extend(entry.routes.iter().flat_map(|route| route.methods.allowed()).cloned());
            next = entry.parent;
        }
        None
    }
}
