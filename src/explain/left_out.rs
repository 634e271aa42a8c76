//! Headers and query arguments of the client that are removed or replaced, with the reasons.

use actix_http::header::{self, HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;

use crate::{
    backend::Backend,
    message::{
        client_address::PeerTrust,
        headers::why_not_passed,
        outbound::{OutboundRequest, Signature},
    },
    text::uri_syntax::query,
};

/// A header or query argument of the client that is removed or replaced.
#[derive(Debug, Serialize)]
pub struct LeftOut {
    #[serde(rename = "in")]
    pub part: LeftOutPart,
    pub name: String,
    pub why: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LeftOutPart {
    Headers,
    Query,
}

/// The headers sorted by name, then the arguments of `query` in their order. `takes_keys` is true on a route
/// that takes AWS keys from `Authorization`.
pub fn left_out(
    brought: &HeaderMap,
    trust: PeerTrust,
    query: Option<&str>,
    outbound: &OutboundRequest,
    backend: &dyn Backend,
    takes_keys: bool,
) -> Vec<LeftOut> {
    let mut left_out = headers(brought, trust, &outbound.headers, backend, takes_keys);
    left_out.extend(arguments(query.unwrap_or_default(), outbound.signature, backend));
    left_out
}

/// SigV4 arguments: AWS refuses a signature in the query beside one in `Authorization`.
fn arguments(query: &str, signature: Signature, backend: &dyn Backend) -> Vec<LeftOut> {
    if !backend.rewrites_query(signature) {
        return Vec::new();
    }
    let why = "AWS would read it as a signature in the query, but the route signs in Authorization";
    query::left_out(query).into_iter().map(|name| LeftOut { part: LeftOutPart::Query, name, why }).collect()
}

fn headers(
    brought: &HeaderMap,
    trust: PeerTrust,
    outbound: &HeaderMap,
    backend: &dyn Backend,
    takes_keys: bool,
) -> Vec<LeftOut> {
    let why_left_out = |name: &HeaderName| {
        if takes_keys && *name == header::AUTHORIZATION {
            return "the route takes AWS keys from it and signs with them (client_credentials)";
        }
        why_not_passed(name, brought, trust).unwrap_or_else(|| backend.why_left_out(name, outbound))
    };
    let mut names: Vec<&HeaderName> = brought.keys().collect();
    names.sort_unstable_by_key(|name| name.as_str());
    names.dedup();
    let left_out = names.into_iter().filter(|name| !passes(name, brought, outbound));
    left_out
        .map(|name| LeftOut { part: LeftOutPart::Headers, name: name.to_string(), why: why_left_out(name) })
        .collect()
}

/// True if every value of a header is sent, possibly with more appended.
fn passes(name: &HeaderName, brought: &HeaderMap, outbound: &HeaderMap) -> bool {
    let holds = |sent: &HeaderValue, value: &HeaderValue| sent.as_bytes().starts_with(value.as_bytes());
    brought.get_all(name).all(|value| outbound.get_all(name).any(|sent| holds(sent, value)))
}
