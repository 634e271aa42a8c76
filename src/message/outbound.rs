//! What goes out to AWS: plain data between the backends, the signer and the client.

use actix_http::{Method, header::HeaderMap};

use super::inbound::RequestBody;

/// A request as it goes out, but for the headers of a signature.
#[derive(Debug)]
pub struct OutboundRequest {
    /// The client's method, or the one that the backend's API demands.
    pub method: Method,
    /// Path and query in origin form, byte for byte as they go out.
    pub path_and_query: String,
    /// Every header, `host` among them; no framing headers, which follow from the body.
    pub headers: HeaderMap,
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
