//! Types of an HTTP message that the listener and the client share: heads, headers, bodies, errors, trace
//! context.

pub(crate) mod basic_credentials;
pub(crate) mod body_pool;
pub(crate) mod chunks;
pub(crate) mod client_address;
pub mod client_link;
pub mod error;
pub(crate) mod head;
pub(crate) mod header_map_pool;
pub(crate) mod headers;
pub mod inbound;
pub(crate) mod log_note;
pub mod outbound;
pub(crate) mod redaction;
pub(crate) mod request_body;
pub(crate) mod trace;
pub(crate) mod via;
