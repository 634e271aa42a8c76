//! Start of an event stream: everything that determines the head of the client's response.
//!
//! A function that fails before its first byte, or that does not stream, gets the response of `Invoke`.
//! Output after the first byte is forwarded as it arrives (`event_stream.rs`).

use std::future::poll_fn;

use bytes::{Buf as _, Bytes};
use futures_core::Stream;

use super::{Events, StreamEvent, completion::FunctionFailure};
use crate::{
    client::piece_buffer::PieceBuffer,
    message::error::{ErrorKind, ProxyError},
};

/// NUL bytes that end the prelude (Lambda, "HTTP integration" response streaming).
const NULS: usize = 8;
/// Maximum bytes of a prelude. API Gateway's limit is lower, but a function that does not stream sends its
/// whole response here.
const MAX_PRELUDE: usize = 8 << 20;

/// The start of a stream.
#[derive(Debug)]
pub enum StreamStart<B> {
    /// The function ended without a streamed body.
    Ended {
        output: Result<Bytes, FunctionFailure>,
        /// The end of its log in base64.
        log_result: Option<String>,
    },
    /// The function is writing a body.
    Streaming {
        /// Status, headers and cookies, if a prelude was requested.
        prelude: Option<Bytes>,
        body: Events<B>,
    },
}

impl<B: Stream<Item = Result<Bytes, ProxyError>> + Unpin> Events<B> {
    /// Reads up to the first byte of the body, or to the end of the prelude if there is to be one.
    ///
    /// # Errors
    /// The stream is malformed, late or truncated; the prelude is too long or contains a NUL.
    pub async fn open(mut self, with_prelude: bool) -> Result<StreamStart<B>, ProxyError> {
        let mut prelude = with_prelude.then(Prelude::default);
        loop {
            match poll_fn(|context| self.poll_event(context)).await? {
                StreamEvent::Complete(failure) => {
                    let output = match (failure, prelude) {
                        (Some(failure), _) => Err(failure),
                        (None, None) => Ok(Bytes::new()),
                        (None, Some(prelude)) => Ok(prelude
                            .without_body()
                            .map_err(|error| error.with_notes(self.take_log_tail()))?),
                    };
                    let log_result = self.completion.and_then(|completion| completion.log_result);
                    return Ok(StreamStart::Ended { output, log_result });
                }
                StreamEvent::Payload(mut bytes) => {
                    if prelude.as_mut().map_or(Ok(true), |prelude| prelude.push(&mut bytes))? {
                        self.first = bytes;
                        let prelude = prelude.map(|mut prelude| prelude.text.take());
                        return Ok(StreamStart::Streaming { prelude, body: self });
                    }
                }
            }
        }
    }
}

/// A prelude that is being read.
#[derive(Default)]
struct Prelude {
    text: PieceBuffer,
    /// NUL bytes read after it.
    nuls: usize,
}

impl Prelude {
    /// Takes the prelude's part of `bytes`; true once the prelude is complete and the rest is body.
    fn push(&mut self, bytes: &mut Bytes) -> Result<bool, ProxyError> {
        if self.nuls == 0 {
            let text = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
            if self.text.len() + text > MAX_PRELUDE {
                let cause = format!("the prelude (status and headers) exceeds {MAX_PRELUDE} bytes");
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

    /// The output of a function that ended without a body.
    fn without_body(mut self) -> Result<Bytes, ProxyError> {
        if self.nuls > 0 { Err(stray_nul()) } else { Ok(self.text.take()) }
    }
}

fn stray_nul() -> ProxyError {
    fault("a NUL byte inside the prelude, before the eight that end it")
}

/// The event stream is valid, but the function's output is not.
fn fault(cause: impl Into<String>) -> ProxyError {
    ProxyError::new(ErrorKind::FunctionResponseInvalid, cause.into())
}
