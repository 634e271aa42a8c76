//! A client's connection with HTTP/1.1, watched in the respects that actix leaves open.
//!
//! - What actix refuses on its own (a head that is malformed or too large) it answers with a bare status that no
//!   handler sees; here that becomes an answer like all others, with a code, a request id and a line in the log.
//! - A body that has no end mark, as in HTTP/1.0, must not seem whole when it was cut: the connection is then reset
//!   instead of closed.
//! - Requests come one after the other, and their request lines are taken as clients send them (`boundaries.rs`).
//! - Every head has its time limit, where actix has one for the first alone, and so has the wait for the next.
//! - At the end of the process a connection closes between two requests, and only after a look at whether the next
//!   one is here already, which actix would leave unread.
//!
//! `http1.rs` makes it and gives it to actix; `outbox.rs` tells it what becomes of the requests.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use super::{
    boundaries::{Boundaries, Taken},
    draining::{Draining, Watcher},
    outbox::{Outbox, Phase},
    patience::Patience,
    transport::Transport,
};
use crate::{
    error::{ErrorKind, ProxyError},
    proxy::record::new_request_id,
    settings::Limits,
};

/// How long a client that has connected as the process ends has for its request.
const LAST_CALL: Duration = Duration::from_secs(1);

/// Bytes of requests that have to wait; more are left to the kernel.
const MOST_HELD: usize = 64 << 10;

/// A client's connection.
pub struct ClientConnection {
    transport: Transport,
    outbox: Outbox,
    /// Our words in place of actix's, as far as they are not written yet.
    instead: Option<Bytes>,
    boundaries: Boundaries,
    /// Read, and to be handed on next.
    unread: Bytes,
    /// Read, and the next request's.
    held: BytesMut,
    header_timeout: Duration,
    keep_alive: Duration,
    max_uri: u64,
    draining: Watcher,
    last_call: bool,
    /// What the limit in force is for, and how many requests had come by then.
    awaited: (Phase, u32),
    patience: Patience,
    /// With a client that takes nothing of an answer that has to be over.
    overdue: Patience,
}

impl ClientConnection {
    /// Wraps a connection, which closes between two requests once `draining` has begun. The head of its first request
    /// is due at `due`.
    pub fn new(transport: Transport, limits: &Limits, due: Instant, draining: &Draining) -> Self {
        let mut patience = Patience::default();
        patience.until(due);
        Self {
            transport,
            outbox: Outbox::default(),
            instead: None,
            boundaries: Boundaries::default(),
            unread: Bytes::new(),
            held: BytesMut::new(),
            header_timeout: limits.header_timeout,
            keep_alive: limits.keep_alive,
            max_uri: limits.max_uri,
            draining: draining.watch(),
            last_call: false,
            awaited: (Phase::Fresh, 0),
            patience,
            overdue: Patience::default(),
        }
    }

    /// The handle for the answers on this connection.
    pub fn outbox(&self) -> Outbox {
        self.outbox.clone()
    }

    /// Whether it is encrypted.
    pub fn is_secure(&self) -> bool {
        self.transport.is_secure()
    }

    /// What actix would answer on its own, in our words; `None` if the bytes are not actix's own.
    fn in_our_words(&self, bytes: &[u8]) -> Option<Bytes> {
        if self.outbox.is_ours() {
            return None;
        }
        let kind =
            match bytes.strip_prefix(b"HTTP/1.1 ").or_else(|| bytes.strip_prefix(b"HTTP/1.0 "))?.get(..3)? {
                // http 0.2 holds no longer URI, and refuses it like any malformed one
                b"400" | b"431" if self.boundaries.request_line() > usize::from(u16::MAX) => {
                    ErrorKind::UriTooLong { limit: self.max_uri }
                }
                b"400" => ErrorKind::InvalidRequest,
                b"431" => ErrorKind::HeadersTooLarge,
                b"500" => ErrorKind::Internal,
                _ => return None,
            };
        Some(refusal(kind, "refused while its head was read"))
    }

    /// Begins the next request with what was held, if its time has come.
    fn take_held(&mut self) {
        let taken = self.boundaries.receive(&self.held);
        if taken.length > 0 && self.outbox.phase() == Phase::Idle {
            self.outbox.head_begins();
        }
        self.take(taken);
    }

    /// Makes the beginning of what was held the next to be handed on.
    fn take(&mut self, taken: Taken) {
        let own = self.held.split_to(taken.length).freeze();
        self.unread = taken.escaped.map_or(own, Bytes::from);
    }

    /// Reads on while the next request has to wait, since a client may leave meanwhile.
    fn poll_ahead(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.held.len() < MOST_HELD {
            self.held.reserve(1024);
            let read = tokio_util::io::poll_read_buf(Pin::new(&mut self.transport), context, &mut self.held);
            if ready!(read)? == 0 {
                return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
            }
        }
        // `poll_flush` wakes us when the answer is written
        Poll::Pending
    }

