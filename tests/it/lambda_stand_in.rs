//! The stand-in's Lambda API, called without the sidecar: AWS's own signer signs the requests.

mod invoke;
mod refusals;
mod streams;

use std::{net::SocketAddr, time::Duration};

use apigw_invoker::stand_in::{StandIn, StandInKeys, StandInOptions};
use serde_json::{Value, json};

use super::support::{Response, Signatory, call};

/// A stand-in without a pause between words.
fn stand_in() -> StandIn {
    stand_in_pausing(Duration::ZERO)
}

fn stand_in_pausing(words_pause: Duration) -> StandIn {
    let options = StandInOptions { words_pause, ..StandInOptions::new(StandInKeys::example()) };
    StandIn::start(SocketAddr::from(([127, 0, 0, 1], 0)), options).expect("the stand-in starts")
}

/// Path of `Invoke`.
fn invoke(function: &str) -> String {
    format!("/2015-03-31/functions/{function}/invocations")
}

/// Path of `InvokeWithResponseStream`.
fn stream(function: &str) -> String {
    format!("/2021-11-15/functions/{function}/response-streaming-invocations")
}

/// A POST signed with keys that the stand-in knows.
#[track_caller]
fn post(to: &StandIn, target: &str, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Response {
    Signatory::known("lambda").post(to, target, headers, body.as_ref())
}

/// Event of a REST API (payload 1.0) for a GET.
fn event_one(path: &str, query: &Value) -> String {
    json!({
        "httpMethod": "GET",
        "path": path,
        "headers": { "Accept": "*/*" },
        "multiValueHeaders": { "Accept": ["*/*"] },
        "queryStringParameters": query,
        "body": null,
        "isBase64Encoded": false,
    })
    .to_string()
}

/// Event of an HTTP API (payload 2.0) for a GET.
fn event_two(path: &str, query: &str) -> String {
    json!({
        "version": "2.0",
        "rawPath": path,
        "rawQueryString": query,
        "headers": { "accept": "*/*" },
        "requestContext": { "http": { "method": "GET", "path": path } },
        "isBase64Encoded": false,
    })
    .to_string()
}
