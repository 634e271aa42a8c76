//! A function for API Gateway's events, which runs the functions of the stand-in's API by the event's path:
//! `/lambda/hello` is `/open/hello` of the API.
//!
//! The formats are those of "Set up Lambda proxy integrations in API Gateway" (1.0) and "Create AWS Lambda
//! proxy integrations for HTTP APIs" (2.0) of the API Gateway developer guide.

use std::time::Duration;

use actix_web::{
    http::{
        Method,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
    web::Bytes,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};

use super::{FunctionAnswer, FunctionBody, JSON, ReceivedRequest};
use crate::stand_in::answers::GatewayError;

/// All but the unreserved characters of RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The payload format version of an event and of its response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EventVersion {
    One,
    Two,
}

/// True for an event of an API Gateway.
pub fn is_event(event: &Value) -> bool {
    version(event).is_some()
}

/// Runs the function that the event's path names; `None` for other events.
pub async fn run(event: &Value, pause: Duration) -> Option<Value> {
    let version = version(event)?;
    let call = call(event, version)?;
    let answer = super::run(&call, pause).await.unwrap_or_else(not_found);
    Some(response(answer, version).await)
}

fn version(event: &Value) -> Option<EventVersion> {
    if event["version"] == "2.0" && event["rawPath"].is_string() {
        return Some(EventVersion::Two);
    }
    (event["httpMethod"].is_string() && event["path"].is_string()).then_some(EventVersion::One)
}

/// API Gateway's response to an unknown path.
fn not_found() -> FunctionAnswer {
    let (status, kind, message) = GatewayError::MissingAuthenticationToken.parts();
    let mut answer = FunctionAnswer::json(json!({ "message": message }).to_string());
    answer.status = status;
    answer.headers.push(("x-amzn-errortype", kind.to_owned()));
    answer
}

/// The request in an event.
fn call(event: &Value, version: EventVersion) -> Option<ReceivedRequest> {
    let (method, path, query, headers) = match version {
        EventVersion::One => (
            &event["httpMethod"],
            &event["path"],
            query(event),
            pairs(&event["multiValueHeaders"], &event["headers"]),
        ),
        EventVersion::Two => {
            let mut headers = pairs(&Value::Null, &event["headers"]);
            let cookies: Vec<String> = values(&event["cookies"]).collect();
            if !cookies.is_empty() {
                headers.push((header::COOKIE.to_string(), cookies.join("; ")));
            }
            let query = event["rawQueryString"].as_str().unwrap_or_default();
            (&event["requestContext"]["http"]["method"], &event["rawPath"], query.to_owned(), headers)
        }
    };
    let text = event["body"].as_str().unwrap_or_default();
    let body = if event["isBase64Encoded"] == true {
        BASE64_STANDARD.decode(text).ok()?
    } else {
        text.as_bytes().to_vec()
    };
    Some(ReceivedRequest {
        method: Method::from_bytes(method.as_str()?.as_bytes()).ok()?,
        path: path.as_str()?.to_owned(),
        query,
        headers: header_map(headers),
        body: body.into(),
    })
}

/// The query of an event 1.0, encoded again.
fn query(event: &Value) -> String {
    let pairs = pairs(&event["multiValueQueryStringParameters"], &event["queryStringParameters"]);
    let encoded = pairs.iter().map(|(name, value)| {
        format!("{}={}", utf8_percent_encode(name, RESERVED), utf8_percent_encode(value, RESERVED))
    });
    encoded.collect::<Vec<_>>().join("&")
}

/// The pairs of a map of lists, and those of a map of single values whose names the former lacks.
fn pairs(lists: &Value, singles: &Value) -> Vec<(String, String)> {
    let members = |map: &Value| map.as_object().cloned().unwrap_or_default();
    let mut lists = members(lists);
    for (name, value) in members(singles) {
        lists.entry(name).or_insert(Value::Array(vec![value]));
    }
    let pairs = lists.iter().flat_map(|(name, list)| values(list).map(move |value| (name.clone(), value)));
    pairs.collect()
}

/// The values of a list as text.
fn values(list: &Value) -> impl Iterator<Item = String> {
    list.as_array().into_iter().flatten().filter_map(|value| match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    })
}

fn header_map(pairs: Vec<(String, String)>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let name = HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value.as_bytes())) {
            headers.append(name, value);
        }
    }
    headers
}

/// The response in the format of API Gateway.
async fn response(answer: FunctionAnswer, version: EventVersion) -> Value {
    let body = match answer.body {
        FunctionBody::None => Bytes::new(),
        FunctionBody::Whole(body) => body,
        FunctionBody::Streamed(body) => body.whole().await.into(),
    };
    let (body, encoded) = match str::from_utf8(&body).ok().filter(|_| is_text(&answer.headers)) {
        Some(text) => (text.to_owned(), false),
        None => (BASE64_STANDARD.encode(&body), true),
    };
    let mut singles: Map<String, Value> = Map::new();
    let mut lists: Map<String, Value> = Map::new();
    for (name, value) in answer.headers {
        // cookies must not be joined
        if name == header::SET_COOKIE.as_str() {
            let list = lists.entry(name).or_insert_with(|| json!([]));
            list.as_array_mut().into_iter().for_each(|list| list.push(value.as_str().into()));
        } else {
            singles.insert(name.to_owned(), value.into());
        }
    }
    let mut response =
        json!({ "isBase64Encoded": encoded, "statusCode": answer.status.as_u16(), "headers": singles });
    match version {
        EventVersion::One => response["multiValueHeaders"] = lists.into(),
        EventVersion::Two => response["cookies"] = lists.remove("set-cookie").unwrap_or_else(|| json!([])),
    }
    response["body"] = body.into();
    response
}

