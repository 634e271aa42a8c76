//! The filter of request fields, between a client's connection and `h2`.
//!
//! `h2` parses fields with `http` while it decodes them. A field that `http` refuses resets the stream, or
//! ends the connection with all its streams, without a response: a bare `<` in a path, the path of a Unix
//! socket as authority, a capital in a name. [`FieldFilter`] decodes each block of fields first, and gives
//! `h2` a block that `h2` accepts:
//!
//! ```text
//! fields/filter.rs    frames: which pass unchanged, which carry a block
//! fields/frames.rs    the layout of frames
//! fields/hpack.rs     decoding and encoding of a block; table.rs has its tables, huffman.rs decodes strings
//! fields/rewrite.rs   the checks of RFC 9113 on each field, and the field that `h2` gets
//! fields/fault.rs     the fault of a malformed head, and the mark that carries it through `h2`
//! ```
//!
//! `http2.rs` wraps each connection, logs the [`Findings`], and ends the connection for a violation.

mod fault;
mod filter;
mod frames;
mod hpack;
mod huffman;
mod rewrite;
mod table;

use std::{
    cell::{Cell, RefCell},
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use self::filter::{Filter, FilterStep};
pub use self::{
    fault::{AUTHORITY, FAULT, FieldFault},
    filter::Violation,
};
use crate::listener::transport::poll_read_piece;

/// The findings of a filter for the task that serves the connection.
#[derive(Debug, Default)]
pub struct Findings {
    /// A violation that ends the connection. After it every read is pending without a waker.
    pub violation: Cell<Option<Violation>>,
    /// The incomplete head, by its number, and the time when it began; number 0 is the first frame.
    pub unfinished: Cell<Option<(u64, Instant)>>,
    /// Faults of trailers; `h2` resets their streams and logs nothing.
    pub trailers: RefCell<Vec<FieldFault>>,
}

/// A connection whose reader gets rewritten blocks of fields. Writes pass unchanged.
#[derive(Debug)]
pub struct FieldFilter<T> {
    transport: T,
    filter: Filter,
    /// Bytes that were read and not processed yet.
    pending: BytesMut,
    findings: Rc<Findings>,
}

impl<T> FieldFilter<T> {
    /// Wraps a new connection; header lists of `limit` bytes or more (RFC 9113, 6.5.2) are refused.
    pub fn new(transport: T, limit: usize) -> Self {
        let findings = Rc::<Findings>::default();
        let filter = Filter::new(limit, Rc::clone(&findings));
        Self { transport, filter, pending: BytesMut::new(), findings }
    }

    /// Records the time when an incomplete head began. The clock is read only for heads that come in several
    /// reads.
    fn note_unfinished(&self) {
        let is_unfinished = !self.pending.is_empty() || self.filter.is_within_head();
        let number = is_unfinished.then(|| self.filter.begun());
        if self.findings.unfinished.get().map(|(number, _)| number) != number {
            self.findings.unfinished.set(number.map(|number| (number, Instant::now())));
        }
    }

    pub fn findings(&self) -> Rc<Findings> {
        Rc::clone(&self.findings)
    }

    /// Copies output of the filter into the buffer; `false` if there was none.
    fn copy_output(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        let output = self.filter.output();
        let count = output.len().min(buffer.remaining());
        buffer.put_slice(&output[..count]);
        self.filter.consume_output(count);
        count > 0
    }

    /// Processes pending bytes until none is left, the filter has a result, or the buffer is full.
    fn process_pending(&mut self, buffer: &mut ReadBuf<'_>) {
        while !self.pending.is_empty() && !self.filter.has_result() {
            let count = match self.filter.step(&self.pending) {
                FilterStep::Pass(count) => {
                    let count = count.min(buffer.remaining());
                    buffer.put_slice(&self.pending[..count]);
                    self.filter.passed(count);
                    count
                }
                FilterStep::Taken(count) => count,
                FilterStep::NeedsMore => 0,
            };
            if count == 0 {
                return;
            }
            self.pending.advance(count);
        }
        if self.pending.is_empty() {
            self.pending = BytesMut::new();
        }
    }

    /// Processes the bytes behind `before` in the buffer: those that pass stay in place, and those behind a
    /// block become pending.
    fn process_in_place(&mut self, buffer: &mut ReadBuf<'_>, before: usize) {
        let read = &buffer.filled()[before..];
        let (mut passed, mut at) = (0, 0);
        while at < read.len() && !self.filter.has_result() {
            match self.filter.step(&read[at..]) {
                FilterStep::Pass(count) if at == passed => {
                    self.filter.passed(count);
                    at += count;
                    passed = at;
                }
                FilterStep::Taken(count) => at += count,
                FilterStep::Pass(_) | FilterStep::NeedsMore => break,
            }
        }
        self.pending.extend_from_slice(&read[at..]);
        buffer.set_filled(before + passed);
    }
}

impl<T: AsyncRead + Unpin> FieldFilter<T> {
    /// Reads into the buffer, or behind the beginning of a frame's head that is pending; `false` at the end
    /// of the connection.
    fn poll_more(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<bool>> {
        let transport = Pin::new(&mut self.transport);
        if !self.pending.is_empty() {
            return poll_read_piece(transport, context, &mut self.pending).map_ok(|read| read > 0);
        }
        let before = buffer.filled().len();
        ready!(transport.poll_read(context, buffer))?;
        let is_open = buffer.filled().len() > before;
        self.process_in_place(buffer, before);
        Poll::Ready(Ok(is_open))
    }

    fn poll_filtered(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        while buffer.remaining() > 0 && !self.copy_output(buffer) {
            if let Some(violation) = self.filter.violation() {
                // no waker is needed: the task that polls the reader reads the findings next
                self.findings.violation.set(Some(violation));
                return Poll::Pending;
            }
            self.process_pending(buffer);
            if buffer.filled().len() > before {
                break;
            }
            if self.filter.has_result() {
                continue;
            }
            let is_open = ready!(self.poll_more(context, buffer))?;
            if !is_open || buffer.filled().len() > before {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for FieldFilter<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = this.poll_filtered(context, buffer);
        this.note_unfinished();
        polled
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for FieldFilter<T> {
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
