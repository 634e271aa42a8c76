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
    frames::{self, CONTINUATION, END_HEADERS, END_STREAM, FrameHead, HEAD, HEADERS, LARGEST, fragment},
    hpack::{Decoder, MalformedBlock},
    rewrite::{Part, Rewrite},
};

/// Bytes of the client's preface, which is no frame.
const PREFACE: usize = 24;
/// CONTINUATION frames of one block before the last one: room for a head of the announced size, and a quarter
/// of that, which is the limit of `h2` too. Together with [`LARGEST`] it bounds the bytes of a block
/// (CVE-2024-27316).
const MOST_CONTINUATIONS: usize = 20;
/// Capacity of `output` that is kept for the next block.
const KEPT: usize = 2 << 10;

/// A breach of RFC 9113 or RFC 7541 that the connection has to end for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Violation {
    /// The error code for the client.
    pub reason: Reason,
    /// The cause for the log.
    pub cause: &'static str,
}

const OUT_OF_ORDER: Violation =
    Violation { reason: Reason::PROTOCOL_ERROR, cause: "another frame between HEADERS and its CONTINUATION" };
const NO_STREAM: Violation =
    Violation { reason: Reason::PROTOCOL_ERROR, cause: "a HEADERS frame on stream 0" };
const TOO_LARGE: Violation = Violation {
    reason: Reason::FRAME_SIZE_ERROR,
    cause: "a CONTINUATION frame exceeds the frame size limit",
};
const TOO_MANY: Violation =
    Violation { reason: Reason::ENHANCE_YOUR_CALM, cause: "too many CONTINUATION frames" };
const PADDING: Violation = Violation {
    reason: Reason::PROTOCOL_ERROR,
    cause: "padding or priority does not fit in a HEADERS frame",
};

/// The result of looking at the next bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// This many bytes go to the reader unchanged, each of which is to be reported with [`Filter::passed`].
    Pass(usize),
    /// The filter has taken this many bytes.
    Taken(usize),
    /// The bytes are the beginning of a frame's head; the filter needs more of them at once.
    NeedsMore,
}

#[derive(Debug)]
enum State {
    Passing(usize),
    /// The head of a frame comes next.
    BetweenFrames,
    Gathering(Gathering),
}

#[derive(Debug)]
struct Gathering {
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
    state: State,
    decoder: Decoder,
    /// The size at which a header list is refused.
    limit: usize,
    /// The newest stream. Blocks of that stream and of older ones are trailers.
    newest: u32,
    /// Frames in place of those that were taken, of which `consumed` bytes went to the reader.
    output: Vec<u8>,
    consumed: usize,
    violation: Option<Violation>,
    /// Frames that have begun, of which those of one block count once.
    begun: u64,
    findings: Rc<Findings>,
}

