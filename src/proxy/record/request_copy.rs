//! The copy of a request that the inspector of the admin port shows, made while the request is served.
//!
//! Everything is copied as it is; `admin/inspect/` leaves out secrets when it shows a request.

use std::{cell::RefCell, fmt, io::Write as _, rc::Rc, sync::Arc, time::Instant};

use actix_http::{HttpMessage as _, Request, Uri, header::HeaderMap};

use super::Record;
use crate::{
    client::{Endpoint, HeadObserver, ReplyBody, UpstreamReply, encode_head},
    message::{
        client_link::ClientLink,
        error::ProxyError,
        inbound::{InboundRequest, RequestBody},
        outbound::OutboundRequest,
    },
    signing::{SigningInput, explanation},
    spans::SpanEnd,
    state::{
        inspector::{
            Body, BodyStart, Inspection, Inspector, LogEntry, Part, RecordedAttempt, RecordedRequest,
            RequestEnd, Secret,
        },
        signing::SignatureRecord,
        snapshot::Route,
    },
};

/// Bytes of each of AWS's texts about a refused signature.
const LONGEST_EXPECTED: usize = 32 << 10;

/// The record of one request after the other.
#[derive(Default)]
pub struct RequestCopy {
    /// `None` between two requests.
    inspector: Option<Arc<Inspector>>,
    /// Bytes of each body that are kept.
    body_limit: usize,
    request: RecordedRequest,
    streamed: Option<Rc<RefCell<StreamedBody>>>,
}

/// The body of a request that streams.
struct StreamedBody {
    start: BodyStart,
    /// `None` for a body that is sent chunked.
    length: Option<u64>,
    has_ended: bool,
}

impl StreamedBody {
    fn on_piece(&mut self, piece: Option<&[u8]>) {
        match piece {
            Some(piece) => self.start.push(piece),
            None => self.has_ended = true,
        }
    }

    /// True if all of the body has arrived; the end of a declared length is not read.
    fn is_whole(&self) -> bool {
        self.has_ended || self.length == Some(self.start.total)
    }
}

impl fmt::Debug for RequestCopy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestCopy").finish_non_exhaustive()
    }
}

impl RequestCopy {
    /// Copies the head of a request.
    pub fn begin(
        &mut self,
        Inspection { inspector, hidden }: &Inspection,
        record: &Record,
        request: &Request,
        link: ClientLink,
        generation: u64,
    ) {
        self.body_limit = inspector.body_limit();
        self.inspector = Some(Arc::clone(inspector));
        let copy = &mut self.request;
        (copy.received_at, copy.started) = (record.received_at, record.started);
        (copy.generation, copy.hidden) = (generation, Some(Arc::clone(hidden)));
        (copy.client_ip, copy.is_tls, copy.version) = (record.client_ip, link.is_tls(), request.version());
        copy.push(Part::RequestId, record.request_id.as_bytes());
        copy.push(Part::Method, request.method().as_str().as_bytes());
        copy.push_with(Part::Target, |buffer| push_target(buffer, request.uri()));
        copy.push_headers(Part::ClientHeaders, request.headers());
    }

    /// Sets if the client's body has arrived as a whole, which is not the case before it is read.
    pub fn set_body_whole(&mut self, is_whole: bool) {
        self.request.is_body_whole = is_whole;
    }

    pub fn set_route(&mut self, id: &Arc<str>, pattern: &str) {
        self.request.route = Some(Arc::clone(id));
        self.request.push(Part::Pattern, pattern.as_bytes());
        self.request.steps.routed = Some(Instant::now());
    }

    /// Copies the body, or its pieces as they arrive, and the secret headers that the route sets: an event
    /// may have them joined with the client's.
    pub fn on_inbound(&mut self, inbound: &mut InboundRequest, has_edits: bool) {
        self.request.steps.body_read = Some(Instant::now());
        if has_edits {
            self.request.push_secret_headers(Part::AddedSecrets, &inbound.headers);
        }
        self.request.is_body_whole = inbound.body.is_buffered();
        match &mut inbound.body {
            RequestBody::Empty => {}
            RequestBody::Whole(bytes) => self.request.push_body(Body::Client, bytes, self.body_limit),
            RequestBody::Stream(stream) => {
                let (start, length) = (BodyStart::new(self.body_limit), stream.length);
                let streamed = Rc::new(RefCell::new(StreamedBody { start, length, has_ended: false }));
                self.streamed = Some(Rc::clone(&streamed));
                stream.observe(move |piece| streamed.borrow_mut().on_piece(piece));
            }
        }
    }

    pub fn on_attempt_start(&mut self, outbound: &OutboundRequest, endpoint: &Endpoint) {
        let attempt = RecordedAttempt::new(Instant::now(), endpoint.tls.is_some(), endpoint.port);
        if self.request.attempts.is_empty() {
            self.request.push_body(Body::Outgoing, outbound.body.bytes(), self.body_limit);
        }
        self.request.attempts.push(attempt);
        self.request.push(Part::Attempt, endpoint.host.as_bytes());
    }

