//! HTTP/1.1 towards clients: one request after the other, each answered before the next one is looked at.
//!
//! `accept.rs` comes here with each connection that does not begin like HTTP/2. Reading is `http1/request_reader.rs`,
//! writing `http1/response_writer.rs`, both over `actix-http`'s codec; in between is `proxy::serve`. Of
//! `actix-http`'s own dispatcher nothing is used: it has a time limit for the first head alone, runs ahead of the
//! answers, refuses without a word, holds 64 KiB for each connection, and at the end of the process closes
//! connections without a look at what has come.

mod request_reader;
mod response_writer;
mod waiting;

use std::{
    cell::RefCell,
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use actix_http::{
    BoxedPayloadStream, HttpMessage as _, Payload, Request, Response, ServiceConfig, Version,
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
    waiting::Waiting,
};
use super::{LINGER, server::Server, transport::Transport};
use crate::{
    message::{
        error::{ErrorKind, ProxyError},
        request_body::{DirectRead, Incoming},
    },
    metrics::Metrics,
    proxy::{self, reply::ClientBody},
    settings::Limits,
};

/// Time for a client to receive the beginning of an answer that is cut by a reset: a reset discards what is on its way.
const RESET_DELAY: Duration = Duration::from_millis(250);
/// Bytes of an answer that are held until it is whole, where a cut would not show.
const MOST_GATHERED: usize = 16 << 20;
/// Of the length of a body that does not come with its head: ten thousand bytes.
const DIGITS_OF_LARGE: usize = 5;

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
        Http1Connection(Rc::new(RefCell::new(Sides::new(transport, server.dated.config(), limits.max_uri))));
    let mut waiting = Waiting::new(limits, due, &server.draining);
    loop {
        let mut request = match poll_fn(|context| waiting.poll(&connection, context)).await {
            Ok(request) => request,
            Err(ConnectionEnd::Gone) => return,
            Err(ConnectionEnd::Refused(error)) => {
                return connection.refuse(&error, &server.worker.metrics).await;
            }
        };
        let version = request.version();
        request.head_mut().peer_addr = peer;
        let body = connection.body_of(&request);
        // on the heap for as long as it lasts: a connection that waits need not have room for it
        let serving = Box::pin(proxy::serve(Rc::clone(&server.worker), request, body, is_secure));
        let Some(response) = connection.unless_left(serving).await else { return };
        match connection.answer(response, version).await {
            Next::Request => {}
            Next::Close => return connection.linger().await,
            Next::Reset => return connection.reset().await,
            Next::Drop => return,
        }
    }
}

/// The use of a connection after an answer.
enum Next {
    /// It may serve another request.
    Request,
    /// It ends in good order: the answer is whole, or its framing shows that it is not.
    Close,
    /// It is reset: an answer that ends with its connection would look whole otherwise.
    Reset,
    /// The client has left, or takes nothing.
    Drop,
}

/// The cause of an answer that is not sent to its end.
enum Broken {
    /// Its body failed, which is in the log already.
    Body(ProxyError),
    /// The client left, or its head cannot be written.
    Client(io::Error),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::Client(error)
    }
}

/// A connection, shared with the body of the request that is being served.
#[derive(Clone)]
struct Http1Connection(Rc<RefCell<Sides>>);

/// The two sides of a connection and what is between them.
struct Sides {
    transport: Transport,
    codec: Codec,
    reader: RequestReader,
    writer: ResponseWriter,
    /// Whether an answer has begun and is not over.
    is_answering: bool,
}

impl Sides {
    fn new(transport: Transport, config: ServiceConfig, max_uri: u64) -> Self {
        let codec = Codec::new(config.clone());
        let reader = RequestReader::new(max_uri, config);
        Self { transport, codec, reader, writer: ResponseWriter::default(), is_answering: false }
    }

    fn poll_left(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.reader.poll_left(&mut self.transport, context)
    }
}

