//! The stand-in's functions, such as a first test of API Gateway and Lambda has. A request's path names them,
//! or that of an API Gateway's event; `functions/by_event.rs` has those for any event.

pub mod by_event;
mod gateway;
pub mod streamed_body;

use std::{collections::BTreeMap, time::Duration};

use actix_web::{
    http::{Method, StatusCode, header::HeaderMap},
    web::Bytes,
};
use serde_json::json;

use self::streamed_body::StreamedBody;
use crate::signing::hash;

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";
/// Bytes of the largest response of `bytes`.
const MAX_BYTES: usize = 64 << 20;

/// A request as received.
#[derive(Debug)]
pub struct ReceivedRequest {
    pub method: Method,
    /// Raw.
    pub path: String,
    /// Raw.
    pub query: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// A function's response, for both APIs.
#[derive(Debug)]
pub struct FunctionAnswer {
    pub status: StatusCode,
    /// With names in lower case.
    pub headers: Vec<(&'static str, String)>,
    pub body: FunctionBody,
}

#[derive(Debug)]
pub enum FunctionBody {
    /// No body and no length.
    None,
    Whole(Bytes),
    Streamed(StreamedBody),
}

impl FunctionAnswer {
    fn new(status: StatusCode, content_type: &str, body: FunctionBody) -> Self {
        Self { status, headers: vec![("content-type", content_type.to_owned())], body }
    }

    fn json(body: impl Into<Bytes>) -> Self {
        Self::new(StatusCode::OK, JSON, FunctionBody::Whole(body.into()))
    }
}

/// Runs the function that the path names after the stage; `None` for an unknown function. `words` pauses for
/// `pause` between words.
pub async fn run(call: &ReceivedRequest, pause: Duration) -> Option<FunctionAnswer> {
    let mut segments = call.path.split('/').skip(2);
    let name = segments.next().unwrap_or_default();
    let argument = segments.next().unwrap_or_default();
    Some(match name {
        "hello" => FunctionAnswer::json(hello(&parameter(&call.query, "name"))),
        "" | "echo" => FunctionAnswer::json(echo(call)),
        "status" => status(argument.parse().ok()?),
        "bytes" => {
            let size = argument.parse().ok().filter(|size| *size <= MAX_BYTES)?;
            let body = FunctionBody::Whole(vec![b'x'; size].into());
            FunctionAnswer::new(StatusCode::OK, "application/octet-stream", body)
        }
        "cookies" => cookies(),
        "slow" => FunctionAnswer::json(slow(argument.parse().ok()?).await),
        "words" => {
            let body = FunctionBody::Streamed(StreamedBody::sentence(pause));
            FunctionAnswer::new(StatusCode::OK, TEXT, body)
        }
        _ => return None,
    })
}

/// The first value of a query parameter; empty without one.
fn parameter(query: &str, name: &str) -> String {
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    pairs.find(|(own, _)| own == name).map(|(_, value)| value.into_owned()).unwrap_or_default()
}

/// The function of APISIX's documentation.
fn hello(name: &str) -> String {
    let name = if name.is_empty() { "world" } else { name };
    json!(format!("Hello, {name}!")).to_string()
}

/// The received request as JSON.
pub fn echo(call: &ReceivedRequest) -> String {
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
            "sha256": hash(&call.body),
            "text": str::from_utf8(&call.body).ok().filter(|text| text.len() <= 4096),
        },
    })
    .to_string()
}

/// A response with any final status; redirects have a `Location`.
fn status(status: u16) -> FunctionAnswer {
    let (headers, body) = match status {
        204 => (vec![], FunctionBody::None),
        304 => (vec![("etag", "\"1\"".to_owned())], FunctionBody::None),
        300..400 => (vec![("location", "/elsewhere".to_owned())], FunctionBody::Whole(Bytes::new())),
        _ => {
            let body = json!({ "status": status }).to_string();
            (vec![("content-type", JSON.to_owned())], FunctionBody::Whole(body.into()))
        }
    };
    FunctionAnswer { status: StatusCode::from_u16(status).unwrap_or(StatusCode::OK), headers, body }
}

/// Two cookies, which must stay two header lines.
fn cookies() -> FunctionAnswer {
    let mut answer = FunctionAnswer::json("\"two cookies\"");
    let cookies = ["first=1; Path=/; Expires=Wed, 21 Oct 2026 07:28:00 GMT", "second=2; HttpOnly"];
    answer.headers.extend(cookies.map(|cookie| ("set-cookie", cookie.to_owned())));
    answer
}

async fn slow(milliseconds: u64) -> &'static str {
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    "\"at last\""
}
