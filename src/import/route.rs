//! An imported route: its keys as they will be written, and what there is to say about it.

use std::collections::BTreeSet;

use secrecy::SecretString;

use super::feature::Feature;
use crate::settings::{Place, foreign::Peer};

/// A value of a settings file.
#[derive(Debug, Clone)]
pub enum Value {
    Text(String),
    Integer(i64),
    Boolean(bool),
    List(Vec<Self>),
    Table(Table),
    Secret(Secret),
}

/// A secret of the imported file, which is written into a file of its own.
#[derive(Debug, Clone)]
pub struct Secret {
    /// The last part of the file's name, such as `aws_secret`.
    pub kind: String,
    /// `None` for a placeholder of a document.
    pub value: Option<SecretString>,
    /// File and line.
    pub place: Place,
    /// The name of the file, once routes have names.
    pub file: Option<String>,
}

/// Keys with their values, in order.
#[derive(Debug, Clone, Default)]
pub struct Table(pub Vec<Entry>);

#[derive(Debug, Clone)]
pub struct Entry {
    pub key: String,
    pub value: Value,
    /// Stands above the key.
    pub comment: Option<String>,
}

/// Something that the report says about a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub kind: FindingKind,
    /// The key or plugin of the imported file.
    pub subject: String,
    pub text: String,
    pub place: Option<Place>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FindingKind {
    /// Not in the route's file.
    LeftOut,
    /// In it, in another form or with another effect.
    Changed,
    /// The operator has to look at it.
    Attention,
}

impl FindingKind {
    pub fn name(self) -> &'static str {
        match self {
            Self::LeftOut => "left out",
            Self::Changed => "changed",
            Self::Attention => "to do",
        }
    }
}

/// A route of the imported file.
#[derive(Debug, Clone)]
pub struct ImportedRoute {
    /// The stem of its file, once routes have names; what the peer calls it before.
    pub name: String,
    pub peer: Peer,
    /// As the peer's users call it: ``route `orders` ``.
    pub title: String,
    pub place: Place,
    pub keys: Table,
    pub features: BTreeSet<Feature>,
    /// Flags of aws-sigv4-proxy that were set.
    pub flags: Vec<&'static str>,
    pub findings: Vec<Finding>,
    /// The reasons why there is no file for it.
    pub problems: Vec<String>,
}

/// A part of the imported files that belongs to no imported route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    pub peer: Peer,
    /// With its kind: ``plugin `cors` of service `orders` ``.
    pub name: String,
    pub text: String,
    pub place: Option<Place>,
}

/// All that the translation of the files yields.
#[derive(Debug, Clone, Default)]
pub struct Translation {
    pub routes: Vec<ImportedRoute>,
    pub left_out: Vec<LeftOut>,
    /// Keys of `default.yaml`.
    pub process: Table,
}

impl Table {
    pub fn push(&mut self, key: impl Into<String>, value: impl Into<Value>) {
        self.0.push(Entry { key: key.into(), value: value.into(), comment: None });
    }

    /// Adds a key with a comment above it.
    pub fn push_with(&mut self, key: impl Into<String>, value: impl Into<Value>, comment: impl Into<String>) {
        self.0.push(Entry { key: key.into(), value: value.into(), comment: Some(comment.into()) });
    }

    /// Adds a table unless it is empty.
    pub fn push_table(&mut self, key: &str, table: Self) {
        if !table.0.is_empty() {
            self.push(key, Value::Table(table));
        }
    }

    pub fn has(&self, key: &str) -> bool {
        self.0.iter().any(|entry| entry.key == key)
    }

    /// Calls `visit` with each secret.
    pub fn each_secret(&mut self, visit: &mut impl FnMut(&mut Secret)) {
        self.0.iter_mut().for_each(|entry| entry.value.each_secret(visit));
    }

    /// The secrets, in order.
    pub fn secrets(&self) -> Vec<&Secret> {
        self.0.iter().flat_map(|entry| entry.value.secrets()).collect()
    }
}

impl Value {
    pub fn texts<T: Into<String>>(texts: impl IntoIterator<Item = T>) -> Self {
        Self::List(texts.into_iter().map(|text| Self::Text(text.into())).collect())
    }

    fn each_secret(&mut self, visit: &mut impl FnMut(&mut Secret)) {
        match self {
            Self::Secret(secret) => visit(secret),
            Self::Table(table) => table.each_secret(visit),
            Self::List(items) => items.iter_mut().for_each(|item| item.each_secret(visit)),
            _ => {}
        }
    }

    fn secrets(&self) -> Vec<&Secret> {
        match self {
            Self::Secret(secret) => vec![secret],
            Self::Table(table) => table.secrets(),
            Self::List(items) => items.iter().flat_map(Self::secrets).collect(),
            _ => Vec::new(),
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Boolean(value)
    }
}

impl ImportedRoute {
    pub fn new(peer: Peer, name: impl Into<String>, title: impl Into<String>, place: Place) -> Self {
        Self {
            name: name.into(),
            peer,
            title: title.into(),
            place,
            keys: Table::default(),
            features: BTreeSet::new(),
            flags: Vec::new(),
            findings: Vec::new(),
            problems: Vec::new(),
        }
    }

    pub fn is_translated(&self) -> bool {
        self.problems.is_empty()
    }

    pub fn problem(&mut self, problem: impl Into<String>) {
        self.problems.push(on_one_line(problem.into()));
    }

    pub fn left_out(&mut self, subject: impl Into<String>, text: impl Into<String>) {
        self.find(FindingKind::LeftOut, subject, text);
    }

    pub fn changed(&mut self, subject: impl Into<String>, text: impl Into<String>) {
        self.find(FindingKind::Changed, subject, text);
    }

    pub fn attention(&mut self, subject: impl Into<String>, text: impl Into<String>) {
        self.find(FindingKind::Attention, subject, text);
    }

    fn find(&mut self, kind: FindingKind, subject: impl Into<String>, text: impl Into<String>) {
        let (subject, text) = (on_one_line(subject.into()), on_one_line(text.into()));
        let finding = Finding { kind, subject, text, place: None };
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }
}

/// A text without the control characters of an imported file's keys, which would reach a terminal.
fn on_one_line(text: String) -> String {
    if text.chars().any(is_control) {
        return text.chars().map(|char| if is_control(char) { ' ' } else { char }).collect();
    }
    text
}

/// Control characters, and those that change the direction of the text behind them.
pub fn is_control(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