impl Filter {
    /// The filter of a new connection that refuses header lists of `limit` bytes or more.
    pub fn new(limit: usize, findings: Rc<Findings>) -> Self {
        Self {
            state: State::Passing(PREFACE),
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

    /// Bytes that go to the reader before any later ones.
    pub fn output(&self) -> &[u8] {
        &self.output[self.consumed..]
    }

    /// Drops output that went to the reader.
    pub fn consume_output(&mut self, count: usize) {
        self.consumed += count;
        if self.output().is_empty() {
            self.consumed = 0;
            self.output.clear();
            self.output.shrink_to(KEPT);
        }
    }

    /// The violation behind the output, after which the filter looks at no bytes.
    pub fn violation(&self) -> Option<Violation> {
        self.violation
    }

    /// True if output or a violation has to be dealt with before the next step.
    pub fn has_result(&self) -> bool {
        !self.output.is_empty() || self.violation.is_some()
    }

    /// Frames that have begun, of which those of one block count once.
    pub fn begun(&self) -> u64 {
        self.begun
    }

    /// True within a block, and before the first frame.
    pub fn is_within_head(&self) -> bool {
        self.begun == 0 || matches!(self.state, State::Gathering(_))
    }

    /// Looks at the next bytes, at least one, while there is no result.
    pub fn step(&mut self, bytes: &[u8]) -> Step {
        match &mut self.state {
            State::Passing(left) => Step::Pass(bytes.len().min(*left)),
            State::Gathering(gathering) if gathering.left > 0 => self.gather(bytes),
            State::BetweenFrames | State::Gathering(_) => match FrameHead::read(bytes) {
                Some(head) => self.begin(head),
                None => Step::NeedsMore,
            },
        }
    }

    pub fn passed(&mut self, count: usize) {
        if let State::Passing(left) = &mut self.state {
            *left = left.saturating_sub(count);
            if *left == 0 {
                self.state = State::BetweenFrames;
            }
        }
    }

    fn begin(&mut self, head: FrameHead) -> Step {
        let is_too_large = head.length > LARGEST;
        self.begun += u64::from(!matches!(self.state, State::Gathering(_)));
        match &mut self.state {
            State::Gathering(gathering) => {
                if head.kind != CONTINUATION || head.stream != gathering.first.stream {
                    return self.end(OUT_OF_ORDER);
                }
                if is_too_large {
                    return self.end(TOO_LARGE);
                }
                if !head.has(END_HEADERS) {
                    gathering.continuations += 1;
                    if gathering.continuations > MOST_CONTINUATIONS {
                        return self.end(TOO_MANY);
                    }
                }
                (gathering.frame, gathering.left) = (head, head.length);
            }
            _ if head.kind != HEADERS || is_too_large => {
                // `h2` ends the connection at the head of a frame that is too large
                let length = if is_too_large { usize::MAX } else { HEAD + head.length };
                self.state = State::Passing(length);
                return Step::Pass(HEAD);
            }
            _ if head.stream == 0 => return self.end(NO_STREAM),
            _ => {
                let (left, block) = (head.length, Vec::new());
                let gathering = Gathering { first: head, frame: head, left, continuations: 0, block };
                self.state = State::Gathering(gathering);
            }
        }
        if head.length == 0 {
            self.complete_frame();
        }
        Step::Taken(HEAD)
    }

    /// Reads on in a frame of a block. A block that comes in one piece is decoded where it is.
    fn gather(&mut self, bytes: &[u8]) -> Step {
        let State::Gathering(gathering) = &mut self.state else { return Step::NeedsMore };
        let count = bytes.len().min(gathering.left);
        let payload = &bytes[..count];
        let first = gathering.first;
        if first.has(END_HEADERS) && count == first.length {
            self.state = State::BetweenFrames;
            self.finish(first, fragment(payload, first));
            return Step::Taken(count);
        }
        gathering.block.extend_from_slice(payload);
        gathering.left -= count;
        if gathering.left == 0 {
            self.complete_frame();
        }
        Step::Taken(count)
    }

    /// Ends the frame that is being read, and with `END_HEADERS` the block.
    fn complete_frame(&mut self) {
        let State::Gathering(gathering) = &mut self.state else { return };
        let Gathering { first, frame, .. } = *gathering;
        if frame.kind == HEADERS {
            match fragment(&gathering.block, frame) {
                Some(fragment) => gathering.block = fragment.to_vec(),
                None => {
                    self.end(PADDING);
                    return;
                }
            }
        }
        if frame.has(END_HEADERS) {
            let block = std::mem::take(&mut gathering.block);
            self.state = State::BetweenFrames;
            self.finish(first, Some(&block));
        }
    }

    /// Decodes a whole block and writes it anew.
    fn finish(&mut self, head: FrameHead, block: Option<&[u8]>) {
        let Some(block) = block else {
            self.end(PADDING);
            return;
        };
        let part = if head.stream > self.newest { Part::Head } else { Part::Trailers };
        self.newest = self.newest.max(head.stream);
        let is_end = head.has(END_STREAM);
        self.output.resize(HEAD, 0);
        let mut rewrite = Rewrite::new(&mut self.output, part, is_end, self.limit);
        match self.decoder.decode(block, |field| rewrite.take(field)) {
            Ok(()) => {
                let fault = rewrite.finish();
                if let (Part::Trailers, Some(fault)) = (part, fault) {
                    self.findings.trailers.borrow_mut().push(fault);
                }
                frames::frame_block(&mut self.output, head.stream, is_end);
            }
            Err(MalformedBlock(cause)) => {
                self.output.clear();
                self.end(Violation { reason: Reason::COMPRESSION_ERROR, cause });
            }
        }
    }

    fn end(&mut self, violation: Violation) -> Step {
        self.violation = Some(violation);
        Step::Taken(HEAD)
    }
}

#[cfg(test)]
impl Filter {
    /// Bytes that the filter holds outside of the decoder.
    pub fn capacity(&self) -> usize {
        let block = match &self.state {
            State::Gathering(gathering) => gathering.block.capacity(),
            State::Passing(_) | State::BetweenFrames => 0,
        };
        block + self.output.capacity()
    }
}
