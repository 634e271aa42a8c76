//! Counters of the requests that a collector was to be told of.
//!
//! `spans/exporter.rs` and `spans/delivery.rs` count; `admin/exposition.rs` reads it.

use super::{table::counted, values::counts};

counted! {
    /// Requests of which spans were recorded.
    SpanMetrics {
        recorded: Recorded["outcome"] = "apigw_invoker_recorded_requests_total",
            "Requests to be exported by `tracing.otlp`, by outcome.";
    }
}

counts! {
    /// Recorded requests by their end.
    Recorded {
        /// The collector has taken them.
        delivered,
        /// The collector has refused them, or was not there.
        refused,
        /// There was no room for them, or no time at the end.
        dropped,
    }
}
