//! An encoder that knows all forms of RFC 7541, and what the decoder makes of them.

use proptest::prelude::*;

use super::*;
use crate::listener::http2::fields::table::{OVERHEAD, STATIC};

/// A name and a value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// An encoder that picks the form of each field by a number. Its table is a list and no more.
pub struct Encoder {
    entries: Vec<Pair>,
    limit: usize,
}

impl Encoder {
    pub fn new() -> Self {
        Self { entries: Vec::new(), limit: 4096 }
    }

    /// A block of these fields, of which each has a number.
    pub fn block(&mut self, fields: &[(Pair, u8)]) -> Vec<u8> {
        let mut block = Vec::new();
        for ((name, value), form) in fields {
            let place = |has: &dyn Fn(&[u8], &[u8]) -> bool| {
                let statics = STATIC.iter().copied();
                let sent = self.entries.iter().map(|(name, value)| (&name[..], &value[..]));
                statics.chain(sent).position(|(name, value)| has(name, value)).map(|place| place + 1)
            };
            let whole = place(&|n, v| n == name && v == value).filter(|_| form & 1 != 0);
            if let Some(index) = whole {
                put_integer(index, 7, 0x80, &mut block);
                continue;
            }
            let known = place(&|n, _| n == name).filter(|_| form & 2 != 0);
            let (prefix, bits) = [(4, 0), (4, 0x10), (6, 0x40), (6, 0x40)][usize::from(form >> 2 & 3)];
            put_integer(known.unwrap_or(0), prefix, bits, &mut block);
            if known.is_none() {
                put_string(name, form & 16 != 0, &mut block);
            }
            put_string(value, form & 32 != 0, &mut block);
            if prefix == 6 {
                self.entries.insert(0, (name.clone(), value.clone()));
                self.evict();
            }
        }
        block
    }

    /// The block's beginning that sets the size of the table.
    pub fn resize(&mut self, limit: usize) -> Vec<u8> {
        self.limit = limit;
        self.evict();
        let mut block = Vec::new();
        put_integer(limit, 5, 0x20, &mut block);
        block
    }

    fn evict(&mut self) {
        let size = |(name, value): &Pair| name.len() + value.len() + OVERHEAD;
        while self.entries.iter().map(size).sum::<usize>() > self.limit {
            self.entries.pop();
        }
    }
}

fn put_integer(value: usize, prefix: u32, bits: u8, block: &mut Vec<u8>) {
    let largest = 2_usize.pow(prefix) - 1;
    if value < largest {
        return block.push(bits | u8::try_from(value).unwrap());
    }
    block.push(bits | u8::try_from(largest).unwrap());
    let mut left = value - largest;
    while left >= 128 {
        block.push(u8::try_from(left % 128).unwrap() | 0x80);
        left /= 128;
    }
    block.push(u8::try_from(left).unwrap());
}

fn put_string(string: &[u8], is_coded: bool, block: &mut Vec<u8>) {
    let mut coded = Vec::new();
    if is_coded {
        httlib_huffman::encode(string, &mut coded).unwrap();
    }
    let (bytes, bits) = if is_coded { (&coded[..], 0x80) } else { (string, 0) };
    put_integer(bytes.len(), 7, bits, block);
    block.extend_from_slice(bytes);
}

