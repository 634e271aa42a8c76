//! The filter of request fields, between a client's connection and `h2`.
//!
//! `h2` hands fields to the parsers of `http` while it decodes them. A field that those refuse resets the
//! stream, or ends the connection with all its streams, without an answer: a bare `<` in a path, the path of
//! a Unix socket as authority, a capital in a name. [`FieldFilter`] decodes each block of fields first, and
//! gives `h2` a block that `h2` accepts:
//!
//! ```text
//! fields/filter.rs    frames: which pass unchanged, which carry a block
//! fields/frames.rs    the layout of frames
//! fields/hpack.rs     decoding and encoding of a block; table.rs has its tables, huffman.rs decodes strings
//! fields/rewrite.rs   the checks of RFC 9113 on each field, and the field as `h2` gets it
//! fields/fault.rs     the fault of a malformed head, on its way through `h2` to the answer
//! ```
//!
//! `http2.rs` puts the filter around each connection, and logs the [`Findings`] or ends the connection for them.

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
    mem::MaybeUninit,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use self::filter::{Filter, Step};
pub use self::{
    fault::{AUTHORITY, FAULT, FieldFault},
    filter::Violation,
};

/// Bytes of one read when the reader's buffer is too small for the head of a frame.
const SMALL_READ: usize = 512;

/// Findings of a filter for the task that serves the connection.
#[derive(Debug, Default)]
pub struct Findings {
    /// A violation that the connection has to end for. Behind it every read is pending without a waker.
    pub violation: Cell<Option<Violation>>,
    /// The head that has begun and is not complete, by its number and since when; number 0 is the first frame.
    pub unfinished: Cell<Option<(u64, Instant)>>,
    /// Faults of trailers, for which `h2` resets the streams without a word.
    pub trailers: RefCell<Vec<FieldFault>>,
}

/// A connection whose reader gets rewritten blocks of fields. Writes pass unchanged.
#[derive(Debug)]
pub struct FieldFilter<T> {
    transport: T,
    filter: Filter,
    /// Bytes that were read and not processed yet, from `start` on.
    pending: Vec<u8>,
    start: usize,
    findings: Rc<Findings>,
}

impl<T> FieldFilter<T> {
    /// Wraps a new connection; a header list of `limit` bytes or more (RFC 9113, 6.5.2) is refused.
    pub fn new(transport: T, limit: usize) -> Self {
        let findings = Rc::<Findings>::default();
        let filter = Filter::new(limit, Rc::clone(&findings));
        Self { transport, filter, pending: Vec::new(), start: 0, findings }
    }

    /// Notes since when a head is incomplete. The clock is read only for heads that do not come in one read.
    fn note_unfinished(&self) {
        let number = if self.start < self.pending.len() || self.filter.is_within_head() {
            Some(self.filter.begun())
        } else {
            None
        };
        if self.findings.unfinished.get().map(|(number, _)| number) != number {
            self.findings.unfinished.set(number.map(|number| (number, Instant::now())));
        }
    }

    /// The findings, which the filter adds to as it reads.
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
        while self.start < self.pending.len() && !self.filter.has_result() {
            let pending = &self.pending[self.start..];
            match self.filter.step(pending) {
                Step::Pass(count) => {
                    let count = count.min(buffer.remaining());
                    if count == 0 {
                        return;
                    }
                    buffer.put_slice(&pending[..count]);
                    self.filter.passed(count);
                    self.start += count;
                }
                Step::Taken(count) => self.start += count,
                Step::NeedsMore => return,
            }
        }
        if self.start == self.pending.len() {
            self.pending = Vec::new();
            self.start = 0;
        }
    }

    /// Processes the bytes behind `before` in the buffer: those that pass stay where they are, and those
    /// behind a block become pending.
    fn process_in_place(&mut self, buffer: &mut ReadBuf<'_>, before: usize) {
        let read = &buffer.filled()[before..];
        let (mut passed, mut at) = (0, 0);
        while at < read.len() && !self.filter.has_result() {
            match self.filter.step(&read[at..]) {
                Step::Pass(count) if at == passed => {
                    self.filter.passed(count);
                    at += count;
                    passed = at;
                }
                Step::Taken(count) => at += count,
                Step::Pass(_) | Step::NeedsMore => break,
            }
        }
        self.pending.extend_from_slice(&read[at..]);
        buffer.set_filled(before + passed);
    }
}

impl<T: AsyncRead + Unpin> FieldFilter<T> {
    /// Reads into the buffer, behind pending bytes if the beginning of a frame's head is pending; `false` at
    /// the end of the connection.
    fn poll_more(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<bool>> {
        let pending = &self.pending[self.start..];
        if buffer.remaining() <= pending.len() {
            return self.poll_aside(context);
        }
        let before = buffer.filled().len();
        buffer.put_slice(pending);
        let start = buffer.filled().len();
        let polled = Pin::new(&mut self.transport).poll_read(context, buffer);
        if !matches!(polled, Poll::Ready(Ok(()))) || buffer.filled().len() == start {
            buffer.set_filled(before);
            return polled.map_ok(|()| false);
        }
        self.pending = Vec::new();
        self.start = 0;
        self.process_in_place(buffer, before);
        Poll::Ready(Ok(true))
    }

    /// Reads behind the pending bytes, where the buffer has no room for both.
    fn poll_aside(&mut self, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut piece = [const { MaybeUninit::uninit() }; SMALL_READ];
        let mut buffer = ReadBuf::uninit(&mut piece);
        ready!(Pin::new(&mut self.transport).poll_read(context, &mut buffer))?;
        self.pending.extend_from_slice(buffer.filled());
        Poll::Ready(Ok(!buffer.filled().is_empty()))
    }

    fn poll_filtered(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        while buffer.remaining() > 0 && !self.copy_output(buffer) {
            if let Some(violation) = self.filter.violation() {
                // no waker is needed: the task that polls the reader looks at the findings next
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
