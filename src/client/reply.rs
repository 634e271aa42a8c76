//! The response from AWS: a head, and a body that streams (`response.rs`), is collected, or is decoded from
//! an event stream (`event_stream.rs`). `proxy.rs` selects the form that the backend needs.

use std::{borrow::Cow, future::poll_fn, pin::Pin};

use actix_http::{
    StatusCode,
    header::{self, HeaderMap, HeaderName, HeaderValue},
};
use bytes::Bytes;
use futures_core::Stream as _;

use super::{
    event_stream::{EventStream, StreamStart},
    piece_buffer::PieceBuffer,
    response::ResponseBody,
};
use crate::{
    message::error::{ErrorKind, ProxyError},
    text::flat_xml,
};

/// Content type of a response of `InvokeWithResponseStream`.
const EVENT_STREAM: &str = "application/vnd.amazon.eventstream";
/// Set by `Invoke` if the function failed: `Handled` or `Unhandled` (Invoke, response elements).
pub const FUNCTION_ERROR: HeaderName = HeaderName::from_static("x-amz-function-error");
/// The end of the function's log, if it was requested.
pub const LOG_RESULT: HeaderName = HeaderName::from_static("x-amz-log-result");
/// AWS's error type; a response of an API's own backend has none.
pub const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");

#[derive(Debug)]
pub struct UpstreamReply {
    pub status: StatusCode,
    /// Without `Content-Length` and hop-by-hop headers.
    pub headers: HeaderMap,
    pub body: ReplyBody,
    /// The prelude of an event stream: JSON with status, headers and cookies.
    pub prelude: Option<Bytes>,
}

#[derive(Debug)]
pub enum ReplyBody {
    /// No body, by status or method.
    None {
        /// `Content-Length` of an answer to HEAD, or of a 304.
        length: Option<u64>,
    },
    Whole(Bytes),
    /// A body that streams.
    Stream(ResponseBody),
    /// The function's output, decoded from an event stream as it arrives.
    Events(Box<EventStream>),
}

impl UpstreamReply {
    /// True for a 403 with this error type. The message is not compared: an API's owner can change it.
    pub fn is_refusal_for(&self, kind: &str) -> bool {
        // the status is cheaper to compare than the header
        self.status == StatusCode::FORBIDDEN
            && self.headers.get(ERROR_TYPE).is_some_and(|told| told.as_bytes().starts_with(kind.as_bytes()))
    }

    /// True for an error of a service that answers in XML, such as Amazon S3, if it may refuse a signature.
    pub fn is_xml_refusal(&self) -> bool {
        let is_xml = |value: &HeaderValue| value.to_str().is_ok_and(|text| text.contains("xml"));
        matches!(self.status, StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN)
            && self.headers.get(header::CONTENT_TYPE).is_some_and(is_xml)
    }

    /// The code of an error in XML whose body has been read.
    pub fn xml_code(&self) -> Option<Cow<'_, str>> {
        match &self.body {
            ReplyBody::Whole(body) if self.is_xml_refusal() => {
                flat_xml::element(str::from_utf8(body).ok()?, "Code")
            }
            _ => None,
        }
    }

    /// Decodes the body, an event stream of the Lambda API, until the start of the response is known: to the
    /// first byte of the function's output, or, with `prelude`, to the end of its prelude.
    ///
    /// A function that fails earlier gets the response of `Invoke`. A function that ends earlier, because it
    /// does not stream, has its whole output in the body and no prelude.
    ///
    /// # Errors
    /// The body is not an event stream, or is malformed, late or truncated.
    pub async fn decode_events(mut self, prelude: bool) -> Result<Self, ProxyError> {
        if !self.is_event_stream() {
            let cause = match self.headers.get(header::CONTENT_TYPE) {
                Some(other) => format!("an answer of type {other:?} instead of {EVENT_STREAM}"),
                None => format!("an answer without a type instead of {EVENT_STREAM}"),
            };
            return Err(ProxyError::new(ErrorKind::UpstreamProtocol, cause));
        }
        // the type is that of the events, not of the function's output
        self.headers.remove(header::CONTENT_TYPE);
        let events = match self.body {
            ReplyBody::Events(_) => return Ok(self),
            ReplyBody::Stream(body) => EventStream::of(body),
            ReplyBody::Whole(bytes) => EventStream::of_whole(bytes),
            ReplyBody::None { .. } => EventStream::of_whole(Bytes::new()),
        };
        match events.open(prelude).await? {
            StreamStart::Ended { output, log_result } => {
                // `Invoke` has the log in this header, and the backend reads it there
                if let Some(Ok(value)) = log_result.map(HeaderValue::try_from) {
                    self.headers.insert(LOG_RESULT, value);
                }
                self.body = ReplyBody::Whole(output.unwrap_or_else(|failure| {
                    self.headers.insert(FUNCTION_ERROR, failure.header());
                    self.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
                    failure.body()
                }));
            }
            StreamStart::Streaming { prelude, body } => {
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

    /// Reads the start of the body of a response whose status matters more; a longer or truncated body is no
    /// error.
    pub async fn truncated(mut self, limit: u64) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        if let ReplyBody::Stream(stream) = &mut self.body {
            let mut beginning = PieceBuffer::default();
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

    /// Reads the whole body.
    ///
    /// # Errors
    /// The body is truncated, late, or longer than `limit` bytes.
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
            let mut whole = PieceBuffer::default();
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
