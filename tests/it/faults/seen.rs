//! What a client sees of a call, and what the log says of it, against what a row of the table demands.

use std::{
    io::{BufReader, Write},
    net::SocketAddr,
};

use apigw_invoker::message::error::ErrorCode;

use super::kinds::BODY;
use crate::support::{Response, open, read_response};

/// How a call may end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A whole answer with this status and body.
    Whole(u16, &'static str),
    /// An answer of the sidecar's own with this code.
    Failed(&'static str),
    /// A connection that breaks, after the head of an answer at the earliest; this code is in the log.
    Broken(&'static str),
}

/// What a client calls with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    Get,
    Head,
    /// With a few bytes of JSON.
    Post,
    /// With more JSON than fits into the buffers between.
    PostLarge,
    /// With much JSON that still fits.
    PostLong,
}

/// Bytes of a large body: more than the buffers of a socket hold that nobody reads.
const LARGE: usize = 5 << 20;
/// Bytes of a long one.
const LONG: usize = 1 << 20;

impl Outcome {
    pub const OK: Self = Self::Whole(200, BODY);

    fn status(code: &str) -> u16 {
        ErrorCode::ALL.iter().find(|row| row.name == code).unwrap().status.as_u16()
    }

    /// Why an answer, or its breaking off, is another outcome.
    fn refute(self, seen: Option<&Response>, request_id: &str) -> Result<(), String> {
        match (self, seen) {
            (Self::Whole(status, body), Some(response)) => {
                let same = response.status == status && response.body == body.as_bytes();
                same.then_some(()).ok_or_else(|| "another answer".to_owned())
            }
            (Self::Failed(code), Some(response)) => {
                if (response.status, response.code().as_str()) != (Self::status(code), code) {
                    return Err("another answer".to_owned());
                }
                let id = response.json()["request_id"].as_str().unwrap_or_default().to_owned();
                if id != request_id || response.header("x-request-id") != Some(request_id) {
                    return Err("another request's id".to_owned());
                }
                let tells = response.text().contains("127.0.0.1");
                if tells { Err("the answer names the upstream".to_owned()) } else { Ok(()) }
            }
            (Self::Broken(_), None) => Ok(()),
            (Self::Broken(_), Some(_)) => Err("a clean answer".to_owned()),
            (_, None) => Err("a broken connection".to_owned()),
        }
    }

    /// Why the lines of the log that have this request's id are not those of this outcome.
    fn refute_log(self, lines: &[&str], cause: &str) -> Result<(), String> {
        // what was called again has its own tests (`retries.rs`); here the last call counts
        let (access, told): (Vec<&str>, Vec<&str>) = lines
            .iter()
            .filter(|line| !line.contains(" failed, retrying: "))
            .partition(|line| line.contains(" route=") && line.contains(" duration_ms="));
        let [access] = access[..] else { return Err(format!("{} access lines", access.len())) };
        let (status, code) = match self {
            Self::Whole(status, _) => (status, None),
            Self::Failed(code) => (Self::status(code), Some(code)),
            Self::Broken(code) => (200, Some(code)),
        };
        if !access.contains(&format!(" {status} route=")) {
            return Err(format!("not status {status} in the access log"));
        }
        let Some(code) = code else {
            return if told.is_empty() && !access.contains("code=") {
                Ok(())
            } else {
                Err("the log tells of a failure".to_owned())
            };
        };
        let [told] = told[..] else { return Err(format!("{} lines tell of the failure", told.len())) };
        if !access.ends_with(&format!(" code={code}")) || !told.ends_with(&format!(" code={code}")) {
            return Err(format!("not {code} in the log"));
        }
        // the sentence that clients read, then why
        let reason = told.split_once("] ").and_then(|(_, sentence)| sentence.split_once(": "));
        let is_there = reason.is_some_and(|(_, reason)| reason.contains(cause));
        is_there.then_some(()).ok_or_else(|| format!("no reason with {cause:?}"))
    }
}

/// Whether what was seen and what was logged is one of these outcomes.
pub fn check(
    expected: &[Outcome],
    seen: Option<&Response>,
    request_id: &str,
    log: &[&str],
    cause: &str,
) -> Result<(), String> {
    let mut reasons = Vec::new();
    for outcome in expected {
        match outcome.refute(seen, request_id).and_then(|()| outcome.refute_log(log, cause)) {
            Ok(()) => return Ok(()),
            Err(reason) => reasons.push(format!("not {outcome:?}: {reason}")),
        }
    }
    let seen = seen.map(|response| (response.status, response.text()));
    Err(format!("{}; seen {seen:?}; logged {log:#?}", reasons.join(", ")))
}

/// Makes a call; `None` where the connection breaks before the answer is whole.
pub fn call(
    address: SocketAddr,
    call: Call,
    path: &str,
    request_id: &str,
    version: &str,
) -> Option<Response> {
    let (method, body) = match call {
        Call::Get => ("GET", String::new()),
        Call::Head => ("HEAD", String::new()),
        Call::Post => ("POST", r#"{"x":"1"}"#.to_owned()),
        Call::PostLarge => ("POST", format!(r#"{{"x":"{}"}}"#, "x".repeat(LARGE))),
        Call::PostLong => ("POST", format!(r#"{{"x":"{}"}}"#, "x".repeat(LONG))),
    };
    let mut head = format!("{method} {path} HTTP/{version}\r\nHost: h\r\nX-Request-Id: {request_id}\r\n");
    if !body.is_empty() {
        let length = body.len().to_string();
        head.extend(["Content-Type: application/json\r\nContent-Length: ", &length, "\r\n"]);
    }
    head.push_str("\r\n");
    let stream = open(address);
    let mut sender = stream.try_clone().unwrap();
    let receiver =
        std::thread::spawn(move || read_response(&mut BufReader::new(stream), method == "HEAD").ok());
    // an answer may come before all is sent, and the connection end
    let _ = sender.write_all(head.as_bytes()).and_then(|()| sender.write_all(body.as_bytes()));
    receiver.join().unwrap()
}
