//! Services, routes and plugins of Kong, nested or by reference, from one or more documents.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use crate::{
    import::{
        entity::Entity,
        route::{LeftOut, Translation},
        values::{place, shown},
    },
    settings::foreign::{ForeignNode, Peer},
};

/// The plugin that is translated.
pub const PLUGIN: &str = "aws-lambda";
/// Entities without an effect on routes with the plugin.
const OTHER_ENTITIES: [&str; 12] = [
    "upstreams",
    "targets",
    "certificates",
    "ca_certificates",
    "snis",
    "vaults",
    "keys",
    "key_sets",
    "consumers",
    "consumer_groups",
    "filter_chains",
    "partials",
];

impl Entity {
    /// Its name, or its id.
    pub fn name(&self) -> Option<String> {
        self.text("name").or_else(|| self.text("id"))
    }

    /// A key of its own is on unless it is `false`.
    pub fn is_enabled(&self) -> bool {
        self.node.get("enabled").and_then(ForeignNode::boolean).unwrap_or(true)
    }
}

/// The routes that a plugin applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    Global,
    Service(usize),
    Route(usize),
    /// Both.
    RouteOfService(usize, usize),
}

/// The name of an entity that is not in the files.
struct Missing(String);

pub struct Plugin {
    pub entity: Entity,
    pub name: String,
    pub scope: Scope,
}

pub struct Route {
    pub entity: Entity,
    pub service: Option<usize>,
    /// An `api` of versions before 0.13, which is service and route in one.
    pub is_api: bool,
    /// Paths are regular expressions only with a `~` before them.
    pub marks_expressions: Option<bool>,
}

/// The entities of all documents.
#[derive(Default)]
pub struct KongConfiguration {
    pub services: Vec<Entity>,
    pub routes: Vec<Route>,
    pub plugins: Vec<Plugin>,
    service_ids: HashMap<String, usize>,
    /// Services that a route or plugin names, and that are not in the files.
    missing_services: HashSet<usize>,
    route_ids: HashMap<String, usize>,
    /// Plugins at the first level, resolved once everything is known.
    loose_plugins: Vec<Entity>,
    loose_routes: Vec<(Entity, Option<bool>)>,
    /// decK's `_plugin_configs` by name.
    plugin_configurations: HashMap<String, ForeignNode>,
    left_out: Vec<LeftOut>,
}

impl KongConfiguration {
    /// Adds the entities of a document.
    pub fn add(&mut self, document: &ForeignNode, file: &Arc<str>) {
        let entity = |node: &ForeignNode| Entity { node: node.clone(), file: Arc::clone(file) };
        let list = |key: &str| document.get(key).map_or(&[][..], ForeignNode::each);
        let version = document.get("_format_version").and_then(ForeignNode::scalar);
        let marks = version.and_then(|version| version.parse::<f64>().ok()).map(|version| version >= 3.0);
        for (name, node) in document.get("_plugin_configs").map_or(&[][..], ForeignNode::entries) {
            self.plugin_configurations.insert(name.clone(), node.clone());
        }
        for service in list("services") {
            self.add_service(entity(service), marks);
        }
        self.loose_routes.extend(list("routes").iter().map(|route| (entity(route), marks)));
        self.loose_plugins.extend(list("plugins").iter().map(entity));
        for api in list("apis") {
            self.add_api(entity(api));
        }
        for item in list("data") {
            self.add_by_kind(entity(item), marks);
        }
        if let Some(next) = document.get("next").filter(|_| document.get("data").is_some()) {
            let text = "the list goes on: dump every page";
            self.leave_out("further pages", text, Some(place(file, next)));
        }
        for key in OTHER_ENTITIES {
            self.add_others(key, list(key), file);
        }
        let is_whole = ["services", "routes", "plugins", "apis", "data", "_format_version"]
            .iter()
            .any(|key| document.get(key).is_some());
        if !is_whole {
            self.add_by_kind(entity(document), marks);
        }
    }

