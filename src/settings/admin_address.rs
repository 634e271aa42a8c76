//! The address of the admin port alone, for `apigw-invoker health`.
//!
//! No other key and no route is read: the running sidecar keeps its settings when the files get a mistake,
//! and its health check must not fail because of that.

use std::{net::SocketAddr, path::Path};

use super::{
    process::WrittenSettings,
    source::{
        check::Checker,
        document,
        mistake::{Mistake, Mistakes, Place},
        overrides::overrides,
        reader,
        reference::{self, ReferenceSources},
        remote_secret::SecretValues,
        tree::{Environment, Node},
        yaml,
    },
};

const SECTION: &str = "admin";
const KEY: &str = "address";
/// The variable that overrides the key.
const VARIABLE: &str = "APIGW_INVOKER__ADMIN__ADDRESS";

/// The admin port's address of the environment, of `default.yaml` in this directory, or the default.
///
/// The mistakes are those of this key, with which the address is the default.
pub fn admin_address(directory: Option<&Path>, environment: &Environment) -> (SocketAddr, Mistakes) {
    let mut mistakes = Mistakes::default();
    let written = of_environment(environment, &mut mistakes)
        .or_else(|| directory.and_then(|directory| of_file(directory, &mut mistakes)));
    let mut tree = match written {
        Some(address) => Node::with_child(SECTION, Node::with_child(KEY, address)),
        None => Node::empty(),
    };
    let secrets = SecretValues::default();
    let sources = ReferenceSources { environment, secrets: &secrets, refused: &[] };
    reference::resolve(&mut tree, &mut Vec::new(), sources, &mut mistakes);
    let written: WrittenSettings = reader::read(&mut tree, &mut mistakes);
    let mut checker = Checker::new(&tree, environment, &mut mistakes);
    let admin = written.admin.unwrap_or_default().check(&mut checker.at(SECTION));
    (admin.address, mistakes)
}

fn of_environment(environment: &Environment, mistakes: &mut Mistakes) -> Option<Node> {
    let variables = environment.iter().filter(|(name, _)| name.to_uppercase() == VARIABLE);
    let variables = variables.map(|(name, value)| (name.clone(), value.clone())).collect();
    address_in(overrides(&variables, mistakes))
}

fn of_file(directory: &Path, mistakes: &mut Mistakes) -> Option<Node> {
    let document = document::process_document(directory, mistakes)?;
    let source = document.source.as_str().into();
    match yaml::parse(&document.text, &source) {
        Ok(parsed) => address_in(parsed.root),
        Err(error) => {
            let place = Place { source, line: Some(error.line) };
            mistakes.push(Mistake { expected: error.expected, ..Mistake::new(place, "", error.problem) });
            None
        }
    }
}

fn address_in(mut tree: Node) -> Option<Node> {
    tree.remove(&[SECTION.to_owned(), KEY.to_owned()])
}
