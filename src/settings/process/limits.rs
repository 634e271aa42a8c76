//! The section `limits`: limits of the whole process.

use std::time::Duration;

use crate::{
    settings::{route::upstream::SHORTEST_TIMEOUT, source::key_type::DAY},
    text::units::{OrNone, WrittenDuration, WrittenSize},
};

section! {
    /// Limits of the whole process.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Limits, read as WrittenLimits, optional "a table of limits";

    /// Maximum number of client connections; further ones get 503 and are closed.
    max_connections: u32 [1..=1_000_000] = 10_000;
    /// Maximum number of requests in flight, each until the last byte of its response; further ones get 503
    /// at once.
    max_in_flight: u32 [1..=1_000_000] = 1024;
    /// Maximum size of a request body. `max_req_body_size` of a route cannot exceed it. `none` for no limit
    /// of the process.
    max_request_body: OrNone<WrittenSize> [1..=1 << 30] = 64 << 20;
    // the default is the longest URL of a regional API (docs.aws.amazon.com, API Gateway quotas); above the
    // upper bound a query whose every byte is escaped into three would exceed the 64 KiB of `http` and
    // `aws-sigv4`
    /// Maximum size of path and query together; longer ones get 414. API Gateway accepts 10,240 bytes.
    max_uri: WrittenSize [64..=16 << 10] = 10 << 10;
    // the upper bound is that of actix-http's parser
    /// Maximum size of a request's head (request line and headers); larger ones get 431.
    max_head: WrittenSize [1 << 10..=128 << 10] = 64 << 10;
    // the upper bound is that of actix-http's parser
    /// Maximum number of headers of a request; more get 431.
    max_headers: u32 [1..=96] = 96;
    /// Maximum time for a request's head to arrive, then 408. A new connection's time includes the
    /// header of the PROXY protocol and the TLS handshake; on a kept-alive connection the time starts with
    /// the first byte.
    header_timeout: WrittenDuration [SHORTEST_TIMEOUT..=DAY] = Duration::from_secs(10);
    /// Maximum time for a request's body to arrive, then 408.
    body_timeout: WrittenDuration [SHORTEST_TIMEOUT..=DAY] = Duration::from_secs(30);
    /// Maximum time in which a client reads nothing of its response; then its connection is closed.
    send_timeout: WrittenDuration [SHORTEST_TIMEOUT..=DAY] = Duration::from_mins(1);
    /// How long an idle client connection is kept open.
    keep_alive: WrittenDuration [SHORTEST_TIMEOUT..=DAY] = Duration::from_secs(75);
}
