//! Log lines at the start: which routes connect through a proxy, and which setting or variable decided.

use std::sync::Arc;

use crate::{
    settings::{Direct, Otlp, ProxyChoice, RouteSettings},
    text::listing,
};

/// A line for each proxy, and one for each reason to use none; empty if no proxy is set.
pub fn lines(routes: &[Arc<RouteSettings>], otlp: Option<&Otlp>) -> Vec<String> {
    let mut groups: Vec<(&ProxyChoice, Vec<&str>)> = Vec::new();
    for route in routes.iter().filter(|route| route.enabled) {
        let choice = &route.backend.upstream().proxy;
        match groups.iter_mut().find(|(known, _)| *known == choice) {
            Some((_, ids)) => ids.push(&route.id),
            None => groups.push((choice, vec![&route.id])),
        }
    }
    let collector = otlp.map(|otlp| ("tracing.otlp".to_owned(), &otlp.proxy));
    let users = groups.into_iter().map(|(choice, ids)| (listing::routes(&ids), choice)).chain(collector);
    let lines: Vec<_> = users.collect();
    if lines.iter().all(|(_, choice)| **choice == ProxyChoice::Direct(Direct::NotSet)) {
        return Vec::new();
    }
    lines.into_iter().map(|(users, choice)| line(&users, choice)).collect()
}

fn line(users: &str, choice: &ProxyChoice) -> String {
    let reason = choice.reason().map(|reason| format!(" ({reason})")).unwrap_or_default();
    match choice {
        ProxyChoice::Through(proxy) => format!("{users}: through the proxy {proxy}{reason}"),
        ProxyChoice::Direct(_) => format!("{users}: without a proxy{reason}"),
    }
}
