//! A recorded request as JSON, without secrets: a line of the list, and all there is.

use std::time::Duration;

use actix_http::Method;
use serde::Serialize;

use super::{
    copies::Copies,
    redactor::{BodyView, Redactor},
    steps::{StepView, steps},
};
use crate::{
    explain::{self, ExplainedRoute},
    signing::KeyOwner,
    state::{
        inspector::{
            ClientSide, InspectedAttempt, InspectedRequest, LogEntry, Outgoing, Secret, SignatureInput,
        },
        snapshot::Snapshot,
    },
    system::wall_clock::Rfc3339,
    text::{ip_text::IpText, log_safe::log_safe},
};

/// Routes that are shown with the reason why they did not match.
const MOST_CANDIDATES: usize = 50;

/// A line of the list.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    pub number: u64,
    pub request_id: String,
    pub at: String,
    pub method: String,
    pub target: String,
    /// `null` if no route matched.
    pub route: Option<String>,
    /// `null` if the client closed the connection before the response.
    pub status: Option<u16>,
    pub code: Option<&'static str>,
    pub attempts: usize,
    pub took_ms: f64,
}

/// All there is of a request.
#[derive(Debug, Serialize)]
pub(super) struct Details {
    #[serde(flatten)]
    summary: Summary,
    /// Generation of the settings that it was served with.
    generation: u64,
    client: ClientView,
    /// The pattern of the route that matched.
    pattern: Option<String>,
    /// Every route by the settings in use now, and why it matches or not.
    candidates: Vec<ExplainedRoute>,
    more_candidates: usize,
    outgoing: Option<OutgoingView>,
    attempts_made: Vec<AttemptView>,
    /// The texts that AWS expected to be signed, if it refused the signature and returned them.
    expected: Option<SignedTexts>,
    reply_body: BodyView,
    response: ResponseView,
    steps: Vec<StepView>,
    log: Vec<LogView>,
    copies: Copies,
    /// The request can be sent again, which only `dev` does.
    sends_again: bool,
}

#[derive(Debug, Serialize)]
struct ClientView {
    ip: Option<String>,
    tls: bool,
    version: String,
    host: String,
    headers: Vec<(String, String)>,
    body: BodyView,
}

#[derive(Debug, Serialize)]
struct OutgoingView {
    endpoint: String,
    tls: bool,
    request_line: String,
    headers: Vec<(String, String)>,
    body: BodyView,
}

#[derive(Debug, Serialize)]
struct AttemptView {
    status: Option<u16>,
    failure: Option<String>,
    /// The reason of the next attempt.
    retry: Option<String>,
    headers: Vec<(String, String)>,
    signature: Option<SignatureView>,
}

#[derive(Debug, Serialize)]
struct SignatureView {
    /// The owner of the keys and the last characters of their id.
    keys: String,
    #[serde(flatten)]
    texts: SignedTexts,
}

#[derive(Debug, Serialize)]
struct SignedTexts {
    canonical_request: String,
    string_to_sign: String,
}

#[derive(Debug, Serialize)]
struct ResponseView {
    status: Option<u16>,
    code: Option<&'static str>,
    /// The client closed the connection before the end.
    client_left: bool,
    headers: Vec<(String, String)>,
    body: BodyView,
}

#[derive(Debug, Serialize)]
struct LogView {
    after_ms: f64,
    level: String,
    text: String,
}

impl Summary {
    pub fn of(request: &InspectedRequest, redactor: &Redactor<'_>) -> Self {
        Self {
            number: request.number,
            request_id: request.request_id.clone(),
            at: Rfc3339(request.received_at).to_string(),
            method: request.client.method.clone(),
            target: redactor.target(&request.client.target.0),
            route: request.route.as_ref().map(|(id, _)| id.to_string()),
            status: request.end.status.map(|status| status.as_u16()),
            code: request.end.code,
            attempts: request.attempts.len(),
            took_ms: milliseconds(request.end.took),
        }
    }
}

