//! The settings: what the operator wrote, read, checked and turned into what the program needs.
//!
//! In the order of reading: `document` finds the files, `tree` merges them with the environment by the
//! `config` crate (`lines` knows where each key stands), `reference` fills in secrets, `reader` finds
//! mistakes of form, and `process`, `route`, `api_gateway` and `upstream` give the values meaning and find
//! mistakes of sense. Every mistake of every stage is reported together. `snapshot.rs` builds the running
//! program from the result.

mod api_gateway;
mod check;
mod document;
mod lines;
mod mistake;
mod process;
mod reader;
mod reference;
mod route;
mod tree;
pub mod units;
mod upstream;

use std::path::Path;

pub use api_gateway::{ApiGatewaySettings, Authorization, ClientAuthorization, FunctionUri, Iam};
pub use document::Document;
pub use mistake::{Mistake, Mistakes, Place};
pub use process::{Limits, Listen, Log, Settings, Shutdown};
pub use route::{BackendSettings, RouteSettings};
pub use tree::Environment;
pub use upstream::{Scheme, Timeouts, UpstreamSettings};

use self::{
    check::Checker,
    process::WrittenSettings,
    tree::{Content, Node, ROUTES},
};

/// The section of `default.yaml` that lies beneath every route.
const DEFAULTS: &str = "defaults";

impl Settings {
    /// Reads a settings directory and the process's environment.
    ///
    /// # Errors
    /// Every mistake there is, sorted by file and line.
    pub fn load(directory: &Path) -> Result<Self, Mistakes> {
        let mut mistakes = Mistakes::default();
        let documents = document::read_directory(directory, &mut mistakes);
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self::assemble(&documents, &environment, mistakes)
    }

    /// Reads settings from texts and a given environment.
    ///
    /// # Errors
    /// Every mistake there is, sorted by file and line.
    pub fn from_documents(documents: &[Document], environment: &Environment) -> Result<Self, Mistakes> {
        Self::assemble(documents, environment, Mistakes::default())
    }

    fn assemble(
        documents: &[Document],
        environment: &Environment,
        mut mistakes: Mistakes,
    ) -> Result<Self, Mistakes> {
        let mut tree = tree::merge(documents, environment, &mut mistakes);
        reference::resolve(&mut tree, &mut Vec::new(), environment, &mut mistakes);
        lay_defaults_beneath_routes(&mut tree);
        let written: WrittenSettings = reader::read(&mut tree, &mut mistakes);
        let settings = Self::check(written, &mut Checker::new(&tree, &mut mistakes));
        mistakes.into_result(settings)
    }
}

/// Gives each route what `defaults` says about the backend that the route has.
fn lay_defaults_beneath_routes(tree: &mut Node) {
    let Some(Content::Table(sections)) = tree.child(DEFAULTS).map(|defaults| defaults.content.clone()) else {
        return;
    };
    let Content::Table(root) = &mut tree.content else { return };
    let Some(Content::Table(routes)) = root.get_mut(ROUTES).map(|routes| &mut routes.content) else { return };
    for route in routes.values_mut() {
        let Content::Table(keys) = &mut route.content else { continue };
        for (section, defaults) in &sections {
            if let Some(own) = keys.get_mut(section) {
                own.fill(defaults);
            }
        }
    }
}

/// A key's path as it stands in its file: a route's file does not name the route again.
fn key_inside_file(path: &[String]) -> String {
    let inside = match path {
        [first, _, rest @ ..] if first == ROUTES => rest,
        all => all,
    };
    inside.join(".")
}

#[cfg(test)]
mod tests;
