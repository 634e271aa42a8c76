//! JSON writer for events, with one buffer of bounded size and no intermediate tree.
//!
//! `gateway/rest.rs` and `gateway/http.rs` copy fixed JSON between the values, and values are searched for
//! characters to escape eight bytes at a time; `serde_json` checks single bytes, which took most of an
//! event's time. `forward.rs` and `merge.rs` use it, because their shapes vary.

use std::{
    io,
    net::{IpAddr, Ipv4Addr},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Serialize;

use super::{event_body::EventBody, groups::Grouped, text::text};
use crate::{
    message::error::{ErrorKind, ProxyError},
    text::json::plain_run,
};

/// Initial capacity without the body.
const FIRST_CAPACITY: usize = 4 << 10;

/// A larger buffer never grows, because the old and the new buffer would be in memory together: the event is
/// written again into a buffer of its exact size.
const MAX_GROWN_CAPACITY: usize = 16 << 10;

/// Writes an event of at most `limit` bytes. `likely` is the estimated size of the body in the event. `write`
/// may be called twice and must write the same bytes.
///
/// # Errors
/// The event has more than `limit` bytes.
pub fn write_event(
    likely: usize,
    limit: u64,
    write: impl Fn(&mut EventWriter) -> serde_json::Result<()>,
) -> Result<Vec<u8>, ProxyError> {
    let limit_here = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut capacity = FIRST_CAPACITY.saturating_add(likely);
    loop {
        let mut writer = EventWriter::new(capacity, limit_here);
        let result = write(&mut writer);
        if writer.size() > limit_here {
            return Err(too_large(limit, writer.size()));
        }
        result.map_err(|error| ProxyError::new(ErrorKind::Internal, error))?;
        if writer.overflow == 0 {
            return Ok(writer.bytes);
        }
        capacity = writer.size();
    }
}

/// Writes an event with serde; see [`write_event`].
pub fn json(event: &impl Serialize, likely: usize, limit: u64) -> Result<Vec<u8>, ProxyError> {
    write_event(likely, limit, |writer| serde_json::to_writer(writer, event))
}

/// Copies a body that is a complete event.
///
/// # Errors
/// The body has more than `limit` bytes.
pub fn copy_body(body: &[u8], limit: u64) -> Result<Vec<u8>, ProxyError> {
    if body.len() as u64 > limit { Err(too_large(limit, body.len())) } else { Ok(body.to_vec()) }
}

fn too_large(limit: u64, size: usize) -> ProxyError {
    ErrorKind::PayloadTooLarge { what: "the event", limit, size: size as u64 }.into()
}

#[derive(Debug)]
pub struct EventWriter {
    bytes: Vec<u8>,
    limit: usize,
    /// Number of bytes that did not fit into the buffer.
    overflow: usize,
}

impl EventWriter {
    fn new(capacity: usize, limit: usize) -> Self {
        Self { bytes: Vec::with_capacity(capacity.min(limit)), limit, overflow: 0 }
    }

    fn size(&self) -> usize {
        self.bytes.len() + self.overflow
    }

    #[inline]
    pub fn fixed(&mut self, json: &str) {
        self.push(json.as_bytes());
    }

    #[inline]
    fn push(&mut self, bytes: &[u8]) {
        if self.has_room(bytes.len()) {
            self.bytes.extend_from_slice(bytes);
        }
    }

    #[inline]
    fn has_room(&mut self, more: usize) -> bool {
        more <= self.bytes.capacity() - self.bytes.len() || self.make_room(more)
    }

    #[cold]
    fn make_room(&mut self, more: usize) -> bool {
        let size = self.bytes.len() + more;
        if self.overflow > 0 || size > MAX_GROWN_CAPACITY.min(self.limit) {
            self.overflow += more;
            return false;
        }
        // `Vec` itself would double beyond the limit
        let capacity = self.bytes.capacity().saturating_mul(2).clamp(size, self.limit);
        self.bytes.reserve_exact(capacity - self.bytes.len());
        true
    }

    /// Writes fixed JSON that ends with a quotation mark, and a text; the next fixed JSON begins with the
    /// closing mark.
    #[inline]
    pub fn text(&mut self, fixed: &str, value: impl AsRef<[u8]>) {
        self.fixed(fixed);
        self.escaped(value.as_ref());
    }

    /// Writes a text without quotation marks.
    #[inline]
    pub fn escaped(&mut self, value: &[u8]) {
        if is_plain_ascii(value) {
            self.push(value);
        } else {
            self.escape_bytes(value);
        }
    }

    #[cold]
    fn escape_bytes(&mut self, value: &[u8]) {
        self.escape(&text(value));
    }

    fn escape(&mut self, text: &str) {
        let mut rest = text.as_bytes();
        loop {
            let (plain, special) = rest.split_at(plain_run(rest));
            self.push(plain);
            let Some((byte, behind)) = special.split_first() else { return };
            self.escape_byte(*byte);
            rest = behind;
        }
    }

    /// The same escapes as `serde_json` (RFC 8259, 7).
    fn escape_byte(&mut self, byte: u8) {
        let short = match byte {
            b'"' => r#"\""#,
            b'\\' => r"\\",
            b'\n' => r"\n",
            b'\r' => r"\r",
            b'\t' => r"\t",
            0x08 => r"\b",
            0x0c => r"\f",
            _ => {
                let mut digits = [0; 2];
                // cannot fail: the buffer has two digits
                let _ = hex::encode_to_slice([byte], &mut digits);
                self.fixed(r"\u00");
                return self.push(&digits);
            }
        };
        self.fixed(short);
    }

    pub fn quoted(&mut self, value: &[u8]) {
        self.fixed("\"");
        self.escaped(value);
        self.fixed("\"");
    }

    pub fn boolean(&mut self, value: bool) {
        self.fixed(if value { "true" } else { "false" });
    }

    pub fn number(&mut self, value: i64) {
        self.push(itoa::Buffer::new().format(value).as_bytes());
    }

    /// `Display` is several times slower for IPv4.
    pub fn address(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(address) => self.ipv4(address),
            IpAddr::V6(address) => self.fixed(&address.to_string()),
        }
    }

    fn ipv4(&mut self, address: Ipv4Addr) {
        let mut octets = itoa::Buffer::new();
        for (index, octet) in address.octets().into_iter().enumerate() {
            if index > 0 {
                self.fixed(".");
            }
            self.push(octets.format(octet).as_bytes());
        }
    }

    pub fn body(&mut self, body: EventBody<'_>) {
        match body {
            EventBody::Nothing => self.fixed("null"),
            EventBody::Text(text) => {
                self.fixed("\"");
                self.escape(text);
                self.fixed("\"");
            }
            EventBody::Base64(bytes) => {
                self.fixed("\"");
                self.base64(bytes);
                self.fixed("\"");
            }
        }
    }

    #[expect(clippy::expect_used, reason = "the slice has the length of the base64")]
    fn base64(&mut self, bytes: &[u8]) {
        let length = bytes.len().div_ceil(3) * 4;
        if self.has_room(length) {
            let start = self.bytes.len();
            self.bytes.resize(start + length, 0);
            STANDARD.encode_slice(bytes, &mut self.bytes[start..]).expect("room for the base64");
        }
    }

    pub fn array<T: AsRef<[u8]>>(&mut self, values: impl Iterator<Item = T>) {
        let mut is_empty = true;
        for value in values {
            self.fixed(if is_empty { "[\"" } else { ",\"" });
            self.escaped(value.as_ref());
            self.fixed("\"");
            is_empty = false;
        }
        self.fixed(if is_empty { "[]" } else { "]" });
    }

    pub fn object<N: AsRef<str>, V: AsRef<[u8]>>(&mut self, members: impl Iterator<Item = (N, V)>) {
        self.members(members, |writer, value| writer.quoted(value.as_ref()));
    }

    /// Writes an object with the last value of each name.
    pub fn last_of<'g, G: Grouped<Value<'g>: AsRef<[u8]>>>(&mut self, grouped: &'g G) {
        self.members(grouped.groups(), |writer, mut values| match values.next_back() {
            Some(value) => writer.quoted(value.as_ref()),
            None => writer.fixed("null"),
        });
    }

    /// Writes an object with an array of values for each name.
    pub fn all_of<'g, G: Grouped<Value<'g>: AsRef<[u8]>>>(&mut self, grouped: &'g G) {
        self.members(grouped.groups(), Self::array);
    }

    /// Writes an object with the values of each name, joined by commas.
    pub fn joined_of<'g, G: Grouped<Value<'g>: AsRef<[u8]>>>(&mut self, grouped: &'g G) {
        self.members(grouped.groups(), |writer, values| {
            let mut separator = "\"";
            for value in values {
                writer.fixed(separator);
                writer.escaped(value.as_ref());
                separator = ",";
            }
            writer.fixed("\"");
        });
    }

    fn members<N: AsRef<str>, V>(
        &mut self,
        members: impl Iterator<Item = (N, V)>,
        mut write_value: impl FnMut(&mut Self, V),
    ) {
        let mut is_empty = true;
        for (name, value) in members {
            self.fixed(if is_empty { "{\"" } else { ",\"" });
            self.escaped(name.as_ref().as_bytes());
            self.fixed("\":");
            write_value(self, value);
            is_empty = false;
        }
        self.fixed(if is_empty { "{}" } else { "}" });
    }
}

