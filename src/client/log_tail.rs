//! The end of a function's log, from a header of `Invoke` or the end of an event stream.
//!
//! The log may contain secrets. The sidecar writes it at level debug and, unlike Kong, never sends it to the
//! client.

use log::Level;

use crate::{
    message::log_note::LogNote,
    text::{lenient_base64, log_safe::log_safe},
};

/// Maximum bytes of base64: Lambda sends 4 KiB of the log (Lambda API reference, `Invoke`, `LogResult`).
pub const MAX_ENCODED: usize = 16 << 10;

/// The log note, if the level is debug and the text is valid base64.
pub fn log_tail(encoded: &[u8]) -> Option<LogNote> {
    // every response has one, and level debug is rare
    if log::max_level() < Level::Debug || encoded.len() > MAX_ENCODED {
        return None;
    }
    let tail = lenient_base64::decode(encoded).ok()?;
    let lines: Vec<String> =
        String::from_utf8_lossy(&tail).lines().map(|line| log_safe(line, usize::MAX)).collect();
    Some(LogNote {
        level: Level::Debug,
        text: format!("the function's log ends with:\n{}", lines.join("\n")),
    })
}