impl Details {
    /// `listener` is the address of `listen.http`.
    pub fn of(request: &InspectedRequest, snapshot: &Snapshot, listener: &str, sends_again: bool) -> Self {
        let redactor = Redactor::of(request);
        let mut candidates = candidates(request, snapshot);
        let more_candidates = candidates.len().saturating_sub(MOST_CANDIDATES);
        candidates.truncate(MOST_CANDIDATES);
        Self {
            summary: Summary::of(request, &redactor),
            generation: request.generation,
            client: ClientView::of(&request.client, &redactor),
            pattern: request.route.as_ref().map(|(_, pattern)| pattern.clone()),
            candidates,
            more_candidates,
            outgoing: request.outgoing.as_ref().map(|outgoing| OutgoingView::of(outgoing, &redactor)),
            attempts_made: request.attempts.iter().map(|attempt| attempt_view(attempt, &redactor)).collect(),
            expected: request.expected.as_ref().map(|Secret((canonical, string_to_sign))| SignedTexts {
                canonical_request: redactor.canonical_request(canonical),
                string_to_sign: redactor.text(string_to_sign),
            }),
            reply_body: redactor.body(&request.reply_body),
            response: ResponseView::of(request, &redactor),
            steps: steps(request),
            log: request.log.iter().map(|entry| LogView::of(entry, &redactor)).collect(),
            copies: Copies::of(request, &redactor, listener),
            sends_again,
        }
    }
}

impl ClientView {
    fn of(client: &ClientSide, redactor: &Redactor<'_>) -> Self {
        Self {
            ip: client.ip.map(|ip| IpText::from(ip).as_str().to_owned()),
            tls: client.is_tls,
            version: format!("{:?}", client.version),
            host: client.host.clone(),
            headers: redactor.headers(&client.headers),
            body: redactor.body(&client.body),
        }
    }
}

impl OutgoingView {
    fn of(outgoing: &Outgoing, redactor: &Redactor<'_>) -> Self {
        let target = redactor.target(&outgoing.path_and_query.0);
        Self {
            endpoint: outgoing.endpoint.clone(),
            tls: outgoing.is_tls,
            request_line: format!("{} {target} HTTP/1.1", outgoing.method),
            headers: redactor.headers(&outgoing.headers),
            body: redactor.body(&outgoing.body),
        }
    }
}

impl ResponseView {
    fn of(request: &InspectedRequest, redactor: &Redactor<'_>) -> Self {
        Self {
            status: request.end.status.map(|status| status.as_u16()),
            code: request.end.code,
            client_left: request.end.is_left,
            headers: redactor.headers(&request.response),
            body: redactor.body(&request.response_body),
        }
    }
}

impl LogView {
    fn of(entry: &LogEntry, redactor: &Redactor<'_>) -> Self {
        Self {
            after_ms: milliseconds(entry.after),
            level: entry.level.as_str().to_ascii_lowercase(),
            text: redactor.text(&log_safe(&entry.text, usize::MAX)),
        }
    }
}

fn attempt_view(attempt: &InspectedAttempt, redactor: &Redactor<'_>) -> AttemptView {
    AttemptView {
        status: attempt.status.map(|status| status.as_u16()),
        failure: attempt.failure.as_ref().map(|text| redactor.text(text)),
        retry: attempt.retry.as_ref().map(|text| redactor.text(text)),
        headers: redactor.headers(&attempt.reply),
        signature: attempt.signature.as_ref().map(|signature| signature_view(signature, redactor)),
    }
}

fn signature_view(signature: &SignatureInput, redactor: &Redactor<'_>) -> SignatureView {
    let owner = match signature.owner {
        KeyOwner::Route => "of the route",
        KeyOwner::Caller => "of the caller",
    };
    let canonical = String::from_utf8_lossy(&signature.canonical_request.0);
    SignatureView {
        keys: format!("keys {owner}, access key ending in {}", signature.key_id_end),
        texts: SignedTexts {
            canonical_request: redactor.canonical_request(&canonical),
            string_to_sign: signature.string_to_sign.clone(),
        },
    }
}

/// Every route with the reason, by the settings in use now.
fn candidates(request: &InspectedRequest, snapshot: &Snapshot) -> Vec<ExplainedRoute> {
    let client = &request.client;
    let Ok(uri) = client.target.0.parse::<actix_http::Uri>() else { return Vec::new() };
    let Ok(method) = client.method.parse::<Method>() else { return Vec::new() };
    explain::candidates(&snapshot.routes_as_set, &method, uri.path(), &client.host)
}

/// Milliseconds with three decimals.
pub(super) fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
