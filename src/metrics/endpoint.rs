//! Counters of the connections to one endpoint, shared by all workers.
//!
//! `client.rs` and `client/pool.rs` count; `admin/exposition.rs` reads the counters.

use super::{
    table::counted,
    values::{Counter, Gauge},
};

counted! {
    /// The counters of one endpoint, named `HOST:PORT`.
    EndpointMetrics(endpoint) {
        opened: Counter["endpoint"] = "apigw_invoker_upstream_connections_opened_total",
            "Opened connections to AWS.";
        failed: Counter["endpoint"] = "apigw_invoker_upstream_connection_failures_total",
            "Failed attempts to connect to AWS.";
        reused: Counter["endpoint"] = "apigw_invoker_upstream_connections_reused_total",
            "Calls on a reused connection.";
        stale: Counter["endpoint"] = "apigw_invoker_upstream_connections_stale_total",
            "Idle connections that turned out to be closed when a call was to use them.";
        idle: Gauge["endpoint"] = "apigw_invoker_upstream_connections_idle",
            "Idle connections to AWS.";
    }
}
