//! `match` of Envoy's routes.

use super::get;
use crate::{
    import::{
        feature::Feature,
        kong::expression,
        matching::{literal, prefix},
        route::ImportedRoute,
        values::shown,
    },
    settings::foreign::ForeignNode,
};

/// Translates the path; returns the `uri`s and the path before the `*` as Envoy sends it.
pub fn uris(matches: &ForeignNode, route: &mut ImportedRoute) -> Vec<String> {
    let text = |key: &str| get(matches, key).and_then(ForeignNode::scalar);
    let found = if let Some(path) = text("path") {
        literal(&path).map(|uri| vec![uri])
    } else if let Some(path) = text("path_separated_prefix") {
        prefix(path.trim_end_matches('/')).map(|uri| vec![uri])
    } else if let Some(path) = text("prefix") {
        if !path.ends_with('/') {
            route.features.insert(Feature::Prefix);
        }
        prefix(&path).map(|uri| vec![uri])
    } else if let Some(regex) = get(matches, "safe_regex").and_then(|regex| regex.get("regex")?.scalar()) {
        // RE2 matches the whole path
        let whole = if regex.ends_with('$') { regex.clone() } else { format!("{regex}$") };
        let translated = expression::translate(&whole).map(|translated| translated.uris);
        translated.map_err(|why| {
            let nearest = why.nearest.map(|uri| format!("; nearest is `uri: {uri}`")).unwrap_or_default();
            format!(
                "`safe_regex` `{}` is neither a prefix nor a template: {}{nearest}",
                shown(&regex),
                why.reason
            )
        })
    } else {
        Err("its `match` has no `prefix`, `path`, `path_separated_prefix` or `safe_regex`".to_owned())
    };
    found.unwrap_or_else(|problem| {
        route.problem(problem);
        Vec::new()
    })
}

/// Translates the conditions on headers: that on the method is ours, others are not.
pub fn methods(matches: &ForeignNode, route: &mut ImportedRoute) -> Vec<String> {
    let mut methods = Vec::new();
    for header in matches.get("headers").map_or(&[][..], ForeignNode::items) {
        let name = header.get("name").and_then(ForeignNode::scalar).unwrap_or_default();
        let exact = get(header, "string_match")
            .and_then(|rule| rule.get("exact"))
            .or_else(|| get(header, "exact_match"));
        let is_inverted = get(header, "invert_match").and_then(ForeignNode::boolean) == Some(true);
        match exact.and_then(ForeignNode::scalar) {
            Some(method) if name == ":method" && !is_inverted => methods.push(method),
            _ => route.problem(format!(
                "the header `{}` decides which requests it takes, and is no condition here",
                shown(&name)
            )),
        }
    }
    for key in
        ["query_parameters", "runtime_fraction", "grpc", "tls_context", "dynamic_metadata", "connect_matcher"]
    {
        if get(matches, key).is_some() {
            route.problem(format!("`{key}` decides which requests it takes, and is no condition here"));
        }
    }
    if get(matches, "case_sensitive").and_then(ForeignNode::boolean) == Some(false) {
        route.problem("`case_sensitive: false`: paths are compared with their case");
    }
    methods
}

/// Translates the domains of a virtual host.
pub fn hosts(virtual_host: &ForeignNode, route: &mut ImportedRoute) -> Vec<String> {
    let domains: Vec<String> = virtual_host
        .get("domains")
        .map_or(&[][..], ForeignNode::items)
        .iter()
        .filter_map(ForeignNode::scalar)
        .collect();
    if domains.iter().any(|domain| domain == "*") {
        return Vec::new();
    }
    let mut hosts: Vec<String> = Vec::new();
    for domain in &domains {
        let name = match domain.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) || port == "*" => {
                route.changed("domains", "ports decide nothing here");
                name
            }
            _ => domain.as_str(),
        };
        if name.contains('*') && (!name.starts_with("*.") || name[1..].contains('*')) {
            route.problem(format!("the domain `{}`: a wildcard is `*.` at the beginning", shown(domain)));
        } else if hosts.iter().all(|known| known != name) {
            hosts.push(name.to_owned());
        }
    }
    hosts
}
