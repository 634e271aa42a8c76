//! A route of Kong with its service and plugins as an imported route.

use std::collections::HashMap;

use super::{
    entities::{KongConfiguration, PLUGIN, Plugin, Route, Scope},
    paths::{self, KongPath},
    plugin,
};
use crate::{
    import::{
        differences,
        entity::Entity,
        feature::Feature,
        matching,
        route::{Entry, ImportedRoute, LeftOut, Translation, Value},
        values::{place, shown},
    },
    settings::foreign::{ForeignNode, Peer},
};

/// Conditions of a route that are not conditions here.
const CONDITIONS: [&str; 5] = ["headers", "snis", "sources", "destinations", "expression"];

/// The plugins of each scope.
struct PluginIndex<'k>(HashMap<Scope, Vec<&'k Plugin>>);

impl<'k> PluginIndex<'k> {
    fn new(kong: &'k KongConfiguration) -> Self {
        let mut index: HashMap<Scope, Vec<&Plugin>> = HashMap::new();
        for plugin in &kong.plugins {
            index.entry(plugin.scope).or_default().push(plugin);
        }
        Self(index)
    }

    /// The scopes of a route, the most specific first.
    fn scopes(route: usize, service: Option<usize>) -> Vec<Scope> {
        let both = service.map(|service| Scope::RouteOfService(route, service));
        let scopes = [both, Some(Scope::Route(route)), service.map(Scope::Service), Some(Scope::Global)];
        scopes.into_iter().flatten().collect()
    }

    fn in_scope(&self, scope: Scope) -> &[&'k Plugin] {
        self.0.get(&scope).map_or(&[], Vec::as_slice)
    }

    /// The plugin `aws-lambda` that is in force for a route.
    fn lambda(&self, route: usize, service: Option<usize>) -> Option<&'k Plugin> {
        let scopes = Self::scopes(route, service);
        scopes.iter().flat_map(|scope| self.in_scope(*scope)).find(|plugin| plugin.name == PLUGIN).copied()
    }

    /// The other plugins of a route, each name once, but for those of all routes.
    fn others(&self, route: usize, service: Option<usize>) -> Vec<&'k str> {
        let mut names: Vec<&str> = Vec::new();
        for scope in Self::scopes(route, service).into_iter().filter(|scope| *scope != Scope::Global) {
            for plugin in self.in_scope(scope) {
                if plugin.name != PLUGIN && !names.contains(&&*plugin.name) {
                    names.push(&plugin.name);
                }
            }
        }
        names
    }
}

/// Translates every route with the plugin, and names the routes and plugins without a translation.
pub fn translate_all(kong: &KongConfiguration, translation: &mut Translation) {
    let index = PluginIndex::new(kong);
    let mut used = vec![false; kong.services.len()];
    for (at, route) in kong.routes.iter().enumerate() {
        let service = route.service.and_then(|service| kong.services.get(service));
        if let Some(service) = route.service {
            used[service] = true;
        }
        let (name, title) = names(at, route, service);
        let place = place(&route.entity.file, &route.entity.node);
        let plugin = index.lambda(at, route.service);
        if plugin.is_none() && !is_prototype(route) {
            let text = format!("without the plugin `{PLUGIN}`: Kong proxies it to its service");
            translation.left_out.push(LeftOut { peer: Peer::Kong, name: title, text, place: Some(place) });
            continue;
        }
        let mut imported = ImportedRoute::new(Peer::Kong, name, title, place);
        translate(route, service, plugin, &mut imported);
        if let Some(missing) = service.filter(|_| route.service.is_some_and(|at| kong.is_missing(at))) {
            let name = missing.name().unwrap_or_default();
            let text = format!("`{}` is not in the files: its path and plugins are not known", shown(&name));
            imported.attention("service", text);
        }
        for name in index.others(at, route.service) {
            imported.left_out(format!("plugin `{}`", shown(name)), instead(name));
        }
        translation.routes.push(imported);
    }
    name_the_rest(kong, &index, &used, translation);
}

