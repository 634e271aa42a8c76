//! Sends a request: the head, and a whole or streamed body.
//!
//! `exchange.rs` polls it while it reads the response. Head and body are written in one system call if they
//! fit, and each piece of a streamed body as soon as it arrives.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes};
use futures_core::Stream as _;
use tokio::{io::AsyncWrite, time::Instant};

use super::stream::UpstreamStream;
use crate::message::{
    error::{ErrorKind, ProxyError},
    inbound::{BodyStream, RequestBody},
};

/// A request that is being sent.
pub struct Sending {
    /// Unsent bytes of the head, or of the framing around the next chunk.
    head: Bytes,
    /// Unsent bytes of the current piece of the body.
    piece: Bytes,
    /// Source of the next piece.
    source: Option<BodyStream>,
    rest: Rest,
    state: SendState,
    /// Time of the last progress.
    progress_at: Instant,
    /// True if time may have passed since then.
    has_waited: bool,
    was_reset: bool,
}

/// The part of the body that `source` has not yielded yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rest {
    Bytes(u64),
    /// Chunks of unknown number (RFC 9112, 7.1); `true` after the first.
    Chunks(bool),
}

impl Rest {
    const NOTHING: Self = Self::Bytes(0);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SendState {
    /// Unsent bytes wait for the upstream.
    Writing,
    /// The next bytes must come from the client.
    WaitingForClient,
    /// Everything has been sent.
    Over,
    /// The rest is not sent: a write failed, or the upstream has rejected the request.
    Stopped,
}

impl Sending {
    pub fn new(head: Bytes, body: RequestBody) -> Self {
        let (piece, rest, source) = match body {
            RequestBody::Empty => (Bytes::new(), Rest::NOTHING, None),
            RequestBody::Whole(bytes) => (bytes, Rest::NOTHING, None),
            RequestBody::Stream(stream) => {
                let rest = stream.length.map_or(Rest::Chunks(false), Rest::Bytes);
                (Bytes::new(), rest, Some(stream))
            }
        };
        let (state, progress_at) = (SendState::Writing, Instant::now());
        Self { head, piece, source, rest, state, progress_at, has_waited: false, was_reset: false }
    }

    pub fn is_over(&self) -> bool {
        self.state == SendState::Over
    }

    /// True if the next byte must come from the client.
    pub fn waits_for_client(&self) -> bool {
        self.state == SendState::WaitingForClient
    }

    /// True if a write found the connection reset before an orderly end. The kernel reports a reset once:
    /// later reads return an orderly end.
    pub fn was_reset(&self) -> bool {
        self.was_reset
    }

    pub fn progress_at(&self) -> Instant {
        self.progress_at
    }

    /// Stops sending. The rest of the client's body is not read until the exchange is dropped.
    pub fn stop(&mut self) {
        if self.state != SendState::Over {
            self.state = SendState::Stopped;
        }
    }

    /// Sends what can be sent without waiting; ready when nothing is left to do.
    ///
    /// # Errors
    /// The client's body is late or malformed. A failed write is not an error.
    pub fn poll(
        &mut self,
        stream: &mut UpstreamStream,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), ProxyError>> {
        if matches!(self.state, SendState::Over | SendState::Stopped) {
            return Poll::Ready(Ok(()));
        }
        let outcome = self.poll_steps(stream, context);
        self.has_waited = outcome.is_pending();
        outcome
    }

