//! How bytes must be read, by readers that share no framing code with the sidecar's.

pub mod answers;
mod chunks;
pub mod event_stream;
pub mod requests;
