//! The response to the client, from AWS or from the sidecar, framed for the client's HTTP version.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use actix_http::{
    ConnectionType, Method, Request, Response, StatusCode, Version,
    body::{BodySize, MessageBody},
    header::{self, HeaderMap, HeaderValue},
};
use bytes::Bytes;
use futures_core::Stream;
use tokio::time::Instant;

use super::{
    deadline::{Deadline, DeadlineTimer},
    draining::{Draining, Watcher},
    grpc,
    record::Record,
};
use crate::{
    backend::ClientReply,
    client::ReplyBody,
    message::{error::ProxyError, header_map_pool as header_maps, headers::REQUEST_ID},
    resilience::admission::Permit,
    system::fault_points,
};

/// Framing of the response, as far as the request determines it.
#[derive(Debug, Clone, Copy)]
pub struct ResponseFraming {
    version: Version,
    to_head: bool,
    /// True if the connection closes after this response.
    is_last: bool,
    is_grpc: bool,
}

impl ResponseFraming {
    pub fn of(request: &Request) -> Self {
        Self {
            version: request.version(),
            to_head: request.method() == Method::HEAD,
            // a client that requested a tunnel may send arbitrary bytes next (RFC 9110, 9.3.6)
            is_last: request.method() == Method::CONNECT,
            is_grpc: grpc::is_call(request.head()),
        }
    }

    /// Closes the connection after this response if `is_last`.
    pub fn last_of_connection(&mut self, is_last: bool) {
        self.is_last |= is_last;
    }
}

/// A backend's response, and the guards that must live until its last byte.
pub(super) struct RoutedReply {
    pub(super) reply: ClientReply,
    pub(super) permit: Permit,
    pub(super) deadline: Deadline,
}

/// Builds the client's response from a backend's. At the deadline the body is aborted.
pub(super) fn response(
    answer: RoutedReply,
    draining: &Draining,
    mut record: Record,
    framing: ResponseFraming,
) -> Response<ClientBody> {
    let RoutedReply { reply, permit, deadline } = answer;
    let ClientReply { mut status, mut headers, body, length, notes: _ } = reply;
    let mut body = if framing.to_head || is_bodyless(status) { without_bytes(body, length) } else { body };
    let mut trailers = None;
    record.set_status(status);
    headers.insert(REQUEST_ID, record.request_id().clone());
    if framing.is_grpc {
        let reply = grpc::reply(status, headers, body);
        (status, headers, body, trailers) = (StatusCode::OK, reply.headers, reply.body, reply.trailers);
    }
    if let (StatusCode::NOT_MODIFIED, ReplyBody::None { length: Some(length) }) = (status, &body) {
        // the length of the body that a 200 would have (RFC 9110, 8.6)
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(*length));
    }
    let size = if trailers.is_some() { BodySize::Stream } else { size(&body, status, framing) };
    let mut body = ClientBody::new(size, body, record, framing);
    body.permit = Some(permit);
    body.trailers = trailers;
    if matches!(body.body, ReplyBody::Stream(_) | ReplyBody::Events(_)) {
        body.deadline = deadline.timer();
        body.draining = Some(draining.watch());
    }
    finish(status, headers, body, framing)
}

