//! Decoder of the event stream of `InvokeWithResponseStream`: the function's output and its completion.
//!
//! `frames.rs` splits the body of `response.rs` into messages, this file turns them into events, and
//! `opening.rs` reads until the head of the client's response is known. `proxy/reply.rs` forwards the stream.
//! It must end with an `InvokeComplete` without an error: a function that fails midway, or a lost connection,
//! must never look like a complete response.

mod completion;
mod frames;
mod opening;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use aws_smithy_types::{event_stream::Message, str_bytes::StrBytes};
use bytes::Bytes;
use futures_core::Stream;

pub(super) use self::opening::StreamStart;
use self::{
    completion::{Completion, FunctionFailure},
    frames::Frames,
};
use super::{exchange::truncated, log_tail::log_tail, response::ResponseBody};
use crate::{
    message::{
        error::{ErrorKind, ProxyError},
        log_note::LogNote,
    },
    system::lazy_deadline::LazyDeadline,
};

/// Timeout for the end of the body after `InvokeComplete`. The end usually follows at once, and the
/// connection can then be reused; a body that stays open must not delay a complete response.
const LINGER: Duration = Duration::from_millis(100);

/// Bytes read of AWS's message about a stream that it aborted.
const MAX_EXPLANATION: usize = 8 << 10;

/// The function's output as it arrives from AWS.
pub type EventStream = Events<ResponseBody>;

/// The events in a body that arrives in chunks. Dropping it before its end closes the connection.
pub struct Events<B> {
    /// `None` once reading has ended.
    body: Option<B>,
    frames: Frames,
    /// Set once `InvokeComplete` has been read.
    completion: Option<Completion>,
    /// Runs from then on.
    linger: LazyDeadline,
    /// Output that `open` has read.
    first: Bytes,
    over: bool,
}

/// An event of the stream.
enum StreamEvent {
    /// Output of the function; at least one byte.
    Payload(Bytes),
    /// The function has ended, with a failure if it reported one.
    Complete(Option<FunctionFailure>),
}

impl<B> fmt::Debug for Events<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("over", &self.over).finish_non_exhaustive()
    }
}

impl<B> Events<B> {
    /// The events of a body that arrives.
    pub fn of(body: B) -> Self {
        Self::new(Some(body), Frames::default())
    }

    /// The events of a whole body.
    pub fn of_whole(body: Bytes) -> Self {
        let mut frames = Frames::default();
        frames.push(body);
        Self::new(None, frames)
    }

    fn new(body: Option<B>, frames: Frames) -> Self {
        Self {
            body,
            frames,
            completion: None,
            linger: LazyDeadline::default(),
            first: Bytes::new(),
            over: false,
        }
    }

    /// The end of the function's log, known at the end of the stream; an error takes it along.
    pub fn take_log_tail(&mut self) -> Option<LogNote> {
        let encoded = self.completion.as_mut()?.log_result.take()?;
        log_tail(encoded.as_bytes())
    }
}

impl<B: Stream<Item = Result<Bytes, ProxyError>> + Unpin> Events<B> {
    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Result<StreamEvent, ProxyError>> {
        let event = ready!(self.poll_read(context));
        if !matches!(event, Ok(StreamEvent::Payload(_))) {
            self.over = true;
            self.body = None;
        }
        Poll::Ready(event.map_err(|error| error.with_notes(self.take_log_tail())))
    }

    /// Reads until there is an event. `Complete` is returned at the end of the body, so that the connection
    /// can be reused, or after `LINGER`.
    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Result<StreamEvent, ProxyError>> {
        loop {
            while self.completion.is_none()
                && let Some(message) = self.frames.take().map_err(protocol)?
            {
                if let Some(bytes) = self.read(&message)?.filter(|bytes| !bytes.is_empty()) {
                    return Poll::Ready(Ok(StreamEvent::Payload(bytes)));
                }
            }
            if self.completion.is_some() && !self.frames.is_empty() {
                return Poll::Ready(Err(protocol("the event stream goes on after InvokeComplete")));
            }
            match self.poll_body(context) {
                Poll::Ready(Some(Ok(chunk))) => self.frames.push(chunk),
                // the function's output is already complete
                Poll::Ready(Some(Err(_))) if self.completion.is_some() => return Poll::Ready(self.end()),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                Poll::Ready(None) => return Poll::Ready(self.end()),
                Poll::Pending if self.completion.is_some() => {
                    self.linger.begin(LINGER);
                    ready!(self.linger.poll(context));
                    return Poll::Ready(self.end());
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// The output in a message; `None` for `InvokeComplete` and for an unknown event, which AWS's own clients
    /// skip too.
    fn read(&mut self, message: &Message) -> Result<Option<Bytes>, ProxyError> {
        match text(message, ":message-type") {
            Some("event") => match text(message, ":event-type") {
                Some("PayloadChunk") => return Ok(Some(message.payload().clone())),
                Some("InvokeComplete") => self.completion = Some(Completion::read(message.payload())?),
                Some(_) => {}
                None => return Err(protocol("an event without a type in the event stream")),
            },
            Some("exception") => {
                let kind = text(message, ":exception-type").unwrap_or_default();
                let explanation = message.payload();
                let explanation = &explanation[..explanation.len().min(MAX_EXPLANATION)];
                return Err(aborted("exception", kind, &String::from_utf8_lossy(explanation)));
            }
            Some("error") => {
                let kind = text(message, ":error-code").unwrap_or_default();
                return Err(aborted("error", kind, text(message, ":error-message").unwrap_or_default()));
            }
            _ => return Err(protocol("a message of unknown type in the event stream")),
        }
        Ok(None)
    }

    fn poll_body(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, ProxyError>>> {
        match &mut self.body {
            Some(body) => Pin::new(body).poll_next(context),
            None => Poll::Ready(None),
        }
    }

    /// The result at the end of the body.
    fn end(&mut self) -> Result<StreamEvent, ProxyError> {
        match &mut self.completion {
            Some(completion) => Ok(StreamEvent::Complete(completion.failure.take())),
            None if self.frames.is_empty() => Err(truncated("the event stream ended before InvokeComplete")),
            None => Err(truncated("the event stream ended inside a frame")),
        }
    }
}

/// The function's output. An error ends the stream; the response is then incomplete.
impl<B: Stream<Item = Result<Bytes, ProxyError>> + Unpin> Stream for Events<B> {
    type Item = Result<Bytes, ProxyError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if !this.first.is_empty() {
            return Poll::Ready(Some(Ok(std::mem::take(&mut this.first))));
        }
        if this.over {
            return Poll::Ready(None);
        }
        Poll::Ready(match ready!(this.poll_event(context)) {
            Ok(StreamEvent::Payload(bytes)) => Some(Ok(bytes)),
            Ok(StreamEvent::Complete(None)) => None,
            Ok(StreamEvent::Complete(Some(failure))) => {
                Some(Err(ProxyError::from(failure).with_notes(this.take_log_tail())))
            }
            Err(error) => Some(Err(error)),
        })
    }
}

/// A string header of a message.
fn text<'a>(message: &'a Message, name: &str) -> Option<&'a str> {
    let header = message.headers().iter().find(|header| header.name().as_str() == name)?;
    header.value().as_string().ok().map(StrBytes::as_str)
}

/// Lambda has aborted the stream.
fn aborted(what: &str, kind: &str, explanation: &str) -> ProxyError {
    let explanation = completion::beginning(explanation);
    truncated(format!("the Lambda API ended the event stream with {what} {kind}: {explanation}"))
}

fn protocol(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ProxyError {
    ProxyError::new(ErrorKind::UpstreamProtocol, cause)
}
