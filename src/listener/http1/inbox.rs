//! What a client of HTTP/1.1 sends: heads and bodies, one request after the other, by `actix-http`'s codec.
//!
//! `http1.rs` asks for the next head when the last request has been answered, and not before: the codec would take what
//! comes behind a request for a part of its answer's form (version, method, `Connection`). The body is asked for by
//! whoever reads it (`RequestBody`); until then the client is held back. While nobody asks for anything, the client is
//! watched all the same: one that has left ends its call.

use std::{
    io,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
};

use actix_http::{
    Request, ServiceConfig,
    error::{ParseError, PayloadError},
    h1::{Codec, Message, MessageType},
    header,
};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite as _, ReadBuf};
use tokio_util::{codec::Decoder as _, io::poll_read_buf};

use crate::{
    error::{ErrorKind, ProxyError},
    listener::{request_target::escape_in_line, transport::Transport},
};

/// Bytes of one read that wait for nothing larger: most heads come whole.
const PIECE: usize = 4 << 10;
/// Room for one read of a body.
const BODY_PIECE: usize = 16 << 10;
/// Bytes that are read ahead of what is asked for; more are left to the kernel.
const MOST_AHEAD: usize = 64 << 10;
/// `http` 0.2 holds no longer URI, and refuses it like any malformed one.
const LONGEST_LINE: usize = u16::MAX as usize;
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Why there is no further request.
#[derive(Debug)]
pub enum End {
    /// The client has left.
    Gone,
    /// It sent what is no request.
    Refused(ProxyError),
}

/// How much of a request's body has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Body {
    Over,
    Coming,
    /// What is left of it cannot be told from what follows.
    Broken,
}

/// The receiving side of a connection.
pub struct Inbox {
    received: BytesMut,
    /// How much of it has been searched for the end of a request line; `None` once that has been found.
    searched: Option<usize>,
    body: Body,
    /// What a client that asked is told before its body is read.
    interim: Bytes,
    max_uri: u64,
    config: ServiceConfig,
    /// Whether a body has been read past the codec, which then does not know that it is over.
    is_direct: bool,
}

impl Inbox {
    /// One for a new connection.
    pub fn new(max_uri: u64, config: ServiceConfig) -> Self {
        let (received, interim) = (BytesMut::new(), Bytes::new());
        Self { received, searched: Some(0), body: Body::Over, interim, max_uri, config, is_direct: false }
    }

    /// Whether nothing of a further request has come.
    pub fn is_empty(&self) -> bool {
        self.received.is_empty()
    }

    /// Whether the request has a body of which something is still to be read.
    pub fn has_body(&self) -> bool {
        self.body == Body::Coming
    }

    /// The answer begins: a client that still waits to be told to send its body will not be.
    pub fn expect_no_more(&mut self) {
        self.interim = Bytes::new();
    }

    /// Whether the last request's body has come whole. What is at hand of it is looked at, and nothing waited for.
    pub fn has_whole_body(&mut self, codec: &mut Codec) -> bool {
        while self.body == Body::Coming {
            if self.is_direct {
                return false;
            }
            match codec.decode(&mut self.received) {
                Ok(Some(Message::Chunk(Some(_)))) => {}
                Ok(Some(Message::Chunk(None))) => self.body = Body::Over,
                Ok(None) => return false,
                Ok(Some(Message::Item(_))) | Err(_) => self.body = Body::Broken,
            }
        }
        self.body == Body::Over
    }

    /// The next request's head.
    pub fn poll_request(
        &mut self,
        transport: &mut Transport,
        codec: &mut Codec,
        context: &mut Context<'_>,
    ) -> Poll<Result<Request, End>> {
        if std::mem::take(&mut self.is_direct) {
            *codec = Codec::new(self.config.clone());
        }
        loop {
            if !self.received.is_empty() && self.has_request_line()? {
                match codec.decode(&mut self.received) {
                    Ok(Some(Message::Item(request))) => {
                        self.begin(&request, codec.message_type());
                        return Poll::Ready(Ok(request));
                    }
                    Ok(None) => {}
                    Ok(Some(Message::Chunk(_))) => {
                        return Poll::Ready(Err(refused(ErrorKind::Internal, "a chunk without a request")));
                    }
                    Err(error) => return Poll::Ready(Err(unreadable(&error))),
                }
            }
            ready!(self.poll_receive(transport, context)).map_err(|_| End::Gone)?;
        }
    }

