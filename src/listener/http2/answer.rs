//! Sends a response on a stream of HTTP/2.
//!
//! A body that fails resets the stream, after everything received of it was sent; a body that fails before
//! its head was sent is replaced by an error response.

use std::{future::poll_fn, pin::Pin, rc::Rc, task::Poll, time::Duration};

use actix_http::{
    Response,
    body::{BodySize, MessageBody as _},
};
use bytes::Bytes;
use h2::{Reason, SendStream, server::SendResponse};
use tokio::time::{Instant, timeout, timeout_at};

use super::{
    coalescer::{BodyItem, Coalescer},
    echo::Echo,
    pieces::{BodyProgress, Piece},
    translate,
};
use crate::proxy::reply::ClientBody;

/// Bytes of a body in one DATA frame.
const MAX_PIECE: usize = 16 << 10;

/// Sends a response. The stream is reset if its client reads nothing for `send_timeout`.
///
/// # Errors
/// The client has reset the stream, or reads nothing.
pub async fn send(
    response: Response<ClientBody>,
    respond: &mut SendResponse<Piece>,
    echo: &Echo,
    send_timeout: Duration,
) -> Result<(), h2::Error> {
    let (head, mut body, coalescer, first) = begin(response).await;
    let size = body.size();
    let is_over = matches!(size, BodySize::None | BodySize::Sized(0)) || !body.has_bytes();
    let stream = match respond.send_response(translate::head(&head, size), is_over) {
        Ok(stream) => stream,
        Err(error) => {
            body.not_sent();
            return Err(error);
        }
    };
    if is_over {
        body.complete();
        return Ok(());
    }
    let left = match size {
        BodySize::Sized(length) => Some(length),
        BodySize::None | BodySize::Stream => None,
    };
    let progress = Rc::default();
    let sender = BodySender { body, coalescer, stream, echo, progress, left, is_whole: false, send_timeout };
    sender.run(first).await
}

/// Polls a body once before its head is sent; its first item is `None` while the body is pending.
async fn begin(response: Response<ClientBody>) -> (Response<()>, ClientBody, Coalescer, Option<BodyItem>) {
    let (head, mut body) = response.into_parts();
    let mut coalescer = Coalescer::default();
    let first = if body.has_bytes() {
        poll_fn(|context| Poll::Ready(coalescer.poll_next(Pin::new(&mut body), context))).await
    } else {
        Poll::Pending
    };
    match first {
        Poll::Ready(Some(Err(error))) => {
            let (head, body) = body.into_failure(&error).into_parts();
            (head, body, Coalescer::default(), None)
        }
        Poll::Ready(first) => (head, body, coalescer, Some(first)),
        Poll::Pending => (head, body, coalescer, None),
    }
}

/// A response whose head was sent.
struct BodySender<'a> {
    body: ClientBody,
    coalescer: Coalescer,
    stream: SendStream<Piece>,
    echo: &'a Echo,
    progress: Rc<BodyProgress>,
    /// Bytes that are still to be sent, if the length is known.
    left: Option<u64>,
    /// `h2` was given the whole body, with the end of the stream.
    is_whole: bool,
    send_timeout: Duration,
}

impl Drop for BodySender<'_> {
    /// The queue of a stream that is not complete is dropped with it.
    fn drop(&mut self) {
        if self.is_whole {
            self.body.sent(self.progress.given());
            self.body.complete();
        } else {
            self.body.sent(self.progress.written());
        }
    }
}

impl BodySender<'_> {
    async fn run(mut self, first: Option<BodyItem>) -> Result<(), h2::Error> {
        let mut first = first;
        loop {
            let yielded = match first.take() {
                Some(yielded) => yielded,
                None => tokio::select! {
                    biased;
                    yielded = poll_fn(|context| {
                        self.coalescer.poll_next(Pin::new(&mut self.body), context)
                    }) => yielded,
                    _ = poll_fn(|context| self.stream.poll_reset(context)) => return Ok(()),
                },
            };
            match yielded {
                Some(Ok(bytes)) => {
                    self.send_bytes(bytes).await?;
                    if self.left == Some(0) {
                        return self.end_of_sized().await;
                    }
                }
                // the body has logged the cause
                Some(Err(_)) => return self.abort().await,
                None => return self.end(),
            }
        }
    }

    /// Sends bytes of the body as the client's window allows, until the body must be polled again.
    async fn send_bytes(&mut self, mut bytes: Bytes) -> Result<(), h2::Error> {
        self.left = self.left.map(|left| left.saturating_sub(bytes.len() as u64));
        let is_last = self.left == Some(0);
        let limit = self.send_timeout;
        let due = self.body.due();
        while !bytes.is_empty() {
            self.stream.reserve_capacity(bytes.len().min(MAX_PIECE));
            let deadline = Instant::now() + limit;
            let until = due.map_or(deadline, |due| due.min(deadline));
            let room = poll_fn(|context| self.stream.poll_capacity(context));
            let room = match timeout_at(until, room).await {
                Ok(Some(room)) => room?,
                // the client has reset the stream
                Ok(None) => return Err(Reason::CANCEL.into()),
                // the body then reports its time-out
                Err(_) if until < deadline => return Ok(()),
                Err(_) => {
                    log::info!(
                        "client read nothing of its response within limits.send_timeout, {limit:?}: \
                         resetting the HTTP/2 stream"
                    );
                    self.stream.send_reset(Reason::CANCEL);
                    return Err(Reason::CANCEL.into());
                }
            };
            let piece = Piece::of(&self.progress, bytes.split_to(room.min(bytes.len())));
            let is_end = is_last && bytes.is_empty();
            self.stream.send_data(piece, is_end)?;
            self.is_whole |= is_end;
        }
        Ok(())
    }

    /// Polls a body of known length once more, for its work at the end.
    async fn end_of_sized(&mut self) -> Result<(), h2::Error> {
        let last = poll_fn(|context| self.coalescer.poll_next(Pin::new(&mut self.body), context)).await;
        if let (Some(Err(_)), false) = (last, self.is_whole) {
            return self.abort().await;
        }
        Ok(())
    }

    /// Ends the stream after a body of unknown length.
    fn end(&mut self) -> Result<(), h2::Error> {
        match self.body.take_trailers() {
            Some(trailers) => self.stream.send_trailers(translate::header_map(&trailers))?,
            None => self.stream.send_data(Piece::uncounted(Bytes::new()), true)?,
        }
        self.is_whole = true;
        Ok(())
    }

    /// Resets the stream of a body that failed, once the client has read what was sent of it: a reset drops
    /// the stream's queue in `h2`, and in some clients too.
    async fn abort(&mut self) -> Result<(), h2::Error> {
        if self.progress.given() == 0 {
            // an empty frame behind the head: `h2` does not report that it has written a head
            self.stream.send_data(Piece::of(&self.progress, Bytes::new()), false)?;
        }
        let (progress, echo) = (Rc::clone(&self.progress), self.echo);
        let read = async {
            poll_fn(|context| progress.poll_empty(context)).await;
            echo.returns().await;
        };
        let read = async {
            tokio::select! {
                () = read => {}
                _ = poll_fn(|context| self.stream.poll_reset(context)) => {}
            }
        };
        // after that, the queue is lost for a client that reads nothing
        let _ = timeout(self.send_timeout, read).await;
        self.stream.send_reset(Reason::INTERNAL_ERROR);
        Ok(())
    }
}
