//! How a route's pattern lies over the path of one request: its parameters, the rest, and the path that the
//! backend sees.

use std::{borrow::Cow, ops::Range, sync::Arc};

use super::uri_pattern::UriPattern;

/// The handling of the literal segments before the first parameter or `*`, on their way to the backend.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum PrefixRewrite {
    #[default]
    Keep,
    /// `strip_path`: they are left out.
    Strip,
    /// `rewrite`: this path, without a slash at its end, stands in their place.
    Replace(String),
}

/// A path that a pattern takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathMatch {
    pattern: Arc<UriPattern>,
    /// Where the values of the pattern's parameters are, in its order.
    values: Vec<Range<usize>>,
    /// Where the rest begins that a final `*` or `{proxy+}` stands for; none where it is empty.
    rest: Option<usize>,
    /// Bytes of the resource that the path has reached.
    resource: usize,
}

impl PathMatch {
    /// `rest` is where the path goes on behind the pattern's segments, with 0 bytes or more.
    pub(super) fn new(
        pattern: Arc<UriPattern>,
        values: Vec<Range<usize>>,
        rest: Option<usize>,
        path: &str,
    ) -> Self {
        let resource = pattern.resource();
        let end_of_segments = || resource.rfind('/').unwrap_or_default();
        let resource = match rest {
            Some(start) if start < path.len() => resource.len(),
            Some(_) => end_of_segments() + 1,
            None if pattern.name_of_rest().is_some() => end_of_segments(),
            None => resource.len(),
        };
        Self { pattern, values, rest: rest.filter(|start| *start < path.len()), resource }
    }

    /// The pattern, as the settings have it.
    pub fn pattern(&self) -> &UriPattern {
        &self.pattern
    }

    /// True if the route names its methods.
    pub fn names_methods(&self) -> bool {
        self.pattern.names_methods()
    }

    /// The path after the route's prefix, raw and without the slash before it.
    pub fn rest<'p>(&self, path: &'p str) -> Option<&'p str> {
        self.rest.map(|start| &path[start..])
    }

    /// The path parameters with their raw values, in the order of the path.
    pub fn parameters<'p>(&self, path: &'p str) -> impl Iterator<Item = (&str, &'p str)> {
        let values = self.values.iter().map(|range| &path[range.clone()]).chain(self.rest(path));
        self.pattern.names().zip(values)
    }

    /// The raw value of a path parameter; empty where the path has none of this name.
    pub fn parameter<'p>(&self, name: &str, path: &'p str) -> &'p str {
        self.parameters(path).find(|(own, _)| *own == name).map_or("", |(_, value)| value)
    }

    /// The name of the path parameter that holds the rest of the path.
    pub fn name_of_rest(&self) -> Option<&str> {
        self.pattern.name_of_rest()
    }

    /// The part of the path that is no literal prefix.
    pub fn behind_literal_prefix<'p>(&self, path: &'p str) -> &'p str {
        &path[self.pattern.literal_prefix().len()..]
    }

    /// The path for the backend, its literal prefix rewritten.
    pub fn rewritten<'p>(&self, path: &'p str) -> Cow<'p, str> {
        self.with_rewritten_prefix(path)
    }

    /// The pattern as API Gateway writes it, as far as the path goes, its literal prefix rewritten.
    pub fn resource(&self) -> Cow<'_, str> {
        self.with_rewritten_prefix(&self.pattern.resource()[..self.resource])
    }

    /// How a pattern, written as in the settings, lies over a path; `None` if either is wrong.
    pub fn of(pattern: &str, path: &str) -> Option<Self> {
        Some(Arc::new(UriPattern::parse(pattern)?).fit(path)?.1)
    }

    /// The part of `path_and_query` that the prefix of an `api_gateway` route becomes.
    pub fn replaced_prefix(&self) -> Option<&str> {
        match self.pattern.prefix_rewrite() {
            PrefixRewrite::Replace(prefix) => Some(prefix),
            PrefixRewrite::Keep | PrefixRewrite::Strip => None,
        }
    }

    fn with_rewritten_prefix<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let prefix = match self.pattern.prefix_rewrite() {
            PrefixRewrite::Keep => return Cow::Borrowed(text),
            PrefixRewrite::Strip => "",
            PrefixRewrite::Replace(prefix) => prefix,
        };
        let behind = &text[self.pattern.literal_prefix().len()..];
        match (prefix, behind) {
            ("", "") => Cow::Borrowed("/"),
            ("", behind) => Cow::Borrowed(behind),
            (prefix, behind) => Cow::Owned([prefix, behind].concat()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matched(pattern: &str, rewrite: PrefixRewrite, path: &str) -> PathMatch {
        let pattern = UriPattern::parse(pattern).unwrap().with_prefix_rewrite(rewrite);
        Arc::new(pattern).fit(path).unwrap().1
    }

    #[test]
    fn the_resource_goes_as_far_as_the_path_does() {
        for (pattern, path, resource) in [
            ("/a", "/a", "/a"),
            ("/a*", "/a", "/a"),
            ("/a*", "/a/", "/a/"),
            ("/a*", "/a/b/c", "/a/{proxy+}"),
            ("/a/*", "/a/", "/a/"),
            ("/*", "/", "/"),
            ("/*", "/x", "/{proxy+}"),
            ("/u/{id}", "/u/7", "/u/{id}"),
            ("/u/{id}*", "/u/7", "/u/{id}"),
            ("/u/{id}/*", "/u/7/x", "/u/{id}/{proxy+}"),
            ("/f/{path+}", "/f/x/y", "/f/{path+}"),
        ] {
            assert_eq!(matched(pattern, PrefixRewrite::Keep, path).resource(), resource, "{pattern} {path}");
        }
    }

    #[test]
    fn parameters_are_named_and_raw() {
        let path = "/u/a%2Fb/o/7/x//y/";
        let found = matched("/u/{user}/o/{order}/*", PrefixRewrite::Keep, path);
        let parameters: Vec<_> = found.parameters(path).collect();
        assert_eq!(parameters, [("user", "a%2Fb"), ("order", "7"), ("proxy", "x//y/")]);
    }

    #[test]
    fn a_prefix_is_stripped_or_replaced_in_path_and_resource() {
        let to = |prefix: &str| PrefixRewrite::Replace(prefix.to_owned());
        for (pattern, rewrite, path, rewritten, resource) in [
            ("/a/*", PrefixRewrite::Strip, "/a/x", "/x", "/{proxy+}"),
            ("/a*", PrefixRewrite::Strip, "/a", "/", "/"),
            ("/a/*", PrefixRewrite::Strip, "/a/", "/", "/"),
            ("/a/{id}", PrefixRewrite::Strip, "/a/7", "/7", "/{id}"),
            ("/*", PrefixRewrite::Strip, "/x", "/x", "/{proxy+}"),
            ("/a/*", to("/v2/b"), "/a/x/y", "/v2/b/x/y", "/v2/b/{proxy+}"),
            ("/a", to("/b"), "/a", "/b", "/b"),
            ("/a*", to(""), "/a", "/", "/"),
            ("/*", to("/b"), "/x", "/b/x", "/b/{proxy+}"),
        ] {
            let found = matched(pattern, rewrite, path);
            assert_eq!(
                (&*found.rewritten(path), &*found.resource()),
                (rewritten, resource),
                "{pattern} {path}"
            );
        }
    }
}
