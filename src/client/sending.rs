//! A request on its way out: the head, and a body that is at hand or still comes in from the client.
//!
//! `exchange.rs` drives it beside the reading of the answer. Head and body leave in one system call where they fit,
//! and each piece of a streamed body as soon as it is there.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes};
use futures_core::Stream as _;
use tokio::{io::AsyncWrite, time::Instant};

use super::stream::Stream;
use crate::message::{
    error::{ErrorKind, ProxyError},
    inbound::{BodyStream, RequestBody},
};

pub struct Sending {
    /// What is left of the head.
    head: Bytes,
    /// What is left of the piece of the body at hand.
    piece: Bytes,
    /// Where the next one comes from.
    source: Option<BodyStream>,
    /// Bytes of the body that `source` has not given yet.
    missing: u64,
    state: State,
    /// When it last went on, to be read when nothing does.
    progress_at: Instant,
    /// Whether time may have passed since.
    has_waited: bool,
    was_reset: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Bytes are left to go out, and the upstream has to take them.
    Writing,
    /// Bytes are left to go out, and the client has to send them first.
    ClientsTurn,
    /// All has gone out.
    Over,
    /// The rest stays here: writing failed, or nobody wants it.
    Ceased,
}

impl Sending {
    /// A request that has not begun to go out.
    pub fn new(head: Bytes, body: RequestBody) -> Self {
        let (piece, missing, source) = match body {
            RequestBody::Empty => (Bytes::new(), 0, None),
            RequestBody::Whole(bytes) => (bytes, 0, None),
            RequestBody::Stream(stream) => (Bytes::new(), stream.length, Some(stream)),
        };
        let (state, progress_at) = (State::Writing, Instant::now());
        Self { head, piece, source, missing, state, progress_at, has_waited: false, was_reset: false }
    }

    /// Whether every byte has gone out.
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// Whether the next byte has to come from the client.
    pub fn waits_for_client(&self) -> bool {
        self.state == State::ClientsTurn
    }

    /// Whether a write found the connection reset before the upstream had ended it. The kernel reports a reset once:
    /// the reads behind that write find an end in good order.
    pub fn was_reset(&self) -> bool {
        self.was_reset
    }

    /// When it last made progress.
    pub fn progress_at(&self) -> Instant {
        self.progress_at
    }

    /// Sends no more. What the client still sends is not read either, until the exchange is dropped.
    pub fn cease(&mut self) {
        if self.state != State::Over {
            self.state = State::Ceased;
        }
    }

    /// Sends what can be sent without waiting; ready when there is no more to do.
    ///
    /// # Errors
    /// The client's body is late or broken. A connection that takes no more is none.
    pub fn poll(&mut self, stream: &mut Stream, context: &mut Context<'_>) -> Poll<Result<(), ProxyError>> {
        if matches!(self.state, State::Over | State::Ceased) {
            return Poll::Ready(Ok(()));
        }
        let outcome = self.poll_steps(stream, context);
        self.has_waited = outcome.is_pending();
        outcome
    }

    fn poll_steps(&mut self, stream: &mut Stream, context: &mut Context<'_>) -> Poll<Result<(), ProxyError>> {
        loop {
            self.ask_client(context)?;
            if self.state == State::ClientsTurn && !self.has_waited {
                // what came in one packet with the request's head is handed over in a moment, and may go with it
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            if self.head.is_empty() && self.piece.is_empty() {
                return self.poll_flush(stream, context).map(Ok);
            }
            self.state = State::Writing;
            match ready!(self.poll_write(stream, context)) {
                Ok(length @ 1..) => self.advance(length),
                failed => {
                    // the answer that explains why may be on its way
                    self.state = State::Ceased;
                    self.was_reset |= is_reset(&failed);
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }

    fn poll_write(&self, stream: &mut Stream, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let stream = Pin::new(stream);
        match (&*self.head, &*self.piece) {
            ([], piece) => stream.poll_write(context, piece),
            (head, []) => stream.poll_write(context, head),
            (head, piece) => stream.poll_write_vectored(context, &[IoSlice::new(head), IoSlice::new(piece)]),
        }
    }

    /// Asks the client for the next piece, if one is needed.
    fn ask_client(&mut self, context: &mut Context<'_>) -> Result<(), ProxyError> {
        let broken = |cause: &'static str| Err(ProxyError::new(ErrorKind::InvalidBody, cause));
        while self.piece.is_empty() && self.missing > 0 {
            let Some(source) = &mut self.source else { return broken("the body has no source") };
            let Poll::Ready(piece) = Pin::new(source).poll_next(context) else {
                self.state = State::ClientsTurn;
                break;
            };
            let Some(piece) = piece.transpose()? else { return broken("the body is shorter than announced") };
            let Some(missing) = self.missing.checked_sub(piece.len() as u64) else {
                return broken("the body is longer than announced");
            };
            (self.piece, self.missing) = (piece, missing);
            self.note_progress();
        }
        Ok(())
    }

    /// All that is at hand is written: makes sure that TLS keeps none of it back.
    fn poll_flush(&mut self, stream: &mut Stream, context: &mut Context<'_>) -> Poll<()> {
        let flushed = ready!(Pin::new(stream).poll_flush(context));
        self.was_reset |= is_reset(&flushed);
        self.state = match flushed {
            Err(_) => State::Ceased,
            Ok(()) if self.missing > 0 => return Poll::Pending,
            Ok(()) => State::Over,
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

    /// Reads the clock only if time may have passed.
    fn note_progress(&mut self) {
        if self.has_waited {
            self.progress_at = Instant::now();
        }
    }
}

/// A reset without an end before it; behind one, Linux reports a broken pipe.
fn is_reset<T>(result: &io::Result<T>) -> bool {
    result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset)
}