    /// Adds an item of the Admin API, whose lists do not say what they hold.
    fn add_by_kind(&mut self, item: Entity, marks: Option<bool>) {
        let has = |key: &str| item.node.get(key).is_some();
        if has("upstream_url") {
            self.add_api(item);
        } else if has("config") && has("name") {
            self.loose_plugins.push(item);
        } else if has("paths") || has("strip_path") || has("expression") || (has("protocols") && !has("host"))
        {
            self.loose_routes.push((item, marks));
        } else if has("host") || has("url") {
            self.add_service(item, marks);
        } else {
            let (name, at) = (item.name().unwrap_or_default(), Some(place(&item.file, &item.node)));
            self.leave_out(&format!("entity `{}`", shown(&name)), "neither service, route nor plugin", at);
        }
    }

    fn add_service(&mut self, service: Entity, marks: Option<bool>) {
        let (at, file) = (self.services.len(), Arc::clone(&service.file));
        let entity = |node: &ForeignNode| Entity { node: node.clone(), file: Arc::clone(&file) };
        let below = |key: &str| service.node.get(key).map_or(&[][..], ForeignNode::items).to_vec();
        for id in ["id", "name"].iter().filter_map(|key| service.text(key)) {
            self.service_ids.insert(id, at);
        }
        let (routes, plugins) = (below("routes"), below("plugins"));
        self.services.push(service);
        for route in &routes {
            self.add_route(entity(route), Some(at), marks);
        }
        for plugin in &plugins {
            self.add_plugin(entity(plugin), Scope::Service(at));
        }
    }

    fn add_route(&mut self, route: Entity, service: Option<usize>, marks: Option<bool>) {
        let at = self.routes.len();
        for id in ["id", "name"].iter().filter_map(|key| route.text(key)) {
            self.route_ids.insert(id, at);
        }
        let plugins = route.node.get("plugins").map_or(&[][..], ForeignNode::items).to_vec();
        let file = Arc::clone(&route.file);
        self.routes.push(Route { entity: route, service, is_api: false, marks_expressions: marks });
        for plugin in plugins {
            self.add_plugin(Entity { node: plugin, file: Arc::clone(&file) }, Scope::Route(at));
        }
    }

    fn add_api(&mut self, api: Entity) {
        let at = self.routes.len();
        self.add_route(api, None, Some(false));
        if let Some(route) = self.routes.get_mut(at) {
            route.is_api = true;
        }
    }

    /// Adds a plugin below an entity, which may name another one as well.
    fn add_plugin(&mut self, plugin: Entity, scope: Scope) {
        let scope = match (scope, self.refer(&plugin, "service")) {
            (Scope::Route(route), Ok(Some(service))) => Scope::RouteOfService(route, service),
            (other, _) => other,
        };
        self.push_plugin(plugin, scope);
    }

    fn push_plugin(&mut self, plugin: Entity, scope: Scope) {
        let name = plugin.text("name").unwrap_or_default();
        let at = Some(place(&plugin.file, &plugin.node));
        if let Some(of) =
            ["consumer", "consumer_id", "consumer_group"].iter().find(|key| plugin.node.get(key).is_some())
        {
            let of = of.trim_end_matches("_id").replace('_', " ");
            let text = "no consumers here: every client has the same routes";
            self.leave_out(&format!("plugin `{}` of a {of}", shown(&name)), text, at);
        } else if plugin.is_enabled() {
            let entity = self.with_configuration(plugin);
            self.plugins.push(Plugin { entity, name, scope });
        } else {
            self.leave_out(&format!("plugin `{}`", shown(&name)), "disabled", at);
        }
    }

    /// decK: the configuration that a plugin takes by `_config`, under its own.
    fn with_configuration(&self, plugin: Entity) -> Entity {
        let shared = plugin.text("_config").and_then(|name| self.plugin_configurations.get(&name));
        let Some(shared) = shared else { return plugin };
        let mut entries = plugin.node.get("config").map_or(&[][..], ForeignNode::entries).to_vec();
        for (key, node) in shared.entries() {
            if entries.iter().all(|(own, _)| own != key) {
                entries.push((key.clone(), node.clone()));
            }
        }
        let mut keys = plugin.node.entries().to_vec();
        keys.retain(|(key, _)| key != "config");
        keys.push(("config".to_owned(), ForeignNode::table(entries)));
        let node = ForeignNode { line: plugin.node.line, ..ForeignNode::table(keys) };
        Entity { node, file: plugin.file }
    }

