//! The changes that `dev` makes to the user's own settings before they are checked: targets lead to the
//! stand-in, and what exists in production alone is replaced. Each change is one warning with its file and
//! line.

use std::{fmt, net::SocketAddr, path::Path};

use super::{
    loader::TreeChanges,
    schema,
    source::{
        declaration::Kind,
        mistake::{Mistake, Mistakes},
        reference,
        tree::{Content, DEFAULTS, Environment, Node, ROUTES, key_in_file},
    },
};
use crate::text::uri_syntax;

/// Takes the place of a text that a reference should have given.
const PLACEHOLDER: &str = "stand-in";
const PLACEHOLDER_URI: &str = "https://stand-in.execute-api.us-east-1.amazonaws.com/";
const PLACEHOLDER_REGION: &str = "us-east-1";

/// Keys of a backend's connections that lead elsewhere, or need files of production.
const CONNECTION_KEYS: [&str; 6] =
    ["proxy_url", "connect", "client_certificate", "client_key", "ca_certificate", "ssl_verify"];
/// The keys of a source of credentials, without a section's own names of key and secret.
const SOURCE_KEYS: [&str; 9] = [
    "session_token",
    "profile",
    "roles_anywhere",
    "assume_role_arn",
    "role_session_name",
    "external_id",
    "role_duration",
    "sts_endpoint_url",
    "imds_protocol_version",
];
const IAM_KEYS: [&str; 3] = ["accesskey", "secretkey", "secret_key"];
const LAMBDA_KEYS: [&str; 4] = ["aws_key", "aws_secret", "aws_access_key", "aws_secret_key"];

/// The addresses and keys that take the place of production's.
#[derive(Clone)]
pub struct LocalTargets {
    pub stand_in: SocketAddr,
    pub api_key: String,
    pub access_key_id: String,
    pub secret_access_key: String,
    /// The address of `listen.http` instead of the settings'.
    pub listen: Option<SocketAddr>,
    /// The address of the admin port instead of the settings'.
    pub admin: Option<SocketAddr>,
}

impl fmt::Debug for LocalTargets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalTargets").field("stand_in", &self.stand_in).finish_non_exhaustive()
    }
}

/// `reload.interval`, unless the settings have one: a developer tries an edit at once.
const RELOAD_INTERVAL: &str = "1s";
/// Variables that lead to a collector.
const EXPORTER_PREFIX: &str = "OTEL_EXPORTER_";

/// The environment of the settings without proxies and exporters, and with a region.
pub fn local_environment(mut environment: Environment) -> Environment {
    environment.retain(|name, _| {
        !super::PROXY_VARIABLES.contains(&name.as_str()) && !name.starts_with(EXPORTER_PREFIX)
    });
    environment.entry("AWS_REGION".to_owned()).or_insert_with(|| PLACEHOLDER_REGION.to_owned());
    environment
}

/// A table of the settings that is being changed, with the warnings about it.
struct Edit<'a> {
    node: &'a mut Node,
    path: Vec<String>,
    mistakes: &'a mut Mistakes,
}

impl Edit<'_> {
    fn at(&mut self, key: &str) -> Option<Edit<'_>> {
        let Content::Table(table) = &mut self.node.content else { return None };
        let node = table.get_mut(key)?;
        let path = self.path.iter().cloned().chain([key.to_owned()]).collect();
        Some(Edit { node, path, mistakes: self.mistakes })
    }

    /// The table of this key, a new one if there is none.
    fn table(&mut self, key: &str) -> Option<Edit<'_>> {
        if !self.has(key) {
            self.set(key, Content::Table([].into()));
        }
        self.at(key)
    }

    fn has(&self, key: &str) -> bool {
        self.node.child(key).is_some()
    }

    fn text(&self, key: &str) -> Option<&str> {
        match &self.node.child(key)?.content {
            Content::Text(text) => Some(text),
            _ => None,
        }
    }

    fn is(&self, key: &str, value: bool) -> bool {
        match self.node.child(key).map(|node| &node.content) {
            Some(Content::Boolean(own)) => *own == value,
            Some(Content::Text(text)) => *text == value.to_string(),
            _ => false,
        }
    }

    /// Removes a key; true if it was there.
    fn remove(&mut self, key: &str) -> bool {
        self.node.remove(&[key.to_owned()]).is_some()
    }

    /// Removes a key, and warns about it unless its value is null or zero.
    fn remove_with(&mut self, key: &str, why: &str) {
        let Some(node) = self.node.child(key) else { return };
        let is_nothing = match &node.content {
            Content::Null | Content::Integer(0) => true,
            Content::Text(text) => text == "0" || text == "0s",
            _ => false,
        };
        if !is_nothing {
            self.warn(key, why);
        }
        self.remove(key);
    }

    fn set(&mut self, key: &str, content: Content) {
        let node = Node { content, ..Node::empty() };
        let node = Node { place: self.node.place.clone(), ..node };
        if let Content::Null = self.node.content {
            self.node.content = Content::Table([].into());
        }
        if let Content::Table(table) = &mut self.node.content {
            table.insert(key.to_owned(), node);
        }
    }

    fn set_text(&mut self, key: &str, text: impl Into<String>) {
        self.set(key, Content::Text(text.into()));
    }

    /// Warns about a key below the table, or about the table itself.
    fn warn(&mut self, key: &str, why: &str) {
        let node = self.node.child(key);
        let mut path = self.path.clone();
        path.extend(node.map(|_| key.to_owned()));
        let place = node.map_or(&self.node.place, |node| &node.place).clone();
        self.mistakes.warn(Mistake::new(place, key_in_file(&path), format!("{why} (dev)")));
    }
}

