//! Responses of functions over `InvokeWithResponseStream`.
//!
//! Invariants: the client gets the complete output only if `InvokeComplete` reports success; otherwise a part
//! of it and a broken connection, or an error of the sidecar.

use std::fmt::{self, Write as _};

use fastrand::Rng;
use serde_json::Value;

use super::{
    case::Failure,
    client::{Client, Got, Pace, probe},
    delivery::{Delivery, End},
    http2_client,
    lambda_api::LambdaApi,
    mutation::{self, mutate},
    outcome::{self, Truth},
    reference::event_stream::{self, EventsEnd},
    run::{Place, Target},
    seeds::events::{self, Stream},
    sidecar::Sidecar,
};

/// Settings of the routes; each lane has one route of each mode.
const MODES: &[(&str, &str)] = &[
    ("plain", "  invoke_mode: response_stream\n"),
    (
        "gateway",
        "  invoke_mode: response_stream\n  awsgateway_compatible: true\n  is_proxy_integration: true\n",
    ),
];
/// Separates the prelude from the body.
const DELIMITER: &[u8] = &[0; 8];
const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.amazon.eventstream\r\n";

pub struct Events {
    sidecar: Sidecar,
    api: LambdaApi,
    seeds: Vec<Stream>,
}

pub struct Case {
    seed: &'static str,
    mode: &'static str,
    is_http2: bool,
    pace: Pace,
    /// The event stream as sent.
    events: Vec<u8>,
    /// The HTTP framing around the events is complete.
    is_framed: bool,
    delivery: Delivery,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = if self.is_http2 { 2 } else { 1 };
        write!(f, "  {} by {} over HTTP/{version}, {:?}\n{}", self.seed, self.mode, self.pace, self.delivery)
    }
}

impl Events {
    pub fn start(lanes: usize) -> Self {
        let api = LambdaApi::start();
        let of_lane = |lane| MODES.iter().map(move |(mode, rest)| (format!("{mode}-{lane}"), *rest));
        let mut routes: Vec<_> =
            (0..lanes).flat_map(of_lane).map(|(name, rest)| api.route(&name, rest)).collect();
        routes.push(api.route("probe", "  forward_request_uri: true\n"));
        let sidecar = Sidecar::start("max_in_flight: 10000", &routes);
        Self { sidecar, api, seeds: events::all() }
    }

    async fn ask(&self, case: &Case, function: &str, number: u64) -> Result<Got, Failure> {
        let target = format!("/{function}/a");
        if case.is_http2 {
            return http2_client::ask(number, self.sidecar.address, "GET", &target, Vec::new()).await;
        }
        let mut client = Client::connect(number, self.sidecar.address, case.pace).await?;
        client.send(format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes()).await;
        client.read(false).await
    }
}

impl Target for Events {
    type Case = Case;

    fn case(&self, number: u64, random: &mut Rng) -> Case {
        let unchanged = usize::try_from(number).ok().and_then(|number| self.seeds.get(number));
        let seed = unchanged.unwrap_or_else(|| &self.seeds[random.usize(..self.seeds.len())]);
        let mut messages = seed.messages.clone();
        if unchanged.is_none() {
            let other = &self.seeds[random.usize(..self.seeds.len())];
            change(&mut messages, &other.messages, random);
        }
        let events = messages.concat();
        let is_cut = unchanged.is_none() && random.u8(..5) == 0;
        let (bytes, framed) = framed(&events, is_cut, random);
        let end = match random.u8(..10) {
            0 => End::Reset,
            1..6 => End::Close,
            _ if is_cut => End::Close,
            _ => End::Open,
        };
        let mode = MODES[random.usize(..MODES.len())].0;
        let last_cut = bytes.len();
        Case {
            seed: seed.name,
            mode,
            is_http2: random.u8(..4) == 0,
            pace: Pace::any(random),
            events: framed,
            is_framed: !is_cut,
            delivery: Delivery::new(&bytes, last_cut, end, random),
        }
    }

    async fn run(&self, case: &Case, place: Place) -> Result<(), Failure> {
        let function = format!("{}-{}", case.mode, place.lane);
        self.api.answer(&function, case.delivery.clone());
        let got = self.ask(case, &function, place.number).await?;
        let calls = self.api.calls(&function);
        if outcome::met_a_closing_connection(&got, calls) {
            return Ok(());
        }
        outcome::check(&truth(case), &got, false).map_err(|failure| {
            let version = if case.is_http2 { "HTTP/2" } else { "HTTP/1.1" };
            Failure::new(format!("{} ({}, {version})", failure.kind, case.mode), failure.detail)
        })?;
        if calls != 1 {
            return Err(Failure::new("not one call", calls.to_string()));
        }
        probe(place.number, self.sidecar.address).await
    }
}

