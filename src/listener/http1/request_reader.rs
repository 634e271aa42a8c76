//! Reads requests of HTTP/1.1: heads by `actix-http`'s codec, bodies in the framing that their heads
//! announce.
//!
//! The codec decodes heads only. Its body decoder reads to the end of the connection after `CONNECT` and
//! `Upgrade: websocket`, whatever `Content-Length` is, and accepts chunk extensions and trailers of any size
//! and form.
//!
//! `http1.rs` polls for the next head only when the last request has been answered: the codec keeps version,
//! method and `Connection` of one request for its response. The body is read when `proxy::serve` polls it,
//! which holds the client back until then. Meanwhile the client is watched: one that closes its connection
//! ends its call.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use actix_http::{
    ConnectionType, HttpMessage as _, Method, Request, RequestHead, ServiceConfig, Version,
    error::{ParseError, PayloadError},
    h1::{Codec, Message, MessageType},
    header,
};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use tokio::io::AsyncWrite as _;
use tokio_util::{codec::Decoder as _, io::poll_read_buf};

use crate::{
    listener::{
        expectation::asks_for_continue,
        request_target::escape_in_line,
        transport::{Transport, poll_read_piece},
    },
    message::{
        chunks::{ChunkDecoder, Decoded},
        error::{ErrorKind, ProxyError},
        header_spelling::HeaderSpelling,
    },
};

/// Bytes of one read of a body.
const BODY_READ_SIZE: usize = 16 << 10;
/// Bytes that are read ahead of the current request; more stay in the kernel.
const MAX_AHEAD: usize = 64 << 10;
/// `http` 0.2 refuses longer URIs as malformed.
const MAX_LINE: usize = u16::MAX as usize;
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The reason why there is no further request.
#[derive(Debug)]
pub enum ConnectionEnd {
    /// The client has closed the connection.
    Closed,
    /// The client sent bytes that are not a valid request.
    Refused(ProxyError),
}

/// The framing of a request's body (RFC 9112, 6.3), and the part that is still to be read.
#[derive(Debug)]
enum BodyState {
    Complete,
    /// This many bytes, at least one.
    Length(u64),
    Chunked(ChunkDecoder),
    /// The end of the body cannot be found.
    Broken,
}

impl BodyState {
    /// The framing that a head announces. The codec has refused contradictory and malformed framing.
    fn announced_by(head: &RequestHead) -> Self {
        if head.headers.contains_key(header::TRANSFER_ENCODING) {
            return Self::Chunked(ChunkDecoder::default());
        }
        let length = head.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
        match length.and_then(|length| length.trim().parse().ok()) {
            None | Some(0) => Self::Complete,
            Some(length) => Self::Length(length),
        }
    }

