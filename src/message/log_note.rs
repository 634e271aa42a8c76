//! What a backend wants the operator to know, since it writes to no log itself.
//!
//! It travels with the answer (`backend.rs`) or with the error (`error.rs`), and `proxy.rs` has it written.

/// A line for the log that a backend, which does no output itself, asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogNote {
    pub level: log::Level,
    /// What, without any secret.
    pub text: String,
}

impl LogNote {
    /// Writes it, with the request's id.
    pub fn log(&self, request_id: &str, route: &str) {
        log::log!(self.level, request_id = request_id, route = route; "{}", self.text);
    }
}
