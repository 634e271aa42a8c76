//! A recorded request as pages read it: both sides, attempts, signatures, log lines and times.
//!
//! Heads and bodies may contain secrets, so `Debug` shows none of them.

use std::{
    borrow::Cow,
    fmt,
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use actix_http::{StatusCode, Version};

use crate::{settings::Hidden, signing::KeyOwner};

/// A request that has ended. Times are since the arrival of its head.
#[derive(Debug)]
pub struct InspectedRequest {
    /// Its place in the order of the ends, from 1.
    pub number: u64,
    pub request_id: String,
    pub received_at: SystemTime,
    /// Generation of the settings that it was served with.
    pub generation: u64,
    /// Secret texts of these settings.
    pub hidden: Arc<Hidden>,
    pub client: ClientSide,
    /// Secret headers that the route's `headers` set.
    pub added_secrets: HeadLines,
    /// Id and matched pattern.
    pub route: Option<(Arc<str>, String)>,
    /// The last attempt's request to AWS.
    pub outgoing: Option<Outgoing>,
    pub attempts: Vec<InspectedAttempt>,
    /// AWS's body, if it was read whole.
    pub reply_body: BodyStart,
    /// Canonical request and string to sign that AWS expected when it refused the signature.
    pub expected: Option<Secret<(String, String)>>,
    pub response: HeadLines,
    pub response_body: BodyStart,
    pub steps: Vec<(Step, Duration)>,
    pub log: Vec<LogEntry>,
    pub end: RequestEnd,
}

/// The request as the client sent it.
#[derive(Debug)]
pub struct ClientSide {
    pub ip: Option<IpAddr>,
    pub is_tls: bool,
    pub version: Version,
    pub method: String,
    pub target: Secret<String>,
    pub host: String,
    pub headers: HeadLines,
    pub body: BodyStart,
}

/// The request to AWS.
#[derive(Debug)]
pub struct Outgoing {
    pub endpoint: String,
    pub is_tls: bool,
    pub method: String,
    pub path_and_query: Secret<String>,
    pub headers: HeadLines,
    pub body: BodyStart,
}

#[derive(Debug)]
pub struct InspectedAttempt {
    pub started: Duration,
    pub signed: Option<Duration>,
    pub sent: Option<Duration>,
    /// Arrival of the head of AWS's response.
    pub answered: Option<Duration>,
    pub ended: Option<Duration>,
    pub status: Option<StatusCode>,
    pub reply: HeadLines,
    /// The error of an attempt without a response.
    pub failure: Option<String>,
    /// The reason for which another attempt followed.
    pub retry: Option<String>,
    pub signature: Option<SignatureInput>,
}

/// The texts that a signature was computed from.
#[derive(Debug)]
pub struct SignatureInput {
    pub canonical_request: Secret<Vec<u8>>,
    pub string_to_sign: String,
    /// The last characters of the access key's id.
    pub key_id_end: String,
    pub owner: KeyOwner,
}

/// A step of the request that has a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Routed,
    /// The body was read as far as the route needs it.
    BodyRead,
    /// AWS's response was read as far as the route needs it.
    ReplyRead,
    /// The head of the client's response was made.
    Responded,
}

/// A line of the log with the request's id.
#[derive(Debug, Clone)]
pub struct LogEntry {
    pub after: Duration,
    pub level: log::Level,
    pub text: String,
}

#[derive(Debug, Default, Clone, Copy)]
pub struct RequestEnd {
    pub took: Duration,
    /// The status of the response; `None` if the client closed the connection before it.
    pub status: Option<StatusCode>,
    pub code: Option<&'static str>,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// The client closed the connection before the end of the response.
    pub is_left: bool,
}

/// A value that `Debug` does not show.
#[derive(Clone)]
pub struct Secret<T>(pub T);

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(left out)")
    }
}

/// Headers as lines in one buffer.
#[derive(Debug)]
pub struct HeadLines(Secret<Vec<u8>>);

/// A header.
pub struct HeadLine<'a> {
    pub name: &'a str,
    pub value: Cow<'a, str>,
    /// The settings mark the value as a secret.
    pub is_sensitive: bool,
}