    fn poll_steps(
        &mut self,
        stream: &mut UpstreamStream,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), ProxyError>> {
        loop {
            self.poll_client(context)?;
            if self.state == SendState::WaitingForClient && !self.has_waited {
                // a body in the same packet as the request's head is available in a moment, and can be sent
                // with it
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            if self.head.is_empty() && self.piece.is_empty() {
                return self.poll_flush(stream, context).map(Ok);
            }
            self.state = SendState::Writing;
            match ready!(self.poll_write(stream, context)) {
                Ok(length @ 1..) => self.advance(length),
                failed => {
                    // the response that explains the failure may follow
                    self.state = SendState::Stopped;
                    self.was_reset |= is_reset(&failed);
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }

    fn poll_write(&self, stream: &mut UpstreamStream, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let stream = Pin::new(stream);
        match (&*self.head, &*self.piece) {
            ([], piece) => stream.poll_write(context, piece),
            (head, []) => stream.poll_write(context, head),
            (head, piece) => stream.poll_write_vectored(context, &[IoSlice::new(head), IoSlice::new(piece)]),
        }
    }

    /// Polls the client's body if a piece is needed.
    fn poll_client(&mut self, context: &mut Context<'_>) -> Result<(), ProxyError> {
        while self.piece.is_empty() && self.rest != Rest::NOTHING {
            let Some(source) = &mut self.source else { return Err(broken("the body has no source")) };
            let Poll::Ready(piece) = Pin::new(source).poll_next(context) else {
                self.state = SendState::WaitingForClient;
                break;
            };
            self.take_piece(piece.transpose()?)?;
            self.note_progress();
        }
        Ok(())
    }

    /// Makes a piece the next one to be sent; `None` is the end of the body.
    fn take_piece(&mut self, piece: Option<Bytes>) -> Result<(), ProxyError> {
        match (self.rest, piece) {
            (Rest::Bytes(_), None) => return Err(broken("the body is shorter than announced")),
            (Rest::Bytes(missing), Some(piece)) => {
                let Some(missing) = missing.checked_sub(piece.len() as u64) else {
                    return Err(broken("the body is longer than announced"));
                };
                (self.piece, self.rest) = (piece, Rest::Bytes(missing));
            }
            // a chunk of no bytes would end the body
            (Rest::Chunks(_), Some(piece)) if piece.is_empty() => {}
            (Rest::Chunks(is_behind), Some(piece)) => {
                let end_of_last = if is_behind { "\r\n" } else { "" };
                self.put_framing(format!("{end_of_last}{:x}\r\n", piece.len()).into());
                (self.piece, self.rest) = (piece, Rest::Chunks(true));
            }
            (Rest::Chunks(is_behind), None) => {
                let end: &[u8] = if is_behind { b"\r\n0\r\n\r\n" } else { b"0\r\n\r\n" };
                self.put_framing(Bytes::from_static(end));
                self.rest = Rest::NOTHING;
            }
        }
        Ok(())
    }

    /// Puts the framing before the next chunk; the first one is sent with the head.
    fn put_framing(&mut self, framing: Bytes) {
        self.head = if self.head.is_empty() { framing } else { [&*self.head, &*framing].concat().into() };
    }

    /// Flushes, so that TLS buffers nothing.
    fn poll_flush(&mut self, stream: &mut UpstreamStream, context: &mut Context<'_>) -> Poll<()> {
        let flushed = ready!(Pin::new(stream).poll_flush(context));
        self.was_reset |= is_reset(&flushed);
        self.state = match flushed {
            Err(_) => SendState::Stopped,
            Ok(()) if self.rest != Rest::NOTHING => return Poll::Pending,
            Ok(()) => SendState::Over,
        };
        self.note_progress();
        Poll::Ready(())
    }

    fn advance(&mut self, length: usize) {
        let of_head = length.min(self.head.len());
        self.head.advance(of_head);
        self.piece.advance((length - of_head).min(self.piece.len()));
        self.note_progress();
    }

    fn note_progress(&mut self) {
        if self.has_waited {
            self.progress_at = Instant::now();
        }
    }
}

fn broken(cause: &'static str) -> ProxyError {
    ProxyError::new(ErrorKind::InvalidBody, cause)
}

/// A reset before an orderly end; after one, Linux reports a broken pipe.
fn is_reset<T>(result: &io::Result<T>) -> bool {
    result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset)
}