/// Names global plugins, and services whose plugin has no route.
fn name_the_rest(
    kong: &KongConfiguration,
    index: &PluginIndex<'_>,
    used: &[bool],
    translation: &mut Translation,
) {
    for plugin in index.in_scope(Scope::Global).iter().filter(|plugin| plugin.name != PLUGIN) {
        let Entity { node, file } = &plugin.entity;
        let name = format!("plugin `{}` of all routes", shown(&plugin.name));
        let text = instead(&plugin.name);
        translation.left_out.push(LeftOut { peer: Peer::Kong, name, text, place: Some(place(file, node)) });
    }
    for (at, service) in kong.services.iter().enumerate().filter(|(at, _)| !used[*at]) {
        let name = format!("service `{}`", shown(&service.name().unwrap_or_default()));
        let has_plugin = index.in_scope(Scope::Service(at)).iter().any(|plugin| plugin.name == PLUGIN);
        let text = if has_plugin { "has the plugin and no route" } else { "no route, no plugin" };
        let place = Some(place(&service.file, &service.node));
        translation.left_out.push(LeftOut { peer: Peer::Kong, name, text: text.to_owned(), place });
    }
    let is_of_routes = kong.routes.is_empty() && translation.routes.is_empty();
    let lambda = kong.plugins.iter().find(|plugin| plugin.name == PLUGIN && plugin.scope == Scope::Global);
    if let Some(plugin) = lambda.filter(|_| is_of_routes) {
        let place = place(&plugin.entity.file, &plugin.entity.node);
        let mut imported = ImportedRoute::new(Peer::Kong, PLUGIN, format!("plugin `{PLUGIN}`"), place);
        imported.problem("there is no route in the files: add the dump of /routes");
        translation.routes.push(imported);
    }
}

fn instead(plugin: &str) -> String {
    differences::instead_of_plugin(plugin).unwrap_or_else(|| "no plugins here".to_owned())
}

/// True for an `api` of 2016 whose upstream is a function.
fn is_prototype(route: &Route) -> bool {
    route.is_api && route.entity.text("upstream_url").is_some_and(|url| url.starts_with("aws-lambda:"))
}

/// The wished name of a route's file, and its title.
fn names(at: usize, route: &Route, service: Option<&Entity>) -> (String, String) {
    let kind = if route.is_api { "api" } else { "route" };
    let of_service = service.and_then(Entity::name);
    let path = route.entity.node.get("paths").or_else(|| route.entity.node.get("uris"));
    let path = path.and_then(|paths| paths.each().first()?.scalar());
    let own = route.entity.text("name");
    let name = own
        .clone()
        .or_else(|| of_service.clone())
        .or_else(|| path.clone())
        .or_else(|| route.entity.text("id"));
    let title = match own.or(path).or_else(|| route.entity.text("id")) {
        Some(text) => format!("{kind} `{}`", shown(&text)),
        None => format!("{kind} {}", at + 1),
    };
    let title = match of_service.filter(|_| route.entity.text("name").is_none()) {
        Some(service) => format!("{title} of service `{}`", shown(&service)),
        None => title,
    };
    (name.unwrap_or_else(|| format!("{kind}-{}", at + 1)), title)
}

fn translate(route: &Route, service: Option<&Entity>, plugin: Option<&Plugin>, imported: &mut ImportedRoute) {
    let node = &route.entity.node;
    for condition in CONDITIONS {
        let is_set = node.get(condition).is_some_and(|node| {
            !node.entries().is_empty()
                || !node.items().is_empty()
                || node.text().is_some_and(|text| !text.is_empty())
        });
        if is_set {
            imported
                .problem(format!("`{condition}` decides which requests it takes, and is no condition here"));
        }
    }
    let paths = translate_paths(route, imported);
    let hosts = hosts(route, imported);
    let methods = matching::methods(node, imported);
    push_matches(imported, &paths, hosts, methods);
    priority(node, imported);
    protocols(node, imported);
    if service.is_some_and(|service| !service.is_enabled()) {
        imported.keys.push_with("enabled", false, "the service is disabled");
    }
    let empty = ForeignNode::table(Vec::new());
    let (config, file) = match plugin {
        Some(plugin) => {
            let node = plugin.entity.node.get("config").or_else(|| plugin.entity.node.get("value"));
            (node.unwrap_or(&empty), &plugin.entity.file)
        }
        None => (&empty, &route.entity.file),
    };
    let upstream = route.entity.text("upstream_url").filter(|_| is_prototype(route));
    let config = upstream.as_ref().map_or_else(|| config.clone(), |url| with_url_alone(config, url));
    let mut lambda = plugin::translate(&config, file, imported);
    if let Some(url) = upstream {
        imported.features.insert(Feature::Prototype);
        imported.features.remove(&Feature::NoRegion);
        imported.findings.retain(|finding| finding.subject != "config.aws_region");
        lambda.0.insert(0, Entry { key: "upstream_url".to_owned(), value: Value::Text(url), comment: None });
    }
    if imported.features.contains(&Feature::Gateway) {
        strip(route, service, &paths, imported);
    }
    imported.keys.push("lambda", Value::Table(lambda));
}

