//! A request's body on a stream of HTTP/2: `proxy::serve` reads it, and the rest is discarded behind an early
//! response.
//!
//! `stream.rs` makes one for each request that has a body. `h2` resets a stream that ends while its client
//! still sends (RFC 9113, 8.1), and curl of Debian 12 and httpx then lose the response that they have not
//! read yet.

use std::{
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, ready},
};

use actix_http::error::PayloadError;
use bytes::Bytes;
use futures_core::Stream;
use h2::{Reason, RecvStream};
use tokio::time::timeout;

use crate::listener::LINGER;

/// Bytes that are discarded behind a response. A client that sends more has had time to read it.
const MAX_DISCARDED: usize = 64 << 20;

/// A request's body, shared by its readers.
#[derive(Clone)]
pub struct Upload(Rc<UploadState>);

struct UploadState {
    stream: RefCell<RecvStream>,
    /// Set while the client waits for `100 Continue` before it sends.
    is_held_back: Cell<bool>,
    /// Set while a reader waits for the body.
    is_awaited: Cell<bool>,
    /// Bytes that may still be discarded.
    budget: Cell<usize>,
}

impl Upload {
    /// The body of a request; `None` if the request ended with its head.
    pub fn of(stream: RecvStream, is_held_back: bool) -> Option<Self> {
        (!stream.is_end_stream()).then(|| {
            Self(Rc::new(UploadState {
                stream: RefCell::new(stream),
                is_held_back: Cell::new(is_held_back),
                is_awaited: Cell::new(false),
                budget: Cell::new(MAX_DISCARDED),
            }))
        })
    }

    /// True once, if `100 Continue` is due: the client waits for it, and a reader waits for the body.
    pub fn takes_continue(&self) -> bool {
        self.0.is_awaited.get() && self.0.is_held_back.replace(false)
    }

    /// True until the whole body was received.
    pub fn is_unfinished(&self) -> bool {
        !self.0.stream.borrow().is_end_stream()
    }

    /// Discards the rest of the body behind the response, for [`LINGER`] at most.
    pub async fn linger(self) {
        if self.is_unfinished() {
            let _ = timeout(LINGER, poll_fn(|context| self.poll_discard(context))).await;
        }
    }

    fn poll_discard(&self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let budget = self.0.budget.get();
            if budget == 0 {
                // from here on the window of the stream stops the client
                return Poll::Pending;
            }
            let Some(Ok(piece)) = ready!(self.poll_piece(context)) else { return Poll::Ready(()) };
            self.0.budget.set(budget.saturating_sub(piece.len()));
        }
    }

    /// The next piece. Its bytes become room in the window again.
    fn poll_piece(&self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, h2::Error>>> {
        let mut stream = self.0.stream.borrow_mut();
        let polled = stream.poll_data(context);
        self.0.is_awaited.set(polled.is_pending());
        let Some(piece) = ready!(polled) else { return Poll::Ready(None) };
        let piece = piece.and_then(|piece| {
            stream.flow_control().release_capacity(piece.len())?;
            Ok(piece)
        });
        Poll::Ready(Some(piece))
    }
}

impl Stream for Upload {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let piece = ready!(self.poll_piece(context));
        Poll::Ready(piece.map(|piece| piece.map_err(|error| PayloadError::Io(cause(&error)))))
    }
}

/// The cause of a body that ends too early; `h2` only reports `PROTOCOL_ERROR` for a wrong length.
fn cause(error: &h2::Error) -> io::Error {
    if error.is_library() && error.reason() == Some(Reason::PROTOCOL_ERROR) {
        return io::Error::other("HTTP/2: the body is not as long as its content-length");
    }
    io::Error::other(error.to_string())
}

/// Awaits `work`, which sends the response, and meanwhile discards what the client sends and no one reads: a
/// client that first sends its whole request would never read the response otherwise.
pub async fn discarding<T>(upload: Option<&Upload>, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    poll_fn(|context| {
        let polled = work.as_mut().poll(context);
        // the call to the upstream may still read the body, and drops its handle when it does not
        if let Some(upload) = upload.filter(|upload| polled.is_pending() && Rc::strong_count(&upload.0) == 1)
        {
            let _ = upload.poll_discard(context);
        }
        polled
    })
    .await
}
