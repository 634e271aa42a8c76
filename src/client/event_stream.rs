//! The answer of `InvokeWithResponseStream` as it arrives: what the function writes, and how it ended.
//!
//! `frames.rs` cuts the body of `response.rs` into messages, here they become events, and `opening.rs` reads
//! as far as it takes to know the head of the client's answer. The stream then goes to the client through
//! `proxy/reply.rs`. Its end is good only after an `InvokeComplete` that tells of no failure: a function that
//! fails halfway, or a connection that breaks, must never look like a whole answer.

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
use tokio::time::{Sleep, sleep};

pub(super) use self::opening::Opening;
use self::{
    completion::{Completion, Failure},
    frames::Frames,
};
use super::{log_tail::log_tail, response::ResponseBody};
use crate::message::{
    error::{ErrorKind, ProxyError},
    log_note::LogNote,
};

/// How long the end of the body may follow `InvokeComplete`. It usually comes at once, and with it the connection can
/// serve again; but nobody who has the whole answer should wait for a body that is held open.
const LINGER: Duration = Duration::from_millis(100);

/// Bytes that are looked at of AWS's account of a stream that it broke off.
const LONGEST_EXPLANATION: usize = 8 << 10;

/// What a function writes, as it arrives from AWS.
pub type EventStream = Events<ResponseBody>;

/// The events in a body that arrives in chunks. Dropping it before its end closes the connection.
pub struct Events<B> {
    /// `None` once nothing more is read.
    body: Option<B>,
    frames: Frames,
    /// How the function ended, once that is known.
    completion: Option<Completion>,
    /// The end of its log in base64, which comes with that.
    log_result: Option<String>,
    /// Runs from then on.
    linger: Option<Pin<Box<Sleep>>>,
    /// Bytes of the function that were read already.
    first: Bytes,
    over: bool,
}

/// What is found in the stream.
enum Event {
    /// Bytes that the function wrote; at least one.
    Payload(Bytes),
    /// The function failed, by its own or by Lambda's account.
    Failed(Failure),
    /// The function has written all.
    Complete,
}

impl<B> fmt::Debug for Events<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("over", &self.over).finish_non_exhaustive()
    }
}

impl<B> Events<B> {
    /// The events of a body that is on its way.
    pub fn of(body: B) -> Self {
        Self::new(Some(body), Frames::default())
    }

    /// The events of a body that is here.
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
            log_result: None,
            linger: None,
            first: Bytes::new(),
            over: false,
        }
    }

    /// What the end of the function's log says, which is known once the stream is over; an error takes it along.
    pub fn take_log_tail(&mut self) -> Option<LogNote> {
        self.log_result.take().and_then(|encoded| log_tail(encoded.as_bytes()))
    }
}

impl<B: Stream<Item = Result<Bytes, ProxyError>> + Unpin> Events<B> {
    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Result<Event, ProxyError>> {
        let event = ready!(self.poll_read(context));
        if !matches!(event, Ok(Event::Payload(_))) {
            self.over = true;
            self.body = None;
        }
        Poll::Ready(event.map_err(|error| error.with_notes(self.take_log_tail())))
    }

    /// Reads until there is an event. How the function ended is told when the body is over too, so that the
    /// connection may serve again, or when that has been waited for.
    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Result<Event, ProxyError>> {
        loop {
            while self.completion.is_none()
                && let Some(message) = self.frames.take().map_err(protocol)?
            {
                match read(&message)? {
                    Read::Payload(bytes) if !bytes.is_empty() => {
                        return Poll::Ready(Ok(Event::Payload(bytes)));
                    }
                    Read::Payload(_) | Read::Unknown => {}
                    Read::Complete(completion, log_result) => {
                        self.completion = Some(completion);
                        self.log_result = log_result;
                    }
                }
            }
            if self.completion.is_some() && !self.frames.is_empty() {
                return Poll::Ready(Err(protocol("the event stream goes on after InvokeComplete")));
            }
            match self.poll_body(context) {
                Poll::Ready(Some(Ok(chunk))) => self.frames.push(chunk),
                // whatever breaks now, the function's answer is whole
                Poll::Ready(Some(Err(_))) if self.completion.is_some() => return Poll::Ready(self.end()),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                Poll::Ready(None) => return Poll::Ready(self.end()),
                Poll::Pending if self.completion.is_some() => {
                    ready!(self.poll_linger(context));
                    return Poll::Ready(self.end());
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn poll_linger(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.linger.get_or_insert_with(|| Box::pin(sleep(LINGER))).as_mut().poll(context)
    }

    fn poll_body(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, ProxyError>>> {
        match &mut self.body {
            Some(body) => Pin::new(body).poll_next(context),
            None => Poll::Ready(None),
        }
    }

    /// The body is over: was that the end of the events?
    fn end(&mut self) -> Result<Event, ProxyError> {
        match self.completion.take() {
            Some(Completion::Good) => Ok(Event::Complete),
            Some(Completion::Failed(failure)) => Ok(Event::Failed(failure)),
            None if self.frames.is_empty() => Err(truncated("the event stream ended before InvokeComplete")),
            None => Err(truncated("the event stream ended inside a frame")),
        }
    }
}

/// What the function writes. An error is the end; the answer is then not whole.
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
            Ok(Event::Payload(bytes)) => Some(Ok(bytes)),
            Ok(Event::Complete) => None,
            Ok(Event::Failed(failure)) => {
                Some(Err(ProxyError::from(failure).with_notes(this.take_log_tail())))
            }
            Err(error) => Some(Err(error)),
        })
    }
}

/// What a message is about.
enum Read {
    Payload(Bytes),
    /// How the function ended, and the end of its log.
    Complete(Completion, Option<String>),
    /// An event that came after this was written, and is passed over as AWS's own clients do.
    Unknown,
}

fn read(message: &Message) -> Result<Read, ProxyError> {
    match text(message, ":message-type") {
        Some("event") => match text(message, ":event-type") {
            Some("PayloadChunk") => Ok(Read::Payload(message.payload().clone())),
            Some("InvokeComplete") => {
                let (completion, log_result) = Completion::read(message.payload())?;
                Ok(Read::Complete(completion, log_result))
            }
            Some(_) => Ok(Read::Unknown),
            None => Err(protocol("an event without a type in the event stream")),
        },
        Some("exception") => {
            let kind = text(message, ":exception-type").unwrap_or_default();
            let explanation = message.payload();
            let explanation = &explanation[..explanation.len().min(LONGEST_EXPLANATION)];
            Err(broken_off("exception", kind, &String::from_utf8_lossy(explanation)))
        }
        Some("error") => {
            let kind = text(message, ":error-code").unwrap_or_default();
            Err(broken_off("error", kind, text(message, ":error-message").unwrap_or_default()))
        }
        _ => Err(protocol("a message of unknown type in the event stream")),
    }
}

/// A header of a message, if it is a text.
fn text<'a>(message: &'a Message, name: &str) -> Option<&'a str> {
    let header = message.headers().iter().find(|header| header.name().as_str() == name)?;
    header.value().as_string().ok().map(StrBytes::as_str)
}

/// Lambda gave up in the middle of its answer.
fn broken_off(what: &str, kind: &str, explanation: &str) -> ProxyError {
    let explanation = completion::beginning(explanation);
    truncated(format!("the Lambda API ended the event stream with {what} {kind}: {explanation}"))
}

fn truncated(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ProxyError {
    ProxyError::new(ErrorKind::UpstreamTruncated, cause)
}

fn protocol(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ProxyError {
    ProxyError::new(ErrorKind::UpstreamProtocol, cause)
}
