//! The parts of an HTTP message that both of its directions share: the listener reads them from clients, the client
//! from upstreams.

pub mod body_pool;
pub mod chunks;
pub mod error;
pub mod head;
pub mod header_map_pool;
pub mod headers;
pub mod inbound;
pub mod outbound;
pub mod redaction;
pub mod remark;
pub mod request_body;
pub mod trace;
pub mod via;
