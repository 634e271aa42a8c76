//! A log line for the operator that is returned with a response (`backend.rs`) or an error (`error.rs`):
//! backends do no output, `proxy.rs` logs it with the request's id.

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogNote {
    pub level: log::Level,
    /// Must not contain a secret.
    pub text: String,
}

impl LogNote {
    pub fn log(&self, request_id: &str, route: &str) {
        log::log!(self.level, request_id = request_id, route = route; "{}", self.text);
    }
}
