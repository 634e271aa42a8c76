//! The section `headers` of a route: headers that are removed, set or added in requests and responses. The
//! names are those of the Gateway API's `HTTPHeaderFilter` and of APISIX's `proxy-rewrite`.

use std::collections::BTreeMap;

use actix_http::header::HeaderName;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use super::{backend::BackendSettings, check_parameters, header_text::HeaderText};
use crate::{
    routing::RouteRule,
    settings::source::{
        check::Checker,
        declaration::Kind,
        reference::has_reference,
        secrecy::Secrecy,
        shown::{REDACTED, Show},
    },
    text::header_names::{OWN_REQUEST_NAMES, OWN_RESPONSE_NAMES, OwnNames},
};

const REQUEST_TEXTS: Kind = Kind::HeaderTexts(&OWN_REQUEST_NAMES);
const REQUEST_NAME: Kind = Kind::HeaderName(&OWN_REQUEST_NAMES);
const RESPONSE_TEXTS: Kind = Kind::HeaderTexts(&OWN_RESPONSE_NAMES);
const RESPONSE_NAME: Kind = Kind::HeaderName(&OWN_RESPONSE_NAMES);

section! {
    /// Header changes of a route, checked.
    #[derive(Debug, Clone, PartialEq)]
    pub struct HeaderSettings, read as WrittenHeaders, optional "a table with `request` or `response`";

    made HeaderParts {
        /// Changes of the client's request.
        request: HeaderEdits,
        /// Changes of the response to the client.
        response: HeaderEdits,
        /// The names under `request.set` and `request.add` as written, if the backend keeps their case.
        spelling: Vec<String>,
    }

    /// Changes of the client's request before the backend gets it, see "Headers".
    request: WrittenRequestHeaders => |headers| &headers.request;
    /// Changes of a response before the client gets it; not of the sidecar's own errors, see "Headers".
    response: WrittenResponseHeaders => |headers| &headers.response;
}

section! {
    read as WrittenRequestHeaders, optional "a table with `set`, `add` or `remove`";

    /// Names and values of headers; each replaces all lines of its name. `{name}` in a value is replaced by
    /// that path parameter as received. Keep secrets out of files: `$env://NAME` or `$file:///path`.
    set: BTreeMap<String, SecretString>, kind(REQUEST_TEXTS) => _;
    /// Names and values of headers; each is added as a further line of its name. Values are as under `set`.
    add: BTreeMap<String, SecretString>, kind(REQUEST_TEXTS) => _;
    /// Names of headers; all lines of each are removed, before `set` and `add`.
    remove: Vec<String>, kind(Kind::List(&REQUEST_NAME)) => _;
}

section! {
    read as WrittenResponseHeaders, optional "a table with `set`, `add` or `remove`";

    /// Names and values of headers, as under `headers.request`.
    set: BTreeMap<String, SecretString>, kind(RESPONSE_TEXTS) => _;
    /// Names and values of headers, as under `headers.request`.
    add: BTreeMap<String, SecretString>, kind(RESPONSE_TEXTS) => _;
    /// Names of headers, as under `headers.request`.
    remove: Vec<String>, kind(Kind::List(&RESPONSE_NAME)) => _;
}

/// Changes of headers: those of `remove` first, then `set`, then `add`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HeaderEdits {
    pub remove: Vec<HeaderName>,
    pub set: Vec<(HeaderName, HeaderText)>,
    pub add: Vec<(HeaderName, HeaderText)>,
}

impl HeaderEdits {
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
    }

    /// The values in the order in which they are written to the headers.
    pub fn texts(&self) -> impl Iterator<Item = &(HeaderName, HeaderText)> {
        self.set.iter().chain(&self.add)
    }

    /// True if a value has a path parameter.
    pub fn has_parameters(&self) -> bool {
        self.texts().any(|(_, text)| text.names().next().is_some())
    }
}

impl Show for HeaderEdits {
    fn show(&self, _: Secrecy) -> Value {
        let names = |texts: &[(HeaderName, HeaderText)]| {
            texts.iter().map(|(name, _)| (name.to_string(), json!(REDACTED))).collect::<Value>()
        };
        let removed: Vec<&str> = self.remove.iter().map(HeaderName::as_str).collect();
        json!({ "set": names(&self.set), "add": names(&self.add), "remove": removed })
    }
}

/// The parts of a route on which its headers depend; `None` after a mistake in them.
pub(super) struct HeaderContext<'r> {
    pub(super) rule: Option<&'r RouteRule>,
    pub(super) backend: Option<&'r BackendSettings>,
}

