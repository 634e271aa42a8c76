//! What is kept of a request while it is under way, to make it again.
//!
//! It is kept before it is signed, since each attempt has a signature of its own. As a list, headers are copied in
//! one allocation and their bytes not at all; a map is made of it again only when it is needed.

use actix_http::{
    Method,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use bytes::Bytes;

use crate::proxy::{
    inbound::RequestBody,
    outbound::{OutboundRequest, Signature},
};

/// A request that can be made again.
#[derive(Debug)]
pub struct Spare {
    method: Method,
    path_and_query: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Option<Bytes>,
    signature: Signature,
}

impl Spare {
    /// A copy, unless the body passes as it arrives: that is gone once it was sent.
    pub fn of(request: &OutboundRequest) -> Option<Self> {
        let body = match &request.body {
            RequestBody::Empty => None,
            RequestBody::Whole(bytes) => Some(bytes.clone()),
            RequestBody::Stream(_) => return None,
        };
        let mut headers = Vec::with_capacity(request.headers.len());
        headers.extend(request.headers.iter().map(|(name, value)| (name.clone(), value.clone())));
        Some(Self {
            method: request.method.clone(),
            path_and_query: request.path_and_query.clone(),
            headers,
            body,
            signature: request.signature,
        })
    }

    /// Whether what the method asks for is the same the second time (RFC 9110, 9.2.2).
    pub fn is_idempotent(&self) -> bool {
        self.method.is_idempotent()
    }

    /// The request once more.
    pub fn request(&self) -> OutboundRequest {
        let mut headers = HeaderMap::with_capacity(self.headers.len());
        for (name, value) in &self.headers {
            headers.append(name.clone(), value.clone());
        }
        OutboundRequest {
            method: self.method.clone(),
            path_and_query: self.path_and_query.clone(),
            headers,
            body: self.body.clone().map_or(RequestBody::Empty, RequestBody::Whole),
            signature: self.signature,
        }
    }
}
