//! Regular expressions (PCRE) as `uri`: those that mean a literal path, a prefix or a template.
//!
//! An expression of Kong is bound to the beginning of the path and, without `$`, open at its end. Whatever
//! takes fewer or other paths than a template is an error.

use crate::import::matching::literal;

/// An expression as `uri`.
#[derive(Debug, PartialEq, Eq)]
pub struct Translated {
    pub uris: Vec<String>,
    /// Open at its end within a segment.
    pub is_open_prefix: bool,
    pub captures: Vec<String>,
    /// The captures that had no name.
    pub unnamed: usize,
}

/// The reason why an expression has no equal `uri`.
#[derive(Debug, PartialEq, Eq)]
pub struct NoTemplate {
    pub reason: String,
    /// A template that takes more paths.
    pub nearest: Option<String>,
}

fn no_template(reason: impl Into<String>) -> NoTemplate {
    NoTemplate { reason: reason.into(), nearest: None }
}

/// The end of an expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// `$`
    Exact,
    /// `/?$`
    ExactWithSlash,
    /// `(/.*)?$`: the path itself and all below it
    Below,
    /// Nothing: open within the last segment.
    Open,
}

/// Splits the end of an expression from its beginning.
fn end(text: &str) -> (&str, End) {
    for below in ["(/.*)?$", "(?:/.*)?$", "(/.*)?", "(?:/.*)?", "(/|$)", "(?:/|$)", "($|/)"] {
        if let Some(rest) = text.strip_suffix(below) {
            return (rest, End::Below);
        }
    }
    if let Some(rest) = text.strip_suffix("/?$") {
        return (rest, End::ExactWithSlash);
    }
    match text.strip_suffix('$') {
        Some(rest) if !rest.ends_with('\\') => (rest, End::Exact),
        _ => (text, End::Open),
    }
}

/// Translates an expression.
pub fn translate(text: &str) -> Result<Translated, NoTemplate> {
    let text = text.strip_prefix('^').unwrap_or(text);
    let (body, mut end) = end(text);
    let is_root = body.is_empty() && end == End::Below;
    if !is_root && !body.starts_with('/') {
        return Err(no_template("it does not begin with `/`"));
    }
    let mut uri = String::new();
    let (mut captures, mut unnamed) = (Vec::new(), 0);
    let (mut has_rest, mut narrower) = (false, None);
    for (at, segment) in segments(body)?.into_iter().enumerate() {
        if has_rest {
            return Err(no_template("something follows a part that takes slashes"));
        }
        if at > 0 {
            uri.push('/');
        }
        match segment_of(&segment)? {
            Segment::Literal(text) => uri.push_str(&literal(&text).map_err(no_template)?),
            Segment::Rest { name } => {
                has_rest = true;
                uri.push_str(&name.as_ref().map_or_else(|| "*".to_owned(), |name| format!("{{{name}+}}")));
                captures.extend(name);
            }
            Segment::Parameter { name, reason } => {
                let name = name.unwrap_or_else(|| {
                    unnamed += 1;
                    format!("p{}", captures.len() + 1)
                });
                uri.extend([format!("{{{name}}}")]);
                captures.push(name);
                narrower = narrower.or(reason);
            }
        }
    }
    if has_rest && end == End::Open {
        // `.*` takes everything to the end in any case
        end = End::Exact;
    }
    if has_rest && end != End::Exact {
        return Err(no_template("something follows a part that takes slashes"));
    }
    let ends_with_parameter = uri.ends_with('}');
    let uris = with_end(uri, end);
    if let Some(reason) = narrower {
        return Err(NoTemplate { reason, nearest: uris.into_iter().next() });
    }
    let is_open_prefix = end == End::Open && !ends_with_parameter && !body.ends_with('/');
    Ok(Translated { uris, is_open_prefix, captures, unnamed })
}

/// The `uri`s of an expression with this end.
fn with_end(uri: String, end: End) -> Vec<String> {
    match end {
        End::Exact => vec![uri],
        End::ExactWithSlash if uri.is_empty() => vec!["/".to_owned()],
        End::ExactWithSlash => vec![format!("{uri}/"), uri],
        End::Below | End::Open => vec![format!("{uri}*")],
    }
}

/// Splits at the slashes outside of groups and classes.
fn segments(body: &str) -> Result<Vec<String>, NoTemplate> {
    let (mut segments, mut depth, mut in_class, mut is_escaped) = (vec![String::new()], 0_u32, false, false);
    for char in body.chars() {
        if is_escaped {
            is_escaped = false;
        } else {
            match char {
                '\\' => is_escaped = true,
                '[' => in_class = true,
                ']' => in_class = false,
                '(' if !in_class => depth += 1,
                ')' if !in_class => depth = depth.saturating_sub(1),
                '/' if !in_class && depth == 0 => {
                    segments.push(String::new());
                    continue;
                }
                _ => {}
            }
        }
        if let Some(last) = segments.last_mut() {
            last.push(char);
        }
    }
    if depth > 0 || in_class || is_escaped {
        return Err(no_template("it is not complete"));
    }
    Ok(segments)
}

