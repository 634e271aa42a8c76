//! Tests of the decoder with the examples of RFC 7541, and with an encoder of every form of the RFC.

use proptest::prelude::*;

use super::*;
use crate::listener::http2::fields::table::{ENTRY_OVERHEAD, STATIC};

/// Name and value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// An encoder that picks the form of each field by a number.
pub struct Encoder {
    entries: Vec<Pair>,
    limit: usize,
}

impl Encoder {
    pub fn new() -> Self {
        Self { entries: Vec::new(), limit: 4096 }
    }

    /// Encodes fields, each with the number of its form.
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

    /// Encodes a change of the table's size, for the beginning of a block.
    pub fn resize(&mut self, limit: usize) -> Vec<u8> {
        self.limit = limit;
        self.evict();
        let mut block = Vec::new();
        put_integer(limit, 5, 0x20, &mut block);
        block
    }

    fn evict(&mut self) {
        let size = |(name, value): &Pair| name.len() + value.len() + ENTRY_OVERHEAD;
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

pub fn decoded(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<Pair>, MalformedBlock> {
    let mut fields = Vec::new();
    decoder.decode(block, |field| fields.push((field.name.to_vec(), field.value.to_vec())))?;
    Ok(fields)
}

/// Fields of which some are in the static table, and some repeat.
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

/// Bytes of hexadecimal digits.
fn bytes(digits: &str) -> Vec<u8> {
    let digits: Vec<u8> = digits.bytes().filter(|digit| !digit.is_ascii_whitespace()).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// A block in hexadecimal digits, its fields, and the size of the dynamic table behind it.
type Example<'a> = (&'a str, &'a [(&'a str, &'a str)], usize);

/// Decodes consecutive blocks of a connection, and compares fields and the size of the dynamic table.
#[track_caller]
fn assert_decoded(decoder: &mut Decoder, blocks: &[Example<'_>]) {
    for (block, fields, size) in blocks {
        let expected: Vec<Pair> = fields
            .iter()
            .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()))
            .collect();
        assert_eq!(decoded(decoder, &bytes(block)).unwrap(), expected, "{block}");
        assert_eq!(decoder.tables.size(), *size, "{block}");
    }
}

const FIRST: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "www.example.com")];
const SECOND: [(&str, &str); 5] = [FIRST[0], FIRST[1], FIRST[2], FIRST[3], ("cache-control", "no-cache")];
const THIRD: [(&str, &str); 5] = [
    (":method", "GET"),
    (":scheme", "https"),
    (":path", "/index.html"),
    (":authority", "www.example.com"),
    ("custom-key", "custom-value"),
];

#[test]
fn examples_of_rfc_7541_c_1_are_integers() {
    for (digits, prefix, value) in [("0a", 5, 10), ("1f9a0a", 5, 1337), ("2a", 7, 42)] {
        let coded = bytes(digits);
        let mut rest = &coded[..];
        assert_eq!((integer(&mut rest, prefix).unwrap(), rest.len()), (value, 0));
        let mut written = Vec::new();
        write_integer(value, prefix, &mut written);
        assert_eq!(written, coded);
    }
}

#[test]
fn examples_of_rfc_7541_c_2_are_fields() {
    for (block, field, size) in [
        (
            "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572",
            ("custom-key", "custom-header"),
            55,
        ),
        ("040c 2f73 616d 706c 652f 7061 7468", (":path", "/sample/path"), 0),
        ("1008 7061 7373 776f 7264 0673 6563 7265 74", ("password", "secret"), 0),
        ("82", (":method", "GET"), 0),
    ] {
        assert_decoded(&mut Decoder::new(), &[(block, &[field], size)]);
    }
}

#[test]
fn examples_of_rfc_7541_c_3_and_c_4_are_requests() {
    let plain = [
        "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "8286 84be 5808 6e6f 2d63 6163 6865",
        "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
    ];
    let coded = [
        "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
        "8286 84be 5886 a8eb 1064 9cbf",
        "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
    ];
    for [first, second, third] in [plain, coded] {
        let blocks = [(first, &FIRST[..], 57), (second, &SECOND[..], 110), (third, &THIRD[..], 164)];
        assert_decoded(&mut Decoder::new(), &blocks);
    }
}

#[test]
fn examples_of_rfc_7541_c_6_evict_entries() {
    let head = |status, date| {
        [
            (":status", status),
            ("cache-control", "private"),
            ("date", date),
            ("location", "https://www.example.com"),
        ]
    };
    let (first, last) = ("Mon, 21 Oct 2013 20:13:21 GMT", "Mon, 21 Oct 2013 20:13:22 GMT");
    let cookie = "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1";
    let third = [&head("200", last)[..], &[("content-encoding", "gzip"), ("set-cookie", cookie)]].concat();
    let mut decoder = Decoder::new();
    // a table of 256 bytes
    decoder.decode(&[0x3f, 0xe1, 0x01], |_| {}).unwrap();
    let blocks = [
        (
            "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e \
             919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
            &head("302", first)[..],
            222,
        ),
        ("4883 640e ffc1 c0bf", &head("307", first), 222),
        (
            "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 \
             821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed \
             4ee5 b106 3d50 07",
            &third,
            215,
        ),
    ];
    assert_decoded(&mut decoder, &blocks);
}

#[test]
fn x10_blocks_that_break_rfc_7541_are_malformed() {
    for block in [
        // an index without an entry: 0, and the first one of an empty table
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
        // a table size of 4,097 bytes, and a size update after a field
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

/// Fields of any bytes, each with the number of its form.
fn numbered() -> impl Strategy<Value = Vec<(Pair, u8)>> {
    prop::collection::vec((pairs(any::<u8>()), any::<u8>()), 0..20)
}

proptest! {
    #[test]
    fn every_encoded_block_is_decoded(
        blocks in prop::collection::vec(
            (prop::option::of(0_usize..=4096), numbered()),
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
    fn a_written_block_needs_no_dynamic_table(fields in numbered()) {
        let block = Encoder::new().block(&fields);
        let mut written = Vec::new();
        Decoder::new().decode(&block, |field| write(field, &mut written)).unwrap();
        let mut reader = Decoder::new();
        reader.decode(&[0x20], |_| {}).unwrap();
        let fields: Vec<Pair> = fields.into_iter().map(|(pair, _)| pair).collect();
        prop_assert_eq!(decoded(&mut reader, &written).unwrap(), fields);
    }

    #[test]
    fn no_bytes_panic_and_no_table_grows(
        blocks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..6),
    ) {
        let mut decoder = Decoder::new();
        for block in blocks {
            let _ = decoded(&mut decoder, &block);
            prop_assert!(decoder.tables.size() <= 4096);
        }
    }
}
