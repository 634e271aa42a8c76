//! HTTP/1.1 towards clients: one request after the other, each answered before the next one is looked at.
//!
//! `accept.rs` comes here with each connection that does not begin like HTTP/2. Reading is `http1/inbox.rs`, writing
//! `http1/outbox.rs`, both over `actix-http`'s codec; in between is `proxy::serve`. Of `actix-http`'s own dispatcher nothing
//! is used: it has a time limit for the first head alone, runs ahead of the answers, refuses without a word, holds 64 KiB
//! for each connection, and at the end of the process closes connections without a look at what has come.

mod inbox;
mod outbox;

use std::{
    cell::RefCell,
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use actix_http::{
    BoxedPayloadStream, HttpMessage as _, Payload, Request, Response, ServiceConfig, Version,
    body::MessageBody as _, error::PayloadError, h1::Codec, header,
};
use bytes::Bytes;
use futures_core::Stream;
use tokio::{
    io::AsyncWrite as _,
    time::{Instant, timeout, timeout_at},
};

use self::{
    inbox::{End, Inbox},
    outbox::Outbox,
};
use super::{
    draining::{Draining, Watcher},
    patience::Patience,
    server::Server,
    transport::Transport,
};
use crate::{
    error::{ErrorKind, ProxyError},
    metrics::Metrics,
    proxy::{self, reply::ClientBody, request_body::Intake},
    settings::Limits,
};

/// How long a client that is told that its connection ends may go on sending, so that it reads the answer instead of a
/// reset.
const LINGER: Duration = Duration::from_secs(2);
/// Of the length of a body that does not come with its head: ten thousand bytes.
const DIGITS_OF_LARGE: usize = 5;
/// How long a client has for the rest of its request when the process ends.
const LAST_CALL: Duration = Duration::from_secs(1);

/// Serves one connection to its end. The head of its first request is due at `due`.
pub async fn serve(
    server: &Rc<Server>,
    limits: &Limits,
    transport: Transport,
    peer: Option<SocketAddr>,
    due: Instant,
) {
    let is_secure = transport.is_secure();
    let connection =
        Connection(Rc::new(RefCell::new(Sides::new(transport, server.config.clone(), limits.max_uri))));
    let mut waiting = Waiting::new(limits, due, &server.draining);
    loop {
        let mut request = match poll_fn(|context| waiting.poll(&connection, context)).await {
            Ok(request) => request,
            Err(End::Gone) => return,
            Err(End::Refused(error)) => return connection.refuse(&error, &server.worker.metrics).await,
        };
        let version = request.version();
        request.head_mut().peer_addr = peer;
        let request = connection.with_body(request);
        // on the heap for as long as it lasts: a connection that waits need not have room for it
        let serving = Box::pin(proxy::serve(Rc::clone(&server.worker), request, is_secure));
        let Some(response) = connection.unless_left(serving).await else { return };
        match connection.answer(response, version).await {
            Ok(true) => {}
            Ok(false) => return connection.linger().await,
            Err(error) => {
                log::debug!("an answer to a client was broken off: {error}");
                return;
            }
        }
    }
}

/// A connection, shared with the body of the request that is being served.
#[derive(Clone)]
struct Connection(Rc<RefCell<Sides>>);

/// The two sides of a connection and what is between them.
struct Sides {
    transport: Transport,
    codec: Codec,
    inbox: Inbox,
    outbox: Outbox,
    /// Whether an answer has begun and is not over.
    is_answering: bool,
}

impl Sides {
    fn new(transport: Transport, config: ServiceConfig, max_uri: u64) -> Self {
        let codec = Codec::new(config.clone());
        let inbox = Inbox::new(max_uri, config);
        Self { transport, codec, inbox, outbox: Outbox::default(), is_answering: false }
    }

    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outbox.poll_send(&mut self.transport, context)
    }

    fn poll_left(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.inbox.poll_left(&mut self.transport, context)
    }
}

impl Drop for Sides {
    /// An answer that is cut must not seem whole, as one without an end mark would.
    fn drop(&mut self) {
        if self.is_answering {
            self.transport.abort();
        }
    }
}

