//! The section `limits`: what the process takes on at most.

use std::time::Duration;

use crate::{
    settings::source::key_type::DAY,
    text::units::{WrittenDuration, WrittenSize},
};

/// Below it a typo is likelier than an intention.
const SHORTEST: Duration = Duration::from_millis(100);

section! {
    /// Limits of the whole process.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Limits, read as WrittenLimits, optional "a table of limits";

    /// Client connections at a time; more are answered 503 and closed.
    max_connections: u32 [1..=1_000_000] = 10_000;
    /// Requests at a time, counted to the last byte of the answer; more are answered 503 at once.
    max_in_flight: u32 [1..=1_000_000] = 1024;
    /// Bytes of a request body that no route may exceed with its own `max_req_body_size`.
    max_request_body: WrittenSize [1..=1 << 30] = 64 << 20;
    // the default is the longest URL of a regional API (docs.aws.amazon.com, API Gateway quotas); one longer than the
    // most would outgrow what `http` and `aws-sigv4` can hold (64 KiB) once every byte of the query is escaped into
    // three
    /// Bytes of path and query; longer ones are answered 414. API Gateway takes 10,240.
    max_uri: WrittenSize [64..=16 << 10] = 10 << 10;
    // the most is what the parser below actix takes
    /// Bytes of a request's head; more are answered 431.
    max_head: WrittenSize [1 << 10..=128 << 10] = 64 << 10;
    // the most is what the parser below actix takes
    /// Headers of a request; more are answered 431.
    max_headers: u32 [1..=96] = 96;
    /// How long a request's head may take, on a new connection with its TLS handshake and on a kept one after its first
    /// byte; then 408.
    header_timeout: WrittenDuration [SHORTEST..=DAY] = Duration::from_secs(10);
    /// How long a request's body may take; then 408.
    body_timeout: WrittenDuration [SHORTEST..=DAY] = Duration::from_secs(30);
    /// How long a client may take nothing of its answer; then its connection ends.
    send_timeout: WrittenDuration [SHORTEST..=DAY] = Duration::from_mins(1);
    /// How long an idle client connection is kept.
    keep_alive: WrittenDuration [SHORTEST..=DAY] = Duration::from_secs(75);
}
