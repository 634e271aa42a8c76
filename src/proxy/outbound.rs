//! What goes out to AWS and what comes back: plain data between the backends, the signer and the client.

use std::{future::poll_fn, pin::Pin};

use actix_http::{Method, StatusCode, header::HeaderMap};
use bytes::{Bytes, BytesMut};
use futures_core::Stream as _;

use super::inbound::RequestBody;
use crate::{
    client::ResponseBody,
    error::{ErrorKind, ProxyError},
};

/// A request as it goes out, but for the headers of a signature.
#[derive(Debug)]
pub struct OutboundRequest {
    /// The client's method, or the one that the backend's API demands.
    pub method: Method,
    /// Path and query in origin form, byte for byte as they go out.
    pub path_and_query: String,
    /// Every header, `host` among them; no framing headers, which follow from the body.
    pub headers: HeaderMap,
    /// The body.
    pub body: RequestBody,
    /// Whether the route's signature goes on it.
    pub signature: Signature,
}

/// Whose proof a request carries on a route that signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signature {
    /// It is signed here.
    Ours,
    /// The client brought its own, and the route lets it pass.
    Clients,
}

impl OutboundRequest {
    /// The path, escapes as they go out.
    pub fn path(&self) -> &str {
        self.path_and_query.split_once('?').map_or(&*self.path_and_query, |(path, _)| path)
    }

    /// The query without its `?`.
    pub fn query(&self) -> Option<&str> {
        self.path_and_query.split_once('?').map(|(_, query)| query)
    }
}

/// An answer from AWS: its head, and the body as it arrives.
#[derive(Debug)]
pub struct UpstreamReply {
    /// Status.
    pub status: StatusCode,
    /// Headers as received, the connection's own among them.
    pub headers: HeaderMap,
    /// The body.
    pub body: ReplyBody,
}

/// Whether a backend has to see an answer's body before it can say what becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyMode {
    /// It passes as it arrives.
    Streamed,
    /// All of it is read first.
    Collected {
        /// Bytes that are read at most; a longer body is an error.
        limit: u64,
    },
}

/// An answer for the client.
#[derive(Debug)]
pub struct ClientReply {
    /// Status.
    pub status: StatusCode,
    /// Headers, none of them about a connection or framing.
    pub headers: HeaderMap,
    /// The body.
    pub body: ReplyBody,
    /// What the operator should know about it.
    pub remarks: Vec<Remark>,
}

/// A line for the log that a backend, which does no output itself, asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// How loud.
    pub level: log::Level,
    /// What, without any secret.
    pub text: String,
}

impl Remark {
    /// Writes it, with the request's id.
    pub fn log(&self, request_id: &str, route: &str) {
        log::log!(self.level, request_id = request_id, route = route; "{}", self.text);
    }
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
    /// Reads the body as far as `mode` demands.
    ///
    /// # Errors
    /// The body is broken, late, or longer than the mode allows.
    pub async fn read(mut self, mode: ReplyMode) -> Result<Self, ProxyError> {
        if let (ReplyMode::Collected { limit }, ReplyBody::Stream(stream)) = (mode, &mut self.body) {
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
