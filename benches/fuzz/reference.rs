//! Independent parsers of requests, responses and event streams. They share no framing code with the sidecar.

pub mod answers;
mod chunks;
pub mod event_stream;
pub mod requests;
