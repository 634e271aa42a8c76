//! What references have put into requests: who explains a request leaves it out, since it may be a secret.
//!
//! `settings.rs` gathers it once `reference.rs` has done its work; `explain.rs` asks.

use secrecy::{ExposeSecret as _, SecretString};

use super::tree::{Content, Node, Spelling};

/// The keys whose values a request shows as they are, and that nobody takes for a secret by their names.
const SHOWN: [&str; 4] = ["body", "client_context", "stage_variables", "tenant_id"];
/// Of this one a request shows the query.
const URI: &str = "function_uri";
/// Shorter texts would be found everywhere.
const SHORTEST: usize = 3;

/// Texts that came from references.
#[derive(Debug, Clone, Default)]
pub struct Referred(Vec<SecretString>);

impl PartialEq for Referred {
    fn eq(&self, other: &Self) -> bool {
        let texts = |all: &Self| all.0.iter().map(|text| text.expose_secret().to_owned()).collect::<Vec<_>>();
        texts(self) == texts(other)
    }
}

impl Referred {
    /// Those in a tree.
    pub(super) fn in_tree(tree: &Node) -> Self {
        let mut found = Self::default();
        found.gather(tree, None);
        found
    }

    /// `key` is the one that decides, of those above the node.
    fn gather(&mut self, node: &Node, key: Option<&str>) {
        match &node.content {
            Content::Text(text) if node.spelling == Spelling::Referred => {
                let shown = match key {
                    Some(URI) => text.split_once('?').map(|(_, query)| query),
                    key => key.map(|_| text.as_str()),
                };
                let shown = shown.filter(|shown| shown.len() >= SHORTEST);
                self.0.extend(shown.map(|shown| SecretString::from(shown.to_owned())));
            }
            Content::List(list) => list.iter().for_each(|item| self.gather(item, key)),
            Content::Table(table) => {
                for (name, child) in table {
                    let decides = SHOWN.contains(&name.as_str()) || name == URI;
                    self.gather(child, key.or(decides.then_some(name)));
                }
            }
            _ => {}
        }
    }

    /// A text without any of them.
    pub fn left_out_of(&self, text: &str, instead: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| {
            let secret = secret.expose_secret();
            // in JSON some characters are others
            let quoted = serde_json::Value::from(secret).to_string();
            text.replace(secret, instead).replace(quoted.trim_matches('"'), instead)
        })
    }
}
