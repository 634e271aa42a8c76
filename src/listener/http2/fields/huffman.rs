//! Huffman decoding of strings in HPACK (RFC 7541, 5.2 and appendix B), for `hpack.rs`.
//!
//! The code is canonical: codes of one length are consecutive numbers in the order of their symbols, and a
//! longer code is larger than a shorter one if both are aligned to their first bit. Decoding therefore needs
//! only the last code of each length, and the symbols in the order of their codes. `httlib-huffman` has the
//! codes; its decoder accepts wrong padding, such as zeros.

use httlib_huffman::encoder::table::ENCODE_TABLE;

use super::hpack::MalformedBlock;

const SYMBOLS: usize = ENCODE_TABLE.len();
/// Bits of the shortest and of the longest code.
const SHORTEST: usize = 5;
const LONGEST: usize = 30;
/// The symbol EOS, which no string may contain; the beginning of its code is the padding.
const EOS: u16 = 256;

static TABLES: DecodingTables = DecodingTables::new();

/// Codes are aligned to the first bit of 64.
struct DecodingTables {
    /// The symbols in the order of their codes.
    symbols: [u16; SYMBOLS],
    /// The number of shorter codes, by length.
    before: [usize; LONGEST + 1],
    /// The largest number that begins with a code of at most this length, by length.
    last: [u64; LONGEST + 1],
    /// The symbol and the length of a code of up to eight bits, by first byte; length 0 for longer codes.
    short: [(u16, u8); 256],
}

impl DecodingTables {
    #[expect(clippy::cast_possible_truncation, reason = "symbols are below 257, lengths below 31")]
    const fn new() -> Self {
        let mut code = Self {
            symbols: [0; SYMBOLS],
            before: [0; LONGEST + 1],
            last: [0; LONGEST + 1],
            short: [(0, 0); 256],
        };
        let (mut length, mut count) = (SHORTEST, 0);
        while length <= LONGEST {
            code.before[length] = count;
            code.last[length] = code.last[length - 1];
            let mut symbol = 0;
            while symbol < SYMBOLS {
                let (bits, number) = ENCODE_TABLE[symbol];
                if bits as usize == length {
                    code.symbols[count] = symbol as u16;
                    count += 1;
                    let below = u64::MAX >> length;
                    code.last[length] = ((number as u64) << (64 - length)) | below;
                    if length <= 8 {
                        let first = (number as usize) << (8 - length);
                        let mut byte = first;
                        while byte < first + (1 << (8 - length)) {
                            code.short[byte] = (symbol as u16, length as u8);
                            byte += 1;
                        }
                    }
                }
                symbol += 1;
            }
            length += 1;
        }
        code
    }

    /// The symbol whose code the bits begin with, and the length of that code.
    fn first_symbol(&self, bits: u64) -> (u16, u32) {
        let (symbol, length) = self.short[usize::from(bits.to_be_bytes()[0])];
        if length > 0 {
            return (symbol, u32::from(length));
        }
        let length = (9..LONGEST).find(|length| bits <= self.last[*length]).unwrap_or(LONGEST);
        let number = (bits - self.last[length - 1] - 1) >> (64 - length);
        let place = usize::try_from(number).map_or(SYMBOLS, |number| self.before[length] + number);
        let symbol = self.symbols.get(place).copied().unwrap_or(EOS);
        (symbol, u32::try_from(length).unwrap_or(0))
    }
}

/// Decodes a string and appends it to `decoded`.
///
/// # Errors
/// The string has the symbol EOS, or padding that is not the beginning of EOS or has eight bits or more.
pub fn decode(coded: &[u8], decoded: &mut Vec<u8>) -> Result<(), MalformedBlock> {
    let mut coded = coded.iter();
    // the next bits, aligned to the first one, and their number
    let (mut bits, mut count) = (0_u64, 0);
    loop {
        while count <= 56
            && let Some(&byte) = coded.next()
        {
            bits |= u64::from(byte) << (56 - count);
            count += 8;
        }
        let (symbol, length) = TABLES.first_symbol(bits);
        if length > count {
            break;
        }
        decoded
            .push(u8::try_from(symbol).map_err(|_| MalformedBlock("a Huffman string with the EOS symbol"))?);
        bits <<= length;
        count -= length;
    }
    let is_padding = count < 8 && bits.leading_ones() >= count;
    if is_padding { Ok(()) } else { Err(MalformedBlock("a Huffman string with wrong padding")) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decoded(coded: &[u8]) -> Result<Vec<u8>, MalformedBlock> {
        let mut text = Vec::new();
        decode(coded, &mut text).map(|()| text)
    }

    #[test]
    fn examples_of_rfc_7541_are_decoded() {
        // C.4.1, C.6.1
        let www = [0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff];
        assert_eq!(decoded(&www).unwrap(), b"www.example.com");
        assert_eq!(decoded(&[0x64, 0x02]).unwrap(), b"302");
        assert_eq!(decoded(&[]).unwrap(), b"");
    }

    #[test]
    fn x10_wrong_padding_and_the_end_symbol_are_refused() {
        for coded in [
            // `0` and padding of zeros
            &[0b0000_0000][..],
            // `www` and a whole byte of padding
            &[0xf1, 0xe3, 0xff, 0xff],
            &[0xff; 4],
            &[0xff; 40],
        ] {
            assert!(decoded(coded).is_err(), "{coded:?}");
        }
    }

    proptest! {
        #[test]
        fn every_encoded_string_is_decoded(text in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut coded = Vec::new();
            httlib_huffman::encode(&text, &mut coded).unwrap();
            prop_assert_eq!(decoded(&coded).unwrap(), text);
        }

        #[test]
        fn no_bytes_panic_or_become_more_than_the_code_allows(
            coded in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let mut text = Vec::new();
            let is_whole = decode(&coded, &mut text).is_ok();
            prop_assert!(text.len() * SHORTEST <= coded.len() * 8);
            if is_whole {
                let mut again = Vec::new();
                httlib_huffman::encode(&text, &mut again).unwrap();
                prop_assert_eq!(again, coded);
            }
        }
    }
}
