//! The paths of the routes of one host, in a tree of their segments, each compared raw.
//!
//! A search goes to the literal child of a node before the child for any segment, and takes the rest of the
//! path at last; where a branch ends in nothing, or only in routes of other methods, it goes back to the next
//! best. Its time depends on the segments of the path and not on how many routes there are.

use std::{collections::HashMap, ops::Range, sync::Arc};

use actix_http::Method;
use smallvec::SmallVec;

use super::{
    PathRoute,
    path_match::PathMatch,
    uri_pattern::{ANY_SEGMENT, PathPattern, segment_at},
};

const ROOT: usize = 0;

/// Finds the best path of one host.
#[derive(Debug)]
pub(super) struct PathTable {
    nodes: Vec<Node>,
}

/// The place behind some segments. The routes are the best first.
#[derive(Debug, Default)]
struct Node {
    literals: HashMap<Box<str>, usize>,
    any_segment: Option<usize>,
    /// Routes whose path ends here.
    exact: Vec<PathRoute>,
    /// Routes that take every path below.
    below: Vec<PathRoute>,
}

/// A branch to try.
#[derive(Debug)]
struct Step {
    node: usize,
    branch: Branch,
    /// Where the next segment begins; `None` behind the last.
    start: Option<usize>,
    /// How many parameters there are on the way to the node.
    parameters: usize,
}

#[derive(Debug, Clone, Copy)]
enum Branch {
    /// The literal child of the next segment, or the routes that end here.
    Best,
    AnySegment,
    Below,
}

impl Default for PathTable {
    fn default() -> Self {
        Self { nodes: vec![Node::default()] }
    }
}

impl PathTable {
    pub(super) fn add(&mut self, path: &PathPattern, route: PathRoute) {
        let (path, is_exact) = match path {
            PathPattern::Exact(path) => (&**path, true),
            PathPattern::Prefix(path) => (path.strip_suffix('/').unwrap_or(path), false),
        };
        let mut node = ROOT;
        for segment in path.split('/').skip(1) {
            node = self.child(node, segment);
        }
        let node = &mut self.nodes[node];
        let routes = if is_exact { &mut node.exact } else { &mut node.below };
        let rank = |route: &PathRoute| (-i64::from(route.priority), route.methods.is_any());
        let position = routes.partition_point(|other| rank(other) <= rank(&route));
        routes.insert(position, route);
    }

    fn child(&mut self, node: usize, segment: &str) -> usize {
        let new = self.nodes.len();
        let node = &mut self.nodes[node];
        let child = if segment == ANY_SEGMENT {
            *node.any_segment.get_or_insert(new)
        } else {
            *node.literals.entry(segment.into()).or_insert(new)
        };
        if child == new {
            self.nodes.push(Node::default());
        }
        child
    }

    /// The best route for a request and how its pattern lies over the path. Where paths fit but no method
    /// does, their methods are added to `allowed`.
    pub(super) fn find(
        &self,
        path: &str,
        method: &Method,
        allowed: &mut Vec<Method>,
    ) -> Option<(&PathRoute, PathMatch)> {
        let mut values: Vec<Range<usize>> = Vec::new();
        let mut steps: SmallVec<[Step; 8]> = SmallVec::new();
        let start = path.starts_with('/').then_some(1)?;
        steps.push(Step { node: ROOT, branch: Branch::Best, start: Some(start), parameters: 0 });
        while let Some(step) = steps.pop() {
            let node = &self.nodes[step.node];
            values.truncate(step.parameters);
            let routes = match (&step.branch, step.start) {
                (Branch::Best, Some(start)) => {
                    steps.extend(node.alternatives(&step));
                    let segment = segment_at(path, start);
                    let child = node.literals.get(&path[segment.clone()]);
                    steps.extend(child.map(|child| step.to(*child, &segment, path)));
                    continue;
                }
                (Branch::AnySegment, Some(start)) => {
                    let segment = segment_at(path, start);
                    let child = node.any_segment.filter(|_| !segment.is_empty());
                    steps.extend(child.map(|child| step.to(child, &segment, path)));
                    values.push(segment);
                    continue;
                }
                (Branch::Below, Some(_)) => &node.below,
                (_, None) => &node.exact,
            };
            let has_rest = step.start.is_none_or(|start| start < path.len());
            let fitting = || routes.iter().filter(|route| has_rest || !route.pattern.needs_rest());
            if let Some(route) = fitting().find(|route| route.methods.takes(method)) {
                let pattern = Arc::clone(&route.pattern);
                return Some((route, PathMatch::new(pattern, values, step.start, path)));
            }
            allowed.extend(fitting().flat_map(|route| route.methods.allowed()).cloned());
        }
        None
    }
}

impl Node {
    /// The branches to try where the best one ends in nothing, the last first.
    fn alternatives(&self, step: &Step) -> impl Iterator<Item = Step> {
        let branch = |branch| Step { branch, ..*step };
        let below = (!self.below.is_empty()).then(|| branch(Branch::Below));
        let any_segment = self.any_segment.map(|_| branch(Branch::AnySegment));
        below.into_iter().chain(any_segment)
    }
}

impl Step {
    /// The step behind a segment.
    fn to(&self, node: usize, segment: &Range<usize>, path: &str) -> Self {
        let parameters = self.parameters + usize::from(matches!(self.branch, Branch::AnySegment));
        let start = Some(segment.end + 1).filter(|start| *start <= path.len());
        Self { node, branch: Branch::Best, start, parameters }
    }
}
