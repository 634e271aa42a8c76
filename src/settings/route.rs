//! A file of `routes/`: the requests that a route matches, and its backend.

pub mod api_gateway;
pub mod backend;
pub mod client_credentials;
pub mod connect;
pub mod credentials;
pub mod endpoint_variant;
pub mod environment_proxies;
pub mod forward_proxy;
pub mod function_uri;
pub mod header_text;
pub mod headers;
pub mod key_source;
pub mod lambda;
pub mod proxy_rule;
pub mod retry;
pub mod roles_anywhere;
pub mod service;
pub mod session_name;
pub mod shared_parts;
pub mod target_hosts;
pub mod upstream;
pub mod uri_template;

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use actix_http::Method;

use self::{
    backend::{BackendSettings, WrittenBackends},
    headers::{HeaderContext, HeaderSettings, WrittenHeaders},
    target_hosts::{RESERVED, TargetHost},
};
use super::{
    process::limits::Limits,
    source::{check::Checker, declaration::Kind, mistake::Place, remote_secret::NamedSecret},
};
use crate::routing::{HostPattern, MethodSet, PrefixRewrite, RouteRule, UNROUTED, UriPattern};

/// The most combinations of a host and a path in a route. Each is an entry of the routing table.
const MAX_COMBINATIONS: usize = 10_000;

/// Paths of literal segments with whole escapes and of segments `{name}`, with a `*` or a segment `{name+}`
/// at the end; without a query, without a segment `..`, and with different names.
const URI: Kind = Kind::PatternBut(
    concat!(
        r#"^(/(([!"$&-)+->@-z|~]|%[0-9A-Fa-f]{2})*|\{[A-Za-z0-9._:-]+\}))*"#,
        r#"(/(([!"$&-)+->@-z|~]|%[0-9A-Fa-f]{2})*|\{[A-Za-z0-9._:-]+\})\*?|/\{[A-Za-z0-9._:-]+\+\})$"#
    ),
    r"/(\.|%2[eE]){2}(;[^/]*)?(/|\*?$)|\{([A-Za-z0-9._:-]+)\}(.*/)?\{\4\+?\}",
);
const REWRITE_EXPECTED: &str = "a path that starts with `/`, without parameters, `*`, query and `..`";
/// A literal path.
const REWRITE: Kind =
    Kind::PatternBut(r#"^/([!"$&-)+->@-z|~]|%[0-9A-Fa-f]{2})*$"#, r"/(\.|%2[eE]){2}(;[^/]*)?(/|$)");
/// A host name, or a wildcard for all names below one.
pub(in crate::settings) const HOST: Kind =
    Kind::Pattern(r"^(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$|^\[[\s\S]*\]$");
/// Methods are case-sensitive (RFC 9110, 9.1).
const METHOD: Kind = Kind::PatternBut("^[!#$%&'*+.^_`|~0-9A-Z-]+$", "^(CONNECT|TRACE)$");

section! {
    /// One route, checked.
    #[derive(Debug, Clone, PartialEq)]
    pub struct RouteSettings, read as WrittenRoute, optional "a table that describes a route";

    made RouteParts {
        /// The name in logs and metrics: `id`, or the file's name without `.yaml`.
        id: String,
        /// The requests that it matches.
        rule: RouteRule,
        /// Their backend.
        backend: BackendSettings,
        /// Changes of headers; `None` without any.
        headers: Option<Box<HeaderSettings>>,
        /// The route's file, for mistakes that involve other routes.
        place: Place,
        /// The paths of values that came from references and are not shown.
        hidden: Vec<Vec<String>>,
        /// The secrets in AWS that its values name.
        secrets: Vec<NamedSecret>,
    }

    /// Name of the route in logs and metrics: 1 to 64 letters, digits, `-`, `_` or `.`, and not `-` alone.
    /// The file's name without `.yaml` by default.
    id: String, pattern("^([A-Za-z0-9_.]|[A-Za-z0-9_.-]{2,64})$") => |route| &route.id;
    /// Path to match: `/aws` matches that path alone, `/aws/*` all paths below `/aws/`, `/aws*` both;
    /// `/users/{id}` matches any one segment, `/files/{proxy+}` one segment or more, see "Paths". `/:name` is
    /// matched literally, and `check` warns about it.
    uri: String, kind(URI) => _;
    /// Several paths to match, instead of `uri`.
    uris: Vec<String>, kind(Kind::NotEmpty(&URI)) => RouteSettings::paths;
    /// Hosts to match: `a.example.com`, or `*.example.com` for all names below it; any by default.
    hosts: Vec<String>, kind(Kind::List(&HOST)) => RouteSettings::hosts;
    /// Methods to match, such as `[GET, POST]`; any by default.
    methods: Vec<String>, kind(Kind::List(&METHOD)) => RouteSettings::methods;
    /// Decides between routes that match the same host and path; the higher priority wins.
    priority: i32 = 0 => |route| route.rule.priority;
    // the range of `limits.max_in_flight`
    /// Maximum number of requests of the route in flight, each until the last byte of its response; further
    /// ones get 503 at once. No limit by default. `limits.max_in_flight` applies as well.
    max_in_flight?: u32 [1..=1_000_000];
    /// `false` disables the route.
    enabled: bool = true;
    /// The path of a `lambda` route's event without the literal segments before the first parameter or `*` of
    /// `uri`; `/` if nothing is left.
    strip_path: bool = false;
    /// A path that takes the place of the literal segments before the first parameter or `*` of `uri`: in the
    /// event of a `lambda` route, and on an `api_gateway` route between `function_uri` and the rest of the
    /// path. Conflicts with `strip_path`.
    rewrite?: String, kind(REWRITE);
    /// Headers that are set, added or removed, see "Headers".
    headers: WrittenHeaders => |route| route.headers.as_deref();
    ..backend: WrittenBackends;
}

impl RouteSettings {
    /// The secrets without which the route cannot serve: they have not been fetched, or their value cannot be
    /// used.
    pub fn missing_secrets(&self) -> impl Iterator<Item = &NamedSecret> {
        self.secrets.iter().filter(|secret| !secret.is_known)
    }

    /// True if a secret has not been fetched, and a placeholder is in its place.
    pub fn is_waiting(&self) -> bool {
        self.missing_secrets().next().is_some()
    }

    fn paths(&self) -> Vec<String> {
        self.rule.uris.iter().map(ToString::to_string).collect()
    }

    fn hosts(&self) -> Vec<String> {
        self.rule.hosts.iter().map(ToString::to_string).collect()
    }

    /// The key that changes the literal prefix of its paths.
    pub(super) fn changed_prefix(&self) -> Option<&'static str> {
        if self.strip_path { Some("strip_path") } else { self.rewrite.as_ref().map(|_| "rewrite") }
    }

    fn methods(&self) -> Vec<String> {
        let methods = &self.rule.methods;
        if methods.is_any() { Vec::new() } else { methods.allowed().iter().map(Method::to_string).collect() }
    }
}