/// For `serde_json`. Fails once the event is too large, so that writing stops.
impl io::Write for EventWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes).map(|()| bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.push(bytes);
        if self.size() > self.limit { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// True for ASCII without characters to escape. The last word may overlap the previous one, which avoids a
/// loop over the last bytes.
fn is_plain_ascii(bytes: &[u8]) -> bool {
    let word = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes);
    if let Some(last) = bytes.last_chunk() {
        let words = bytes.as_chunks().0.iter();
        return words.fold(special_bytes(word(last)), |found, next| found | special_bytes(word(next))) == 0;
    }
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
        return special_bytes(u64::from(first) << 32 | u64::from(last)) == 0;
    }
    bytes.iter().all(|byte| matches!(byte, b' '..=0x7f) && !matches!(byte, b'"' | b'\\'))
}

/// Not zero if one of eight bytes needs an escape or is not ASCII: each term then sets the highest bit of the
/// byte. A borrow may also set it in bytes above.
fn special_bytes(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let quote = (word ^ (u64::from(b'"') * ONES)).wrapping_sub(ONES);
    let backslash = (word ^ (u64::from(b'\\') * ONES)).wrapping_sub(ONES);
    (word | word.wrapping_sub(0x20 * ONES) | quote | backslash) & (0x80 * ONES)
}

