//! The copy of a request that the inspector of the admin port shows, made while the request is served.
//!
//! Everything is copied as it is; `admin/inspect/` leaves out secrets when it shows a request.

use std::{
    cell::RefCell,
    fmt,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use actix_http::{HttpMessage as _, Request, header::HeaderMap};

use super::Record;
use crate::{
    client::{Endpoint, ReplyBody, UpstreamReply},
    message::{
        client_link::ClientLink,
        error::ProxyError,
        inbound::{InboundRequest, RequestBody},
        outbound::OutboundRequest,
        redaction::key_id_end,
    },
    proxy,
    signing::{SigningHeaders, SigningInput, explanation},
    spans::SpanEnd,
    state::{
        inspector::{
            BodyStart, ClientSide, HeadLines, InspectedAttempt, InspectedRequest, Inspection, Inspector,
            LogEntry, Outgoing, RequestEnd, Secret, SignatureInput, Step,
        },
        signing::SignatureRecord,
    },
};

/// Bytes of each of AWS's texts about a refused signature.
const LONGEST_EXPECTED: usize = 32 << 10;

pub struct RequestCopy {
    inspector: Arc<Inspector>,
    started: Instant,
    request: InspectedRequest,
    /// The body of a request that streams.
    streamed: Option<Rc<RefCell<BodyStart>>>,
}

impl fmt::Debug for RequestCopy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestCopy").finish_non_exhaustive()
    }
}

impl RequestCopy {
    /// Copies the head of a request.
    pub fn begin(
        Inspection { inspector, hidden }: &Inspection,
        record: &Record,
        request: &Request,
        link: ClientLink,
        generation: u64,
    ) -> Box<Self> {
        let body = || BodyStart::new(inspector.body_limit());
        let client = ClientSide {
            ip: record.client_ip,
            is_tls: link.is_tls(),
            version: request.version(),
            method: request.method().as_str().to_owned(),
            target: Secret(request.uri().to_string()),
            host: proxy::host(request).to_owned(),
            headers: HeadLines::of(request.headers()),
            body: body(),
        };
        Box::new(Self {
            inspector: Arc::clone(inspector),
            started: record.started,
            request: InspectedRequest {
                number: 0,
                request_id: record.request_id_text().to_owned(),
                received_at: record.received_at,
                generation,
                hidden: Arc::clone(hidden),
                client,
                added_secrets: HeadLines::none(),
                route: None,
                outgoing: None,
                attempts: Vec::new(),
                reply_body: body(),
                expected: None,
                response: HeadLines::none(),
                response_body: body(),
                steps: Vec::with_capacity(4),
                log: Vec::new(),
                end: RequestEnd::default(),
            },
            streamed: None,
        })
    }

    pub fn set_route(&mut self, id: &Arc<str>, pattern: &str, at: Duration) {
        self.request.route = Some((Arc::clone(id), pattern.to_owned()));
        self.request.steps.push((Step::Routed, at));
    }

    /// Copies the body, or its pieces as they arrive, and the secret headers that the route sets: an event
    /// may have them joined with the client's.
    pub fn on_inbound(&mut self, inbound: &mut InboundRequest) {
        self.step(Step::BodyRead);
        for (name, value) in inbound.headers.iter().filter(|(_, value)| value.is_sensitive()) {
            self.request.added_secrets.push(name, value.as_bytes(), true);
        }
        match &mut inbound.body {
            RequestBody::Empty => {}
            RequestBody::Whole(bytes) => self.request.client.body.push(bytes),
            RequestBody::Stream(stream) => {
                let streamed = Rc::new(RefCell::new(BodyStart::new(self.inspector.body_limit())));
                self.streamed = Some(Rc::clone(&streamed));
                stream.observe(move |piece| streamed.borrow_mut().push(piece));
            }
        }
    }

    pub fn on_attempt_start(&mut self, outbound: &OutboundRequest, endpoint: &Endpoint, at: Duration) {
        self.request.attempts.push(InspectedAttempt {
            started: at,
            signed: None,
            sent: None,
            answered: None,
            ended: None,
            status: None,
            reply: HeadLines::none(),
            failure: None,
            retry: None,
            signature: None,
        });
        let mut body = BodyStart::new(self.inspector.body_limit());
        body.push(outbound.body.bytes());
        self.request.outgoing = Some(Outgoing {
            endpoint: endpoint.to_string(),
            is_tls: endpoint.tls.is_some(),
            method: outbound.method.as_str().to_owned(),
            path_and_query: Secret(outbound.path_and_query.clone()),
            headers: HeadLines::of(&outbound.headers),
            body,
        });
    }

    pub fn on_signed(&mut self, headers: &SigningHeaders, used: &SignatureRecord, input: SigningInput) {
        let at = self.started.elapsed();
        if let Some(outgoing) = &mut self.request.outgoing {
            for (name, value) in headers.lines() {
                outgoing.headers.push(&name, value, false);
            }
        }
        if let Some(attempt) = self.request.attempts.last_mut() {
            attempt.signed = Some(at);
            attempt.signature = Some(SignatureInput {
                canonical_request: Secret(input.canonical.text),
                string_to_sign: input.string_to_sign,
                key_id_end: key_id_end(used.keys.access_key_id()).to_owned(),
                owner: used.owner,
            });
        }
    }

