//! How an event stream begins: everything that decides about the head of the client's answer.
//!
//! A function that fails before its first byte, or that is not one that streams, is answered like one that
//! was called by `Invoke`. What follows the first byte is passed on as it arrives (`event_stream.rs`).

use std::future::poll_fn;

use bytes::{Buf as _, Bytes};
use futures_core::Stream;

use super::{Event, Events, completion::Failure};
use crate::{
    client::gathered::Gathered,
    message::error::{ErrorKind, ProxyError},
};

/// What ends the prelude (`aws.md` 2, HTTP integration).
const NULS: usize = 8;
/// Bytes of a prelude; API Gateway takes less, but a function that does not stream answers with all it has.
const LONGEST_PRELUDE: usize = 8 << 20;

/// How a stream began.
#[derive(Debug)]
pub enum Opening<B> {
    /// The function failed before there was a body.
    Failed {
        failure: Failure,
        /// The end of its log, as it came.
        log_result: Option<String>,
    },
    /// It wrote all of its answer at once, or nothing.
    Whole {
        output: Bytes,
        /// The end of its log, as it came.
        log_result: Option<String>,
    },
    /// It is writing a body.
    Streaming {
        /// What came before the body, where that was asked for.
        prelude: Option<Bytes>,
        body: Events<B>,
    },
}

impl<B: Stream<Item = Result<Bytes, ProxyError>> + Unpin> Events<B> {
    /// Reads as far as the first byte of the body, or through the prelude if there is to be one.
    ///
    /// # Errors
    /// The stream is broken, late, or ended too soon; the prelude is too long or has a NUL inside.
    pub async fn open(mut self, with_prelude: bool) -> Result<Opening<B>, ProxyError> {
        let mut prelude = with_prelude.then(Prelude::default);
        loop {
            match poll_fn(|context| self.poll_event(context)).await? {
                Event::Failed(failure) => {
                    return Ok(Opening::Failed { failure, log_result: self.log_result });
                }
                Event::Complete => {
                    let output = prelude.map_or(Ok(Bytes::new()), Prelude::without_body);
                    let output = output.map_err(|error| error.with_notes(self.take_log_tail()))?;
                    return Ok(Opening::Whole { output, log_result: self.log_result });
                }
                Event::Payload(mut bytes) => {
                    if prelude.as_mut().map_or(Ok(true), |prelude| prelude.push(&mut bytes))? {
                        self.first = bytes;
                        let prelude = prelude.map(|mut prelude| prelude.text.take());
                        return Ok(Opening::Streaming { prelude, body: self });
                    }
                }
            }
        }
    }
}

/// A prelude in the making.
#[derive(Default)]
struct Prelude {
    text: Gathered,
    /// NUL bytes seen after it.
    nuls: usize,
}

impl Prelude {
    /// Takes out of `bytes` what belongs to the prelude; true once it is complete and the rest is body.
    fn push(&mut self, bytes: &mut Bytes) -> Result<bool, ProxyError> {
        if self.nuls == 0 {
            let text = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
            if self.text.len() + text > LONGEST_PRELUDE {
                let cause = format!("the prelude (status and headers) exceeds {LONGEST_PRELUDE} bytes");
                return Err(fault(cause));
            }
            self.text.push(bytes.split_to(text), None);
        }
        let nuls = bytes.iter().take(NULS - self.nuls).take_while(|byte| **byte == 0).count();
        bytes.advance(nuls);
        self.nuls += nuls;
        if self.nuls > 0 && self.nuls < NULS && !bytes.is_empty() {
            return Err(stray_nul());
        }
        Ok(self.nuls == NULS)
    }

    /// The function has written all, and no body.
    fn without_body(mut self) -> Result<Bytes, ProxyError> {
        if self.nuls > 0 { Err(stray_nul()) } else { Ok(self.text.take()) }
    }
}

fn stray_nul() -> ProxyError {
    fault("a NUL byte inside the prelude, before the eight that end it")
}

/// The events are sound, and what the function wrote into them is not.
fn fault(cause: impl Into<String>) -> ProxyError {
    ProxyError::new(ErrorKind::FunctionResponseInvalid, cause.into())
}
