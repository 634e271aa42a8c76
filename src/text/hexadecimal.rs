//! Bytes as lower-case hexadecimal digits: hashes and signatures (`signing.rs`), ids (`proxy/record.rs`, `message/trace.rs`).

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// The digits of the first `LENGTH / 2` bytes; zeros stand for those that are missing.
pub fn digits<const LENGTH: usize>(bytes: &[u8]) -> [u8; LENGTH] {
    let mut text = [b'0'; LENGTH];
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_is_two_digits() {
        assert_eq!(&digits::<8>(&[0x00, 0x9a, 0xff, 0x10]), b"009aff10");
        assert_eq!(&digits::<4>(&[0xab]), b"ab00");
        assert_eq!(&digits::<2>(&[0xab, 0xcd]), b"ab");
    }
}