impl Connection {
    /// Gives a request the body that comes behind it.
    fn with_body(&self, request: Request) -> Request {
        if !self.0.borrow().inbox.has_body() {
            return request;
        }
        let length = request.headers().get(header::CONTENT_LENGTH);
        if length.is_some_and(|length| length.len() >= DIGITS_OF_LARGE) {
            let intake: Rc<dyn Intake> = Rc::new(RequestBody(self.clone()));
            request.extensions_mut().insert(intake);
        }
        let body: BoxedPayloadStream = Box::pin(RequestBody(self.clone()));
        request.replace_payload(Payload::Stream { payload: body }).0
    }

    /// Waits for the answer, unless the client leaves before.
    async fn unless_left<T, E>(
        &self,
        mut serving: Pin<Box<impl Future<Output = Result<T, E>>>>,
    ) -> Option<T> {
        poll_fn(|context| {
            if let Poll::Ready(result) = serving.as_mut().poll(context) {
                return Poll::Ready(result.ok());
            }
            self.0.borrow_mut().poll_left(context).map(|()| None)
        })
        .await
    }

    /// Sends an answer as it comes, and says whether another request may follow.
    async fn answer(&self, response: Response<ClientBody>, version: Version) -> io::Result<bool> {
        let (response, body) = response.into_parts();
        let keeps = self.begin(response, &body, version)?;
        let mut body = pin!(body);
        if body.has_bytes() {
            self.send_body(body.as_mut()).await?;
        }
        poll_fn(|context| self.0.borrow_mut().poll_send(context)).await?;
        let sides = &mut *self.0.borrow_mut();
        sides.is_answering = false;
        sides.outbox.rest();
        Ok(keeps)
    }

    async fn send_body(&self, mut body: Pin<&mut ClientBody>) -> io::Result<()> {
        while let Some(piece) = poll_fn(|context| self.poll_next(body.as_mut(), context)).await? {
            self.0.borrow_mut().outbox.put(piece);
            if self.0.borrow().outbox.is_full() {
                let sending = poll_fn(|context| self.0.borrow_mut().poll_send(context));
                match body.due() {
                    None => sending.await?,
                    // the body says then that it is late
                    Some(due) => timeout_at(due, sending).await.unwrap_or(Ok(()))?,
                }
            }
        }
        self.0.borrow_mut().outbox.finish()
    }

    /// Puts the head in. The connection ends with an answer that does not wait for the request's whole body.
    fn begin(&self, mut response: Response<()>, body: &ClientBody, version: Version) -> io::Result<bool> {
        let sides = &mut *self.0.borrow_mut();
        if !sides.inbox.has_whole_body(&mut sides.codec) {
            outbox::close(&mut response);
        }
        sides.inbox.expect_no_more();
        sides.is_answering = true;
        sides.outbox.begin(response, body.size(), version, &mut sides.codec)?;
        Ok(sides.codec.keep_alive())
    }

    /// The next piece of an answer's body. While there is none, what is there is sent, and the client watched.
    fn poll_next(
        &self,
        body: Pin<&mut ClientBody>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<Option<Bytes>>> {
        match body.poll_next(context) {
            Poll::Ready(Some(Ok(piece))) => return Poll::Ready(Ok(Some(piece))),
            // the body has told the log why
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(io::Error::other(error))),
            Poll::Ready(None) => return Poll::Ready(Ok(None)),
            Poll::Pending => {}
        }
        let mut sides = self.0.borrow_mut();
        if let Poll::Ready(Err(error)) = sides.poll_send(context) {
            return Poll::Ready(Err(error));
        }
        sides.poll_left(context).map(|()| Err(io::ErrorKind::ConnectionAborted.into()))
    }

    /// Answers what is no request: nobody else does, or logs it.
    async fn refuse(&self, error: &ProxyError, metrics: &Metrics) {
        let id = proxy::refused(error, metrics);
        self.0.borrow_mut().outbox.put_raw(&error.on_the_wire(&id));
        if poll_fn(|context| self.0.borrow_mut().poll_send(context)).await.is_ok() {
            self.linger().await;
        }
    }

