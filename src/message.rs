//! The parts of an HTTP message that both of its directions share: the listener reads them from clients, the client
//! from upstreams.

pub(crate) mod body_pool;
pub(crate) mod chunks;
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
