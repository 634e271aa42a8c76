//! Responses of functions over `Invoke`, on routes with every payload format.
//!
//! Invariants: the client gets a well-formed response in time and never 500 `internal`; every header name
//! occurs in the function's JSON or is set by the sidecar; an unambiguous response arrives unchanged.

use std::fmt;

use fastrand::Rng;
use serde_json::{Map, Value};

use super::{
    answer::Answer,
    case::{Escaped, Failure},
    client::{Client, Got, Pace, probe},
    delivery::{Delivery, End},
    lambda_api::{LambdaApi, sized},
    mutation::{self, mutate},
    run::{Place, Target},
    seeds::{self, Seed},
    sidecar::Sidecar,
};

/// Settings of the routes; each lane has one route of each mode.
const MODES: &[(&str, &str)] = &[
    ("v1", "  awsgateway_compatible: true\n  is_proxy_integration: true\n"),
    (
        "v2",
        "  awsgateway_compatible: true\n  awsgateway_compatible_payload_version: '2.0'\n  \
         is_proxy_integration: true\n",
    ),
    ("plain", ""),
    ("legacy", "  empty_arrays_mode: legacy\n"),
    ("unhandled", "  is_proxy_integration: true\n  unhandled_status: 417\n"),
];
/// Headers set by the sidecar or the Lambda API.
const OURS: &[&str] =
    &["content-type", "content-length", "date", "x-request-id", "connection", "transfer-encoding"];
/// Headers that must be removed from every response.
const NEVER: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "http2-settings",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "content-length",
    "date",
    "x-request-id",
    "content-type",
];

pub struct Function {
    sidecar: Sidecar,
    api: LambdaApi,
    seeds: Vec<Seed>,
}

pub struct Case {
    seed: &'static str,
    mode: &'static str,
    method: &'static str,
    failed: bool,
    json: Vec<u8>,
    delivery: Delivery,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failed = if self.failed { ", with X-Amz-Function-Error" } else { "" };
        write!(
            f,
            "  {} for {} by {}{failed}\n    \"{}\"",
            self.seed,
            self.method,
            self.mode,
            Escaped(&self.json)
        )
    }
}

impl Function {
    pub fn start(lanes: usize) -> Self {
        let api = LambdaApi::start();
        let of_lane = |lane| MODES.iter().map(move |(mode, rest)| (format!("{mode}-{lane}"), *rest));
        let mut routes: Vec<_> =
            (0..lanes).flat_map(of_lane).map(|(name, rest)| api.route(&name, rest)).collect();
        routes.push(api.route("probe", "  forward_request_uri: true\n"));
        let sidecar = Sidecar::start("max_in_flight: 10000", &routes);
        Self { sidecar, api, seeds: seeds::functions::all() }
    }
}

impl Target for Function {
    type Case = Case;

    fn case(&self, number: u64, random: &mut Rng) -> Case {
        let unchanged = usize::try_from(number).ok().and_then(|number| self.seeds.get(number));
        let seed = unchanged.unwrap_or_else(|| &self.seeds[random.usize(..self.seeds.len())]);
        let mut json = seed.bytes.clone();
        if unchanged.is_none() {
            let others: Vec<&[u8]> = self.seeds.iter().map(|seed| seed.bytes.as_slice()).collect();
            mutate(&mut json, mutation::JSON, &others, random);
        }
        let mode = MODES[random.usize(..MODES.len())].0;
        let failed = random.u8(..12) == 0;
        let mut headers = "Content-Type: application/json\r\nX-Amz-Executed-Version: $LATEST\r\n".to_owned();
        if failed {
            headers += ["X-Amz-Function-Error: Unhandled\r\n", "X-Amz-Function-Error: Handled\r\n"]
                [random.usize(..2)];
        }
        if random.u8(..8) == 0 {
            headers += ["X-Amz-Log-Result: TA==\r\n", "X-Amz-Log-Result: %%%\r\n"][random.usize(..2)];
        }
        let bytes = sized(&headers, &json);
        let delivery = Delivery::new(&bytes, bytes.len(), End::Open, random);
        let method = ["GET", "GET", "GET", "HEAD"][random.usize(..4)];
        Case { seed: seed.name, mode, method, failed, json, delivery }
    }

    async fn run(&self, case: &Case, place: Place) -> Result<(), Failure> {
        let function = format!("{}-{}", case.mode, place.lane);
        self.api.answer(&function, case.delivery.clone());
        let mut client = Client::connect(place.number, self.sidecar.address, Pace::default()).await?;
        let request = format!("{} /{function}/a HTTP/1.1\r\nHost: h\r\n\r\n", case.method);
        client.send(request.as_bytes()).await;
        let got = client.read(case.method == "HEAD").await?;
        let Got::Whole(answer) = got else {
            return Err(Failure::new("no whole answer", format!("{got:?}")));
        };
        check(case, &answer)?;
        if self.api.calls(&function) != 1 {
            return Err(Failure::new("not one call", self.api.calls(&function).to_string()));
        }
        probe(place.number, self.sidecar.address).await
    }
}