    /// Ends the connection from our side, and reads on for a while: what is unread when it closes would cost the client
    /// the answer.
    async fn linger(&self) {
        let ended = poll_fn(|context| Pin::new(&mut self.0.borrow_mut().transport).poll_shutdown(context));
        if ended.await.is_ok() {
            let gone = poll_fn(|context| {
                let sides = &mut *self.0.borrow_mut();
                sides.inbox.poll_discard(&mut sides.transport, context)
            });
            let _ = timeout(LINGER, gone).await;
        }
    }
}

/// The body of the request that is being served.
struct RequestBody(Connection);

impl Stream for RequestBody {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let sides = &mut *self.0.0.borrow_mut();
        sides.inbox.poll_body(&mut sides.transport, &mut sides.codec, context)
    }
}

impl Intake for RequestBody {
    fn poll_into(
        &self,
        body: &mut Vec<u8>,
        left: usize,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), PayloadError>> {
        let sides = &mut *self.0.0.borrow_mut();
        sides.inbox.poll_body_into(&mut sides.transport, body, left, context)
    }
}

/// The wait for a request, which has a limit in each of its phases.
struct Waiting {
    header_timeout: Duration,
    keep_alive: Duration,
    draining: Watcher,
    phase: Phase,
    /// Whether the process is about to end, which has shortened the limit.
    is_last_call: bool,
    patience: Patience,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The limit is not set yet.
    New,
    /// Nothing has ever come.
    Fresh,
    /// Nothing of the next request has come.
    Idle,
    /// A part of its head has.
    Head,
}

impl Waiting {
    fn new(limits: &Limits, due: Instant, draining: &Draining) -> Self {
        let mut patience = Patience::default();
        patience.until(due);
        Self {
            header_timeout: limits.header_timeout,
            keep_alive: limits.keep_alive,
            draining: draining.watch(),
            phase: Phase::Fresh,
            is_last_call: false,
            patience,
        }
    }

    /// The next request, or why there is none.
    fn poll(&mut self, connection: &Connection, context: &mut Context<'_>) -> Poll<Result<Request, End>> {
        let sides = &mut *connection.0.borrow_mut();
        if let Poll::Ready(result) = sides.inbox.poll_request(&mut sides.transport, &mut sides.codec, context)
        {
            self.phase = Phase::New;
            return Poll::Ready(result);
        }
        if sides.inbox.is_empty() {
            sides.inbox.rest();
        }
        self.set_limit(sides.inbox.is_empty());
        if self.draining.poll(context).is_ready() {
            if self.phase == Phase::Idle {
                // nothing has come, and the kernel holds nothing either
                return Poll::Ready(Err(End::Gone));
            }
            if !std::mem::replace(&mut self.is_last_call, true) {
                self.patience.until(Instant::now() + LAST_CALL.min(self.header_timeout));
            }
        }
        ready!(self.patience.poll(context));
        Poll::Ready(Err(match self.phase {
            // who came too late to be served has nothing to be told
            Phase::Fresh if self.is_last_call => End::Gone,
            Phase::Fresh | Phase::Head => {
                End::Refused(ProxyError::new(ErrorKind::RequestTimeout, "its head took too long"))
            }
            Phase::New | Phase::Idle => End::Gone,
        }))
    }

    fn set_limit(&mut self, is_empty: bool) {
        let (phase, limit) = match (self.phase, is_empty) {
            (Phase::New, true) => (Phase::Idle, Some(self.keep_alive)),
            (Phase::New | Phase::Idle, false) => (Phase::Head, Some(self.header_timeout)),
            // the limit of a new connection is for its first head too
            (Phase::Fresh, false) => (Phase::Head, None),
            (Phase::Fresh | Phase::Idle, true) | (Phase::Head, _) => return,
        };
        self.phase = phase;
        if let Some(limit) = limit {
            self.patience.until(Instant::now() + limit);
        }
    }
}
