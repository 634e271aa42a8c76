//! The filter over the bytes of a connection: frames pass unchanged, blocks of fields are decoded and
//! rewritten.
//!
//! `fields.rs` feeds the filter in pieces of any size. Heads and trailers share one decoder, since they share
//! the client's dynamic table, and every block is decoded, of refused and of reset streams too. `h2` gets
//! each block without a reference to its own dynamic table, which stays empty.

use std::rc::Rc;

use h2::Reason;

use super::{
    Findings,
    frames::{self, CONTINUATION, END_HEADERS, END_STREAM, FrameHead, HEAD, HEADERS, MAX_FRAME, fragment},
    hpack::{Decoder, MalformedBlock},
    rewrite::{BlockKind, Rewrite},
};

/// Bytes of the client's preface, which is not a frame.
const PREFACE: usize = 24;
/// CONTINUATION frames of one block before the last one: room for a head of the announced size, and a quarter
/// of that, which is the limit of `h2` too. Together with [`MAX_FRAME`] it bounds the bytes of a block
/// (CVE-2024-27316).
const MAX_CONTINUATIONS: usize = 20;
/// Capacity of `output` that is retained for the next block.
const RETAINED_CAPACITY: usize = 2 << 10;

/// A violation of RFC 9113 or RFC 7541 that ends the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Violation {
    /// The error code for the client.
    pub reason: Reason,
    /// The cause for the log.
    pub cause: &'static str,
}

/// The result of a look at the next bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilterStep {
    /// The reader gets up to this many bytes unchanged; [`Filter::passed`] must be called for each of them.
    Pass(usize),
    /// The filter has taken this many bytes.
    Taken(usize),
    /// The bytes are an incomplete frame head; the filter needs more of them at once.
    NeedsMore,
}

#[derive(Debug)]
enum FilterState {
    /// This many bytes still pass; the head of a frame follows them.
    Passing(usize),
    ReadingBlock(PartialBlock),
}

/// A block whose frames are being read.
#[derive(Debug)]
struct PartialBlock {
    first: FrameHead,
    /// The frame that is being read.
    frame: FrameHead,
    /// Bytes of that frame that are still to come.
    left: usize,
    continuations: usize,
    /// The bytes of the block that were read, and those of the frame's padding and priority.
    block: Vec<u8>,
}

/// The filter of one connection.
#[derive(Debug)]
pub struct Filter {
    state: FilterState,
    decoder: Decoder,
    /// The size at which a header list is refused.
    limit: usize,
    /// The newest stream. Blocks of that stream and of older ones are trailers.
    newest: u32,
    /// Frames in place of those that were taken, of which `consumed` bytes went to the reader.
    output: Vec<u8>,
    consumed: usize,
    violation: Option<Violation>,
    /// Frames that have begun; those of one block count once.
    begun: u64,
    findings: Rc<Findings>,
}

impl Filter {
    /// The filter of a new connection; header lists of `limit` bytes or more are refused.
    pub fn new(limit: usize, findings: Rc<Findings>) -> Self {
        Self {
            state: FilterState::Passing(PREFACE),
            decoder: Decoder::new(),
            limit,
            newest: 0,
            output: Vec::new(),
            consumed: 0,
            violation: None,
            begun: 0,
            findings,
        }
    }

    /// Bytes for the reader, before any later bytes of the connection.
    pub fn output(&self) -> &[u8] {
        &self.output[self.consumed..]
    }

    /// Drops output that went to the reader.
    pub fn consume_output(&mut self, count: usize) {
        self.consumed += count;
        if self.output().is_empty() {
            self.consumed = 0;
            self.output.clear();
            self.output.shrink_to(RETAINED_CAPACITY);
        }
    }

    /// The violation behind the output; the filter reads no bytes after it.
    pub fn violation(&self) -> Option<Violation> {
        self.violation
    }

    /// True if there is output or a violation, which must be processed before the next step.
    pub fn has_result(&self) -> bool {
        !self.output.is_empty() || self.violation.is_some()
    }

    /// The number of frames that have begun; those of one block count once.
    pub fn begun(&self) -> u64 {
        self.begun
    }

    /// True within a block, and before the first frame.
    pub fn is_within_head(&self) -> bool {
        self.begun == 0 || matches!(self.state, FilterState::ReadingBlock(_))
    }

    /// Looks at the next bytes, at least one, while there is no result.
    pub fn step(&mut self, bytes: &[u8]) -> FilterStep {
        match &self.state {
            FilterState::Passing(left @ 1..) => FilterStep::Pass(bytes.len().min(*left)),
            FilterState::ReadingBlock(PartialBlock { left: 1.., .. }) => self.read_block(bytes),
            FilterState::Passing(0) | FilterState::ReadingBlock(_) => match FrameHead::read(bytes) {
                Some(head) => self.begin(head),
                None => FilterStep::NeedsMore,
            },
        }
    }

