//! A route of Envoy with its filter and cluster as an imported route.

use std::{collections::HashMap, sync::Arc};

use super::{
    Cluster, at,
    filters::{FilterChain, Kind},
    get, lambda, matching, signing,
};
use crate::{
    import::{
        differences,
        route::{ImportedRoute, LeftOut, Table, Translation, Value},
        values::{place, shown},
    },
    settings::foreign::{ForeignNode, Peer},
};

/// Envoy's limit for a whole response.
const DEFAULT_TIMEOUT: &str = "15s";

/// The server of a cluster.
#[derive(Debug, Clone)]
pub struct Endpoint {
    pub address: String,
    pub port: u16,
    pub is_tls: bool,
    pub sni: Option<String>,
    /// The route's own rewrite of the host.
    pub host_rewrite: Option<String>,
}

/// Keys of a route's action that are translated or have no meaning here.
const ACTION_KEYS: [&str; 6] = [
    "cluster",
    "weighted_clusters",
    "prefix_rewrite",
    "host_rewrite_literal",
    "auto_host_rewrite",
    "timeout",
];
/// Keys of a route, a virtual host and a list of them that are translated or have no effect on requests.
const KEYS_AROUND: [&str; 14] = [
    "name",
    "match",
    "route",
    "metadata",
    "decorator",
    "tracing",
    "stat_prefix",
    "typed_per_filter_config",
    "domains",
    "routes",
    "virtual_clusters",
    "virtual_hosts",
    "validate_clusters",
    "ignore_port_in_host_matching",
];

/// Translates the routes of a connection manager.
pub fn translate_all(
    config: &ForeignNode,
    filters: &FilterChain,
    clusters: &HashMap<String, Cluster>,
    file: &Arc<str>,
    translation: &mut Translation,
) {
    for virtual_host in get(config, "virtual_hosts").map_or(&[][..], ForeignNode::items) {
        let host_name = virtual_host.get("name").and_then(ForeignNode::scalar).unwrap_or_default();
        for (at, route) in virtual_host.get("routes").map_or(&[][..], ForeignNode::items).iter().enumerate() {
            let own = route.get("name").and_then(ForeignNode::scalar);
            let name = own.clone().unwrap_or_else(|| format!("{host_name}-{}", at + 1));
            let title = match own {
                Some(own) => format!("route `{}` of virtual host `{}`", shown(&own), shown(&host_name)),
                None => format!("route {} of virtual host `{}`", at + 1, shown(&host_name)),
            };
            let place = place(file, route);
            let around = Surroundings { route, virtual_host, config, filters, clusters, file };
            let mut imported = ImportedRoute::new(Peer::Envoy, name, title, place);
            if around.translate(&mut imported) {
                translation.routes.push(imported);
            } else {
                translation.left_out.push(LeftOut {
                    peer: Peer::Envoy,
                    name: imported.title,
                    text: "neither `aws_lambda` nor `aws_request_signing` applies to it".to_owned(),
                    place: Some(imported.place),
                });
            }
        }
    }
}

/// A route and everything around it.
struct Surroundings<'e> {
    route: &'e ForeignNode,
    virtual_host: &'e ForeignNode,
    config: &'e ForeignNode,
    filters: &'e FilterChain,
    clusters: &'e HashMap<String, Cluster>,
    file: &'e Arc<str>,
}

