//! What comes back from AWS: a head, and a body that may still be on its way (`response.rs`), or be wrapped into
//! events (`event_stream.rs`). `proxy.rs` asks for it in the shape that the backend needs.

use std::{future::poll_fn, pin::Pin};

use actix_http::{
    StatusCode,
    header::{self, HeaderMap, HeaderName, HeaderValue},
};
use bytes::Bytes;
use futures_core::Stream as _;

use super::{
    event_stream::{EventStream, Opening},
    gathered::Gathered,
    response::ResponseBody,
};
use crate::message::error::{ErrorKind, ProxyError};

/// The type of an answer of `InvokeWithResponseStream`.
const EVENT_STREAM: &str = "application/vnd.amazon.eventstream";
/// How `Invoke` tells that the function failed: `Handled` or `Unhandled` (Invoke, response elements).
pub const FUNCTION_ERROR: HeaderName = HeaderName::from_static("x-amz-function-error");
/// The end of the function's log, if it was asked for.
pub const LOG_RESULT: HeaderName = HeaderName::from_static("x-amz-log-result");

/// Names AWS's reason for refusing a call; what an API's own function answers has none.
pub const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");

/// An answer from AWS: its head, and the body as it arrives.
#[derive(Debug)]
pub struct UpstreamReply {
    pub status: StatusCode,
    /// Headers as received, the connection's own among them.
    pub headers: HeaderMap,
    pub body: ReplyBody,
    /// What came before the body in an event stream: JSON with status, headers and cookies.
    pub prelude: Option<Bytes>,
}

#[derive(Debug)]
pub enum ReplyBody {
    /// None, by status or method; the length is what the head says a body would have.
    None {
        /// `Content-Length` of an answer to HEAD, or of a 304.
        length: Option<u64>,
    },
    Whole(Bytes),
    /// Passed on as it arrives.
    Stream(ResponseBody),
    /// What a function writes, taken out of its event stream and passed on as it arrives.
    Events(Box<EventStream>),
}

impl UpstreamReply {
    /// Whether AWS itself refuses the call for this reason. Status and kind decide: the text is the API owner's.
    pub fn is_refusal_for(&self, kind: &str) -> bool {
        // most answers are none, and need not be searched for a header
        self.status == StatusCode::FORBIDDEN
            && self.headers.get(ERROR_TYPE).is_some_and(|told| told.as_bytes().starts_with(kind.as_bytes()))
    }

    /// Decodes the body, an event stream of the Lambda API, as far as it takes to know how the answer begins:
    /// to the first byte of what the function writes, or, with `prelude`, to the end of its prelude.
    ///
    /// A function that fails before that is answered as by `Invoke`. One that ends before that, because it does
    /// not stream, has its whole answer in the body and no prelude.
    ///
    /// # Errors
    /// The body is no event stream, or one that is broken, late or incomplete.
    pub async fn decode_events(mut self, prelude: bool) -> Result<Self, ProxyError> {
        if !self.is_event_stream() {
            let cause = match self.headers.get(header::CONTENT_TYPE) {
                Some(other) => format!("an answer of type {other:?} instead of {EVENT_STREAM}"),
                None => format!("an answer without a type instead of {EVENT_STREAM}"),
            };
            return Err(ProxyError::new(ErrorKind::UpstreamProtocol, cause));
        }
        // type and length are those of the events, not of what the function writes
        self.headers.remove(header::CONTENT_TYPE);
        self.headers.remove(header::CONTENT_LENGTH);
        let events = match self.body {
            ReplyBody::Events(_) => return Ok(self),
            ReplyBody::Stream(body) => EventStream::of(body),
            ReplyBody::Whole(bytes) => EventStream::of_whole(bytes),
            ReplyBody::None { .. } => EventStream::of_whole(Bytes::new()),
        };
        match events.open(prelude).await? {
            Opening::Failed { failure, log_result } => {
                put_log_result(&mut self.headers, log_result.as_deref());
                self.headers.insert(FUNCTION_ERROR, failure.header());
                self.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
                self.body = ReplyBody::Whole(failure.body());
            }
            Opening::Whole { output, log_result } => {
                put_log_result(&mut self.headers, log_result.as_deref());
                self.body = ReplyBody::Whole(output);
            }
            Opening::Streaming { prelude, body } => {
                self.prelude = prelude;
                self.body = ReplyBody::Events(Box::new(body));
            }
        }
        Ok(self)
    }

    fn is_event_stream(&self) -> bool {
        let value = self.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let essence = value.and_then(|value| value.split(';').next()).unwrap_or_default();
        essence.trim().eq_ignore_ascii_case(EVENT_STREAM)
    }

    /// Reads the beginning of the body, for an answer whose status says more than that: what is missing, because there
    /// is more of it or because it broke off, does not matter.
    pub async fn truncated(mut self, limit: u64) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        if let ReplyBody::Stream(stream) = &mut self.body {
            let mut beginning = Gathered::default();
            while let Some(Ok(mut chunk)) = poll_fn(|context| Pin::new(&mut *stream).poll_next(context)).await
            {
                chunk.truncate(limit - beginning.len());
                beginning.push(chunk, Some(limit));
                if beginning.len() == limit {
                    break;
                }
            }
            self.body = ReplyBody::Whole(beginning.take());
        }
        self
    }

    /// Reads the body to its end.
    ///
    /// # Errors
    /// The body is broken, late, or longer than `limit` bytes.
    pub async fn collect(mut self, limit: u64) -> Result<Self, ProxyError> {
        if let ReplyBody::Stream(stream) = &mut self.body {
            let too_long = || {
                let cause = format!("the answer is longer than the {limit} bytes that are read of it");
                ProxyError::new(ErrorKind::UpstreamProtocol, cause)
            };
            if stream.length().is_some_and(|length| length > limit) {
                return Err(too_long());
            }
            let length = stream.length().and_then(|length| usize::try_from(length).ok());
            let mut whole = Gathered::default();
            while let Some(chunk) = poll_fn(|context| Pin::new(&mut *stream).poll_next(context)).await {
                let chunk = chunk?;
                if (whole.len() + chunk.len()) as u64 > limit {
                    return Err(too_long());
                }
                whole.push(chunk, length);
            }
            self.body = ReplyBody::Whole(whole.take());
        }
        Ok(self)
    }
}

/// Puts the end of the function's log where `Invoke` would have, and where the backend looks for it.
fn put_log_result(headers: &mut HeaderMap, encoded: Option<&str>) {
    if let Some(value) = encoded.and_then(|encoded| HeaderValue::from_str(encoded).ok()) {
        headers.insert(LOG_RESULT, value);
    }
}
