//! `uri` of APISIX's routes.

use crate::import::{matching::literal, values::shown};

/// A `uri` of APISIX in the form of ours.
#[derive(Debug, PartialEq, Eq)]
pub struct ApisixPath {
    pub uri: String,
    /// Takes `/awsome` for `/aws*` at APISIX.
    pub is_open_prefix: bool,
    /// The path ends with `*`, whose part is appended to the endpoint's path.
    pub has_rest: bool,
    /// True with parameters, which only one of APISIX's routers knows.
    pub has_parameters: bool,
}

/// Translates a `uri`; an error is the reason why it cannot be.
pub fn path(text: &str) -> Result<ApisixPath, String> {
    let whole = if text == "*" { "/*" } else { text };
    if !whole.starts_with('/') {
        return Err(format!("the uri `{}` does not begin with `/`", shown(text)));
    }
    let (body, star) = match whole.split_once('*') {
        Some((body, name)) => (body, Some(name)),
        None => (whole, None),
    };
    if star.is_some_and(|name| name.contains(['*', '/'])) {
        return Err(format!("the uri `{}`: a `*` is at the end", shown(text)));
    }
    let (mut segments, mut has_parameters) = (Vec::new(), false);
    for segment in body.split('/') {
        match segment.strip_prefix(':') {
            Some(name) if is_name(name) => {
                has_parameters = true;
                segments.push(format!("{{{name}}}"));
            }
            _ => segments.push(literal(segment)?),
        }
    }
    let uri = segments.join("/");
    Ok(ApisixPath {
        is_open_prefix: star.is_some() && !body.ends_with('/'),
        has_rest: star.is_some(),
        has_parameters: has_parameters || star.is_some_and(|name| !name.is_empty()),
        uri: if star.is_some() { uri + "*" } else { uri },
    })
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_prefixes_and_parameters_are_translated() {
        for (text, uri, is_open, has_rest, has_parameters) in [
            ("/aws", "/aws", false, false, false),
            ("/aws/*", "/aws/*", false, true, false),
            ("/aws*", "/aws*", true, true, false),
            ("*", "/*", false, true, false),
            ("/*", "/*", false, true, false),
            ("/users/:id/orders", "/users/{id}/orders", false, false, true),
            ("/blog/*tail", "/blog/*", false, true, true),
            ("/a b", "/a%20b", false, false, false),
        ] {
            let expected =
                ApisixPath { uri: uri.to_owned(), is_open_prefix: is_open, has_rest, has_parameters };
            assert_eq!(path(text), Ok(expected), "{text}");
        }
        for text in ["aws", "", "/a/*/b", "/a**"] {
            assert!(path(text).is_err(), "{text}");
        }
    }
}
