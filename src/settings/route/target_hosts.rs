//! `hosts` of a route with `function_uri: https://{host}`: the hosts that clients may name, and the settings
//! of a route for one of them.

use std::{fmt, sync::Arc};

use actix_http::uri::Authority;
use rustls_pki_types::ServerName;

use super::{
    RouteSettings,
    api_gateway::{ApiGatewaySettings, Iam, WrittenApiGateway},
    backend::BackendSettings,
    each,
    function_uri::{FunctionUri, host_and_port},
    service::PayloadSigning,
    upstream::UpstreamSettings,
};
use crate::{
    routing::HostPattern,
    settings::{HostPort, source::check::Checker},
    text::{
        aws_endpoints::endpoint,
        aws_hosts::region_in,
        signing_rules::{self, PayloadRule},
    },
};

/// The host of a `function_uri` that the client names, and a region or a service that its name decides.
pub const BY_HOST: &str = "{host}";
/// The name in `BY_HOST`, which no path parameter may have.
pub(super) const RESERVED: &str = "host";
const HTTPS_PORT: u16 = 443;

/// The choice of the host that a route calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostChoice {
    /// The host of `function_uri`.
    Fixed,
    /// The host that a client names, if it is one of these.
    OfClient(Arc<TargetHosts>),
    /// A host that a client has named, with its port, and the entry of `hosts` that it matches.
    Named(String),
}

/// The hosts that a client may name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetHosts(Vec<TargetHost>);

/// A name, or a wildcard for all names below one, with its port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetHost {
    pub name: HostPattern,
    port: u16,
}

/// The reason why a route cannot call the host that a client has named.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetProblem {
    /// The host is not listed, or cannot be signed for.
    #[error("{0}")]
    Unknown(String),
    /// The proxy of the environment for the host cannot be used.
    #[error("{0}")]
    Proxy(String),
}

impl TargetHost {
    pub(in crate::settings) const EXPECTED: &'static str =
        "a host name, or `*.` and a host name, with or without a port; no address and no `*` alone";

    pub(in crate::settings) fn parse(text: &str) -> Option<Self> {
        let (name, port) = match text.split_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
                (name, port.parse().ok().filter(|port| *port != 0)?)
            }
            Some(_) => return None,
            None => (text, HTTPS_PORT),
        };
        let name = HostPattern::parse(name)?;
        let bare = match &name {
            HostPattern::Exact(name) => name.as_str(),
            HostPattern::Suffix(suffix) => suffix.trim_start_matches('.'),
        };
        let is_address = bare.rsplit('.').next()?.bytes().all(|byte| byte.is_ascii_digit());
        (!is_address && matches!(ServerName::try_from(bare), Ok(ServerName::DnsName(_))))
            .then_some(Self { name, port })
    }

    fn matches(&self, name: &str, port: u16) -> bool {
        let is_name = match &self.name {
            HostPattern::Exact(own) => own == name,
            HostPattern::Suffix(suffix) => name.len() > suffix.len() && name.ends_with(suffix.as_str()),
        };
        is_name && self.port == port
    }
}

