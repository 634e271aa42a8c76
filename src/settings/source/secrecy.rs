//! The part of a key's value that mistakes, `/routes`, `routes`, `explain` and the log may show, by the key's
//! declaration.

use super::{declaration::Kind, tree::Notation};
use crate::{settings::schema::key_at, text::log_safe::log_safe};

/// Characters of a value that a mistake quotes.
const MAX_QUOTED_CHARS: usize = 200;

/// The part of a value that may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secrecy {
    /// All of it. Mistakes never quote the value of a reference.
    Open,
    /// All of a written value, nothing of a reference's.
    Reference,
    /// A URL without its query.
    Query,
    /// A path, but no other text: it may be the content of the file.
    UnlessPath,
    /// Nothing.
    Secret,
}

impl Secrecy {
    /// The secrecy of a kind for keys that declare none.
    pub const fn of_kind(kind: &Kind) -> Self {
        match kind {
            Kind::Text => Self::Reference,
            // a text in the place of a table may be anything
            Kind::Proof(_)
            | Kind::Texts
            | Kind::Object
            | Kind::Section(_)
            | Kind::Filled(_)
            | Kind::Elsewhere => Self::Secret,
            _ => Self::Open,
        }
    }

    /// The secrecy of the key at a path of the settings' tree; items of lists and tables have that of the
    /// whole.
    pub fn of_key(path: &[String]) -> Self {
        // an undeclared key may hold anything
        key_at(path).map_or(Self::Secret, |key| key.secrecy)
    }

    /// As much of a text as a mistake may quote.
    pub fn quotable(self, text: &str, notation: Notation) -> Option<String> {
        // a password in a URL stands before an `@`
        if notation == Notation::Reference || text.contains('@') {
            return None;
        }
        match self {
            Self::Open | Self::Reference => Some(log_safe(text, MAX_QUOTED_CHARS)),
            Self::Query => Some(match text.find(['?', '#']) {
                Some(end) => format!("{}?…", log_safe(&text[..end], MAX_QUOTED_CHARS)),
                None => log_safe(text, MAX_QUOTED_CHARS),
            }),
            Self::UnlessPath => text.starts_with(['/', '.']).then(|| log_safe(text, MAX_QUOTED_CHARS)),
            Self::Secret => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: &str) -> Secrecy {
        Secrecy::of_key(&path.split('.').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn x14_the_declaration_of_a_key_decides_what_may_be_shown() {
        assert_eq!(at("routes.r.api_gateway.function_uri"), Secrecy::Query);
        assert_eq!(at("defaults.lambda.aws_external_id"), Secrecy::Secret);
        assert_eq!(at("routes.r.lambda.body.any.0"), Secrecy::Secret);
        assert_eq!(at("routes.r.lambda.account_id"), Secrecy::Reference);
        assert_eq!(at("routes.r.uris.0"), Secrecy::Open);
        assert_eq!(at("listen.https.key"), Secrecy::UnlessPath);
        assert_eq!(at("tracing.otlp.headers.authorization"), Secrecy::Secret);
        assert_eq!(at("routes.r.nothing"), Secrecy::Secret);
    }

    #[test]
    fn x14_a_mistake_quotes_no_secret() {
        let quoted = |secrecy: Secrecy, text: &str| secrecy.quotable(text, Notation::Typed);
        assert_eq!(quoted(Secrecy::Query, "ftp://h/p?k=hush").as_deref(), Some("ftp://h/p?…"));
        assert_eq!(quoted(Secrecy::Query, "https://h/p#hush").as_deref(), Some("https://h/p?…"));
        assert_eq!(quoted(Secrecy::Query, "https://user:hush@h/"), None);
        assert_eq!(quoted(Secrecy::UnlessPath, "-----BEGIN hush"), None);
        assert_eq!(quoted(Secrecy::UnlessPath, "/etc/key").as_deref(), Some("/etc/key"));
        assert_eq!(quoted(Secrecy::Secret, "hush"), None);
        assert_eq!(Secrecy::Open.quotable("hush", Notation::Reference), None);
        assert_eq!(quoted(Secrecy::Open, &"a".repeat(999)).unwrap().chars().count(), MAX_QUOTED_CHARS + 1);
    }
}
