//! One request and its response on one connection: HTTP/1.1 as a client speaks it (RFC 9112).
//!
//! `client.rs` starts an exchange on a connection. Both directions run at the same time: the request is sent
//! (`sending.rs`) while the response's head is parsed (`framing.rs`), so that an early response is received.
//! `response.rs` then polls the body, and returns the connection to the pool if it can be reused.

use std::{
    io,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead as _, ReadBuf},
    time::Instant,
};
use tokio_util::io::poll_read_buf;

use super::{
    framing::{self, BodyFraming, MalformedHead, ParsedHead, ResponseHead},
    sending::Sending,
    stream::UpstreamStream,
};
use crate::{
    message::{
        chunks::{ChunkDecoder, Decoded},
        error::{ErrorKind, ProxyError},
    },
    tls::failure,
};

/// Buffer size for a read of a head; most responses fit.
const HEAD_READ_SIZE: usize = 4 << 10;
/// Buffer size for a read of a body.
const BODY_READ_SIZE: usize = 32 << 10;
/// The buffer is not enlarged while it has this much free space: pieces handed on still share its memory.
const MIN_READ_SIZE: usize = 2 << 10;
/// Maximum interim responses before the final one; servers send one or two.
const MAX_INTERIM: u32 = 32;

/// One request and its response. Dropping it closes the connection.
pub struct Exchange {
    stream: UpstreamStream,
    sending: Sending,
    to_head: bool,
    /// Bytes received and not handed on yet.
    pending: BytesMut,
    interim: u32,
    anything_received: bool,
    /// Framing of the rest of the body; `None` before the head, `Empty` after the last byte.
    rest: Option<BodyFraming>,
    chunks: ChunkDecoder,
    reusable: bool,
}

impl Exchange {
    /// Prepares to send a request over `stream`; `to_head` is true for the method HEAD.
    pub fn new(stream: UpstreamStream, sending: Sending, to_head: bool) -> Self {
        Self {
            stream,
            sending,
            to_head,
            pending: BytesMut::new(),
            interim: 0,
            anything_received: false,
            rest: None,
            chunks: ChunkDecoder::default(),
            reusable: false,
        }
    }

    /// True if at least one byte was received.
    pub fn anything_received(&self) -> bool {
        self.anything_received
    }

    /// Start of the time spent waiting for the upstream: the last progress of the request, or now while the
    /// next part of the body must come from the client.
    pub fn waiting_since(&self) -> Instant {
        if self.sending.waits_for_client() { Instant::now() } else { self.sending.progress_at() }
    }

    /// Returns the connection if it can be reused; otherwise it closes. It can be reused if the whole request
    /// was sent, the whole response was received, and no byte followed.
    pub fn into_reusable(self) -> Option<UpstreamStream> {
        let is_over = self.rest == Some(BodyFraming::Empty) && self.sending.is_over();
        (self.reusable && is_over && self.pending.is_empty()).then_some(self.stream)
    }

    /// Continues sending, and returns the response's head once it is complete.
    ///
    /// A failed write is not an error: the response that explains it (413, 403) may follow.
    pub fn poll_head(&mut self, context: &mut Context<'_>) -> Poll<Result<ResponseHead, ProxyError>> {
        if let Poll::Ready(Err(error)) = self.sending.poll(&mut self.stream, context) {
            return Poll::Ready(Err(error));
        }
        loop {
            match framing::parse(&mut self.pending, self.to_head)? {
                ParsedHead::Interim if self.interim == MAX_INTERIM => {
                    return Poll::Ready(Err(MalformedHead::Interim(MAX_INTERIM).into()));
                }
                ParsedHead::Interim => self.interim += 1,
                ParsedHead::Final(head) => {
                    self.begin_body(&head);
                    return Poll::Ready(Ok(head));
                }
                ParsedHead::Partial => {
                    if ready!(self.poll_receive(HEAD_READ_SIZE, context))? == 0 {
                        let cause = "the connection ended before the answer's head did";
                        return Poll::Ready(Err(truncated(cause)));
                    }
                }
            }
        }
    }

    fn begin_body(&mut self, head: &ResponseHead) {
        self.reusable = head.reusable;
        self.rest = Some(head.framing);
        if !head.reusable && (head.status.is_client_error() || head.status.is_server_error()) {
            // an upstream that rejects the request and closes stops reading; more data would provoke a reset
            // that destroys its response (RFC 9112, 9.5 and 9.6)
            self.sending.stop();
        }
    }

