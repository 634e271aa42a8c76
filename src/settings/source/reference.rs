//! References: a setting that names an environment variable, a file or a secret in AWS instead of holding
//! the value.
//!
//! `$env://NAME` and `$file:///path` are APISIX's, `{vault://env/name}` is Kong's: the variable is the name
//! in capitals with `-` as `_`. `remote_secret.rs` has the references to secrets in AWS. Any text of the
//! merged tree may be a reference; `$$word://` is the literal text `$word://`. A mistake never quotes a
//! referenced value.

use std::path::Path;

use secrecy::ExposeSecret as _;

use super::{
    mistake::{Mistake, Mistakes, Place},
    remote_secret::{NamedSecret, REMOTE_FORMS, RefusedSecret, SecretValues},
    tree::{Content, DEFAULTS, Environment, Node, Notation, ROUTES, key_in_file},
};
use crate::{settings::schema::placeholder, system::regular_file};

/// The forms of a local reference.
const FORMS: &str = "$env://NAME, $file:///path or {vault://env/name}";
/// The words before `://` in the forms with `$`.
const WORDS: [&str; 4] = ["$env://", "$file://", "$ssm://", "$secret://"];
/// The beginning of Kong's references.
const KONG: &str = "{vault://";

/// The values of references.
#[derive(Clone, Copy)]
pub struct ReferenceSources<'s> {
    pub environment: &'s Environment,
    /// The fetched secrets.
    pub secrets: &'s SecretValues,
    /// The keys whose fetched values are not used.
    pub refused: &'s [RefusedSecret],
}

/// Replaces each reference below `node` by its value; `path` is the node's key path.
///
/// A variable that is not set or a file that cannot be read is a mistake at that key, and the value becomes
/// null, so that no reader takes the reference for the secret. A secret that has not been fetched is no
/// mistake: a placeholder takes its place, and mistakes about it are dropped.
pub fn resolve(
    node: &mut Node,
    path: &mut Vec<String>,
    sources: ReferenceSources<'_>,
    mistakes: &mut Mistakes,
) {
    let mut below = |key: String, node: &mut Node| {
        path.push(key);
        resolve(node, path, sources, mistakes);
        path.pop();
    };
    match &mut node.content {
        Content::List(list) => list.iter_mut().for_each(|(index, item)| below(index.to_string(), item)),
        Content::Table(table) => table.iter_mut().for_each(|(key, child)| below(key.clone(), child)),
        Content::Text(text) => match target(text, sources.environment) {
            None if looks_like_reference(text) => {
                let warning = format!(
                    "looks like a reference and is taken literally: a reference is the whole value, {FORMS}, \
                     {REMOTE_FORMS}"
                );
                mistakes.warn(Mistake::new(node.place.clone(), key_in_file(path), warning));
            }
            None => unescape(text),
            Some(Ok(ReferenceTarget::Remote(named))) => {
                take_remote(node, path, named, sources, mistakes);
            }
            Some(target) => {
                if let Ok(ReferenceTarget::File(path)) = target {
                    node.file = Some(path.into());
                }
                node.content = match target.and_then(|target| target.read(sources.environment)) {
                    Ok(value) => Content::Text(value),
                    Err(ReferenceError { problem, expected, nearest }) => {
                        let mistake = Mistake::new(node.place.clone(), key_in_file(path), problem);
                        mistakes.push(Mistake { nearest, ..mistake.expected(expected) });
                        Content::Null
                    }
                };
                node.notation = Notation::Reference;
            }
        },
        Content::Null | Content::Boolean(_) | Content::Integer(_) | Content::Float(_) => {}
    }
}

