//! What a client of HTTP/1.1 is sent: heads by `actix-http`'s codec, bodies in the framing that the head announced.
//!
//! `http1.rs` puts an answer in piece by piece and has it sent. Large pieces are not copied.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use actix_http::{
    ConnectionType, Response, Version,
    body::BodySize,
    h1::{Codec, Message},
};
use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::AsyncWrite as _;
use tokio_util::codec::Encoder as _;

use crate::listener::transport::Transport;

/// Pieces up to this size are copied behind what is there, so that they go out together.
const SMALL: usize = 4 << 10;
/// More than this is sent before more is taken.
const ENOUGH: usize = 16 << 10;
/// An idle connection keeps no larger buffer.
const KEPT: usize = 1 << 10;
const KEPT_SEGMENTS: usize = 16;

/// How a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Framing {
    #[default]
    Empty,
    /// After so many more bytes.
    Length(u64),
    Chunked,
    UntilClose,
}

/// The sending side of a connection.
#[derive(Default)]
pub struct ResponseWriter {
    head: BytesMut,
    /// A piece that goes out behind it.
    piece: Bytes,
    /// What goes out behind that.
    tail: &'static [u8],
    framing: Framing,
    /// All of these bytes in their order, to tell how much of the body a partial write has taken.
    segments: VecDeque<Segment>,
    written: Written,
}

/// Bytes of a head or of chunk framing, and bytes of the body behind them.
#[derive(Debug, Clone, Copy)]
struct Segment {
    overhead: usize,
    body: usize,
}

/// The part of the current answer that the kernel has taken.
#[derive(Debug, Clone, Copy, Default)]
struct Written {
    anything: bool,
    body: u64,
}

impl ResponseWriter {
    /// Puts an answer's head in. Its body is framed by the size, in the version of the request.
    ///
    /// # Errors
    /// The head cannot be written.
    pub fn begin(
        &mut self,
        response: Response<()>,
        size: BodySize,
        request: Version,
        codec: &mut Codec,
    ) -> io::Result<()> {
        let is_chunked = request == Version::HTTP_11 && response.head().chunked();
        self.framing = match size {
            BodySize::None | BodySize::Sized(0) => Framing::Empty,
            BodySize::Sized(length) => Framing::Length(length),
            BodySize::Stream if is_chunked => Framing::Chunked,
            BodySize::Stream => Framing::UntilClose,
        };
        self.written = Written::default();
        codec.encode(Message::Item((response, size)), &mut self.head)?;
        self.segments.push_back(Segment { overhead: self.head.len(), body: 0 });
        Ok(())
    }

    /// Puts bytes in as they are.
    pub fn put_raw(&mut self, bytes: &[u8]) {
        self.head.extend_from_slice(bytes);
        self.segments.push_back(Segment { overhead: bytes.len(), body: 0 });
    }

    /// Takes the answer back, if no byte of its body was put in and none of its head has left.
    pub fn take_back(&mut self) -> bool {
        let has_body = self.segments.iter().any(|segment| segment.body > 0);
        let is_unsent = !self.written.anything && !has_body;
        if is_unsent {
            self.head.clear();
            self.segments.clear();
        }
        is_unsent
    }

    /// Whether the kernel has taken anything of the current answer.
    pub fn has_written(&self) -> bool {
        self.written.anything
    }

    /// Bytes of the current answer's body that the kernel has taken.
    pub fn written_body(&self) -> u64 {
        self.written.body
    }

    /// Whether an answer that is cut now ends as a whole one does: with its connection.
    pub fn ends_with_connection(&self) -> bool {
        self.framing == Framing::UntilClose
    }

    /// Puts a piece of the body in. Only what fits into the length that was announced is taken.
    pub fn put(&mut self, mut piece: Bytes) {
        if piece.is_empty() {
            return;
        }
        let before = self.head.len();
        match &mut self.framing {
            Framing::Empty => return,
            Framing::Length(left) => {
                piece.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= piece.len() as u64;
            }
            Framing::Chunked => {
                self.head.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                self.tail = b"\r\n";
            }
            Framing::UntilClose => {}
        }
        self.segments.push_back(Segment { overhead: self.head.len() - before, body: piece.len() });
        if !self.tail.is_empty() {
            self.segments.push_back(Segment { overhead: self.tail.len(), body: 0 });
        }
        if piece.len() <= SMALL {
            self.head.extend_from_slice(&piece);
            self.head.extend_from_slice(std::mem::take(&mut self.tail));
        } else {
            self.piece = piece;
        }
    }

    /// Puts the body's end in.
    ///
    /// # Errors
    /// It is not as long as its head says.
    pub fn finish(&mut self) -> io::Result<()> {
        match self.framing {
            Framing::Length(1..) => Err(io::ErrorKind::UnexpectedEof.into()),
            Framing::Chunked => {
                self.put_raw(b"0\r\n\r\n");
                Ok(())
            }
            Framing::Empty | Framing::Length(0) | Framing::UntilClose => Ok(()),
        }
    }

    /// Whether it has to be sent before more is put in.
    pub fn is_full(&self) -> bool {
        !self.piece.is_empty() || self.head.len() > ENOUGH
    }

    /// Sends all that has been put in.
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
            // goes out with what follows
            self.head.extend_from_slice(std::mem::take(&mut self.tail));
        }
    }

    fn count(&mut self, mut written: usize) {
        self.written.anything |= written > 0;
        while let Some(segment) = self.segments.front_mut() {
            let overhead = written.min(segment.overhead);
            let body = (written - overhead).min(segment.body);
            segment.overhead -= overhead;
            segment.body -= body;
            written -= overhead + body;
            self.written.body += body as u64;
            if segment.overhead + segment.body > 0 {
                break;
            }
            self.segments.pop_front();
        }
    }

    /// Lets go of memory while nothing is sent.
    pub fn rest(&mut self) {
        if self.head.capacity() > KEPT {
            self.head = BytesMut::new();
        }
        self.piece = Bytes::new();
        if self.segments.capacity() > KEPT_SEGMENTS {
            self.segments = VecDeque::new();
        }
    }
}

/// Says that the connection ends with this answer.
pub fn close(response: &mut Response<()>) {
    response.head_mut().set_connection_type(ConnectionType::Close);
}
