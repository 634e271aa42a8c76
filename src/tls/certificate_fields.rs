//! The fields of a certificate (RFC 5280, 4.1) that rustls does not give: serial number, validity and public
//! key.
//!
//! `der`, which the AWS SDK uses too, is enough for them.

use der::{Decode as _, Reader as _, SliceReader, Tag, TagNumber, Tagged as _, asn1::AnyRef};
use rustls_pki_types::CertificateDer;

/// The fields from the serial number on: the version may be omitted.
pub(super) fn fields<'c>(certificate: &'c CertificateDer<'_>) -> der::Result<SliceReader<'c>> {
    let mut certificate = SliceReader::new(AnyRef::from_der(certificate)?.value())?;
    let mut signed = SliceReader::new(AnyRef::decode(&mut certificate)?.value())?;
    let version = Tag::ContextSpecific { constructed: true, number: TagNumber::N0 };
    if signed.peek_tag()? == version {
        AnyRef::decode(&mut signed)?;
    }
    Ok(signed)
}

/// The serial number, big-endian and positive (RFC 5280, 4.1.2.2).
pub(super) fn serial_number<'c>(certificate: &'c CertificateDer<'_>) -> der::Result<&'c [u8]> {
    let number = AnyRef::decode(&mut fields(certificate)?)?;
    number.tag().assert_eq(Tag::Integer)?;
    match number.value() {
        [] | [0x80..=0xff, ..] => Err(Tag::Integer.value_error()),
        positive => Ok(positive),
    }
}

/// A big-endian number in decimal digits: a serial number has up to 20 bytes, more than `u128`.
pub(super) fn decimal(number: &[u8]) -> String {
    // nine digits each, the lowest first
    const BASE: u64 = 1_000_000_000;
    let mut parts = vec![0_u64];
    for byte in number {
        let mut carry = u64::from(*byte);
        for part in &mut parts {
            let value = *part * 256 + carry;
            *part = value % BASE;
            carry = value / BASE;
        }
        if carry > 0 {
            parts.push(carry);
        }
    }
    let (highest, rest) = parts.split_last().unwrap_or((&0, &[]));
    rest.iter().rev().fold(highest.to_string(), |text, part| text + &format!("{part:09}"))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SerialNumber};

    use super::*;

    #[test]
    fn a_serial_number_of_twenty_bytes_is_written_in_decimal() {
        for (bytes, text) in [
            (&[0][..], "0"),
            (&[0, 200], "200"),
            (&[0x3b, 0x9a, 0xca, 0x00], "1000000000"),
            (&[0x7f; 20], "727885129180488904360266563744972327436484050815"),
        ] {
            assert_eq!(decimal(bytes), text);
        }
    }

    #[test]
    fn the_serial_number_is_that_of_the_certificate() {
        let mut params = CertificateParams::new(["a.example".to_owned()]).unwrap();
        params.serial_number = Some(SerialNumber::from_slice(&[0xff, 1, 2]));
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        assert_eq!(decimal(serial_number(certificate.der()).unwrap()), "16711938");
        assert!(serial_number(&b"\x30\x00".to_vec().into()).is_err());
    }
}