impl Surroundings<'_> {
    /// Translates the route; false if none of the filters applies to it.
    fn translate(&self, imported: &mut ImportedRoute) -> bool {
        let Some(action) = self.route.get("route") else { return false };
        let weighted = at(action, &["weighted_clusters", "clusters"]).map_or(&[][..], ForeignNode::items);
        let name =
            action.get("cluster").or_else(|| weighted.first()?.get("name")).and_then(ForeignNode::scalar);
        let cluster = name.as_ref().and_then(|name| self.clusters.get(name));
        let mut overriding: Vec<&ForeignNode> = weighted.first().into_iter().collect();
        overriding.extend([self.route, self.virtual_host, self.config]);
        let of_cluster = |kind| cluster.and_then(|cluster| cluster.filters.configuration(kind, &[]));
        let find = |kind| self.filters.configuration(kind, &overriding).or_else(|| of_cluster(kind));
        // with both, the filter of the function signs
        let (lambda, signing) = (find(Kind::Lambda), find(Kind::Signing));
        if lambda.is_none() && signing.is_none() {
            return false;
        }
        if weighted.len() > 1 {
            imported.problem("`weighted_clusters`: a route here has one backend");
        }
        let Some(cluster) = cluster else {
            imported
                .problem(format!("the cluster `{}` is not in the file", shown(&name.unwrap_or_default())));
            return true;
        };
        let Some(endpoint) = endpoint(&cluster.node, action, imported) else { return true };
        let path = self.push_matches(action, imported);
        self.leave_out(action, imported);
        let (section, mut keys) = match (lambda, signing) {
            (Some(config), _) => {
                if at(&cluster.node, &["metadata", "filter_metadata", "com.amazonaws.lambda"]).is_none() {
                    let text =
                        "without the metadata `com.amazonaws.lambda` of the cluster Envoy skips the filter";
                    imported.attention("cluster", text);
                }
                ("lambda", lambda::translate(&config, &endpoint, self.file, imported))
            }
            (None, Some(config)) => {
                ("api_gateway", signing::translate(&config, &endpoint, &path, self.file, imported))
            }
            (None, None) => return false,
        };
        timeouts(action, &mut keys, imported);
        imported.keys.push(section, Value::Table(keys));
        true
    }

    /// Writes the keys that decide which requests the route takes; returns the path that is sent before the
    /// rest.
    fn push_matches(&self, action: &ForeignNode, imported: &mut ImportedRoute) -> String {
        let empty = ForeignNode::table(Vec::new());
        let matches = self.route.get("match").unwrap_or(&empty);
        let uris = matching::uris(matches, imported);
        match &uris[..] {
            [] => {}
            [uri] => imported.keys.push("uri", uri.as_str()),
            _ => imported.keys.push("uris", Value::texts(uris.clone())),
        }
        let hosts = matching::hosts(self.virtual_host, imported);
        if !hosts.is_empty() {
            imported.keys.push("hosts", Value::texts(hosts));
        }
        let methods = matching::methods(matches, imported);
        if !methods.is_empty() {
            imported.keys.push("methods", Value::texts(methods));
        }
        let own = uris.first().map(|uri| uri.trim_end_matches('*').to_owned()).unwrap_or_default();
        match get(action, "prefix_rewrite").and_then(ForeignNode::scalar) {
            Some(rewrite) => {
                if rewrite == "/" {
                    String::new()
                } else {
                    rewrite
                }
            }
            None if own == "/" => String::new(),
            None => own,
        }
    }

    /// Names the parts of the route without a translation.
    fn leave_out(&self, action: &ForeignNode, imported: &mut ImportedRoute) {
        for key in ["regex_rewrite", "path_rewrite_policy", "cluster_header"] {
            if get(action, key).is_some() {
                imported.problem(format!("`{key}` has no counterpart"));
            }
        }
        let action = signing::in_snake_case(action);
        for (key, _) in action.entries() {
            let is_known = ACTION_KEYS.contains(&&**key);
            if !is_known && !["regex_rewrite", "path_rewrite_policy", "cluster_header"].contains(&&**key) {
                let text = if key == "retry_policy" { "see `retry`" } else { "no counterpart is written" };
                imported.left_out(format!("route.{}", shown(key)), text);
            }
        }
        for node in [self.route, self.virtual_host, self.config] {
            let node = signing::in_snake_case(node);
            for (key, _) in node.entries().iter().filter(|(key, _)| !KEYS_AROUND.contains(&&**key)) {
                let text = match &**key {
                    key if key.contains("headers_to_") => "see `headers` of a route",
                    "retry_policy" => "see `retry`",
                    "require_tls" => "the listener decides, see `listen.https`; there is no redirect",
                    _ => "no counterpart is written",
                };
                imported.left_out(shown(key), text);
            }
        }
        let others = FilterChain::others_of_route(self.route);
        for name in others.into_iter().chain(FilterChain::others_of_route(self.virtual_host)) {
            let text = differences::instead_of_envoy_filter(name);
            imported.left_out(format!("filter `{}`", shown(name)), text);
        }
    }
}

