//! An event written as JSON, straight from what it borrows: no tree in between, since this is done for every
//! request.

use serde::Serialize;

use crate::error::{ErrorKind, ProxyError};

/// What an event is likely to take besides its body.
const FIRST_BUFFER: usize = 2 << 10;

/// Writes an event that holds a body of `body_length` bytes.
pub fn json(event: &impl Serialize, body_length: usize) -> Result<Vec<u8>, ProxyError> {
    // base64 takes four characters for three bytes, which is as much as escapes do to most texts
    let mut bytes = Vec::with_capacity(FIRST_BUFFER + body_length.div_ceil(3) * 4);
    serde_json::to_writer(&mut bytes, event).map_err(|error| ProxyError::new(ErrorKind::Internal, error))?;
    Ok(bytes)
}
