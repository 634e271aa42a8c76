//! A route's backend for rooms that do not know the backends: [`BackendSection`] has the questions that they ask of its
//! settings, and each backend answers them in a file below.
//!
//! A new backend has a section that answers, a variant and an arm of [`BackendSettings::section`] here, and its name among
//! the keys of a route and of `defaults`; the compiler asks for its place in the views of a route.

mod api_gateway;
mod lambda;

use serde_json::Value;

use crate::settings::{
    ApiGatewaySettings, CredentialSettings, EndpointVariant, LambdaSettings, Scheme, UpstreamSettings,
};

/// The settings of a route's backend.
#[derive(Debug, Clone, PartialEq)]
pub enum BackendSettings {
    /// An API Gateway endpoint or Function URL, as APISIX's `aws-lambda` plugin calls it.
    ApiGateway(Box<ApiGatewaySettings>),
    /// A function by the Invoke API, as Kong's `aws-lambda` plugin calls it.
    Lambda(Box<LambdaSettings>),
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
    /// The section, whichever backend it is of.
    pub fn section(&self) -> &dyn BackendSection {
        match self {
            Self::ApiGateway(settings) => &**settings,
            Self::Lambda(settings) => &**settings,
        }
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
