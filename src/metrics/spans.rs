//! What became of the requests that a collector was to be told of.
//!
//! `spans/exporter.rs` and `spans/delivery.rs` count; `admin/exposition.rs` reads it.

use super::route::Count;

/// Recorded requests by their end.
#[derive(Debug, Default)]
pub struct Spans {
    /// The collector has taken them.
    pub delivered: Count,
    /// It has not, or was not there.
    pub refused: Count,
    /// There was no room for them, or no time at the end.
    pub dropped: Count,
}
