//! Writes the keys of a settings file as YAML with comments.

use super::route::{Entry, Secret, Table, Value};
use crate::settings::foreign::{self, ForeignNode};

/// Columns of a comment.
const WIDTH: usize = 110;

/// The form of secrets in the text.
pub type SecretText<'s> = &'s dyn Fn(&Secret) -> String;

/// The text of a file: its head as a comment, then the keys.
pub fn text(head: &[String], keys: &Table, secret: SecretText<'_>) -> String {
    let mut yaml = String::new();
    for line in head {
        comment(line, "", &mut yaml);
    }
    table(keys, 0, secret, &mut yaml);
    yaml
}

fn table(keys: &Table, depth: usize, secret: SecretText<'_>, yaml: &mut String) {
    let indent = "  ".repeat(depth);
    for Entry { key, value, comment: about } in &keys.0 {
        if let Some(about) = about {
            comment(about, &indent, yaml);
        }
        yaml.extend([&indent, &*scalar(key), ":"]);
        match value {
            Value::Table(below) if below.0.is_empty() => yaml.push_str(" {}\n"),
            Value::Table(below) => {
                yaml.push('\n');
                table(below, depth + 1, secret, yaml);
            }
            Value::List(items)
                if items.iter().any(|item| matches!(item, Value::Table(_) | Value::List(_))) =>
            {
                yaml.extend([" ", &flow(value, secret), "\n"]);
            }
            Value::List(items) if items.len() > 3 => {
                yaml.push('\n');
                for item in items {
                    yaml.extend([&indent, "  - ", &flow(item, secret), "\n"]);
                }
            }
            value => yaml.extend([" ", &flow(value, secret), "\n"]),
        }
    }
}

/// A value on one line.
fn flow(value: &Value, secret: SecretText<'_>) -> String {
    match value {
        Value::Text(text) => scalar(text),
        Value::Integer(number) => number.to_string(),
        Value::Boolean(value) => value.to_string(),
        Value::Secret(value) => scalar(&secret(value)),
        Value::List(items) => {
            let items: Vec<String> = items.iter().map(|item| flow(item, secret)).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Table(Table(entries)) => {
            let entries: Vec<String> = entries
                .iter()
                .map(|Entry { key, value, .. }| format!("{}: {}", scalar(key), flow(value, secret)))
                .collect();
            format!("{{ {} }}", entries.join(", "))
        }
    }
}

/// A text as a scalar: plain if a parser reads the same text, else in double quotes.
fn scalar(text: &str) -> String {
    let is_harmless = |byte: u8| byte.is_ascii_alphanumeric() || b"_./-$:*+@".contains(&byte);
    let is_plain = text.bytes().all(is_harmless) && {
        let parsed = foreign::parse(&format!("[{text}]"));
        let item = |documents: Vec<ForeignNode>| Some(documents.first()?.items().first()?.text()?.to_owned());
        parsed.ok().and_then(item).as_deref() == Some(text)
    };
    if is_plain { text.to_owned() } else { quoted(text) }
}

/// In double quotes, with the escapes of YAML 1.2.2, 5.7.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for char in text.chars() {
        match char {
            '"' | '\\' => quoted.extend(['\\', char]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            char if char.is_control() || matches!(char, '\u{2028}' | '\u{2029}' | '\u{feff}') => {
                quoted.extend([format!("\\u{:04X}", u32::from(char))]);
            }
            '\u{fffe}' | '\u{ffff}' => quoted.extend([format!("\\u{:04X}", u32::from(char))]),
            char => quoted.push(char),
        }
    }
    quoted + "\""
}

/// Writes a text as comment lines, without characters that could end one.
fn comment(text: &str, indent: &str, yaml: &mut String) {
    // YAML 1.2.2, 5.1: these stand nowhere, not even in a comment
    let is_harmful = |char: char| char.is_control() || matches!(char, '\u{fffe}' | '\u{ffff}' | '\u{feff}');
    let clean: String = text.chars().map(|char| if is_harmful(char) { ' ' } else { char }).collect();
    let mut line = String::new();
    for word in clean.split_whitespace() {
        if !line.is_empty() && indent.len() + line.chars().count() + word.chars().count() + 2 > WIDTH {
            yaml.extend([indent, "#", &line, "\n"]);
            line.clear();
        }
        line.extend([" ", word]);
    }
    yaml.extend([indent, "#", &line, "\n"]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(yaml: &str, key: &str) -> Option<String> {
        let documents = foreign::parse(yaml).unwrap_or_else(|error| panic!("{error:?}: {yaml}"));
        Some(documents.first()?.get(key)?.text()?.to_owned())
    }

    #[test]
    fn words_are_plain_and_whatever_reads_as_something_else_is_quoted() {
        for plain in ["/aws/*", "https://a.example/x?", "a", "$file:///run/a", "us-east-1"] {
            let is_plain = !plain.contains('?');
            assert_eq!(scalar(plain) == plain, is_plain, "{plain}");
        }
        for quoted in ["", "*.a", "true", "1", "1.5", "null", "~", "{a}", "a: b", "- a", "#", "a #b", "0x1f"]
        {
            assert!(scalar(quoted).starts_with('"'), "{quoted}");
        }
    }

    proptest! {
        #[test]
        fn every_text_is_read_as_it_was_written(text in any::<String>(), about in any::<String>()) {
            let mut keys = Table::default();
            keys.push_with("a", text.clone(), about);
            keys.push("b", Value::texts([text.clone()]));
            let mut yaml = super::text(&["head\nuri: /x".to_owned()], &keys, &|_| String::new());
            yaml.push_str("end: yes\n");
            prop_assert_eq!(read(&yaml, "a"), Some(text));
            prop_assert_eq!(read(&yaml, "end"), Some("yes".to_owned()));
        }
    }
}