/// True if a response with this status has no body (RFC 9110, 6.4.1). The client would take a body for the
/// next response, and a function may return any status.
fn is_bodyless(status: StatusCode) -> bool {
    status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// Drops the body and keeps its length; the function's own `Content-Length` takes precedence. A function
/// usually writes no body for HEAD, so an empty body does not mean length 0 (RFC 9110, 8.6).
fn without_bytes(body: ReplyBody, own: Option<u64>) -> ReplyBody {
    let length = match body {
        ReplyBody::None { length } => length,
        ReplyBody::Whole(bytes) => own.or(Some(bytes.len() as u64).filter(|length| *length > 0)),
        ReplyBody::Stream(stream) => own.or(stream.length()),
        ReplyBody::Events(_) => own,
    };
    ReplyBody::None { length }
}

/// Builds the response for an error.
pub fn failure(error: &ProxyError, mut record: Record, framing: ResponseFraming) -> Response<ClientBody> {
    let (mut status, mut headers, text) = error.answer(record.request_id_text());
    record.set_status(status);
    headers.insert(REQUEST_ID, record.request_id().clone());
    let mut size = BodySize::Sized(text.len() as u64);
    let mut body = if framing.to_head { ReplyBody::None { length: None } } else { ReplyBody::Whole(text) };
    if framing.is_grpc {
        grpc::failure(&error.kind, &mut headers);
        (status, size, body) = (StatusCode::OK, BodySize::Sized(0), ReplyBody::None { length: None });
    }
    finish(status, headers, ClientBody::new(size, body, record, framing), framing)
}

fn finish(
    status: StatusCode,
    headers: HeaderMap,
    mut body: ClientBody,
    framing: ResponseFraming,
) -> Response<ClientBody> {
    body.record.on_response(&headers);
    let unknown_length = body.size == BodySize::Stream;
    let mut response = Response::with_body(status, body);
    header_maps::give_back(std::mem::replace(response.headers_mut(), headers));
    if status.canonical_reason().is_none() {
        // actix would write a placeholder; RFC 9112, 4, allows an empty reason phrase
        response.head_mut().reason = Some("");
    }
    let ends_with_connection = framing.version == Version::HTTP_10 && unknown_length;
    if ends_with_connection {
        // HTTP/1.0 has no chunked coding
        response.head_mut().no_chunking(true);
    }
    if ends_with_connection || framing.is_last {
        response.head_mut().set_connection_type(ConnectionType::Close);
    }
    response
}

fn size(body: &ReplyBody, status: StatusCode, framing: ResponseFraming) -> BodySize {
    match body {
        ReplyBody::Whole(bytes) => BodySize::Sized(bytes.len() as u64),
        ReplyBody::Stream(stream) => stream.length().map_or(BodySize::Stream, BodySize::Sized),
        ReplyBody::Events(_) => BodySize::Stream,
        ReplyBody::None { length } if framing.to_head => length.map_or(BodySize::None, BodySize::Sized),
        ReplyBody::None { .. } if is_bodyless(status) => BodySize::None,
        ReplyBody::None { .. } => BodySize::Sized(0),
    }
}

/// The body of a response, with the guards that live as long.
pub struct ClientBody {
    size: BodySize,
    body: ReplyBody,
    record: Record,
    framing: ResponseFraming,
    /// Counts the request as in flight until the body is dropped.
    permit: Option<Permit>,
    deadline: Option<DeadlineTimer>,
    /// Aborts a body that still streams when the drain is over.
    draining: Option<Watcher>,
    /// Trailers, if the client's HTTP version supports them.
    trailers: Option<HeaderMap>,
}

impl ClientBody {
    fn new(size: BodySize, body: ReplyBody, record: Record, framing: ResponseFraming) -> Self {
        Self { size, body, record, framing, permit: None, deadline: None, draining: None, trailers: None }
    }

    /// Records the bytes sent so far.
    pub fn sent(&mut self, bytes: u64) {
        self.record.on_body_sent(bytes);
    }

    /// Records that the whole response has been sent.
    pub fn complete(&mut self) {
        self.record.on_complete();
    }

    /// Records that not even the head has been sent.
    pub fn not_sent(&mut self) {
        self.record.clear_status();
    }

    /// Replaces a response of which nothing has been sent by one for `error`.
    pub fn into_failure(self, error: &ProxyError) -> Response<Self> {
        failure(error, self.record, self.framing)
    }

    /// True if the body may have bytes.
    pub fn has_bytes(&self) -> bool {
        !matches!(self.body, ReplyBody::None { .. })
    }

    /// The deadline, if there is one.
    pub fn due(&self) -> Option<Instant> {
        self.deadline.as_ref().map(DeadlineTimer::due)
    }

    fn poll_body(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, ProxyError>>> {
        match &mut self.body {
            ReplyBody::None { .. } => Poll::Ready(None),
            ReplyBody::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            ReplyBody::Whole(bytes) => Poll::Ready(Some(Ok(std::mem::take(bytes)))),
            ReplyBody::Stream(stream) => Pin::new(stream).poll_next(context),
            ReplyBody::Events(events) => Pin::new(events).poll_next(context),
        }
    }

    pub fn take_trailers(&mut self) -> Option<HeaderMap> {
        self.trailers.take()
    }
}

impl MessageBody for ClientBody {
    type Error = ProxyError;

    fn size(&self) -> BodySize {
        self.size
    }

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, ProxyError>>> {
        let this = self.get_mut();
        if let Some(deadline) = &mut this.deadline
            && let Poll::Ready(error) = deadline.poll(context)
        {
            this.deadline = None;
            this.record.on_error(&error);
            return Poll::Ready(Some(Err(error)));
        }
        let chunk = match this.poll_body(context) {
            Poll::Ready(chunk) => chunk,
            Poll::Pending => {
                let Some(draining) = &this.draining else { return Poll::Pending };
                Some(Err(ready!(draining.poll_abort(context))))
            }
        };
        match &chunk {
            Some(Ok(piece)) => {
                fault_points::pass("answer");
                this.record.on_response_piece(piece);
            }
            Some(Err(error)) => this.record.on_error(error),
            None => {
                if let ReplyBody::Events(events) = &mut this.body
                    && let Some(note) = events.take_log_tail()
                {
                    this.record.log_note(&note);
                }
            }
        }
        Poll::Ready(chunk)
    }
}
#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        client::EventStream,
        resilience::admission::{Admission, enter},
    };

    /// The size of a response's body and its first piece.
    fn sent(
        method: Method,
        status: StatusCode,
        body: ReplyBody,
    ) -> (BodySize, Option<Result<Bytes, ProxyError>>) {
        let mut request = Request::new();
        request.head_mut().method = method;
        let metrics = crate::metrics::Metrics::new();
        let reply = ClientReply { status, headers: HeaderMap::new(), body, length: None, notes: Vec::new() };
        let permit = enter(&Admission::new(1), None, &metrics.unrouted).unwrap();
        let record = Record::begin(&request, None, &metrics, false);
        let deadline = Deadline::of(None, record.started());
        let framing = ResponseFraming::of(&request);
        let response =
            response(RoutedReply { reply, permit, deadline }, &Draining::default(), record, framing);
        let mut seen = None;
        let _ = response.map_body(|_, mut body| {
            let mut context = Context::from_waker(std::task::Waker::noop());
            if let Poll::Ready(first) = Pin::new(&mut body).poll_next(&mut context) {
                seen = Some((body.size(), first));
            }
        });
        seen.expect("a body that keeps nobody waiting")
    }

    fn bodies() -> [ReplyBody; 2] {
        let events = EventStream::of_whole(Bytes::from_static(b"x"));
        [ReplyBody::Whole(Bytes::from_static(b"text")), ReplyBody::Events(Box::new(events))]
    }

    #[test]
    fn a_status_without_a_body_drops_what_the_function_wrote() {
        for status in [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED] {
            for body in bodies() {
                assert!(matches!(sent(Method::GET, status, body), (BodySize::None, None)), "{status}");
            }
        }
    }

    #[test]
    fn a_response_to_head_has_the_known_length_and_no_body() {
        let [whole, events] = bodies();
        assert!(matches!(sent(Method::HEAD, StatusCode::OK, whole), (BodySize::Sized(4), None)));
        assert!(matches!(sent(Method::HEAD, StatusCode::OK, events), (BodySize::None, None)));
    }

    #[test]
    fn an_event_stream_has_no_length_and_its_error_is_the_bodys() {
        let [_, events] = bodies();
        assert!(matches!(sent(Method::GET, StatusCode::OK, events), (BodySize::Stream, Some(Err(_)))));
    }
}
