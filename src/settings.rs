//! The settings, read from files and the environment and checked.
//!
//! `source` reads a tree of files and environment, `process` and `route` declare its keys and check their
//! values. `loader.rs` runs the stages. All mistakes of all stages are reported together. `admin_address.rs`
//! reads one key alone.

#[macro_use]
mod source;

mod admin_address;
mod bundle;
mod effective;
mod loader;
#[cfg(feature = "dev")]
mod local_functions;
#[cfg(feature = "dev")]
mod local_targets;
mod process;
mod route;
pub mod schema;
mod warnings;

pub use admin_address::admin_address;
pub use bundle::{BundleLink, bundle_serial};
pub use effective::effective;
pub use loader::SettingsLoader;
#[cfg(feature = "dev")]
pub use local_functions::LocalFunction;
#[cfg(feature = "dev")]
pub use local_targets::{LocalTargets, local_environment};
pub use process::{
    Log, LogFormat, Reload, Settings, Shutdown,
    admin::{AdminSettings, InspectSettings},
    limits::Limits,
    listen::{Https, Listen},
    rust_log,
    secrets::{Secrets, SecretsAccess},
    tracing::{Otlp, Tracing},
    trusted_ips::TrustedIps,
};
pub use route::{
    RouteSettings,
    api_gateway::{ApiGatewaySettings, Authorization, ClientAuthorization, Iam},
    backend::{BackendSection, BackendSettings, UpstreamServer},
    client_credentials::CallerKeys,
    connect::Connect,
    endpoint_variant::EndpointVariant,
    environment_proxies::{EnvironmentProxies, PROXY_VARIABLES, UnusableProxy},
    forward_proxy::{ForwardProxy, HostPort},
    function_uri::FunctionUri,
    header_text::HeaderText,
    headers::{HeaderEdits, HeaderSettings},
    key_source::{
        CredentialProvider, CredentialSettings, MetadataProtocol, MountedKeys, MountedPart, Role, is_key,
        is_swapped,
    },
    lambda::{
        AnswerSettings, EmptyArraysMode, ForwardedParts, GatewayEvent, InvocationType, InvokeMode,
        LambdaEndpoint, LambdaSettings, LogType, PayloadSettings, PayloadVersion,
    },
    proxy_rule::{Direct, ProxyChoice, ProxyRule},
    retry::{MayHaveRun, RetrySettings},
    roles_anywhere::{PemSource, RolesAnywhereSettings},
    service::{self, PayloadSigning},
    session_name::{DEFAULT as DEFAULT_SESSION_NAME, session_name},
    target_hosts::{HostChoice, TargetHosts, TargetProblem, name_and_port},
    upstream::{CircuitBreakerSettings, Scheme, Timeouts, UpstreamSettings},
};
pub use source::{
    document::Document,
    foreign,
    hidden::Hidden,
    mistake::{Mistake, Mistakes, Place},
    reference::{is_supported as is_supported_reference, without_line_end},
    remote_secret::{NamedSecret, SecretId, SecretReference, SecretService, SecretStore},
    shown::REDACTED,
    tree::Environment,
};
pub use warnings::{remarks, warnings};

/// The process's environment without variables that are not Unicode. Those about proxies stay, with U+FFFD
/// for invalid bytes: such a proxy is a mistake, and must not be the same as none.
pub fn environment() -> Environment {
    std::env::vars_os()
        .filter_map(|(name, value)| {
            let name = name.into_string().ok()?;
            let is_kept = PROXY_VARIABLES.contains(&name.as_str());
            let value = value
                .into_string()
                .or_else(|value| is_kept.then(|| value.to_string_lossy().into_owned()).ok_or(()));
            Some((name, value.ok()?))
        })
        .collect()
}

#[cfg(test)]
mod tests;
