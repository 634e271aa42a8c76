//! A route's backend for rooms that do not know the backends: [`BackendSection`] has the questions that they ask of its
//! settings, and each backend answers them in a file below.
//!
//! A new backend has a section that answers and a row of `backends!`, from which come its keys in a route and in
//! `defaults`, its variant of [`BackendSettings`] and the rule that a route has one backend.

mod api_gateway;
mod lambda;

use std::sync::Arc;

use serde_json::{Map, Value};

use super::{api_gateway::WrittenApiGateway, lambda::WrittenLambda, shared_parts::SharedParts};
use crate::settings::{
    ApiGatewaySettings, CredentialSettings, EndpointVariant, LambdaSettings, Scheme, UpstreamSettings,
    process::limits::Limits, source::check::Checker,
};

/// The backends, each with its key, its section as written and its section checked.
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
            /// The section, whichever backend it is of.
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
            /// The only backend that is written for the route `id`.
            pub(super) fn check(
                self,
                id: &str,
                limits: &Limits,
                checker: &mut Checker<'_>,
            ) -> Option<BackendSettings> {
                only(&[$((stringify!($name), self.$name.is_some())),*], checker)?;
                $(if let Some(written) = self.$name {
                    let checked = written.check(id, limits, &mut checker.at(stringify!($name)));
                    return checked.map(Arc::new).map(BackendSettings::$Backend);
                })*
                None
            }
        }
    };
}

backends! {
    /// An API Gateway endpoint or Function URL.
    api_gateway: WrittenApiGateway => ApiGateway(ApiGatewaySettings);
    /// A function by Lambda's Invoke API.
    lambda: WrittenLambda => Lambda(LambdaSettings);
}

/// Reports a mistake unless a single one of the backends is there.
fn only(backends: &[(&str, bool)], checker: &mut Checker<'_>) -> Option<()> {
    let mut there = backends.iter().filter(|(_, is_there)| *is_there).map(|(name, _)| *name);
    let Some(first) = there.next() else {
        if !backends.iter().any(|(name, _)| checker.has_error(name)) {
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

/// The section of a backend in a route's file, checked.
pub trait BackendSection {
    /// The section's name.
    fn name(&self) -> &'static str;

    /// The server that is called, if `connect` does not lead elsewhere.
    fn server(&self) -> UpstreamServer<'_>;

    /// The connections, time limits and retries.
    fn upstream(&self) -> &UpstreamSettings;

    /// The source of the keys that sign its requests, if anything does.
    fn source(&self) -> Option<&CredentialSettings>;

    /// The proofs that go out, by their settings' names: `apikey`, `iam`.
    fn proofs(&self) -> Vec<&'static str>;

    /// Region and service of the signatures, if there are any.
    fn signing_scope(&self) -> Option<(&str, &str)>;

    /// Bytes of a request body.
    fn max_request_body(&self) -> u64;

    /// The section with its defaults and without its secrets, for people.
    fn shown(&self) -> Value;

    /// Server and callee in one text without secrets, for tables.
    fn summary(&self) -> String;

    /// The callee by itself: a path, or the name of a function.
    fn callee(&self) -> String;

    /// The key and the host of an AWS endpoint that is called as it is written, although the route's variant of
    /// endpoints is another.
    fn written_host(&self, _variant: EndpointVariant) -> Option<(&'static str, &str)> {
        None
    }

    /// Allowed but unwise settings of this backend alone, a sentence each, for the route `id`.
    fn warnings(&self, _id: &str) -> Vec<String> {
        Vec::new()
    }

    /// Defaults of this backend that surprise who knows AWS, a sentence each, for the route `id`.
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

    /// The source of the keys that sign its requests, if anything does.
    pub fn source(&self) -> Option<&CredentialSettings> {
        self.section().source()
    }

    /// The connections, time limits and retries.
    pub fn upstream(&self) -> &UpstreamSettings {
        self.section().upstream()
    }
}
