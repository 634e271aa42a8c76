//! An event written as JSON into a buffer of bounded size, straight from what it borrows: no tree in between, since
//! every request has one.

use std::io;

use serde::Serialize;

use super::writer::{Document, Event, Writer};
use crate::message::error::{ErrorKind, ProxyError};

/// What an event is likely to take besides its body.
const FIRST_BUFFER: usize = 4 << 10;

/// An event beyond it that outgrows its buffer is written anew into one that fits: while a vector grows, the old and
/// the new one are there at a time.
const LARGEST_TO_GROW: usize = 16 << 10;

/// Writes a serde value as an event; the rest is as with [`written`].
pub fn json(event: &impl Serialize, likely: usize, limit: u64) -> Result<Vec<u8>, ProxyError> {
    written(&Document(event), likely, limit)
}

/// Writes an event that is likely to take `likely` bytes for the client's body, and may have at most `limit` bytes.
///
/// # Errors
/// The event has more than `limit`. Writing stops there: escapes make a body up to six times as long, and nobody waits
/// for that.
pub fn written(event: &impl Event, likely: usize, limit: u64) -> Result<Vec<u8>, ProxyError> {
    let likely = FIRST_BUFFER.saturating_add(likely);
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut event_bytes = Limited::of(likely.min(most), most);
    let mut result = event.write(&mut Writer(&mut event_bytes));
    if event_bytes.is_outgrown {
        drop(event_bytes);
        let mut size = Size { bytes: 0, most };
        result = event.write(&mut Writer(&mut size));
        let capacity = if result.is_ok() { size.bytes } else { 0 };
        event_bytes = Limited::of(capacity, most);
        if result.is_ok() {
            result = event.write(&mut Writer(&mut event_bytes));
        } else {
            event_bytes.passed_at = Some(size.bytes);
        }
    }
    match (result, event_bytes.passed_at) {
        (Ok(()), _) => Ok(event_bytes.bytes),
        (Err(_), Some(size)) => Err(too_large(limit, size)),
        (Err(error), None) => Err(ProxyError::new(ErrorKind::Internal, error)),
    }
}

/// A body that is an event as it is.
///
/// # Errors
/// It has more than `limit` bytes.
pub fn as_it_is(body: &[u8], limit: u64) -> Result<Vec<u8>, ProxyError> {
    if body.len() as u64 > limit { Err(too_large(limit, body.len())) } else { Ok(body.to_vec()) }
}

fn too_large(limit: u64, size: usize) -> ProxyError {
    ErrorKind::PayloadTooLarge { what: "the event", limit, size: size as u64 }.into()
}

/// Bytes that never take more room than they may have.
struct Limited {
    bytes: Vec<u8>,
    /// As many more have room as it is.
    room: usize,
    most: usize,
    /// The size that would have been too much.
    passed_at: Option<usize>,
    /// Whether it was given up because it would have to grow.
    is_outgrown: bool,
}

/// What an event takes, without its bytes.
struct Size {
    bytes: usize,
    most: usize,
}

impl Limited {
    fn of(capacity: usize, most: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(capacity),
            room: capacity,
            most,
            passed_at: None,
            is_outgrown: false,
        }
    }

    #[cold]
    fn make_room(&mut self, more: usize) -> io::Result<()> {
        let size = self.bytes.len() + more;
        if size > self.most {
            self.passed_at = Some(size);
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        if size > LARGEST_TO_GROW {
            self.is_outgrown = true;
            return Err(io::ErrorKind::StorageFull.into());
        }
        // a vector by itself would double beyond the limit
        let capacity = (self.bytes.len() + self.room).saturating_mul(2).clamp(size, self.most);
        self.bytes.reserve_exact(capacity - self.bytes.len());
        self.room = capacity - self.bytes.len();
        Ok(())
    }
}

impl io::Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes).map(|()| bytes.len())
    }

    /// Called hundreds of times for an event, for a quotation mark as for a name.
    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.len() > self.room {
            self.make_room(bytes.len())?;
        }
        self.room -= bytes.len();
        match bytes {
            [one] => self.bytes.push(*one),
            several => self.bytes.extend_from_slice(several),
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl io::Write for Size {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes += bytes.len();
        if self.bytes > self.most { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(bytes.len()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn refused(result: Result<Vec<u8>, ProxyError>) -> u64 {
        match result.unwrap_err().kind {
            ErrorKind::PayloadTooLarge { what: "the event", limit, size } if size > limit => size,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_event_has_as_many_bytes_as_it_may_and_not_one_more() {
        let text = "x".repeat(98);
        assert_eq!(json(&text, 98, 100).unwrap().len(), 100);
        assert_eq!(refused(json(&text, 98, 99)), 100);
        assert_eq!(as_it_is(b"{}", 2).unwrap(), b"{}");
        assert_eq!(refused(as_it_is(b"{} ", 2)), 3);
    }

    #[test]
    fn what_is_too_large_is_given_up_early_and_never_takes_more_room_than_allowed() {
        let limit = 100_000;
        let escaped = "\u{1}".repeat(1 << 20);
        assert!(refused(json(&escaped, escaped.len(), limit)) < limit + 10);
        let fits = json(&"\u{1}".repeat(16_000), 0, limit).unwrap();
        assert_eq!((fits.len(), fits.capacity() <= 100_000), (96_002, true));
    }

    proptest! {
        #[test]
        fn an_event_is_what_serde_writes_or_too_large(value in any::<String>(), limit in 0_u64..200) {
            let whole = serde_json::to_vec(&value).unwrap();
            match json(&value, value.len(), limit) {
                Ok(event) => prop_assert_eq!(event, whole),
                too_large => prop_assert!(whole.len() as u64 > limit && refused(too_large) > limit),
            }
        }
    }
}
