//! Base64 by others: runtimes differ in whether they pad.

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
/// It is something else.
pub fn decode(text: &[u8]) -> Result<Vec<u8>, DecodeError> {
    ENGINE.decode(text)
}
