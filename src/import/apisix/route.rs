//! A route of APISIX with its service and plugins as an imported route.

use std::sync::Arc;

use super::{
    entities::{ApisixConfiguration, PLUGIN, Route, instead},
    paths::{self, ApisixPath},
    plugin,
};
use crate::{
    import::{
        entity::Entity,
        feature::Feature,
        matching,
        route::{ImportedRoute, LeftOut, Translation, Value},
        values::{place, shown},
    },
    settings::foreign::{ForeignNode, Peer},
};

/// The sentence about path parameters.
const PARAMETERS: &str =
    "parameters, as with the router `radixtree_uri_with_parameter`; other routers take them literally";
/// Conditions of a route that are not conditions here.
const CONDITIONS: [&str; 4] = ["vars", "filter_func", "remote_addr", "remote_addrs"];

/// Translates every route with the plugin, and names the others.
pub fn translate_all(apisix: &ApisixConfiguration, translation: &mut Translation) {
    for (at, route) in apisix.routes.iter().enumerate() {
        let (name, title) = names(at, route);
        let place = place(&route.entity.file, &route.entity.node);
        let plugins = plugins(apisix, route);
        let missing = missing(apisix, route);
        let Some((_, config, file)) = plugins.iter().find(|(name, ..)| name == PLUGIN).cloned() else {
            if !missing.is_empty() {
                let mut imported = ImportedRoute::new(Peer::Apisix, name, title, place);
                for (key, text) in &missing {
                    imported.problem(format!("{key}: {text}"));
                }
                translation.routes.push(imported);
                continue;
            }
            let text = format!("without the plugin `{PLUGIN}`: APISIX proxies it to its upstream");
            translation.left_out.push(LeftOut { peer: Peer::Apisix, name: title, text, place: Some(place) });
            continue;
        };
        let mut imported = ImportedRoute::new(Peer::Apisix, name, title, place);
        for (key, text) in missing {
            imported.attention(key, text);
        }
        if is_disabled(&config) {
            let text = format!("`{PLUGIN}` is disabled: APISIX proxies the route to its upstream");
            translation.left_out.push(LeftOut {
                peer: Peer::Apisix,
                name: imported.title,
                text,
                place: Some(imported.place),
            });
            continue;
        }
        translate(route, apisix.service(route), &config, &file, &mut imported);
        for (name, config, _) in &plugins {
            if name != PLUGIN && !is_disabled(config) {
                imported.left_out(format!("plugin `{}`", shown(name)), instead(name));
            }
        }
        translation.routes.push(imported);
    }
    if apisix.is_given && apisix.routes.is_empty() {
        translation.left_out.push(LeftOut {
            peer: Peer::Apisix,
            name: "routes".to_owned(),
            text: "there is no route in the files".to_owned(),
            place: None,
        });
    }
}

/// The plugins in force for a route: its own, then those of its plugin configuration, then those of its
/// service.
fn plugins(apisix: &ApisixConfiguration, route: &Route) -> Vec<(String, ForeignNode, Arc<str>)> {
    let mut found: Vec<(String, ForeignNode, Arc<str>)> = Vec::new();
    let sources = [Some(&route.entity), apisix.plugin_config(route), apisix.service(route)];
    for Entity { node, file } in sources.into_iter().flatten() {
        for (name, config) in node.get("plugins").map_or(&[][..], ForeignNode::entries) {
            if found.iter().all(|(known, ..)| known != name) {
                found.push((name.clone(), config.clone(), Arc::clone(file)));
            }
        }
    }
    found
}

/// The references of a route to entities that are not in the files, and a sentence about each.
fn missing(apisix: &ApisixConfiguration, route: &Route) -> Vec<(&'static str, String)> {
    let known = [
        ("plugin_config_id", apisix.plugin_config(route).is_some()),
        ("service_id", apisix.service(route).is_some()),
    ];
    let named = known.into_iter().filter(|(_, is_known)| !is_known);
    let missing = named.filter_map(|(key, _)| {
        let id = route.entity.text(key)?;
        Some((key, format!("`{}` is not in the files: its plugins are not known", shown(&id))))
    });
    missing.collect()
}

fn is_disabled(config: &ForeignNode) -> bool {
    let of = |node: Option<&ForeignNode>| node.and_then(ForeignNode::boolean) == Some(true);
    of(config.at(&["_meta", "disable"])) || of(config.get("disable"))
}

