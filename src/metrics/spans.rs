//! Counters of requests whose spans are exported.
//!
//! `spans/exporter.rs` and `spans/delivery.rs` count; `admin/exposition.rs` reads the counters.

use super::{table::counted, values::counts};

counted! {
    SpanMetrics {
        recorded: Recorded["outcome"] = "apigw_invoker_recorded_requests_total",
            "Requests to be exported by `tracing.otlp`, by outcome.";
    }
}

counts! {
    Recorded {
        /// The collector accepted the span.
        delivered,
        /// The collector rejected the span or was unreachable.
        refused,
        /// The queue was full, or the process ended before the span was sent.
        dropped,
    }
}
