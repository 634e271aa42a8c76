//! The section `limits`: what the process takes on at most.

use std::time::Duration;

use serde::Deserialize;

use crate::settings::source::check::Checker;
use crate::text::units::{WrittenDuration, WrittenSize};

/// A path and query longer than this would outgrow what `http` and `aws-sigv4` can hold (64 KiB) once every
/// byte of the query is escaped into three.
const LONGEST_URI: u64 = 16 << 10;
/// What the parser below actix takes at most.
const LONGEST_HEAD: u64 = 128 << 10;
const MOST_HEADERS: u32 = 96;
/// No duration of ours makes sense beyond it, and sums of two stay far from overflow.
pub(in crate::settings) const LONGEST: Duration = Duration::from_hours(24);

/// Limits of the whole process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Client connections at a time.
    pub max_connections: u32,
    /// Requests at a time, counted to the last byte of the answer.
    pub max_in_flight: u32,
    /// Bytes of a request body that no route may exceed.
    pub max_request_body: u64,
    /// Bytes of path and query.
    pub max_uri: u64,
    /// Bytes of a request's head.
    pub max_head: u64,
    /// Headers of a request.
    pub max_headers: u32,
    /// Until a request's head has arrived: on a new connection, and after its first byte on a kept one.
    pub header_timeout: Duration,
    /// Until a request's body has arrived whole.
    pub body_timeout: Duration,
    /// How long a client may take nothing of its answer.
    pub send_timeout: Duration,
    /// How long an idle client connection is kept.
    pub keep_alive: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 10_000,
            max_in_flight: 1024,
            max_request_body: 64 << 20,
            // the longest URL of a regional API: docs.aws.amazon.com, API Gateway quotas
            max_uri: 10 << 10,
            max_head: 64 << 10,
            max_headers: MOST_HEADERS,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            send_timeout: Duration::from_mins(1),
            keep_alive: Duration::from_secs(75),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table of limits")]
pub(in crate::settings) struct WrittenLimits {
    max_connections: Option<u32>,
    max_in_flight: Option<u32>,
    max_request_body: Option<WrittenSize>,
    max_uri: Option<WrittenSize>,
    max_head: Option<WrittenSize>,
    max_headers: Option<u32>,
    header_timeout: Option<WrittenDuration>,
    body_timeout: Option<WrittenDuration>,
    send_timeout: Option<WrittenDuration>,
    keep_alive: Option<WrittenDuration>,
}

impl WrittenLimits {
    pub(in crate::settings) fn check(self, checker: &mut Checker<'_>, default: &Limits) -> Limits {
        let times = Duration::from_millis(100)..=LONGEST;
        let mut duration = |key, written, default| checker.duration(key, written, default, times.clone());
        let header_timeout = duration("header_timeout", self.header_timeout, default.header_timeout);
        let body_timeout = duration("body_timeout", self.body_timeout, default.body_timeout);
        let send_timeout = duration("send_timeout", self.send_timeout, default.send_timeout);
        let keep_alive = duration("keep_alive", self.keep_alive, default.keep_alive);
        Limits {
            header_timeout,
            send_timeout,
            body_timeout,
            keep_alive,
            max_connections: checker.number(
                "max_connections",
                self.max_connections,
                default.max_connections,
                1..=1_000_000,
            ),
            max_in_flight: checker.number(
                "max_in_flight",
                self.max_in_flight,
                default.max_in_flight,
                1..=1_000_000,
            ),
            max_request_body: checker.size(
                "max_request_body",
                self.max_request_body,
                default.max_request_body,
                1..=1 << 30,
            ),
            max_uri: checker.size("max_uri", self.max_uri, default.max_uri, 64..=LONGEST_URI),
            max_head: checker.size("max_head", self.max_head, default.max_head, 1 << 10..=LONGEST_HEAD),
            max_headers: checker.number(
                "max_headers",
                self.max_headers,
                default.max_headers,
                1..=MOST_HEADERS,
            ),
        }
    }
}
