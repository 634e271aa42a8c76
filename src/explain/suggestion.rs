//! Suggests a pattern for a path that no route matches: a wider pattern for the route with the nearest one,
//! or patterns for a new route.

use crate::{
    routing::UriPattern,
    settings::{RouteSettings, Settings},
};

/// The suggestion; `None` if a route of another host or method matches the path.
pub fn of(settings: &Settings, path: &str) -> Option<String> {
    let routes = || settings.routes.iter().filter(|route| route.enabled);
    let patterns = || routes().flat_map(|route| route.rule.uris.iter().map(move |uri| (route, uri)));
    if patterns().any(|(_, uri)| uri.fit(path).is_some()) {
        return None;
    }
    let near = patterns().filter_map(|(route, uri)| Some((nearness(uri, path)?, route, uri)));
    Some(match near.max_by_key(|(nearness, ..)| *nearness) {
        Some((_, route, uri)) => for_route(route, uri, path),
        None => format!("`uri: {path}` would match only this path, `uri: {path}*` also paths below it."),
    })
}

/// The number of bytes in whole segments that a pattern and a path share, without regard to case.
fn nearness(uri: &UriPattern, path: &str) -> Option<usize> {
    let base = base(uri);
    let common = |other: &str| base.len() <= other.len() && other[..base.len()].eq_ignore_ascii_case(base);
    let is_near = path.is_char_boundary(base.len())
        && common(path)
        && (path.len() == base.len() || path.as_bytes()[base.len()] == b'/');
    // a pattern without segments is near no path: `/*` would have matched
    (is_near && !base.is_empty()).then_some(base.len())
}

/// The pattern without its `*` and the slash at its end.
fn base(uri: &UriPattern) -> &str {
    match uri {
        UriPattern::Exact(path) | UriPattern::Below(path) | UriPattern::AtAndBelow(path) => {
            path.strip_suffix('/').unwrap_or(path)
        }
    }
}

fn for_route(route: &RouteSettings, uri: &UriPattern, path: &str) -> String {
    let base = base(uri);
    if path.starts_with(base) {
        format!("Route {} has `{uri}`; `{base}*` would match this path too.", route.id)
    } else {
        format!("Route {} has `{uri}`; paths are case-sensitive.", route.id)
    }
}
