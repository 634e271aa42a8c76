//! Writes responses of HTTP/1.1: heads by `actix-http`'s codec, bodies in the framing that the head
//! announces.
//!
//! `http1.rs` buffers a response piece by piece and sends it. Large pieces are not copied.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use actix_http::{
    Response, Version,
    body::BodySize,
    h1::{Codec, Message},
};
use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::AsyncWrite as _;
use tokio_util::codec::Encoder as _;

use crate::listener::transport::Transport;

/// Pieces up to this size are copied into the buffer, so that they are sent together.
const MAX_COPIED: usize = 4 << 10;
/// A buffer above this size is sent before more is added.
const FLUSH_THRESHOLD: usize = 16 << 10;
/// Capacities that an idle connection retains.
const RETAINED_CAPACITY: usize = 1 << 10;
const RETAINED_SEGMENTS: usize = 16;

/// The framing of a response's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum BodyFraming {
    #[default]
    Empty,
    /// This many more bytes.
    Length(u64),
    Chunked,
    UntilClose,
}

/// The sending side of a connection.
#[derive(Default)]
pub struct ResponseWriter {
    head: BytesMut,
    /// A large piece behind `head`.
    piece: Bytes,
    /// Bytes behind `piece`.
    tail: &'static [u8],
    framing: BodyFraming,
    /// All buffered bytes in order, to count the bytes of the body in a partial write.
    segments: VecDeque<Segment>,
    /// The kernel has taken bytes of the current response.
    pub has_written: bool,
    /// Bytes of its body that the kernel has taken.
    pub written_body: u64,
}

/// Bytes of a head or of chunk framing, and bytes of the body behind them.
#[derive(Debug, Clone, Copy)]
struct Segment {
    overhead: usize,
    body: usize,
}

impl ResponseWriter {
    /// Buffers a response's head. The body's framing follows from its size and the version of the request.
    ///
    /// # Errors
    /// The head cannot be encoded.
    pub fn begin(
        &mut self,
        response: Response<()>,
        size: BodySize,
        request: Version,
        codec: &mut Codec,
    ) -> io::Result<()> {
        let is_chunked = request == Version::HTTP_11 && response.head().chunked();
        self.framing = match size {
            BodySize::None | BodySize::Sized(0) => BodyFraming::Empty,
            BodySize::Sized(length) => BodyFraming::Length(length),
            BodySize::Stream if is_chunked => BodyFraming::Chunked,
            BodySize::Stream => BodyFraming::UntilClose,
        };
        (self.has_written, self.written_body) = (false, 0);
        codec.encode(Message::Item((response, size)), &mut self.head)?;
        self.segments.push_back(Segment { overhead: self.head.len(), body: 0 });
        Ok(())
    }

    /// Buffers bytes without framing.
    pub fn put_raw(&mut self, bytes: &[u8]) {
        self.head.extend_from_slice(bytes);
        self.segments.push_back(Segment { overhead: bytes.len(), body: 0 });
    }

    /// Discards the response; `false` if bytes of its body were buffered or bytes of its head were sent.
    pub fn discard(&mut self) -> bool {
        let has_body = self.segments.iter().any(|segment| segment.body > 0);
        let is_unsent = !self.has_written && !has_body;
        if is_unsent {
            self.head.clear();
            self.segments.clear();
        }
        is_unsent
    }

    /// True if the end of the connection is the end of the body, so that a truncation would look complete.
    pub fn ends_with_connection(&self) -> bool {
        self.framing == BodyFraming::UntilClose
    }

    /// Buffers a piece of the body, up to the announced length.
    pub fn put(&mut self, mut piece: Bytes) {
        if piece.is_empty() {
            return;
        }
        let before = self.head.len();
        match &mut self.framing {
            BodyFraming::Empty => return,
            BodyFraming::Length(left) => {
                piece.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= piece.len() as u64;
            }
            BodyFraming::Chunked => {
                self.head.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                self.tail = b"\r\n";
            }
            BodyFraming::UntilClose => {}
        }
        self.segments.push_back(Segment { overhead: self.head.len() - before, body: piece.len() });
        if !self.tail.is_empty() {
            self.segments.push_back(Segment { overhead: self.tail.len(), body: 0 });
        }
        if piece.len() <= MAX_COPIED {
            self.head.extend_from_slice(&piece);
            self.head.extend_from_slice(std::mem::take(&mut self.tail));
        } else {
            self.piece = piece;
        }
    }

    /// Buffers the end of the body.
    ///
    /// # Errors
    /// The body is shorter than its head announced.
    pub fn finish(&mut self) -> io::Result<()> {
        match self.framing {
            BodyFraming::Length(1..) => Err(io::ErrorKind::UnexpectedEof.into()),
            BodyFraming::Chunked => {
                self.put_raw(b"0\r\n\r\n");
                Ok(())
            }
            BodyFraming::Empty | BodyFraming::Length(0) | BodyFraming::UntilClose => Ok(()),
        }
    }

    /// True if the buffer must be sent before more is added.
    pub fn is_full(&self) -> bool {
        !self.piece.is_empty() || self.head.len() > FLUSH_THRESHOLD
    }

    /// Sends the whole buffer.
    pub fn poll_send(
        &mut self,
        transport: &mut Transport,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !(self.head.is_empty() && self.piece.is_empty() && self.tail.is_empty()) {
            let pieces = [IoSlice::new(&self.head), IoSlice::new(&self.piece), IoSlice::new(self.tail)];
            let transport = Pin::new(&mut *transport);
            let written = if self.piece.is_empty() {
                ready!(transport.poll_write(context, &self.head))?
            } else {
                ready!(transport.poll_write_vectored(context, &pieces))?
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(written);
        }
        Pin::new(transport).poll_flush(context)
    }

    fn advance(&mut self, written: usize) {
        self.count(written);
        let of_head = written.min(self.head.len());
        self.head.advance(of_head);
        let of_piece = (written - of_head).min(self.piece.len());
        self.piece.advance(of_piece);
        self.tail = &self.tail[(written - of_head - of_piece).min(self.tail.len())..];
        if self.piece.is_empty() && !self.tail.is_empty() {
            // sent with what follows
            self.head.extend_from_slice(std::mem::take(&mut self.tail));
        }
    }

    fn count(&mut self, mut written: usize) {
        self.has_written |= written > 0;
        while let Some(segment) = self.segments.front_mut() {
            let overhead = written.min(segment.overhead);
            let body = (written - overhead).min(segment.body);
            segment.overhead -= overhead;
            segment.body -= body;
            written -= overhead + body;
            self.written_body += body as u64;
            if segment.overhead + segment.body > 0 {
                break;
            }
            self.segments.pop_front();
        }
    }

    /// Frees memory of an idle connection.
    pub fn shrink(&mut self) {
        if self.head.capacity() > RETAINED_CAPACITY {
            self.head = BytesMut::new();
        }
        self.piece = Bytes::new();
        if self.segments.capacity() > RETAINED_SEGMENTS {
            self.segments = VecDeque::new();
        }
    }
}
