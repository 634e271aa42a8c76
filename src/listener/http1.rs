//! HTTP/1.1 towards clients: one request after the other, each answered before the next one is parsed.
//!
//! `accept.rs` passes each connection here that does not begin with the preface of HTTP/2.
//! `http1/request_reader.rs` reads, `http1/response_writer.rs` writes, both with `actix-http`'s codec;
//! `proxy::serve` is between them. `actix-http`'s dispatcher is not used: it has a time limit for the first
//! head only, parses requests before earlier responses are sent, logs no refusals, holds 64 KiB for each
//! connection, and at the end of the process closes connections without reading what has arrived.

mod request_reader;
mod response_writer;
mod waiting;

use std::{
    cell::RefCell,
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use actix_http::{
    BoxedPayloadStream, ConnectionType, HttpMessage as _, Payload, Request, Response, ServiceConfig, Version,
    body::{BodySize, MessageBody as _},
    error::PayloadError,
    h1::Codec,
    header,
};
use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use tokio::{
    io::AsyncWrite as _,
    time::{Instant, timeout, timeout_at},
};

use self::{
    request_reader::{ConnectionEnd, RequestReader},
    response_writer::ResponseWriter,
    waiting::RequestWait,
};
use super::{LINGER, Server, transport::Transport};
use crate::{
    message::{
        client_link::ClientLink,
        error::{ErrorKind, ProxyError},
        request_body::{DirectRead, Incoming},
    },
    metrics::Metrics,
    proxy::{self, Worker, reply::ClientBody},
    settings::Limits,
};

/// Time for a client to receive the beginning of a response before a reset, which discards bytes in transit.
const RESET_DELAY: Duration = Duration::from_millis(250);
/// Bytes of a response that are buffered until it is complete, where the client could not detect a
/// truncation.
const MAX_BUFFERED: usize = 16 << 20;
/// Digits of `Content-Length` from which a body does not arrive with its head: ten thousand bytes.
const LARGE_BODY_DIGITS: usize = 5;

/// Serves one connection to its end. The head of its first request is due at `due`.
pub async fn serve(
    server: &Rc<Server>,
    limits: &Limits,
    transport: Transport,
    peer: Option<SocketAddr>,
    due: Instant,
) {
    let link = transport.link();
    let state = ConnectionState::new(transport, server.date_source.config(), limits.max_uri);
    let connection = Http1Connection(Rc::new(RefCell::new(state)));
    let mut waiting = RequestWait::new(limits, due, &server.worker.draining);
    loop {
        let next =
            poll_fn(|context| waiting.poll(&connection, server.worker.current.keeps_spelling(), context));
        let mut request = match next.await {
            Ok(request) => request,
            Err(ConnectionEnd::Closed) => return,
            Err(ConnectionEnd::Refused(error)) => {
                return connection.refuse(&error, &server.worker.metrics).await;
            }
        };
        request.head_mut().peer_addr = peer;
        // on the heap: a connection that waits for its next request needs no memory for it
        match Box::pin(connection.exchange(&server.worker, request, link)).await {
            NextStep::Request => {}
            NextStep::Close => return connection.linger().await,
            NextStep::Reset => return connection.reset().await,
            NextStep::Drop => return,
        }
    }
}

/// The step after a response.
enum NextStep {
    /// The connection may serve another request.
    Request,
    /// The connection is closed: the response is complete, or its framing shows that it is not.
    Close,
    /// The connection is reset: a response that ends with its connection would look complete otherwise.
    Reset,
    /// The connection is dropped: the client has closed it, or reads nothing.
    Drop,
}

/// The cause of a response that is not sent to its end.
enum ResponseFailure {
    /// Its body failed; the cause is logged.
    Body(ProxyError),
    /// The client closed the connection, or the head cannot be written.
    Client(io::Error),
}

impl From<io::Error> for ResponseFailure {
    fn from(error: io::Error) -> Self {
        Self::Client(error)
    }
}

/// A connection, shared with the body of the current request.
#[derive(Clone)]
struct Http1Connection(Rc<RefCell<ConnectionState>>);

struct ConnectionState {
    transport: Transport,
    codec: Codec,
    reader: RequestReader,
    writer: ResponseWriter,
    /// A response has begun and is not complete.
    is_answering: bool,
}

impl ConnectionState {
    fn new(transport: Transport, config: ServiceConfig, max_uri: u64) -> Self {
        let codec = Codec::new(config.clone());
        let reader = RequestReader::new(max_uri, config);
        Self { transport, codec, reader, writer: ResponseWriter::default(), is_answering: false }
    }

    fn poll_closed(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.reader.poll_closed(&mut self.transport, context)
    }
}

impl Drop for ConnectionState {
    /// Resets the connection if a truncated response would look complete, as one without an end mark does.
    fn drop(&mut self) {
        if self.is_answering && self.writer.ends_with_connection() {
            self.transport.abort();
        }
    }
}

impl Http1Connection {
    /// The body of a request.
    fn body_of(&self, request: &Request) -> Incoming {
        if !self.0.borrow().reader.has_body() {
            return Payload::None.into();
        }
        let length = request.headers().get(header::CONTENT_LENGTH);
        let is_large = length.is_some_and(|length| length.len() >= LARGE_BODY_DIGITS);
        let payload: BoxedPayloadStream = Box::pin(Http1Body(self.clone()));
        Incoming {
            payload: Payload::Stream { payload },
            direct: is_large.then(|| Box::new(Http1Body(self.clone())) as Box<dyn DirectRead>),
        }
    }

    /// Serves a request and sends its response.
    async fn exchange(&self, worker: &Rc<Worker>, request: Request, link: ClientLink) -> NextStep {
        let version = request.version();
        let body = self.body_of(&request);
        let response = {
            let serving = pin!(proxy::serve(Rc::clone(worker), request, body, link));
            self.unless_closed(serving).await
        };
        match response {
            Some(response) => self.answer(response, version).await,
            None => NextStep::Drop,
        }
    }

    /// Awaits the response; `None` if the client closes the connection first.
    async fn unless_closed<T, E>(
        &self,
        mut serving: Pin<&mut impl Future<Output = Result<T, E>>>,
    ) -> Option<T> {
        poll_fn(|context| {
            if let Poll::Ready(result) = serving.as_mut().poll(context) {
                return Poll::Ready(result.ok());
            }
            self.0.borrow_mut().poll_closed(context).map(|()| None)
        })
        .await
    }

    /// Sends a response as its body arrives.
    ///
    /// If the body fails, everything received of it is still sent before the connection breaks. A connection
    /// that ends without a byte of the response would look like a stale one, on which clients send a request
    /// again, a POST too (curl does). So a body that fails before anything was sent is replaced by an error
    /// response.
    async fn answer(&self, mut response: Response<ClientBody>, version: Version) -> NextStep {
        loop {
            let (head, mut body) = response.into_parts();
            match self.send(head, &mut body, version).await {
                Ok(keeps) => {
                    body.complete();
                    return if keeps { NextStep::Request } else { NextStep::Close };
                }
                Err(ResponseFailure::Client(error)) => {
                    if !self.0.borrow().writer.has_written {
                        body.not_sent();
                    }
                    log::debug!("response to a client aborted: {error}");
                    return NextStep::Drop;
                }
                Err(ResponseFailure::Body(error)) => {
                    if !self.0.borrow_mut().writer.discard() {
                        return self.flush_truncated(&mut body).await;
                    }
                    response = body.into_failure(&error);
                }
            }
        }
    }

    /// Sends a response; true if another request may follow.
    async fn send(
        &self,
        head: Response<()>,
        body: &mut ClientBody,
        version: Version,
    ) -> Result<bool, ResponseFailure> {
        let keeps = if version != Version::HTTP_11 && self.0.borrow().transport.hides_truncation() {
            let whole = self.buffer_body(body).await?;
            let keeps = self.begin(head, whole.as_ref().map_or(body.size(), Bytes::size), version)?;
            self.0.borrow_mut().writer.put(whole.unwrap_or_default());
            keeps
        } else {
            self.begin(head, body.size(), version)?
        };
        if body.has_bytes() {
            self.send_body(body).await?;
        }
        poll_fn(|context| self.poll_send(body, context)).await?;
        let state = &mut *self.0.borrow_mut();
        state.is_answering = false;
        state.writer.shrink();
        Ok(keeps)
    }

    /// Reads a body of unknown length to its end, for a client that cannot detect a truncation.
    async fn buffer_body(&self, body: &mut ClientBody) -> Result<Option<Bytes>, ResponseFailure> {
        if body.size() != BodySize::Stream || !body.has_bytes() {
            return Ok(None);
        }
        let mut whole = BytesMut::new();
        while let Some(piece) = poll_fn(|context| self.poll_next(body, context)).await? {
            if whole.len() + piece.len() > MAX_BUFFERED {
                let cause = format!(
                    "a response of unknown length to HTTP/1.0 on a Unix socket must not exceed \
                     {MAX_BUFFERED} bytes: use HTTP/1.1"
                );
                return Err(ResponseFailure::Body(ProxyError::new(ErrorKind::UpstreamTruncated, cause)));
            }
            whole.extend_from_slice(&piece);
        }
        Ok(Some(whole.freeze()))
    }

    async fn send_body(&self, body: &mut ClientBody) -> Result<(), ResponseFailure> {
        while let Some(piece) = poll_fn(|context| self.poll_next(body, context)).await? {
            self.0.borrow_mut().writer.put(piece);
            if self.0.borrow().writer.is_full() {
                let due = body.due();
                let sending = poll_fn(|context| self.poll_send(body, context));
                match due {
                    None => sending.await?,
                    // the body then reports its time-out
                    Some(due) => timeout_at(due, sending).await.unwrap_or(Ok(()))?,
                }
            }
        }
        self.0.borrow_mut().writer.finish()?;
        Ok(())
    }

    /// Sends what is buffered of a response whose body has failed.
    async fn flush_truncated(&self, body: &mut ClientBody) -> NextStep {
        let flush = poll_fn(|context| self.poll_send(body, context));
        if !matches!(timeout(LINGER, flush).await, Ok(Ok(()))) {
            return NextStep::Drop;
        }
        if self.0.borrow().writer.ends_with_connection() { NextStep::Reset } else { NextStep::Close }
    }

    /// Sends what is buffered, and records the bytes of the body that the kernel has taken.
    fn poll_send(&self, body: &mut ClientBody, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let state = &mut *self.0.borrow_mut();
        let sent = state.writer.poll_send(&mut state.transport, context);
        body.sent(state.writer.written_body);
        sent
    }

    /// Buffers the head; true if the connection stays open. It is closed after a response that does not wait
    /// for the request's whole body.
    fn begin(&self, mut head: Response<()>, size: BodySize, version: Version) -> io::Result<bool> {
        let state = &mut *self.0.borrow_mut();
        if !state.reader.drop_rest_of_body() {
            head.head_mut().set_connection_type(ConnectionType::Close);
        }
        state.reader.drop_continue();
        state.is_answering = true;
        state.writer.begin(head, size, version, &mut state.codec)?;
        Ok(state.codec.keep_alive())
    }

    /// The next piece of a response's body. While it is pending, the buffer is sent and the client is
    /// watched.
    fn poll_next(
        &self,
        body: &mut ClientBody,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, ResponseFailure>> {
        if let Poll::Ready(piece) = Pin::new(&mut *body).poll_next(context) {
            return Poll::Ready(piece.transpose().map_err(ResponseFailure::Body));
        }
        if let Poll::Ready(Err(error)) = self.poll_send(body, context) {
            return Poll::Ready(Err(error.into()));
        }
        let closed = self.0.borrow_mut().poll_closed(context);
        closed.map(|()| Err(ResponseFailure::Client(io::ErrorKind::ConnectionAborted.into())))
    }

    /// Sends and logs the error for bytes that are not a valid request.
    async fn refuse(&self, error: &ProxyError, metrics: &Metrics) {
        let id = proxy::refused(error, metrics);
        self.0.borrow_mut().writer.put_raw(&error.http1_response(&id));
        let flush = poll_fn(|context| {
            let state = &mut *self.0.borrow_mut();
            state.writer.poll_send(&mut state.transport, context)
        });
        if flush.await.is_ok() {
            self.linger().await;
        }
    }

    /// Resets the connection, after [`RESET_DELAY`] for the client to receive what was sent.
    async fn reset(&self) {
        self.discard(RESET_DELAY).await;
        self.0.borrow().transport.abort();
    }

    /// Shuts down the sending side, and discards what the client sends for [`LINGER`]: unread bytes at the
    /// close would cost the client the response.
    async fn linger(&self) {
        let ended = poll_fn(|context| Pin::new(&mut self.0.borrow_mut().transport).poll_shutdown(context));
        if ended.await.is_ok() {
            self.discard(LINGER).await;
        }
    }

    /// Discards what the client sends, until it closes the connection or the time is up.
    async fn discard(&self, limit: Duration) {
        let closed = poll_fn(|context| {
            let state = &mut *self.0.borrow_mut();
            state.reader.poll_discard(&mut state.transport, context)
        });
        let _ = timeout(limit, closed).await;
    }
}

/// The body of the current request.
struct Http1Body(Http1Connection);

impl Stream for Http1Body {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let state = &mut *self.0.0.borrow_mut();
        state.reader.poll_body(&mut state.transport, context)
    }
}

impl DirectRead for Http1Body {
    fn poll_into(
        &self,
        body: &mut Vec<u8>,
        left: usize,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), PayloadError>> {
        let state = &mut *self.0.0.borrow_mut();
        state.reader.poll_body_into(&mut state.transport, body, left, context)
    }
}
