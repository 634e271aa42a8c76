//! References: a setting that names an environment variable or a file instead of holding the value.
//!
//! `$env://NAME` and `$file:///path` are APISIX's, `{vault://env/name}` is Kong's: the variable is the name
//! in capitals with `-` as `_`. Any text of the merged tree may be a reference. A mistake never quotes a
//! referenced value.

use std::path::Path;

use super::{
    mistake::{Mistake, Mistakes},
    tree::{Content, Environment, Node, Notation, key_in_file},
};
use crate::system::regular_file;

/// The forms of a reference.
const FORMS: &str = "$env://NAME, $file:///path or {vault://env/name}";

/// Replaces each reference below `node` by its value; `path` is the node's key path.
///
/// A variable that is not set or a file that cannot be read is a mistake at that key, and the value becomes
/// null, so that no reader takes the reference for the secret.
pub fn resolve(node: &mut Node, path: &mut Vec<String>, environment: &Environment, mistakes: &mut Mistakes) {
    let mut below = |key: String, node: &mut Node| {
        path.push(key);
        resolve(node, path, environment, mistakes);
        path.pop();
    };
    match &mut node.content {
        Content::List(list) => list.iter_mut().for_each(|(index, item)| below(index.to_string(), item)),
        Content::Table(table) => table.iter_mut().for_each(|(key, child)| below(key.clone(), child)),
        Content::Text(text) => match target(text) {
            None if looks_like_reference(text) => {
                let warning = format!(
                    "looks like a reference and is taken literally: a reference is the whole value, {FORMS}"
                );
                mistakes.warn(Mistake::new(node.place.clone(), key_in_file(path), warning));
            }
            None => {}
            Some(target) => {
                if let Ok(ReferenceTarget::File(path)) = target {
                    node.file = Some(path.into());
                }
                node.content = match target.and_then(|target| target.read(environment)) {
                    Ok(value) => Content::Text(value),
                    Err(ReferenceError { problem, expected }) => {
                        let mistake = Mistake::new(node.place.clone(), key_in_file(path), problem);
                        mistakes.push(mistake.expected(expected));
                        Content::Null
                    }
                };
                node.notation = Notation::Reference;
            }
        },
        Content::Null | Content::Boolean(_) | Content::Integer(_) | Content::Float(_) => {}
    }
}

/// A file's text without its last line end, which editors add to secrets.
pub fn without_line_end(text: &str) -> &str {
    text.strip_suffix('\n').map_or(text, |text| text.trim_end_matches('\r'))
}

/// True for a text that contains the beginning of a reference. A reference is always the whole value.
pub fn has_reference(text: &str) -> bool {
    ["$env://", "$file://", "{vault://"].iter().any(|start| text.contains(start))
}

/// True for a reference that can be read, false for one of an unknown form; `None` for an ordinary text.
pub fn is_supported(text: &str) -> Option<bool> {
    target(text).map(|target| target.is_ok())
}

/// True for a reference to a variable that is not set, or to a file that cannot be read.
#[cfg(feature = "dev")]
pub fn is_dangling(text: &str, environment: &Environment) -> bool {
    target(text).and_then(Result::ok).is_some_and(|target| target.read(environment).is_err())
}

/// The environment variable or file that a reference names.
enum ReferenceTarget<'a> {
    Variable(String),
    File(&'a str),
}

/// The reason why a reference has no value.
struct ReferenceError {
    problem: String,
    expected: String,
}

/// Parses a text as a reference; `None` if it is an ordinary text.
fn target(text: &str) -> Option<Result<ReferenceTarget<'_>, ReferenceError>> {
    let (target, problem) = if let Some(name) = text.strip_prefix("$env://") {
        let name = Some(name.to_owned()).filter(|name| is_variable(name));
        (name.map(ReferenceTarget::Variable), "a reference with an invalid name of an environment variable")
    } else if let Some(path) = text.strip_prefix("$file://") {
        let path = path.starts_with('/').then_some(path);
        (path.map(ReferenceTarget::File), "a reference to a file without its absolute path")
    } else if let Some(inner) = text.strip_prefix("{vault://").and_then(|rest| rest.strip_suffix('}')) {
        let name = inner.strip_prefix("env/").map(|name| name.replace('-', "_").to_uppercase());
        let name = name.filter(|name| is_variable(name));
        (name.map(ReferenceTarget::Variable), "a reference to a vault other than `env`")
    } else if text.starts_with("$secret://") {
        (None, "a reference to an unsupported secret store")
    } else {
        return None;
    };
    Some(target.ok_or_else(|| ReferenceError { problem: problem.to_owned(), expected: FORMS.to_owned() }))
}

/// True if a text is a reference in capitals, in the middle of a text, or without its closing brace.
fn looks_like_reference(text: &str) -> bool {
    text.contains("://") && {
        let text = text.to_ascii_lowercase();
        ["$env://", "$file://", "{vault://"].iter().any(|start| text.contains(start))
    }
}

fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
}