    pub fn on_sent(&mut self, at: Duration) {
        if let Some(attempt) = self.request.attempts.last_mut() {
            attempt.sent = Some(at);
        }
    }

    pub fn on_response_head(&mut self, reply: &UpstreamReply, at: Duration) {
        if let Some(attempt) = self.request.attempts.last_mut() {
            attempt.answered = Some(at);
            attempt.status = Some(reply.status);
            attempt.reply = HeadLines::of(&reply.headers);
        }
    }

    pub fn on_attempt_failed(&mut self, error: &ProxyError, at: Duration) {
        if let Some(attempt) = self.request.attempts.last_mut() {
            attempt.failure = Some(error.to_string());
            attempt.ended = Some(at);
        }
    }

    pub fn on_attempt_end(&mut self, at: Duration) {
        if let Some(attempt) = self.request.attempts.last_mut() {
            attempt.ended.get_or_insert(at);
        }
    }

    pub fn on_retry(&mut self, number: u32, reason: String) {
        self.on_log_line(log::Level::Info, format!("attempt {number} failed, retrying: {reason}"));
        if let Some(attempt) = self.request.attempts.last_mut() {
            attempt.retry = Some(reason);
        }
    }

    pub fn on_reply_read(&mut self, reply: &UpstreamReply) {
        self.step(Step::ReplyRead);
        if let ReplyBody::Whole(bytes) = &reply.body {
            self.request.reply_body.push(bytes);
        }
    }

    /// Copies the request that AWS expected to be signed.
    pub fn on_refusal_explained(&mut self, reply: &UpstreamReply) {
        let ReplyBody::Whole(body) = &reply.body else { return };
        let Ok(body) = str::from_utf8(body) else { return };
        let message = explanation::message(body).unwrap_or_else(|| body.to_owned());
        let expected = explanation::explanation(&message).map(|(canonical, string_to_sign)| {
            let fits = |text: &str| text.len() <= LONGEST_EXPECTED;
            (fits(canonical) && fits(string_to_sign))
                .then(|| Secret((canonical.to_owned(), string_to_sign.trim().to_owned())))
        });
        self.request.expected = expected.flatten();
    }

    pub fn on_error(&mut self, error: &ProxyError) {
        self.on_log_line(error.code().level(), error.to_string());
        for note in error.notes() {
            self.on_log_line(note.level, note.text.clone());
        }
    }

    pub fn on_log_line(&mut self, level: log::Level, text: String) {
        let after = self.started.elapsed();
        self.request.log.push(LogEntry { after, level, text });
    }

    pub fn on_response(&mut self, headers: &HeaderMap) {
        self.step(Step::Responded);
        self.request.response = HeadLines::of(headers);
    }

    pub fn on_response_piece(&mut self, piece: &[u8]) {
        self.request.response_body.push(piece);
    }

    /// Hands the copy to the inspector.
    pub fn end(mut self: Box<Self>, end: &SpanEnd, bytes_in: u64) {
        self.request.end = RequestEnd {
            took: end.took,
            status: end.status,
            code: end.code.map(|code| code.name),
            bytes_in,
            bytes_out: end.bytes_out,
            is_left: end.is_left,
        };
        if let Some(streamed) = self.streamed.take() {
            let limit = self.inspector.body_limit();
            let body = streamed.replace(BodyStart::new(limit));
            // a body that streams goes out as it came
            if let Some(outgoing) = &mut self.request.outgoing {
                outgoing.body.push(body.bytes());
                outgoing.body.total = body.total;
            }
            self.request.client.body = body;
        }
        self.inspector.add(self.request);
    }

    fn step(&mut self, step: Step) {
        self.request.steps.push((step, self.started.elapsed()));
    }
}

/// The steps of a request that only its copy observes.
impl Record {
    /// An attempt has been signed.
    pub fn on_signed(&mut self, headers: &SigningHeaders, used: &SignatureRecord, input: SigningInput) {
        if let Some(copy) = self.copy() {
            copy.on_signed(headers, used, input);
        }
    }

    /// The request has been read as far as its route needs it.
    pub fn on_inbound(&mut self, inbound: &mut InboundRequest) {
        if let Some(copy) = self.copy() {
            copy.on_inbound(inbound);
        }
    }

    /// AWS's response has been read as far as the backend needs it.
    pub fn on_reply_read(&mut self, reply: &UpstreamReply) {
        if let Some(copy) = self.copy() {
            copy.on_reply_read(reply);
        }
    }

    /// The head of the client's response is complete.
    pub fn on_response(&mut self, headers: &HeaderMap) {
        if let Some(copy) = self.copy() {
            copy.on_response(headers);
        }
    }

    /// A piece of the response's body is about to be sent.
    pub fn on_response_piece(&mut self, piece: &[u8]) {
        if let Some(copy) = self.copy() {
            copy.on_response_piece(piece);
        }
    }

    /// The inspector's copy, if there is one.
    pub(super) fn copy(&mut self) -> Option<&mut RequestCopy> {
        self.observers.as_mut()?.copy.as_deref_mut()
    }

    /// AWS refused the call; `reply` may have the request that it expected to be signed.
    pub fn on_refusal_explained(&mut self, reply: &UpstreamReply) {
        if let Some(copy) = self.copy() {
            copy.on_refusal_explained(reply);
        }
    }
}
