//! Envoy's filters `aws_lambda` and `aws_request_signing` with their routes, from `static_resources`.

mod filters;
mod lambda;
mod matching;
mod route;
mod signing;

use std::{collections::HashMap, sync::Arc};

use self::filters::FilterChain;
use super::{
    route::{LeftOut, Translation},
    values::{place, shown},
};
use crate::settings::foreign::{ForeignNode, Peer};

/// The filter of connections that has routes.
const CONNECTION_MANAGER: &str = "http_connection_manager";

/// The sentence about resources from elsewhere.
const STATIC_ALONE: &str = "routes are read from `static_resources`";

/// A cluster and the filters in its options.
pub struct Cluster {
    pub node: ForeignNode,
    pub filters: FilterChain,
}

/// The configuration of all documents.
#[derive(Default)]
pub struct EnvoyConfiguration {
    managers: Vec<(ForeignNode, Arc<str>)>,
    clusters: HashMap<String, Cluster>,
    left_out: Vec<LeftOut>,
}

/// The value of a key, in the spelling of YAML (`typed_config`) or of JSON (`typedConfig`).
pub fn get<'n>(node: &'n ForeignNode, key: &str) -> Option<&'n ForeignNode> {
    node.get(key).or_else(|| {
        let mut words = key.split('_');
        let first = words.next()?.to_owned();
        let capital = |word: &str| word[..1].to_ascii_uppercase() + &word[1..];
        let camel = words.filter(|word| !word.is_empty()).fold(first, |name, word| name + &capital(word));
        node.get(&camel)
    })
}

/// The value at a path of keys, in either spelling.
pub fn at<'n>(node: &'n ForeignNode, path: &[&str]) -> Option<&'n ForeignNode> {
    path.iter().try_fold(node, |node, key| get(node, key))
}

fn is_manager(config: &ForeignNode) -> bool {
    config.get("@type").and_then(ForeignNode::text).is_some_and(|kind| kind.contains(CONNECTION_MANAGER))
}

impl EnvoyConfiguration {
    /// Adds the listeners and clusters of a document.
    pub fn add(&mut self, document: &ForeignNode, file: &Arc<str>) {
        // of `/config_dump`
        let configs = document.get("configs").map_or(&[][..], ForeignNode::items);
        for bootstrap in configs.iter().filter_map(|config| config.get("bootstrap")) {
            self.add(bootstrap, file);
        }
        for config in configs {
            let parts = ["dynamic_listeners", "dynamic_active_clusters", "dynamic_route_configs"];
            for (part, node) in parts.iter().filter_map(|part| Some((part, get(config, part)?))) {
                self.leave_out((*part).to_owned(), STATIC_ALONE.to_owned(), node, file);
            }
        }
        let empty = ForeignNode::table(Vec::new());
        let resources = get(document, "static_resources").unwrap_or(document);
        let items = |key: &str| get(resources, key).unwrap_or(&empty).items().to_vec();
        for cluster in items("clusters") {
            let name = cluster.get("name").and_then(ForeignNode::scalar).unwrap_or_default();
            let filters = FilterChain::of_cluster(&cluster);
            self.clusters.insert(name, Cluster { node: cluster, filters });
        }
        for listener in items("listeners") {
            self.add_listener(&listener, file);
        }
        for key in ["dynamic_resources", "http_filters"] {
            if let Some(node) = get(document, key) {
                self.leave_out(key.to_owned(), STATIC_ALONE.to_owned(), node, file);
            }
        }
    }

    fn add_listener(&mut self, listener: &ForeignNode, file: &Arc<str>) {
        let name = listener.get("name").and_then(ForeignNode::scalar).unwrap_or_default();
        let mut chains = get(listener, "filter_chains").map_or(&[][..], ForeignNode::items).to_vec();
        chains.extend(get(listener, "default_filter_chain").cloned());
        for filter in chains.iter().flat_map(|chain| chain.get("filters").map_or(&[][..], ForeignNode::items))
        {
            let own = filter.get("name").and_then(ForeignNode::scalar).unwrap_or_default();
            match get(filter, "typed_config") {
                // the type decides, and names are free
                Some(manager) if own.contains(CONNECTION_MANAGER) || is_manager(manager) => {
                    self.managers.push((manager.clone(), Arc::clone(file)));
                }
                _ => {
                    let name = format!("filter `{}` of listener `{}`", shown(&own), shown(&name));
                    self.leave_out(name, "not about HTTP".to_owned(), filter, file);
                }
            }
        }
    }

    fn leave_out(&mut self, name: String, text: String, node: &ForeignNode, file: &Arc<str>) {
        self.left_out.push(LeftOut { peer: Peer::Envoy, name, text, place: Some(place(file, node)) });
    }

    /// Translates every route that one of the filters applies to, and names everything else.
    pub fn translate(mut self, translation: &mut Translation) {
        for (manager, file) in std::mem::take(&mut self.managers) {
            let filters = FilterChain::of_manager(&manager);
            for name in &filters.others {
                let text = super::differences::instead_of_envoy_filter(name);
                self.leave_out(format!("filter `{}`", shown(name)), text, &manager, &file);
            }
            let Some(routes) = get(&manager, "route_config") else {
                let name = "the routes of a connection manager".to_owned();
                self.leave_out(name, "not in the file (`rds`)".to_owned(), &manager, &file);
                continue;
            };
            route::translate_all(routes, &filters, &self.clusters, &file, translation);
        }
        translation.left_out.append(&mut self.left_out);
    }
}
