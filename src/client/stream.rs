//! A connection to the upstream, plain or TLS. `dial.rs` opens it, `pool.rs` keeps it between requests.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use actix_rt::net::{ActixStream, Ready};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

use super::connection_limit::ConnectionPermit;

#[derive(Debug)]
pub struct UpstreamStream {
    /// The TLS session is boxed: it is large, and plain connections would pay for it.
    socket: Either<TcpStream, Box<TlsStream<TcpStream>>>,
    /// Counts the connection towards the limit.
    _permit: Option<ConnectionPermit>,
}

impl UpstreamStream {
    pub fn plain(stream: TcpStream) -> Self {
        Self { socket: Either::Left(stream), _permit: None }
    }

    pub fn tls(stream: TlsStream<TcpStream>) -> Self {
        Self { socket: Either::Right(Box::new(stream)), _permit: None }
    }

    /// Attaches a permit that counts the connection until it closes.
    #[must_use]
    pub fn counted(self, permit: ConnectionPermit) -> Self {
        Self { _permit: Some(permit), ..self }
    }

    pub fn tcp(&self) -> &TcpStream {
        match &self.socket {
            Either::Left(stream) => stream,
            Either::Right(stream) => stream.get_ref().0,
        }
    }

    /// True if the idle connection is still usable: the peer has neither closed it nor sent unexpected bytes.
    /// Does not wait.
    pub fn is_idle(&mut self) -> bool {
        let mut byte = [0; 1];
        let mut buffer = ReadBuf::new(&mut byte);
        Pin::new(self).poll_read(&mut Context::from_waker(Waker::noop()), &mut buffer).is_pending()
    }
}

impl AsyncRead for UpstreamStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_read(context, buffer)
    }
}

impl AsyncWrite for UpstreamStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(context)
    }
}

/// Required by awc, which never calls it.
impl ActixStream for UpstreamStream {
    fn poll_read_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        ActixStream::poll_read_ready(self.tcp(), context)
    }

    fn poll_write_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        ActixStream::poll_write_ready(self.tcp(), context)
    }
}
