//! The hosts of the user's own settings that the stand-in plays: APIs, Function URLs, and the Lambda API of
//! each region.

use std::{cmp::Reverse, net::IpAddr, sync::Arc};

use crate::{
    settings::{ApiGatewaySettings, BackendSettings, LocalFunction, PayloadVersion, RouteSettings, Settings},
    text::aws_hosts::region_in,
};

/// The targets of the routes.
#[derive(Debug, Default)]
pub struct Played {
    apis: Vec<PlayedApi>,
    lambdas: Vec<PlayedLambda>,
    named: Vec<NamedApis>,
    /// The hosts have nothing else.
    is_whole: bool,
}

/// The hosts of a route with `{host}`.
#[derive(Debug)]
struct NamedApis {
    route: Arc<RouteSettings>,
    /// The functions behind it.
    functions: Vec<LocalFunction>,
}

/// The kind of an API, which decides its events and errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApiKind {
    Rest,
    Http,
    FunctionUrl,
}

/// The target of a route with `api_gateway`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlayedApi {
    /// The value of `Host`.
    pub host: String,
    /// The beginning of the path, up to the first path parameter.
    path: String,
    pub kind: ApiKind,
    /// The first segment of the path on a host of API Gateway; otherwise `$default`, which is not in the
    /// path.
    pub stage: String,
    pub requires_key: bool,
    pub requires_signature: bool,
    pub region: String,
    pub service: String,
    /// The function behind it; without one, the stand-in answers with what it has received.
    pub function: Option<String>,
}

/// The Lambda API of a region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlayedLambda {
    /// The value of `Host`.
    host: String,
    pub region: String,
    /// False for an emulator, which takes calls without a signature.
    pub requires_signature: bool,
}

impl Played {
    /// The targets of the routes, with the functions behind them.
    pub fn of(settings: &Settings, functions: &[LocalFunction]) -> Self {
        let mut played = Self { is_whole: true, ..Self::default() };
        for route in &settings.routes {
            match &route.backend {
                backend if backend.section().target_hosts().is_some() => {
                    let behind = functions.iter().filter(|function| is_behind(function, &route.id));
                    let functions = behind.cloned().collect();
                    played.named.push(NamedApis { route: Arc::clone(route), functions });
                }
                BackendSettings::ApiGateway(gateway) => {
                    played.apis.push(PlayedApi::of(&route.id, gateway, functions));
                }
                BackendSettings::Lambda(lambda) => played.lambdas.push(PlayedLambda {
                    host: lambda.endpoint.authority(),
                    region: lambda.region.clone(),
                    requires_signature: lambda.sign,
                }),
            }
        }
        played
    }

    /// The APIs with functions on this machine, beside the stand-in's own.
    #[must_use]
    pub fn with_functions_alone(mut self) -> Self {
        self.apis.retain(|api| api.function.is_some());
        self.lambdas.clear();
        self.named.clear();
        Self { is_whole: false, ..self }
    }

    /// The targets for a host of the routes with `{host}`.
    pub fn named(&self, host: &str) -> Vec<PlayedApi> {
        let settings = |named: &NamedApis| match named.route.for_host(host).ok()??.backend {
            BackendSettings::ApiGateway(gateway) => {
                Some(PlayedApi::of(&named.route.id, &gateway, &named.functions))
            }
            BackendSettings::Lambda(_) => None,
        };
        self.named.iter().filter_map(settings).collect()
    }

    /// The APIs of a host whose path begins as this one does, the longest beginning first. `named` are those
    /// of the routes with `{host}`.
    pub fn apis<'p>(&'p self, named: &'p [PlayedApi], host: &str, path: &str) -> Vec<&'p PlayedApi> {
        let all = self.apis.iter().chain(named);
        let mut apis: Vec<&PlayedApi> =
            all.filter(|api| api.host.eq_ignore_ascii_case(host) && api.takes(path)).collect();
        apis.sort_by_key(|api| Reverse(api.path.len()));
        let longest = apis.first().map_or(0, |api| api.path.len());
        apis.retain(|api| api.path.len() == longest);
        apis
    }

    /// True if all paths of this host belong to the routes.
    pub fn owns(&self, host: &str) -> bool {
        self.is_whole && self.apis.iter().any(|api| api.host.eq_ignore_ascii_case(host))
    }

    /// The Lambda API at a host. An unsigned route takes precedence.
    pub fn lambda(&self, host: &str) -> Option<&PlayedLambda> {
        let found = self.lambdas.iter().filter(|lambda| lambda.host.eq_ignore_ascii_case(host));
        found.min_by_key(|lambda| lambda.requires_signature)
    }
}

impl PlayedApi {
    fn of(id: &str, gateway: &ApiGatewaySettings, functions: &[LocalFunction]) -> Self {
        let uri = &gateway.function_uri;
        let iam = gateway.authorization.iam.as_ref();
        let path = uri.path.as_str().split('{').next().unwrap_or_default();
        let is_url = uri.host.contains(".lambda-url.");
        let function = functions.iter().find(|function| is_behind(function, id));
        let version = function.and_then(|function| function.payload);
        let kind = match version {
            _ if is_url => ApiKind::FunctionUrl,
            Some(PayloadVersion::V2) => ApiKind::Http,
            Some(PayloadVersion::V1) | None => ApiKind::Rest,
        };
        let is_gateway = uri.host.contains(".execute-api.");
        // the stand-in's own API has stages as well, and an address instead of a name
        let has_stage = is_gateway || uri.host.parse::<IpAddr>().is_ok();
        let stage = path.split('/').nth(1).filter(|stage| has_stage && !stage.is_empty());
        let stage = stage.unwrap_or("$default");
        let own_region = || iam.map_or("us-east-1", |iam| &iam.region);
        Self {
            host: uri.authority.clone(),
            path: path.trim_end_matches('/').to_owned(),
            kind,
            stage: stage.to_owned(),
            requires_key: gateway.authorization.apikey.is_some(),
            requires_signature: iam.is_some(),
            region: region_in(&uri.host).unwrap_or_else(own_region).to_owned(),
            service: match iam {
                _ if is_url => "lambda".to_owned(),
                _ if is_gateway => "execute-api".to_owned(),
                Some(iam) => iam.service.clone(),
                None => "execute-api".to_owned(),
            },
            function: function.map(|function| function.name.clone()),
        }
    }

