//! Counters of the connections to one endpoint, of all workers together.
//!
//! `client.rs` and `client/pool.rs` add to it; `admin/exposition.rs` reads it.

use super::{
    table::counted,
    values::{Counter, Gauge},
};

counted! {
    /// The counters of one endpoint, named `HOST:PORT`.
    EndpointMetrics(endpoint) {
        opened: Counter["endpoint"] = "apigw_invoker_upstream_connections_opened_total",
            "Connections to AWS that were opened.";
        failed: Counter["endpoint"] = "apigw_invoker_upstream_connection_failures_total",
            "Connections to AWS that could not be opened.";
        reused: Counter["endpoint"] = "apigw_invoker_upstream_connections_reused_total",
            "Calls on a connection that was there already.";
        stale: Counter["endpoint"] = "apigw_invoker_upstream_connections_stale_total",
            "Kept connections that were closed when they were to be used.";
        idle: Gauge["endpoint"] = "apigw_invoker_upstream_connections_idle",
            "Kept connections to AWS.";
    }
}
