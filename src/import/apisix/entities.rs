//! Routes, services and plugin configurations of APISIX, from one or more documents.

use std::{collections::HashMap, sync::Arc};

use super::kubernetes::{self, Resource};
use crate::{
    import::{
        differences,
        entity::Entity,
        route::{LeftOut, Translation},
        values::{place, shown},
    },
    settings::foreign::{ForeignNode, Peer},
};

/// The plugin that is translated.
pub const PLUGIN: &str = "aws-lambda";

/// A route, and its service if that is around it (ADC).
pub struct Route {
    pub entity: Entity,
    pub service: Option<Entity>,
}

/// The entities of all documents.
#[derive(Default)]
pub struct ApisixConfiguration {
    pub routes: Vec<Route>,
    services: HashMap<String, Entity>,
    plugin_configs: HashMap<String, Entity>,
    pub left_out: Vec<LeftOut>,
    /// A document was added.
    pub is_given: bool,
}

impl ApisixConfiguration {
    /// Adds the entities of a document.
    pub fn add(&mut self, document: &ForeignNode, file: &Arc<str>) {
        self.is_given = true;
        self.add_stored(document, file);
        for resource in kubernetes::resources(document) {
            match resource {
                Resource::Route(route) => self.add_entity("routes", None, &route, file),
                Resource::PluginConfig(name, plugins) => {
                    self.add_entity("plugin_configs", Some(name), &plugins, file);
                }
            }
        }
        let lists = ["routes", "services", "plugin_configs", "global_rules", "consumers", "consumer_groups"];
        for kind in lists {
            let Some(node) = document.get(kind) else { continue };
            for item in node.items() {
                self.add_entity(kind, None, item, file);
            }
            if kind == "global_rules" && node.is_table() {
                // ADC has a table of plugins
                let rules = ForeignNode::table(vec![("plugins".to_owned(), node.clone())]);
                self.add_entity(kind, None, &rules, file);
            }
        }
        for kind in ["ssls", "upstreams", "stream_routes", "secrets", "protos"] {
            let count = document.get(kind).map_or(0, |node| node.items().len());
            if count > 0 {
                let text = "not used by routes with `aws-lambda`".to_owned();
                self.leave_out(format!("{kind} ({count})"), text, None);
            }
        }
    }

    /// Adds what the Admin API returns: an entity, a list of version 3, nodes of version 2, or the body of a
    /// PUT.
    fn add_stored(&mut self, document: &ForeignNode, file: &Arc<str>) {
        let stored = |node: &ForeignNode| {
            let key = node.get("key").and_then(ForeignNode::scalar);
            let mut parts = key.as_deref().unwrap_or_default().rsplitn(3, '/');
            let (id, kind) = (parts.next().map(str::to_owned), parts.next().map(str::to_owned));
            (kind, id)
        };
        let mut items: Vec<&ForeignNode> = Vec::new();
        items.extend(document.get("list").map_or(&[][..], ForeignNode::items));
        let total = document.get("total").and_then(ForeignNode::number).filter(|_| !items.is_empty());
        #[expect(clippy::cast_precision_loss, reason = "a list of at most half a million")]
        if total.is_some_and(|total| total > items.len() as f64) {
            let text = "the list goes on: dump every page".to_owned();
            self.leave_out("further pages".to_owned(), text, Some(place(file, document)));
        }
        if let Some(node) = document.get("node") {
            items.extend(node.get("nodes").map_or(&[][..], ForeignNode::items));
            items.push(node);
        }
        items.push(document);
        for item in items {
            if let Some(value) = item.get("value").filter(|value| value.is_table()) {
                let (kind, id) = stored(item);
                self.add_entity(&kind.unwrap_or_default(), id, value, file);
            }
        }
        let is_bare =
            ["routes", "services", "list", "node", "value"].iter().all(|key| document.get(key).is_none());
        if is_bare && (document.get("uri").is_some() || document.get("uris").is_some()) {
            self.add_entity("routes", None, document, file);
        } else if is_bare && document.get("plugins").is_some_and(ForeignNode::is_table) {
            self.add_entity("", None, document, file);
        }
    }

    fn add_entity(&mut self, kind: &str, id: Option<String>, node: &ForeignNode, file: &Arc<str>) {
        let mut entity = Entity { node: node.clone(), file: Arc::clone(file) };
        let ids: Vec<String> = [entity.text("id"), id].into_iter().flatten().collect();
        let is_route = node.get("uri").is_some() || node.get("uris").is_some();
        match kind {
            "services" => {
                for route in node.get("routes").map_or(&[][..], ForeignNode::items) {
                    let entity_of_route = Entity { node: route.clone(), file: Arc::clone(file) };
                    self.routes.push(Route { entity: entity_of_route, service: Some(entity.clone()) });
                }
                self.services.extend(ids.into_iter().map(|id| (id, entity.clone())));
            }
            "plugin_configs" => {
                self.plugin_configs.extend(ids.into_iter().map(|id| (id, entity.clone())));
            }
            "global_rules" => self.add_global(&entity),
            "consumers" | "consumer_groups" => {
                let name = entity.text("username").or_else(|| entity.text("id")).unwrap_or_default();
                let text = "no consumers here: every client has the same routes".to_owned();
                let place = Some(place(file, node));
                self.leave_out(format!("{} `{}`", kind.trim_end_matches('s'), shown(&name)), text, place);
            }
            _ if is_route => {
                if let (None, Some(id)) = (entity.node.get("id"), ids.into_iter().next()) {
                    let mut entries = entity.node.entries().to_vec();
                    entries.push(("id".to_owned(), ForeignNode::of_text(id)));
                    entity.node = ForeignNode { line: node.line, ..ForeignNode::table(entries) };
                }
                self.routes.push(Route { entity, service: None });
            }
            _ => {
                let name = if kind.is_empty() { "an entity without `uri`".to_owned() } else { shown(kind) };
                self.leave_out(
                    name,
                    "neither route, service nor plugin_config".to_owned(),
                    Some(place(file, node)),
                );
            }
        }
    }

    fn add_global(&mut self, rule: &Entity) {
        for (name, _) in rule.node.get("plugins").map_or(&[][..], ForeignNode::entries) {
            let text = if name == PLUGIN {
                "in a global rule it answers every request: write a route `/*` by hand".to_owned()
            } else {
                instead(name)
            };
            let place = Some(place(&rule.file, &rule.node));
            self.leave_out(format!("plugin `{}` of a global rule", shown(name)), text, place);
        }
    }

    fn leave_out(&mut self, name: String, text: String, place: Option<crate::settings::Place>) {
        self.left_out.push(LeftOut { peer: Peer::Apisix, name, text, place });
    }

    /// The service of a route.
    pub fn service<'a>(&'a self, route: &'a Route) -> Option<&'a Entity> {
        route.service.as_ref().or_else(|| self.services.get(&route.entity.text("service_id")?))
    }

    /// The plugin configuration of a route.
    pub fn plugin_config(&self, route: &Route) -> Option<&Entity> {
        self.plugin_configs.get(&route.entity.text("plugin_config_id")?)
    }

    /// Translates every route with the plugin, and names everything else.
    pub fn translate(mut self, translation: &mut Translation) {
        translation.left_out.append(&mut self.left_out);
        super::route::translate_all(&self, translation);
    }
}

pub fn instead(plugin: &str) -> String {
    differences::instead_of_plugin(plugin).unwrap_or_else(|| "no plugins here".to_owned())
}