/// Replaces a reference to a secret in AWS by its fetched value, or by a placeholder.
fn take_remote(
    node: &mut Node,
    path: &[String],
    named: NamedSecret,
    sources: ReferenceSources<'_>,
    mistakes: &mut Mistakes,
) {
    node.notation = Notation::Reference;
    if !may_be_remote(path) {
        let problem = "a secret in AWS cannot stand here: this key is needed before secrets are fetched";
        let mistake = Mistake::new(node.place.clone(), key_in_file(path), problem);
        mistakes.push(mistake.expected(format!("the value, or {FORMS}")));
        node.content = Content::Null;
        return;
    }
    let key = key_in_file(path);
    let refused = sources.refused.iter().find(|other| other.key == key && other.source == node.place.source);
    let value = sources.secrets.get(&named.reference).filter(|_| refused.is_none());
    let is_known = value.is_some();
    if let Some(RefusedSecret { problem, .. }) = refused {
        let warning = format!("the fetched value is not used: {problem}");
        mistakes.warn(Mistake::new(node.place.clone(), key.clone(), warning));
    }
    if is_known {
        mistakes.mark_fetched(&node.place, &key);
    } else {
        mistakes.excuse(&node.place, &key);
    }
    let value = value.map(|value| Content::Text(value.expose_secret().to_owned()));
    node.content = value.unwrap_or_else(|| placeholder(path));
    let refused = refused.map(|refused| format!("its value is not used: {key}: {}", refused.problem));
    node.secret = Some(Box::new(NamedSecret { is_known, refused, ..named }));
}

/// True for keys below a backend, `headers`, `defaults` and `tracing.otlp`. The others decide which requests
/// a route matches, or are used once at the start.
fn may_be_remote(path: &[String]) -> bool {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    match path[..] {
        [ROUTES, _, "api_gateway", "hosts", ..] | [DEFAULTS, "api_gateway", "hosts", ..] => false,
        [ROUTES, _, "api_gateway" | "lambda" | "headers", _, ..]
        | [DEFAULTS, _, _, ..]
        | ["tracing", "otlp", _, ..] => true,
        _ => false,
    }
}

/// A file's text without its last line end, which editors add to secrets.
pub fn without_line_end(text: &str) -> &str {
    text.strip_suffix('\n').map_or(text, |text| text.trim_end_matches('\r'))
}

/// True for a text that contains the beginning of a reference. A reference is always the whole value.
pub fn has_reference(text: &str) -> bool {
    WORDS.iter().any(|start| text.contains(start)) || text.contains(KONG)
}

/// True for a reference that can be read, false for one of an unknown form; `None` for an ordinary text. The
/// region of a secret in AWS may come from the environment of the sidecar.
pub fn is_supported(text: &str) -> Option<bool> {
    let environment = Environment::from([("AWS_REGION".to_owned(), "us-east-1".to_owned())]);
    target(text, &environment).map(|target| target.is_ok())
}

/// True for a reference to a variable that is not set, to a file that cannot be read, or to a secret in AWS,
/// which `dev` does not fetch.
#[cfg(feature = "dev")]
pub fn is_dangling(text: &str, environment: &Environment) -> bool {
    match target(text, environment) {
        Some(Ok(ReferenceTarget::Remote(_))) => true,
        Some(Ok(target)) => target.read(environment).is_err(),
        _ => false,
    }
}

/// The environment variable, file or secret that a reference names.
enum ReferenceTarget<'a> {
    Variable(String),
    File(&'a str),
    Remote(NamedSecret),
}

/// The reason why a reference has no value.
struct ReferenceError {
    problem: String,
    expected: String,
    nearest: Option<String>,
}

impl ReferenceError {
    fn new(problem: &str, expected: &str) -> Self {
        Self { problem: problem.to_owned(), expected: expected.to_owned(), nearest: None }
    }
}

