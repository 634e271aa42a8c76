//! Routes of APISIX's ingress controller: `ApisixRoute`, and `HTTPRoute` with `PluginConfig`, in the form of
//! the Admin API.

use crate::settings::foreign::ForeignNode;

/// A route, or a plugin configuration with its name.
pub enum Resource {
    Route(ForeignNode),
    PluginConfig(String, ForeignNode),
}

/// The routes and plugin configurations of a resource; none of another kind.
pub fn resources(document: &ForeignNode) -> Vec<Resource> {
    let name = document.at(&["metadata", "name"]).and_then(ForeignNode::scalar).unwrap_or_default();
    let items = |path: &[&str]| document.at(path).map_or(&[][..], ForeignNode::items);
    match document.get("kind").and_then(ForeignNode::text) {
        Some("ApisixRoute") => {
            items(&["spec", "http"]).iter().map(|rule| Resource::Route(of_rule(rule, &name))).collect()
        }
        Some("PluginConfig" | "ApisixPluginConfig") => {
            let plugins =
                ForeignNode::table(vec![("plugins".to_owned(), plugins(document.at(&["spec", "plugins"])))]);
            vec![Resource::PluginConfig(name, plugins)]
        }
        Some("HTTPRoute") => {
            let hosts = document.at(&["spec", "hostnames"]);
            let rules = items(&["spec", "rules"]).iter();
            rules.flat_map(|rule| of_gateway_rule(rule, &name, hosts)).map(Resource::Route).collect()
        }
        _ => Vec::new(),
    }
}

/// A rule of `ApisixRoute`.
fn of_rule(rule: &ForeignNode, name: &str) -> ForeignNode {
    let own = rule.get("name").cloned().unwrap_or_else(|| ForeignNode::of_text(name));
    let mut entries = vec![("name".to_owned(), own)];
    let mut copy = |node: Option<&ForeignNode>, key: &str| {
        entries.extend(node.map(|node| (key.to_owned(), node.clone())));
    };
    for (theirs, key) in [
        ("paths", "uris"),
        ("hosts", "hosts"),
        ("methods", "methods"),
        ("exprs", "vars"),
        ("remoteAddrs", "remote_addrs"),
        ("filter_func", "filter_func"),
    ] {
        copy(rule.at(&["match", theirs]), key);
    }
    copy(rule.get("priority"), "priority");
    copy(rule.get("websocket"), "enable_websocket");
    copy(rule.get("plugin_config_name"), "plugin_config_id");
    entries.push(("plugins".to_owned(), plugins(rule.get("plugins"))));
    ForeignNode { line: rule.line, ..ForeignNode::table(entries) }
}

/// A list of plugins as a table. A reference to a Secret stays in the configuration, where it is reported.
fn plugins(list: Option<&ForeignNode>) -> ForeignNode {
    let items = list.map_or(&[][..], ForeignNode::items).iter();
    let enabled = items.filter(|item| item.get("enable").and_then(ForeignNode::boolean) != Some(false));
    let entries = enabled.filter_map(|item| {
        let mut config = item.get("config").map_or(&[][..], ForeignNode::entries).to_vec();
        config.extend(item.get("secretRef").map(|secret| ("secretRef".to_owned(), secret.clone())));
        let config = ForeignNode { line: item.line, ..ForeignNode::table(config) };
        Some((item.get("name")?.scalar()?, config))
    });
    ForeignNode::table(entries.collect())
}

/// The matches of a rule of the Gateway API, each as a route.
fn of_gateway_rule(rule: &ForeignNode, name: &str, hosts: Option<&ForeignNode>) -> Vec<ForeignNode> {
    let mut filters = rule.get("filters").map_or(&[][..], ForeignNode::items).iter();
    let config = filters.find_map(|filter| filter.at(&["extensionRef", "name"]));
    let matches = rule.get("matches").map_or(&[][..], ForeignNode::items);
    let whole = [ForeignNode::table(Vec::new())];
    let matches = if matches.is_empty() { &whole[..] } else { matches };
    let route = |one: &ForeignNode| {
        let path = one.at(&["path", "value"]).and_then(ForeignNode::scalar).unwrap_or_else(|| "/".to_owned());
        let kind = one.at(&["path", "type"]).and_then(ForeignNode::text).unwrap_or("PathPrefix");
        let uri = if kind == "PathPrefix" { format!("{path}*") } else { path };
        let mut entries = vec![
            ("name".to_owned(), ForeignNode::of_text(name)),
            ("uri".to_owned(), ForeignNode::of_text(uri)),
        ];
        entries.extend(hosts.map(|hosts| ("hosts".to_owned(), hosts.clone())));
        entries.extend(one.get("method").map(|method| ("methods".to_owned(), method.clone())));
        entries.extend(config.map(|config| ("plugin_config_id".to_owned(), config.clone())));
        // conditions without a counterpart
        let is_regex = kind == "RegularExpression";
        let other = one
            .get("headers")
            .or_else(|| one.get("queryParams"))
            .or_else(|| one.get("path").filter(|_| is_regex));
        entries.extend(other.map(|other| ("vars".to_owned(), ForeignNode::list(vec![other.clone()]))));
        ForeignNode { line: rule.line, ..ForeignNode::table(entries) }
    };
    matches.iter().map(route).collect()
}
