//! The changes of headers that a route's `headers` describes, for one request.
//!
//! `proxy.rs` changes the request before the backend gets it, and the response after the backend has made it;
//! `explain.rs` changes the request too.

use actix_http::header::{HeaderMap, HeaderName, HeaderValue};

use super::{
    error::{ErrorKind, ProxyError},
    inbound::InboundRequest,
};
use crate::settings::{HeaderEdits, HeaderSettings};

/// The changes of the response, with path parameters filled in.
#[derive(Debug)]
pub struct ResponseEdits<'r> {
    edits: &'r HeaderEdits,
    /// The values of `set`, then those of `add`.
    values: Box<[HeaderValue]>,
}

/// Changes the headers of a request, and prepares the changes of its response, which needs the path too.
///
/// # Errors
/// A header cannot hold a path parameter.
pub fn edit_request<'r>(
    settings: &'r HeaderSettings,
    inbound: &mut InboundRequest,
) -> Result<ResponseEdits<'r>, ProxyError> {
    let values = filled(&settings.request, inbound)?;
    edit(&settings.request, values, &mut inbound.headers);
    if !settings.spelling.is_empty() {
        inbound.spelling.get_or_insert_default().put_first(&settings.spelling);
    }
    let values = filled(&settings.response, inbound)?;
    Ok(ResponseEdits { edits: &settings.response, values })
}

impl ResponseEdits<'_> {
    /// Changes the headers of a response.
    pub fn edit(self, headers: &mut HeaderMap) {
        edit(self.edits, self.values, headers);
    }
}

/// The reason why `headers.request` removes or replaces a header of the client; `None` if it does not.
pub fn why_edited(settings: &HeaderSettings, name: &HeaderName) -> Option<&'static str> {
    let HeaderEdits { set, remove, .. } = &settings.request;
    if set.iter().any(|(own, _)| own == name) {
        return Some("headers.request.set replaces it");
    }
    remove.contains(name).then_some("headers.request.remove names it")
}

fn filled(edits: &HeaderEdits, inbound: &InboundRequest) -> Result<Box<[HeaderValue]>, ProxyError> {
    let path = inbound.uri.path();
    let filled = edits.texts().map(|(_, text)| text.filled(|name| inbound.path.parameter(name, path)));
    let unfit = ErrorKind::InvalidPath("a path parameter is not valid in a header");
    filled.collect::<Option<_>>().ok_or_else(|| unfit.into())
}

/// A name that is removed and set has the set value; `add` appends a line to what is there by then.
fn edit(edits: &HeaderEdits, values: Box<[HeaderValue]>, headers: &mut HeaderMap) {
    for name in &edits.remove {
        headers.remove(name);
    }
    let mut values = values.into_iter();
    for ((name, _), value) in edits.set.iter().zip(values.by_ref()) {
        headers.insert(name.clone(), value);
    }
    for ((name, _), value) in edits.add.iter().zip(values) {
        headers.append(name.clone(), value);
    }
}