impl ReferenceTarget<'_> {
    fn read(self, environment: &Environment) -> Result<String, ReferenceError> {
        match self {
            Self::Variable(name) => environment.get(&name).cloned().ok_or_else(|| ReferenceError {
                problem: format!("the environment variable {name} is not set"),
                expected: format!("{name} in the sidecar's environment"),
            }),
            Self::File(path) => match regular_file::read(Path::new(path)) {
                Ok(text) => Ok(without_line_end(&text).to_owned()),
                Err(error) => Err(ReferenceError {
                    problem: format!("the file {path} cannot be read: {error}"),
                    expected: "a regular text file of at most 64KiB that the sidecar's user may read"
                        .to_owned(),
                }),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use proptest::prelude::*;

    fn resolved(text: &str, environment: &[(&str, &str)]) -> Result<String, String> {
        let environment = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let mut node = Node { content: Content::Text(text.to_owned()), ..Node::empty() };
        let mut mistakes = Mistakes::default();
        resolve(&mut node, &mut vec!["listen".into(), "http".into()], &environment, &mut mistakes);
        match (node.content, mistakes.iter().next()) {
            (Content::Text(text), None) => Ok(text),
            (_, Some(mistake)) => Err(mistake.to_string()),
            _ => unreachable!("a reference yields a text or a mistake"),
        }
    }

    #[test]
    fn a_variable_is_read_by_apisix_and_kong_spelling() {
        assert_eq!(resolved("$env://KEY_A", &[("KEY_A", "v")]).unwrap(), "v");
        assert_eq!(resolved("{vault://env/key-a}", &[("KEY_A", "v")]).unwrap(), "v");
    }

    #[test]
    fn a_variable_that_is_not_set_is_named_with_its_key() {
        let message = resolved("$env://KEY_A", &[]).unwrap_err();
        assert!(message.contains("listen.http: the environment variable KEY_A is not set"), "{message}");
    }

    #[test]
    fn a_file_loses_one_line_end_and_nothing_else() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (written, read) in
            [("s e c\n", "s e c"), ("sec\r\n", "sec"), ("sec\n\n", "sec\n"), ("sec", "sec")]
        {
            fs::write(file.path(), written).unwrap();
            assert_eq!(resolved(&format!("$file://{}", file.path().display()), &[]).unwrap(), read);
        }
    }

    #[test]
    fn an_unreadable_file_a_relative_path_and_a_foreign_vault_are_mistakes() {
        assert!(
            resolved("$file:///nowhere/at/all", &[]).unwrap_err().contains("/nowhere/at/all cannot be read")
        );
        assert!(resolved("$file://secret", &[]).unwrap_err().contains("absolute path"));
        assert!(resolved("{vault://hcv/x}", &[]).unwrap_err().contains("other than `env`"));
        assert!(resolved("$secret://vault/1/x", &[]).unwrap_err().contains("unsupported"));
    }

    #[test]
    fn a_text_that_looks_like_a_reference_and_is_none_is_a_warning_without_the_text() {
        for (text, is_warned) in [
            ("hush$env://NAME", true),
            ("$ENV://HUSH", true),
            ("{vault://env/hush", true),
            ("x$FILE:///hush", true),
            ("https://a.example/$env", false),
            ("$environment", false),
        ] {
            let mut node = Node { content: Content::Text(text.to_owned()), ..Node::empty() };
            let mut mistakes = Mistakes::default();
            resolve(&mut node, &mut vec!["id".into()], &Environment::default(), &mut mistakes);
            let warnings = mistakes.warnings();
            assert_eq!((warnings.len(), mistakes.is_empty()), (usize::from(is_warned), true), "{text}");
            assert!(!warnings.concat().to_lowercase().contains("hush"), "{warnings:?}");
        }
    }

    #[test]
    fn a_text_that_merely_looks_alike_stays_as_it_is() {
        assert_eq!(resolved("$environment", &[]).unwrap(), "$environment");
        assert_eq!(resolved("/a/$env", &[]).unwrap(), "/a/$env");
    }

    proptest! {
        #[test]
        fn only_what_begins_like_a_reference_is_one(text in any::<String>()) {
            let is_reference = ["$env://", "$file://", "{vault://", "$secret://"]
                .iter()
                .any(|start| text.starts_with(start));
            if !is_reference {
                prop_assert_eq!(resolved(&text, &[]), Ok(text));
            }
        }

        #[test]
        fn whatever_a_variable_holds_is_the_value_and_is_no_reference_itself(
            name in "[A-Z][A-Z0-9_]{0,8}",
            value in prop_oneof![
                any::<String>(),
                Just("$env://OTHER".to_owned()),
                Just("$file:///x".to_owned()),
            ],
        ) {
            let kongs = format!("{{vault://env/{}}}", name.to_lowercase().replace('_', "-"));
            for reference in [format!("$env://{name}"), kongs] {
                prop_assert_eq!(resolved(&reference, &[(&name, &value)]), Ok(value.clone()), "{}", reference);
            }
        }

        #[test]
        fn no_reference_makes_it_panic(
            start in "\\$env://|\\$file://|\\{vault://(env/)?|\\$secret://",
            rest in "[^/].{0,12}",
        ) {
            let _ = resolved(&(start + &rest), &[]);
        }

        #[test]
        fn a_text_loses_one_line_end_at_most(text in "[a\r\n]{0,6}") {
            let without = without_line_end(&text);
            prop_assert!(text.starts_with(without) && text[without.len()..].matches('\n').count() <= 1);
            let ended = format!("{text}\n");
            prop_assert_eq!(without_line_end(&ended), text.trim_end_matches('\r'));
        }
    }
}
