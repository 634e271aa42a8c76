//! A `uri` of the settings: literal segments, path parameters in API Gateway's spelling, and its end.

use std::{fmt, ops::Range, sync::Arc};

use super::path_match::{PathMatch, PrefixRewrite};
use crate::text::uri_syntax::{climbs, escapes_are_whole};

/// The name of the path parameter that stands for a final `*`, as in the documents of API Gateway.
const PROXY: &str = "proxy";
/// A segment of any value in a [`PathPattern`]; a literal segment never holds a brace.
pub(super) const ANY_SEGMENT: &str = "{}";

/// A `uri` of the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UriPattern {
    written: String,
    segments: Vec<Segment>,
    end: PatternEnd,
    /// `/orders/{id}/{proxy+}`: the pattern as API Gateway writes it, with `{proxy+}` for a final `*`.
    resource: String,
    prefix_rewrite: PrefixRewrite,
    /// The route names its methods.
    names_methods: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Literal(String),
    /// The name of `{name}`.
    Parameter(String),
}

/// How a pattern ends after its segments.
#[derive(Debug, Clone, PartialEq, Eq)]
enum PatternEnd {
    /// `/aws`: this path alone.
    Exact,
    /// `/aws/*`: `/aws/` and every path below.
    Below,
    /// `/aws*`: `/aws` and every path below `/aws/`. APISIX would also take `/awsome`.
    AtAndBelow,
    /// The name of `{name+}`: every path below with at least one byte.
    Greedy(String),
}

/// One path to look up; a `UriPattern` is one or two of them. [`ANY_SEGMENT`] stands for a path parameter.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PathPattern {
    Exact(String),
    /// Every path that starts so; ends with a slash.
    Prefix(String),
}

/// How closely a pattern fits a path, segment by segment: at the first segment in which two differ, the
/// greater wins.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PathRank(Vec<SegmentRank>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum SegmentRank {
    /// The rest of the path, whatever it is.
    Rest,
    Parameter,
    Literal,
}