fn is_text(headers: &[(&str, String)]) -> bool {
    let content_type = headers.iter().find(|(name, _)| *name == "content-type");
    content_type.is_none_or(|(_, value)| value.starts_with("text/") || value == JSON)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The response of `echo`.
    async fn echoed(event: Value) -> Value {
        let response = run(&event, Duration::ZERO).await.expect("an event of an API Gateway");
        assert_eq!(response["statusCode"], 200);
        serde_json::from_str(response["body"].as_str().unwrap()).unwrap()
    }

    fn one(path: &str) -> Value {
        json!({ "httpMethod": "GET", "path": path, "headers": {}, "body": null, "isBase64Encoded": false })
    }

    fn two(path: &str) -> Value {
        json!({
            "version": "2.0",
            "rawPath": path,
            "rawQueryString": "",
            "headers": {},
            "requestContext": { "http": { "method": "GET" } },
            "isBase64Encoded": false,
        })
    }

    #[actix_rt::test]
    async fn an_event_of_version_1_becomes_the_request() {
        let mut event = one("/lambda/echo/a%2Fb");
        event["httpMethod"] = "POST".into();
        event["headers"] = json!({ "A": "2", "B": "3" });
        event["multiValueHeaders"] = json!({ "A": ["1", "2"] });
        event["queryStringParameters"] = json!({ "c": "2" });
        event["multiValueQueryStringParameters"] = json!({ "c": ["x y", "a&b"], "d": [""] });
        event["body"] = "aGVsbG8=".into();
        event["isBase64Encoded"] = true.into();
        let echo = echoed(event).await;
        assert_eq!(echo["method"], "POST");
        assert_eq!(echo["path"], "/lambda/echo/a%2Fb");
        assert_eq!(echo["query"], "c=x%20y&c=a%26b&d=");
        assert_eq!(echo["headers"], json!({ "a": ["1", "2"], "b": ["3"] }));
        assert_eq!(echo["body"]["text"], "hello");
    }

    #[actix_rt::test]
    async fn an_event_of_version_2_becomes_the_request() {
        let mut event = two("/lambda/echo");
        event["rawQueryString"] = "b=c+d&b=%2F".into();
        event["headers"] = json!({ "a": "1,2" });
        event["cookies"] = json!(["x=1", "y=2"]);
        event["body"] = "{}".into();
        let echo = echoed(event).await;
        assert_eq!(echo["method"], "GET");
        assert_eq!(echo["query"], "b=c+d&b=%2F");
        assert_eq!(echo["headers"], json!({ "a": ["1,2"], "cookie": ["x=1; y=2"] }));
        assert_eq!(echo["body"]["text"], "{}");
    }

    #[actix_rt::test]
    async fn bytes_are_base64_and_text_is_not() {
        let bytes = run(&one("/lambda/bytes/3"), Duration::ZERO).await.unwrap();
        assert_eq!((&bytes["body"], &bytes["isBase64Encoded"]), (&json!("eHh4"), &json!(true)));
        let words = run(&one("/lambda/words"), Duration::ZERO).await.unwrap();
        assert_eq!(words["body"], "These words arrive one by one, as the function writes them.\n");
        assert_eq!(words["isBase64Encoded"], false);
        let unchanged = run(&one("/lambda/status/304"), Duration::ZERO).await.unwrap();
        assert_eq!((&unchanged["statusCode"], &unchanged["body"]), (&json!(304), &json!("")));
    }

    #[actix_rt::test]
    async fn cookies_stay_separate_in_both_versions() {
        let one = run(&one("/lambda/cookies"), Duration::ZERO).await.unwrap();
        assert_eq!(one["multiValueHeaders"]["set-cookie"].as_array().map(Vec::len), Some(2));
        assert_eq!(one["headers"], json!({ "content-type": "application/json" }));
        let two = run(&two("/lambda/cookies"), Duration::ZERO).await.unwrap();
        assert_eq!(two["cookies"][1], "second=2; HttpOnly");
        assert_eq!(two.get("multiValueHeaders"), None);
    }

    #[actix_rt::test]
    async fn an_unknown_path_is_answered_as_by_api_gateway() {
        let response = run(&two("/lambda/nothing"), Duration::ZERO).await.unwrap();
        assert_eq!(response["statusCode"], 403);
        assert_eq!(response["headers"]["x-amzn-errortype"], "MissingAuthenticationTokenException");
        assert_eq!(response["body"], r#"{"message":"Missing Authentication Token"}"#);
    }

    #[actix_rt::test]
    async fn other_events_are_refused() {
        for event in [json!({}), json!([]), json!("text"), json!({ "httpMethod": "GET" }), json!(null)] {
            assert!(!is_event(&event), "{event}");
            assert_eq!(run(&event, Duration::ZERO).await, None, "{event}");
        }
        let mut broken = one("/lambda/echo");
        broken["body"] = "no base64!".into();
        broken["isBase64Encoded"] = true.into();
        assert_eq!(run(&broken, Duration::ZERO).await, None);
    }
}
