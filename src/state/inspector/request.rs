//! A recorded request: both sides, attempts, signatures, log lines and times.
//!
//! Heads and bodies are copies, because a slice would keep the whole buffer of its connection. They may
//! contain secrets, so `Debug` shows none of them.

use std::{
    borrow::Cow,
    fmt,
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use actix_http::{
    StatusCode, Version,
    header::{HeaderMap, HeaderName},
};

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
#[derive(Debug)]
pub struct LogEntry {
    pub after: Duration,
    pub level: log::Level,
    pub text: String,
}

#[derive(Debug, Default)]
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

    pub fn of(headers: &HeaderMap) -> Self {
        let mut lines = Self(Secret(Vec::with_capacity(512)));
        for (name, value) in headers {
            lines.push(name, value.as_bytes(), value.is_sensitive());
        }
        lines
    }

    /// Appends a header; its value has no line end.
    pub fn push(&mut self, name: &HeaderName, value: &[u8], is_sensitive: bool) {
        let lines = &mut self.0.0;
        lines.push(if is_sensitive { b'!' } else { b' ' });
        for part in [name.as_str().as_bytes(), b":", value, b"\n"] {
            lines.extend_from_slice(part);
        }
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
}

impl BodyStart {
    /// An empty body of which at most `limit` bytes are kept.
    pub fn new(limit: usize) -> Self {
        Self { bytes: Secret(Vec::new()), limit, total: 0 }
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
        self.total > self.bytes.0.len() as u64
    }
}

impl InspectedRequest {
    /// Bytes in memory, approximately.
    pub(super) fn weight(&self) -> usize {
        let heads = |attempt: &InspectedAttempt| {
            let signature = attempt.signature.as_ref();
            let texts = signature.map_or(0, |signature| {
                signature.canonical_request.0.capacity() + signature.string_to_sign.capacity()
            });
            attempt.reply.0.0.capacity() + texts + size_of::<InspectedAttempt>()
        };
        let outgoing = self.outgoing.as_ref().map_or(0, |outgoing| {
            outgoing.path_and_query.0.capacity() + outgoing.headers.0.0.capacity() + outgoing.body.weight()
        });
        let expected = self.expected.as_ref().map_or(0, |Secret((request, text))| request.len() + text.len());
        size_of::<Self>()
            + self.client.method.capacity()
            + self.client.host.capacity()
            + self.client.target.0.capacity()
            + self.client.headers.0.0.capacity()
            + self.added_secrets.0.0.capacity()
            + self.response.0.0.capacity()
            + [&self.client.body, &self.reply_body, &self.response_body]
                .map(BodyStart::weight)
                .iter()
                .sum::<usize>()
            + self.attempts.iter().map(heads).sum::<usize>()
            + self.log.iter().map(|entry| size_of::<LogEntry>() + entry.text.capacity()).sum::<usize>()
            + outgoing
            + expected
    }

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

impl BodyStart {
    fn weight(&self) -> usize {
        self.bytes.0.capacity()
    }
}