impl UriPattern {
    /// The expected value, for a text that [`Self::parse`] refuses.
    pub(crate) fn expected(text: &str) -> &'static str {
        let path = text.strip_suffix('*').unwrap_or(text);
        let is_parameter = |text: &&str| text.contains(['{', '}']);
        let parameters: Vec<_> = path.split('/').filter(is_parameter).map(segment).collect();
        let is_greedy = |parsed: &Option<Parsed>| matches!(parsed, Some(Parsed::Greedy(_)));
        if !text.starts_with('/') {
            "a path that starts with `/`"
        } else if parameters.iter().any(Option::is_none) {
            "a path with whole segments `{name}`, whose names have letters, digits, `.`, `_`, `:` and `-` \
             alone; `%7B` is a brace itself"
        } else if parameters.iter().any(is_greedy) && (text.ends_with('*') || !text.ends_with("+}")) {
            "a path with whole segments `{name}`, and with one `{name+}` or `*`, at its end"
        } else if !parameters.is_empty() && !climbs(path) {
            "a path with whole segments `{name}`, with each name once, where a final `*` is called `proxy`; \
             without query, blanks, bad escapes and bytes beyond ASCII"
        } else {
            "a path that starts with `/`, with `*` at its end at most; without query, fragment, blanks, \
             `..`, bad escapes and bytes beyond ASCII"
        }
    }

    /// The name of a parameter in other routers' spelling, `/u/:slug`, which is matched literally here.
    pub fn foreign_parameter(text: &str) -> Option<&str> {
        let is_end = |char: char| !char.is_ascii_alphanumeric() && char != '_' && char != '-';
        let mut names = text.split('/').filter_map(|segment| segment.strip_prefix(':'));
        names.find(|name| name.starts_with(|char: char| char.is_ascii_alphabetic()))?.split(is_end).next()
    }

    pub fn parse(text: &str) -> Option<Self> {
        let (path, has_star) = match text.strip_suffix('*') {
            Some(path) => (path, true),
            None => (text, false),
        };
        let mut segments = path.strip_prefix('/')?.split('/').map(segment).collect::<Option<Vec<_>>>()?;
        let end = match (has_star, segments.pop()?) {
            (false, Parsed::Greedy(name)) => PatternEnd::Greedy(name),
            (true, Parsed::Greedy(_)) => return None,
            // the slash before the star ends the last segment
            (true, Parsed::Segment(Segment::Literal(last))) if last.is_empty() => PatternEnd::Below,
            (_, last) => {
                segments.push(last);
                if has_star { PatternEnd::AtAndBelow } else { PatternEnd::Exact }
            }
        };
        let segments = segments.into_iter().map(Parsed::not_greedy).collect::<Option<Vec<_>>>()?;
        let resource = match &end {
            PatternEnd::Exact | PatternEnd::Greedy(_) => text.to_owned(),
            PatternEnd::Below => format!("{path}{{{PROXY}+}}"),
            PatternEnd::AtAndBelow => format!("{path}/{{{PROXY}+}}"),
        };
        let pattern = Self {
            written: text.to_owned(),
            segments,
            end,
            resource,
            prefix_rewrite: PrefixRewrite::Keep,
            names_methods: false,
        };
        let mut names: Vec<&str> = pattern.names().collect();
        names.sort_unstable();
        let is_sound = escapes_are_whole(path.as_bytes())
            && !climbs(path)
            && names.windows(2).all(|pair| pair[0] != pair[1]);
        is_sound.then_some(pattern)
    }

    /// The same pattern, whose literal prefix becomes another one for the backend.
    #[must_use]
    pub fn with_prefix_rewrite(self, prefix_rewrite: PrefixRewrite) -> Self {
        Self { prefix_rewrite, ..self }
    }

    /// The same pattern, of a route that names its methods or takes any.
    #[must_use]
    pub fn of_methods(self, names_methods: bool) -> Self {
        Self { names_methods, ..self }
    }

    pub(super) fn names_methods(&self) -> bool {
        self.names_methods
    }

    pub(super) fn prefix_rewrite(&self) -> &PrefixRewrite {
        &self.prefix_rewrite
    }

    /// The names of its path parameters, in the order of the path; that of a final `*` is `proxy`.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let segments = self.segments.iter().filter_map(|segment| match segment {
            Segment::Parameter(name) => Some(&**name),
            Segment::Literal(_) => None,
        });
        segments.chain(self.name_of_rest())
    }

    /// The name of the path parameter that holds the rest of a path.
    pub(super) fn name_of_rest(&self) -> Option<&str> {
        match &self.end {
            PatternEnd::Exact => None,
            PatternEnd::Below | PatternEnd::AtAndBelow => Some(PROXY),
            PatternEnd::Greedy(name) => Some(name),
        }
    }

    /// The pattern as API Gateway writes it.
    pub(super) fn resource(&self) -> &str {
        &self.resource
    }

    /// Bytes of the literal segments before the first parameter or `*`, which are the same in every path.
    pub fn literal_prefix(&self) -> &str {
        let literal = |segment: &Segment| match segment {
            Segment::Literal(text) => Some(text.len() + 1),
            Segment::Parameter(_) => None,
        };
        &self.written[..self.segments.iter().map_while(literal).sum()]
    }

    /// True if the rest of the path must not be empty.
    pub(super) fn needs_rest(&self) -> bool {
        matches!(self.end, PatternEnd::Greedy(_))
    }

    /// The paths to look up for it.
    pub fn paths(&self) -> Vec<PathPattern> {
        let texts = self.segments.iter().map(|segment| match segment {
            Segment::Literal(text) => ["/", text].concat(),
            Segment::Parameter(_) => ["/", ANY_SEGMENT].concat(),
        });
        let path: String = texts.collect();
        match &self.end {
            PatternEnd::Exact => vec![PathPattern::Exact(path)],
            PatternEnd::Below | PatternEnd::Greedy(_) => vec![PathPattern::Prefix(path + "/")],
            PatternEnd::AtAndBelow => {
                vec![PathPattern::Exact(path.clone()), PathPattern::Prefix(path + "/")]
            }
        }
    }

    /// How closely the pattern fits a path, and where its parts are in that path; `None` if it does not fit.
    /// This is one pattern by itself; `RouteTable` finds the best of many.
    pub fn fit(self: &Arc<Self>, path: &str) -> Option<(PathRank, PathMatch)> {
        let mut ranks = Vec::with_capacity(self.segments.len() + 1);
        let mut values = Vec::new();
        // where the next segment begins; `None` behind the last
        let mut next = path.starts_with('/').then_some(1);
        for segment in &self.segments {
            let start = next?;
            let range = segment_at(path, start);
            next = Some(range.end + 1).filter(|next| *next <= path.len());
            match segment {
                Segment::Literal(text) if path[range.clone()] == **text => ranks.push(SegmentRank::Literal),
                Segment::Parameter(_) if !range.is_empty() => {
                    ranks.push(SegmentRank::Parameter);
                    values.push(range);
                }
                _ => return None,
            }
        }
        let rest = match (&self.end, next) {
            (PatternEnd::Exact | PatternEnd::AtAndBelow, None) => None,
            (PatternEnd::Below | PatternEnd::AtAndBelow, Some(start)) => Some(start),
            (PatternEnd::Greedy(_), Some(start)) if start < path.len() => Some(start),
            _ => return None,
        };
        ranks.extend(rest.map(|_| SegmentRank::Rest));
        Some((PathRank(ranks), PathMatch::new(Arc::clone(self), values, rest, path)))
    }
}