impl fmt::Display for TargetHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name)?;
        if self.port == HTTPS_PORT { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

impl TargetHosts {
    pub(in crate::settings) fn new(hosts: Vec<TargetHost>) -> Self {
        Self(hosts)
    }

    /// As in the settings, in lower case.
    pub fn texts(&self) -> Vec<String> {
        self.0.iter().map(ToString::to_string).collect()
    }

    /// The hosts that are listed by their whole name.
    pub fn names(&self) -> impl Iterator<Item = String> {
        let names = self.0.iter().filter(|host| matches!(host.name, HostPattern::Exact(_)));
        names.map(ToString::to_string)
    }

    /// A name that stands for all of them where the settings need one.
    pub(in crate::settings) fn example(&self) -> Option<&str> {
        self.0.first().map(|host| match &host.name {
            HostPattern::Exact(name) => name.as_str(),
            HostPattern::Suffix(suffix) => suffix.trim_start_matches('.'),
        })
    }

    /// The entry for a host: its name rather than a wildcard, the longest wildcard of several.
    fn find(&self, name: &str, port: u16) -> Option<&TargetHost> {
        let matching = self.0.iter().filter(|host| host.matches(name, port));
        matching.max_by_key(|host| match &host.name {
            HostPattern::Exact(_) => usize::MAX,
            HostPattern::Suffix(suffix) => suffix.len(),
        })
    }
}

/// The name and the port of a `Host` value: lower case, without a final dot; `None` if it is invalid.
pub fn name_and_port(authority: &str) -> Option<(String, u16)> {
    let authority: Authority = authority.parse().ok()?;
    let (host, port) = host_and_port(&authority)?;
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    Some((name, port.unwrap_or(HTTPS_PORT)))
}

impl RouteSettings {
    /// The settings of a route with `{host}` for the host that a client has named; `None` on another route.
    ///
    /// # Errors
    /// The host is not listed, or its region or service is unknown.
    pub fn for_host(&self, authority: &str) -> Result<Option<Self>, TargetProblem> {
        let named = self.backend.for_host(authority)?;
        Ok(named.map(|backend| Self { backend, ..self.clone() }))
    }
}

impl BackendSettings {
    fn for_host(&self, authority: &str) -> Result<Option<Self>, TargetProblem> {
        match self {
            Self::ApiGateway(settings) => match &settings.host_choice {
                HostChoice::OfClient(hosts) => settings
                    .for_host(hosts, authority)
                    .map(|settings| Some(Self::ApiGateway(settings.into()))),
                HostChoice::Fixed | HostChoice::Named(_) => Ok(None),
            },
            Self::Lambda(_) => Ok(None),
        }
    }

    /// The backends whose servers are known from the settings: itself, or one for each name in `hosts`.
    pub fn with_known_hosts(&self) -> Vec<Self> {
        let Some(hosts) = self.section().target_hosts() else { return vec![self.clone()] };
        hosts.names().filter_map(|name| self.for_host(&name).ok().flatten()).collect()
    }
}

impl ApiGatewaySettings {
    /// The settings for a host that a client has named.
    pub(in crate::settings) fn for_host(
        &self,
        hosts: &TargetHosts,
        authority: &str,
    ) -> Result<Self, TargetProblem> {
        let named = name_and_port(authority);
        let listed = named.as_ref().and_then(|(name, port)| hosts.find(name, *port));
        let (Some((name, port)), Some(listed)) = (named, listed) else {
            return Err(TargetProblem::Unknown(format!("`{authority}` is not in `hosts` of the route")));
        };
        let pattern = HostPort(&listed.name.to_string(), port).to_string();
        let mut settings = Self { host_choice: HostChoice::Named(pattern), ..self.clone() };
        if let Some(iam) = &mut settings.authorization.iam {
            iam.sign_for(&name)?;
        }
        let HostPort(connected, connected_port) = self.upstream.connect.place(&name, port);
        let proxy = self.upstream.proxy_rule.choose(self.function_uri.scheme, connected, connected_port);
        let proxy = proxy.map_err(|unusable| TargetProblem::Proxy(unusable.to_string()))?;
        if proxy != self.upstream.proxy {
            settings.upstream =
                Arc::new(UpstreamSettings { proxy, ..UpstreamSettings::clone(&self.upstream) });
        }
        settings.function_uri.set_server(name, port);
        Ok(settings)
    }

    /// The entries of `hosts`.
    pub(in crate::settings) fn hosts(&self) -> Option<Vec<String>> {
        match &self.host_choice {
            HostChoice::OfClient(hosts) => Some(hosts.texts()),
            HostChoice::Fixed | HostChoice::Named(_) => None,
        }
    }
}

impl WrittenApiGateway {
    /// The choice of the host. The first of `hosts` becomes the host of a `function_uri` with `{host}`.
    pub(super) fn host_choice(
        &self,
        uri: Option<&mut FunctionUri>,
        checker: &mut Checker<'_>,
    ) -> Option<HostChoice> {
        let hosts = self.hosts.as_deref().unwrap_or_default();
        let Some(uri) = uri else { return Some(HostChoice::Fixed) };
        if !uri.has_named_host() {
            if !hosts.is_empty() {
                let problem = "has no effect without `{host}` in `function_uri`";
                checker.at("hosts").report(problem, "`function_uri: https://{host}`, or no `hosts`");
            }
            return Some(HostChoice::Fixed);
        }
        if uri.parameters().any(|name| name == RESERVED) {
            let problem = "`{host}` is the host that the client names";
            checker.at("function_uri").report(problem, "another path parameter");
        }
        if hosts.is_empty() {
            if !checker.has_error("hosts") {
                let problem = "missing, but `function_uri` has `{host}`";
                checker.at("hosts").report(problem, "the hosts that clients may name");
            }
            return None;
        }
        let hosts = each("hosts", hosts, checker, |checker, key, text| {
            checker.parsed(key, text, TargetHost::EXPECTED, TargetHost::parse)
        })?;
        let hosts = TargetHosts::new(hosts);
        hosts.example()?.clone_into(&mut uri.host);
        Some(HostChoice::OfClient(Arc::new(hosts)))
    }
}

impl ApiGatewaySettings {
    /// Reports the names in `hosts` whose region or service is unknown.
    pub(super) fn check_hosts(&self, checker: &mut Checker<'_>) {
        let HostChoice::OfClient(hosts) = &self.host_choice else { return };
        each("hosts", &hosts.texts(), checker, |checker, key, text| {
            if text.starts_with('*') {
                return Some(());
            }
            let expected = "`aws_region` and `service` in `authorization.iam`, or another host";
            self.for_host(hosts, text)
                .map_err(|problem| checker.at(key).report(problem.to_string(), expected))
                .ok()
                .map(|_| ())
        });
    }
}

impl Iam {
    /// Sets the region and the service that the settings leave to the name of the host.
    fn sign_for(&mut self, host: &str) -> Result<(), TargetProblem> {
        let unknown = |what: &str, key: &str| {
            TargetProblem::Unknown(format!("{what} of `{host}` is unknown, and `{key}` is not set"))
        };
        let known = endpoint(host);
        if self.service == BY_HOST {
            let service =
                known.map(|known| known.service).ok_or_else(|| unknown("the service", "service"))?;
            service.clone_into(&mut self.service);
        }
        if self.region == BY_HOST {
            let region = known.map_or_else(|| region_in(host), |known| known.region);
            region.ok_or_else(|| unknown("the region", "aws_region"))?.clone_into(&mut self.region);
        }
        let service = &self.service;
        if let Some(reason) = signing_rules::why_unsupported(service) {
            return Err(TargetProblem::Unknown(format!("`{host}`: `{service}` cannot be signed: {reason}")));
        }
        match signing_rules::of(service).payload {
            // a body without a limit must not be held in memory
            PayloadRule::Signed if self.payload == PayloadSigning::Unsigned => {
                Err(TargetProblem::Unknown(format!("`{host}`: `{service}` accepts only signed payloads")))
            }
            PayloadRule::Unsigned => {
                self.payload = PayloadSigning::Unsigned;
                Ok(())
            }
            PayloadRule::Signed | PayloadRule::Either => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::settings::{Document, Settings};

    fn read(keys: &str) -> Result<Settings, String> {
        let route = format!("uri: /*\napi_gateway:\n  function_uri: https://{{host}}\n{keys}");
        let documents = [Document::process(String::new()), Document::route("r", route)];
        Settings::from_documents(&documents, &[].into()).map_err(|mistakes| mistakes.to_string())
    }

    fn scope(settings: &Settings, host: &str) -> Result<(String, String), String> {
        let named = settings.routes[0].for_host(host).map_err(|problem| problem.to_string())?.unwrap();
        let (region, service) = named.backend.section().signing_scope().unwrap();
        Ok((region.to_owned(), service.to_owned()))
    }

    const SIGNED: &str = "  authorization: { iam: {} }\n";

    #[test]
    fn region_and_service_are_those_of_the_host_unless_they_are_set() {
        let hosts = "  hosts: ['*.amazonaws.com', c.neptune.example:8182, '*.on.aws']\n";
        let set = "  authorization: { iam: { aws_region: eu-west-3, service: neptune-db } }\n";
        let settings = read(&format!("{hosts}{set}")).unwrap();
        assert_eq!(
            scope(&settings, "C.Neptune.example:8182").unwrap(),
            ("eu-west-3".into(), "neptune-db".into())
        );
        let settings = read(&format!("  hosts: ['*.amazonaws.com', '*.on.aws']\n{SIGNED}")).unwrap();
        for (host, region, service) in [
            ("bedrock-runtime.us-east-1.amazonaws.com", "us-east-1", "bedrock"),
            ("B.s3.EU-west-1.amazonaws.com.:443", "eu-west-1", "s3"),
            ("s.vpc-lattice-svcs.us-east-2.on.aws", "us-east-2", "vpc-lattice-svcs"),
        ] {
            assert_eq!(scope(&settings, host).unwrap(), (region.into(), service.into()), "{host}");
        }
        for (host, problem) in [
            ("x.eu-west-1.elb.amazonaws.com", "the service of"),
            ("bucket.s3.amazonaws.com", "the region of"),
            ("b--x-s3.s3express-use1-az4.us-east-1.amazonaws.com", "cannot be signed"),
            ("s3.eu-west-1.amazonaws.com:8443", "is not in `hosts`"),
            ("amazonaws.com", "is not in `hosts`"),
            ("127.0.0.1", "is not in `hosts`"),
            ("[::1]", "is not in `hosts`"),
            ("a@s3.eu-west-1.amazonaws.com", "is not in `hosts`"),
            ("*.s3.eu-west-1.amazonaws.com", "is not in `hosts`"),
            ("", "is not in `hosts`"),
        ] {
            let found = scope(&settings, host).unwrap_err();
            assert!(found.contains(problem), "{host}: {found}");
        }
    }

    #[test]
    fn an_unsigned_payload_is_not_sent_to_a_service_that_refuses_it() {
        let unsigned = "  hosts: ['*.amazonaws.com']\n  authorization: { iam: { payload: unsigned } }\n";
        let settings = read(unsigned).unwrap();
        assert!(scope(&settings, "s3.eu-west-1.amazonaws.com").is_ok());
        let found = scope(&settings, "a.execute-api.eu-west-1.amazonaws.com").unwrap_err();
        assert!(found.contains("accepts only signed payloads"), "{found}");
    }

    #[test]
    fn hosts_that_cannot_be_called_are_mistakes_at_the_start() {
        for (keys, problem) in [
            (String::new(), "api_gateway.hosts: missing"),
            ("  hosts: []\n".to_owned(), "api_gateway.hosts: missing"),
            ("  hosts: ['*']\n".to_owned(), "api_gateway.hosts.0: invalid value `*`"),
            ("  hosts: [a.example, 10.0.0.1]\n".to_owned(), "api_gateway.hosts.1: invalid value `10.0.0.1`"),
            ("  hosts: ['[::1]']\n".to_owned(), "api_gateway.hosts.0: invalid value `[::1]`"),
            ("  hosts: ['a.example:0']\n".to_owned(), "api_gateway.hosts.0: invalid value `a.example:0`"),
            (format!("  hosts: [api.example]\n{SIGNED}"), "the service of `api.example` is unknown"),
            (
                format!("  hosts: [sts.amazonaws.com]\n{SIGNED}"),
                "the region of `sts.amazonaws.com` is unknown",
            ),
        ] {
            let mistakes = read(&keys).unwrap_err();
            assert!(mistakes.contains(problem), "{keys}: {mistakes}");
        }
    }

    #[test]
    fn the_name_host_is_reserved_and_the_routes_own_hosts_are_a_mistake() {
        let listed = "hosts: [s3.eu-west-1.amazonaws.com]";
        for (route, problem) in [
            (
                format!(
                    "uri: '/{{host}}/*'\napi_gateway: {{ function_uri: 'https://{{host}}', {listed} }}\n"
                ),
                "`{host}` is the host that the client names",
            ),
            (
                format!("uri: /*\napi_gateway: {{ function_uri: 'https://{{host}}/{{host}}', {listed} }}\n"),
                "`{host}` is the host that the client names",
            ),
            (
                format!(
                    "uri: /*\nhosts: [a.example]\napi_gateway: {{ function_uri: 'https://{{host}}', \
                     {listed} }}\n"
                ),
                "conflicts with `api_gateway.hosts`",
            ),
            (
                format!("uri: /*\napi_gateway: {{ function_uri: 'https://a.example', {listed} }}\n"),
                "has no effect without `{host}`",
            ),
        ] {
            let documents = [Document::process(String::new()), Document::route("r", route.clone())];
            let mistakes = Settings::from_documents(&documents, &[].into()).unwrap_err().to_string();
            assert!(mistakes.contains(problem), "{route}: {mistakes}");
        }
    }
}
