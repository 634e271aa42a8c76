//! A response on its way to a stream of HTTP/2, as its body comes.
//!
//! `stream.rs` brings it here. A body that breaks off resets the stream, behind all that was received of it;
//! one that breaks before anything of it was sent is replaced by the failure response.

use std::{future::poll_fn, pin::Pin, rc::Rc, task::Poll, time::Duration};

use actix_http::{
    Response,
    body::{BodySize, MessageBody as _},
};
use bytes::Bytes;
use h2::{Reason, SendStream, server::SendResponse};
use tokio::time::{Instant, timeout, timeout_at};

use super::{
    coalescer::Coalescer,
    echo::Echo,
    pieces::{BodyProgress, Piece},
    translate,
};
use crate::{message::error::ProxyError, proxy::reply::ClientBody};

/// Bytes of a body in one frame.
const PIECE: usize = 16 << 10;

/// The result of polling a body.
type Yield = Option<Result<Bytes, ProxyError>>;

/// Sends a response. Its client may make no room for `send_timeout`.
///
/// # Errors
/// The client has reset the stream, or takes nothing.
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
    let answer = Answer { body, coalescer, stream, echo, progress, left, is_whole: false, send_timeout };
    answer.run(first).await
}

/// Looks at the beginning of a body before its head is sent. Nothing is waited for: what a body that is still
/// to come yields is `None`.
async fn begin(
    response: Response<ClientBody>,
) -> (Response<()>, ClientBody, Coalescer<ProxyError>, Option<Yield>) {
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
struct Answer<'a> {
    body: ClientBody,
    coalescer: Coalescer<ProxyError>,
    stream: SendStream<Piece>,
    echo: &'a Echo,
    progress: Rc<BodyProgress>,
    /// Bytes that are still to come, if the length is known.
    left: Option<u64>,
    /// Whether `h2` was given all of it, with the end of the stream.
    is_whole: bool,
    send_timeout: Duration,
}

impl Drop for Answer<'_> {
    /// The queue of a stream that did not come to its end goes with it.
    fn drop(&mut self) {
        if self.is_whole {
            self.body.sent(self.progress.given());
            self.body.complete();
        } else {
            self.body.sent(self.progress.written());
        }
    }
}

impl Answer<'_> {
    async fn run(mut self, first: Option<Yield>) -> Result<(), h2::Error> {
        let mut first = first;
        loop {
            let yielded = match first.take() {
                Some(yielded) => yielded,
                None => tokio::select! {
                    biased;
                    yielded = poll_fn(|context| self.coalescer.poll_next(Pin::new(&mut self.body), context)) => yielded,
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
                // the body has logged why
                Some(Err(_)) => return self.break_off().await,
                None => return self.end(),
            }
        }
    }

    /// Sends bytes of the body as the client makes room for them, until the body is due to be asked again.
    async fn send_bytes(&mut self, mut bytes: Bytes) -> Result<(), h2::Error> {
        self.left = self.left.map(|left| left.saturating_sub(bytes.len() as u64));
        let is_last = self.left == Some(0);
        let limit = self.send_timeout;
        let due = self.body.due();
        while !bytes.is_empty() {
            self.stream.reserve_capacity(bytes.len().min(PIECE));
            let patience = Instant::now() + limit;
            let until = due.map_or(patience, |due| due.min(patience));
            let room = poll_fn(|context| self.stream.poll_capacity(context));
            let room = match timeout_at(until, room).await {
                Ok(Some(room)) => room?,
                // the client has reset the stream
                Ok(None) => return Err(Reason::CANCEL.into()),
                // the body reports that it is late
                Err(_) if until < patience => return Ok(()),
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

    /// Asks a body of known length once more, for what it does at its end.
    async fn end_of_sized(&mut self) -> Result<(), h2::Error> {
        let last = poll_fn(|context| self.coalescer.poll_next(Pin::new(&mut self.body), context)).await;
        if let (Some(Err(_)), false) = (last, self.is_whole) {
            return self.break_off().await;
        }
        Ok(())
    }

    /// Ends the stream behind a body of unknown length.
    fn end(&mut self) -> Result<(), h2::Error> {
        match self.body.take_trailers() {
            Some(trailers) => self.stream.send_trailers(translate::trailers(&trailers))?,
            None => self.stream.send_data(Piece::unfollowed(Bytes::new()), true)?,
        }
        self.is_whole = true;
        Ok(())
    }

    /// Resets the stream of a body that broke off, once the client has read what was received of it: a reset
    /// drops the stream's queue in `h2`, and in some clients too.
    async fn break_off(&mut self) -> Result<(), h2::Error> {
        if self.progress.given() == 0 {
            // an empty frame behind the head, which itself does not report that it was written
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
        // after that, the queue is lost with a client that takes nothing
        let _ = timeout(self.send_timeout, read).await;
        self.stream.send_reset(Reason::INTERNAL_ERROR);
        Ok(())
    }
}
