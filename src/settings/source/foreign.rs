//! Configuration files of other gateways and proxies: their YAML or JSON as a tree, and whose they are.
//!
//! `check` and the start name the program of such a file; `import` translates it.

mod advice;
mod recognise;
mod tree;

pub(in crate::settings) use advice::{of_file, of_text};
pub use recognise::{Peer, recognise, recognise_text};
pub use tree::{ForeignError, ForeignNode, ForeignValue, parse};
