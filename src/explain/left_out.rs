//! Headers and query arguments of the client that do not go out as they came, and why.
//!
//! `explain.rs` comes here with the client's headers and query, and with the request that a backend has made of them.

use actix_http::header::{HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;

use crate::{
    message::{
        headers::why_not_passed,
        outbound::{OutboundRequest, Signature},
    },
    settings::{BackendSettings, ClientAuthorization, PayloadSettings, RouteSettings},
    text::uri_syntax::query,
};

/// One of the client's headers or query arguments that does not go out as it came.
#[derive(Debug, Serialize)]
pub struct LeftOut {
    /// The part of the request that it is in.
    #[serde(rename = "in")]
    pub part: Part,
    /// Its name.
    pub name: String,
    /// The reason.
    pub why: &'static str,
}

/// A part of a request with names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The headers.
    Headers,
    /// The query.
    Query,
}

/// The headers in the order of their names, then the arguments of `query` in their own order.
pub fn left_out(
    brought: &HeaderMap,
    query: Option<&str>,
    outbound: &OutboundRequest,
    route: &RouteSettings,
) -> Vec<LeftOut> {
    let mut left_out = headers(brought, &outbound.headers, route);
    left_out.extend(arguments(query.unwrap_or_default(), outbound.signature, route));
    left_out
}

/// AWS would take them for a signature, and refuses one in the query beside one in `Authorization`.
fn arguments(query: &str, signature: Signature, route: &RouteSettings) -> Vec<LeftOut> {
    let is_rewritten = matches!(&route.backend, BackendSettings::ApiGateway(_))
        && route.backend.source().is_some()
        && signature == Signature::Ours;
    if !is_rewritten {
        return Vec::new();
    }
    let why = "AWS would take it for a signature in the query, and the route's own is in Authorization";
    query::left_out(query).into_iter().map(|name| LeftOut { part: Part::Query, name, why }).collect()
}

fn headers(brought: &HeaderMap, outbound: &HeaderMap, route: &RouteSettings) -> Vec<LeftOut> {
    let mut names: Vec<&HeaderName> = brought.keys().collect();
    names.sort_unstable_by_key(|name| name.as_str());
    names.dedup();
    let left_out = names.into_iter().filter(|name| !passes(name, brought, outbound));
    left_out
        .map(|name| LeftOut {
            part: Part::Headers,
            name: name.to_string(),
            why: why(name, brought, outbound, route),
        })
        .collect()
}

/// True for a header whose every value goes out, maybe with more behind it.
fn passes(name: &HeaderName, brought: &HeaderMap, outbound: &HeaderMap) -> bool {
    let holds = |sent: &HeaderValue, value: &HeaderValue| sent.as_bytes().starts_with(value.as_bytes());
    brought.get_all(name).all(|value| outbound.get_all(name).any(|sent| holds(sent, value)))
}

fn why(name: &HeaderName, brought: &HeaderMap, outbound: &HeaderMap, route: &RouteSettings) -> &'static str {
    if let Some(why) = why_not_passed(name, brought) {
        return why;
    }
    match &route.backend {
        BackendSettings::Lambda(settings) => match &settings.payload {
            PayloadSettings::Gateway(_) => "no header of a client goes to the Lambda API; the event has it",
            PayloadSettings::Forward(parts) if parts.headers => {
                "no header of a client goes to the Lambda API; the event has it"
            }
            PayloadSettings::Forward(_) => {
                "no header of a client goes to the Lambda API; forward_request_headers puts them into the \
                 event"
            }
            PayloadSettings::Merge { .. } => {
                "no header of a client goes to the Lambda API; awsgateway_compatible or \
                 forward_request_headers put them into the event"
            }
        },
        BackendSettings::ApiGateway(settings) => {
            let is_proof = matches!(
                name.as_str(),
                "authorization"
                    | "x-api-key"
                    | "x-amz-content-sha256"
                    | "x-amz-date"
                    | "x-amz-security-token"
            );
            if is_proof && settings.client_authorization == ClientAuthorization::Replace {
                "the route has its own authorization (client_authorization: replace)"
            } else if is_proof {
                "the route's signature replaces it"
            } else if outbound.contains_key(name) {
                "the sidecar says what it has seen itself"
            } else {
                "it has no meaning beyond the sidecar"
            }
        }
    }
}
