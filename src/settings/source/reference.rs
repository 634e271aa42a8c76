//! References: a setting that names an environment variable or a file instead of holding the value.
//!
//! `$env://NAME` and `$file:///path` as in APISIX, `{vault://env/name}` as in Kong, where the variable is
//! the name in capitals with `-` as `_`. Works on the merged tree, so any string of any file may be one;
//! what a reference yields is never quoted in a mistake. `reader.rs` comes next.

use std::path::Path;

use super::{
    mistake::{Mistake, Mistakes},
    tree::{Content, Environment, Node, Notation},
};
use crate::system::regular_file;

/// Replaces each reference below `node` by what it refers to.
///
/// `path` is the node's key path. A variable that is not set or a file that cannot be read is a mistake at
/// that key, and the value is taken out so that nothing reads the reference as if it were the secret.
pub fn resolve(node: &mut Node, path: &mut Vec<String>, environment: &Environment, mistakes: &mut Mistakes) {
    match &mut node.content {
        Content::Text(text) => match target(text) {
            None if looks_like_reference(text) => {
                let warning = "looks like a reference and is taken literally: a reference is the whole value, \
                               $env://NAME, $file:///path or {vault://env/name}";
                let key = crate::settings::key_inside_file(path);
                mistakes.warn(Mistake::new(node.place.clone(), key, warning));
            }
            None => {}
            Some(target) => {
                node.file = match &target {
                    Ok(Target::File(path)) => Some(path.into()),
                    _ => None,
                };
                node.content = match target.and_then(|target| target.read(environment)) {
                    Ok(value) => Content::Text(value),
                    Err(wrong) => {
                        let mistake = Mistake::new(
                            node.place.clone(),
                            crate::settings::key_inside_file(path),
                            wrong.problem,
                        );
                        mistakes.push(mistake.expected(wrong.expected));
                        Content::Null
                    }
                };
                node.notation = Notation::Reference;
            }
        },
        Content::List(list) => {
            for (index, item) in list.iter_mut().enumerate() {
                path.push(index.to_string());
                resolve(item, path, environment, mistakes);
                path.pop();
            }
        }
        Content::Table(table) => {
            for (key, child) in table.iter_mut() {
                path.push(key.clone());
                resolve(child, path, environment, mistakes);
                path.pop();
            }
        }
        Content::Null | Content::Boolean(_) | Content::Integer(_) | Content::Float(_) => {}
    }
}

/// A file's text without its last line end, which editors add to secrets.
pub fn without_line_end(text: &str) -> &str {
    text.strip_suffix('\n').map_or(text, |text| text.trim_end_matches('\r'))
}

/// What a reference points at.
enum Target<'a> {
    Variable(String),
    File(&'a str),
}

/// Why a reference yields nothing.
struct Wrong {
    problem: String,
    expected: String,
}

/// Reads a text as a reference; `None` if it is an ordinary string.
fn target(text: &str) -> Option<Result<Target<'_>, Wrong>> {
    let wrong = |problem: &str| {
        let expected = "$env://NAME, $file:///path or {vault://env/name}".to_owned();
        Some(Err(Wrong { problem: problem.to_owned(), expected }))
    };
    if let Some(name) = text.strip_prefix("$env://") {
        return if is_variable(name) {
            Some(Ok(Target::Variable(name.to_owned())))
        } else {
            wrong("a reference with an invalid name of an environment variable")
        };
    }
    if let Some(path) = text.strip_prefix("$file://") {
        return if path.starts_with('/') {
            Some(Ok(Target::File(path)))
        } else {
            wrong("a reference to a file without its absolute path")
        };
    }
    if let Some(inner) = text.strip_prefix("{vault://").and_then(|rest| rest.strip_suffix('}')) {
        let name = inner.strip_prefix("env/").map(|name| name.replace('-', "_").to_uppercase());
        return match name.filter(|name| is_variable(name)) {
            Some(name) => Some(Ok(Target::Variable(name))),
            None => wrong("a reference to a vault other than `env`"),
        };
    }
    if text.starts_with("$secret://") {
        return wrong("a reference to an unsupported secret store");
    }
    None
}

/// A reference in capitals, in the middle of a text, or without its closing brace.
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

impl Target<'_> {
    fn read(self, environment: &Environment) -> Result<String, Wrong> {
        match self {
            Self::Variable(name) => environment.get(&name).cloned().ok_or_else(|| Wrong {
                problem: format!("the environment variable {name} is not set"),
                expected: format!("{name} in the sidecar's environment"),
            }),
            Self::File(path) => match regular_file::read(Path::new(path)) {
                Ok(text) => Ok(without_line_end(&text).to_owned()),
                Err(error) => Err(Wrong {
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
            let is_reference = ["$env://", "$file://", "{vault://", "$secret://"].iter().any(|start| text.starts_with(start));
            if !is_reference {
                prop_assert_eq!(resolved(&text, &[]), Ok(text));
            }
        }

        #[test]
        fn whatever_a_variable_holds_is_the_value_and_is_no_reference_itself(
            name in "[A-Z][A-Z0-9_]{0,8}",
            value in prop_oneof![any::<String>(), Just("$env://OTHER".to_owned()), Just("$file:///x".to_owned())],
        ) {
            let kongs = format!("{{vault://env/{}}}", name.to_lowercase().replace('_', "-"));
            for reference in [format!("$env://{name}"), kongs] {
                prop_assert_eq!(resolved(&reference, &[(&name, &value)]), Ok(value.clone()), "{}", reference);
            }
        }

        #[test]
        fn no_reference_makes_it_panic(start in "\\$env://|\\$file://|\\{vault://(env/)?|\\$secret://", rest in "[^/].{0,12}") {
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