/// The wished name of a route's file, and its title.
fn names(at: usize, route: &Route) -> (String, String) {
    let path = ["uri", "uris"].iter().find_map(|key| route.entity.node.get(key)?.each().first()?.scalar());
    let own = route.entity.text("name").or_else(|| route.entity.text("id"));
    // an id that is a number says nothing
    let telling = own.clone().filter(|own| !own.bytes().all(|byte| byte.is_ascii_digit()));
    let of_service = route.service.as_ref().and_then(|service| service.text("name"));
    let name = telling.or_else(|| path.clone()).or(of_service).or_else(|| own.clone());
    let title = match own.or(path) {
        Some(text) => format!("route `{}`", shown(&text)),
        None => format!("route {}", at + 1),
    };
    (name.unwrap_or_else(|| format!("route-{}", at + 1)), title)
}

fn translate(
    route: &Route,
    service: Option<&Entity>,
    config: &ForeignNode,
    file: &Arc<str>,
    imported: &mut ImportedRoute,
) {
    let node = &route.entity.node;
    for condition in CONDITIONS {
        let is_set = node.get(condition).is_some_and(|node| !node.is_list() || !node.items().is_empty());
        if is_set {
            imported
                .problem(format!("`{condition}` decides which requests it takes, and is no condition here"));
        }
    }
    if config.at(&["_meta", "filter"]).is_some() {
        imported.problem("`_meta.filter` decides which requests the plugin takes, and is no condition here");
    }
    if node.get("script").is_some() {
        imported.problem("it has a `script`, which runs in the place of its plugins");
    }
    if service.is_some_and(|service| service.node.get("path_prefix").is_some()) {
        imported.problem("`path_prefix` of its service: write the whole paths into the routes");
    }
    matches(node, service, imported);
    if let Some(priority) = node.get("priority").filter(|node| node.number() != Some(0.0))
        && let Some(priority) = imported.whole("priority", priority, i64::from(i32::MIN), i64::from(i32::MAX))
    {
        imported.keys.push("priority", priority);
    }
    if node.get("status").and_then(ForeignNode::number) == Some(0.0) {
        imported.keys.push_with("enabled", false, "`status: 0`");
    }
    if node.get("enable_websocket").and_then(ForeignNode::boolean) == Some(true) {
        imported.left_out("enable_websocket", "no WebSockets: `Upgrade` is ignored");
    }
    let section = plugin::translate(config, file, imported);
    imported.keys.push("api_gateway", Value::Table(section));
}

/// Writes the keys that decide which requests the route takes.
fn matches(node: &ForeignNode, service: Option<&Entity>, imported: &mut ImportedRoute) {
    let texts = |node: &ForeignNode, keys: [&str; 2]| -> Vec<String> {
        let written = keys.iter().find_map(|key| node.get(key));
        written.map_or(&[][..], ForeignNode::each).iter().filter_map(ForeignNode::scalar).collect()
    };
    let mut uris: Vec<String> = Vec::new();
    for text in texts(node, ["uri", "uris"]) {
        match paths::path(&text) {
            Ok(ApisixPath { uri, is_open_prefix, has_rest, has_parameters }) => {
                if is_open_prefix {
                    imported.features.insert(Feature::Prefix);
                }
                if has_rest {
                    imported.features.insert(Feature::Rest);
                }
                if has_parameters {
                    imported.changed("uri", PARAMETERS);
                }
                if !uris.contains(&uri) {
                    uris.push(uri);
                }
            }
            Err(problem) => imported.problem(problem),
        }
    }
    match &uris[..] {
        [] if imported.is_translated() => imported.problem("it has no `uri`"),
        [] => {}
        [uri] => imported.keys.push("uri", uri.as_str()),
        _ => imported.keys.push("uris", Value::texts(uris.clone())),
    }
    let own = texts(node, ["host", "hosts"]);
    let hosts = if own.is_empty() {
        service.map(|service| texts(&service.node, ["host", "hosts"])).unwrap_or_default()
    } else {
        own
    };
    if !hosts.is_empty() {
        imported.keys.push("hosts", Value::texts(hosts));
    }
    let methods = matching::methods(node, imported);
    if !methods.is_empty() {
        imported.keys.push("methods", Value::texts(methods));
    }
}
