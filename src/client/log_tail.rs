//! The end of a function's log, which comes in a header of `Invoke` or at the end of an event stream.
//!
//! It may hold secrets, and Kong shows it to every client (`peers.md` K37); here it goes to our own log, as a remark
//! of whoever found it.

use log::Level;

use crate::{
    message::log_note::LogNote,
    text::{lenient_base64, log_safe::log_safe},
};

/// Bytes of base64 that are looked at: Lambda sends 4 KiB of a log (Lambda API reference, `Invoke`, `LogResult`).
pub const LONGEST: usize = 16 << 10;

/// The remark, if anybody wants to read it and it is base64.
pub fn log_tail(encoded: &[u8]) -> Option<LogNote> {
    // every answer has one, and most logs do not want it
    if log::max_level() < Level::Debug || encoded.len() > LONGEST {
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
