//! The pattern that would take a path which no route takes.
//!
//! `explain.rs` comes here with such a path. The route whose own pattern is nearest is named with the pattern
//! that it would need; without one that is near, the patterns for a new route are.

use crate::{
    routing::UriPattern,
    settings::{RouteSettings, Settings},
};

/// The sentence; `None` for a path that is not the reason, since some route of another host or method takes
/// it.
pub fn of(settings: &Settings, path: &str) -> Option<String> {
    let routes = || settings.routes.iter().filter(|route| route.enabled);
    let patterns = || routes().flat_map(|route| route.rule.uris.iter().map(move |uri| (route, uri)));
    if patterns().any(|(_, uri)| uri.fit(path).is_some()) {
        return None;
    }
    let near = patterns().filter_map(|(route, uri)| Some((nearness(uri, path)?, route, uri)));
    Some(match near.max_by_key(|(nearness, ..)| *nearness) {
        Some((_, route, uri)) => for_route(route, uri, path),
        None => format!(
            "`uri: {path}` would take this path alone, `uri: {}` also what is below it.",
            widened(path)
        ),
    })
}

/// Bytes that a pattern and a path have in common: whole segments, whatever their letters' case.
fn nearness(uri: &UriPattern, path: &str) -> Option<usize> {
    let base = base(uri);
    let common = |other: &str| base.len() <= other.len() && other[..base.len()].eq_ignore_ascii_case(base);
    let is_near = path.is_char_boundary(base.len())
        && common(path)
        && (path.len() == base.len() || path.as_bytes()[base.len()] == b'/');
    // `/*` takes everything, so that a base without segments is near nothing
    (is_near && !base.is_empty()).then_some(base.len())
}

/// The pattern without its star and the slash at its end.
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
        format!("Route {} has `{uri}`; `{base}*` would take this path too.", route.id)
    } else {
        format!("Route {} has `{uri}`; paths are compared letter by letter, also in their case.", route.id)
    }
}

fn widened(path: &str) -> String {
    match path.strip_suffix('/') {
        Some(path) => format!("{path}/*"),
        None => format!("{path}*"),
    }
}
