//! The corpus: typical inputs of each kind, and inputs that the sidecar once handled incorrectly, each named
//! after its row in the list of findings.

#![expect(clippy::too_many_lines, reason = "tables, one row an input")]

pub mod answers;
pub mod events;
pub mod frames;
pub mod functions;
pub mod requests;

/// A named input.
#[derive(Debug, Clone)]
pub struct Seed {
    pub name: &'static str,
    pub bytes: Vec<u8>,
}

impl Seed {
    fn new(name: &'static str, bytes: impl AsRef<[u8]>) -> Self {
        Self { name, bytes: bytes.as_ref().to_vec() }
    }
}