/// The prototype's configuration without what its URL says as well.
fn with_url_alone(config: &ForeignNode, url: &str) -> ForeignNode {
    let in_url = ["aws_region", "function_name", "qualifier", "invocation_type", "log_type"];
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let says = |key: &str, value: &ForeignNode| match key {
        "aws_region" | "function_name" => {
            value.text().is_some_and(|text| path.split('/').any(|part| part == text))
        }
        _ => value.text().is_some_and(|text| query.split('&').any(|pair| pair == format!("{key}={text}"))),
    };
    let entries = config.entries().iter();
    let entries = entries.filter(|(key, value)| !in_url.contains(&&**key) || !says(key, value)).cloned();
    ForeignNode { line: config.line, ..ForeignNode::table(entries.collect()) }
}

fn translate_paths(route: &Route, imported: &mut ImportedRoute) -> Vec<KongPath> {
    let node = &route.entity.node;
    let written = ["paths", "uris", "request_path"].iter().find_map(|key| node.get(key));
    let texts: Vec<String> = written.map_or_else(Vec::new, |written| {
        // 0.10 takes a list in one text; in a list a comma is part of the path
        if let Some(text) = written.text() {
            return text.split(',').map(|text| text.trim().to_owned()).collect();
        }
        written.each().iter().filter_map(ForeignNode::scalar).collect()
    });
    let texts = if texts.is_empty() { vec!["/".to_owned()] } else { texts };
    let mut found = Vec::new();
    for text in texts {
        match paths::path(&text, route.marks_expressions) {
            Ok(path) => found.push(path),
            Err(problem) => imported.problem(problem),
        }
    }
    for path in &found {
        if path.is_open_prefix {
            imported.features.insert(Feature::Prefix);
        }
        if path.is_expression {
            imported.features.insert(Feature::Regex);
        }
        if !path.captures.is_empty() {
            imported.features.insert(Feature::Captures);
        }
        if path.unnamed > 0 {
            let names = path.captures.join("`, `");
            imported.changed("paths", format!("captures without a name are called `{names}` here"));
        }
    }
    found
}

/// Writes the keys that decide which requests the route takes.
fn push_matches(imported: &mut ImportedRoute, paths: &[KongPath], hosts: Vec<String>, methods: Vec<String>) {
    let mut uris: Vec<&str> = Vec::new();
    for uri in paths.iter().flat_map(|path| &path.uris) {
        if !uris.contains(&&**uri) {
            uris.push(uri);
        }
    }
    match uris[..] {
        [] => {}
        [uri] => imported.keys.push("uri", uri),
        _ => imported.keys.push("uris", Value::texts(uris)),
    }
    if !hosts.is_empty() {
        imported.keys.push("hosts", Value::texts(hosts));
    }
    if !methods.is_empty() {
        imported.keys.push("methods", Value::texts(methods));
    }
}

