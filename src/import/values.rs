//! Values of an imported file: references, placeholders of documents, and secrets.

use std::sync::Arc;

use secrecy::SecretString;

use super::route::{ImportedRoute, Secret, Value, is_control};
use crate::settings::{
    Place,
    foreign::{ForeignNode, ForeignValue},
    is_supported_reference,
};

/// The place of a value in an imported file.
pub fn place(file: &Arc<str>, node: &ForeignNode) -> Place {
    Place { source: Arc::clone(file), line: (node.line > 0).then_some(node.line) }
}

/// The form of a text that may be a reference.
enum Reference {
    /// In the spelling of settings.
    Kept(String),
    /// To a store that is not supported.
    Unsupported,
    /// An ordinary text.
    None,
}

/// Reads a text as a reference: those of settings, APISIX's `$ENV://` and `${{NAME}}`, decK's
/// `${{ env "NAME" }}`, a shell's `$NAME`, and `$(NAME)` of Kubernetes.
fn reference(text: &str) -> Reference {
    let trimmed = text.trim();
    let of_variable = |name: &str| {
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let is_variable = !name.is_empty() && name.bytes().all(is_name);
        if is_variable { Reference::Kept(format!("$env://{name}")) } else { Reference::Unsupported }
    };
    if let Some(inner) = trimmed.strip_prefix("${{").and_then(|rest| rest.strip_suffix("}}")) {
        let inner = inner.trim();
        return of_variable(inner.strip_prefix("env ").map_or(inner, |name| name.trim().trim_matches('"')));
    }
    if let Some(name) = trimmed.strip_prefix("$ENV://") {
        return of_variable(name);
    }
    for (open, close) in [("${", '}'), ("$(", ')')] {
        if let Some(name) = trimmed.strip_prefix(open).and_then(|rest| rest.strip_suffix(close)) {
            return of_variable(name);
        }
    }
    if trimmed.starts_with("$file://") {
        // none of the programs knows it, and the sidecar would send a file of its own machine
        return Reference::Unsupported;
    }
    match is_supported_reference(trimmed) {
        Some(true) => Reference::Kept(trimmed.to_owned()),
        Some(false) => Reference::Unsupported,
        None if trimmed.starts_with("{vault://") || trimmed.starts_with("$secret://") => {
            Reference::Unsupported
        }
        None if trimmed.starts_with('$') && trimmed.len() > 1 && !trimmed.contains("://") => {
            let name = &trimmed[1..];
            let is_upper = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
            if name.bytes().all(is_upper) { of_variable(name) } else { Reference::None }
        }
        None => Reference::None,
    }
}

/// A text that is a reference, in the spelling of settings.
pub fn kept_reference(text: &str) -> Option<String> {
    if let Reference::Kept(reference) = reference(text) { Some(reference) } else { None }
}

/// True for a text that stands for a value in a document, such as `YOUR_IAM_ACCESS_KEY` or `<REGION>`.
pub fn is_placeholder(text: &str) -> bool {
    let text = text.trim();
    let lower = text.to_ascii_lowercase();
    let is_constant = text.contains('_')
        && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
        && !text.starts_with('_');
    let has_brackets = |open: char, close: char| {
        text.find(open).is_some_and(|start| text[start..].contains(close) && text.len() > 2)
    };
    is_constant
        || has_brackets('<', '>')
        || (text.starts_with('{') && text.ends_with('}'))
        || ["your_", "your-", "your ", "changeme", "change-me", "replace_me", "xxxx"]
            .iter()
            .any(|word| lower.contains(word))
        || text.ends_with("EXAMPLE")
        || text.ends_with("EXAMPLEKEY")
}

/// The words of a table that was meant as a placeholder: to YAML `{KongInvoker user key}` is a table.
fn placeholder_table(node: &ForeignNode) -> Option<String> {
    match node.entries() {
        [(key, ForeignNode { value: ForeignValue::Null, .. })] => Some(format!("{{{key}}}")),
        _ => None,
    }
}

impl ImportedRoute {
    /// A secret, or the reference to one. `kind` names its file, `subject` the key of the imported file.
    pub fn secret(
        &mut self,
        kind: &str,
        subject: &str,
        node: &ForeignNode,
        file: &Arc<str>,
    ) -> Option<Value> {
        let place = place(file, node);
        let secret = |value: Option<SecretString>| {
            Value::Secret(Secret { kind: kind.to_owned(), value, place: place.clone(), file: None })
        };
        if let Some(words) = placeholder_table(node) {
            let text =
                format!("`{words}` is a placeholder of a document, and a table to YAML: set the secret");
            self.attention(subject, text);
            return Some(secret(None));
        }
        // a number may have lost digits, as in `0123` or with more than 19 of them
        let Some(text) = node.text() else {
            self.attention(subject, "not a text: set the secret");
            return Some(secret(None));
        };
        match reference(text) {
            Reference::Kept(reference) => return Some(reference.into()),
            Reference::Unsupported => {
                self.attention(subject, "a reference to a store that is not supported here: set the secret");
                return Some(secret(None));
            }
            Reference::None if text.is_empty() => return None,
            Reference::None => {}
        }
        if is_placeholder(text) {
            self.attention(subject, "looks like a placeholder: set the secret");
            // words in brackets are no key
            if text.contains(char::is_whitespace) || text.contains(['<', '{']) {
                return Some(secret(None));
            }
        }
        Some(secret(Some(text.into())))
    }

