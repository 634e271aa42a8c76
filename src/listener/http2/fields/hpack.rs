//! Blocks of HPACK (RFC 7541): decoding with the tables of a connection, and encoding without a dynamic
//! table.
//!
//! Names and values are unchecked bytes here; `rewrite.rs` checks them. A block that breaks RFC 7541 ends the
//! connection, since the dynamic tables of both sides would differ from there on.
//!
//! No HPACK crate fits. `httlib-hpack` panics on a truncated block; `loona-hpack` and `hpack_codec` copy each
//! name and value and do not report which bytes come from the dynamic table, so references to a large entry
//! could not be limited.

use super::{
    huffman,
    table::{EntryName, Field, HeaderTables, StaticMatch},
};

/// Bytes of the longest integer that is decoded, enough for any length and index; `h2` has the same limit.
const MAX_INTEGER_BYTES: usize = 5;
/// Capacity of `name` and `value` that is retained for the next block.
const RETAINED_CAPACITY: usize = 1 << 10;

/// The reason why a block cannot be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MalformedBlock(pub &'static str);

const TRUNCATED: MalformedBlock = MalformedBlock("a header block that ends inside a field");
const NO_SUCH_INDEX: MalformedBlock = MalformedBlock("an index outside of the tables");

/// The decoder of a connection.
#[derive(Debug)]
pub struct Decoder {
    tables: HeaderTables,
    /// Buffers for a decoded name and value in Huffman code.
    name: Vec<u8>,
    value: Vec<u8>,
}

impl Decoder {
    pub fn new() -> Self {
        Self { tables: HeaderTables::new(), name: Vec::new(), value: Vec::new() }
    }

    /// Decodes a whole block and calls `take` with each field.
    ///
    /// # Errors
    /// The block breaks RFC 7541. `take` may have been called with the fields before the fault.
    pub fn decode(&mut self, block: &[u8], mut take: impl FnMut(Field<'_>)) -> Result<(), MalformedBlock> {
        let mut rest = block;
        let mut has_fields = false;
        while let Some(&first) = rest.first() {
            if first & 0x80 != 0 {
                let index = integer(&mut rest, 7)?;
                take(self.tables.field(index).ok_or(NO_SUCH_INDEX)?);
            } else if first & 0xe0 == 0x20 {
                if has_fields {
                    return Err(MalformedBlock("a table size update after a field"));
                }
                let limit = integer(&mut rest, 5)?;
                self.tables.resize(limit).ok_or(MalformedBlock("a table size above the limit"))?;
                continue;
            } else {
                self.literal(&mut rest, first & 0x40 != 0, &mut take)?;
            }
            has_fields = true;
        }
        for buffer in [&mut self.name, &mut self.value] {
            buffer.clear();
            buffer.shrink_to(RETAINED_CAPACITY);
        }
        Ok(())
    }

    /// Decodes a literal field (RFC 7541, 6.2), whose name may be an index.
    fn literal(
        &mut self,
        rest: &mut &[u8],
        is_indexed: bool,
        take: &mut impl FnMut(Field<'_>),
    ) -> Result<(), MalformedBlock> {
        let index = integer(rest, if is_indexed { 6 } else { 4 })?;
        let indexed = match index {
            0 => None,
            index => Some(self.tables.name(index).ok_or(NO_SUCH_INDEX)?),
        };
        let literal = if indexed.is_none() { string(rest, &mut self.name)? } else { &[] };
        let value = string(rest, &mut self.value)?;
        take(indexed.as_ref().map_or(Field::literal(literal, value), |name| name.field(value)));
        if is_indexed {
            self.tables.insert(indexed.unwrap_or_else(|| EntryName::Literal(literal.into())), value);
        }
        Ok(())
    }
}

/// Decodes an integer with a prefix of this many bits (RFC 7541, 5.1).
fn integer(rest: &mut &[u8], prefix: u8) -> Result<usize, MalformedBlock> {
    let (&first, behind) = rest.split_first().ok_or(TRUNCATED)?;
    *rest = behind;
    let mask = (1_u8 << prefix) - 1;
    let mut value = usize::from(first & mask);
    if first & mask < mask {
        return Ok(value);
    }
    for shift in (0..7 * (MAX_INTEGER_BYTES - 1)).step_by(7) {
        let (&byte, behind) = rest.split_first().ok_or(TRUNCATED)?;
        *rest = behind;
        value += usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(MalformedBlock("an integer with too many bytes"))
}

/// Decodes a string (RFC 7541, 5.2), into `buffer` if the string is in Huffman code.
fn string<'a, 'sent: 'a>(
    rest: &mut &'sent [u8],
    buffer: &'a mut Vec<u8>,
) -> Result<&'a [u8], MalformedBlock> {
    let is_coded = rest.first().is_some_and(|first| first & 0x80 != 0);
    let length = integer(rest, 7)?;
    let (string, behind) = rest.split_at_checked(length).ok_or(TRUNCATED)?;
    *rest = behind;
    if !is_coded {
        return Ok(string);
    }
    buffer.clear();
    huffman::decode(string, buffer)?;
    Ok(buffer)
}

/// Encodes a field without indexing, so that the dynamic table of `h2` stays empty.
pub fn write(field: Field<'_>, block: &mut Vec<u8>) {
    match field.in_static {
        StaticMatch::Field(index) => return block.push(0x80 | index),
        StaticMatch::Name(index) => write_integer(usize::from(index), 4, block),
        StaticMatch::None => {
            block.push(0);
            write_string(field.name, block);
        }
    }
    write_string(field.value, block);
}

fn write_string(string: &[u8], block: &mut Vec<u8>) {
    write_integer(string.len(), 7, block);
    block.extend_from_slice(string);
}

/// Encodes an integer with a prefix of this many bits, behind zero bits (RFC 7541, 5.1).
fn write_integer(value: usize, prefix: u8, block: &mut Vec<u8>) {
    let mask = (1_u8 << prefix) - 1;
    match u8::try_from(value) {
        Ok(value) if value < mask => block.push(value),
        _ => {
            block.push(mask);
            let mut left = value - usize::from(mask);
            loop {
                let [bits, ..] = left.to_le_bytes();
                left >>= 7;
                if left == 0 {
                    return block.push(bits & 0x7f);
                }
                block.push(bits | 0x80);
            }
        }
    }
}

#[cfg(test)]
pub mod tests;