fn hosts(route: &Route, imported: &mut ImportedRoute) -> Vec<String> {
    let written = ["hosts", "request_host"].iter().find_map(|key| route.entity.node.get(key));
    let texts: Vec<String> =
        written.map_or(&[][..], ForeignNode::each).iter().filter_map(ForeignNode::scalar).collect();
    let mut hosts = Vec::new();
    for text in texts.iter().flat_map(|text| text.split(',')).map(str::trim).filter(|text| !text.is_empty()) {
        match text.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
                imported.changed(
                    "hosts",
                    format!("`{}` without its port, which decides nothing here", shown(text)),
                );
                hosts.push(name.to_owned());
            }
            _ if text.ends_with('*') || (text.contains('*') && !text.starts_with("*.")) => {
                imported.problem(format!("the host `{}`: a wildcard is `*.` at the beginning", shown(text)));
            }
            _ => hosts.push(text.to_owned()),
        }
    }
    hosts
}

fn priority(node: &ForeignNode, imported: &mut ImportedRoute) {
    let priority = node.get("regex_priority").and_then(ForeignNode::number).filter(|number| *number != 0.0);
    if priority.is_some() {
        let text = "the more specific path wins here; `priority` decides between equal ones";
        imported.changed("regex_priority", text);
    }
}

fn protocols(node: &ForeignNode, imported: &mut ImportedRoute) {
    let written = node.get("protocols").map_or(&[][..], ForeignNode::each);
    let protocols: Vec<String> = written.iter().filter_map(ForeignNode::scalar).collect();
    if !protocols.is_empty() && protocols.iter().all(|protocol| protocol == "https") {
        let text = "`https` alone: the listener decides, see `listen.https`; there is no 426 or redirect";
        imported.left_out("protocols", text);
    }
    if let Some(other) = protocols.iter().find(|protocol| !matches!(&***protocol, "http" | "https")) {
        imported.left_out("protocols", format!("`{}`: routes speak HTTP", shown(other)));
    }
}

/// The change of the path in events of API Gateway: Kong's event has the path as it would go to the service.
fn strip(route: &Route, service: Option<&Entity>, paths: &[KongPath], imported: &mut ImportedRoute) {
    let node = &route.entity.node;
    let written = ["strip_path", "strip_uri", "strip_request_path"].iter().find_map(|key| node.get(key));
    let strips = written.and_then(ForeignNode::boolean).unwrap_or(node.get("request_path").is_none());
    let base = service.map(service_path).unwrap_or_default();
    let prefixes: Vec<&str> =
        paths.iter().flat_map(|path| &path.uris).map(|uri| literal_prefix(uri)).collect();
    let is_root = prefixes.iter().all(|prefix| prefix.is_empty());
    if strips && paths.iter().any(|path| path.is_expression) {
        let text =
            "Kong removes what the expression matched; here the literal segments before the first parameter";
        imported.changed("strip_path", text);
    }
    let is_uniform = prefixes.windows(2).all(|pair| pair[0] == pair[1]);
    match (strips, base.is_empty()) {
        (true, true) if is_root => {}
        (true, true) => {
            imported.features.insert(Feature::Strip);
            imported.keys.push("strip_path", true);
        }
        (true, false) => imported.keys.push_with("rewrite", base, "the path of the service"),
        (false, true) => {}
        (false, false) if is_uniform => {
            let path = format!("{base}{}", prefixes.first().copied().unwrap_or_default());
            imported.keys.push_with("rewrite", path, "the path of the service, and that of the route");
        }
        (false, false) => {
            let text =
                format!("the event's path begins with `{base}` at Kong, and not here: split the route");
            imported.attention("service.path", text);
        }
    }
}

/// The path of a service, without a slash at its end.
fn service_path(service: &Entity) -> String {
    let of_url = || {
        let url = service.text("url")?;
        let (_, rest) = url.split_once("://")?;
        rest.split_once('/').map(|(_, path)| format!("/{path}"))
    };
    let path = service.text("path").or_else(of_url).unwrap_or_default();
    path.split('?').next().unwrap_or_default().trim_end_matches('/').to_owned()
}

/// The literal segments of a `uri` before the first parameter or `*`, without a slash at the end.
fn literal_prefix(uri: &str) -> &str {
    let end = uri.find(['{', '*']).unwrap_or(uri.len());
    uri[..end].trim_end_matches('/')
}