enum Segment {
    Literal(String),
    /// One whole segment; with a reason if the expression takes fewer values.
    Parameter {
        name: Option<String>,
        reason: Option<String>,
    },
    /// Everything to the end of the path.
    Rest {
        name: Option<String>,
    },
}

fn segment_of(text: &str) -> Result<Segment, NoTemplate> {
    if let Some((name, inner)) = capture(text) {
        return match inner {
            "[^/]+" | "[^/]{1,}" => Ok(Segment::Parameter { name, reason: None }),
            ".+" if name.is_some() => Ok(Segment::Rest { name }),
            ".*" => Ok(Segment::Rest { name: None }),
            _ if is_class(inner) => {
                let reason = format!("`{inner}` takes fewer values than a path parameter");
                Ok(Segment::Parameter { name, reason: Some(reason) })
            }
            _ => Err(no_template(format!("`{text}` is no whole segment"))),
        };
    }
    match text {
        ".*" => return Ok(Segment::Rest { name: None }),
        "[^/]+" => return Ok(Segment::Parameter { name: None, reason: None }),
        _ if is_class(text) => {
            let reason = format!("`{text}` takes fewer values than a path parameter");
            return Ok(Segment::Parameter { name: None, reason: Some(reason) });
        }
        _ => {}
    }
    let (mut literal, mut is_escaped) = (String::new(), false);
    for char in text.chars() {
        match char {
            char if is_escaped => {
                if char.is_ascii_alphanumeric() {
                    return Err(no_template(format!("`\\{char}` stands for several characters")));
                }
                literal.push(char);
                is_escaped = false;
            }
            '\\' => is_escaped = true,
            // often meant as itself, but the expression takes other paths too
            '.' => return Err(no_template("`.` takes any character; the dot itself is `\\.`")),
            '(' | ')' | '[' | ']' | '{' | '}' | '|' | '*' | '+' | '?' | '^' | '$' => {
                return Err(no_template(format!("`{text}` is no whole segment")));
            }
            char => literal.push(char),
        }
    }
    Ok(Segment::Literal(literal))
}

/// A group that is the whole text: its name and its content.
fn capture(text: &str) -> Option<(Option<String>, &str)> {
    let inner = text.strip_prefix('(')?.strip_suffix(')')?;
    for start in ["?<", "?P<"] {
        if let Some((name, inner)) = inner.strip_prefix(start).and_then(|rest| rest.split_once('>')) {
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
            return (!name.is_empty() && name.bytes().all(is_name)).then(|| (Some(name.to_owned()), inner));
        }
    }
    (!inner.starts_with('?')).then_some((None, inner))
}

/// True for a repeated class of characters, such as `\d+` or `[a-z0-9-]+`.
fn is_class(text: &str) -> bool {
    let text = text.trim_end_matches(['+', '*']);
    let text = text.split_once('{').map_or(text, |(class, _)| class);
    matches!(text, "\\d" | "\\w" | "\\S")
        || text
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .is_some_and(|inner| !inner.contains(['[', ']']) && !inner.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_that_are_paths_prefixes_or_templates_are_translated() {
        for (text, uris, is_open) in [
            ("/orders$", vec!["/orders"], false),
            ("/orders", vec!["/orders*"], true),
            ("^/orders/", vec!["/orders/*"], false),
            ("/orders/?$", vec!["/orders/", "/orders"], false),
            ("/orders(/.*)?$", vec!["/orders*"], false),
            ("/orders/.*", vec!["/orders/*"], false),
            ("/orders/(.*)$", vec!["/orders/*"], false),
            ("/v1\\.0/users/(?<id>[^/]+)$", vec!["/v1.0/users/{id}"], false),
            ("/users/(?<id>[^/]+)", vec!["/users/{id}*"], false),
            ("/users/([^/]+)/orders/(?P<order>[^/]+)$", vec!["/users/{p1}/orders/{order}"], false),
            ("/files/(?<path>.+)$", vec!["/files/{path+}"], false),
        ] {
            let translated = translate(text).unwrap_or_else(|why| panic!("{text}: {why:?}"));
            assert_eq!(
                (translated.uris, translated.is_open_prefix),
                (uris.into_iter().map(String::from).collect(), is_open),
                "{text}"
            );
        }
    }

    #[test]
    fn expressions_that_take_other_paths_are_refused_with_the_nearest_template() {
        for (text, nearest) in [
            ("/users/(?<id>\\d+)$", Some("/users/{id}")),
            ("/users/(?<id>[0-9a-f-]{36})/orders$", Some("/users/{id}/orders")),
            ("/users/\\w+$", Some("/users/{p1}")),
            ("/(foo|bar)$", None),
            ("/a.b$", None),
            ("/a/.*/b$", None),
            ("/a+$", None),
            ("(?i)/a$", None),
            ("/a[$", None),
            ("/a\\", None),
            ("", None),
            ("/a/(?!b)c", None),
        ] {
            assert_eq!(translate(text).unwrap_err().nearest.as_deref(), nearest, "{text}");
        }
    }
}