// the shares in it are from 0 to 1
impl Eq for RouteSettings {}

/// Checks that ids are unique, and that requests can tell any two routes apart. `report` gives a checker at
/// the route of a file.
pub(super) fn check_against_each_other(
    routes: &[(&str, &RouteSettings)],
    mut report: impl FnMut(&str, &dyn Fn(&mut Checker<'_>)),
) {
    let mut ids: HashMap<&str, &Place> = HashMap::with_capacity(routes.len());
    for (stem, route) in routes {
        if let Some(earlier) = ids.insert(&route.id, &route.place) {
            report(stem, &|checker| {
                let id = checker.quoted("id", &route.id, "of this route");
                checker.at("id").report(format!("duplicate id {id}, also used by {earlier}"), "a unique id");
            });
        }
    }
    let enabled: Vec<_> = routes.iter().filter(|(_, route)| route.enabled).collect();
    for clash in crate::routing::clashes(enabled.iter().map(|(_, route)| &route.rule)) {
        let (_, first) = enabled[clash.first];
        let (stem, _) = enabled[clash.second];
        report(stem, &|checker| {
            let problem = format!("matches the same requests as {}: {}", first.place, clash.requests);
            let expected = "another uri, host or method, or another `priority`";
            checker.at("uri").report(problem, expected);
        });
    }
}

impl WrittenRoute {
    pub(super) fn check(
        mut self,
        stem: &str,
        limits: &Limits,
        checker: &mut Checker<'_>,
    ) -> Option<RouteSettings> {
        let place = Place::file(checker.place().source);
        let id = self.id.clone().unwrap_or_else(|| stem.to_owned());
        let expected = "1 to 64 letters, digits, `-`, `_` or `.`, and not `-` alone";
        checker.parsed("id", &id, expected, |id| is_id(id).then_some(()));
        let rule = self.rule(checker);
        let backend = std::mem::take(&mut self.backend).check(&id, limits, checker);
        if let (Some(rule), Some(backend)) = (&rule, &backend) {
            let section = backend.section();
            let mut at_section = checker.at(section.name());
            check_parameters("function_uri", section.path_parameters(), rule, &mut at_section);
            if section.target_hosts().is_some() {
                self.check_beside_named_hosts(rule, checker);
            }
        }
        let context = HeaderContext { rule: rule.as_ref(), backend: backend.as_ref() };
        let headers =
            self.headers.take().and_then(|headers| headers.check(&context, &mut checker.at("headers")));
        let (hidden, secrets) = (checker.hidden_references(), checker.secrets());
        let settle = self.settled(checker);
        Some(settle(RouteParts { id, rule: rule?, backend: backend?, headers, place, hidden, secrets }))
    }

    fn rule(&self, checker: &mut Checker<'_>) -> Option<RouteRule> {
        let prefix_rewrite = self.prefix_rewrite(checker);
        let uris = self.uris(&prefix_rewrite, checker);
        let host = |checker: &mut Checker<'_>, key: &str, text: &str| {
            checker.parsed(key, text, HostPattern::EXPECTED, HostPattern::parse)
        };
        let hosts = match self.named_hosts() {
            Some(hosts) => Some(hosts),
            None => each("hosts", self.hosts.as_deref().unwrap_or_default(), checker, host),
        };
        let method = |checker: &mut Checker<'_>, key: &str, text: &str| {
            checker.parsed(key, text, "a method in capitals, such as GET", parse_method)
        };
        let methods = each("methods", self.methods.as_deref().unwrap_or_default(), checker, method);
        let priority = checker.settled(declared!(WrittenRoute, "priority"), self.priority);
        let combinations = uris.as_ref().map_or(0, Vec::len) * hosts.as_ref().map_or(0, Vec::len).max(1);
        if combinations > MAX_COMBINATIONS {
            let problem = format!("{combinations} combinations of a host and a path");
            checker.at("uris").report(problem, format!("at most {MAX_COMBINATIONS} in a route"));
            return None;
        }
        Some(RouteRule { uris: uris?, hosts: hosts?, methods: MethodSet::new(methods?), priority })
    }

    /// The names that clients may name on a route with `{host}`, which alone the route matches.
    fn named_hosts(&self) -> Option<Vec<HostPattern>> {
        let hosts = self.backend.api_gateway.as_ref()?.hosts.as_ref()?;
        let hosts = hosts.iter().filter_map(|text| TargetHost::parse(text)).map(|host| host.name);
        let hosts: BTreeSet<_> = hosts.collect();
        Some(hosts.into_iter().collect())
    }

    /// Reports keys of a route with `{host}` that contradict it.
    fn check_beside_named_hosts(&self, rule: &RouteRule, checker: &mut Checker<'_>) {
        if rule.uris.iter().any(|uri| uri.names().any(|name| name == RESERVED)) {
            let key = if self.uri.is_some() { "uri" } else { "uris" };
            let problem = "`{host}` is the host that the client names";
            checker.at(key).report(problem, "another name of the path parameter");
        }
        if self.hosts.is_some() {
            checker.at("hosts").report("conflicts with `api_gateway.hosts`", "one of the two");
        }
    }

    /// The handling of the literal prefix of the route's paths.
    fn prefix_rewrite(&self, checker: &mut Checker<'_>) -> PrefixRewrite {
        let strips = checker.settled(declared!(WrittenRoute, "strip_path"), self.strip_path);
        let rewrite = self
            .rewrite
            .as_ref()
            .and_then(|text| checker.parsed("rewrite", text, REWRITE_EXPECTED, literal_path));
        if strips && self.rewrite.is_some() {
            checker.at("rewrite").report("conflicts with `strip_path`", "one of the two");
        }
        if strips && self.backend.api_gateway.is_some() {
            let expected = "a `lambda` route: an `api_gateway` route never sends the literal prefix of `uri`";
            checker.at("strip_path").report("has no effect with `api_gateway`", expected);
        }
        match rewrite {
            _ if strips => PrefixRewrite::Strip,
            Some(path) => PrefixRewrite::Replace(path),
            None => PrefixRewrite::Keep,
        }
    }

    fn uris(
        &self,
        prefix_rewrite: &PrefixRewrite,
        checker: &mut Checker<'_>,
    ) -> Option<Vec<Arc<UriPattern>>> {
        let names_methods = self.methods.as_ref().is_some_and(|methods| !methods.is_empty());
        let uri = |checker: &mut Checker<'_>, key: &str, text: &str| {
            let pattern = uri(checker, key, text)?.with_prefix_rewrite(prefix_rewrite.clone());
            Some(Arc::new(pattern.of_methods(names_methods)))
        };
        match (&self.uri, &self.uris) {
            (Some(text), None) => Some(vec![uri(checker, "uri", text)?]),
            (None, Some(uris)) if !uris.is_empty() => {
                let patterns = each("uris", uris, checker, uri)?;
                if let Some((first, second)) = crate::routing::differing_names(&patterns) {
                    let (first, second) = (&patterns[first], &patterns[second]);
                    let problem = format!("`{second}` matches the same paths as `{first}`");
                    checker.at("uris").report(problem, "each path once, or the same names of parameters");
                }
                Some(patterns)
            }
            (Some(_), Some(_)) => {
                checker.at("uris").report("conflicts with `uri`", "one of the two");
                None
            }
            _ if checker.has_error("uri") || checker.has_error("uris") => None,
            _ => {
                checker.report("missing path", "`uri` or `uris`, such as `uri: /aws/*`");
                None
            }
        }
    }
}

