//! The texts of the settings that a request carries and nobody is shown: `explain` leaves them out.
//!
//! `settings.rs` gathers them once `reference.rs` has done its work, by what the keys' declarations say
//! (`secrecy.rs`).

use secrecy::{ExposeSecret as _, SecretString};

use super::{
    secrecy::Secrecy,
    tree::{Content, Node, Notation, ROUTES},
};

/// Shorter texts would be found everywhere.
const SHORTEST: usize = 3;
/// Shorter numbers are those of lengths, ports and times too.
const SHORTEST_NUMBER: usize = 6;

/// Texts that are left out of what a person is shown.
#[derive(Debug, Clone, Default)]
pub struct Hidden(Vec<Text>);

/// One of them, and where it is looked for.
#[derive(Debug, Clone)]
enum Text {
    /// Came from a reference: wherever it stands.
    Referred(SecretString),
    /// Written as the value of a secret key: where it is a whole text of JSON, as in an event. In the middle
    /// of another text it would be a word like any other, such as `prod`.
    Whole(SecretString),
    /// A pair of a query: its name is shown.
    Pair { name: String, value: SecretString },
}

impl Text {
    fn parts(&self) -> (&str, &str) {
        match self {
            Self::Referred(text) | Self::Whole(text) => ("", text.expose_secret()),
            Self::Pair { name, value } => (name, value.expose_secret()),
        }
    }
}

impl PartialEq for Hidden {
    fn eq(&self, other: &Self) -> bool {
        let parts = |all: &Self| {
            let own = all.0.iter().map(|text| (std::mem::discriminant(text), text.parts()));
            own.map(|(kind, (name, value))| (kind, name.to_owned(), value.to_owned())).collect::<Vec<_>>()
        };
        parts(self) == parts(other)
    }
}

impl Hidden {
    /// Adds those of the routes in a tree.
    pub(in crate::settings) fn add_tree(&mut self, tree: &Node) {
        if let Some(routes) = tree.child(ROUTES) {
            self.gather(routes, &mut vec![ROUTES.to_owned()]);
        }
    }

    fn gather(&mut self, node: &Node, path: &mut Vec<String>) {
        match &node.content {
            Content::Text(text) => {
                self.add(text, node.notation == Notation::Reference, Secrecy::of_key(path));
            }
            Content::List(list) => {
                for (index, item) in list.iter().enumerate() {
                    path.push(index.to_string());
                    self.gather(item, path);
                    path.pop();
                }
            }
            Content::Table(table) => {
                for (key, child) in table {
                    path.push(key.clone());
                    self.gather(child, path);
                    path.pop();
                }
            }
            Content::Integer(number) => self.add_number(&number.to_string(), Secrecy::of_key(path)),
            Content::Float(number) => self.add_number(&number.to_string(), Secrecy::of_key(path)),
            Content::Null | Content::Boolean(_) => {}
        }
    }

    /// A number of a table that is a secret, such as `body`.
    fn add_number(&mut self, number: &str, secrecy: Secrecy) {
        if secrecy == Secrecy::Secret && number.len() >= SHORTEST_NUMBER {
            self.0.push(Text::Referred(SecretString::from(number.to_owned())));
        }
    }

    /// The texts of a JSON object that is written as one text.
    fn add_leaves(&mut self, value: &serde_json::Value) {
        match value {
            serde_json::Value::String(text) => self.add(text, false, Secrecy::Secret),
            serde_json::Value::Number(number) => self.add_number(&number.to_string(), Secrecy::Secret),
            serde_json::Value::Array(items) => items.iter().for_each(|item| self.add_leaves(item)),
            serde_json::Value::Object(members) => members.values().for_each(|item| self.add_leaves(item)),
            serde_json::Value::Null | serde_json::Value::Bool(_) => {}
        }
    }

    fn add(&mut self, text: &str, is_reference: bool, secrecy: Secrecy) {
        let secret = |text: &str| SecretString::from(text.to_owned());
        match secrecy {
            Secrecy::Open => {}
            Secrecy::Query => {
                let Some((_, query)) = text.split_once('?') else { return };
                if is_reference && query.len() >= SHORTEST {
                    self.0.push(Text::Referred(secret(query)));
                }
                // a signed query goes out with other escapes
                let mut strict = String::new();
                crate::text::uri_syntax::query::push_strict(query, &mut strict);
                for pair in query.split('&').chain(strict.split('&')) {
                    match pair.split_once('=') {
                        Some((name, value)) if !value.is_empty() => {
                            self.0.push(Text::Pair { name: format!("{name}="), value: secret(value) });
                        }
                        None if pair.len() >= SHORTEST => self.0.push(Text::Referred(secret(pair))),
                        _ => {}
                    }
                }
            }
            _ if text.len() < SHORTEST => {}
            _ if is_reference => {
                self.0.push(Text::Referred(secret(text)));
                if let Ok(object @ serde_json::Value::Object(_)) = serde_json::from_str(text) {
                    self.add_leaves(&object);
                }
            }
            Secrecy::Secret | Secrecy::UnlessPath => {
                self.0.push(Text::Whole(secret(text)));
                if let Ok(object @ serde_json::Value::Object(_)) = serde_json::from_str(text) {
                    self.add_leaves(&object);
                }
            }
            Secrecy::Reference => {}
        }
    }

    /// A text without any of them.
    pub fn left_out_of(&self, text: &str, instead: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, hidden| {
            let (name, secret) = hidden.parts();
            // in JSON some characters are others
            let quoted = serde_json::Value::from(secret).to_string();
            match hidden {
                Text::Referred(_) => text.replace(secret, instead).replace(quoted.trim_matches('"'), instead),
                Text::Whole(_) => text.replace(&quoted, &format!("\"{instead}\"")),
                Text::Pair { .. } => text.replace(&format!("{name}{secret}"), &format!("{name}{instead}")),
            }
        })
    }
}
