//! The parts of an HTTP message that both of its directions share: the listener reads them from clients, the client
//! from upstreams.

pub mod chunks;
