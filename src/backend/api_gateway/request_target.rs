//! Path and query of a call: `function_uri`, its path parameters filled in, the rest of the client's path and
//! the queries of both (cases A18 to A28).

use std::borrow::Cow;

use percent_encoding::{percent_decode_str, percent_encode};

use crate::{
    message::{
        error::{ErrorKind, ProxyError},
        inbound::InboundRequest,
    },
    settings::FunctionUri,
    text::{
        signing_rules::CanonicalPath,
        uri_syntax::{
            RESERVED, check_remainder, climbs, is_dot_segment, path::make_strict, query::push_strict,
        },
    },
};

/// Room for slashes and for escapes that grow.
const SPARE: usize = 64;

/// The request target as it goes out. If the sidecar signs it, the query gets strict escapes, and so does a
/// path that is not escaped again for the signature.
///
/// # Errors
/// The path leads above the route's prefix, or a path parameter has a dot segment.
pub fn request_target(
    uri: &FunctionUri,
    inbound: &InboundRequest,
    signed_as: Option<CanonicalPath>,
) -> Result<String, ProxyError> {
    let own_query = own_query(uri, inbound)?;
    let length = uri.path.as_str().len() + own_query.as_ref().map_or(0, |query| query.len());
    let path = inbound.uri.path();
    let mut text = String::with_capacity(length + path.len() + SPARE);
    push_path(uri, inbound, path, &mut text)?;
    if signed_as == Some(CanonicalPath::EncodedOnce) {
        make_strict(&mut text);
    }
    let queries = [own_query.as_deref(), inbound.uri.query()];
    if signed_as.is_some() {
        let path_end = text.len();
        text.push('?');
        for query in queries.into_iter().flatten() {
            push_strict(query, &mut text);
        }
        if text.len() == path_end + 1 {
            text.truncate(path_end);
        }
    } else {
        for (query, separator) in queries.into_iter().flatten().zip(['?', '&']) {
            text.push(separator);
            text.push_str(query);
        }
    }
    Ok(text)
}

/// The path of `function_uri`, the prefix of `rewrite`, and the rest of the client's path unless
/// `function_uri` names the parameter that holds it. Escapes stay as the client sent them.
fn push_path(
    uri: &FunctionUri,
    inbound: &InboundRequest,
    path: &str,
    text: &mut String,
) -> Result<(), ProxyError> {
    let has_parameters = uri.path.names().next().is_some();
    if has_parameters {
        push_filled(uri, inbound, text).map_err(ErrorKind::InvalidPath)?;
    } else {
        text.push_str(uri.path.as_str());
    }
    if let Some(prefix) = inbound.path.replaced_prefix() {
        text.truncate(text.trim_end_matches('/').len());
        text.push_str(prefix);
        if text.is_empty() {
            text.push('/');
        }
    }
    let is_named =
        || has_parameters && uri.path.names().any(|name| Some(name) == inbound.path.name_of_rest());
    if let Some(rest) = inbound.path.rest(path).filter(|_| !is_named()) {
        check_remainder(rest).map_err(ErrorKind::InvalidPath)?;
        if !text.ends_with('/') {
            text.push('/');
        }
        text.push_str(rest);
    }
    Ok(())
}

/// The path of `function_uri` with its path parameters filled in.
fn push_filled(uri: &FunctionUri, inbound: &InboundRequest, text: &mut String) -> Result<(), &'static str> {
    let path = inbound.uri.path();
    let name_of_rest = inbound.path.name_of_rest();
    let mut start = None;
    let mut has_rest = false;
    uri.path.push(text, |name, text| {
        let value = inbound.path.parameter(name, path);
        let is_rest = name_of_rest == Some(name);
        if is_dot_segment(value) || (!is_rest && climbs(value)) {
            return Err("a path parameter has a dot segment");
        }
        check_remainder(value)?;
        start.get_or_insert(text.rfind('/').map_or(0, |slash| slash + 1));
        has_rest |= is_rest;
        text.push_str(value);
        Ok(())
    })?;
    // the text around a value may complete a `..`, as in `/.{id}`
    let Some(start) = start else { return Ok(()) };
    let filled = &text[start..];
    if has_rest {
        check_remainder(filled)
    } else if climbs(filled) {
        Err("path parameters make a dot segment")
    } else {
        Ok(())
    }
}

/// The query of `function_uri`; a path parameter is decoded and becomes a value with exact escapes.
fn own_query<'u>(uri: &'u FunctionUri, inbound: &InboundRequest) -> Result<Option<Cow<'u, str>>, ProxyError> {
    let Some(query) = &uri.query else { return Ok(None) };
    if query.names().next().is_none() {
        return Ok(Some(Cow::Borrowed(query.as_str())));
    }
    let mut text = String::with_capacity(query.as_str().len() + SPARE);
    query.push(&mut text, |name, text| {
        let decoded: Vec<u8> = percent_decode_str(inbound.path.parameter(name, inbound.uri.path())).collect();
        text.extend(percent_encode(&decoded, RESERVED));
        Ok::<(), ProxyError>(())
    })?;
    Ok(Some(Cow::Owned(text)))
}
