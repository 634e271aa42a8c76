//! Counters of clients' connections.
//!
//! `listener/accept.rs` counts connections; `admin/exposition.rs` reads the counters.

use std::sync::Arc;

use super::{
    Metrics,
    table::counted,
    values::{Counter, Gauge},
};

counted! {
    ClientMetrics {
        open: Gauge = "apigw_invoker_client_connections",
            "Open connections of clients.";
        accepted: Counter = "apigw_invoker_client_connections_total",
            "Accepted connections of clients.";
        refused: Counter = "apigw_invoker_client_connections_refused_total",
            "Connections of clients refused because `limits.max_connections` was reached.";
    }
}

/// Counts a connection as open until it is dropped.
#[derive(Debug)]
pub struct ClientConnected(Arc<Metrics>);

impl Metrics {
    /// Counts a connection that is served.
    pub fn client_connects(self: &Arc<Self>) -> ClientConnected {
        self.clients.open.change(1);
        self.clients.accepted.add(1);
        ClientConnected(Arc::clone(self))
    }

    /// Counts a connection refused because of `limits.max_connections`.
    pub fn client_refused(&self) {
        self.clients.refused.add(1);
    }
}

impl Drop for ClientConnected {
    fn drop(&mut self) {
        self.0.clients.open.change(-1);
    }
}