    /// A text that is no secret. A placeholder is reported and kept.
    pub fn text(&mut self, subject: &str, node: &ForeignNode) -> Option<String> {
        if let Some(words) = placeholder_table(node) {
            self.attention(subject, format!("`{words}` is a placeholder of a document, and a table to YAML"));
            return None;
        }
        let Some(text) = node.scalar() else {
            self.problem(format!("{subject} is not a text"));
            return None;
        };
        match reference(&text) {
            Reference::Kept(reference) => return Some(reference),
            Reference::Unsupported => {
                self.problem(format!("{subject} is a reference to a store that is not supported here"));
                return None;
            }
            Reference::None => {}
        }
        if is_placeholder(&text) {
            self.attention(subject, format!("`{}` looks like a placeholder", shown(&text)));
        }
        Some(text).filter(|text| !text.is_empty())
    }

    /// A boolean; another value is reported and left out.
    pub fn boolean(&mut self, subject: &str, node: &ForeignNode) -> Option<bool> {
        let value = node.boolean();
        if value.is_none() {
            self.problem(format!("{subject} is neither true nor false"));
        }
        value
    }

    /// A port; another number is reported and left out.
    pub fn port(&mut self, subject: &str, node: &ForeignNode) -> Option<i64> {
        let port = node.scalar().and_then(|text| text.parse::<u16>().ok()).filter(|port| *port != 0);
        if port.is_none() {
            self.problem(format!("{subject} is no port from 1 to 65535"));
        }
        port.map(i64::from)
    }

    /// A whole number within a range; one outside of it becomes the nearest within, which is reported.
    pub fn whole(&mut self, subject: &str, node: &ForeignNode, least: i64, most: i64) -> Option<i64> {
        let Some(number) = node.number().filter(|number| number.is_finite()) else {
            self.problem(format!("{subject} is not a number"));
            return None;
        };
        // a float beyond `i64` becomes its least or greatest value
        #[expect(clippy::cast_possible_truncation, reason = "saturates, and the range is far narrower")]
        let whole = number.round() as i64;
        let within = whole.clamp(least, most);
        #[expect(clippy::cast_precision_loss, reason = "compared with a number of the same magnitude")]
        let is_other = (within as f64 - number).abs() > f64::EPSILON;
        if is_other {
            self.changed(
                subject,
                format!("{number} becomes {within}: from {least} to {most}, in whole numbers"),
            );
        }
        Some(within)
    }
}

/// A text of an imported file for a sentence: without characters that end a line, and not too long.
pub fn shown(text: &str) -> String {
    const MOST: usize = 80;
    let clean = text.chars().map(|char| if is_control(char) || char == '`' { ' ' } else { char });
    let mut short: String = clean.take(MOST).collect();
    if text.chars().count() > MOST {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_of_the_peers_become_ours() {
        for (text, expected) in [
            ("$env://A_B", Some("$env://A_B")),
            ("$ENV://A_B", Some("$env://A_B")),
            ("{vault://env/a-b}", Some("{vault://env/a-b}")),
            ("{vault://aws/prod/db/key}", Some("{vault://aws/prod/db/key}")),
            ("$secret://aws/1/prod/db/key", Some("$secret://aws/1/prod/db/key")),
            ("${{ env \"DECK_AWS_KEY\" }}", Some("$env://DECK_AWS_KEY")),
            ("${{AWS_KEY}}", Some("$env://AWS_KEY")),
            ("${AWS_KEY}", Some("$env://AWS_KEY")),
            ("$AWS_KEY", Some("$env://AWS_KEY")),
            ("$(AWS_KEY)", Some("$env://AWS_KEY")),
            ("$LATEST/x", None),
            ("plain", None),
        ] {
            assert_eq!(kept_reference(text).as_deref(), expected, "{text}");
        }
        for text in [
            "{vault://hcv/secret/key}",
            "$secret://vault/1/key",
            "$env://A/b",
            "${A:-b}",
            "{vault://x",
            "$file:///etc/passwd",
        ] {
            assert!(matches!(reference(text), Reference::Unsupported), "{text}");
        }
    }

    #[test]
    fn placeholders_of_documents_are_known_and_real_values_are_not() {
        for text in [
            "AWS_KEY",
            "<YOUR ACCESS KEY ID>",
            "YOUR_IAM_ACCESS_KEY",
            "{key}",
            "your-lambda",
            "AKIAIOSFODNN7EXAMPLE",
        ] {
            assert!(is_placeholder(text), "{text}");
        }
        for text in ["AKIA3SGQVQG7FGA6KKA6", "us-east-1", "MyLambda", "wJalrXUtnFEMI/K7MDENG", "a_b", "X"] {
            assert!(!is_placeholder(text), "{text}");
        }
    }
}
