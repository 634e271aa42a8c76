//! A client's connection as bytes: TCP, TLS over it, or a Unix socket, with what was read ahead, and a limit on how
//! long a client may take nothing.
//!
//! `accept.rs` makes it, `http1.rs` and `http2.rs` read from it and write to it.

use std::{
    future::poll_fn,
    io,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
    time::Instant,
};
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

use crate::system::lazy_deadline::LazyDeadline;

/// The first bytes of HTTP/2 (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes of one read that looks for them: most heads come whole.
const AHEAD: usize = 4 << 10;

/// A connection without TLS: TCP, or on this machine.
pub type PlainSocket = Either<TcpStream, UnixStream>;
/// A connection without TLS or with it, whose session is large and would bloat the other.
pub type Socket = Either<PlainSocket, Box<TlsStream<TcpStream>>>;

#[derive(Debug)]
pub struct Transport {
    socket: Socket,
    /// Read already, and not handed on.
    ahead: BytesMut,
    send_timeout: Duration,
    sending: LazyDeadline,
}

impl Transport {
    /// A client that takes nothing for longer than `send_timeout` is given up.
    pub fn new(socket: Socket, send_timeout: Duration) -> Self {
        Self { socket, ahead: BytesMut::new(), send_timeout, sending: LazyDeadline::default() }
    }

    pub fn is_secure(&self) -> bool {
        matches!(self.socket, Either::Right(_))
    }

    /// True where an answer that ends with its connection cannot be told from one that is cut: a Unix socket knows no
    /// reset.
    pub fn hides_cuts(&self) -> bool {
        matches!(self.socket, Either::Left(Either::Right(_)))
    }

    /// Whether the client begins with the preface of HTTP/2. What was read to know it is handed on with the rest, also
    /// if this is given up before it is known.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn begins_with_preface(&mut self) -> io::Result<bool> {
        while self.ahead.len() < PREFACE.len() && PREFACE.starts_with(&self.ahead) {
            if poll_fn(|context| self.poll_read_ahead(context)).await? == 0 {
                break;
            }
        }
        Ok(self.ahead.starts_with(PREFACE))
    }

    /// Reads a piece as large as most heads, by way of the stack: a client that has sent nothing yet costs no memory.
    fn poll_read_ahead(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut piece = [const { MaybeUninit::uninit() }; AHEAD];
        let mut buffer = ReadBuf::uninit(&mut piece);
        ready!(Pin::new(&mut self.socket).poll_read(context, &mut buffer))?;
        self.ahead.extend_from_slice(buffer.filled());
        Poll::Ready(Ok(buffer.filled().len()))
    }

    /// Makes a close look like the fault that it is: the kernel then sends a reset. A Unix socket knows none.
    pub fn abort(&self) {
        let stream = match &self.socket {
            Either::Left(Either::Left(stream)) => stream,
            Either::Right(stream) => stream.get_ref().0,
            Either::Left(Either::Right(_)) => return,
        };
        let _ = stream.set_zero_linger();
    }

    /// What came of sending: where something was taken, the client's time begins anew.
    fn progress<T>(&mut self, polled: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if polled.is_pending() {
            return self.poll_stalled(context).map(Err);
        }
        self.sending.forget();
        polled
    }

    /// Gives up a client that has taken nothing for too long.
    fn poll_stalled(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        if !self.sending.is_limited() {
            self.sending.until(Instant::now() + self.send_timeout);
        }
        ready!(self.sending.poll(context));
        log::info!(
            "client read nothing of its response within limits.send_timeout, {:?}: closing the connection",
            self.send_timeout
        );
        self.abort();
        Poll::Ready(io::ErrorKind::TimedOut.into())
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            return Pin::new(&mut self.socket).poll_read(context, buffer);
        }
        let room = buffer.remaining().min(self.ahead.len());
        buffer.put_slice(&self.ahead[..room]);
        self.ahead.advance(room);
        if self.ahead.is_empty() {
            self.ahead = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.socket).poll_write(context, bytes);
        self.progress(polled, context)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.socket).poll_flush(context);
        self.progress(polled, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.socket).poll_shutdown(context) {
            Poll::Ready(result) => Poll::Ready(result),
            Poll::Pending => self.poll_stalled(context).map(Err),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.socket).poll_write_vectored(context, pieces);
        self.progress(polled, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
}
