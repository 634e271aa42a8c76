//! Parameters of a peer's plugin as keys of a section, by a table with one row a parameter.

use std::sync::Arc;

use super::route::{ImportedRoute, Table, Value};
use crate::settings::foreign::ForeignNode;

/// The form of a parameter's value.
#[derive(Debug, Clone, Copy)]
pub enum Form {
    Text,
    Secret,
    /// A URL, which may hold a password.
    SecretUrl,
    Boolean,
    /// A whole number, or whole milliseconds, in a range.
    Whole(i64, i64),
    /// The same, where 0 is a value too.
    WholeOrZero(i64, i64),
    /// A port, where the nearest one is another server.
    Port,
    /// JSON: a table, or a text with an object.
    Json,
    /// Not written; the reason.
    LeftOut(&'static str),
}

/// The default of a parameter, with which it is not written.
#[derive(Debug, Clone, Copy)]
pub enum Preset {
    None,
    Text(&'static str),
    Boolean(bool),
    Whole(i64),
}

/// A parameter, its key here, its form and its default on both sides.
#[derive(Debug, Clone, Copy)]
pub struct Parameter(pub &'static str, pub &'static str, pub Form, pub Preset);

impl Preset {
    fn is(self, value: &Value) -> bool {
        match (self, value) {
            (Self::Text(default), Value::Text(text)) => text == default,
            (Self::Boolean(default), Value::Boolean(value)) => *value == default,
            (Self::Whole(default), Value::Integer(number)) => *number == default,
            _ => false,
        }
    }
}

/// Translates the entries of a plugin's table, in the order of `parameters`, into `keys`. `prefix` stands
/// before the names in the report.
pub fn translate(
    node: &ForeignNode,
    parameters: &[Parameter],
    prefix: &str,
    file: &Arc<str>,
    route: &mut ImportedRoute,
    keys: &mut Table,
) {
    for Parameter(name, key, form, default) in parameters {
        let Some(node) = node.get(name) else { continue };
        let subject = format!("{prefix}{name}");
        let value = match form {
            Form::Secret => route.secret(key, &subject, node, file),
            Form::SecretUrl if node.text().is_some_and(|url| url.contains('@')) => {
                route.secret(key, &subject, node, file)
            }
            Form::Text | Form::SecretUrl => route.text(&subject, node).map(Value::Text),
            Form::Boolean => route.boolean(&subject, node).map(Value::Boolean),
            Form::WholeOrZero(..) if node.number() == Some(0.0) => Some(Value::Integer(0)),
            Form::Whole(least, most) | Form::WholeOrZero(least, most) => {
                route.whole(&subject, node, *least, *most).map(Value::Integer)
            }
            Form::Port => route.port(&subject, node).map(Value::Integer),
            Form::Json => json(node),
            Form::LeftOut(reason) => {
                route.left_out(&subject, *reason);
                None
            }
        };
        if let Some(value) = value.filter(|value| !default.is(value)) {
            keys.push(*key, value);
        }
    }
    for (name, node) in node.entries() {
        let is_known = parameters.iter().any(|Parameter(known, ..)| known == name) || name.starts_with('_');
        if !is_known && !node.is_null() {
            route.left_out(format!("{prefix}{name}"), "not a parameter that is known here");
        }
    }
}

/// A value as JSON text, which settings take in the place of a table.
fn json(node: &ForeignNode) -> Option<Value> {
    match node.text() {
        Some("") => None,
        Some(text) => Some(Value::Text(text.to_owned())),
        None => Some(Value::Text(as_json(node).to_string())),
    }
}

/// A value as JSON.
pub fn as_json(node: &ForeignNode) -> serde_json::Value {
    use crate::settings::foreign::ForeignValue;
    match &node.value {
        ForeignValue::Null => serde_json::Value::Null,
        ForeignValue::Boolean(value) => (*value).into(),
        ForeignValue::Integer(number) => (*number).into(),
        ForeignValue::Float(number) => (*number).into(),
        ForeignValue::Text(text) => text.as_str().into(),
        ForeignValue::List(items) => items.iter().map(as_json).collect(),
        ForeignValue::Table(entries) => entries
            .iter()
            .map(|(key, node)| (key.clone(), as_json(node)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
    }
}