    /// The service or route that an entity names, if it names one.
    fn refer(&self, entity: &Entity, key: &str) -> Result<Option<usize>, Missing> {
        let node = entity.node.get(key).or_else(|| entity.node.get(&format!("{key}_id")));
        let part = |key: &str| node?.get(key).and_then(ForeignNode::scalar);
        let name = node.and_then(ForeignNode::scalar).or_else(|| part("name")).or_else(|| part("id"));
        let Some(name) = name else { return Ok(None) };
        let ids = if key == "service" { &self.service_ids } else { &self.route_ids };
        ids.get(&name).copied().map(Some).ok_or(Missing(name))
    }

    /// The service that a route names, also one that is not in the files: plugins may name it too.
    fn service_of_route(&mut self, route: &Entity) -> Option<usize> {
        match self.refer(route, "service") {
            Ok(service) => service,
            Err(Missing(name)) => {
                let at = self.services.len();
                let node = ForeignNode::table(vec![("id".to_owned(), ForeignNode::of_text(name))]);
                self.add_service(Entity { node, file: Arc::clone(&route.file) }, None);
                self.missing_services.insert(at);
                Some(at)
            }
        }
    }

    /// True for a service that is not in the files.
    pub fn is_missing(&self, service: usize) -> bool {
        self.missing_services.contains(&service)
    }

    /// Resolves the references between entities.
    pub fn resolve(&mut self) {
        for (route, marks) in std::mem::take(&mut self.loose_routes) {
            let service = self.service_of_route(&route);
            self.add_route(route, service, marks);
        }
        for plugin in std::mem::take(&mut self.loose_plugins) {
            let route = match self.refer(&plugin, "route") {
                Ok(None) => self.refer(&plugin, "api"),
                found => found,
            };
            let scope = match (route, self.refer(&plugin, "service")) {
                (Ok(Some(route)), Ok(Some(service))) => Scope::RouteOfService(route, service),
                (Ok(Some(route)), _) => Scope::Route(route),
                (Ok(None), Ok(Some(service))) => Scope::Service(service),
                (Ok(None), Ok(None)) => Scope::Global,
                _ => {
                    let name = plugin.text("name").unwrap_or_default();
                    let at = Some(place(&plugin.file, &plugin.node));
                    let text = "the route or service that it names is not in the files";
                    self.leave_out(&format!("plugin `{}`", shown(&name)), text, at);
                    continue;
                }
            };
            self.push_plugin(plugin, scope);
        }
    }

    fn add_others(&mut self, key: &str, items: &[ForeignNode], file: &Arc<str>) {
        let Some(first) = items.first() else { return };
        let text = match key {
            "consumers" | "consumer_groups" => "no consumers here: every client has the same routes",
            "vaults" => "references are written in the routes",
            "certificates" | "snis" => "TLS towards clients: `listen.https` in default.yaml",
            "ca_certificates" => "`ca_certificate` of a route, or the platform's authorities",
            _ => "not used by routes with `aws-lambda`",
        };
        let name = format!("{key} ({})", items.len());
        self.leave_out(&name, text, Some(place(file, first)));
        for item in items {
            for plugin in item.get("plugins").map_or(&[][..], ForeignNode::items) {
                let of = item.get("username").or_else(|| item.get("name")).and_then(ForeignNode::scalar);
                let of = shown(&of.unwrap_or_default());
                let plugin_name = plugin.get("name").and_then(ForeignNode::scalar).unwrap_or_default();
                let name = format!("plugin `{}` of `{of}`", shown(&plugin_name));
                self.leave_out(&name, text, Some(place(file, plugin)));
            }
        }
    }

    fn leave_out(&mut self, name: &str, text: &str, place: Option<crate::settings::Place>) {
        let text = text.to_owned();
        self.left_out.push(LeftOut { peer: Peer::Kong, name: name.to_owned(), text, place });
    }

    /// Translates every route with the plugin, and names everything else.
    pub fn translate(mut self, translation: &mut Translation) {
        self.resolve();
        translation.left_out.append(&mut self.left_out);
        super::route::translate_all(&self, translation);
    }
}
