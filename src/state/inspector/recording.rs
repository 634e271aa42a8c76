//! The record of a request while it is served, and until a page reads it.
//!
//! Everything is appended to one buffer as it is, a head as the bytes that were on the wire where they exist;
//! `reading.rs` makes an [`InspectedRequest`](super::InspectedRequest) of it. The buffer is recycled: a
//! request allocates nothing here once the inspector is full. It may contain secrets, so `Debug` shows none
//! of it.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Instant, SystemTime},
};

use actix_http::{
    StatusCode, Version,
    header::{HeaderMap, HeaderName},
};

use super::request::{LogEntry, RequestEnd, Secret};
use crate::{settings::Hidden, signing::KeyOwner};

/// The capacity of a new buffer; most requests fit.
const FIRST_CAPACITY: usize = 3 << 10;
/// Bodies of one request: see [`Body`].
pub(super) const BODIES: usize = 4;

/// A part of the buffer. Parts of an attempt follow its [`Part::Attempt`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    RequestId,
    Method,
    /// The target, as the client sent it.
    Target,
    /// Headers as lines, see [`push_line`].
    ClientHeaders,
    AddedSecrets,
    /// The pattern that matched.
    Pattern,
    /// The name of the host that is called; also the start of an attempt.
    Attempt,
    CanonicalRequest,
    StringToSign,
    KeyId,
    /// The head of the request to AWS, in HTTP/1.1; again if it was sent again on another connection.
    RequestHead,
    /// The head of AWS's response, in HTTP/1.1.
    ReplyHead,
    ResponseHeaders,
    Body(Body),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    Client,
    /// The body of the first attempt; the others' is the same.
    Outgoing,
    /// AWS's body, if it was read whole.
    Reply,
    Response,
}

/// A request of which the steps are recorded.
#[derive(Debug)]
pub struct RecordedRequest {
    /// Its place in the order of the ends, from 1.
    pub number: u64,
    pub received_at: SystemTime,
    /// Arrival of the head.
    pub started: Instant,
    pub generation: u64,
    pub hidden: Option<Arc<Hidden>>,
    pub client_ip: Option<IpAddr>,
    pub is_tls: bool,
    pub version: Version,
    /// All of the client's body has arrived and was read.
    pub is_body_whole: bool,
    pub route: Option<Arc<str>>,
    pub steps: StepTimes,
    pub attempts: Vec<RecordedAttempt>,
    /// Canonical request and string to sign that AWS expected when it refused the signature.
    pub expected: Option<Secret<(String, String)>>,
    pub log: Vec<LogEntry>,
    pub end: RequestEnd,
    /// Bytes in memory, approximately, once it has been added to the inspector.
    pub(super) weight: usize,
    buffer: Secret<Vec<u8>>,
    /// The parts of the buffer in order, with their lengths.
    parts: Vec<(Part, u32)>,
    bodies: [BodyLengths; BODIES],
}

/// The time of each step, once it has happened.
#[derive(Debug, Default, Clone, Copy)]
pub struct StepTimes {
    pub routed: Option<Instant>,
    pub body_read: Option<Instant>,
    pub reply_read: Option<Instant>,
    pub responded: Option<Instant>,
}

#[derive(Debug)]
pub struct RecordedAttempt {
    pub started: Instant,
    pub is_tls: bool,
    pub port: u16,
    /// The owner of the keys, if it was signed.
    pub owner: Option<KeyOwner>,
    pub sent: Option<Instant>,
    pub answered: Option<Instant>,
    pub ended: Option<Instant>,
    pub status: Option<StatusCode>,
    pub failure: Option<String>,
    pub retry: Option<String>,
}

/// Bytes of a body.
#[derive(Debug, Default, Clone, Copy)]
struct BodyLengths {
    kept: usize,
    total: u64,
}

impl Default for RecordedRequest {
    fn default() -> Self {
        Self {
            number: 0,
            received_at: SystemTime::UNIX_EPOCH,
            started: Instant::now(),
            generation: 0,
            hidden: None,
            client_ip: None,
            is_tls: false,
            version: Version::HTTP_11,
            is_body_whole: true,
            route: None,
            steps: StepTimes::default(),
            attempts: Vec::with_capacity(1),
            expected: None,
            log: Vec::new(),
            end: RequestEnd::default(),
            weight: 0,
            buffer: Secret(Vec::with_capacity(FIRST_CAPACITY)),
            parts: Vec::with_capacity(24),
            bodies: Default::default(),
        }
    }
}

impl RecordedAttempt {
    pub fn new(started: Instant, is_tls: bool, port: u16) -> Self {
        Self {
            started,
            is_tls,
            port,
            owner: None,
            sent: None,
            answered: None,
            ended: None,
            status: None,
            failure: None,
            retry: None,
        }
    }
}