/// Changes one message or the order of messages.
fn change(messages: &mut Vec<Vec<u8>>, others: &[Vec<u8>], random: &mut Rng) {
    let at = random.usize(..messages.len());
    match random.u8(..8) {
        0 => drop(messages.remove(at)),
        1 => messages.insert(at, messages[random.usize(..messages.len())].clone()),
        2 => messages.swap(0, at),
        3 => messages.truncate(at),
        4 => messages.insert(at, others[random.usize(..others.len())].clone()),
        5 => {
            // a message with a valid checksum and a changed payload
            let mut payload = event_stream::read(&messages[at]).payload;
            mutate(&mut payload, mutation::JSON, &[], random);
            messages[at] = events::payload(payload);
        }
        6 => {
            let mut end =
                b"{\"ErrorCode\":\"Unhandled\",\"ErrorDetails\":\"\",\"LogResult\":\"TA==\"}".to_vec();
            mutate(&mut end, mutation::JSON, &[], random);
            messages[at] = events::complete(&String::from_utf8_lossy(&end));
        }
        _ => mutate(&mut messages[at], mutation::HTTP, &[], random),
    }
}

/// The HTTP response with the event stream, and the part of the stream that it contains if it was cut.
fn framed(events: &[u8], is_cut: bool, random: &mut Rng) -> (Vec<u8>, Vec<u8>) {
    let kept = if is_cut { random.usize(..=events.len()) } else { events.len() };
    let is_chunked = random.bool();
    let mut head = HEAD.to_owned();
    if is_chunked {
        head.push_str("Transfer-Encoding: chunked\r\n\r\n");
    } else {
        let _ = write!(head, "Content-Length: {}\r\n\r\n", events.len() + usize::from(is_cut));
    }
    let mut bytes = head.into_bytes();
    if is_chunked {
        for piece in events[..kept].chunks(random.usize(1..2000)) {
            bytes.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
            bytes.extend_from_slice(piece);
            bytes.extend_from_slice(b"\r\n");
        }
        if !is_cut {
            bytes.extend_from_slice(b"0\r\n\r\n");
        }
    } else {
        bytes.extend_from_slice(&events[..kept]);
    }
    (bytes, events[..kept].to_vec())
}

/// The permitted outcomes of a case.
fn truth(case: &Case) -> Truth {
    let events = event_stream::read(&case.events);
    let is_sure = case.is_framed && case.delivery.end != End::Reset;
    let is_good = events.end == EventsEnd::Good;
    let (status, body) = match (case.mode, gateway(&events.payload)) {
        // a function that fails before its first byte is reported like a buffered invocation
        ("plain", _) if events.payload.is_empty() => return Truth::Unclear,
        ("plain", _) => (Some(200), events.payload),
        (_, Some((status, body))) => (Some(status), body),
        // an ambiguous prelude: an error and a buffered response are both permitted
        (_, None) => return Truth::Unclear,
    };
    match (is_good, is_sure) {
        (true, true) => Truth::Whole { status, body },
        (true, false) => Truth::WholeOrCut { status, body },
        (false, _) => Truth::Cut { status, body },
    }
}

/// Status and body of a stream with an unambiguous prelude.
fn gateway(payload: &[u8]) -> Option<(u16, Vec<u8>)> {
    let end = payload.windows(DELIMITER.len()).position(|window| window == DELIMITER)?;
    let Value::Object(prelude) = serde_json::from_slice(&payload[..end]).ok()? else { return None };
    let known = ["statusCode", "headers", "cookies"];
    let status = u16::try_from(prelude.get("statusCode")?.as_u64()?).ok()?;
    let is_text =
        |value: &Value| value.as_str().is_some_and(|text| text.bytes().all(|byte| byte.is_ascii_graphic()));
    let headers = prelude.get("headers").map_or(Some(true), |headers| {
        Some(headers.as_object()?.iter().all(|(name, value)| {
            is_text(value) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        }))
    })?;
    let cookies = prelude.get("cookies").map_or(Some(true), |cookies| {
        Some(cookies.as_array()?.len() < 90 && cookies.as_array()?.iter().all(is_text))
    })?;
    let is_plain = headers && cookies && prelude.keys().all(|name| known.contains(&name.as_str()));
    let has_body = (200..=599).contains(&status) && !matches!(status, 204 | 205 | 304);
    (is_plain && has_body).then(|| (status, payload[end + DELIMITER.len()..].to_vec()))
}