    /// Removes the next piece from `received`.
    fn decode(&mut self, received: &mut BytesMut) -> Result<Decoded, PayloadError> {
        match self {
            Self::Complete => Ok(Decoded::End),
            Self::Broken => Err(PayloadError::Incomplete(None)),
            Self::Length(_) if received.is_empty() => Ok(Decoded::NeedsMore),
            Self::Length(left) => {
                let length = usize::try_from(*left).unwrap_or(usize::MAX).min(received.len());
                *left -= length as u64;
                if *left == 0 {
                    *self = Self::Complete;
                }
                Ok(Decoded::Piece(received.split_to(length).freeze()))
            }
            Self::Chunked(chunks) => {
                let decoded = chunks.decode(received);
                match decoded {
                    Ok(Decoded::End) => *self = Self::Complete,
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
    /// Bytes of it that were searched for the end of the request line; `None` once the end is found.
    searched: Option<usize>,
    body: BodyState,
    /// `100 Continue` for a client that waits for it, sent when the body is read.
    interim: Bytes,
    max_uri: u64,
    config: ServiceConfig,
}

impl RequestReader {
    pub fn new(max_uri: u64, config: ServiceConfig) -> Self {
        let (received, interim) = (BytesMut::new(), Bytes::new());
        Self { received, searched: Some(0), body: BodyState::Complete, interim, max_uri, config }
    }

    /// True if nothing of a further request has arrived.
    pub fn is_empty(&self) -> bool {
        self.received.is_empty()
    }

    /// True if bytes of the request's body are still to be read.
    pub fn has_body(&self) -> bool {
        !matches!(self.body, BodyState::Complete)
    }

    /// Drops `100 Continue` that was not sent, because the response begins.
    pub fn drop_continue(&mut self) {
        self.interim = Bytes::new();
    }

    /// Drops what has arrived of the last request's body; true if that was the rest of it.
    pub fn drop_rest_of_body(&mut self) -> bool {
        loop {
            match self.body.decode(&mut self.received) {
                Ok(Decoded::Piece(_)) => {}
                Ok(Decoded::End) => return true,
                Ok(Decoded::NeedsMore) | Err(_) => return false,
            }
        }
    }

    /// The next request. With `keeps_spelling` its extensions contain the client's spelling of header names.
    pub fn poll_request(
        &mut self,
        transport: &mut Transport,
        codec: &mut Codec,
        keeps_spelling: bool,
        context: &mut Context<'_>,
    ) -> Poll<Result<Request, ConnectionEnd>> {
        if codec.message_type() != MessageType::None {
            // the codec still expects the body of the last request, which it did not decode
            *codec = Codec::new(self.config.clone());
        }
        loop {
            if !self.received.is_empty() && self.has_request_line()? {
                // before the codec removes the head and lowers the names
                let spelling = if keeps_spelling { HeaderSpelling::of_head(&self.received) } else { None };
                match codec.decode(&mut self.received) {
                    Ok(Some(Message::Item(request))) => {
                        if let Some(spelling) = spelling {
                            request.extensions_mut().insert(spelling);
                        }
                        return Poll::Ready(self.begin(request, codec));
                    }
                    Ok(None) => {}
                    Ok(Some(Message::Chunk(_))) => {
                        return Poll::Ready(Err(refused(ErrorKind::Internal, "a chunk without a request")));
                    }
                    Err(error) => return Poll::Ready(Err(unreadable(&error))),
                }
            }
            ready!(self.poll_receive(transport, context)).map_err(|_| ConnectionEnd::Closed)?;
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
            let sent = ready!(self.poll_send_continue(transport, context));
            self.received.reserve(BODY_READ_SIZE);
            let is_open = sent.is_ok()
                && ready!(poll_read_buf(Pin::new(&mut *transport), context, &mut self.received))
                    .is_ok_and(|length| length > 0);
            if !is_open {
                self.body = BodyState::Broken;
            }
        }
    }

    /// Appends the next part of the request's body to `whole`, up to the `left` bytes that belong to it.
    pub fn poll_body_into(
        &mut self,
        transport: &mut Transport,
        whole: &mut Vec<u8>,
        left: usize,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), PayloadError>> {
        let BodyState::Length(announced) = self.body else {
            return Poll::Ready(Err(PayloadError::Incomplete(None)));
        };
        let length = if self.received.is_empty() {
            ready!(self.poll_send_continue(transport, context))?;
            let mut room = whole.limit(left);
            ready!(poll_read_buf(Pin::new(transport), context, &mut room))?
        } else {
            let length = left.min(self.received.len());
            whole.extend_from_slice(&self.received.split_to(length));
            length
        };
        if length == 0 {
            self.body = BodyState::Broken;
            return Poll::Ready(Err(PayloadError::Incomplete(None)));
        }
        let left = announced.saturating_sub(length as u64);
        self.body = if left == 0 { BodyState::Complete } else { BodyState::Length(left) };
        Poll::Ready(Ok(()))
    }

    /// Ready once the client has closed the connection. Up to [`MAX_AHEAD`] bytes that it sends meanwhile are
    /// kept.
    pub fn poll_closed(&mut self, transport: &mut Transport, context: &mut Context<'_>) -> Poll<()> {
        while self.received.len() < MAX_AHEAD {
            if ready!(self.poll_receive(transport, context)).is_err() {
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }

    /// Discards what the client sends; ready once the client has closed the connection.
    pub fn poll_discard(&mut self, transport: &mut Transport, context: &mut Context<'_>) -> Poll<()> {
        loop {
            self.received.clear();
            if ready!(self.poll_receive(transport, context)).is_err() {
                return Poll::Ready(());
            }
        }
    }

    /// Frees memory of an idle connection.
    pub fn shrink(&mut self) {
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
        self.body = BodyState::announced_by(head);
        let is_expected = self.has_body() && expects_continue(head);
        self.interim = if is_expected { Bytes::from_static(CONTINUE) } else { Bytes::new() };
        Ok(request)
    }

    /// Ignores `Upgrade` (RFC 9110, 7.8): the response must not announce it, and the connection stays open.
    /// The codec's connection type is private, so a new codec decodes a head of the same method and version
    /// without the option.
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

    /// True if the whole request line has arrived; its target is then escaped.
    fn has_request_line(&mut self) -> Result<bool, ConnectionEnd> {
        let Some(searched) = self.searched else { return Ok(true) };
        if searched == 0 {
            // empty lines before it are ignored (RFC 9112, 2.2); a CR without LF is not a line end
            while let [b'\n', ..] | [b'\r', b'\n', ..] = self.received[..] {
                let length = if self.received[0] == b'\n' { 1 } else { 2 };
                self.received.advance(length);
            }
        }
        let end = self.received[searched..].iter().position(|byte| *byte == b'\n').map(|end| searched + end);
        let length = end.unwrap_or(self.received.len());
        if length > MAX_LINE {
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

    /// Receives a piece; an error is the end of the connection.
    fn poll_receive(&mut self, transport: &mut Transport, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let read = ready!(poll_read_piece(Pin::new(transport), context, &mut self.received))?;
        Poll::Ready(if read == 0 { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) })
    }

    /// Sends `100 Continue` to a client that waits for it.
    fn poll_send_continue(
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

/// HTTP/1.0 has no interim responses (RFC 9110, 10.1.1).
fn expects_continue(head: &RequestHead) -> bool {
    let values = head.headers.get_all(header::EXPECT).map(header::HeaderValue::as_bytes);
    head.version == Version::HTTP_11 && asks_for_continue(values)
}

/// True for `Connection: keep-alive`, which an HTTP/1.0 client has to send.
fn is_kept_alive(head: &RequestHead) -> bool {
    let values = head.headers.get_all(header::CONNECTION);
    let mut options = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"keep-alive"))
}

/// True if an incomplete line may become a request line. The parser refuses others at once.
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
