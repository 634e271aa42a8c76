//! Bytes as lower-case hexadecimal digits, by the crate `hex` into an array: `hex::encode` takes twice the
//! time for its `String`.

/// The digits of `LENGTH / 2` bytes.
///
/// # Panics
/// There are more bytes, or fewer.
#[expect(clippy::expect_used, reason = "the callers know how many bytes they have")]
pub fn digits<const LENGTH: usize>(bytes: &[u8]) -> [u8; LENGTH] {
    let mut text = [0; LENGTH];
    hex::encode_to_slice(bytes, &mut text).expect("two digits for each byte");
    text
}

#[expect(clippy::expect_used, reason = "digits are ASCII")]
pub fn text(digits: &[u8]) -> &str {
    str::from_utf8(digits).expect("hexadecimal digits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_is_two_digits() {
        assert_eq!(text(&digits::<8>(&[0x00, 0x9a, 0xff, 0x10])), "009aff10");
    }
}
