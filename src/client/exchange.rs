//! One request and its answer on one connection: HTTP/1.1 as a client speaks it (RFC 9112).
//!
//! `client.rs` begins one on a connection of its own choice. Both directions run at the same time: the request
//! goes out (`sending.rs`) while the answer's head is looked for (`framing.rs`), so that an upstream that answers
//! early is heard. `response.rs` then asks for the body piece by piece, and takes the connection back when the
//! exchange has left it fit for another one.

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
    framing::{self, Framing, Head, MalformedHead, Parsed},
    sending::Sending,
    stream::Stream,
};
use crate::{
    message::{
        chunks::{Chunks, Decoded},
        error::{ErrorKind, ProxyError},
    },
    tls::failure,
};

/// Room for one read of a head: most answers come whole.
const HEAD_PIECE: usize = 4 << 10;
/// Room for one read of a body.
const BODY_PIECE: usize = 32 << 10;
/// As long as there is so much room left, no more is made: what has been handed on still holds it.
const LEAST_ROOM: usize = 2 << 10;
/// Interim answers before the real one; servers send one or two.
const MAX_INTERIM: u32 = 32;

/// One request and its answer. Dropping it closes the connection.
pub struct Exchange {
    stream: Stream,
    sending: Sending,
    to_head: bool,
    /// Bytes received and not handed on yet.
    pending: BytesMut,
    interim: u32,
    anything_received: bool,
    /// What is still to come of the answer; nothing is known of it before its head.
    expected: Option<Expected>,
    reusable: bool,
}

/// What is still to come of an answer's body.
#[derive(Debug)]
enum Expected {
    Nothing,
    /// This many bytes.
    Length(u64),
    Chunks(Chunks),
    /// All that comes until the connection ends.
    UntilClose,
}

impl Exchange {
    /// Prepares to send a request over `stream`; `to_head` tells that its method is HEAD.
    pub fn new(stream: Stream, sending: Sending, to_head: bool) -> Self {
        Self {
            stream,
            sending,
            to_head,
            pending: BytesMut::new(),
            interim: 0,
            anything_received: false,
            expected: None,
            reusable: false,
        }
    }

    /// Whether as much as one byte has come back.
    pub fn anything_received(&self) -> bool {
        self.anything_received
    }

    /// Since when it is the upstream that keeps everybody waiting: the request's last progress. That is now for as
    /// long as the next part of the body has to come from the client.
    pub fn waiting_since(&self) -> Instant {
        if self.sending.waits_for_client() { Instant::now() } else { self.sending.progress_at() }
    }

    /// Takes the connection back, if the exchange has left it fit for another one; otherwise it closes. It is fit if
    /// every byte of the request has gone out, and every byte of the answer has come and not one more.
    pub fn into_reusable(self) -> Option<Stream> {
        let is_over = matches!(self.expected, Some(Expected::Nothing)) && self.sending.is_over();
        (self.reusable && is_over && self.pending.is_empty()).then_some(self.stream)
    }

    /// Goes on sending, and gives the answer's head once it is complete.
    ///
    /// A write that fails is no error: the answer that explains why (413, 403) may be on its way.
    pub fn poll_head(&mut self, context: &mut Context<'_>) -> Poll<Result<Head, ProxyError>> {
        if let Poll::Ready(Err(error)) = self.sending.poll(&mut self.stream, context) {
            return Poll::Ready(Err(error));
        }
        loop {
            match framing::parse(&mut self.pending, self.to_head)? {
                Parsed::Interim if self.interim == MAX_INTERIM => {
                    return Poll::Ready(Err(MalformedHead::Interim(MAX_INTERIM).into()));
                }
                Parsed::Interim => self.interim += 1,
                Parsed::Final(head) => {
                    self.begin_body(&head);
                    return Poll::Ready(Ok(head));
                }
                Parsed::Partial => {
                    if ready!(self.poll_receive(HEAD_PIECE, context))? == 0 {
                        return Poll::Ready(Err(cut("the connection ended before the answer's head did")));
                    }
                }
            }
        }
    }

    fn begin_body(&mut self, head: &Head) {
        self.reusable = head.reusable;
        self.expected = Some(match head.framing {
            Framing::Empty => Expected::Nothing,
            Framing::Length(length) => Expected::Length(length),
            Framing::Chunked => Expected::Chunks(Chunks::default()),
            Framing::UntilClose => Expected::UntilClose,
        });
        if !head.reusable && (head.status.is_client_error() || head.status.is_server_error()) {
            // whoever refuses and closes will not read on, and what still reached it might cost us its words
            // (RFC 9112, 9.5 and 9.6)
            self.sending.cease();
        }
    }

