//! The state that requests are served with: a snapshot of the settings, its builder, and the reload that
//! replaces it.

pub(crate) mod builder;
pub(crate) mod certificates;
pub(crate) mod current;
pub(crate) mod host_routes;
pub(crate) mod inspector;
pub(crate) mod open_files;
pub(crate) mod reload;
pub(crate) mod signing;
pub mod snapshot;
pub(crate) mod waiting;
