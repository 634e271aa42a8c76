//! The stand-in's Lambda API as a client of AWS's meets it: requests signed by AWS's own signer go straight to
//! its socket, without the sidecar.

/// What functions answer by `Invoke`.
mod invoke;
/// What the API refuses, and how it says so.
mod refusals;
/// `InvokeWithResponseStream`.
mod streams;

use std::{
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use apigw_invoker::dev::{Keys, StandIn, StandInOptions};
use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{self, SignableBody, SignableRequest, SigningSettings},
    sign::v4,
};
use serde_json::{Value, json};

use super::support::{Response, call};

/// A stand-in that does not wait between words.
fn stand_in() -> StandIn {
    stand_in_pausing(Duration::ZERO)
}

fn stand_in_pausing(words_pause: Duration) -> StandIn {
    let options = StandInOptions { words_pause, ..StandInOptions::new(Keys::example()) };
    StandIn::start(SocketAddr::from(([127, 0, 0, 1], 0)), options).expect("the stand-in starts")
}

/// The path of `Invoke`.
fn invoke(function: &str) -> String {
    format!("/2015-03-31/functions/{function}/invocations")
}

/// The path of `InvokeWithResponseStream`.
fn stream(function: &str) -> String {
    format!("/2021-11-15/functions/{function}/response-streaming-invocations")
}

/// Who signs, for what, and when.
struct Signatory {
    keys: Keys,
    at: SystemTime,
}

impl Signatory {
    /// Whom the stand-in knows.
    fn known() -> Self {
        Self { keys: Keys { service: "lambda".into(), ..Keys::example() }, at: SystemTime::now() }
    }

    /// The same with other keys.
    fn with(change: impl FnOnce(&mut Keys)) -> Self {
        let mut signatory = Self::known();
        change(&mut signatory.keys);
        signatory
    }

    /// The headers that AWS's signer adds to a POST.
    fn sign(&self, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<(String, String)> {
        let Keys { access_key_id, secret_access_key, session_token, region, service, .. } = &self.keys;
        let identity =
            Credentials::new(access_key_id, secret_access_key, session_token.clone(), None, "test").into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(region)
            .name(service)
            .time(self.at)
            .settings(SigningSettings::default())
            .build()
            .expect("all parameters are there");
        let headers = [("host", "localhost")].into_iter().chain(headers.iter().copied());
        let url = format!("http://localhost{target}");
        let request = SignableRequest::new("POST", url, headers, SignableBody::Bytes(body));
        let signed = http_request::sign(request.expect("a request"), &parameters.into());
        let (instructions, _) = signed.expect("it can be signed").into_parts();
        instructions.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// Sends a signed POST.
    #[track_caller]
    fn post(&self, to: &StandIn, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        let signature = self.sign(target, headers, body);
        let signature = signature.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let headers: Vec<(&str, &str)> = headers.iter().copied().chain(signature).collect();
        call(to.address(), "POST", target, &headers, body)
    }
}

/// A signed POST by whom the stand-in knows.
#[track_caller]
fn post(to: &StandIn, target: &str, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Response {
    Signatory::known().post(to, target, headers, body.as_ref())
}

/// The event of a REST API for a GET.
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

/// The event of an HTTP API for a GET.
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