    fn takes(&self, path: &str) -> bool {
        path.strip_prefix(&*self.path).is_some()
    }

    /// The path without its stage.
    pub fn behind_stage<'p>(&self, path: &'p str) -> &'p str {
        let rest = path.strip_prefix('/').and_then(|path| path.strip_prefix(&*self.stage));
        match rest {
            Some("") => "/",
            Some(rest) if rest.starts_with('/') => rest,
            _ => path,
        }
    }

    /// The version of its events.
    pub fn version(&self) -> PayloadVersion {
        if self.kind == ApiKind::Rest { PayloadVersion::V1 } else { PayloadVersion::V2 }
    }

    /// The id of the API, the first label of its host.
    pub fn id(&self) -> &str {
        self.host.split('.').next().unwrap_or_default()
    }
}

/// True if the function is behind the route with this id.
fn is_behind(function: &LocalFunction, id: &str) -> bool {
    function.name == id || function.routes.iter().any(|route| route == id)
}

/// A sentence about each function that no route calls, about each route that a function names and that does
/// not exist, and about each route with two functions.
pub fn unused(settings: &Settings, functions: &[LocalFunction]) -> Vec<String> {
    let calls = |route: &RouteSettings, function: &LocalFunction| match &route.backend {
        BackendSettings::ApiGateway(_) => is_behind(function, &route.id),
        BackendSettings::Lambda(lambda) => bare_name(&lambda.function) == function.name,
    };
    let routes = &settings.routes;
    let is_used = |function: &LocalFunction| routes.iter().any(|route| calls(route, function));
    let mut sentences = Vec::new();
    for function in functions {
        if !is_used(function) {
            sentences.push(format!(
                "no route calls the function `{}`: its name is neither the function_name of a route with \
                 lambda nor the id of a route with api_gateway",
                function.name
            ));
        }
        let is_api = |id: &String| {
            let mut routes = routes.iter().filter(|route| route.id == *id);
            routes.any(|route| matches!(route.backend, BackendSettings::ApiGateway(_)))
        };
        for id in function.routes.iter().filter(|id| !is_api(id)) {
            sentences.push(format!(
                "the function `{}` names the route `{id}`, and no route with api_gateway has this id",
                function.name
            ));
        }
    }
    for route in routes.iter().filter(|route| matches!(route.backend, BackendSettings::ApiGateway(_))) {
        let mut behind = functions.iter().filter(|function| is_behind(function, &route.id));
        if let (Some(first), Some(second)) = (behind.next(), behind.next()) {
            sentences.push(format!(
                "the functions `{}` and `{}` are both behind the route `{}`: a route has one function",
                first.name, second.name, route.id
            ));
        }
    }
    sentences
}

/// The function's name in any form of `function_name`: with a qualifier, a partial or a full ARN.
fn bare_name(function: &str) -> &str {
    let behind = function.rsplit_once("function:").map_or(function, |(_, name)| name);
    behind.split(':').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Document;

    #[test]
    fn an_api_has_the_region_and_stage_of_its_host_and_path() {
        let documents = [
            ("a", "https://x1.execute-api.eu-west-1.amazonaws.com/prod/a"),
            ("b", "https://x2.lambda-url.eu-west-1.on.aws"),
        ]
        .map(|(id, uri)| {
            let text = format!("uri: /{id}/*\napi_gateway: {{ function_uri: {uri} }}\n");
            Document::route(id, text)
        });
        let settings = Settings::from_documents(&documents, &[].into()).unwrap();
        let played = Played::of(&settings, &[]);
        let host = "x1.execute-api.eu-west-1.amazonaws.com";
        let [api] = played.apis(&[], host, "/prod/a/b")[..] else { panic!("{played:?}") };
        assert_eq!((&*api.stage, &*api.region, api.kind), ("prod", "eu-west-1", ApiKind::Rest));
        assert_eq!(api.behind_stage("/prod/a/b"), "/a/b");
        assert!(played.apis(&[], host, "/dev/a").is_empty() && played.owns(host));
        let [url] = played.apis(&[], "x2.lambda-url.eu-west-1.on.aws", "/any")[..] else {
            panic!("{played:?}")
        };
        assert_eq!(
            (&*url.service, url.kind, url.behind_stage("/any")),
            ("lambda", ApiKind::FunctionUrl, "/any")
        );
    }

    #[test]
    fn a_function_is_found_by_every_form_of_its_name() {
        for name in [
            "orders",
            "orders:live",
            "123456789012:function:orders",
            "arn:aws:lambda:us-east-1:123456789012:function:orders:1",
        ] {
            assert_eq!(bare_name(name), "orders", "{name}");
        }
    }
}