/// What a decoder makes of a block.
pub fn decoded(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<Pair>, Malformed> {
    let mut fields = Vec::new();
    decoder.decode(block, |field| fields.push((field.name.to_vec(), field.value.to_vec())))?;
    Ok(fields)
}

/// Names and values that are in the static table, that repeat, and others.
pub fn pairs(bytes: impl Strategy<Value = u8> + Clone) -> impl Strategy<Value = Pair> {
    let text = prop::collection::vec(bytes, 0..40);
    prop_oneof![
        (0..STATIC.len()).prop_map(|place| (STATIC[place].0.to_vec(), STATIC[place].1.to_vec())),
        (0..STATIC.len(), text.clone()).prop_map(|(place, value)| (STATIC[place].0.to_vec(), value)),
        ("x-[ab]", "[cd]").prop_map(|(name, value)| (name.into_bytes(), value.into_bytes())),
        (text.clone(), text),
        ("x-[ab]{1,3}", 0_usize..3000).prop_map(|(name, length)| (name.into_bytes(), vec![b'v'; length])),
    ]
}

#[test]
fn examples_of_rfc_7541_with_a_table_are_decoded() {
    let mut decoder = Decoder::new();
    let pair = |name: &str, value: &str| (name.as_bytes().to_vec(), value.as_bytes().to_vec());
    // C.4.1 and C.4.2
    let first = b"\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff";
    let head = [
        pair(":method", "GET"),
        pair(":scheme", "http"),
        pair(":path", "/"),
        pair(":authority", "www.example.com"),
    ];
    assert_eq!(decoded(&mut decoder, first).unwrap(), head);
    let second = b"\x82\x86\x84\xbe\x58\x86\xa8\xeb\x10\x64\x9c\xbf";
    let more = [&head[..], &[pair("cache-control", "no-cache")]].concat();
    assert_eq!(decoded(&mut decoder, second).unwrap(), more);
}

#[test]
fn x10_what_breaks_the_rules_of_hpack_is_malformed() {
    for block in [
        // an index of no entry: 0, and the first one of an empty table
        &[0x80][..],
        &[0xbe],
        &[0x7f, 0x00, 0x00],
        // integers that end early, or are too long
        &[0xff],
        &[0xff, 0x80],
        &[0xff, 0x80, 0x80, 0x80, 0x80, 0x00],
        // strings that end early
        &[0x00],
        &[0x00, 0x01],
        &[0x00, 0x01, b'a'],
        &[0x00, 0x01, b'a', 0x02, b'b'],
        &[0x00, 0x7f, 0xff, 0xff, 0xff, 0x7f, b'a'],
        // a table of 4,097 bytes, and one that changes behind a field
        &[0x3f, 0xe2, 0x1f],
        &[0x82, 0x20],
    ] {
        assert!(decoded(&mut Decoder::new(), block).is_err(), "{block:x?}");
    }
    // 4,096 bytes, and twice
    assert!(decoded(&mut Decoder::new(), &[0x20, 0x3f, 0xe1, 0x1f, 0x82]).is_ok());
}

#[test]
fn a_name_that_is_referred_to_outlives_its_entry() {
    // RFC 7541, 4.4
    let mut decoder = Decoder::new();
    let name = vec![b'n'; 2500];
    let mut block = Vec::new();
    put_integer(0, 6, 0x40, &mut block);
    put_string(&name, false, &mut block);
    put_string(b"1", false, &mut block);
    for value in [b"2", b"3"] {
        put_integer(62, 6, 0x40, &mut block);
        put_string(value, false, &mut block);
    }
    block.push(0xbe);
    let values: Vec<_> = decoded(&mut decoder, &block).unwrap().into_iter().map(|(_, value)| value).collect();
    assert_eq!(values, [b"1", b"2", b"3", b"3"]);
}

proptest! {
    #[test]
    fn whatever_is_encoded_is_decoded(
        blocks in prop::collection::vec(
            (prop::option::of(0_usize..=4096), prop::collection::vec((pairs(any::<u8>()), any::<u8>()), 0..20)),
            1..6,
        ),
    ) {
        let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
        for (limit, fields) in blocks {
            let mut block = limit.map_or_else(Vec::new, |limit| encoder.resize(limit));
            block.extend(encoder.block(&fields));
            let fields: Vec<Pair> = fields.into_iter().map(|(pair, _)| pair).collect();
            prop_assert_eq!(decoded(&mut decoder, &block).unwrap(), fields);
        }
    }

    #[test]
    fn what_is_written_needs_no_table(fields in prop::collection::vec((pairs(any::<u8>()), any::<u8>()), 0..20)) {
        let block = Encoder::new().block(&fields);
        let mut written = Vec::new();
        Decoder::new().decode(&block, |field| write(field, &mut written)).unwrap();
        let mut reader = Decoder::new();
        reader.decode(&[0x20], |_| {}).unwrap();
        let fields: Vec<Pair> = fields.into_iter().map(|(pair, _)| pair).collect();
        prop_assert_eq!(decoded(&mut reader, &written).unwrap(), fields);
    }

    #[test]
    fn no_bytes_panic_and_no_table_grows(blocks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..6)) {
        let mut decoder = Decoder::new();
        for block in blocks {
            let _ = decoded(&mut decoder, &block);
            prop_assert!(decoder.table.size() <= 4096);
        }
    }
}