impl PathRank {
    /// True if the path is written out in the pattern.
    pub fn is_literal(&self) -> bool {
        self.0.iter().all(|rank| *rank == SegmentRank::Literal)
    }

    /// True if a segment of the pattern is a parameter.
    pub fn has_parameter(&self) -> bool {
        self.0.contains(&SegmentRank::Parameter)
    }

    /// True if the pattern takes paths of any length.
    pub fn has_rest(&self) -> bool {
        self.0.last() == Some(&SegmentRank::Rest)
    }

    /// Why this one lost to a greater one: the first segment in which they differ decides.
    pub fn why_it_lost(&self, winner: &Self) -> &'static str {
        let differing = self.0.iter().zip(&winner.0).find(|(own, other)| own != other);
        match differing {
            Some((SegmentRank::Rest, _)) if winner.has_parameter() => {
                "path: the other route has a segment where this one has `*`"
            }
            Some((SegmentRank::Rest, _)) => "path: the other route's prefix is longer",
            _ => "path: the other route has a literal segment where this one has a parameter",
        }
    }
}

/// Where the segment that begins at `start` is.
pub(super) fn segment_at(path: &str, start: usize) -> Range<usize> {
    let length = path.as_bytes()[start..].iter().position(|byte| *byte == b'/');
    start..length.map_or(path.len(), |length| start + length)
}

enum Parsed {
    Segment(Segment),
    Greedy(String),
}

impl Parsed {
    fn not_greedy(self) -> Option<Segment> {
        match self {
            Self::Segment(segment) => Some(segment),
            Self::Greedy(_) => None,
        }
    }
}

fn segment(text: &str) -> Option<Parsed> {
    if let Some(name) = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        let is_name = |name: &str| {
            !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte))
        };
        return match name.strip_suffix('+') {
            Some(name) => is_name(name).then(|| Parsed::Greedy(name.to_owned())),
            None => is_name(name).then(|| Parsed::Segment(Segment::Parameter(name.to_owned()))),
        };
    }
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"*?#{}".contains(&byte);
    text.bytes().all(is_plain).then(|| Parsed::Segment(Segment::Literal(text.to_owned())))
}

impl UriPattern {
    /// As it is written in the settings.
    pub fn written(&self) -> &str {
        &self.written
    }
}

impl fmt::Display for UriPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn braces_that_are_no_template_are_refused() {
        for text in [
            "/{",
            "/}",
            "/{}",
            "/{+}",
            "/a{b}",
            "/{a}b",
            "/{a",
            "/a}",
            "/{a b}",
            "/{a/b}",
            "/{a+}/b",
            "/{a+}*",
            "/{a}/{a}",
            "/{a}/{a+}",
            "/{*}",
            "/{a}{b}",
            "/{proxy}/*",
        ] {
            assert_eq!(UriPattern::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_literal_prefix_ends_before_the_first_parameter_or_star() {
        for (text, prefix) in [
            ("/users/{id}/orders", "/users"),
            ("/a/b", "/a/b"),
            ("/a/", "/a/"),
            ("/a/*", "/a"),
            ("/a*", "/a"),
            ("/{x}/a", ""),
            ("/*", ""),
            ("/files/{proxy+}", "/files"),
        ] {
            assert_eq!(UriPattern::parse(text).unwrap().literal_prefix(), prefix, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_uri_that_is_taken_says_what_was_written(
            text in "(/|[a-c.*?#%é{}+ ]|%2[eEfF]|\\{[ab]\\+?\\}|\\.\\.){0,8}",
        ) {
            if let Some(uri) = UriPattern::parse(&text) {
                prop_assert_eq!(uri.to_string(), &*text);
                for path in uri.paths() {
                    let (PathPattern::Exact(path) | PathPattern::Prefix(path)) = path;
                    prop_assert!(path.starts_with('/') && path.is_ascii() && !path.contains('*'), "{path}");
                }
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in any::<String>(), path in any::<String>()) {
            if let Some(uri) = UriPattern::parse(&text).map(Arc::new) {
                let _ = uri.fit(&path);
            }
        }
    }
}
