//! The fields of requests, between a client's connection and `h2`.
//!
//! `h2` hands fields to the parsers of `http` as it decodes them. What they refuse resets the stream, or ends the
//! connection with all its streams, without an answer: a bare `<` in a path, the path of a Unix socket for an
//! authority, a capital in a name. [`Fields`] decodes the blocks first, and gives `h2` blocks that it takes:
//!
//! ```text
//! fields/filter.rs    frames: which pass, which are a block
//! fields/frames.rs    their form
//! fields/hpack.rs     a block's fields: table.rs has those that were sent before, huffman.rs decodes strings
//! fields/rewrite.rs   what RFC 9113 says of a field, and what becomes of it
//! fields/fault.rs     what is wrong, on its way to the answer
//! ```
//!
//! `http2.rs` puts it around each connection, and ends a connection for which [`Broken`] has a reason.

mod fault;
mod filter;
mod frames;
mod hpack;
mod huffman;
mod rewrite;
mod table;

use std::{
    cell::Cell,
    io,
    mem::MaybeUninit,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use self::filter::{Filter, Step};
pub use self::{
    fault::{AUTHORITY, FAULT, Fault},
    filter::Violation,
};

/// Bytes of a read where the reader has room for a few bytes alone, which a frame's head may not fit in.
const SMALL_READ: usize = 512;

/// Why a connection has to end, once it has.
pub type Broken = Rc<Cell<Option<Violation>>>;

/// A connection whose reader gets the blocks of fields as they were written anew. Writing is left alone.
#[derive(Debug)]
pub struct Fields<T> {
    transport: T,
    filter: Filter,
    /// Read, and not looked at yet.
    rest: Vec<u8>,
    /// How much of it has been dealt with since.
    start: usize,
    broken: Broken,
}

impl<T> Fields<T> {
    /// Around a new connection, with the size that header lists have to be smaller than.
    pub fn around(transport: T, limit: usize) -> Self {
        let filter = Filter::new(limit);
        Self { transport, filter, rest: Vec::new(), start: 0, broken: Broken::default() }
    }

    /// Tells why the connection has to end, when it has: from there on the reader waits.
    pub fn broken(&self) -> Broken {
        Rc::clone(&self.broken)
    }

    /// Gives the reader output of the filter, and tells whether there was any.
    fn give_output(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        let output = self.filter.output();
        let count = output.len().min(buffer.remaining());
        buffer.put_slice(&output[..count]);
        self.filter.hand_on(count);
        count > 0
    }

    /// Deals with the rest, until it is used up, or something is due, or the buffer is full.
    fn use_rest(&mut self, buffer: &mut ReadBuf<'_>) {
        while self.start < self.rest.len() && !self.filter.is_due() {
            let rest = &self.rest[self.start..];
            match self.filter.step(rest) {
                Step::Pass(count) => {
                    let count = count.min(buffer.remaining());
                    if count == 0 {
                        return;
                    }
                    buffer.put_slice(&rest[..count]);
                    self.filter.passed(count);
                    self.start += count;
                }
                Step::Took(count) => self.start += count,
                Step::NeedsMore => return,
            }
        }
        if self.start == self.rest.len() {
            self.rest = Vec::new();
            self.start = 0;
        }
    }

    /// Leaves in the buffer what passes of the bytes behind `before`, and keeps what comes behind that.
    fn pass_in_place(&mut self, buffer: &mut ReadBuf<'_>, before: usize) {
        let read = &buffer.filled()[before..];
        let (mut passed, mut at) = (0, 0);
        while at < read.len() && !self.filter.is_due() {
            match self.filter.step(&read[at..]) {
                Step::Pass(count) if at == passed => {
                    self.filter.passed(count);
                    at += count;
                    passed = at;
                }
                Step::Took(count) => at += count,
                Step::Pass(_) | Step::NeedsMore => break,
            }
        }
        self.rest.extend_from_slice(&read[at..]);
        buffer.set_filled(before + passed);
    }
}

impl<T: AsyncRead + Unpin> Fields<T> {
    /// Reads into the buffer, behind the beginning of a frame's head if that is the rest, and tells whether there
    /// was anything to read.
    fn poll_more(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<bool>> {
        let rest = &self.rest[self.start..];
        if buffer.remaining() <= rest.len() {
            return self.poll_aside(context);
        }
        let before = buffer.filled().len();
        buffer.put_slice(rest);
        let start = buffer.filled().len();
        let polled = Pin::new(&mut self.transport).poll_read(context, buffer);
        if !matches!(polled, Poll::Ready(Ok(()))) || buffer.filled().len() == start {
            buffer.set_filled(before);
            return polled.map_ok(|()| false);
        }
        self.rest = Vec::new();
        self.start = 0;
        self.pass_in_place(buffer, before);
        Poll::Ready(Ok(true))
    }

    /// Reads behind the rest, where the buffer has no room for that.
    fn poll_aside(&mut self, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut piece = [const { MaybeUninit::uninit() }; SMALL_READ];
        let mut buffer = ReadBuf::uninit(&mut piece);
        ready!(Pin::new(&mut self.transport).poll_read(context, &mut buffer))?;
        self.rest.extend_from_slice(buffer.filled());
        Poll::Ready(Ok(!buffer.filled().is_empty()))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Fields<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        while buffer.remaining() > 0 && !this.give_output(buffer) {
            if let Some(violation) = this.filter.violation() {
                // whoever polls the reader looks at this next
                this.broken.set(Some(violation));
                return Poll::Pending;
            }
            this.use_rest(buffer);
            if buffer.filled().len() > before {
                break;
            }
            if this.filter.is_due() {
                continue;
            }
            let was_more = ready!(this.poll_more(context, buffer))?;
            if !was_more || buffer.filled().len() > before {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Fields<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.transport).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.transport).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }
}

#[cfg(test)]
mod tests;
