//! Counters of the connections to one endpoint, of all workers together.
//!
//! `client.rs` and `client/pool.rs` add to it; `admin/exposition.rs` reads it.

use super::{
    table::counted,
    values::{Count, Level},
};

counted! {
    /// The counters of one endpoint, named `HOST:PORT`.
    EndpointMetrics(endpoint) {
        opened: Count["endpoint"] = "apigw_invoker_upstream_connections_opened_total",
            "Opened connections to AWS.";
        failed: Count["endpoint"] = "apigw_invoker_upstream_connection_failures_total",
            "Failed attempts to connect to AWS.";
        reused: Count["endpoint"] = "apigw_invoker_upstream_connections_reused_total",
            "Calls on a reused connection.";
        stale: Count["endpoint"] = "apigw_invoker_upstream_connections_stale_total",
            "Idle connections that turned out to be closed when a call was to use them.";
        idle: Level["endpoint"] = "apigw_invoker_upstream_connections_idle",
            "Idle connections to AWS.";
    }
}