    pub fn passed(&mut self, count: usize) {
        if let FilterState::Passing(left) = &mut self.state {
            *left = left.saturating_sub(count);
        }
    }

    fn begin(&mut self, head: FrameHead) -> FilterStep {
        let is_too_large = head.length > MAX_FRAME;
        match &mut self.state {
            FilterState::ReadingBlock(partial) => {
                if head.kind != CONTINUATION || head.stream != partial.first.stream {
                    let cause = "another frame between HEADERS and its CONTINUATION";
                    return self.end(Reason::PROTOCOL_ERROR, cause);
                }
                if is_too_large {
                    let cause = "a CONTINUATION frame exceeds the frame size limit";
                    return self.end(Reason::FRAME_SIZE_ERROR, cause);
                }
                partial.continuations += usize::from(!head.has(END_HEADERS));
                if partial.continuations > MAX_CONTINUATIONS {
                    return self.end(Reason::ENHANCE_YOUR_CALM, "too many CONTINUATION frames");
                }
                (partial.frame, partial.left) = (head, head.length);
            }
            FilterState::Passing(left) => {
                self.begun += 1;
                if head.kind != HEADERS || is_too_large {
                    // `h2` ends the connection at the head of a frame that is too large
                    *left = if is_too_large { usize::MAX } else { HEAD + head.length };
                    return FilterStep::Pass(HEAD);
                }
                if head.stream == 0 {
                    return self.end(Reason::PROTOCOL_ERROR, "a HEADERS frame on stream 0");
                }
                let (left, block) = (head.length, Vec::new());
                let partial = PartialBlock { first: head, frame: head, left, continuations: 0, block };
                self.state = FilterState::ReadingBlock(partial);
            }
        }
        if head.length == 0 {
            self.complete_frame();
        }
        FilterStep::Taken(HEAD)
    }

    /// Reads on in a frame of a block. A block that comes in one piece is decoded in place.
    fn read_block(&mut self, bytes: &[u8]) -> FilterStep {
        let FilterState::ReadingBlock(partial) = &mut self.state else { return FilterStep::NeedsMore };
        let count = bytes.len().min(partial.left);
        let payload = &bytes[..count];
        let first = partial.first;
        if first.has(END_HEADERS) && count == first.length {
            self.state = FilterState::Passing(0);
            self.finish(first, fragment(payload, first));
            return FilterStep::Taken(count);
        }
        partial.block.extend_from_slice(payload);
        partial.left -= count;
        if partial.left == 0 {
            self.complete_frame();
        }
        FilterStep::Taken(count)
    }

    /// Ends the frame that is being read, and with `END_HEADERS` the block.
    fn complete_frame(&mut self) {
        let FilterState::ReadingBlock(partial) = &mut self.state else { return };
        let PartialBlock { first, frame, .. } = *partial;
        let mut block = std::mem::take(&mut partial.block);
        if frame.kind == HEADERS {
            let Some(fragment) = fragment(&block, frame) else { return self.finish(first, None) };
            block = fragment.to_vec();
        }
        if frame.has(END_HEADERS) {
            self.state = FilterState::Passing(0);
            self.finish(first, Some(&block));
        } else {
            partial.block = block;
        }
    }

    /// Decodes a whole block and writes it anew. `None` is a block whose padding or priority does not fit.
    fn finish(&mut self, head: FrameHead, block: Option<&[u8]>) {
        let Some(block) = block else {
            self.end(Reason::PROTOCOL_ERROR, "padding or priority does not fit in a HEADERS frame");
            return;
        };
        let kind = if head.stream > self.newest { BlockKind::Head } else { BlockKind::Trailers };
        self.newest = self.newest.max(head.stream);
        let is_end = head.has(END_STREAM);
        let mut rewrite = Rewrite::new(&mut self.output, kind, is_end, self.limit);
        match self.decoder.decode(block, |field| rewrite.take(field)) {
            Ok(()) => {
                let fault = rewrite.finish();
                if kind == BlockKind::Trailers {
                    self.findings.trailers.borrow_mut().extend(fault);
                }
                frames::frame_block(&mut self.output, head.stream, is_end);
            }
            Err(MalformedBlock(cause)) => {
                self.output.clear();
                self.end(Reason::COMPRESSION_ERROR, cause);
            }
        }
    }

    fn end(&mut self, reason: Reason, cause: &'static str) -> FilterStep {
        self.violation = Some(Violation { reason, cause });
        FilterStep::Taken(HEAD)
    }
}

#[cfg(test)]
impl Filter {
    /// Bytes that the filter holds outside of the decoder.
    pub fn capacity(&self) -> usize {
        let block = match &self.state {
            FilterState::ReadingBlock(partial) => partial.block.capacity(),
            FilterState::Passing(_) => 0,
        };
        block + self.output.capacity()
    }
}
