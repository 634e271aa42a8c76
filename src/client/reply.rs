//! What comes back from AWS: a head, and a body that may still be on its way (`response.rs`).

use std::{future::poll_fn, pin::Pin};

use actix_http::{StatusCode, header::HeaderMap};
use bytes::{Bytes, BytesMut};
use futures_core::Stream as _;

use super::response::ResponseBody;
use crate::error::{ErrorKind, ProxyError};

/// An answer from AWS: its head, and the body as it arrives.
#[derive(Debug)]
pub struct UpstreamReply {
    /// Status.
    pub status: StatusCode,
    /// Headers as received, the connection's own among them.
    pub headers: HeaderMap,
    /// The body.
    pub body: ReplyBody,
    /// What came before the body in an event stream: JSON with status, headers and cookies.
    pub prelude: Option<Bytes>,
}

/// The body of an answer.
#[derive(Debug)]
pub enum ReplyBody {
    /// None, by status or method; the length is what the head says a body would have.
    None {
        /// `Content-Length` of an answer to HEAD, or of a 304.
        length: Option<u64>,
    },
    /// All of it.
    Whole(Bytes),
    /// Passed on as it arrives.
    Stream(ResponseBody),
}

impl UpstreamReply {
    /// Decodes the body, an event stream, as far as the first byte of what the function wrote as its body.
    ///
    /// # Errors
    /// The stream is broken or late.
    #[expect(clippy::unused_async, reason = "not there yet")]
    pub async fn decode_events(self, _prelude: bool) -> Result<Self, ProxyError> {
        Ok(self)
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
            let mut whole = BytesMut::new();
            while let Some(chunk) = poll_fn(|context| Pin::new(&mut *stream).poll_next(context)).await {
                let chunk = chunk?;
                if (whole.len() + chunk.len()) as u64 > limit {
                    return Err(too_long());
                }
                whole.extend_from_slice(&chunk);
            }
            self.body = ReplyBody::Whole(whole.freeze());
        }
        Ok(self)
    }
}
