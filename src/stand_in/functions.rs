//! The small functions behind the stand-in: what one would write for a first try of API Gateway and Lambda.
//!
//! `stand_in.rs` runs them by a request's path, `functions/gateway.rs` by that of an API Gateway's event;
//! `functions/by_event.rs` has those that take any event.

pub mod by_event;
mod gateway;
pub mod written;

use std::{collections::BTreeMap, time::Duration};

use actix_web::{
    http::{Method, StatusCode, header::HeaderMap},
    web::Bytes,
};
use serde_json::json;

use self::written::Written;
use crate::signing::hash;

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";
/// The largest answer of `bytes`.
const MAX_BYTES: usize = 64 << 20;

/// A request as a function sees it.
#[derive(Debug)]
pub struct ReceivedRequest {
    pub method: Method,
    /// Its path as received.
    pub path: String,
    /// Its query as received.
    pub query: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// What a function answers to a request, whichever API it is behind.
#[derive(Debug)]
pub struct FunctionAnswer {
    pub status: StatusCode,
    /// Its headers, names in small letters.
    pub headers: Vec<(&'static str, String)>,
    pub body: Body,
}

#[derive(Debug)]
pub enum Body {
    /// None, and no length either.
    None,
    Whole(Bytes),
    /// Written as time goes by.
    Written(Written),
}

impl FunctionAnswer {
    fn new(status: StatusCode, content_type: &str, body: impl Into<Bytes>) -> Self {
        let headers = vec![("content-type", content_type.to_owned())];
        Self { status, headers, body: Body::Whole(body.into()) }
    }

    fn json(body: impl Into<Bytes>) -> Self {
        Self::new(StatusCode::OK, JSON, body)
    }
}

/// Runs the function that the path names, in the segment after the stage. `None` if there is no such one.
/// `pause` is the time that `words` takes between two of them.
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
            FunctionAnswer::new(StatusCode::OK, "application/octet-stream", vec![b'x'; size])
        }
        "cookies" => cookies(),
        "slow" => FunctionAnswer::json(slow(argument.parse().ok()?).await),
        "words" => FunctionAnswer {
            status: StatusCode::OK,
            headers: vec![("content-type", TEXT.to_owned())],
            body: Body::Written(Written::sentence(pause)),
        },
        _ => return None,
    })
}

/// The first value of this name in a query.
fn parameter(query: &str, name: &str) -> String {
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    pairs.find(|(own, _)| own == name).map(|(_, value)| value.into_owned()).unwrap_or_default()
}

/// What the function of APISIX's page answers.
fn hello(name: &str) -> String {
    let name = if name.is_empty() { "world" } else { name };
    json!(format!("Hello, {name}!")).to_string()
}

/// What arrived, as it arrived.
fn echo(call: &ReceivedRequest) -> String {
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

/// An answer with any final status; those that send elsewhere say where.
fn status(status: u16) -> FunctionAnswer {
    let (headers, body) = match status {
        204 => (vec![], Body::None),
        304 => (vec![("etag", "\"1\"".to_owned())], Body::None),
        300..400 => (vec![("location", "/elsewhere".to_owned())], Body::Whole(Bytes::new())),
        _ => {
            let body = json!({ "status": status }).to_string();
            (vec![("content-type", JSON.to_owned())], Body::Whole(body.into()))
        }
    };
    FunctionAnswer { status: StatusCode::from_u16(status).unwrap_or(StatusCode::OK), headers, body }
}

/// Two cookies, which no form of answer may fold into one.
fn cookies() -> FunctionAnswer {
    let mut answer = FunctionAnswer::json("\"two cookies\"");
    let cookies = ["first=1; Path=/; Expires=Wed, 21 Oct 2026 07:28:00 GMT", "second=2; HttpOnly"];
    answer.headers.extend(cookies.map(|cookie| ("set-cookie", cookie.to_owned())));
    answer
}

/// Takes its time.
async fn slow(milliseconds: u64) -> &'static str {
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    "\"at last\""
}