    /// The next piece of the request's body.
    pub fn poll_body(
        &mut self,
        transport: &mut Transport,
        codec: &mut Codec,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, PayloadError>>> {
        loop {
            match self.body {
                Body::Over => return Poll::Ready(None),
                Body::Broken => return Poll::Ready(Some(Err(PayloadError::Incomplete(None)))),
                Body::Coming => {}
            }
            match codec.decode(&mut self.received) {
                Ok(Some(Message::Chunk(Some(piece)))) => return Poll::Ready(Some(Ok(piece))),
                Ok(Some(Message::Chunk(None))) => {
                    self.body = Body::Over;
                    continue;
                }
                Ok(None) => {}
                Ok(Some(Message::Item(_))) | Err(_) => {
                    self.body = Body::Broken;
                    return Poll::Ready(Some(Err(PayloadError::EncodingCorrupted)));
                }
            }
            let received = match self.poll_say_continue(transport, context) {
                Poll::Ready(Ok(())) => {
                    self.received.reserve(BODY_PIECE);
                    ready!(poll_read_buf(Pin::new(transport), context, &mut self.received))
                }
                Poll::Ready(Err(error)) => Err(error),
                Poll::Pending => return Poll::Pending,
            };
            if !received.is_ok_and(|length| length > 0) {
                self.body = Body::Broken;
            }
        }
    }

    /// The next part of the request's body, added to `whole`: no more than the `left` bytes that belong to it.
    pub fn poll_body_into(
        &mut self,
        transport: &mut Transport,
        whole: &mut Vec<u8>,
        left: usize,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), PayloadError>> {
        if self.body != Body::Coming {
            return Poll::Ready(Err(PayloadError::Incomplete(None)));
        }
        self.is_direct = true;
        let length = if self.received.is_empty() {
            ready!(self.poll_say_continue(transport, context))?;
            let mut room = whole.limit(left);
            ready!(poll_read_buf(Pin::new(transport), context, &mut room))?
        } else {
            let length = left.min(self.received.len());
            whole.extend_from_slice(&self.received.split_to(length));
            length
        };
        if length == 0 {
            self.body = Body::Broken;
            return Poll::Ready(Err(PayloadError::Incomplete(None)));
        }
        if length == left {
            self.body = Body::Over;
        }
        Poll::Ready(Ok(()))
    }

    /// Ready once the client has left. What it sends meanwhile is kept, up to a limit.
    pub fn poll_left(&mut self, transport: &mut Transport, context: &mut Context<'_>) -> Poll<()> {
        while self.received.len() < MOST_AHEAD {
            if ready!(self.poll_receive(transport, context)).is_err() {
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }

    /// Reads on and forgets it, until the client has left.
    pub fn poll_discard(&mut self, transport: &mut Transport, context: &mut Context<'_>) -> Poll<()> {
        loop {
            self.received.clear();
            if ready!(self.poll_receive(transport, context)).is_err() {
                return Poll::Ready(());
            }
        }
    }

    /// Lets go of memory while nothing is received.
    pub fn rest(&mut self) {
        if self.received.is_empty() {
            self.received = BytesMut::new();
        }
    }

    fn begin(&mut self, request: &Request, message: MessageType) {
        self.searched = Some(0);
        self.body = match message {
            MessageType::Payload => Body::Coming,
            // another protocol is not granted, and what follows is not looked at
            MessageType::None | MessageType::Stream => Body::Over,
        };
        let expects = request.head().headers.get(header::EXPECT);
        let is_expected = expects.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
        self.interim = if is_expected { Bytes::from_static(CONTINUE) } else { Bytes::new() };
    }

    /// Whether a whole request line is here; its target then has its escapes.
    fn has_request_line(&mut self) -> Result<bool, End> {
        let Some(searched) = self.searched else { return Ok(true) };
        if searched == 0 {
            // empty lines before it mean nothing (RFC 9112, 2.2)
            let start = self.received.iter().position(|byte| !matches!(byte, b'\r' | b'\n'));
            self.received.advance(start.unwrap_or(self.received.len()));
        }
        let end = self.received[searched..].iter().position(|byte| *byte == b'\n').map(|end| searched + end);
        let length = end.unwrap_or(self.received.len());
        if length > LONGEST_LINE {
            let kind = ErrorKind::UriTooLong { limit: self.max_uri };
            return Err(refused(kind, "a request line longer than any target may be"));
        }
        self.searched = end.map_or(Some(self.received.len()), |_| None);
        let Some(end) = end else { return Ok(!begins_like_a_request(&self.received)) };
        if let Some(mut escaped) = escape_in_line(&self.received[..end]) {
            escaped.extend_from_slice(&self.received[end..]);
            self.received = BytesMut::from(&*escaped);
        }
        Ok(true)
    }

    /// Receives a piece; an error is the end of the connection. The bytes come by way of the stack, so that a
    /// connection that waits holds no memory for what may come.
    fn poll_receive(&mut self, transport: &mut Transport, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut piece = [const { MaybeUninit::uninit() }; PIECE];
        let mut buffer = ReadBuf::uninit(&mut piece);
        ready!(Pin::new(transport).poll_read(context, &mut buffer))?;
        if buffer.filled().is_empty() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        self.received.extend_from_slice(buffer.filled());
        Poll::Ready(Ok(()))
    }

    /// Tells a client that waits for it to send its body: only now, when it is wanted.
    fn poll_say_continue(
        &mut self,
        transport: &mut Transport,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if self.interim.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while !self.interim.is_empty() {
            let written = ready!(Pin::new(&mut *transport).poll_write(context, &self.interim))?;
            self.interim.advance(written);
        }
        Pin::new(transport).poll_flush(context)
    }
}

/// Whether what has come of a line could become a request's. The parser says at once what cannot.
fn begins_like_a_request(line: &[u8]) -> bool {
    let method = line.split(|byte| *byte == b' ').next().unwrap_or_default();
    method.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~\r".contains(byte))
}

fn refused(kind: ErrorKind, cause: &'static str) -> End {
    End::Refused(ProxyError::new(kind, cause))
}

fn unreadable(error: &ParseError) -> End {
    let kind = match error {
        ParseError::TooLarge => ErrorKind::HeadersTooLarge,
        _ => ErrorKind::InvalidRequest,
    };
    End::Refused(ProxyError::new(kind, error.to_string()))
}
