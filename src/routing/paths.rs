//! The paths of the routes of one host, in a tree of their segments, each compared raw.
//!
//! A search goes to the literal child of a node before the child for any segment, and takes the rest of the
//! path at last; where a branch ends in nothing, or only in routes of other methods, it goes back to the next
//! best. Its time depends on the segments of the path and not on how many routes there are.

use std::{collections::HashMap, ops::Range, sync::Arc};

use actix_http::Method;
use foldhash::fast::RandomState;
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
    literals: HashMap<Box<str>, usize, RandomState>,
    any_segment: Option<usize>,
    /// Routes whose path ends here.
    exact: Vec<PathRoute>,
    /// Routes that take every path below.
    below: Vec<PathRoute>,
}

/// A branch that is left to try.
#[derive(Debug, Clone, Copy)]
struct Branch {
    kind: BranchKind,
    node: usize,
    /// Where the next segment begins; `None` behind the last.
    start: Option<usize>,
    /// How many parameters there are on the way to the node.
    parameters: usize,
}

#[derive(Debug, Clone, Copy)]
enum BranchKind {
    /// The literal children, to the routes that end where the path does.
    Literals,
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
        let start = path.starts_with('/').then_some(1)?;
        let mut values: Vec<Range<usize>> = Vec::new();
        // the best is the last
        let mut branches: SmallVec<[Branch; 4]> = SmallVec::new();
        branches.push(Branch { kind: BranchKind::Literals, node: ROOT, start: Some(start), parameters: 0 });
        while let Some(branch) = branches.pop() {
            values.truncate(branch.parameters);
            let (routes, rest) = match (branch.kind, branch.start) {
                (BranchKind::AnySegment, Some(start)) => {
                    let segment = segment_at(path, start);
                    let child = self.nodes[branch.node].any_segment.filter(|_| !segment.is_empty());
                    branches.extend(child.map(|child| branch.behind_parameter(child, &segment, path)));
                    values.push(segment);
                    continue;
                }
                (BranchKind::Below, start) => (&self.nodes[branch.node].below, start),
                _ => match self.follow_literals(branch, path, &mut branches) {
                    Some(node) => (&node.exact, None),
                    None => continue,
                },
            };
            let has_rest = rest.is_none_or(|start| start < path.len());
            let fitting = || routes.iter().filter(|route| has_rest || !route.pattern.needs_rest());
            if let Some(route) = fitting().find(|route| route.methods.takes(method)) {
                let pattern = Arc::clone(&route.pattern);
                return Some((route, PathMatch::new(pattern, values, rest, path)));
            }
            allowed.extend(fitting().flat_map(|route| route.methods.allowed()).cloned());
        }
        None
    }

    /// The node behind the last segment, where literal children lead to it. The other branches on the way are
    /// left for later.
    fn follow_literals(
        &self,
        branch: Branch,
        path: &str,
        branches: &mut SmallVec<[Branch; 4]>,
    ) -> Option<&Node> {
        let mut place = branch;
        while let Some(start) = place.start {
            let node = &self.nodes[place.node];
            if !node.below.is_empty() {
                branches.push(Branch { kind: BranchKind::Below, ..place });
            }
            if node.any_segment.is_some() {
                branches.push(Branch { kind: BranchKind::AnySegment, ..place });
            }
            let segment = segment_at(path, start);
            place.node = *node.literals.get(&path[segment.clone()])?;
            place.start = next_start(&segment, path);
        }
        Some(&self.nodes[place.node])
    }
}

impl Branch {
    fn behind_parameter(&self, node: usize, segment: &Range<usize>, path: &str) -> Self {
        let start = next_start(segment, path);
        Self { kind: BranchKind::Literals, node, start, parameters: self.parameters + 1 }
    }
}

/// The start of the next segment; `None` after the last one.
fn next_start(segment: &Range<usize>, path: &str) -> Option<usize> {
    Some(segment.end + 1).filter(|start| *start <= path.len())
}
