//! The small functions behind the stand-in: what one would write for a first try of API Gateway.

use std::{collections::BTreeMap, time::Duration};

use actix_web::{
    HttpResponse, HttpResponseBuilder,
    http::{Method, StatusCode, header::HeaderMap},
    web::Bytes,
};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::answers::with_request_ids;
use crate::signing::hex;

/// A request as a function sees it.
#[derive(Debug)]
pub struct Call {
    /// Its method.
    pub method: Method,
    /// Its path as received.
    pub path: String,
    /// Its query as received.
    pub query: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// Runs the function that the path names, in the segment after the stage. `None` if there is no such one.
pub async fn run(call: Call) -> Option<HttpResponse> {
    let path = call.path.clone();
    let mut segments = path.split('/').skip(2);
    let name = segments.next().unwrap_or_default();
    let argument = segments.next().unwrap_or_default();
    let answer = |status| with_request_ids(HttpResponse::build(status));
    Some(match name {
        "hello" => answer(StatusCode::OK).content_type("application/json").body(hello(&call.query)),
        "" | "echo" => answer(StatusCode::OK).content_type("application/json").body(echo(&call)),
        "status" => status(argument.parse().ok()?, answer(argument.parse().map_or(StatusCode::OK, code))),
        "bytes" => answer(StatusCode::OK).content_type("application/octet-stream").body(vec![
            b'x';
            argument
                .parse::<usize>()
                .ok()
                .filter(
                    |size| *size <= 64 << 20
                )?
        ]),
        "slow" => {
            tokio::time::sleep(Duration::from_millis(argument.parse().ok()?)).await;
            answer(StatusCode::OK).content_type("application/json").body("\"at last\"")
        }
        _ => return None,
    })
}

/// What the function of APISIX's page answers.
fn hello(query: &str) -> String {
    let parameters = query.split('&').filter_map(|pair| pair.split_once('='));
    let name = parameters.into_iter().find(|(name, _)| *name == "name").map_or("world", |(_, value)| value);
    json!(format!("Hello, {name}!")).to_string()
}

/// What arrived, as it arrived.
fn echo(call: &Call) -> String {
    let mut headers: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (name, value) in &call.headers {
        headers
            .entry(name.as_str())
            .or_default()
            .push(String::from_utf8_lossy(value.as_bytes()).into_owned());
    }
    json!({
        "method": call.method.as_str(),
        "path": call.path,
        "query": call.query,
        "headers": headers,
        "body": {
            "length": call.body.len(),
            "sha256": hex(&Sha256::digest(&call.body)),
            "text": str::from_utf8(&call.body).ok().filter(|text| text.len() <= 4096),
        },
    })
    .to_string()
}

fn code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::OK)
}

/// An answer with any final status; those that send elsewhere say where.
fn status(status: u16, mut answer: HttpResponseBuilder) -> HttpResponse {
    match status {
        204 => answer.finish(),
        304 => answer.insert_header(("etag", "\"1\"")).finish(),
        300..400 => answer.insert_header(("location", "/elsewhere")).body(""),
        _ => answer.content_type("application/json").body(json!({ "status": status }).to_string()),
    }
}