/// Parses a text as a reference; `None` if it is an ordinary text.
fn target<'a>(
    text: &'a str,
    environment: &Environment,
) -> Option<Result<ReferenceTarget<'a>, ReferenceError>> {
    let kong = || text.strip_prefix(KONG).and_then(|rest| rest.strip_suffix('}'));
    let remote = |parsed: Result<NamedSecret, (&str, &str)>| {
        parsed
            .map(ReferenceTarget::Remote)
            .map_err(|(problem, expected)| ReferenceError::new(problem, expected))
    };
    Some(if let Some(name) = text.strip_prefix("$env://") {
        let name = Some(name.to_owned()).filter(|name| is_variable(name));
        let problem = "a reference with an invalid name of an environment variable";
        name.map(ReferenceTarget::Variable).ok_or_else(|| ReferenceError::new(problem, FORMS))
    } else if let Some(path) = text.strip_prefix("$file://") {
        let path = path.starts_with('/').then_some(path);
        let problem = "a reference to a file without its absolute path";
        path.map(ReferenceTarget::File).ok_or_else(|| ReferenceError::new(problem, FORMS))
    } else if let Some(name) = text.strip_prefix("$ssm://") {
        remote(NamedSecret::of_parameter(name, environment))
    } else if let Some(inner) = text.strip_prefix("$secret://aws/") {
        remote(NamedSecret::of_apisix(inner, environment))
    } else if text.starts_with("$secret://") {
        Err(ReferenceError::new("a reference to an unsupported secret store", REMOTE_FORMS))
    } else if let Some(inner) = kong() {
        match inner.split_once('/') {
            Some(("aws", inner)) => remote(NamedSecret::of_kong(inner, environment)),
            Some(("env", name)) => {
                let name = Some(name.replace('-', "_").to_uppercase()).filter(|name| is_variable(name));
                let problem = "a reference with an invalid name of an environment variable";
                name.map(ReferenceTarget::Variable).ok_or_else(|| ReferenceError::new(problem, FORMS))
            }
            _ => {
                let expected = format!("{FORMS}, {REMOTE_FORMS}");
                Err(ReferenceError::new("a reference to a vault other than `env` and `aws`", &expected))
            }
        }
    } else if let Some(word) = word(text) {
        Err(unknown_word(word))
    } else {
        return None;
    })
}

/// The beginning of a text of the form `$word://…`.
fn word(text: &str) -> Option<&str> {
    let end = text.strip_prefix('$')?.find("://")? + 1;
    let name = &text[1..end];
    let is_word = name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+.-_".contains(&byte));
    is_word.then(|| &text[..end + "://".len()])
}

/// The mistake of a word that is no reference. The text may be a secret, so the word is not quoted.
fn unknown_word(word: &str) -> ReferenceError {
    let known = Mistake::new(Place::file(""), "", "").one_of(word, &WORDS);
    let expected = format!("{FORMS}, {REMOTE_FORMS}; `$$` at the beginning for the literal text");
    ReferenceError { problem: "an unknown kind of reference".to_owned(), expected, nearest: known.nearest }
}

/// Removes the first `$` of a literal text `$$word://…`.
fn unescape(text: &mut String) {
    let dollars = text.len() - text.trim_start_matches('$').len();
    if dollars > 1 && word(&text[dollars - 1..]).is_some() {
        text.remove(0);
    }
}

/// True if a text is a reference in capitals, in the middle of a text, or without its closing brace.
fn looks_like_reference(text: &str) -> bool {
    text.contains("://") && !text.starts_with("$$") && {
        let text = text.to_ascii_lowercase();
        has_reference(&text)
    }
}

fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
}