    /// Continues sending, and returns the next piece of the response's body; `None` after the last.
    pub fn poll_body(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, ProxyError>>> {
        if let Poll::Ready(Err(error)) = self.sending.poll(&mut self.stream, context) {
            return Poll::Ready(Some(Err(error)));
        }
        loop {
            match self.next_piece() {
                Ok(Decoded::Piece(piece)) => return Poll::Ready(Some(Ok(piece))),
                Ok(Decoded::End) => {
                    self.rest = Some(BodyFraming::Empty);
                    return Poll::Ready(None);
                }
                Ok(Decoded::NeedsMore) => {}
                Err(malformed) => return Poll::Ready(Some(Err(malformed.into()))),
            }
            match ready!(self.poll_receive(self.read_size(), context)) {
                Ok(0) => return Poll::Ready(self.end_of_connection().map(Err)),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
    }

    /// Takes a piece of the body out of the received bytes.
    fn next_piece(&mut self) -> Result<Decoded, MalformedHead> {
        match &mut self.rest {
            None | Some(BodyFraming::Empty | BodyFraming::Length(0)) => Ok(Decoded::End),
            Some(BodyFraming::Chunked) => Ok(self.chunks.decode(&mut self.pending)?),
            Some(BodyFraming::Length(_) | BodyFraming::UntilClose) if self.pending.is_empty() => {
                Ok(Decoded::NeedsMore)
            }
            Some(BodyFraming::Length(left)) => {
                let length = usize::try_from(*left).unwrap_or(usize::MAX).min(self.pending.len());
                *left -= length as u64;
                Ok(Decoded::Piece(self.pending.split_to(length).freeze()))
            }
            Some(BodyFraming::UntilClose) => Ok(Decoded::Piece(self.pending.split().freeze())),
        }
    }

    /// Size of the next read: never more than the body can still have.
    fn read_size(&self) -> usize {
        match self.rest {
            Some(BodyFraming::Length(left)) => {
                usize::try_from(left).unwrap_or(BODY_READ_SIZE).min(BODY_READ_SIZE)
            }
            _ => BODY_READ_SIZE,
        }
    }

    /// The connection ended before the last byte; this is no error for a body framed by it.
    fn end_of_connection(&mut self) -> Option<ProxyError> {
        match self.rest.replace(BodyFraming::Empty) {
            Some(BodyFraming::UntilClose) if self.sending.was_reset() => {
                Some(truncated("the connection was reset before the answer ended"))
            }
            Some(BodyFraming::UntilClose) => None,
            Some(BodyFraming::Length(left)) => {
                Some(truncated(format!("the connection ended {left} bytes before the answer did")))
            }
            _ => Some(truncated("the connection ended before the answer did")),
        }
    }

    /// Reads once; 0 at the end of the connection.
    fn poll_receive(&mut self, room: usize, context: &mut Context<'_>) -> Poll<Result<usize, ProxyError>> {
        let length = if self.rest.is_none() {
            self.poll_receive_head(context)
        } else {
            let left = self.pending.capacity() - self.pending.len();
            if left < room.min(MIN_READ_SIZE) {
                self.pending.reserve(room);
            }
            poll_read_buf(Pin::new(&mut self.stream), context, &mut self.pending)
        };
        let length = ready!(length);
        self.anything_received |= matches!(length, Ok(1..));
        Poll::Ready(length.map_err(broken))
    }

    /// Reads into a buffer on the stack, so that a request that waits for its response holds no memory for
    /// it.
    fn poll_receive_head(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut piece = [const { MaybeUninit::uninit() }; HEAD_READ_SIZE];
        let mut buffer = ReadBuf::uninit(&mut piece);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer))?;
        self.pending.extend_from_slice(buffer.filled());
        Poll::Ready(Ok(buffer.filled().len()))
    }
}

pub(super) fn truncated(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ProxyError {
    ProxyError::new(ErrorKind::UpstreamTruncated, cause)
}

/// Maps an I/O error to a TLS failure or a truncated response.
fn broken(error: io::Error) -> ProxyError {
    match failure::of_session(&error) {
        Some(failure) => ProxyError::new(ErrorKind::UpstreamTls, failure.for_log()),
        None => truncated(error),
    }
}
