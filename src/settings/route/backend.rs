//! A route's backend: [`BackendSection`] is the interface of its settings, so that other modules need not
//! distinguish the backends.
//!
//! A new backend implements [`BackendSection`] and adds a row to `backends!`, which makes its keys in routes
//! and in `defaults`, its variant of [`BackendSettings`] and the rule that a route has one backend.

mod api_gateway;
mod lambda;

use std::sync::Arc;

use serde_json::{Map, Value};

use super::{api_gateway::WrittenApiGateway, lambda::WrittenLambda, shared_parts::SharedParts};
use crate::{
    settings::{
        ApiGatewaySettings, CallerKeys, CredentialSettings, EndpointVariant, LambdaSettings, Scheme,
        TargetHosts, UpstreamSettings, process::limits::Limits, source::check::Checker,
    },
    text::units::OrNone,
};

/// The backends, each with its key, its written section and its checked section.
macro_rules! backends {
    ($($(#[doc = $doc:literal])* $name:ident: $Written:ident => $Backend:ident($Checked:ident);)*) => {
        section! {
            read as WrittenBackends, optional "a table of backends";

            $($(#[doc = $doc])* $name: $Written => _;)*
        }

        /// The settings of a route's backend.
        #[derive(Debug, Clone, PartialEq)]
        pub enum BackendSettings {
            $($(#[doc = $doc])* $Backend(Arc<$Checked>),)*
        }

        impl BackendSettings {
            /// The section of the backend.
            pub fn section(&self) -> &dyn BackendSection {
                match self {
                    $(Self::$Backend(settings) => &**settings,)*
                }
            }

            /// Shares equal parts with earlier routes.
            pub(in crate::settings) fn share_parts(&mut self, shared: &mut SharedParts) {
                match self {
                    $(Self::$Backend(settings) => {
                        if let Some(settings) = Arc::get_mut(settings) {
                            settings.share_parts(shared);
                        }
                    })*
                }
            }
        }

        impl WrittenBackends {
            /// Checks the backend of the route `id`; exactly one must be set.
            pub(super) fn check(
                self,
                id: &str,
                limits: &Limits,
                checker: &mut Checker<'_>,
            ) -> Option<BackendSettings> {
                require_one(&[$((stringify!($name), self.$name.is_some())),*], checker)?;
                $(if let Some(written) = self.$name {
                    let checked = written.check(id, limits, &mut checker.at(stringify!($name)));
                    return checked.map(Arc::new).map(BackendSettings::$Backend);
                })*
                None
            }

            /// Checks the values in `defaults` of each backend that no route has. The routes check the
            /// others.
            pub(in crate::settings) fn check_unused(
                self,
                is_used: impl Fn(&str) -> bool,
                limits: &Limits,
                checker: &mut Checker<'_>,
            ) {
                $(if let Some(written) = self.$name.filter(|_| !is_used(stringify!($name))) {
                    written.check(stringify!($name), limits, &mut checker.at(stringify!($name)));
                })*
            }
        }
    };
}

backends! {
    /// An API Gateway endpoint or Function URL.
    api_gateway: WrittenApiGateway => ApiGateway(ApiGatewaySettings);
    /// A Lambda function, called by the Invoke API.
    lambda: WrittenLambda => Lambda(LambdaSettings);
}

/// Reports a mistake unless exactly one backend is set.
fn require_one(backends: &[(&str, bool)], checker: &mut Checker<'_>) -> Option<()> {
    let mut there = backends.iter().filter(|(_, is_there)| *is_there).map(|(name, _)| *name);
    let Some(first) = there.next() else {
        if !backends.iter().any(|(name, _)| checker.has_error(name) || checker.has_misspelled(name)) {
            let names: Vec<String> = backends.iter().map(|(name, _)| format!("`{name}`")).collect();
            checker.report("missing backend", names.join(" or "));
        }
        return None;
    };
    let others: Vec<&str> = there.collect();
    for other in &others {
        checker.at(other).report(format!("conflicts with `{first}`"), "one of the two");
    }
    others.is_empty().then_some(())
}

/// The server that a backend calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpstreamServer<'a> {
    /// Plain or over TLS.
    pub scheme: Scheme,
    /// Name or address; an IPv6 address is without its brackets.
    pub host: &'a str,
    /// Port.
    pub port: u16,
}

/// The checked section of a backend.
pub trait BackendSection {
    /// The key of the section.
    fn name(&self) -> &'static str;

    /// The server that is called, unless `connect` names another.
    fn server(&self) -> UpstreamServer<'_>;

    /// The connections, time limits and retries.
    fn upstream(&self) -> &UpstreamSettings;

    /// The source of the route's own credentials; `None` without signatures, or if only keys of callers sign.
    fn source(&self) -> Option<&CredentialSettings>;

    /// True if keys of callers sign the requests.
    fn caller_keys(&self) -> CallerKeys;

    /// The kinds of credentials that are sent, as in the settings: `apikey`, `iam`.
    fn authorization_kinds(&self) -> Vec<&'static str>;

    /// The hosts that clients may name; `None` if the settings name the host.
    fn target_hosts(&self) -> Option<&TargetHosts> {
        None
    }

    /// The entry of `hosts` for the host that a client has named, with its port.
    fn named_by_client(&self) -> Option<&str> {
        None
    }

    /// The path parameters of the route's `uri` that it needs.
    fn path_parameters(&self) -> Vec<&str> {
        Vec::new()
    }

    /// The lower-case names of the headers that its authorization sets or removes in requests.
    fn own_headers(&self) -> &'static [&'static str] {
        &[]
    }

    /// True if the upstream or the function sees the headers of requests.
    fn forwards_headers(&self) -> bool {
        true
    }

    /// True if the upstream or the function sees the path that `strip_path` and `rewrite` change.
    fn forwards_path(&self) -> bool {
        true
    }

    /// True if the backend writes the names of headers in their own case.
    fn keeps_spelling(&self) -> bool {
        false
    }

    /// Region and service of the signatures; `None` without signatures.
    fn signing_scope(&self) -> Option<(&str, &str)>;

    /// The maximum size of a request body in bytes.
    fn max_request_body(&self) -> OrNone<u64>;

    /// The section with its defaults and without its secrets.
    fn shown(&self) -> Value;

    /// Server and callee in one text without secrets.
    fn summary(&self) -> String;

    /// The path or the function that is called.
    fn callee(&self) -> String;

    /// The key and the value of an AWS host in the settings that does not match the route's endpoint variant.
    fn written_host(&self, _variant: EndpointVariant) -> Option<(&'static str, &str)> {
        None
    }

    /// Warnings about valid but unwise settings of the route `id`, one sentence each.
    fn warnings(&self, _id: &str) -> Vec<String> {
        Vec::new()
    }

    /// Remarks on defaults that differ from AWS's, for the route `id`, one sentence each.
    fn remarks(&self, _id: &str) -> Vec<String> {
        Vec::new()
    }
}

impl BackendSettings {
    /// Adds the section under its name, without secrets.
    pub(in crate::settings) fn members(&self, _: &str, members: &mut Map<String, Value>) {
        let section = self.section();
        members.insert(section.name().to_owned(), section.shown());
    }

    /// The source of the route's own credentials; `None` without signatures, or if only keys of callers sign.
    pub fn source(&self) -> Option<&CredentialSettings> {
        self.section().source()
    }

    /// The connections, time limits and retries.
    pub fn upstream(&self) -> &UpstreamSettings {
        self.section().upstream()
    }
}

#[cfg(test)]
mod tests {
    use crate::settings::{Document, Mistake, Settings};

    const GATEWAY: &str = "uri: /g\napi_gateway: { function_uri: https://a.example/ }\n";
    const LAMBDA: &str = "uri: /f\nlambda: { function_name: f, aws_region: us-east-1 }\n";

    fn mistakes(process: &str, route: &str) -> Vec<String> {
        let documents = [Document::process(process), Document::route("r", route)];
        let environment = [("SECRET".to_owned(), "s".to_owned())].into();
        let read = Settings::from_documents(&documents, &environment);
        read.map_or_else(|mistakes| mistakes.iter().map(Mistake::to_string).collect(), |_| Vec::new())
    }

    #[test]
    fn the_values_of_defaults_are_checked_although_no_route_has_the_backend() {
        let process = "defaults:\n  lambda:\n    timeout: 10ms\n    aws_region: US\n    \
            aws_assume_role_arn: role/x\n    proxy_url: https://p\n    retry: { attempts: 11 }\n    \
            unhandled_status: 199\n";
        let expected = [
            "default.yaml:3: defaults.lambda.timeout: 10ms is out of range; expected 100ms to 1day",
            "default.yaml:4: defaults.lambda.aws_region: invalid value `US`; expected a region",
            "default.yaml:5: defaults.lambda.aws_assume_role_arn: invalid value `role/x`",
            "default.yaml:6: defaults.lambda.proxy_url: proxy_url scheme must be http",
            "default.yaml:7: defaults.lambda.retry.attempts: 11 is out of range; expected 1 to 10",
            "default.yaml:8: defaults.lambda.unhandled_status: 199 is out of range",
        ];
        let found = mistakes(process, GATEWAY);
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for (mistake, start) in found.iter().zip(expected) {
            assert!(mistake.starts_with(start), "{mistake}\ndoes not start with\n{start}");
        }
        let found = mistakes("defaults: { api_gateway: { keepalive_timeout: 1ms } }", LAMBDA);
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(
            found[0].starts_with("default.yaml:1: defaults.api_gateway.keepalive_timeout: 1ms"),
            "{found:#?}"
        );
    }

    #[test]
    fn defaults_that_a_route_completes_are_valid_while_no_route_has_the_backend() {
        let process = "defaults:\n  lambda:\n    aws_external_id: id\n    stage: prod\n    \
            qualifier: live\n    connect: {}\n    aws_secret: $env://SECRET\n    client_key: /k.pem\n";
        assert_eq!(mistakes(process, GATEWAY), [""; 0]);
        assert_eq!(mistakes("defaults: { api_gateway: { authorization: {} } }", LAMBDA), [""; 0]);
    }
}