impl WrittenHeaders {
    /// `None` if no header is named.
    pub(super) fn check(
        mut self,
        context: &HeaderContext<'_>,
        checker: &mut Checker<'_>,
    ) -> Option<Box<HeaderSettings>> {
        let WrittenRequestHeaders { set, add, remove } = self.request.take().unwrap_or_default();
        let keeps_spelling = context.backend.is_some_and(|backend| backend.section().keeps_spelling());
        let names = [&set, &add].into_iter().flatten().flat_map(BTreeMap::keys);
        let spelling = names.filter(|_| keeps_spelling).cloned().collect();
        let proofs = context.backend.map_or(&[][..], |backend| backend.section().own_headers());
        let own = DirectionNames { own: &OWN_REQUEST_NAMES, proofs };
        let request = edits(EditTexts { set, add, remove }, &own, context, &mut checker.at("request"));
        let WrittenResponseHeaders { set, add, remove } = self.response.take().unwrap_or_default();
        let own = DirectionNames { own: &OWN_RESPONSE_NAMES, proofs: &[] };
        let response = edits(EditTexts { set, add, remove }, &own, context, &mut checker.at("response"));
        let is_empty = request.is_empty() && response.is_empty();
        (!is_empty).then(|| Box::new(self.settled(checker)(HeaderParts { request, response, spelling })))
    }
}

/// The keys of one direction, as written.
struct EditTexts {
    set: Option<BTreeMap<String, SecretString>>,
    add: Option<BTreeMap<String, SecretString>>,
    remove: Option<Vec<String>>,
}

/// The names that a route cannot change in one direction.
struct DirectionNames {
    own: &'static OwnNames,
    /// Sent by `authorization` of the route.
    proofs: &'static [&'static str],
}

fn edits(
    written: EditTexts,
    own: &DirectionNames,
    context: &HeaderContext<'_>,
    checker: &mut Checker<'_>,
) -> HeaderEdits {
    let set = texts(&written.set.unwrap_or_default(), own, context, &mut checker.at("set"));
    let add = texts(&written.add.unwrap_or_default(), own, context, &mut checker.at("add"));
    let name = |checker: &mut Checker<'_>, key: &str, text: &str| own.name(text, &mut checker.at(key));
    let remove = super::each("remove", written.remove.as_deref().unwrap_or_default(), checker, name);
    HeaderEdits { remove: remove.unwrap_or_default(), set, add }
}

/// Mistakes never quote the values, which may be secrets.
fn texts(
    written: &BTreeMap<String, SecretString>,
    own: &DirectionNames,
    context: &HeaderContext<'_>,
    checker: &mut Checker<'_>,
) -> Vec<(HeaderName, HeaderText)> {
    let mut found: Vec<(HeaderName, HeaderText)> = Vec::with_capacity(written.len());
    for (key, text) in written {
        let is_reference = checker.is_reference(key);
        let Some(name) = own.name(key, &mut checker.at(key)) else { continue };
        if found.iter().any(|(earlier, _)| *earlier == name) {
            checker.at(key).report("duplicate header in another spelling", "each header once");
            continue;
        }
        let text = text.expose_secret();
        if !is_reference && has_reference(text) {
            checker
                .at(key)
                .report("a reference in the middle of the value", "a reference to the whole value");
            continue;
        }
        let parsed = if is_reference { HeaderText::fixed(text) } else { HeaderText::parse(text) };
        match parsed {
            Some(text) => {
                if let Some(rule) = context.rule {
                    check_parameters(key, text.names(), rule, checker);
                }
                found.push((name, text));
            }
            None => checker.at(key).report("invalid value", HeaderText::EXPECTED),
        }
    }
    found
}

impl DirectionNames {
    /// The name of a header that the route may change.
    fn name(&self, text: &str, checker: &mut Checker<'_>) -> Option<HeaderName> {
        // `http` accepts `"` in a name
        let parsed = HeaderName::try_from(text).ok().filter(|_| !text.contains('"'));
        let Some(name) = parsed else {
            checker.report("invalid name of a header", "letters, digits and `-`, such as X-Tenant");
            return None;
        };
        if self.own.contain(name.as_str()) {
            checker.report("the sidecar sets or removes this header itself", "another header");
            return None;
        }
        if self.proofs.contains(&name.as_str()) {
            let expected = "another header, or a route without `authorization`";
            checker.report("`authorization` of the route sets or removes this header", expected);
            return None;
        }
        Some(name)
    }
}
