//! The bytes of a client's connection: TCP, TLS, or a Unix socket, with a read-ahead buffer and a time limit
//! for a client that reads nothing.
//!
//! `accept.rs` makes it, `http1.rs` and `http2.rs` read and write it.

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
};
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

use crate::{message::client_link::ClientLink, system::lazy_deadline::LazyDeadline};

/// The first bytes of HTTP/2 (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes of one read on the stack: enough for most heads.
const READ_SIZE: usize = 4 << 10;

pub type PlainSocket = Either<TcpStream, UnixStream>;
/// A connection without or with TLS, whose session is large and therefore boxed.
pub type Socket = Either<PlainSocket, Box<TlsStream<TcpStream>>>;

/// Reads a piece on the stack and appends it to `received`: a connection that waits holds no memory for it.
pub fn poll_read_piece(
    reader: Pin<&mut impl AsyncRead>,
    context: &mut Context<'_>,
    received: &mut BytesMut,
) -> Poll<io::Result<usize>> {
    let mut piece = [const { MaybeUninit::uninit() }; READ_SIZE];
    let mut buffer = ReadBuf::uninit(&mut piece);
    ready!(reader.poll_read(context, &mut buffer))?;
    received.extend_from_slice(buffer.filled());
    Poll::Ready(Ok(buffer.filled().len()))
}

#[derive(Debug)]
pub struct Transport {
    socket: Socket,
    /// Its kind, if it has no TLS.
    without_tls: ClientLink,
    /// Bytes that were read ahead.
    ahead: BytesMut,
    send_timeout: Duration,
    sending: LazyDeadline,
}

impl Transport {
    /// The connection is reset if its client reads nothing for `send_timeout`; `without_tls` is the kind of
    /// its socket.
    pub fn new(socket: Socket, without_tls: ClientLink, send_timeout: Duration) -> Self {
        Self { socket, without_tls, ahead: BytesMut::new(), send_timeout, sending: LazyDeadline::default() }
    }

    pub fn link(&self) -> ClientLink {
        match self.socket {
            Either::Right(_) => ClientLink::Tls,
            Either::Left(_) => self.without_tls,
        }
    }

    /// True on a Unix socket, which has no reset: a client cannot detect that a response which ends with its
    /// connection is truncated.
    pub fn hides_truncation(&self) -> bool {
        matches!(self.socket, Either::Left(Either::Right(_)))
    }

    /// True if the client begins with the preface of HTTP/2. The bytes stay in the read-ahead buffer, also if
    /// this future is dropped.
    ///
    /// # Errors
    /// The connection failed.
    pub async fn begins_with_preface(&mut self) -> io::Result<bool> {
        while self.ahead.len() < PREFACE.len() && PREFACE.starts_with(&self.ahead) {
            let read =
                poll_fn(|context| poll_read_piece(Pin::new(&mut self.socket), context, &mut self.ahead));
            if read.await? == 0 {
                break;
            }
        }
        Ok(self.ahead.starts_with(PREFACE))
    }

    /// Makes the kernel send a reset when the connection is closed. A Unix socket has no reset.
    pub fn abort(&self) {
        let stream = match &self.socket {
            Either::Left(Either::Left(stream)) => stream,
            Either::Right(stream) => stream.get_ref().0,
            Either::Left(Either::Right(_)) => return,
        };
        let _ = stream.set_zero_linger();
    }

    /// Passes the result of a write on; the time limit restarts if the client has read something.
    fn progress<T>(&mut self, polled: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if polled.is_pending() {
            return self.poll_stalled(context).map(Err);
        }
        self.sending.forget();
        polled
    }

    /// Resets the connection of a client that reads nothing for `send_timeout`.
    fn poll_stalled(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        self.sending.begin(self.send_timeout);
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