/// A path without parameters and without a slash at its end.
fn literal_path(text: &str) -> Option<String> {
    let pattern = UriPattern::parse(text).filter(|pattern| pattern.literal_prefix() == text)?;
    Some(pattern.to_string().trim_end_matches('/').to_owned())
}

/// Each of these path parameters of the value at a key is in each `uri`.
fn check_parameters<'n>(
    key: &str,
    names: impl IntoIterator<Item = &'n str>,
    rule: &RouteRule,
    checker: &mut Checker<'_>,
) {
    for name in names {
        let Some(uri) = rule.uris.iter().find(|uri| !uri.names().any(|own| own == name)) else { continue };
        let names: Vec<String> = uri.names().map(|name| format!("`{{{name}}}`")).collect();
        let expected = if names.is_empty() {
            format!("`{{{name}}}` in the path, or no parameter")
        } else {
            names.join(" or ")
        };
        checker.at(key).report(format!("`{{{name}}}` is not in the path `{uri}`"), expected);
    }
}

fn uri(checker: &mut Checker<'_>, key: &str, text: &str) -> Option<UriPattern> {
    if let Some(name) = UriPattern::foreign_parameter(text) {
        let advice = format!(
            "matches `:` and the name after it literally; a path parameter is written `{{{name}}}`, and a \
             `*` at the end matches all paths below"
        );
        checker.at(key).warn(advice);
    }
    let pattern = UriPattern::parse(text);
    let expected = if pattern.is_some() { "" } else { UriPattern::expected(text) };
    checker.parsed(key, text, expected, |_| pattern)
}

/// Parses every text of a list and reports each that is invalid.
pub(in crate::settings) fn each<T>(
    list: &str,
    texts: &[String],
    checker: &mut Checker<'_>,
    parse: impl Fn(&mut Checker<'_>, &str, &str) -> Option<T>,
) -> Option<Vec<T>> {
    let mut checker = checker.at(list);
    // a text of a variable becomes a list only in the reader
    let indices =
        checker.indices().unwrap_or_else(|| (0..texts.len()).map(|index| index.to_string()).collect());
    let parsed: Vec<_> =
        indices.iter().zip(texts).map(|(index, text)| parse(&mut checker, index, text)).collect();
    parsed.into_iter().collect()
}

/// [`UNROUTED`] is reserved: in logs and metrics it stands for no route.
fn is_id(id: &str) -> bool {
    id != UNROUTED
        && (1..=64).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

/// Refuses lower case: methods are case-sensitive (RFC 9110, 9.1), and no client sends `get`.
fn parse_method(text: &str) -> Option<Method> {
    let method = Method::from_bytes(text.as_bytes()).ok()?;
    (text.bytes().all(|byte| !byte.is_ascii_lowercase())
        && method != Method::CONNECT
        && method != Method::TRACE)
        .then_some(method)
}
