//! What a file of `routes/` says: which requests, and the one backend that they go to.

pub mod api_gateway;
pub mod backend;
pub mod circuit_breaker;
pub mod connect;
pub mod credentials;
pub mod endpoint_variant;
pub mod forward_proxy;
pub mod function_uri;
pub mod key_source;
pub mod lambda;
pub mod retry;
pub mod service;
pub mod session_name;
pub mod upstream;

use std::collections::{BTreeMap, HashMap};

use actix_http::Method;
use serde::Deserialize;

use self::{api_gateway::WrittenApiGateway, backend::BackendSettings, lambda::WrittenLambda};
use super::{
    process::limits::Limits,
    source::{check::Checker, mistake::Place},
};
use crate::routing::UNROUTED;
use crate::routing::{HostPattern, MethodSet, RouteRule, UriPattern};

/// Hosts times paths of a route, each of which is looked up by itself.
const MOST_COMBINATIONS: usize = 10_000;

/// One route, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct RouteSettings {
    /// The name in logs: `id`, or the stem of the file.
    pub id: String,
    /// Which requests it takes.
    pub rule: RouteRule,
    /// Whether it takes any at all.
    pub enabled: bool,
    /// Requests at a time, counted to the last byte of the answer.
    pub max_in_flight: Option<u32>,
    /// Where they go.
    pub backend: BackendSettings,
    /// Its file, for mistakes that involve other routes.
    pub place: Place,
    /// The paths of the values that are not shown, since a reference has yielded them.
    pub hidden: Vec<Vec<String>>,
}

/// A route as written.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table that describes a route")]
pub(super) struct WrittenRoute {
    id: Option<String>,
    uri: Option<String>,
    uris: Option<Vec<String>>,
    hosts: Option<Vec<String>>,
    methods: Option<Vec<String>>,
    priority: Option<i32>,
    max_in_flight: Option<u32>,
    enabled: Option<bool>,
    api_gateway: Option<WrittenApiGateway>,
    lambda: Option<WrittenLambda>,
}

impl RouteSettings {
    /// Checks every route, then the routes against each other.
    pub(super) fn check_all(
        written: BTreeMap<String, WrittenRoute>,
        limits: &Limits,
        checker: &mut Checker<'_>,
    ) -> Vec<Self> {
        let routes: Vec<(String, Self)> = written
            .into_iter()
            .filter_map(|(stem, route)| {
                let route = route.check(&stem, limits, &mut checker.below(&stem))?;
                Some((stem, route))
            })
            .collect();
        check_against_each_other(&routes, checker);
        routes.into_iter().map(|(_, route)| route).collect()
    }
}

/// Ids are unique, and any two routes can be told apart by a request.
fn check_against_each_other(routes: &[(String, RouteSettings)], checker: &mut Checker<'_>) {
    let mut ids: HashMap<&str, &Place> = HashMap::new();
    for (stem, route) in routes {
        if let Some(earlier) = ids.insert(&route.id, &route.place) {
            let mut checker = checker.below(stem);
            let id = checker.quoted("id", &route.id, "of this route");
            checker.below("id").mistake(format!("the id {id} is also that of {earlier}"), "an id of its own");
        }
    }
    let enabled: Vec<&(String, RouteSettings)> = routes.iter().filter(|(_, route)| route.enabled).collect();
    for clash in crate::routing::clashes(enabled.iter().map(|(_, route)| &route.rule)) {
        let (_, first) = enabled[clash.first];
        let (stem, _) = enabled[clash.second];
        let problem = format!("takes the same requests as {}: {}", first.place, clash.requests);
        let expected = "another uri, host or method, or another `priority`";
        checker.below(stem).below("uri").mistake(problem, expected);
    }
}

