//! The name of a key as a mistake may show it. In a flow table, a key and its value become one key when the
//! blank after the colon is forgotten (`{secretkey:VALUE}`), so that a name may hold a secret.
//!
//! `tree.rs`, `yaml.rs` and `settings.rs` join paths here; `reader.rs` asks for the cure.

use std::borrow::Cow;

/// Characters of the longest declared name are fewer, and those of a secret access key are 40.
const LONGEST_NAME: usize = 39;
/// Stands for a name that is too long to be one.
const LEFT_OUT: &str = "…";

/// A path in dots, each name cut to what cannot be a value.
pub fn joined<'p>(path: impl IntoIterator<Item = &'p str>) -> String {
    path.into_iter().map(shown).collect::<Vec<_>>().join(".")
}

/// The part of a name before the first character that no key's name has.
pub fn shown(name: &str) -> Cow<'_, str> {
    let cut = before_value(name);
    if cut.len() > LONGEST_NAME || (cut.is_empty() && !name.is_empty()) {
        return Cow::Borrowed(LEFT_OUT);
    }
    Cow::Borrowed(cut)
}

/// The known name with its value behind it that an unknown name consists of.
pub fn known_before_value<'n>(name: &'n str, known: &[&str]) -> Option<&'n str> {
    let cut = before_value(name);
    (cut.len() < name.len() && known.contains(&cut)).then_some(cut)
}

/// The cure for a value that has become a part of its key's name.
pub fn separator_missing(name: &str, whole: &str) -> &'static str {
    if whole[name.len()..].starts_with(':') {
        "missing space after the colon"
    } else {
        "missing colon and space after the name"
    }
}

fn before_value(name: &str) -> &str {
    let end = name.find(|char: char| !(char.is_ascii_alphanumeric() || matches!(char, '_' | '-' | '.')));
    &name[..end.unwrap_or(name.len())]
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::settings::schema::{File, of};

    fn names(schema: &Value, found: &mut Vec<String>) {
        for (name, below) in schema["properties"].as_object().into_iter().flatten() {
            found.push(name.clone());
            names(below, found);
        }
    }

    #[test]
    fn x14_every_declared_name_is_shown_whole() {
        let mut found = Vec::new();
        for file in [File::Route, File::Default] {
            names(&of(file), &mut found);
        }
        assert!(found.len() > 100, "{found:?}");
        for name in found {
            assert_eq!(shown(&name), name);
        }
    }

    #[test]
    fn x14_what_may_be_a_value_is_cut_off_a_name() {
        for (name, expected) in [
            ("secretkey:hush", "secretkey"),
            ("secretkey=hush", "secretkey"),
            ("secretkey hush", "secretkey"),
            ("a:b:hush", "a"),
            (":hush", "…"),
            ("wJalrXUtnFEMIaK7MDENGabPxRfiCYEXAMPLEKEY", "…"),
            ("x-api-key", "x-api-key"),
            ("", ""),
        ] {
            assert_eq!(shown(name), expected, "{name}");
        }
        assert_eq!(joined(["iam", "secretkey:hush"]), "iam.secretkey");
        assert_eq!(known_before_value("secretkey:hush", &["secretkey"]), Some("secretkey"));
        assert_eq!(known_before_value("secretkey", &["secretkey"]), None);
        assert_eq!(known_before_value("other:hush", &["secretkey"]), None);
    }
}
