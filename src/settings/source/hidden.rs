//! Secret texts of the settings that a request carries: `explain` leaves them out of what it prints. The
//! declaration of each key decides (`secrecy.rs`).

use actix_http::header::{HeaderMap, HeaderValue};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

use super::{
    secrecy::Secrecy,
    tree::{Content, Node, Notation, ROUTES},
};
use crate::{settings::route::proxy_rule::OFF, text::uri_syntax::query::push_strict};

/// Shorter texts would be found everywhere.
const MIN_TEXT_BYTES: usize = 3;
/// Shorter numbers may be lengths, ports and times.
const MIN_DIGITS: usize = 6;
/// Shorter values may be words that other texts contain too.
const LONGEST_WORD: usize = 12;

/// Texts that are replaced in what a person is shown.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Hidden(Vec<HiddenText>);

/// A secret text, and the places where it is searched for.
#[derive(Debug, Clone)]
struct HiddenText {
    scope: HiddenScope,
    /// The name and `=` of a pair of a query, which is shown.
    name: String,
    secret: SecretString,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HiddenScope {
    /// In any text: the secret came from a reference.
    Anywhere,
    /// As a whole JSON string, as in an event: the value of a secret key as written may be a word like
    /// `prod`, which other texts contain too.
    JsonString,
    /// After the name.
    QueryPair,
}

impl PartialEq for HiddenText {
    fn eq(&self, other: &Self) -> bool {
        self.scope == other.scope
            && self.name == other.name
            && self.secret.expose_secret() == other.secret.expose_secret()
    }
}

impl Hidden {
    /// Adds the secret texts of the routes in a tree.
    pub(in crate::settings) fn add_tree(&mut self, tree: &Node) {
        if let Some(routes) = tree.child(ROUTES) {
            routes.walk(&mut vec![ROUTES.to_owned()], &mut |path, node| match &node.content {
                // a placeholder
                _ if node.secret.as_ref().is_some_and(|secret| !secret.is_known) => {}
                // a word, not a secret
                Content::Text(text) if text == OFF && path.last().is_some_and(|key| key == "proxy_url") => {}
                Content::Text(text) => {
                    self.add(text, node.notation == Notation::Reference, Secrecy::of_key(path));
                }
                Content::Integer(number) => self.add_number(&number.to_string(), Secrecy::of_key(path)),
                Content::Float(number) => self.add_number(&number.to_string(), Secrecy::of_key(path)),
                Content::Null | Content::Boolean(_) | Content::List(_) | Content::Table(_) => {}
            });
        }
    }

    /// Adds the texts of another.
    pub(in crate::settings) fn add_all(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// The sensitive values of a request's headers, in each form that an event gives them: a line, the joined
    /// lines of a name, and a cookie.
    pub fn of_headers(headers: &HeaderMap) -> Self {
        let mut found = Self::default();
        for name in headers.keys() {
            let lines: Vec<&HeaderValue> = headers.get_all(name).collect();
            if !lines.iter().any(|line| line.is_sensitive()) {
                continue;
            }
            let texts: Vec<&str> = lines.iter().filter_map(|line| line.to_str().ok()).collect();
            let joined = [",", ", ", "; "].map(|separator| texts.join(separator));
            let cookies = texts.iter().flat_map(|text| text.split(';').map(str::trim));
            let sensitive =
                lines.iter().filter(|line| line.is_sensitive()).filter_map(|line| line.to_str().ok());
            for text in joined.iter().map(|text| &**text).chain(cookies).chain(sensitive) {
                if text.len() >= MIN_TEXT_BYTES {
                    found.push(HiddenScope::JsonString, text);
                }
            }
        }
        found
    }

    /// Adds a number of a secret table such as `body`.
    fn add_number(&mut self, number: &str, secrecy: Secrecy) {
        if secrecy == Secrecy::Secret && number.len() >= MIN_DIGITS {
            self.push(HiddenScope::Anywhere, number);
        }
    }

    /// Adds the values of a JSON object that is written as one text.
    fn add_object(&mut self, text: &str) {
        if let Ok(object @ Value::Object(_)) = serde_json::from_str(text) {
            self.add_leaves(&object);
        }
    }

    fn add_leaves(&mut self, value: &Value) {
        match value {
            Value::String(text) => self.add(text, false, Secrecy::Secret),
            Value::Number(number) => self.add_number(&number.to_string(), Secrecy::Secret),
            Value::Array(items) => items.iter().for_each(|item| self.add_leaves(item)),
            Value::Object(members) => members.values().for_each(|item| self.add_leaves(item)),
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn add(&mut self, text: &str, is_reference: bool, secrecy: Secrecy) {
        match secrecy {
            Secrecy::Open => {}
            Secrecy::Query => {
                if let Some((_, query)) = text.split_once('?') {
                    self.add_query(query, is_reference);
                }
            }
            _ if text.len() < MIN_TEXT_BYTES => {}
            _ if is_reference => {
                self.push(HiddenScope::Anywhere, text);
                self.add_object(text);
            }
            Secrecy::Secret | Secrecy::UnlessPath => {
                self.push(HiddenScope::JsonString, text);
                self.add_object(text);
            }
            Secrecy::Reference => {}
        }
    }

    fn add_query(&mut self, query: &str, is_reference: bool) {
        if is_reference && query.len() >= MIN_TEXT_BYTES {
            self.push(HiddenScope::Anywhere, query);
        }
        // a signed query is sent with other escapes
        let mut strict = String::new();
        push_strict(query, &mut strict);
        for pair in query.split('&').chain(strict.split('&')) {
            match pair.split_once('=') {
                Some((name, value)) if !value.is_empty() => {
                    let (name, secret) = (format!("{name}="), value.into());
                    self.0.push(HiddenText { scope: HiddenScope::QueryPair, name, secret });
                }
                None if pair.len() >= MIN_TEXT_BYTES => self.push(HiddenScope::Anywhere, pair),
                _ => {}
            }
        }
    }

    fn push(&mut self, scope: HiddenScope, text: &str) {
        self.0.push(HiddenText { scope, name: String::new(), secret: text.into() });
    }

    /// Each text, between the texts that stand around it wherever it is searched for in a recorded request.
    pub fn texts(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        self.0.iter().map(|HiddenText { scope, name, secret }| {
            let secret = secret.expose_secret();
            let quote =
                if *scope == HiddenScope::JsonString && secret.len() < LONGEST_WORD { "\"" } else { "" };
            match scope {
                HiddenScope::QueryPair => (name.as_str(), secret, ""),
                HiddenScope::Anywhere | HiddenScope::JsonString => (quote, secret, quote),
            }
        })
    }

    /// The text with `instead` in the place of each secret.
    pub fn left_out_of(&self, text: &str, instead: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, HiddenText { scope, name, secret }| {
            let secret = secret.expose_secret();
            // JSON escapes some characters
            let quoted = Value::from(secret).to_string();
            match scope {
                HiddenScope::Anywhere => {
                    text.replace(secret, instead).replace(quoted.trim_matches('"'), instead)
                }
                HiddenScope::JsonString => text.replace(&quoted, &format!("\"{instead}\"")),
                HiddenScope::QueryPair => {
                    text.replace(&format!("{name}{secret}"), &format!("{name}{instead}"))
                }
            }
        })
    }
}
