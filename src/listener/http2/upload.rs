//! A request's body on a stream of HTTP/2: read by `proxy::serve`, and read on for a moment behind an early
//! response.
//!
//! `stream.rs` makes one for each request that has a body. A stream that ends while its client still sends is
//! reset by `h2` (RFC 9113, 8.1), and curl of Debian 12 and httpx then lose the response that they have not
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

/// Bytes that are read and dropped behind a response. A client that sends more has had time to read it.
const MOST_DISCARDED: usize = 64 << 20;

/// A request's body, shared by those who read it.
#[derive(Clone)]
pub struct Upload(Rc<State>);

struct State {
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
            Self(Rc::new(State {
                stream: RefCell::new(stream),
                is_held_back: Cell::new(is_held_back),
                is_awaited: Cell::new(false),
                budget: Cell::new(MOST_DISCARDED),
            }))
        })
    }

    /// Whether `100 Continue` is due: the client waits for it, and the body is waited for. True once.
    pub fn takes_continue(&self) -> bool {
        self.0.is_awaited.get() && self.0.is_held_back.replace(false)
    }

    /// True until the whole body has come.
    pub fn is_unfinished(&self) -> bool {
        !self.0.stream.borrow().is_end_stream()
    }

    /// Runs `work`, which sends the response, and discards meanwhile what the client sends and nobody reads:
    /// a client that first sends all of its request would not get to the response otherwise.
    pub async fn discarding<T>(&self, work: Pin<&mut impl Future<Output = T>>) -> T {
        let mut work = work;
        poll_fn(|context| {
            if let Poll::Ready(result) = work.as_mut().poll(context) {
                return Poll::Ready(result);
            }
            // the call to the upstream may still read it, and drops its handle when it does not
            if Rc::strong_count(&self.0) == 1 {
                let _ = self.poll_discard(context);
            }
            Poll::Pending
        })
        .await
    }

    /// Reads on behind the response until the client has sent all, for a moment.
    pub async fn linger(self) {
        if self.is_unfinished() {
            let _ = timeout(LINGER, poll_fn(|context| self.poll_discard(context))).await;
        }
    }

    fn poll_discard(&self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let budget = self.0.budget.get();
            if budget == 0 {
                // the client is held back by the window from here on
                return Poll::Pending;
            }
            let Some(Ok(piece)) = ready!(self.poll_piece(context)) else { return Poll::Ready(()) };
            self.0.budget.set(budget.saturating_sub(piece.len()));
        }
    }

    /// The next piece. The client may send on as pieces are read.
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

/// The cause of a body that ends too early, in plain words where `h2` has none.
fn cause(error: &h2::Error) -> io::Error {
    if error.is_library() && error.reason() == Some(Reason::PROTOCOL_ERROR) {
        return io::Error::other("HTTP/2: the body is not as long as its content-length");
    }
    io::Error::other(error.to_string())
}

/// Awaits `work`, which sends the response to a request, and discards what nobody reads of its body.
pub async fn discarding<T>(upload: Option<&Upload>, work: impl Future<Output = T>) -> T {
    let work = pin!(work);
    match upload {
        Some(upload) => upload.discarding(work).await,
        None => work.await,
    }
}
