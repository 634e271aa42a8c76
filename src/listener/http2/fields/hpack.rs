//! Blocks of HPACK (RFC 7541): decoding with a connection's table, and writing that needs no table to be read.
//!
//! Names and values are bytes here. A block that breaks the rules of HPACK ends the connection, since the tables of
//! both sides would differ from there on; what a field may hold is decided in `rewrite.rs`.

use super::{
    huffman,
    table::{Field, Known, Name, Table},
};

/// Bytes of one integer. No length and no index that is in use needs more.
const MOST_INTEGER_BYTES: usize = 5;
/// Capacity that is kept for the next block.
const KEPT: usize = 1 << 10;

/// A block that cannot be decoded, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

const SHORT: Malformed = Malformed("a block that ends within a field");
const UNKNOWN: Malformed = Malformed("an index that is in no table");

/// The decoder of a connection.
#[derive(Debug)]
pub struct Decoder {
    table: Table,
    /// Room for a name and for a value that were sent in Huffman code.
    name: Vec<u8>,
    value: Vec<u8>,
}

impl Decoder {
    /// The decoder of a new connection.
    pub fn new() -> Self {
        Self { table: Table::new(), name: Vec::new(), value: Vec::new() }
    }

    /// Decodes a whole block and hands over its fields one by one.
    ///
    /// # Errors
    /// The block breaks the rules. Its beginning may have been handed over.
    pub fn decode(&mut self, block: &[u8], mut take: impl FnMut(Field<'_>)) -> Result<(), Malformed> {
        let mut rest = block;
        let mut has_fields = false;
        while let Some(&first) = rest.first() {
            if first & 0x80 != 0 {
                let index = integer(&mut rest, 7)?;
                take(self.table.field(index).ok_or(UNKNOWN)?);
            } else if first & 0xe0 == 0x20 {
                if has_fields {
                    return Err(Malformed("a change of the table's size behind a field"));
                }
                let limit = integer(&mut rest, 5)?;
                self.table.resize(limit).ok_or(Malformed("a table larger than allowed"))?;
                continue;
            } else {
                self.literal(&mut rest, first & 0x40 != 0, &mut take)?;
            }
            has_fields = true;
        }
        for room in [&mut self.name, &mut self.value] {
            room.clear();
            room.shrink_to(KEPT);
        }
        Ok(())
    }

    /// A field with a value, and a name or an index that stands for one.
    fn literal(
        &mut self,
        rest: &mut &[u8],
        is_indexed: bool,
        take: &mut impl FnMut(Field<'_>),
    ) -> Result<(), Malformed> {
        let index = integer(rest, if is_indexed { 6 } else { 4 })?;
        let known = match index {
            0 => None,
            index => Some(self.table.name(index).ok_or(UNKNOWN)?),
        };
        let sent = if known.is_none() { string(rest, &mut self.name)? } else { &[] };
        let value = string(rest, &mut self.value)?;
        let (known_as, name) = match &known {
            None => (Known::Nothing, sent),
            Some(name) => (name.known(), name.bytes()),
        };
        take(Field { known: known_as, name, value });
        if is_indexed {
            self.table.insert(known.unwrap_or_else(|| Name::Sent(sent.into())), value);
        }
        Ok(())
    }
}

/// RFC 7541, 5.1, with a prefix of this many bits.
fn integer(rest: &mut &[u8], prefix: u8) -> Result<usize, Malformed> {
    let (&first, behind) = rest.split_first().ok_or(SHORT)?;
    *rest = behind;
    let mask = (1_u8 << prefix) - 1;
    let mut value = usize::from(first & mask);
    if first & mask < mask {
        return Ok(value);
    }
    for shift in (0..7 * (MOST_INTEGER_BYTES - 1)).step_by(7) {
        let (&byte, behind) = rest.split_first().ok_or(SHORT)?;
        *rest = behind;
        value += usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Malformed("an integer of too many bytes"))
}

/// RFC 7541, 5.2. One in Huffman code is decoded into `room`.
fn string<'a, 'sent: 'a>(rest: &mut &'sent [u8], room: &'a mut Vec<u8>) -> Result<&'a [u8], Malformed> {
    let is_coded = rest.first().is_some_and(|first| first & 0x80 != 0);
    let length = integer(rest, 7)?;
    let (string, behind) = rest.split_at_checked(length).ok_or(SHORT)?;
    *rest = behind;
    if !is_coded {
        return Ok(string);
    }
    room.clear();
    huffman::decode(string, room)?;
    Ok(room)
}

/// Writes a field so that the reader's table stays empty.
pub fn write(field: Field<'_>, block: &mut Vec<u8>) {
    match field.known {
        Known::Whole(index) => return block.push(0x80 | index),
        Known::Name(index) => write_integer(usize::from(index), 4, block),
        Known::Nothing => {
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

/// The bits before the prefix are zeros.
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
