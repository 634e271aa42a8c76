//! The program of a configuration file.

use std::fmt;

use super::tree::{ForeignNode, ForeignValue, parse};

/// A program whose configuration can be imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Peer {
    Apisix,
    Kong,
    Sigv4Proxy,
    Envoy,
}

impl Peer {
    pub const ALL: [Self; 4] = [Self::Apisix, Self::Kong, Self::Sigv4Proxy, Self::Envoy];

    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Apisix => "APISIX",
            Self::Kong => "Kong",
            Self::Sigv4Proxy => "aws-sigv4-proxy",
            Self::Envoy => "Envoy",
        }
    }

    /// The kind of its files, with an article.
    pub fn file(self) -> &'static str {
        match self {
            Self::Apisix => "an APISIX configuration",
            Self::Kong => "a Kong declarative file",
            Self::Sigv4Proxy => "a deployment of aws-sigv4-proxy",
            Self::Envoy => "an Envoy configuration",
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The program of a text that is no valid settings file.
pub fn recognise_text(text: &str) -> Option<Peer> {
    match parse(text) {
        Ok(documents) => documents.iter().find_map(recognise),
        Err(_) => None,
    }
}

/// The program of a document; `None` for one that none of them has.
pub fn recognise(document: &ForeignNode) -> Option<Peer> {
    let is_envoy =
        ["static_resources", "staticResources", "http_filters"].iter().any(|key| document.get(key).is_some());
    if is_envoy || is_envoy_dump(document) {
        return Some(Peer::Envoy);
    }
    if is_container(document) {
        return Some(Peer::Sigv4Proxy);
    }
    if is_kong(document) {
        return Some(Peer::Kong);
    }
    (is_of_ingress_controller(document) || is_apisix(document)).then_some(Peer::Apisix)
}

/// True for the answer of Envoy's admin interface to `/config_dump`.
fn is_envoy_dump(document: &ForeignNode) -> bool {
    let configs = document.get("configs").map_or(&[][..], ForeignNode::items).iter();
    let mut kinds = configs.filter_map(|config| config.get("@type")?.text());
    kinds.any(|kind| kind.contains("envoy.admin."))
}

/// True for a resource of APISIX's ingress controller, or an `HTTPRoute` that refers to one.
fn is_of_ingress_controller(document: &ForeignNode) -> bool {
    let is_apisixs = |node: Option<&ForeignNode>| {
        node.and_then(ForeignNode::text).is_some_and(|group| group.starts_with("apisix.apache.org"))
    };
    let rules = document.at(&["spec", "rules"]).map_or(&[][..], ForeignNode::items).iter();
    let mut filters = rules.flat_map(|rule| rule.get("filters").map_or(&[][..], ForeignNode::items));
    is_apisixs(document.get("apiVersion"))
        || (document.get("kind").and_then(ForeignNode::text) == Some("HTTPRoute")
            && filters.any(|filter| is_apisixs(filter.at(&["extensionRef", "group"]))))
}

/// True for a workload of Kubernetes, a file of Docker Compose or a task definition that runs the proxy.
fn is_container(document: &ForeignNode) -> bool {
    let is_workload = document.get("kind").is_some() && document.get("apiVersion").is_some();
    let is_compose = document.get("services").is_some_and(ForeignNode::is_table);
    let is_task = document.get("containerDefinitions").is_some();
    (is_workload || is_compose || is_task) && mentions_proxy(document)
}

fn mentions_proxy(node: &ForeignNode) -> bool {
    match &node.value {
        ForeignValue::Text(text) => text.contains("sigv4-proxy"),
        ForeignValue::List(items) => items.iter().any(mentions_proxy),
        ForeignValue::Table(entries) => {
            let is_injected = |key: &str| key.starts_with("sidecar.aws.signing-proxy/");
            entries.iter().any(|(key, node)| is_injected(key) || mentions_proxy(node))
        }
        _ => false,
    }
}

fn is_kong(document: &ForeignNode) -> bool {
    let has_entities = ["services", "routes", "plugins", "apis", "data"].iter().any(|key| {
        let items = document.get(key).map_or(&[][..], ForeignNode::items);
        items.iter().any(|item| is_kong_entity(key, item))
    });
    document.get("_format_version").is_some()
        || document.get("apis").is_some_and(ForeignNode::is_list)
        || has_entities
        || is_empty_list(document, "data")
        || is_kong_entity("data", document)
}

/// True for the dump of a list without entities.
fn is_empty_list(document: &ForeignNode, key: &str) -> bool {
    document.get(key).is_some_and(|list| list.is_list() && list.items().is_empty())
}

/// True for an item of a list that Kong has and APISIX has not in this form.
fn is_kong_entity(list: &str, item: &ForeignNode) -> bool {
    let has = |key: &str| item.get(key).is_some();
    let is_plugin = has("name") && (has("config") || has("service") || has("route"));
    match list {
        "apis" => has("upstream_url"),
        "plugins" => is_plugin,
        "routes" => is_kong_route(item),
        "services" => {
            has("url")
                || (has("host") && has("port") && has("protocol"))
                || item.get("plugins").is_some_and(ForeignNode::is_list)
                || item.get("routes").is_some_and(|routes| routes.items().iter().any(is_kong_route))
        }
        _ => {
            has("upstream_url")
                || is_kong_route(item)
                || (has("name") && has("config"))
                || (has("host") && has("port") && has("protocol"))
        }
    }
}

fn is_kong_route(item: &ForeignNode) -> bool {
    let has = |key: &str| item.get(key).is_some();
    has("paths")
        || has("strip_path")
        || has("expression")
        || has("protocols")
        || item.get("plugins").is_some_and(ForeignNode::is_list)
}

fn is_apisix(document: &ForeignNode) -> bool {
    let list = |key: &str| document.get(key).map_or(&[][..], ForeignNode::items);
    let in_list =
        |key: &str| list(key).iter().any(|item| is_apisix_entity(item.get("value").unwrap_or(item)));
    let is_stored =
        document.get("key").and_then(ForeignNode::text).is_some_and(|key| key.contains("/apisix/"));
    ["routes", "services", "plugin_configs", "list"].iter().any(|key| in_list(key))
        || list("services").iter().any(|service| {
            service.get("routes").is_some_and(|routes| routes.items().iter().any(is_apisix_entity))
        })
        || is_stored
        || is_empty_list(document, "list")
        || document.get("node").is_some_and(|node| node.get("value").is_some() || node.get("nodes").is_some())
        || is_apisix_entity(document)
}

fn is_apisix_entity(item: &ForeignNode) -> bool {
    let has = |key: &str| item.get(key).is_some();
    let has_path = has("uri") || has("uris");
    let has_plugins = item.get("plugins").is_some_and(ForeignNode::is_table);
    has_plugins
        || (has_path
            && (has("upstream") || has("upstream_id") || has("service_id") || has("plugin_config_id")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peers_files_are_told_apart_and_ours_is_none_of_them() {
        for (text, peer) in [
            ("_format_version: '3.0'\n", Some(Peer::Kong)),
            (
                "routes: [{ name: a, paths: [/a] }]\nplugins: [{ route: a, name: aws-lambda }]\n",
                Some(Peer::Kong),
            ),
            ("services: [{ name: s, url: http://a, plugins: [{ name: aws-lambda }] }]\n", Some(Peer::Kong)),
            (r#"{"data": [{"name": "aws-lambda", "config": {}, "route": {"id": "1"}}]}"#, Some(Peer::Kong)),
            (r#"{"apis": [{"name": "a", "upstream_url": "aws-lambda://r/f"}]}"#, Some(Peer::Kong)),
            ("routes:\n- uri: /a\n  plugins: { aws-lambda: {} }\n#END\n", Some(Peer::Apisix)),
            (
                "services: [{ name: s, routes: [{ uris: [/a], plugins: { cors: {} } }] }]\n",
                Some(Peer::Apisix),
            ),
            (r#"{"uri": "/a", "plugins": {"aws-lambda": {},},}"#, Some(Peer::Apisix)),
            (r#"{"key": "/apisix/routes/1", "value": {"uri": "/a"}}"#, Some(Peer::Apisix)),
            (r#"{"data": [], "next": null}"#, Some(Peer::Kong)),
            (r#"{"total": 0, "list": []}"#, Some(Peer::Apisix)),
            ("static_resources: { listeners: [] }\n", Some(Peer::Envoy)),
            (r#"{"staticResources": {}}"#, Some(Peer::Envoy)),
            (
                r#"{"configs": [{"@type": "type.googleapis.com/envoy.admin.v3.BootstrapConfigDump"}]}"#,
                Some(Peer::Envoy),
            ),
            (r#"{"configs": [{"@type": "other"}]}"#, None),
            (
                "apiVersion: v1\nkind: Pod\nspec: { containers: [{ image: x/aws-sigv4-proxy:1 }] }\n",
                Some(Peer::Sigv4Proxy),
            ),
            ("services: { p: { image: aws-sigv4-proxy } }\n", Some(Peer::Sigv4Proxy)),
            ("apiVersion: v1\nkind: Pod\nspec: { containers: [{ image: nginx }] }\n", None),
            ("uri: /a\napi_gateway: { function_uri: https://a }\n", None),
            ("listen: { http: 127.0.0.1:1 }\n", None),
            ("not: [\n", None),
        ] {
            assert_eq!(recognise_text(text), peer, "{text}");
        }
    }
}