fn check(case: &Case, answer: &Answer) -> Result<(), Failure> {
    let wrong = |kind: &str, detail: String| Err(Failure::new(format!("{kind} ({})", case.mode), detail));
    let told = || format!("{} {:?} \"{}\"", answer.status, answer.headers, Escaped(&answer.body));
    let code = answer.code();
    if code.as_deref() == Some("internal") {
        return wrong("500 internal", told());
    }
    if code.as_deref().is_some_and(|code| !code.starts_with("function_")) {
        return wrong("an error that is not the function's", told());
    }
    let to_head = case.method == "HEAD";
    if case.mode == "plain" || case.mode == "legacy" {
        let is_right = answer.status == 200 && (to_head || case.mode == "legacy" || answer.body == case.json);
        return if is_right { Ok(()) } else { wrong("not the function's bytes", told()) };
    }
    check_names(case, answer).or_else(|name| wrong("a header that the function did not write", name))?;
    if case.failed {
        return Ok(());
    }
    let Some(plain) = Plain::read(&case.json, case.mode == "v1") else { return Ok(()) };
    if plain.status != answer.status {
        return wrong("another status", told());
    }
    let has_body = !to_head && !matches!(answer.status, 204 | 205 | 304);
    if has_body && plain.body.as_bytes() != answer.body {
        return wrong("another body", told());
    }
    for (name, value) in &plain.headers {
        let is_there = answer.all(name).contains(&value.as_bytes());
        if !is_there && !NEVER.contains(&name.to_ascii_lowercase().as_str()) && !plain.nominates(name) {
            return wrong("a header is missing", format!("{name}: {value}, in {}", told()));
        }
    }
    Ok(())
}

/// Checks that every header name occurs in the JSON or in [`OURS`].
fn check_names(case: &Case, answer: &Answer) -> Result<(), String> {
    let text = String::from_utf8_lossy(&case.json).to_ascii_lowercase();
    for (name, value) in &answer.headers {
        let lower = name.to_ascii_lowercase();
        let is_ours = OURS.contains(&lower.as_str()) || lower.starts_with("x-amz") || lower == "set-cookie";
        // an escape can spell any name
        if !is_ours && !text.contains(&lower) && !text.contains("\\u") {
            return Err(format!("{name}: {}", Escaped(value)));
        }
    }
    Ok(())
}

/// A response whose JSON has one interpretation only.
struct Plain {
    status: u16,
    body: String,
    headers: Vec<(String, String)>,
}

impl Plain {
    fn read(json: &[u8], is_v1: bool) -> Option<Self> {
        let Value::Object(members) = serde_json::from_slice(json).ok()? else { return None };
        let status = u16::try_from(members.get("statusCode")?.as_u64()?).ok()?;
        let body = match members.get("body") {
            None | Some(Value::Null) => String::new(),
            Some(body) => body.as_str()?.to_owned(),
        };
        if !matches!(members.get("isBase64Encoded"), None | Some(Value::Bool(false))) {
            return None;
        }
        let mut headers = Vec::new();
        for member in ["headers", "multiValueHeaders"] {
            headers.extend(lines(members.get(member))?);
        }
        for cookie in array(members.get("cookies"))? {
            headers.push(("set-cookie".to_owned(), cookie));
        }
        let is_plain = headers.iter().all(|(_, value)| is_value(value))
            && headers.len() < 40
            && (200..=599).contains(&status);
        // payload format 1.0 defines no `cookies`
        let is_plain = is_plain && !(is_v1 && members.contains_key("cookies"));
        is_plain.then_some(Self { status, body, headers })
    }

    /// True if the response's `Connection` header names this header.
    fn nominates(&self, name: &str) -> bool {
        let connection = self.headers.iter().filter(|(own, _)| own.eq_ignore_ascii_case("connection"));
        let mut names = connection.flat_map(|(_, value)| value.split(','));
        names.any(|own| own.trim().eq_ignore_ascii_case(name))
    }
}

fn lines(member: Option<&Value>) -> Option<Vec<(String, String)>> {
    let empty = Map::new();
    let map = match member {
        None | Some(Value::Null) => &empty,
        Some(map) => map.as_object()?,
    };
    let mut lines = Vec::new();
    for (name, value) in map {
        // an invalid name is an error even if the value is null
        if !is_name(name) {
            return None;
        }
        match value {
            Value::String(value) => lines.push((name.clone(), value.clone())),
            values => lines.extend(array(Some(values))?.into_iter().map(|value| (name.clone(), value))),
        }
    }
    Some(lines)
}

fn array(member: Option<&Value>) -> Option<Vec<String>> {
    match member {
        None => Some(Vec::new()),
        Some(values) => values.as_array()?.iter().map(|value| value.as_str().map(str::to_owned)).collect(),
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn is_value(value: &str) -> bool {
    !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic())
}