    fn hand_on_unread(&mut self, buffer: &mut ReadBuf<'_>) {
        let room = buffer.remaining().min(self.unread.len());
        buffer.put_slice(&self.unread.split_to(room));
    }

    fn poll_write_instead(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(bytes) = self.instead.as_mut().filter(|bytes| !bytes.is_empty()) {
            let written = ready!(Pin::new(&mut self.transport).poll_write(context, bytes))?;
            bytes.advance(written);
        }
        self.instead = None;
        Pin::new(&mut self.transport).poll_flush(context)
    }

    /// The client takes nothing: ready once its answer's time is up, of which the answer's body then tells the log.
    fn poll_overdue(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        let Some(due) = self.outbox.due() else { return Poll::Pending };
        self.overdue.until(due);
        self.overdue.poll(context).map(|()| io::ErrorKind::TimedOut.into())
    }

    /// Nothing has come: ready once the client has been waited for long enough. The end that is then read makes actix
    /// close the connection.
    fn poll_waiting(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let phase = self.outbox.phase();
        let awaited = (phase, self.outbox.requests());
        let before = std::mem::replace(&mut self.awaited, awaited);
        // on a new connection the head's time has run from the start, and its first bytes do not begin it anew
        let goes_on = before.0 == Phase::Fresh && phase == Phase::Head && !self.last_call;
        let is_new = before != awaited && !goes_on;
        if phase == Phase::Serving {
            self.patience.forget();
            return Poll::Pending;
        }
        if is_new {
            let limit = if phase == Phase::Idle { self.keep_alive } else { self.header_timeout };
            self.patience.until(Instant::now() + limit);
        }
        if self.draining.poll(context).is_ready() {
            match phase {
                Phase::Idle => return Poll::Ready(()),
                Phase::Fresh if !std::mem::replace(&mut self.last_call, true) => {
                    self.patience.until(Instant::now() + LAST_CALL.min(self.header_timeout));
                }
                Phase::Fresh | Phase::Head | Phase::Serving => {}
            }
        }
        ready!(self.patience.poll(context));
        // who came too late to be served has nothing to be told
        if phase == Phase::Head || (phase == Phase::Fresh && !self.last_call) {
            self.instead = Some(refusal(ErrorKind::RequestTimeout, "its head took too long"));
        }
        Poll::Ready(())
    }
}

/// An answer of ours that no handler gives, logged.
pub(super) fn refusal(kind: ErrorKind, cause: &'static str) -> Bytes {
    let error = ProxyError::new(kind, cause);
    let id = new_request_id();
    error.log(&id, None);
    error.on_the_wire(&id)
}

impl Drop for ClientConnection {
    fn drop(&mut self) {
        if self.outbox.is_aborted() {
            // otherwise the kernel would close in good order
            self.transport.abort();
        }
    }
}

impl AsyncRead for ClientConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.unread.is_empty() && !self.held.is_empty() {
            self.take_held();
        }
        if !self.unread.is_empty() {
            self.hand_on_unread(buffer);
            return Poll::Ready(Ok(()));
        }
        if !self.held.is_empty() {
            return self.poll_ahead(context);
        }
        let before = buffer.filled().len();
        match Pin::new(&mut self.transport).poll_read(context, buffer) {
            Poll::Ready(result) => result?,
            Poll::Pending => return self.poll_waiting(context).map(Ok),
        }
        if buffer.filled().len() == before && buffer.remaining() > 0 {
            // a client that closes its side has left: an error ends its calls to AWS, the mere end would not
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        if matches!(self.outbox.phase(), Phase::Fresh | Phase::Idle) {
            self.outbox.head_begins();
        }
        let received = &buffer.filled()[before..];
        let taken = self.boundaries.receive(received);
        if taken.escaped.is_some() || taken.length < received.len() {
            self.held.extend_from_slice(received);
            buffer.set_filled(before);
            self.take(taken);
            if self.unread.is_empty() {
                return self.poll_ahead(context);
            }
            self.hand_on_unread(buffer);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ClientConnection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.instead.is_none() {
            self.instead = self.in_our_words(bytes);
        }
        if self.instead.is_some() {
            return self.poll_write_instead(context).map_ok(|()| bytes.len());
        }
        match Pin::new(&mut self.transport).poll_write(context, bytes) {
            Poll::Pending => self.poll_overdue(context).map(Err),
            ready @ Poll::Ready(_) => ready,
        }
    }

    /// actix comes here whenever all that it had to write has been written.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.outbox.written() {
            self.boundaries.answered();
            if !self.held.is_empty() {
                context.waker().wake_by_ref();
            }
        }
        Pin::new(&mut self.transport).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write_instead(context))?;
        Pin::new(&mut self.transport).poll_shutdown(context)
    }
}