impl ReferenceTarget<'_> {
    fn read(self, environment: &Environment) -> Result<String, ReferenceError> {
        match self {
            Self::Variable(name) => environment.get(&name).cloned().ok_or_else(|| {
                let expected = format!("{name} in the sidecar's environment");
                ReferenceError::new(&format!("the environment variable {name} is not set"), &expected)
            }),
            Self::File(path) => match regular_file::read(Path::new(path)) {
                Ok(text) => Ok(without_line_end(&text).to_owned()),
                Err(error) => {
                    let problem = format!("the file {path} cannot be read: {error}");
                    let expected = "a regular text file of at most 64KiB that the sidecar's user may read";
                    Err(ReferenceError::new(&problem, expected))
                }
            },
            Self::Remote(_) => Err(ReferenceError::new("a secret in AWS cannot be read here", FORMS)),
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
        let secrets = SecretValues::default();
        let sources = ReferenceSources { environment: &environment, secrets: &secrets, refused: &[] };
        resolve(&mut node, &mut vec!["listen".into(), "http".into()], sources, &mut mistakes);
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
        assert!(resolved("{vault://hcv/x}", &[]).unwrap_err().contains("other than `env` and `aws`"));
        assert!(resolved("$secret://vault/1/x", &[]).unwrap_err().contains("unsupported"));
    }

    #[test]
    fn a_text_that_looks_like_a_reference_and_is_none_is_a_warning_without_the_text() {
        for (text, is_warned) in [
            ("hush$env://NAME", true),
            ("x$ssm://HUSH", true),
            ("{vault://env/hush", true),
            ("x$FILE:///hush", true),
            ("https://a.example/$env", false),
            ("$environment", false),
        ] {
            let mut node = Node { content: Content::Text(text.to_owned()), ..Node::empty() };
            let mut mistakes = Mistakes::default();
            let (environment, secrets) = (Environment::default(), SecretValues::default());
            let sources = ReferenceSources { environment: &environment, secrets: &secrets, refused: &[] };
            resolve(&mut node, &mut vec!["id".into()], sources, &mut mistakes);
            let warnings = mistakes.warnings();
            assert_eq!((warnings.len(), mistakes.is_empty()), (usize::from(is_warned), true), "{text}");
            assert!(!warnings.concat().to_lowercase().contains("hush"), "{warnings:?}");
        }
    }

    #[test]
    fn an_unknown_word_is_a_mistake_with_the_nearest_right_one() {
        for (text, nearest) in [
            ("$ENV://HUSH", Some("$env://")),
            ("$envs://hush", Some("$env://")),
            ("$smm://hush", Some("$ssm://")),
            ("$secrets://hush", Some("$secret://")),
            ("$word://hush", None),
        ] {
            let message = resolved(text, &[]).unwrap_err();
            assert!(message.contains("listen.http: an unknown kind of reference"), "{message}");
            let proposal = nearest.map(|nearest| format!("did you mean `{nearest}`?"));
            assert_eq!(proposal.is_some(), message.contains("did you mean"), "{message}");
            assert!(proposal.is_none_or(|proposal| message.contains(&proposal)), "{message}");
            assert!(!message.to_lowercase().contains("hush"), "{message}");
        }
    }

    #[test]
    fn two_dollars_before_a_word_are_one_in_the_literal_text() {
        for (written, text) in [
            ("$$ssm://a", "$ssm://a"),
            ("$$env://A", "$env://A"),
            ("$$other://a", "$other://a"),
            ("$$$env://A", "$$env://A"),
            ("$$a", "$$a"),
            ("$$", "$$"),
            ("$$ a://b", "$$ a://b"),
            ("$://b", "$://b"),
        ] {
            assert_eq!(resolved(written, &[]).unwrap(), text, "{written}");
        }
    }

    #[test]
    fn a_secret_in_aws_may_stand_only_where_it_is_needed_late() {
        let message = resolved("$ssm://hush", &[("AWS_REGION", "us-east-1")]).unwrap_err();
        assert!(message.contains("a secret in AWS cannot stand here"), "{message}");
        let is_late = |path: &str| may_be_remote(&path.split('.').map(str::to_owned).collect::<Vec<_>>());
        for path in [
            "routes.r.api_gateway.authorization.apikey",
            "routes.r.lambda.aws_secret",
            "routes.r.headers.request.set.x",
            "defaults.lambda.aws_key",
            "tracing.otlp.headers.authorization",
        ] {
            assert!(is_late(path), "{path}");
        }
        for path in [
            "routes.r.uri",
            "routes.r.id",
            "routes.r.hosts.0",
            "routes.r.api_gateway",
            "defaults.lambda",
            "routes.r.api_gateway.hosts.0",
            "listen.https.key",
            "tracing.otlp",
            "admin.hosts.0",
        ] {
            assert!(!is_late(path), "{path}");
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
            let is_reference = ["$env://", "$file://", "{vault://", "$secret://", "$ssm://"]
                .iter()
                .any(|start| text.starts_with(start));
            if !is_reference && word(text.trim_start_matches("$$")).is_none() && !text.starts_with("$$") {
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
            start in "\\$(env|file|ssm)://|\\{vault://((env|aws)/)?|\\$secret://(aws/)?|\\$\\$?[a-z]*://",
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
