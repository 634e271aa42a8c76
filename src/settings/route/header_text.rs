//! The value of a header in `headers` of a route: fixed, or with path parameters of the route's `uri` in it.

use std::fmt;

use actix_http::header::HeaderValue;

/// The value of a header. It may be a secret, so it is never shown.
#[derive(Debug, Clone, PartialEq)]
pub enum HeaderText {
    Fixed(HeaderValue),
    Template(HeaderTemplate),
}

/// A value with path parameters in it.
#[derive(Clone, PartialEq)]
pub struct HeaderTemplate(Vec<Piece>);

#[derive(Clone, PartialEq)]
enum Piece {
    Text(String),
    Parameter(String),
}

impl fmt::Debug for HeaderTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeaderTemplate").finish_non_exhaustive()
    }
}

impl HeaderText {
    pub(super) const EXPECTED: &'static str =
        "visible ASCII, with blanks and tabs only inside (RFC 9110, 5.5)";

    /// A text without path parameters: a secret from a reference may have braces.
    pub(super) fn fixed(text: &str) -> Option<Self> {
        is_header_value(text).then(|| value(text)).flatten().map(Self::Fixed)
    }

    /// A text with path parameters `{name}`. Other braces stand for themselves, as in a value that is JSON.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let pieces = pieces(text);
        if pieces.iter().any(|piece| matches!(piece, Piece::Parameter(_))) {
            is_header_value(text).then_some(Self::Template(HeaderTemplate(pieces)))
        } else {
            Self::fixed(text)
        }
    }

    /// The names of its path parameters.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let pieces = match self {
            Self::Fixed(_) => &[][..],
            Self::Template(HeaderTemplate(pieces)) => pieces,
        };
        pieces.iter().filter_map(|piece| match piece {
            Piece::Parameter(name) => Some(&**name),
            Piece::Text(_) => None,
        })
    }

    /// The value with its path parameters filled in; `None` if a header cannot hold it.
    pub fn filled<'p>(&self, parameter: impl Fn(&str) -> &'p str) -> Option<HeaderValue> {
        match self {
            Self::Fixed(value) => Some(value.clone()),
            Self::Template(HeaderTemplate(pieces)) => {
                let texts = pieces.iter().map(|piece| match piece {
                    Piece::Text(text) => text,
                    Piece::Parameter(name) => parameter(name),
                });
                value(&texts.collect::<String>())
            }
        }
    }
}

fn value(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// `HeaderValue` accepts whitespace at the ends and bytes outside ASCII.
fn is_header_value(text: &str) -> bool {
    let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let bytes = text.as_bytes();
    !is_blank(bytes.first())
        && !is_blank(bytes.last())
        && bytes.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~'))
}

fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let (mut literal, mut rest) = (String::new(), text);
    while let Some((before, behind)) = rest.split_once('{') {
        literal.push_str(before);
        match behind.split_once('}').and_then(|(name, behind)| Some((parameter_name(name)?, behind))) {
            Some((name, behind)) => {
                pieces.push(Piece::Text(std::mem::take(&mut literal)));
                pieces.push(Piece::Parameter(name.to_owned()));
                rest = behind;
            }
            None => {
                literal.push('{');
                rest = behind;
            }
        }
    }
    pieces.push(Piece::Text(literal + rest));
    pieces.retain(|piece| !matches!(piece, Piece::Text(text) if text.is_empty()));
    pieces
}

/// `{proxy+}` is the same parameter as `{proxy}`.
fn parameter_name(text: &str) -> Option<&str> {
    let name = text.strip_suffix('+').unwrap_or(text);
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte))
    };
    is_name(name).then_some(name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filled(text: &str) -> Option<String> {
        let value = HeaderText::parse(text)?.filled(|name| if name == "id" { "7%2F" } else { "x/y" })?;
        Some(value.to_str().unwrap().to_owned())
    }

    #[test]
    fn parameters_are_filled_in_and_other_braces_stay() {
        for (text, expected) in [
            ("fixed", "fixed"),
            ("", ""),
            ("{id}", "7%2F"),
            ("user {id}; rest={proxy+}", "user 7%2F; rest=x/y"),
            (r#"{"group":"default","max_age":1}"#, r#"{"group":"default","max_age":1}"#),
            ("{{id}}", "{7%2F}"),
            ("{}{ id }{", "{}{ id }{"),
        ] {
            assert_eq!(filled(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn a_fixed_text_has_no_parameters() {
        let text = HeaderText::fixed("{id}").unwrap();
        assert_eq!(
            (text.names().count(), text.filled(|_| "7").unwrap()),
            (0, HeaderValue::from_static("{id}"))
        );
    }

    #[test]
    fn a_text_that_a_header_cannot_hold_is_refused() {
        for text in [" a", "a\t", "a\r\nb", "\u{7f}", "ü", "{id} "] {
            assert_eq!((HeaderText::parse(text), HeaderText::fixed(text)), (None, None), "{text:?}");
        }
        assert!(HeaderText::parse("a \t b").is_some());
    }

    #[test]
    fn debug_shows_no_value() {
        let texts = ["hush", "hush-{id}"].map(|text| HeaderText::parse(text).unwrap());
        assert!(!format!("{texts:?}").contains("hush"), "{texts:?}");
        let value = texts[1].filled(|_| "hush").unwrap();
        assert!(value.is_sensitive() && !format!("{value:?}").contains("hush"));
    }

    proptest! {
        #[test]
        fn any_visible_text_is_a_value_and_any_path_fills_it(text in "[!-~]{0,12}", value in "[!-~]{0,6}") {
            let text = HeaderText::parse(&text).unwrap();
            prop_assert!(text.filled(|_| &value).is_some());
        }

        #[test]
        fn no_text_makes_it_panic(text in any::<String>(), value in any::<String>()) {
            if let Some(text) = HeaderText::parse(&text) {
                let _ = text.filled(|_| &value);
            }
        }
    }
}
