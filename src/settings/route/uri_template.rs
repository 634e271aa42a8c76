//! `{name}` in the path and the query of a `function_uri`: a path parameter of the route's `uri`.

use std::fmt;

/// A text with path parameters in it. A brace that belongs to none is refused; `%7B` is a brace itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UriTemplate {
    written: String,
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Parameter(String),
}

impl UriTemplate {
    pub(super) fn parse(written: &str) -> Option<Self> {
        let mut pieces = Vec::new();
        let mut rest = written;
        while let Some((text, behind)) = rest.split_once('{') {
            let (name, behind) = behind.split_once('}')?;
            // `{proxy+}` is the same parameter as `{proxy}`, and is what the `uri` calls it
            let name = name.strip_suffix('+').unwrap_or(name);
            pieces.push(Piece::Text(text.to_owned()));
            pieces.push(Piece::Parameter(name.to_owned()));
            rest = behind;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        let is_right = pieces.iter().all(|piece| match piece {
            Piece::Text(text) => !text.contains('}'),
            Piece::Parameter(name) => {
                !name.is_empty()
                    && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte))
            }
        });
        pieces.retain(|piece| *piece != Piece::Text(String::new()));
        is_right.then(|| Self { written: written.to_owned(), pieces })
    }

    /// As it is written in the settings.
    pub fn as_str(&self) -> &str {
        &self.written
    }

    /// The names of its parameters.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Parameter(name) => Some(&**name),
            Piece::Text(_) => None,
        })
    }

    /// Appends it to `text`, and each parameter as `push_value` writes it.
    ///
    /// # Errors
    /// The first one of `push_value`.
    pub fn push<E>(
        &self,
        text: &mut String,
        mut push_value: impl FnMut(&str, &mut String) -> Result<(), E>,
    ) -> Result<(), E> {
        self.pieces.iter().try_for_each(|piece| match piece {
            Piece::Text(piece) => {
                text.push_str(piece);
                Ok(())
            }
            Piece::Parameter(name) => push_value(name, text),
        })
    }
}

impl fmt::Display for UriTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filled(template: &str) -> Option<String> {
        let mut text = String::new();
        let push = |name: &str, text: &mut String| {
            text.extend(["<", name, ">"]);
            Ok::<(), ()>(())
        };
        UriTemplate::parse(template)?.push(&mut text, push).ok().map(|()| text)
    }

    #[test]
    fn parameters_stand_anywhere_and_their_values_in_their_place() {
        for (template, expected) in [
            ("/prod/u/{id}", "/prod/u/<id>"),
            ("{a}{b}", "<a><b>"),
            ("/u-{id}.json", "/u-<id>.json"),
            ("/x/{proxy+}/y", "/x/<proxy>/y"),
            ("/x", "/x"),
            ("", ""),
        ] {
            assert_eq!(filled(template).as_deref(), Some(expected), "{template}");
        }
    }

    #[test]
    fn a_brace_without_a_name_is_refused() {
        for template in ["{", "}", "/{}", "/{+}", "/{a", "/a}", "/{a{b}}", "/{a b}", "/{{a}}"] {
            assert_eq!(filled(template), None, "{template}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_template_or_none(text in any::<String>()) {
            if let Some(template) = UriTemplate::parse(&text) {
                prop_assert_eq!(template.as_str(), &*text);
            }
        }
    }
}
