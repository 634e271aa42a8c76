//! What a client of HTTP/1.1 sends: heads by `actix-http`'s codec, bodies by the framing that their heads announce.
//!
//! The codec is asked for heads alone. Its body decoder reads to the end of the connection behind `CONNECT` and
//! `Upgrade: websocket`, whatever `Content-Length` says, and takes chunk extensions and trailers of any size and form.
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
    ConnectionType, Method, Request, RequestHead, ServiceConfig, Version,
    error::{ParseError, PayloadError},
    h1::{Codec, Message, MessageType},
    header,
};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite as _, ReadBuf};
use tokio_util::{codec::Decoder as _, io::poll_read_buf};

use crate::{
    listener::{expectation::asks_for_continue, request_target::escape_in_line, transport::Transport},
    message::{
        chunks::{ChunkDecoder, Decoded},
        error::{ErrorKind, ProxyError},
    },
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
pub enum ConnectionEnd {
    /// The client has left.
    Gone,
    /// It sent what is no request.
    Refused(ProxyError),
}

/// The framing of a request's body (RFC 9112, 6.3), and what is still to come of it.
#[derive(Debug)]
enum Body {
    Over,
    /// This many bytes, at least one.
    Length(u64),
    Chunked(ChunkDecoder),
    /// What is left of it cannot be told from what follows.
    Broken,
}

impl Body {
    /// The body that a head announces. The codec has refused contradictory and malformed framing.
    fn announced_by(head: &RequestHead) -> Self {
        if head.headers.contains_key(header::TRANSFER_ENCODING) {
            return Self::Chunked(ChunkDecoder::default());
        }
        let length = head.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
        match length.and_then(|length| length.trim().parse().ok()) {
            None | Some(0) => Self::Over,
            Some(length) => Self::Length(length),
        }
    }

    /// Takes the next piece out of `received`.
    fn decode(&mut self, received: &mut BytesMut) -> Result<Decoded, PayloadError> {
        match self {
            Self::Over => Ok(Decoded::End),
            Self::Broken => Err(PayloadError::Incomplete(None)),
            Self::Length(_) if received.is_empty() => Ok(Decoded::NeedsMore),
            Self::Length(left) => {
                let length = usize::try_from(*left).unwrap_or(usize::MAX).min(received.len());
                *left -= length as u64;
                if *left == 0 {
                    *self = Self::Over;
                }
                Ok(Decoded::Piece(received.split_to(length).freeze()))
            }
            Self::Chunked(chunks) => {
                let decoded = chunks.decode(received);
                match decoded {
                    Ok(Decoded::End) => *self = Self::Over,
                    Ok(_) => {}
                    Err(_) => *self = Self::Broken,
                }
                decoded.map_err(|malformed| PayloadError::Io(io::Error::other(malformed)))
            }
        }
    }
}

/// The receiving side of a connection.
pub struct RequestReader {
    received: BytesMut,
    /// How much of it has been searched for the end of a request line; `None` once that has been found.
    searched: Option<usize>,
    body: Body,
    /// What a client that asked is told before its body is read.
    interim: Bytes,
    max_uri: u64,
    config: ServiceConfig,
}

impl RequestReader {
    /// One for a new connection.
    pub fn new(max_uri: u64, config: ServiceConfig) -> Self {
        let (received, interim) = (BytesMut::new(), Bytes::new());
        Self { received, searched: Some(0), body: Body::Over, interim, max_uri, config }
    }

    /// Whether nothing of a further request has come.
    pub fn is_empty(&self) -> bool {
        self.received.is_empty()
    }

    /// Whether the request has a body of which something is still to be read.
    pub fn has_body(&self) -> bool {
        !matches!(self.body, Body::Over)
    }

    /// The answer begins: a client that still waits to be told to send its body will not be.
    pub fn expect_no_more(&mut self) {
        self.interim = Bytes::new();
    }

    /// Drops what is at hand of the last request's body, without waiting for more, and tells whether that was all of
    /// it.
    pub fn drop_rest_of_body(&mut self) -> bool {
        loop {
            match self.body.decode(&mut self.received) {
                Ok(Decoded::Piece(_)) => {}
                Ok(Decoded::End) => return true,
                Ok(Decoded::NeedsMore) | Err(_) => return false,
            }
        }
    }

    pub fn poll_request(
        &mut self,
        transport: &mut Transport,
        codec: &mut Codec,
        context: &mut Context<'_>,
    ) -> Poll<Result<Request, ConnectionEnd>> {
        if codec.message_type() != MessageType::None {
            // it waits for the body of the last request, which it was not asked for
            *codec = Codec::new(self.config.clone());
        }
        loop {
            if !self.received.is_empty() && self.has_request_line()? {
                match codec.decode(&mut self.received) {
                    Ok(Some(Message::Item(request))) => {
                        return Poll::Ready(self.begin(request, codec));
                    }
                    Ok(None) => {}
                    Ok(Some(Message::Chunk(_))) => {
                        return Poll::Ready(Err(refused(ErrorKind::Internal, "a chunk without a request")));
                    }
                    Err(error) => return Poll::Ready(Err(unreadable(&error))),
                }
            }
            ready!(self.poll_receive(transport, context)).map_err(|_| ConnectionEnd::Gone)?;
        }
    }

    /// The next piece of the request's body.
    pub fn poll_body(
        &mut self,
        transport: &mut Transport,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, PayloadError>>> {
        loop {
            match self.body.decode(&mut self.received) {
                Ok(Decoded::Piece(piece)) => return Poll::Ready(Some(Ok(piece))),
                Ok(Decoded::End) => return Poll::Ready(None),
                Ok(Decoded::NeedsMore) => {}
                Err(error) => return Poll::Ready(Some(Err(error))),
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
        let Body::Length(announced) = self.body else {
            return Poll::Ready(Err(PayloadError::Incomplete(None)));
        };
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
        let left = announced.saturating_sub(length as u64);
        self.body = if left == 0 { Body::Over } else { Body::Length(left) };
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

    fn begin(&mut self, mut request: Request, codec: &mut Codec) -> Result<Request, ConnectionEnd> {
        self.searched = Some(0);
        if request.head().upgrade() {
            self.ignore_upgrade(request.head_mut(), codec).map_err(|error| unreadable(&error))?;
        }
        let head = request.head();
        self.body = Body::announced_by(head);
        let is_expected = self.has_body() && expects_continue(head);
        self.interim = if is_expected { Bytes::from_static(CONTINUE) } else { Bytes::new() };
        Ok(request)
    }

    /// Ignores `Upgrade` (RFC 9110, 7.8): the answer must not announce it, and the connection stays. The codec keeps
    /// the connection's type to itself, so that a new one reads a head of the same method and version without the
    /// option.
    fn ignore_upgrade(&self, head: &mut RequestHead, codec: &mut Codec) -> Result<(), ParseError> {
        let is_kept = head.version == Version::HTTP_11 || is_kept_alive(head);
        head.set_connection_type(if is_kept { ConnectionType::KeepAlive } else { ConnectionType::Close });
        let method = if head.method == Method::HEAD { "HEAD" } else { "GET" };
        let version = if head.version == Version::HTTP_11 { "1.1" } else { "1.0" };
        let option = if is_kept { "keep-alive" } else { "close" };
        let plain = format!("{method} / HTTP/{version}\r\nhost: h\r\nconnection: {option}\r\n\r\n");
        *codec = Codec::new(self.config.clone());
        codec.decode(&mut BytesMut::from(plain.as_str())).map(|_| ())
    }

    /// Whether a whole request line is here; its target then has its escapes.
    fn has_request_line(&mut self) -> Result<bool, ConnectionEnd> {
        let Some(searched) = self.searched else { return Ok(true) };
        if searched == 0 {
            // empty lines before it mean nothing (RFC 9112, 2.2); a CR without its LF is no line end
            while let [b'\n', ..] | [b'\r', b'\n', ..] = self.received[..] {
                let length = if self.received[0] == b'\n' { 1 } else { 2 };
                self.received.advance(length);
            }
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

/// HTTP/1.0 knows no interim answers (RFC 9110, 10.1.1).
fn expects_continue(head: &RequestHead) -> bool {
    let values = head.headers.get_all(header::EXPECT).map(header::HeaderValue::as_bytes);
    head.version == Version::HTTP_11 && asks_for_continue(values)
}

/// `Connection: keep-alive`, which an HTTP/1.0 client has to ask for.
fn is_kept_alive(head: &RequestHead) -> bool {
    let values = head.headers.get_all(header::CONNECTION);
    let mut options = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"keep-alive"))
}

/// Whether what has come of a line could become a request's. The parser says at once what cannot.
fn begins_like_a_request(line: &[u8]) -> bool {
    let method = line.split(|byte| *byte == b' ').next().unwrap_or_default();
    method.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~\r".contains(byte))
}

fn refused(kind: ErrorKind, cause: &'static str) -> ConnectionEnd {
    ConnectionEnd::Refused(ProxyError::new(kind, cause))
}

fn unreadable(error: &ParseError) -> ConnectionEnd {
    if matches!(error, ParseError::TooLarge) {
        return refused(ErrorKind::HeadersTooLarge, "more than 96 headers or a head of more than 128 KiB");
    }
    ConnectionEnd::Refused(ProxyError::new(ErrorKind::InvalidRequest, error.to_string()))
}