impl HeadLines {
    pub fn none() -> Self {
        Self(Secret(Vec::new()))
    }

    /// Lines that `push_line` wrote.
    pub(super) fn of_lines(lines: &[u8]) -> Self {
        Self(Secret(lines.to_vec()))
    }

    /// The headers of a head in HTTP/1.1; names become lower case.
    pub(super) fn of_wire(head: &[u8]) -> Self {
        let mut lines = Vec::with_capacity(head.len());
        // a parser skips empty lines before the first line (RFC 9112, 2.2)
        let fields = head.trim_ascii_start().split(|byte| *byte == b'\n').skip(1);
        for field in fields.map(<[u8]>::trim_ascii) {
            let Some(colon) = field.iter().position(|byte| *byte == b':') else { continue };
            lines.push(b' ');
            lines.extend(field[..colon].trim_ascii_end().to_ascii_lowercase());
            lines.push(b':');
            lines.extend_from_slice(field[colon + 1..].trim_ascii_start());
            lines.push(b'\n');
        }
        Self(Secret(lines))
    }

    #[cfg(test)]
    pub fn of(headers: &actix_http::header::HeaderMap) -> Self {
        let mut lines = Vec::new();
        for (name, value) in headers {
            super::recording::push_line(&mut lines, name, value.as_bytes(), value.is_sensitive());
        }
        Self(Secret(lines))
    }

    pub fn iter(&self) -> impl Iterator<Item = HeadLine<'_>> {
        self.0.0.split(|byte| *byte == b'\n').filter_map(|line| {
            let (mark, line) = line.split_first()?;
            let colon = line.iter().position(|byte| *byte == b':')?;
            let name = str::from_utf8(&line[..colon]).ok()?;
            let value = String::from_utf8_lossy(&line[colon + 1..]);
            Some(HeadLine { name, value, is_sensitive: *mark == b'!' })
        })
    }
}

/// The beginning of a body.
#[derive(Debug)]
pub struct BodyStart {
    bytes: Secret<Vec<u8>>,
    limit: usize,
    /// Bytes of the whole body so far.
    pub total: u64,
    /// The rest of the body did not arrive, or was not read.
    pub is_partial: bool,
}

impl BodyStart {
    /// An empty body of which at most `limit` bytes are kept.
    pub fn new(limit: usize) -> Self {
        Self { bytes: Secret(Vec::new()), limit, total: 0, is_partial: false }
    }

    /// The kept beginning of a body of `total` bytes.
    pub(super) fn of(kept: Vec<u8>, total: u64, is_partial: bool) -> Self {
        Self { limit: kept.len(), bytes: Secret(kept), total, is_partial }
    }

    pub fn push(&mut self, piece: &[u8]) {
        let room = self.limit - self.bytes.0.len();
        self.bytes.0.extend_from_slice(&piece[..piece.len().min(room)]);
        self.total += piece.len() as u64;
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes.0
    }

    /// True if the body is longer than what is kept.
    pub fn is_cut(&self) -> bool {
        self.is_partial || self.total > self.bytes.0.len() as u64
    }
}

impl InspectedRequest {
    /// A request without anything but its id.
    #[cfg(test)]
    pub fn for_tests(request_id: &str) -> Self {
        Self {
            number: 0,
            request_id: request_id.to_owned(),
            received_at: SystemTime::UNIX_EPOCH,
            generation: 1,
            hidden: Arc::default(),
            client: ClientSide {
                ip: None,
                is_tls: false,
                version: Version::HTTP_11,
                method: "GET".to_owned(),
                target: Secret("/".to_owned()),
                host: "h".to_owned(),
                headers: HeadLines::none(),
                body: BodyStart::new(0),
            },
            added_secrets: HeadLines::none(),
            route: None,
            outgoing: None,
            attempts: Vec::new(),
            reply_body: BodyStart::new(0),
            expected: None,
            response: HeadLines::none(),
            response_body: BodyStart::new(0),
            steps: Vec::new(),
            log: Vec::new(),
            end: RequestEnd::default(),
        }
    }
}