    /// Goes on sending, and gives the next piece of the answer's body; `None` after the last.
    pub fn poll_body(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, ProxyError>>> {
        if let Poll::Ready(Err(error)) = self.sending.poll(&mut self.stream, context) {
            return Poll::Ready(Some(Err(error)));
        }
        loop {
            match self.next_at_hand() {
                Ok(Decoded::Piece(piece)) => return Poll::Ready(Some(Ok(piece))),
                Ok(Decoded::End) => {
                    self.expected = Some(Expected::Nothing);
                    return Poll::Ready(None);
                }
                Ok(Decoded::NeedsMore) => {}
                Err(malformed) => return Poll::Ready(Some(Err(malformed.into()))),
            }
            match ready!(self.poll_receive(self.room(), context)) {
                Ok(0) => return Poll::Ready(self.end_of_connection().map(Err)),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
    }

    /// Takes a piece of the body out of what has been received.
    fn next_at_hand(&mut self) -> Result<Decoded, MalformedHead> {
        match &mut self.expected {
            None | Some(Expected::Nothing | Expected::Length(0)) => Ok(Decoded::End),
            Some(Expected::Chunks(chunks)) => Ok(chunks.decode(&mut self.pending)?),
            Some(Expected::Length(_) | Expected::UntilClose) if self.pending.is_empty() => {
                Ok(Decoded::NeedsMore)
            }
            Some(Expected::Length(left)) => {
                let length = usize::try_from(*left).unwrap_or(usize::MAX).min(self.pending.len());
                *left -= length as u64;
                Ok(Decoded::Piece(self.pending.split_to(length).freeze()))
            }
            Some(Expected::UntilClose) => Ok(Decoded::Piece(self.pending.split().freeze())),
        }
    }

    /// How many bytes to make room for: no more than can still come.
    fn room(&self) -> usize {
        match self.expected {
            Some(Expected::Length(left)) => usize::try_from(left).unwrap_or(BODY_PIECE).min(BODY_PIECE),
            _ => BODY_PIECE,
        }
    }

    /// The connection has ended in the middle of the body, which is the end of one that has no other.
    fn end_of_connection(&mut self) -> Option<ProxyError> {
        match self.expected.replace(Expected::Nothing) {
            Some(Expected::UntilClose) if self.sending.was_reset() => {
                Some(cut("the connection was reset before the answer ended"))
            }
            Some(Expected::UntilClose) => None,
            Some(Expected::Length(left)) => {
                Some(cut(format!("the connection ended {left} bytes before the answer did")))
            }
            _ => Some(cut("the connection ended before the answer did")),
        }
    }

    /// Reads once; 0 at the end of the connection.
    fn poll_receive(&mut self, room: usize, context: &mut Context<'_>) -> Poll<Result<usize, ProxyError>> {
        let length = if self.expected.is_none() {
            self.poll_receive_head(context)
        } else {
            let left = self.pending.capacity() - self.pending.len();
            if left < room.min(LEAST_ROOM) {
                self.pending.reserve(room);
            }
            poll_read_buf(Pin::new(&mut self.stream), context, &mut self.pending)
        };
        let length = ready!(length);
        self.anything_received |= matches!(length, Ok(1..));
        Poll::Ready(length.map_err(broken))
    }

    /// By way of the stack, so that a request that waits for its answer holds no memory for it.
    fn poll_receive_head(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut piece = [const { MaybeUninit::uninit() }; HEAD_PIECE];
        let mut buffer = ReadBuf::uninit(&mut piece);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer))?;
        self.pending.extend_from_slice(buffer.filled());
        Poll::Ready(Ok(buffer.filled().len()))
    }
}

fn cut(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ProxyError {
    ProxyError::new(ErrorKind::UpstreamTruncated, cause)
}

/// What a broken connection means: a TLS session that was refused, or an answer that ended too soon.
fn broken(error: io::Error) -> ProxyError {
    match failure::of_session(&error) {
        Some(failure) => ProxyError::new(ErrorKind::UpstreamTls, failure.for_log()),
        None => cut(error),
    }
}