    pub fn on_signed(&mut self, used: &SignatureRecord, input: &SigningInput) {
        self.request.push(Part::CanonicalRequest, &input.canonical.text);
        self.request.push(Part::StringToSign, input.string_to_sign.as_bytes());
        self.request.push(Part::KeyId, used.keys.access_key_id().as_bytes());
        if let Some(attempt) = self.request.attempts.last_mut() {
            attempt.owner = Some(used.owner);
        }
    }

    /// Copies a request that cannot be signed.
    pub fn on_not_signed(&mut self, outbound: &OutboundRequest) {
        if let Ok(head) = encode_head(outbound, None, true) {
            self.request.push(Part::RequestHead, &head);
        }
    }

    pub fn on_sent(&mut self, at: Instant) {
        if let Some(attempt) = self.request.attempts.last_mut() {
            attempt.sent = Some(at);
        }
    }

    pub fn on_response_head(&mut self, reply: &UpstreamReply, at: Instant) {
        if let Some(attempt) = self.request.attempts.last_mut() {
            (attempt.answered, attempt.status) = (Some(at), Some(reply.status));
        }
    }

    pub fn on_attempt_failed(&mut self, error: &ProxyError, at: Instant) {
        if let Some(attempt) = self.request.attempts.last_mut() {
            (attempt.failure, attempt.ended) = (Some(error.to_string()), Some(at));
        }
    }

    pub fn on_attempt_end(&mut self, at: Instant) {
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
        self.request.steps.reply_read = Some(Instant::now());
        if let ReplyBody::Whole(bytes) = &reply.body {
            self.request.push_body(Body::Reply, bytes, self.body_limit);
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
        let after = self.request.started.elapsed();
        self.request.log.push(LogEntry { after, level, text });
    }

    pub fn on_response(&mut self, headers: &HeaderMap) {
        self.request.steps.responded = Some(Instant::now());
        self.request.push_headers(Part::ResponseHeaders, headers);
    }

    pub fn on_response_piece(&mut self, piece: &[u8]) {
        self.request.push_body(Body::Response, piece, self.body_limit);
    }

    /// Hands the record to the inspector, and gets one for the next request.
    pub fn end(&mut self, end: &SpanEnd, bytes_in: u64) {
        let Some(inspector) = self.inspector.take() else { return };
        self.request.end = RequestEnd {
            took: end.took,
            status: end.status,
            code: end.code.map(|code| code.name),
            bytes_in,
            bytes_out: end.bytes_out,
            is_left: end.is_left,
        };
        if let Some(streamed) = self.streamed.take() {
            let streamed = streamed.borrow();
            self.request.is_body_whole = streamed.is_whole();
            let body = &streamed.start;
            self.request.push_body(Body::Client, body.bytes(), self.body_limit);
            self.request.set_body_total(Body::Client, body.total);
            // a body that streams goes out as it came
            if !self.request.attempts.is_empty() {
                self.request.push_body(Body::Outgoing, body.bytes(), self.body_limit);
                self.request.set_body_total(Body::Outgoing, body.total);
            }
        }
        inspector.add(&mut self.request);
    }
}

impl HeadObserver for RequestCopy {
    fn on_request_head(&mut self, head: &[u8]) {
        self.request.push(Part::RequestHead, head);
    }

    fn on_reply_head(&mut self, head: &[u8]) {
        self.request.push(Part::ReplyHead, head);
    }
}

/// Writes a target; that of a client on HTTP/1.1 is nearly always in origin form.
fn push_target(buffer: &mut Vec<u8>, uri: &Uri) {
    match uri.path_and_query() {
        Some(path_and_query) if uri.authority().is_none() => {
            buffer.extend_from_slice(path_and_query.as_str().as_bytes());
        }
        // writing to memory does not fail
        _ => drop(write!(buffer, "{uri}")),
    }
}

/// The steps of a request that only its copy observes.
impl Record {
    /// An attempt has been signed.
    pub fn on_signed(&mut self, used: &SignatureRecord, input: &SigningInput) {
        if let Some(copy) = self.copy() {
            copy.on_signed(used, input);
        }
    }

    /// An attempt cannot be signed, so it is not sent.
    pub fn on_not_signed(&mut self, outbound: &OutboundRequest, route: &Route) {
        route.metrics.signing_failures.add(1);
        if let Some(copy) = self.copy() {
            copy.on_not_signed(outbound);
        }
    }

    /// The observer of an attempt's heads, if they are to be recorded.
    pub fn head_observer(&mut self) -> Option<&mut dyn HeadObserver> {
        self.copy().map(|copy| copy as &mut dyn HeadObserver)
    }

    /// The request has been read as far as its route needs it.
    /// `has_edits` is true if the route sets headers.
    pub fn on_inbound(&mut self, inbound: &mut InboundRequest, has_edits: bool) {
        if let Some(copy) = self.copy() {
            copy.on_inbound(inbound, has_edits);
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