#[cfg(test)]
pub mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The event as text.
    pub fn written(write: impl Fn(&mut EventWriter)) -> String {
        let event = write_event(0, u64::MAX, |writer| {
            write(writer);
            Ok(())
        });
        String::from_utf8(event.unwrap()).unwrap()
    }

    fn refused(result: Result<Vec<u8>, ProxyError>) -> u64 {
        match result.unwrap_err().kind {
            ErrorKind::PayloadTooLarge { what: "the event", limit, size } if size > limit => size,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn lists_without_an_item_are_closed() {
        assert_eq!(written(|writer| writer.array(std::iter::empty::<&str>())), "[]");
        assert_eq!(written(|writer| writer.object::<&str, &str>(std::iter::empty())), "{}");
        assert_eq!(written(|writer| writer.array(["", "b"].into_iter())), r#"["","b"]"#);
    }

    #[test]
    fn a_body_is_null_a_string_or_base64() {
        let body = |bytes, may_be_text| written(|writer| writer.body(EventBody::new(bytes, may_be_text)));
        assert_eq!(body(b"", true), "null");
        assert_eq!(body(b"\"\n", true), r#""\"\n""#);
        assert_eq!(body(b"test", false), "\"dGVzdA==\"");
    }

    #[test]
    fn an_event_has_as_many_bytes_as_it_may_and_not_one_more() {
        let text = "x".repeat(98);
        assert_eq!(json(&text, 98, 100).unwrap().len(), 100);
        assert_eq!(refused(json(&text, 98, 99)), 100);
        assert_eq!(copy_body(b"{}", 2).unwrap(), b"{}");
        assert_eq!(refused(copy_body(b"{} ", 2)), 3);
    }

    #[test]
    fn what_is_too_large_is_given_up_early_and_never_takes_more_room_than_allowed() {
        let limit = 100_000;
        let escaped = "\u{1}".repeat(1 << 20);
        assert!(refused(json(&escaped, escaped.len(), limit)) < limit + 10);
        let fits = json(&"\u{1}".repeat(16_000), 0, limit).unwrap();
        assert_eq!((fits.len(), fits.capacity() <= 100_000), (96_002, true));
    }

    #[test]
    fn the_size_of_an_event_that_is_too_large_is_the_whole_size() {
        let body = vec![0; 3 << 20];
        let write = |writer: &mut EventWriter| {
            writer.body(EventBody::Base64(&body));
            writer.fixed("}");
            Ok(())
        };
        assert_eq!(refused(write_event(0, 1 << 20, write)), (4 << 20) + 3);
        let fits = write_event(0, (4 << 20) + 3, write).unwrap();
        assert_eq!((fits.len(), fits.capacity()), ((4 << 20) + 3, (4 << 20) + 3));
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

        #[test]
        fn texts_are_escaped_as_serde_json_does_it(text in r"([\x00-\x22\x5c\x7f]|a{0,40}|.){0,12}") {
            let expected = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(written(|writer| writer.quoted(text.as_bytes())), &*expected);
            let body = EventBody::Text(&text);
            prop_assert_eq!(written(|writer| writer.body(body)), expected);
        }

        #[test]
        fn text_is_plain_if_serde_json_escapes_nothing_of_it(
            text in r"[ -~]{0,40}",
            byte in any::<u8>(),
            index in any::<prop::sample::Index>(),
        ) {
            let mut bytes = text.into_bytes();
            if !bytes.is_empty() {
                let index = index.index(bytes.len());
                bytes[index] = byte;
            }
            let expected = str::from_utf8(&bytes).is_ok_and(|text| {
                text.is_ascii() && serde_json::to_string(text).unwrap().len() == text.len() + 2
            });
            prop_assert_eq!(is_plain_ascii(&bytes), expected);
        }

        #[test]
        fn addresses_are_as_the_standard_library_writes_them(address in any::<IpAddr>()) {
            prop_assert_eq!(written(|writer| writer.address(address)), address.to_string());
        }

        #[test]
        fn any_pieces_give_the_same_bytes_in_a_buffer_of_any_size(
            pieces in prop::collection::vec("[a-z\"]{0,3000}", 0..12),
            likely in 0_usize..20_000,
        ) {
            let event = write_event(likely, u64::MAX, |writer| {
                writer.array(pieces.iter());
                Ok(())
            });
            prop_assert_eq!(event.unwrap(), serde_json::to_vec(&pieces).unwrap());
        }
    }
}
