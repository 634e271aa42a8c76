//! Signatures compared with AWS's test vectors, golden values of other implementations, AWS's own signer, and
//! an independent verifier written from the specification.

mod golden;
mod properties;
mod refusals;
mod s3;
mod sent;
mod vectors;

use std::time::SystemTime;

use actix_http::{
    Method,
    header::{self, HeaderMap, HeaderName, HeaderValue},
};
use apigw_invoker::{
    message::{
        inbound::RequestBody,
        outbound::{OutboundRequest, Signature, SignedPayload},
    },
    signing::{Scope, Signer, SigningHeaders},
    text::uri_syntax::query::push_strict,
};
use aws_credential_types::Credentials;
use bytes::Bytes;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

const ACCESS_KEY_ID: &str = "AKIDEXAMPLE";
const SECRET_ACCESS_KEY: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

/// A request as a signed route sends it: with a strictly encoded query, the rest unchanged.
fn outbound(method: &str, target: &str, headers: HeaderMap, body: &[u8]) -> OutboundRequest {
    let body = match body {
        [] => RequestBody::Empty,
        bytes => RequestBody::Whole(Bytes::copy_from_slice(bytes)),
    };
    OutboundRequest {
        method: Method::from_bytes(method.as_bytes()).expect("a method"),
        path_and_query: strict_target(target),
        headers,
        body,
        signature: Signature::Ours,
        payload: SignedPayload::Hash,
    }
}

/// Path and query, with the query encoded as on a signed route.
fn strict_target(target: &str) -> String {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut strict = String::new();
    push_strict(query, &mut strict);
    if strict.is_empty() { path.to_owned() } else { format!("{path}?{strict}") }
}

/// A header map; repeated names keep their order.
fn header_map<'a>(lines: impl IntoIterator<Item = (&'a str, &'a str)>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a header's name");
        headers.append(name, HeaderValue::from_bytes(value.as_bytes()).expect("a header's value"));
    }
    headers
}

/// Signs a request and adds the signature's headers.
fn sign(request: &mut OutboundRequest, scope: Scope, credentials: &Credentials, now: SystemTime) {
    let signing = Signer::new(scope).sign(request, credentials, now).expect("it can be signed");
    for replaced in
        request.headers.keys().filter(|name| SigningHeaders::replace(name)).cloned().collect::<Vec<_>>()
    {
        request.headers.remove(&replaced);
    }
    for (name, value) in signing.lines() {
        request.headers.insert(name, HeaderValue::from_bytes(value).expect("a header's value"));
    }
}

/// A header of a signed request as text.
fn header_text(request: &OutboundRequest, name: impl Into<HeaderName>) -> Option<&str> {
    request.headers.get(name.into()).map(|value| str::from_utf8(value.as_bytes()).expect("text"))
}

/// `Authorization` of a signed request.
fn authorization(request: &OutboundRequest) -> &str {
    header_text(request, header::AUTHORIZATION).expect("it is signed")
}

/// Parses a time such as `2015-08-30T12:36:00Z`.
fn time(text: &str) -> SystemTime {
    OffsetDateTime::parse(text, &Rfc3339).expect("a time").into()
}