/// The server of a cluster; one with several is reported.
fn endpoint(cluster: &ForeignNode, action: &ForeignNode, imported: &mut ImportedRoute) -> Option<Endpoint> {
    let localities = at(cluster, &["load_assignment", "endpoints"]).map_or(&[][..], ForeignNode::items);
    let addresses: Vec<&ForeignNode> = localities
        .iter()
        .flat_map(|locality| get(locality, "lb_endpoints").map_or(&[][..], ForeignNode::items))
        .filter_map(|endpoint| at(endpoint, &["endpoint", "address", "socket_address"]))
        .collect();
    let Some(first) = addresses.first() else {
        imported.problem("its cluster has no address in `load_assignment`");
        return None;
    };
    if addresses.len() > 1 {
        imported.changed("load_assignment", "the first address alone; its name may resolve to several");
    }
    let address = first.get("address").and_then(ForeignNode::scalar).unwrap_or_default();
    let port = get(first, "port_value").and_then(ForeignNode::scalar).and_then(|port| port.parse().ok());
    let socket = get(cluster, "transport_socket").filter(|socket| !is_plain(socket));
    let context = socket.and_then(|socket| get(socket, "typed_config"));
    let ca =
        context.and_then(|context| at(context, &["common_tls_context", "validation_context", "trusted_ca"]));
    if let Some(ca) = ca.and_then(|ca| ca.get("filename")).and_then(ForeignNode::scalar)
        && !ca.starts_with("/etc/ssl/")
        && !ca.starts_with("/etc/pki/")
    {
        let text = format!("`ca_certificate: {}` if it is not of a public authority", shown(&ca));
        imported.attention("trusted_ca", text);
    }
    Some(Endpoint {
        address,
        port: port.unwrap_or(443),
        is_tls: socket.is_some(),
        sni: context.and_then(|context| context.get("sni")).and_then(ForeignNode::scalar),
        host_rewrite: get(action, "host_rewrite_literal").and_then(ForeignNode::scalar),
    })
}

/// True for a transport socket without TLS.
fn is_plain(socket: &ForeignNode) -> bool {
    let kind = get(socket, "typed_config").and_then(|config| config.get("@type")?.text());
    let name = socket.get("name").and_then(ForeignNode::text);
    kind.or(name).is_some_and(|text| text.contains("raw_buffer"))
}

/// The limits of time: Envoy's for the whole response, and as much for each step.
fn timeouts(action: &ForeignNode, keys: &mut Table, imported: &mut ImportedRoute) {
    let written = action.get("timeout").and_then(ForeignNode::scalar);
    let text = written.as_deref().unwrap_or(DEFAULT_TIMEOUT).trim();
    let seconds = text.strip_suffix('s').and_then(|seconds| seconds.parse::<f64>().ok());
    let Some(seconds) = seconds.filter(|seconds| (0.0..=86_400.0).contains(seconds)) else {
        imported.problem(format!("`timeout: {}` is no duration of at most a day", shown(text)));
        return;
    };
    if seconds == 0.0 {
        keys.push_with("timeout", "1day", "`timeout: 0s`: no limit");
        return;
    }
    #[expect(clippy::cast_possible_truncation, reason = "at most a day in milliseconds")]
    let milliseconds = ((seconds * 1000.0).round() as i64).max(100);
    keys.push("timeout", milliseconds);
    keys.push("request_timeout", milliseconds);
}
