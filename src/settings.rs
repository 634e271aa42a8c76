//! The settings, read from files and the environment and checked.
//!
//! `source` reads a tree, `process` and `route` declare its keys and check their values. All mistakes of all stages are
//! reported together.

#[macro_use]
mod source;

mod effective;
mod process;
mod route;
pub mod schema;
mod warnings;

use std::path::Path;

pub use effective::effective;
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
    connect::Connect,
    endpoint_variant::EndpointVariant,
    environment_proxies::{EnvironmentProxies, PROXY_VARIABLES, UnusableProxy},
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
    proxy_rule::{Direct, ProxyChoice, ProxyRule},
    retry::{MayHaveRun, RetrySettings},
    service,
    session_name::{DEFAULT as DEFAULT_SESSION_NAME, session_name},
    upstream::{CircuitBreakerSettings, Scheme, Timeouts, UpstreamSettings},
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

use self::{
    process::WrittenSettings,
    source::{
        check::Checker,
        document, merge, reader, reference,
        tree::{Content, DEFAULTS, Node, ROUTES},
    },
};

/// The treatment of settings without a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NoRoutes {
    /// A mistake at the start: the files may be in another directory.
    Refused,
    /// Valid after a reload, if the directory exists: the operator has removed the last route.
    Taken,
}

impl Settings {
    /// Reads a settings directory and the process's environment.
    ///
    /// # Errors
    /// All mistakes, sorted by file and line.
    pub fn load(directory: &Path) -> Result<Self, Mistakes> {
        Self::load_with(directory, NoRoutes::Refused)
    }

    /// Reads them again while the process runs, where the last route may have been removed.
    ///
    /// # Errors
    /// All mistakes, sorted by file and line.
    pub fn load_again(directory: &Path) -> Result<Self, Mistakes> {
        Self::load_with(directory, NoRoutes::Taken)
    }

    fn load_with(directory: &Path, no_routes: NoRoutes) -> Result<Self, Mistakes> {
        let mut mistakes = Mistakes::default();
        let documents = document::read_directory(directory, no_routes, &mut mistakes);
        Self::assemble(&documents, &environment(), no_routes, mistakes)
    }

    /// Reads settings from texts and a given environment.
    ///
    /// # Errors
    /// All mistakes, sorted by file and line.
    pub fn from_documents(documents: &[Document], environment: &Environment) -> Result<Self, Mistakes> {
        Self::assemble(documents, environment, NoRoutes::Refused, Mistakes::default())
    }

    fn assemble(
        documents: &[Document],
        environment: &Environment,
        no_routes: NoRoutes,
        mut mistakes: Mistakes,
    ) -> Result<Self, Mistakes> {
        let is_bare = mistakes.is_empty() && !documents.iter().any(Document::is_route);
        if is_bare && no_routes == NoRoutes::Taken {
            let warning = "there is no route: every request is answered 404";
            mistakes.warn(Mistake::new(Place::file("routes"), "", warning));
        } else if is_bare {
            let problem = Mistake::new(Place::file("routes"), "", "there is no route");
            mistakes.push(problem.expected("at least one file routes/NAME.yaml"));
        }
        let mut tree = merge::merge(documents, environment, &mut mistakes);
        reference::resolve(&mut tree, &mut Vec::new(), environment, &mut mistakes);
        let mut defaults = take_defaults(&mut tree);
        let WrittenSettings { defaults: written_defaults, .. } = reader::read(&mut defaults, &mut mistakes);
        lay_beneath_routes(&defaults, &mut tree);
        let written: WrittenSettings = reader::read(&mut tree, &mut mistakes);
        let mut settings = Self::check(written, &mut Checker::new(&tree, environment, &mut mistakes));
        if let Some(written) = written_defaults {
            let mut checker = Checker::new(&defaults, environment, &mut mistakes).partial();
            let is_used = |section: &str| has_section(&tree, section);
            written.backends.check_unused(is_used, &settings.limits, &mut checker.at(DEFAULTS));
        }
        settings.hidden = Hidden::in_tree(&tree);
        settings.warnings = mistakes.warnings();
        mistakes.into_result(settings)
    }
}

/// The process's environment without variables that are not Unicode.
pub fn environment() -> Environment {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// Moves `defaults` into a tree without routes, where its mistakes are reported once.
fn take_defaults(tree: &mut Node) -> Node {
    let mut alone = Node::empty();
    if let (Some(defaults), Content::Table(table)) = (tree.remove(&[DEFAULTS.to_owned()]), &mut alone.content)
    {
        table.insert(DEFAULTS.to_owned(), defaults);
    }
    alone
}

/// Whether a route has this backend.
fn has_section(tree: &Node, backend: &str) -> bool {
    let Some(Content::Table(routes)) = tree.child(ROUTES).map(|routes| &routes.content) else { return false };
    routes.values().any(|route| route.child(backend).is_some())
}

/// Adds the keys of `defaults` for its backend to each route that lacks them.
fn lay_beneath_routes(defaults: &Node, tree: &mut Node) {
    let Some(Content::Table(sections)) = defaults.child(DEFAULTS).map(|defaults| &defaults.content) else {
        return;
    };
    let Content::Table(root) = &mut tree.content else { return };
    let Some(Content::Table(routes)) = root.get_mut(ROUTES).map(|routes| &mut routes.content) else { return };
    for route in routes.values_mut() {
        let Content::Table(keys) = &mut route.content else { continue };
        for (section, defaults) in sections {
            if let Some(own) = keys.get_mut(section) {
                own.fill(defaults);
            }
        }
    }
}

#[cfg(test)]
mod tests;