impl WrittenRoute {
    fn check(self, stem: &str, limits: &Limits, checker: &mut Checker<'_>) -> Option<RouteSettings> {
        let place = Place::file(checker.place().source);
        let id = self.id.clone().unwrap_or_else(|| stem.to_owned());
        let expected = "1 to 64 letters, digits, `-`, `_` or `.`, and not `-` alone";
        checker.parsed("id", &id, expected, |id| is_id(id).then_some(()));
        let rule = self.rule(checker);
        let max_in_flight = self.max_in_flight.map(|most| {
            // as many as the process may be told to take
            checker.number("max_in_flight", Some(most), most, 1..=1_000_000)
        });
        let backend = match (self.api_gateway, self.lambda) {
            (Some(written), None) => written
                .check(limits, &mut checker.below("api_gateway"))
                .map(|settings| BackendSettings::ApiGateway(Box::new(settings))),
            (None, Some(written)) => written
                .check(&id, limits, &mut checker.below("lambda"))
                .map(|settings| BackendSettings::Lambda(Box::new(settings))),
            (Some(_), Some(_)) => {
                checker.below("lambda").mistake("`api_gateway` is there too", "one of the two");
                None
            }
            (None, None) if checker.is_wrong("api_gateway") || checker.is_wrong("lambda") => None,
            (None, None) => {
                checker.mistake("the route has no backend", "`api_gateway` or `lambda`");
                None
            }
        };
        Some(RouteSettings {
            id,
            rule: rule?,
            enabled: self.enabled.unwrap_or(true),
            max_in_flight,
            backend: backend?,
            place,
            hidden: checker.hidden_references(),
        })
    }

    fn rule(&self, checker: &mut Checker<'_>) -> Option<RouteRule> {
        let uris: Vec<(String, &String)> = match (&self.uri, &self.uris) {
            (Some(uri), None) => vec![("uri".to_owned(), uri)],
            (None, Some(uris)) if !uris.is_empty() => {
                uris.iter().enumerate().map(|(index, uri)| (format!("uris.{index}"), uri)).collect()
            }
            (Some(_), Some(_)) => {
                checker.below("uris").mistake("`uri` is there too", "either `uri` or `uris`");
                return None;
            }
            _ if checker.is_wrong("uri") || checker.is_wrong("uris") => return None,
            _ => {
                checker.mistake("the route takes no request", "`uri` or `uris`, such as `uri: /aws/*`");
                return None;
            }
        };
        for (key, _) in uris.iter().filter(|(_, uri)| UriPattern::has_parameter(uri)) {
            let advice = "takes `:` and the name behind it literally; a `*` at the end takes all paths below";
            at(key, checker, |checker, key| checker.below(key).warn(advice));
        }
        let uris = each(uris, checker, UriPattern::EXPECTED, UriPattern::parse);
        let hosts = self.hosts.iter().flatten().enumerate();
        let hosts = hosts.map(|(index, host)| (format!("hosts.{index}"), host)).collect();
        let hosts = each(hosts, checker, HostPattern::EXPECTED, HostPattern::parse);
        let methods = self.methods.iter().flatten().enumerate();
        let methods = methods.map(|(index, method)| (format!("methods.{index}"), method)).collect();
        let methods = each(methods, checker, "a method in capitals, such as GET", parse_method);
        let priority = self.priority.unwrap_or(0);
        let combinations = uris.as_ref().map_or(0, Vec::len) * hosts.as_ref().map_or(0, Vec::len).max(1);
        if combinations > MOST_COMBINATIONS {
            let problem = format!("{combinations} combinations of a host and a path");
            checker.below("uris").mistake(problem, format!("at most {MOST_COMBINATIONS} in a route"));
            return None;
        }
        Some(RouteRule { uris: uris?, hosts: hosts?, methods: MethodSet::new(methods?), priority })
    }
}

/// Goes to the list of `uris.1`, if the key is one of a list.
fn at<T>(key: &str, checker: &mut Checker<'_>, act: impl FnOnce(&mut Checker<'_>, &str) -> T) -> T {
    match key.split_once('.') {
        Some((list, index)) => act(&mut checker.below(list), index),
        None => act(checker, key),
    }
}

/// Parses every text; each that fails is a mistake of its own.
fn each<T>(
    texts: Vec<(String, &String)>,
    checker: &mut Checker<'_>,
    expected: &str,
    parse: fn(&str) -> Option<T>,
) -> Option<Vec<T>> {
    let parsed: Vec<Option<T>> = texts
        .into_iter()
        .map(|(key, text)| at(&key, checker, |checker, key| checker.parsed(key, text, expected, parse)))
        .collect();
    parsed.into_iter().collect()
}

/// In the log and in the labels of metrics, [`UNROUTED`] stands for no route.
fn is_id(id: &str) -> bool {
    id != UNROUTED
        && (1..=64).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

/// Methods are case-sensitive (RFC 9110, 9.1): `get` would be another method that no client sends.
fn parse_method(text: &str) -> Option<Method> {
    let method = Method::from_bytes(text.as_bytes()).ok()?;
    (text.bytes().all(|byte| !byte.is_ascii_lowercase())
        && method != Method::CONNECT
        && method != Method::TRACE)
        .then_some(method)
}