impl RecordedRequest {
    /// Appends a part.
    pub fn push(&mut self, part: Part, bytes: &[u8]) {
        self.buffer.0.extend_from_slice(bytes);
        self.note(part, bytes.len());
    }

    /// Appends a part that `write` writes.
    pub fn push_with(&mut self, part: Part, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.buffer.0.len();
        write(&mut self.buffer.0);
        let length = self.buffer.0.len() - start;
        self.note(part, length);
    }

    pub fn push_headers(&mut self, part: Part, headers: &HeaderMap) {
        self.push_with(part, |buffer| {
            for (name, value) in headers {
                push_line(buffer, name, value.as_bytes(), value.is_sensitive());
            }
        });
    }

    /// Appends those of the headers that the settings mark as secrets.
    pub fn push_secret_headers(&mut self, part: Part, headers: &HeaderMap) {
        self.push_with(part, |buffer| {
            for (name, value) in headers.iter().filter(|(_, value)| value.is_sensitive()) {
                push_line(buffer, name, value.as_bytes(), true);
            }
        });
    }

    /// Appends a piece of a body of which at most `limit` bytes are kept.
    pub fn push_body(&mut self, body: Body, piece: &[u8], limit: usize) {
        let lengths = &mut self.bodies[body as usize];
        let kept = piece.len().min(limit.saturating_sub(lengths.kept));
        lengths.kept += kept;
        lengths.total += piece.len() as u64;
        if kept == 0 {
            return;
        }
        match self.parts.last_mut() {
            // many small pieces are one part
            Some((Part::Body(last), length)) if *last == body => {
                self.buffer.0.extend_from_slice(&piece[..kept]);
                *length = length.saturating_add(u32::try_from(kept).unwrap_or(u32::MAX));
            }
            _ => self.push(Part::Body(body), &piece[..kept]),
        }
    }

    /// Bytes of a whole body, if more of it was sent than was pushed.
    pub fn set_body_total(&mut self, body: Body, total: u64) {
        self.bodies[body as usize].total = total;
    }

    pub(super) fn body_total(&self, body: Body) -> u64 {
        self.bodies[body as usize].total
    }

    fn note(&mut self, part: Part, length: usize) {
        // a buffer of 4 GiB cannot be reached: heads and bodies have limits
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        self.parts.push((part, length));
    }

    /// The parts in the order in which they were appended.
    pub(super) fn parts(&self) -> impl Iterator<Item = (Part, &[u8])> {
        self.parts.iter().scan(&*self.buffer.0, |rest, (part, length)| {
            let (bytes, behind) = rest.split_at_checked(*length as usize)?;
            *rest = behind;
            Some((*part, bytes))
        })
    }

    pub(super) fn request_id(&self) -> &[u8] {
        self.parts().next().map_or(&[], |(_, id)| id)
    }

    /// Bytes in memory, approximately.
    pub(super) fn measured(&self) -> usize {
        let expected = self.expected.as_ref().map_or(0, |Secret((request, text))| request.len() + text.len());
        let length = |text: &Option<String>| text.as_ref().map_or(0, String::capacity);
        let texts = |attempt: &RecordedAttempt| length(&attempt.failure) + length(&attempt.retry);
        size_of::<Self>()
            + self.buffer.0.capacity()
            + self.parts.capacity() * size_of::<(Part, u32)>()
            + self.attempts.capacity() * size_of::<RecordedAttempt>()
            + self.attempts.iter().map(texts).sum::<usize>()
            + self.log.iter().map(|entry| size_of::<LogEntry>() + entry.text.capacity()).sum::<usize>()
            + expected
    }

    #[cfg(test)]
    pub(super) fn buffer_address(&self) -> *const u8 {
        self.buffer.0.as_ptr()
    }

    /// Forgets the request and keeps the memory for another one; a buffer larger than `most` is freed.
    pub(super) fn clear(&mut self, most: usize) {
        if self.buffer.0.capacity() > most {
            return *self = Self::default();
        }
        self.buffer.0.clear();
        self.parts.clear();
        self.attempts.clear();
        self.log.clear();
        self.bodies = Default::default();
        self.is_body_whole = true;
        self.steps = StepTimes::default();
        (self.hidden, self.route, self.expected) = (None, None, None);
    }
}

/// Appends a header as a line: a mark for a value that the settings mark as a secret, name, `:`, value. The
/// value has no line end.
pub(super) fn push_line(buffer: &mut Vec<u8>, name: &HeaderName, value: &[u8], is_sensitive: bool) {
    let name = name.as_str().as_bytes();
    buffer.reserve(name.len() + value.len() + 3);
    buffer.push(if is_sensitive { b'!' } else { b' ' });
    buffer.extend_from_slice(name);
    buffer.push(b':');
    buffer.extend_from_slice(value);
    buffer.push(b'\n');
}
