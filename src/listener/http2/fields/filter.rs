//! The filter over a connection's bytes: frames pass, blocks of fields are decoded and written anew.
//!
//! `fields.rs` feeds it what it reads, in pieces of any size. Blocks of requests and of trailers share one decoder,
//! since they share the client's table; `h2` gets each block without references to a table.

use h2::Reason;

use super::{
    frames::{self, CONTINUATION, END_HEADERS, END_STREAM, FrameHead, HEAD, HEADERS, LARGEST, fragment},
    hpack::{Decoder, Malformed},
    rewrite::{Part, Rewrite},
};

/// Bytes of the preface, which no frame is.
const PREFACE: usize = 24;
/// CONTINUATION frames of one block, without the last one: room for a head of the size that is announced, and a
/// quarter of that. With `LARGEST` it bounds a block, whatever it becomes.
const MOST_CONTINUATIONS: usize = 20;
/// Capacity that is kept for the next block.
const KEPT: usize = 2 << 10;

/// Why the connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Violation {
    /// For the client.
    pub reason: Reason,
    /// For the log.
    pub cause: &'static str,
}

const OUT_OF_ORDER: Violation =
    Violation { reason: Reason::PROTOCOL_ERROR, cause: "another frame comes in the middle of a head" };
const TOO_LARGE: Violation =
    Violation { reason: Reason::FRAME_SIZE_ERROR, cause: "a CONTINUATION frame is larger than announced" };
const TOO_MANY: Violation =
    Violation { reason: Reason::ENHANCE_YOUR_CALM, cause: "a head comes in too many CONTINUATION frames" };
const PADDING: Violation = Violation {
    reason: Reason::PROTOCOL_ERROR,
    cause: "padding or priority does not fit in a HEADERS frame",
};

/// How the next bytes are dealt with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// This many of them pass as they are, once they have been told as passed.
    Pass(usize),
    /// This many of them have been taken.
    Took(usize),
    /// They are the beginning of a frame's head, and wait for more.
    NeedsMore,
}

#[derive(Debug)]
enum State {
    /// This many bytes pass.
    Passing(usize),
    /// A frame begins.
    Between,
    /// A block is being read.
    Gathering(Gathering),
}

/// A block that is not complete yet.
#[derive(Debug)]
struct Gathering {
    /// The head of its HEADERS frame.
    first: FrameHead,
    /// The frame that is being read, and how much of that is still to come.
    frame: FrameHead,
    left: usize,
    continuations: usize,
    /// What has been read of the block, and of the frame.
    block: Vec<u8>,
}

/// The filter of a connection.
#[derive(Debug)]
pub struct Filter {
    state: State,
    decoder: Decoder,
    /// The size that a header list has to be smaller than.
    limit: usize,
    /// The newest stream; blocks of it and of older ones are trailers.
    newest: u32,
    /// Frames in place of those that were taken, and how much of them has been handed on.
    output: Vec<u8>,
    handed_on: usize,
    violation: Option<Violation>,
}

impl Filter {
    /// A filter for a new connection, whose header lists have to be smaller than `limit`.
    pub fn new(limit: usize) -> Self {
        Self {
            state: State::Passing(PREFACE),
            decoder: Decoder::new(),
            limit,
            newest: 0,
            output: Vec::new(),
            handed_on: 0,
            violation: None,
        }
    }

    /// What goes on in place of the bytes that were taken.
    pub fn output(&self) -> &[u8] {
        &self.output[self.handed_on..]
    }

    /// Says how much of the output was handed on.
    pub fn hand_on(&mut self, count: usize) {
        self.handed_on += count;
        if self.output().is_empty() {
            self.handed_on = 0;
            self.output.clear();
            self.output.shrink_to(KEPT);
        }
    }

    /// Why no more bytes are looked at, behind the output.
    pub fn violation(&self) -> Option<Violation> {
        self.violation
    }

    /// Whether something has to be done before more bytes are looked at.
    pub fn is_due(&self) -> bool {
        !self.output.is_empty() || self.violation.is_some()
    }

    /// Looks at the next bytes, of which there is at least one, while nothing is due.
    pub fn step(&mut self, bytes: &[u8]) -> Step {
        match &mut self.state {
            State::Passing(left) => Step::Pass(bytes.len().min(*left)),
            State::Gathering(gathering) if gathering.left > 0 => self.gather(bytes),
            State::Between | State::Gathering(_) => match FrameHead::read(bytes) {
                Some(head) => self.begin(head),
                None => Step::NeedsMore,
            },
        }
    }

    /// Says how many bytes passed.
    pub fn passed(&mut self, count: usize) {
        if let State::Passing(left) = &mut self.state {
            *left = left.saturating_sub(count);
            if *left == 0 {
                self.state = State::Between;
            }
        }
    }

    /// Begins a frame.
    fn begin(&mut self, head: FrameHead) -> Step {
        let is_too_large = head.length > LARGEST;
        match &mut self.state {
            State::Gathering(gathering) => {
                let is_next = head.kind == CONTINUATION && head.stream == gathering.first.stream;
                if !head.has(END_HEADERS) {
                    gathering.continuations += 1;
                }
                if !is_next {
                    return self.end(OUT_OF_ORDER);
                }
                if is_too_large {
                    return self.end(TOO_LARGE);
                }
                if gathering.continuations > MOST_CONTINUATIONS {
                    return self.end(TOO_MANY);
                }
                (gathering.frame, gathering.left) = (head, head.length);
            }
            _ if head.kind != HEADERS || is_too_large => {
                // `h2` reads nothing behind a frame that is too large
                let length = if is_too_large { usize::MAX } else { HEAD + head.length };
                self.state = State::Passing(length);
                return Step::Pass(HEAD);
            }
            _ => {
                let left = head.length;
                let block = Vec::new();
                self.state =
                    State::Gathering(Gathering { first: head, frame: head, left, continuations: 0, block });
            }
        }
        if head.length == 0 {
            self.complete_frame();
        }
        Step::Took(HEAD)
    }

    /// Reads on in a frame of a block. One that comes in one piece is not copied.
    fn gather(&mut self, bytes: &[u8]) -> Step {
        let State::Gathering(gathering) = &mut self.state else { return Step::NeedsMore };
        let count = bytes.len().min(gathering.left);
        let payload = &bytes[..count];
        let first = gathering.first;
        if first.has(END_HEADERS) && count == first.length {
            self.state = State::Between;
            self.finish(first, fragment(payload, first));
            return Step::Took(count);
        }
        gathering.block.extend_from_slice(payload);
        gathering.left -= count;
        if gathering.left == 0 {
            self.complete_frame();
        }
        Step::Took(count)
    }

    /// The frame that is being read is complete; its block may be.
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
            self.state = State::Between;
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
                rewrite.finish();
                frames::frame_block(&mut self.output, 0, head.stream, is_end);
            }
            Err(Malformed(cause)) => {
                self.output.clear();
                self.end(Violation { reason: Reason::COMPRESSION_ERROR, cause });
            }
        }
    }

    fn end(&mut self, violation: Violation) -> Step {
        self.violation = Some(violation);
        Step::Took(HEAD)
    }
}

#[cfg(test)]
impl Filter {
    /// Bytes that it holds.
    pub fn capacity(&self) -> usize {
        let block = match &self.state {
            State::Gathering(gathering) => gathering.block.capacity(),
            State::Passing(_) | State::Between => 0,
        };
        block + self.output.capacity()
    }
}
