//! Base64 with or without padding: runtimes differ.

use base64::{
    DecodeError, Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

const ENGINE: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The bytes of a text in the standard alphabet.
///
/// # Errors
/// The text is not base64.
pub fn decode(text: &[u8]) -> Result<Vec<u8>, DecodeError> {
    ENGINE.decode(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn encoded_bytes_are_decoded_with_and_without_padding(
            bytes in prop::collection::vec(any::<u8>(), 0..64),
        ) {
            use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
            for engine in [STANDARD, STANDARD_NO_PAD] {
                let encoded = engine.encode(&bytes);
                prop_assert_eq!(decode(encoded.as_bytes()), Ok(bytes.clone()));
            }
        }

        #[test]
        fn text_that_the_strict_decoder_accepts_is_decoded_alike(text in "[A-D+/=_\n-]{0,12}") {
            let strict = base64::engine::general_purpose::STANDARD.decode(&text);
            prop_assert!(strict.is_err() || strict == decode(text.as_bytes()));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..32)) {
            let _ = decode(&bytes);
        }
    }
}
