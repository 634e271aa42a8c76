//! Suggests a pattern for a path that no route matches: a wider pattern for the route with the nearest one,
//! or patterns for a new route.

use std::sync::Arc;

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

/// The length of a pattern that would match the path if it matched everything below, without regard to case.
fn nearness(uri: &UriPattern, path: &str) -> Option<usize> {
    let base = base(uri);
    let widened = UriPattern::parse(&format!("{}*", base.to_ascii_lowercase())).map(Arc::new)?;
    // a pattern without segments is near no path: `/*` would have matched
    (!base.is_empty() && widened.fit(&path.to_ascii_lowercase()).is_some()).then_some(base.len())
}

/// The pattern without its `*` and the slash at its end.
fn base(uri: &UriPattern) -> String {
    let written = uri.to_string();
    let base = written.trim_end_matches('*');
    base.strip_suffix('/').unwrap_or(base).to_owned()
}

fn for_route(route: &RouteSettings, uri: &UriPattern, path: &str) -> String {
    let base = base(uri);
    if UriPattern::parse(&format!("{base}*")).is_some_and(|widened| Arc::new(widened).fit(path).is_some()) {
        format!("Route {} has `{uri}`; `{base}*` would match this path too.", route.id)
    } else {
        format!("Route {} has `{uri}`; paths are case-sensitive.", route.id)
    }
}
