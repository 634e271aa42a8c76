//! The request to AWS: plain data between the backends, the signer and the client.

use actix_http::{Method, header::HeaderMap};

use super::inbound::RequestBody;

/// A request to AWS without the headers of its signature.
#[derive(Debug)]
pub struct OutboundRequest {
    /// The client's method, or the one that the AWS API requires.
    pub method: Method,
    /// Path and query in origin form, byte for byte as sent.
    pub path_and_query: String,
    /// All headers including `host`, without framing headers: these follow from the body.
    pub headers: HeaderMap,
    pub body: RequestBody,
    pub signature: Signature,
    pub payload: SignedPayload,
}

/// The payload that a signature of the sidecar covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SignedPayload {
    /// The hash of the body.
    #[default]
    Hash,
    /// None: the body is protected by TLS alone.
    Unsigned,
    /// None: the body is `aws-chunked` and ends with trailers that contain its checksum.
    UnsignedTrailer,
}

/// The signer of a request on a route that signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signature {
    /// The sidecar signs the request.
    Ours,
    /// The client has signed the request, and the route forwards its signature.
    Clients,
}

impl OutboundRequest {
    pub fn path(&self) -> &str {
        self.path_and_query.split_once('?').map_or(&*self.path_and_query, |(path, _)| path)
    }

    /// The query without its `?`.
    pub fn query(&self) -> Option<&str> {
        self.path_and_query.split_once('?').map(|(_, query)| query)
    }
}
