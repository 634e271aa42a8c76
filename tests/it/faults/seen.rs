//! Compares a client's view of a call, and the log, with the expected outcomes of a row.

use std::{
    io::{BufReader, Write},
    net::SocketAddr,
};

use apigw_invoker::message::error::ErrorCode;

use super::kinds::BODY;
use crate::support::{Response, open, read_response};

/// Outcome of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A complete response with this status and body.
    Whole(u16, &'static str),
    /// An error of the sidecar with this code.
    Failed(&'static str),
    /// A connection that breaks after the response's head; the log has this code.
    Broken(&'static str),
}

/// The client's request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    Get,
    Head,
    /// A short JSON body.
    Post,
    /// A JSON body larger than all buffers on its way.
    PostLarge,
    /// A long JSON body that fits into the buffers.
    PostLong,
}

/// Size of a large body: more than the buffers of an unread socket.
const LARGE: usize = 5 << 20;
/// Size of a long body.
const LONG: usize = 1 << 20;

impl Outcome {
    pub const OK: Self = Self::Whole(200, BODY);

    fn status(code: &str) -> u16 {
        ErrorCode::ALL.iter().find(|row| row.name == code).unwrap().status.as_u16()
    }

    /// Why the client's view does not match this outcome.
    fn mismatch(self, seen: Option<&Response>, request_id: &str) -> Result<(), String> {
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

    /// Why the log lines of this request do not match this outcome.
    fn log_mismatch(self, lines: &[&str], cause: &str) -> Result<(), String> {
        // `retries.rs` tests the lines of retried attempts; only the last one counts here
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
        // the sentence for clients, then the cause
        let reason = told.split_once("] ").and_then(|(_, sentence)| sentence.split_once(": "));
        let is_there = reason.is_some_and(|(_, reason)| reason.contains(cause));
        is_there.then_some(()).ok_or_else(|| format!("no reason with {cause:?}"))
    }
}

/// True if response and log match one of these outcomes.
pub fn check(
    expected: &[Outcome],
    seen: Option<&Response>,
    request_id: &str,
    log: &[&str],
    cause: &str,
) -> Result<(), String> {
    let mut reasons = Vec::new();
    for outcome in expected {
        match outcome.mismatch(seen, request_id).and_then(|()| outcome.log_mismatch(log, cause)) {
            Ok(()) => return Ok(()),
            Err(reason) => reasons.push(format!("not {outcome:?}: {reason}")),
        }
    }
    let seen = seen.map(|response| (response.status, response.text()));
    Err(format!("{}; seen {seen:?}; logged {log:#?}", reasons.join(", ")))
}

/// Sends a request; `None` if the connection breaks before the response is complete.
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
    // a response may arrive, and the connection end, before everything is sent
    let _ = sender.write_all(head.as_bytes()).and_then(|()| sender.write_all(body.as_bytes()));
    receiver.join().unwrap()
}