impl Drop for Sides {
    /// An answer that is cut must not seem whole, as one without an end mark would.
    fn drop(&mut self) {
        if self.is_answering && self.writer.ends_with_connection() {
            self.transport.abort();
        }
    }
}

impl Http1Connection {
    /// The body that comes behind a request's head.
    fn body_of(&self, request: &Request) -> Incoming {
        if !self.0.borrow().reader.has_body() {
            return Payload::None.into();
        }
        let length = request.headers().get(header::CONTENT_LENGTH);
        let is_large = length.is_some_and(|length| length.len() >= DIGITS_OF_LARGE);
        let payload: BoxedPayloadStream = Box::pin(Http1Body(self.clone()));
        Incoming {
            payload: Payload::Stream { payload },
            direct: is_large.then(|| Box::new(Http1Body(self.clone())) as Box<dyn DirectRead>),
        }
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

    /// Sends an answer as it comes.
    ///
    /// If the body fails, what was received of it still goes out before the connection breaks. A connection that ends
    /// without a byte of the answer would look like a stale one, on which clients send a request again, a POST too
    /// (curl does). So a body that fails before anything was sent becomes an answer of our own.
    async fn answer(&self, mut response: Response<ClientBody>, version: Version) -> Next {
        loop {
            let (head, mut body) = response.into_parts();
            match self.send(head, &mut body, version).await {
                Ok(keeps) => {
                    body.complete();
                    return if keeps { Next::Request } else { Next::Close };
                }
                Err(Broken::Client(error)) => {
                    if !self.0.borrow().writer.has_written() {
                        body.not_sent();
                    }
                    log::debug!("response to a client aborted: {error}");
                    return Next::Drop;
                }
                Err(Broken::Body(error)) => {
                    if !self.0.borrow_mut().writer.take_back() {
                        return self.flush_cut(&mut body).await;
                    }
                    response = body.into_failure(&error);
                }
            }
        }
    }

    /// Sends an answer, and tells whether another request may follow.
    async fn send(
        &self,
        head: Response<()>,
        body: &mut ClientBody,
        version: Version,
    ) -> Result<bool, Broken> {
        let keeps = if version != Version::HTTP_11 && self.0.borrow().transport.hides_cuts() {
            let whole = self.gather(body).await?;
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
        let sides = &mut *self.0.borrow_mut();
        sides.is_answering = false;
        sides.writer.rest();
        Ok(keeps)
    }

    /// Reads a body of unknown length to its end, for a client that could not tell a cut from the end.
    async fn gather(&self, body: &mut ClientBody) -> Result<Option<Bytes>, Broken> {
        if body.size() != BodySize::Stream || !body.has_bytes() {
            return Ok(None);
        }
        let mut whole = BytesMut::new();
        while let Some(piece) = poll_fn(|context| self.poll_next(body, context)).await? {
            if whole.len() + piece.len() > MOST_GATHERED {
                let cause = format!(
                    "a response of unknown length to HTTP/1.0 on a Unix socket must not exceed \
                     {MOST_GATHERED} bytes: use HTTP/1.1"
                );
                return Err(Broken::Body(ProxyError::new(ErrorKind::UpstreamTruncated, cause)));
            }
            whole.extend_from_slice(&piece);
        }
        Ok(Some(whole.freeze()))
    }

    async fn send_body(&self, body: &mut ClientBody) -> Result<(), Broken> {
        while let Some(piece) = poll_fn(|context| self.poll_next(body, context)).await? {
            self.0.borrow_mut().writer.put(piece);
            if self.0.borrow().writer.is_full() {
                let due = body.due();
                let sending = poll_fn(|context| self.poll_send(body, context));
                match due {
                    None => sending.await?,
                    // the body says then that it is late
                    Some(due) => timeout_at(due, sending).await.unwrap_or(Ok(()))?,
                }
            }
        }
        self.0.borrow_mut().writer.finish()?;
        Ok(())
    }

    /// Sends what is at hand of an answer whose body has failed.
    async fn flush_cut(&self, body: &mut ClientBody) -> Next {
        let flush = poll_fn(|context| self.poll_send(body, context));
        if !matches!(timeout(LINGER, flush).await, Ok(Ok(()))) {
            return Next::Drop;
        }
        if self.0.borrow().writer.ends_with_connection() { Next::Reset } else { Next::Close }
    }

    /// Sends what is at hand, and records how much of the body has left.
    fn poll_send(&self, body: &mut ClientBody, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let sides = &mut *self.0.borrow_mut();
        let sent = sides.writer.poll_send(&mut sides.transport, context);
        body.sent(sides.writer.written_body());
        sent
    }

    /// Puts the head in. The connection ends with an answer that does not wait for the request's whole body.
    fn begin(&self, mut head: Response<()>, size: BodySize, version: Version) -> io::Result<bool> {
        let sides = &mut *self.0.borrow_mut();
        if !sides.reader.drop_rest_of_body() {
            response_writer::close(&mut head);
        }
        sides.reader.expect_no_more();
        sides.is_answering = true;
        sides.writer.begin(head, size, version, &mut sides.codec)?;
        Ok(sides.codec.keep_alive())
    }

    /// The next piece of an answer's body. While there is none, what is there is sent, and the client watched.
    fn poll_next(
        &self,
        body: &mut ClientBody,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, Broken>> {
        match Pin::new(&mut *body).poll_next(context) {
            Poll::Ready(Some(Ok(piece))) => return Poll::Ready(Ok(Some(piece))),
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(Broken::Body(error))),
            Poll::Ready(None) => return Poll::Ready(Ok(None)),
            Poll::Pending => {}
        }
        if let Poll::Ready(Err(error)) = self.poll_send(body, context) {
            return Poll::Ready(Err(error.into()));
        }
        let left = self.0.borrow_mut().poll_left(context);
        left.map(|()| Err(Broken::Client(io::ErrorKind::ConnectionAborted.into())))
    }

    /// Answers what is no request: nobody else does, or logs it.
    async fn refuse(&self, error: &ProxyError, metrics: &Metrics) {
        let id = proxy::refused(error, metrics);
        self.0.borrow_mut().writer.put_raw(&error.http1_response(&id));
        let flush = poll_fn(|context| {
            let sides = &mut *self.0.borrow_mut();
            sides.writer.poll_send(&mut sides.transport, context)
        });
        if flush.await.is_ok() {
            self.linger().await;
        }
    }

    /// Resets the connection, once the client has had the time to receive what was sent.
    async fn reset(&self) {
        self.discard(RESET_DELAY).await;
        self.0.borrow().transport.abort();
    }

    /// Ends the connection from our side, and reads on for a while: what is unread when it closes would cost the client
    /// the answer.
    async fn linger(&self) {
        let ended = poll_fn(|context| Pin::new(&mut self.0.borrow_mut().transport).poll_shutdown(context));
        if ended.await.is_ok() {
            self.discard(LINGER).await;
        }
    }

    /// Reads on and drops it, until the client has left or time is up.
    async fn discard(&self, limit: Duration) {
        let gone = poll_fn(|context| {
            let sides = &mut *self.0.borrow_mut();
            sides.reader.poll_discard(&mut sides.transport, context)
        });
        let _ = timeout(limit, gone).await;
    }
}

/// The body of the request that is being served.
struct Http1Body(Http1Connection);

impl Stream for Http1Body {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let sides = &mut *self.0.0.borrow_mut();
        sides.reader.poll_body(&mut sides.transport, context)
    }
}

impl DirectRead for Http1Body {
    fn poll_into(
        &self,
        body: &mut Vec<u8>,
        left: usize,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), PayloadError>> {
        let sides = &mut *self.0.0.borrow_mut();
        sides.reader.poll_body_into(&mut sides.transport, body, left, context)
    }
}
