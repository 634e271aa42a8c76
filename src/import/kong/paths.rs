//! Paths of Kong's routes: literal prefixes, and regular expressions that are a literal path, a prefix or a
//! template.

use super::expression::{self, Translated};
use crate::import::{matching::prefix, values::shown};

/// A path of a route in the form of `uri`.
#[derive(Debug, PartialEq, Eq)]
pub struct KongPath {
    pub uris: Vec<String>,
    /// Takes `/ordersx` for `/orders` at Kong.
    pub is_open_prefix: bool,
    pub is_expression: bool,
    /// Names of the captures, in order, with those that got one here.
    pub captures: Vec<String>,
    /// The captures that had no name.
    pub unnamed: usize,
}

/// Translates a path; an error is the reason why it cannot be.
///
/// Since 3.0 an expression begins with `~`. Before, a path was one if it had other characters than letters,
/// digits and `-._~/%`. In a dump that does not name its version, the mark decides if it is there.
pub fn path(text: &str, marks_expressions: Option<bool>) -> Result<KongPath, String> {
    if let Some(expression) = text.strip_prefix('~').filter(|_| marks_expressions != Some(false)) {
        return of_expression(expression);
    }
    let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~/%".contains(&byte));
    if !is_plain && marks_expressions != Some(true) {
        return of_expression(text);
    }
    if !text.starts_with('/') {
        return Err(format!("the path `{}` does not begin with `/`", shown(text)));
    }
    Ok(KongPath {
        uris: vec![prefix(text)?],
        is_open_prefix: !text.ends_with('/'),
        is_expression: false,
        captures: Vec::new(),
        unnamed: 0,
    })
}

fn of_expression(text: &str) -> Result<KongPath, String> {
    let text_shown = shown(text);
    let Translated { uris, is_open_prefix, captures, unnamed } =
        expression::translate(text).map_err(|why| {
            let nearest = why.nearest.map(|uri| format!("; nearest is `uri: {uri}`")).unwrap_or_default();
            format!(
                "the regular expression `{text_shown}` is neither a prefix nor a template: {}{nearest}",
                why.reason
            )
        })?;
    Ok(KongPath { uris, is_open_prefix, is_expression: true, captures, unnamed })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uris(text: &str, marks: Option<bool>) -> Result<Vec<String>, String> {
        path(text, marks).map(|path| path.uris)
    }

    #[test]
    fn literal_paths_are_prefixes() {
        for (text, uri) in
            [("/", "/*"), ("/orders", "/orders*"), ("/orders/", "/orders/*"), ("/a%20b", "/a%20b*")]
        {
            assert_eq!(uris(text, Some(true)).unwrap(), [uri], "{text}");
            assert_eq!(uris(text, Some(false)).unwrap(), [uri], "{text}");
            assert_eq!(uris(text, None).unwrap(), [uri], "{text}");
        }
        assert_eq!(uris("/a b{c}ü", Some(true)).unwrap(), ["/a%20b%7Bc%7D%C3%BC*"]);
        assert!(uris("orders", Some(true)).is_err());
        assert!(uris("/a*", Some(true)).is_err());
    }

    #[test]
    fn the_version_decides_what_an_expression_is() {
        assert_eq!(uris("~/a/(?<id>[^/]+)$", Some(true)).unwrap(), ["/a/{id}"]);
        assert_eq!(uris("/a/(?<id>[^/]+)$", Some(false)).unwrap(), ["/a/{id}"]);
        assert_eq!(uris("/a/(?<id>[^/]+)$", None).unwrap(), ["/a/{id}"]);
        // since 3.0 without its mark, a literal path
        assert_eq!(uris("/a(b)", Some(true)).unwrap(), ["/a(b)*"]);
        // before 3.0 a literal path
        assert!(uris("~/a", Some(false)).is_err());
    }
}