impl TreeChanges for LocalTargets {
    fn process(&self, tree: &mut Node, environment: &Environment, mistakes: &mut Mistakes) {
        let mut root = Edit { node: tree, path: Vec::new(), mistakes };
        for (section, key, address) in [("listen", "http", self.listen), ("admin", "address", self.admin)] {
            if let Some(address) = address
                && let Some(mut section) = root.table(section)
            {
                section.set_text(key, address.to_string());
            }
        }
        if let Some(mut admin) = root.table("admin")
            && !admin.has("inspect")
        {
            admin.set("inspect", Content::Table([].into()));
        }
        if let Some(mut reload) = root.table("reload")
            && !reload.has("interval")
        {
            reload.set_text("interval", RELOAD_INTERVAL);
        }
        if let Some(mut listen) = root.at("listen") {
            without_missing_files(&mut listen);
        }
        if let Some(mut tracing) = root.at("tracing")
            && tracing.at("otlp").is_some_and(|otlp| !otlp.text("endpoint").is_some_and(leads_to_loopback))
        {
            tracing.remove_with("otlp", "no spans are exported");
        }
        if let Some(mut shutdown) = root.at("shutdown") {
            shutdown.remove_with("delay", "the process ends without a delay");
        }
        if let Some(mut log) = root.at("log")
            && log.text("level").is_some_and(|level| ["off", "error", "warn"].contains(&level))
        {
            log.remove_with("level", "the level is info");
        }
        if let Some(mut defaults) = root.at(DEFAULTS) {
            self.strip(&mut defaults);
        }
        dangling(tree, &mut Vec::new(), environment, mistakes);
    }

    fn route(&self, tree: &mut Node, stem: &str, environment: &Environment, mistakes: &mut Mistakes) {
        let mut root = Edit { node: tree, path: Vec::new(), mistakes };
        if let Some(mut routes) = root.at(ROUTES)
            && let Some(mut route) = routes.at(stem)
        {
            self.strip(&mut route);
        }
        dangling(tree, &mut Vec::new(), environment, mistakes);
    }

    fn lead(&self, tree: &mut Node, stem: &str, mistakes: &mut Mistakes) {
        let mut root = Edit { node: tree, path: Vec::new(), mistakes };
        let Some(mut routes) = root.at(ROUTES) else { return };
        let Some(mut route) = routes.at(stem) else { return };
        if let Some(mut gateway) = route.at("api_gateway") {
            if let Some(uri) = gateway.text("function_uri").map(plain) {
                gateway.set_text("function_uri", uri);
            }
            self.connect(&mut gateway);
        }
        if let Some(mut lambda) = route.at("lambda") {
            // `Host` has no default port
            let is_default = match lambda.node.child("port").map(|node| &node.content) {
                Some(Content::Integer(port)) => *port == 443,
                Some(Content::Text(port)) => port == "443",
                _ => false,
            };
            if is_default && !lambda.is("disable_https", true) {
                lambda.remove("port");
            }
            lambda.set("disable_https", Content::Boolean(true));
            let takes_callers_keys =
                lambda.has("client_credentials") && !lambda.is("client_credentials_required", false);
            if !lambda.is("sign", false) && !takes_callers_keys {
                lambda.set_text("aws_key", &*self.access_key_id);
                lambda.set_text("aws_secret", &*self.secret_access_key);
            }
            self.connect(&mut lambda);
        }
    }
}

impl LocalTargets {
    fn connect(&self, section: &mut Edit<'_>) {
        section.set("connect", Content::Table([].into()));
        if let Some(mut connect) = section.at("connect") {
            connect.set_text("address", self.stand_in.to_string());
        }
    }

    /// Removes credentials and connections from the backends of a route or of `defaults`.
    fn strip(&self, parent: &mut Edit<'_>) {
        for backend in ["api_gateway", "lambda"] {
            let Some(mut section) = parent.at(backend) else { continue };
            for key in CONNECTION_KEYS {
                section.remove_with(key, "not used: the stand-in is called directly, without TLS");
            }
        }
        if let Some(mut gateway) = parent.at("api_gateway")
            && let Some(mut authorization) = gateway.at("authorization")
        {
            if authorization.has("apikey") {
                authorization.warn("apikey", "replaced by the stand-in's API key");
                authorization.set_text("apikey", &*self.api_key);
            }
            if let Some(mut iam) = authorization.at("iam") {
                self.replace_iam(&mut iam);
            }
        }
        if let Some(mut lambda) = parent.at("lambda") {
            let sources = SOURCE_KEYS.map(|key| format!("aws_{key}"));
            let keys = LAMBDA_KEYS.iter().copied().chain(sources.iter().map(String::as_str));
            replace_keys(&mut lambda, keys);
        }
    }

