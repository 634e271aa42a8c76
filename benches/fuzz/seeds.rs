//! The corpus: inputs that were once handled wrongly, each named after its row in the list of findings, and
//! ordinary ones of each kind.

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
