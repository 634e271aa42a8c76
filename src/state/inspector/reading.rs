//! Makes an [`InspectedRequest`] of a recorded one, when a page reads it.

use std::{sync::Arc, time::Instant};

use actix_http::Uri;

use super::{
    BodyStart, ClientSide, HeadLines, InspectedAttempt, InspectedRequest, LogEntry, Outgoing, RequestEnd,
    Secret, SignatureInput, Step,
    recording::{BODIES, Body, Part, RecordedAttempt, RecordedRequest},
};
use crate::{message::redaction::key_id_end, settings::HostPort};

impl RecordedRequest {
    /// The request as pages show it, secrets included.
    pub fn read(&self) -> InspectedRequest {
        let texts = Texts::of(self);
        let host = texts.client_host();
        let last = self.attempts.last().zip(texts.attempts.last());
        let [client_body, outgoing_body, reply_body, response_body] = texts.bodies;
        let body = |kept, body, is_partial| BodyStart::of(kept, self.body_total(body), is_partial);
        // a request is sent before its body is whole only if the body streams
        InspectedRequest {
            number: self.number,
            request_id: text(self.request_id()),
            received_at: self.received_at,
            generation: self.generation,
            hidden: self.hidden.clone().unwrap_or_default(),
            client: ClientSide {
                ip: self.client_ip,
                is_tls: self.is_tls,
                version: self.version,
                host,
                method: texts.method,
                target: Secret(texts.target),
                headers: texts.client_headers,
                body: body(client_body, Body::Client, !self.is_body_whole),
            },
            added_secrets: texts.added_secrets,
            route: self.route.as_ref().map(|id| (Arc::clone(id), texts.pattern)),
            outgoing: last.map(|(attempt, heads)| {
                heads.outgoing(attempt, body(outgoing_body, Body::Outgoing, !self.is_body_whole))
            }),
            attempts: self
                .attempts
                .iter()
                .zip(&texts.attempts)
                .map(|(attempt, heads)| heads.attempt(attempt, self.started))
                .collect(),
            reply_body: body(reply_body, Body::Reply, false),
            expected: self.expected.clone(),
            response: texts.response_headers,
            response_body: body(response_body, Body::Response, self.end.is_left),
            steps: self.step_times(),
            log: self.log.iter().map(LogEntry::clone).collect(),
            end: RequestEnd { ..self.end },
        }
    }

    fn step_times(&self) -> Vec<(Step, std::time::Duration)> {
        let times = self.steps;
        [
            (Step::Routed, times.routed),
            (Step::BodyRead, times.body_read),
            (Step::ReplyRead, times.reply_read),
            (Step::Responded, times.responded),
        ]
        .into_iter()
        .filter_map(|(step, at)| Some((step, at?.duration_since(self.started))))
        .collect()
    }
}

/// The parts of a record.
struct Texts<'a> {
    method: String,
    target: String,
    pattern: String,
    client_headers: HeadLines,
    added_secrets: HeadLines,
    response_headers: HeadLines,
    attempts: Vec<AttemptTexts<'a>>,
    bodies: [Vec<u8>; BODIES],
}

#[derive(Default)]
struct AttemptTexts<'a> {
    host: &'a [u8],
    canonical_request: &'a [u8],
    string_to_sign: &'a [u8],
    key_id: &'a [u8],
    request_head: &'a [u8],
    reply_head: &'a [u8],
}

impl<'a> Texts<'a> {
    /// The authority of an absolute target takes precedence over `Host`, as in `proxy::host`.
    fn client_host(&self) -> String {
        let target = self.target.parse::<Uri>().ok();
        let host = target.as_ref().and_then(Uri::host).map(str::to_owned);
        let header = || self.client_headers.iter().find(|line| line.name == "host");
        host.or_else(|| header().map(|line| line.value.into_owned())).unwrap_or_default()
    }

    fn of(record: &'a RecordedRequest) -> Self {
        let mut found = Self {
            method: String::new(),
            target: String::new(),
            pattern: String::new(),
            client_headers: HeadLines::none(),
            added_secrets: HeadLines::none(),
            response_headers: HeadLines::none(),
            attempts: Vec::new(),
            bodies: Default::default(),
        };
        for (part, bytes) in record.parts() {
            match part {
                Part::RequestId => {}
                Part::Method => found.method = text(bytes),
                Part::Target => found.target = text(bytes),
                Part::Pattern => found.pattern = text(bytes),
                Part::ClientHeaders => found.client_headers = HeadLines::of_lines(bytes),
                Part::AddedSecrets => found.added_secrets = HeadLines::of_lines(bytes),
                // a response that could not be sent is replaced by an error
                Part::ResponseHeaders => found.response_headers = HeadLines::of_lines(bytes),
                Part::Body(body) => found.bodies[body as usize].extend_from_slice(bytes),
                Part::Attempt => found.attempts.push(AttemptTexts { host: bytes, ..Default::default() }),
                of_attempt => {
                    if let Some(attempt) = found.attempts.last_mut() {
                        attempt.set(of_attempt, bytes);
                    }
                }
            }
        }
        found
    }
}

impl<'a> AttemptTexts<'a> {
    fn set(&mut self, part: Part, bytes: &'a [u8]) {
        match part {
            Part::CanonicalRequest => self.canonical_request = bytes,
            Part::StringToSign => self.string_to_sign = bytes,
            Part::KeyId => self.key_id = bytes,
            Part::RequestHead => self.request_head = bytes,
            Part::ReplyHead => self.reply_head = bytes,
            _ => {}
        }
    }

    fn outgoing(&self, attempt: &RecordedAttempt, body: BodyStart) -> Outgoing {
        let head = text(self.request_head);
        let mut words = head.lines().next().unwrap_or_default().split(' ');
        let mut word = || words.next().unwrap_or_default().to_owned();
        Outgoing {
            endpoint: HostPort(&text(self.host), attempt.port).to_string(),
            is_tls: attempt.is_tls,
            method: word(),
            path_and_query: Secret(word()),
            headers: HeadLines::of_wire(self.request_head),
            body,
        }
    }

    fn attempt(&self, attempt: &RecordedAttempt, started: Instant) -> InspectedAttempt {
        let since = |at: Instant| at.duration_since(started);
        let signature = attempt.owner.map(|owner| SignatureInput {
            canonical_request: Secret(self.canonical_request.to_vec()),
            string_to_sign: text(self.string_to_sign),
            key_id_end: key_id_end(&text(self.key_id)).to_owned(),
            owner,
        });
        InspectedAttempt {
            started: since(attempt.started),
            // an attempt is sent as soon as it is signed
            signed: signature.as_ref().and(attempt.sent).map(since),
            sent: attempt.sent.map(since),
            answered: attempt.answered.map(since),
            ended: attempt.ended.map(since),
            status: attempt.status,
            reply: HeadLines::of_wire(self.reply_head),
            failure: attempt.failure.clone(),
            retry: attempt.retry.clone(),
            signature,
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
