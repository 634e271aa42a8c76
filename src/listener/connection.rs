//! A client's connection, watched in three respects that actix leaves open.
//!
//! What actix refuses on its own (a head that is malformed, too large or too slow) it answers with a bare
//! status that no handler sees; here that becomes an answer like all others, with a code, a request id and a
//! line in the log. And a body that has no end mark, as in HTTP/1.0, must not seem whole when it was cut: the
//! connection is then reset instead of closed. And request lines are taken as clients send them (`request_line.rs`).

use std::{
    cell::Cell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::request_line::RequestLine;
use crate::{
    error::{ErrorKind, ProxyError},
    proxy::record::new_request_id,
};

/// Whether what is about to be written on a connection is ours; shared with the answers under way on it.
#[derive(Debug, Clone, Default)]
pub struct Outbox(Rc<State>);

#[derive(Debug, Default)]
struct State {
    unwritten: Cell<bool>,
    bodies: Cell<u32>,
    aborted: Cell<bool>,
    /// The length that the last request's head announced for its body.
    announced: Cell<Option<u64>>,
}

/// An answer of ours until it is dropped. If it is not over by then, the connection is reset.
#[derive(Debug)]
pub struct UnderWay {
    outbox: Outbox,
    is_over: bool,
}

impl Outbox {
    /// An answer of ours begins, to a request with a body of this length, `None` for one in chunks.
    pub fn begin(&self, request_body: Option<u64>) -> UnderWay {
        self.0.unwritten.set(true);
        self.0.announced.set(request_body);
        self.0.bodies.set(self.0.bodies.get() + 1);
        UnderWay { outbox: self.clone(), is_over: false }
    }
}

impl UnderWay {
    /// Its last byte has been handed on.
    pub fn finish(&mut self) {
        self.is_over = true;
    }

    /// A piece of its body is about to be written.
    pub fn goes_on(&self) {
        self.outbox.0.unwritten.set(true);
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let State { bodies, aborted, .. } = &*self.outbox.0;
        bodies.set(bodies.get() - 1);
        if !self.is_over {
            aborted.set(true);
        }
    }
}

/// A client's connection.
#[derive(Debug)]
pub struct ClientConnection {
    stream: TcpStream,
    outbox: Outbox,
    /// Our words in place of actix's, as far as they are not written yet.
    instead: Option<Bytes>,
    request_line: RequestLine,
    /// What was read of a rewritten request line and had no room yet.
    unread: Bytes,
    max_uri: u64,
}

impl ClientConnection {
    /// Wraps an accepted connection.
    pub fn new(stream: TcpStream, max_uri: u64) -> Self {
        Self {
            stream,
            outbox: Outbox::default(),
            instead: None,
            request_line: RequestLine::default(),
            unread: Bytes::new(),
            max_uri,
        }
    }

    /// The handle for the answers on this connection.
    pub fn outbox(&self) -> Outbox {
        self.outbox.clone()
    }

    /// What actix would answer on its own, in our words; `None` if the bytes are not actix's own.
    fn in_our_words(&self, bytes: &[u8]) -> Option<Bytes> {
        if self.outbox.0.unwritten.get() {
            return None;
        }
        let kind =
            match bytes.strip_prefix(b"HTTP/1.1 ").or_else(|| bytes.strip_prefix(b"HTTP/1.0 "))?.get(..3)? {
                // http 0.2 holds no longer URI, and refuses it like any malformed one
                b"400" | b"431" if self.request_line.length() > usize::from(u16::MAX) => {
                    ErrorKind::UriTooLong { limit: self.max_uri }
                }
                b"400" => ErrorKind::InvalidRequest,
                b"408" => ErrorKind::RequestTimeout,
                b"431" => ErrorKind::HeadersTooLarge,
                b"500" => ErrorKind::Internal,
                _ => return None,
            };
        let error = ProxyError::new(kind, "refused while its head was read");
        let id = new_request_id();
        error.log(&id, None);
        Some(error.on_the_wire(&id))
    }

    fn hand_on_unread(&mut self, buffer: &mut ReadBuf<'_>) {
        let room = buffer.remaining().min(self.unread.len());
        buffer.put_slice(&self.unread.split_to(room));
    }

    fn poll_write_instead(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(bytes) = self.instead.as_mut().filter(|bytes| !bytes.is_empty()) {
            let written = ready!(Pin::new(&mut self.stream).poll_write(context, bytes))?;
            bytes.advance(written);
        }
        self.instead = None;
        Poll::Ready(Ok(()))
    }
}

impl Drop for ClientConnection {
    fn drop(&mut self) {
        if self.outbox.0.aborted.get() {
            // otherwise the kernel would close in good order
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for ClientConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.unread.is_empty() {
            self.hand_on_unread(buffer);
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        if buffer.filled().len() == before && buffer.remaining() > 0 {
            // a client that closes its side has left: an error ends its calls to AWS, the mere end would not
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        if let Some(escaped) = self.request_line.receive(&buffer.filled()[before..]) {
            self.unread = escaped.into();
            buffer.set_filled(before);
            self.hand_on_unread(buffer);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ClientConnection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.instead.is_none() {
            self.instead = self.in_our_words(bytes);
        }
        if self.instead.is_some() {
            return self.poll_write_instead(context).map_ok(|()| bytes.len());
        }
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, bytes))?;
        let outbox = &self.outbox.0;
        // an interim `100 Continue` is no answer: what follows it is a body
        if written == bytes.len() && outbox.bodies.get() == 0 && outbox.unwritten.replace(false) {
            let announced = outbox.announced.take();
            self.request_line.answered(announced);
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
