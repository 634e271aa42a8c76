//! The pattern that would take a path which no route takes.
//!
//! `explain.rs` comes here with such a path. The route whose own pattern is nearest is named with the pattern
//! that it would need; without one that is near, the patterns for a new route are.

use std::sync::Arc;

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

/// Bytes of a pattern that would take a path if it took everything below, whatever the letters' case.
fn nearness(uri: &UriPattern, path: &str) -> Option<usize> {
    let base = base(uri);
    let widened = UriPattern::parse(&format!("{}*", base.to_ascii_lowercase())).map(Arc::new)?;
    // `/*` takes everything, so that a base without segments is near nothing
    (!base.is_empty() && widened.fit(&path.to_ascii_lowercase()).is_some()).then_some(base.len())
}

/// The pattern without its star and the slash at its end.
fn base(uri: &UriPattern) -> String {
    let written = uri.to_string();
    let base = written.trim_end_matches('*');
    base.strip_suffix('/').unwrap_or(base).to_owned()
}

fn for_route(route: &RouteSettings, uri: &UriPattern, path: &str) -> String {
    let base = base(uri);
    if UriPattern::parse(&format!("{base}*")).is_some_and(|widened| Arc::new(widened).fit(path).is_some()) {
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