    fn replace_iam(&self, iam: &mut Edit<'_>) {
        replace_keys(iam, IAM_KEYS.into_iter().chain(SOURCE_KEYS));
        if !iam.has("client_credentials") || iam.is("client_credentials_required", false) {
            iam.set_text("accesskey", &*self.access_key_id);
            iam.set_text("secretkey", &*self.secret_access_key);
        }
    }
}

/// Removes the keys of a section's credentials, with one warning.
fn replace_keys<'k>(section: &mut Edit<'_>, keys: impl Iterator<Item = &'k str>) {
    let written: Vec<&str> = keys.filter(|key| section.has(key)).collect();
    let is_iam = section.path.last().is_some_and(|name| name == "iam");
    if let Some(first) = written.first().copied().or(is_iam.then_some("")) {
        section.warn(first, "the requests are signed with the stand-in's keys");
    }
    for key in written {
        section.remove(key);
    }
}

/// Removes the listeners whose files or directories are not on this machine.
fn without_missing_files(listen: &mut Edit<'_>) {
    let is_missing = |text: &str| {
        let path = text.strip_prefix("$file://").unwrap_or(text);
        path.starts_with('/') && !Path::new(path).exists()
    };
    let lacks_files = listen.at("https").is_some_and(|https| {
        ["certificate", "key", "client_ca"].iter().any(|key| https.text(key).is_some_and(is_missing))
    });
    if lacks_files {
        listen.remove_with("https", "no TLS listener: its files are not on this machine");
    }
    let directory = listen.text("unix").and_then(|path| Path::new(path).parent().map(Path::exists));
    if directory == Some(false) {
        listen.remove_with("unix", "no Unix socket: its directory is not on this machine");
    }
}

/// An https URL as an http URL with the same `Host`.
fn plain(uri: &str) -> String {
    let is_https = uri.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("https://"));
    if !is_https {
        return uri.to_owned();
    }
    let rest = &uri[8..];
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(end);
    format!("http://{}{target}", authority.strip_suffix(":443").unwrap_or(authority))
}

/// True for a URL whose host is this machine.
fn leads_to_loopback(uri: &str) -> bool {
    let authority = uri.split_once("://").map_or("", |(_, rest)| rest.split('/').next().unwrap_or_default());
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    let host = host.trim_matches(['[', ']']);
    uri_syntax::is_loopback(host)
}

/// Replaces each reference to a variable or a file that is not on this machine.
fn dangling(node: &mut Node, path: &mut Vec<String>, environment: &Environment, mistakes: &mut Mistakes) {
    if let Content::List(list) = &mut node.content {
        for item in list.values_mut() {
            if matches!(&item.content, Content::Text(text) if reference::is_dangling(text, environment)) {
                let why =
                    "the reference has no value on this machine, and another text takes its place (dev)";
                mistakes.warn(Mistake::new(item.place.clone(), key_in_file(path), why));
                item.content = Content::Text(PLACEHOLDER.to_owned());
            }
            dangling(item, path, environment, mistakes);
        }
    }
    if let Content::Table(table) = &mut node.content {
        let mut without = Vec::new();
        for (key, child) in table.iter_mut() {
            path.push(key.clone());
            let is_dangling = matches!(&child.content, Content::Text(text)
                if reference::is_dangling(text, environment));
            if is_dangling {
                let (content, what) = instead(key, path);
                let why = format!("the reference has no value on this machine, and {what} (dev)");
                mistakes.warn(Mistake::new(child.place.clone(), key_in_file(path), why));
                match content {
                    Some(content) => child.content = Content::Text(content.to_owned()),
                    None => without.push(key.clone()),
                }
            }
            dangling(child, path, environment, mistakes);
            path.pop();
        }
        for key in without {
            table.remove(&key);
        }
    }
}

/// The text for a key, or `None` for its default.
fn instead(key: &str, path: &[String]) -> (Option<&'static str>, &'static str) {
    const TAKEN: &str = "another text takes its place";
    match key {
        "function_uri" => (Some(PLACEHOLDER_URI), TAKEN),
        "aws_region" => (Some(PLACEHOLDER_REGION), "us-east-1 takes its place"),
        _ => match schema::key_at(path).map(|key| &key.kind) {
            None | Some(Kind::Text | Kind::Pattern(_) | Kind::Host) => (Some(PLACEHOLDER), TAKEN),
            Some(_) => (None, "the default takes its place"),
        },
    }
}

#[cfg(test)]
mod tests;
