//! The settings as the running program sees them: a snapshot, its builder, and the reload that replaces it.

pub mod builder;
pub mod certificates;
pub mod current;
pub mod open_files;
pub mod reload;
pub mod signing;
pub mod snapshot;
