//! aws-sigv4-proxy: its command line, or the container that runs it.

mod containers;
mod credentials;
mod flags;
mod route;
mod variables;

use std::sync::Arc;

use self::{containers::Container, flags::Flags};
use super::{
    commands::Command,
    route::{ImportedRoute, Translation},
};
use crate::settings::{
    Place,
    foreign::{ForeignNode, Peer},
};

/// The name of the program in commands and images.
const PROGRAM: &str = "sigv4-proxy";

/// Every proxy of the files.
#[derive(Default)]
pub struct ProxyDeployments {
    containers: Vec<Container>,
}

impl ProxyDeployments {
    /// Adds the containers of a workload, a Compose file or a task definition.
    pub fn add(&mut self, document: &ForeignNode, file: &Arc<str>) {
        containers::in_document(document, file, &mut self.containers);
    }

    /// Adds the proxy of a command such as `docker run … aws-sigv4-proxy --name s3`; false for another one.
    pub fn add_command(&mut self, command: &Command, file: &Arc<str>) -> bool {
        let place = Place { source: Arc::clone(file), line: Some(command.line) };
        let container = containers::of_command(&command.words, place);
        let is_known = container.is_some();
        self.containers.extend(container);
        is_known
    }

    /// Translates each proxy into a route. Only one of them can have `/*`, so others get no file.
    pub fn translate(self, translation: &mut Translation) {
        for container in self.containers {
            let Container { name, title, place, arguments, .. } = &container;
            let mut imported =
                ImportedRoute::new(Peer::Sigv4Proxy, name.as_str(), title.as_str(), place.clone());
            match Flags::parse(arguments) {
                Ok(flags) => route::translate(&flags, &container, &mut imported, &mut translation.process),
                Err(problem) => imported.problem(problem),
            }
            translation.routes.push(imported);
        }
    }
}
