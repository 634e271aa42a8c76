//! The paths of the routes of one host, in a radix tree (the `matchit` crate) over raw bytes.
//!
//! The tree yields the best path; from there each path knows the next shorter prefix around it, so that a
//! route with the wrong method gives way without a second search.

use std::collections::HashMap;

use actix_http::Method;

use super::{Candidate, pattern::PathPattern};

/// The name of the catch-all at the end of a prefix.
const REST: &str = "{*rest}";

/// Collects the paths of one host.
#[derive(Debug, Default)]
pub(super) struct Builder(HashMap<PathPattern, Vec<Candidate>>);

/// Finds the best path of one host.
#[derive(Debug, Default)]
pub(super) struct PathTable {
    tree: matchit::Router<usize>,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    /// How much of the path a prefix takes up; `None` for an exact path.
    prefix: Option<usize>,
    candidates: Vec<Candidate>,
    /// The entry of the longest prefix around this one.
    around: Option<usize>,
}

impl Builder {
    pub(super) fn add(&mut self, path: PathPattern, candidate: Candidate) {
        self.0.entry(path).or_default().push(candidate);
    }

    pub(super) fn build(self) -> PathTable {
        let mut patterns: Vec<(PathPattern, Vec<Candidate>)> = self.0.into_iter().collect();
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
            .map(|(index, (pattern, mut candidates))| {
                candidates
                    .sort_by_key(|candidate| (-i64::from(candidate.priority), candidate.methods.is_any()));
                insert(&mut tree, &pattern, index, &prefixes);
                let (path, prefix) = match &pattern {
                    PathPattern::Exact(path) => (path, None),
                    PathPattern::Prefix(path) => (path, Some(path.len())),
                };
                Entry { prefix, candidates, around: around(path, prefix.is_some(), &prefixes) }
            })
            .collect();
        PathTable { tree, entries }
    }
}

/// Puts a path into the tree. A catch-all needs something to catch, so a prefix is also inserted as the exact
/// path of itself, unless a route has just that path.
fn insert(
    tree: &mut matchit::Router<usize>,
    pattern: &PathPattern,
    index: usize,
    prefixes: &HashMap<String, usize>,
) {
    let literal = |path: &str| path.replace('{', "{{").replace('}', "}}");
    let mut put = |path: String| {
        // the patterns are distinct and escaped, so the only refusal left is the exact twin of a prefix,
        // which came first since exact patterns sort before prefixes
        let _ = tree.insert(path, index);
    };
    match pattern {
        PathPattern::Exact(path) => put(literal(path)),
        PathPattern::Prefix(path) => {
            debug_assert!(prefixes.contains_key(path));
            put(literal(path));
            put(format!("{}{REST}", literal(path)));
        }
    }
}

/// The longest prefix around a path, other than the path itself if that is a prefix.
fn around(path: &str, is_prefix: bool, prefixes: &HashMap<String, usize>) -> Option<usize> {
    let ends = path.match_indices('/').map(|(slash, _)| &path[..=slash]);
    ends.rev()
        .filter(|prefix| !(is_prefix && prefix.len() == path.len()))
        .find_map(|prefix| prefixes.get(prefix).copied())
}

impl PathTable {
    /// The best candidate for a request and what follows its prefix. Where paths fit but no method does,
    /// their methods are added to `allowed`.
    pub(super) fn find<'p>(
        &self,
        path: &'p str,
        method: &Method,
        allowed: &mut Vec<Method>,
    ) -> Option<(&Candidate, Option<&'p str>)> {
        let mut next = self.tree.at(path).ok().map(|found| *found.value);
        while let Some(index) = next {
            let entry = &self.entries[index];
            if let Some(candidate) = entry.candidates.iter().find(|candidate| candidate.methods.takes(method))
            {
                let remainder = entry.prefix.map(|end| &path[end..]).filter(|rest| !rest.is_empty());
                return Some((candidate, remainder));
            }
            allowed
                .extend(entry.candidates.iter().flat_map(|candidate| candidate.methods.allowed()).cloned());
            next = entry.around;
        }
        None
    }
}
