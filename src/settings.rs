//! The settings: what the operator wrote, read, checked and turned into what the program needs.
//!
//! `source` reads a tree of files and environment, `process` says what the process may be told and `route` what a route
//! may be told, both with the mistakes of sense. `loader.rs` runs the stages; every mistake of every stage is reported
//! together.
//! `state/builder.rs` builds the running program from the result.

#[macro_use]
mod source;

mod effective;
mod loader;
mod process;
mod route;
pub mod schema;
mod warnings;

pub use effective::effective;
pub use loader::SettingsLoader;
pub use process::{
    AdminSettings, Log, LogFormat, Reload, Settings, Shutdown,
    limits::Limits,
    listen::{Https, Listen},
    rust_log,
    tracing::{Otlp, Tracing},
};
pub use route::{
    RouteSettings,
    api_gateway::{ApiGatewaySettings, Authorization, ClientAuthorization, Iam},
    backend::{BackendSection, BackendSettings, UpstreamServer},
    circuit_breaker::CircuitBreakerSettings,
    connect::Connect,
    endpoint_variant::EndpointVariant,
    forward_proxy::{ForwardProxy, HostPort},
    function_uri::FunctionUri,
    key_source::{
        CredentialProvider, CredentialSettings, MetadataProtocol, MountedKeys, MountedPart, Role, is_key,
        is_swapped,
    },
    lambda::{
        AnswerSettings, EmptyArraysMode, ForwardedParts, GatewayEvent, InvocationType, InvokeMode,
        LambdaEndpoint, LambdaSettings, LogType, PayloadSettings, PayloadVersion,
    },
    retry::{MayHaveRun, RetrySettings},
    service,
    session_name::{DEFAULT as DEFAULT_SESSION_NAME, session_name},
    upstream::{Scheme, Timeouts, UpstreamSettings},
};
pub use source::{
    document::Document,
    hidden::Hidden,
    mistake::{Mistake, Mistakes, Place},
    reference::without_line_end,
    shown::REDACTED,
    tree::Environment,
};
pub use warnings::{remarks, warnings};

use self::source::{shown_key, tree::ROUTES};

/// The process's environment; what is no Unicode is nothing that the settings could mean.
pub fn environment() -> Environment {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// A key's path as it stands in its file: a route's file does not name the route again.
fn key_inside_file(path: &[String]) -> String {
    let inside = match path {
        [first, _, rest @ ..] if first == ROUTES => rest,
        all => all,
    };
    shown_key::joined(inside.iter().map(String::as_str))
}

#[cfg(test)]
mod tests;
