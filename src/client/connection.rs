//! A connection while it serves one request: what `awc` reads and writes, with the guards that it lacks.
//!
//! - An interim answer (`100`, `103`) is swallowed; `awc` would take it for the answer.
//! - A body that ends with the connection is handed on under HTTP/1.0, where `awc` reads it to the end; under
//!   HTTP/1.1 `awc` would drop it and use the connection again.
//! - The end of the connection anywhere else is an error; `awc` would take a cut body for a whole one.
//! - A write that fails is not: the answer that explains why (413, 403) may be on its way, and `awc` would
//!   never look for it.
//!
//! The client keeps a handle to what `awc` owns, and takes the stream back when the answer has been read.

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use actix_rt::net::{ActixStream, Ready};
use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use super::{
    framing::{self, Framing, Head, Malformed, Parsed},
    stream::Stream,
};

/// A shared handle: `awc` reads and writes through one, the client watches through another.
#[derive(Debug, Clone)]
pub struct Connection(Rc<RefCell<Exchange>>);

/// One request and its answer on one connection.
#[derive(Debug)]
struct Exchange {
    stream: Option<Stream>,
    to_head: bool,
    /// Bytes received but not handed on: an incomplete head, or what did not fit into a reader's buffer.
    pending: BytesMut,
    head: Option<Head>,
    /// Bytes of the answer received, interim answers left out.
    received: u64,
    anything_received: bool,
    /// When the request last made progress.
    written_at: Instant,
    write_failed: bool,
}

impl Connection {
    /// Prepares a stream for one request; `to_head` tells that its method is HEAD.
    pub fn new(stream: Stream, to_head: bool) -> Self {
        Self(Rc::new(RefCell::new(Exchange {
            stream: Some(stream),
            to_head,
            pending: BytesMut::new(),
            head: None,
            received: 0,
            anything_received: false,
            written_at: Instant::now(),
            write_failed: false,
        })))
    }

    /// The answer's head, once it has been read.
    pub fn head(&self) -> Option<Head> {
        self.0.borrow().head
    }

    /// Whether as much as one byte has come back.
    pub fn anything_received(&self) -> bool {
        self.0.borrow().anything_received
    }

    /// When the last byte of the request was written.
    pub fn written_at(&self) -> Instant {
        self.0.borrow().written_at
    }

    /// Takes the stream back, for another request if the answer has left it fit for one; otherwise it closes.
    pub fn into_reusable(self) -> Option<Stream> {
        let mut exchange = self.0.borrow_mut();
        let stream = exchange.stream.take();
        stream.filter(|_| exchange.is_over())
    }
}

impl Exchange {
    /// Whether every byte of the answer has come, and not one more.
    fn is_over(&self) -> bool {
        let Some(head) = self.head else { return false };
        let body = self.received.saturating_sub(head.length as u64);
        let exact = match head.framing {
            Framing::Empty => body == 0,
            Framing::Length(length) => body == length,
            // awc has found the last chunk
            Framing::Chunked => true,
            Framing::UntilClose => false,
        };
        exact && head.reusable && self.pending.is_empty() && !self.write_failed
    }

    fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.head.is_none() {
            ready!(self.poll_head(context))?;
        }
        if !self.pending.is_empty() {
            let length = self.pending.len().min(buffer.remaining());
            buffer.put_slice(&self.pending[..length]);
            self.pending.advance(length);
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let stream = self.stream.as_mut().ok_or_else(gone)?;
        ready!(Pin::new(stream).poll_read(context, buffer))?;
        let length = buffer.filled().len() - before;
        self.received += length as u64;
        let until_close = self.head.is_some_and(|head| head.framing == Framing::UntilClose);
        if length == 0 && !until_close {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        Poll::Ready(Ok(()))
    }

    /// Reads until the final head is complete; it and what follows it is then pending.
    fn poll_head(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match framing::parse(&self.pending, self.to_head).map_err(malformed)? {
                Parsed::Interim(length) => self.pending.advance(length),
                Parsed::Final(head) => {
                    self.received = self.pending.len() as u64;
                    if head.framing == Framing::UntilClose {
                        say_http_1_0(&mut self.pending);
                    }
                    self.head = Some(head);
                    return Poll::Ready(Ok(()));
                }
                Parsed::Partial => {
                    let stream = self.stream.as_mut().ok_or_else(gone)?;
                    self.pending.reserve(READ);
                    let read = tokio_util::io::poll_read_buf(Pin::new(stream), context, &mut self.pending);
                    if ready!(read)? == 0 {
                        return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                    }
                    self.anything_received = true;
                }
            }
        }
    }
}

/// Room for one read of a head: most heads come whole.
const READ: usize = 4096;

/// Lowers the version in a status line, which begins after the empty lines that `httparse` forgives.
fn say_http_1_0(answer: &mut BytesMut) {
    const VERSION: &[u8] = b"HTTP/1.1";
    if let Some(start) = answer.windows(VERSION.len()).position(|window| window == VERSION) {
        answer[start + VERSION.len() - 1] = b'0';
    }
}

fn malformed(error: Malformed) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// `awc` asks a connection that the client has taken back: it looks closed.
fn gone() -> io::Error {
    io::ErrorKind::NotConnected.into()
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.borrow_mut().poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut exchange = self.0.borrow_mut();
        if exchange.write_failed {
            return Poll::Ready(Ok(bytes.len()));
        }
        let stream = exchange.stream.as_mut().ok_or_else(gone)?;
        match ready!(Pin::new(stream).poll_write(context, bytes)) {
            Ok(length) => {
                exchange.written_at = Instant::now();
                Poll::Ready(Ok(length))
            }
            Err(_) => {
                exchange.write_failed = true;
                Poll::Ready(Ok(bytes.len()))
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut exchange = self.0.borrow_mut();
        if exchange.write_failed {
            return Poll::Ready(Ok(()));
        }
        let stream = exchange.stream.as_mut().ok_or_else(gone)?;
        if ready!(Pin::new(stream).poll_flush(context)).is_err() {
            exchange.write_failed = true;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.0.borrow_mut().stream.as_mut() {
            Some(stream) => Pin::new(stream).poll_shutdown(context),
            None => Poll::Ready(Ok(())),
        }
    }
}

/// Demanded by `awc` of its connections, and asked by nobody on this path.
impl ActixStream for Connection {
    fn poll_read_ready(&self, _context: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        Poll::Ready(Ok(Ready::READABLE))
    }

    fn poll_write_ready(&self, _context: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        Poll::Ready(Ok(Ready::WRITABLE))
    }
}
