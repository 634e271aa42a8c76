//! The signature of a bundle: Ed25519 (RFC 8032) over the bytes of the archive, as base64 in a file of its
//! own.

use std::{fmt, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::signature::{ED25519, UnparsedPublicKey};
use rustls_pki_types::{SubjectPublicKeyInfoDer, pem::PemObject as _};
use spki::{ObjectIdentifier, SubjectPublicKeyInfoRef, der::Decode as _};

use crate::{signing, system::regular_file};

/// id-Ed25519 (RFC 8410, 3).
const ED25519_OID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
/// The most bytes of a signature in base64, with its line end: 64 bytes are 88 characters.
pub(super) const MAX_SIGNATURE: usize = 256;

/// The public key that verifies bundles.
#[derive(Clone)]
pub(super) struct BundleKey {
    point: Vec<u8>,
    /// The beginning of the SHA-256 of the key.
    fingerprint: String,
}

impl fmt::Debug for BundleKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BundleKey").field(&self.fingerprint).finish()
    }
}

impl BundleKey {
    /// Reads the PEM file of `--settings-key`.
    ///
    /// # Errors
    /// The file cannot be read, it has no Ed25519 public key, or more than one.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let pem = regular_file::read(path).map_err(|error| error.to_string());
        let key = pem.and_then(|pem| Self::parse(pem.as_bytes()).map_err(str::to_owned));
        key.map_err(|problem| format!("{}: {problem}", path.display()))
    }

    fn parse(pem: &[u8]) -> Result<Self, &'static str> {
        let mut keys = SubjectPublicKeyInfoDer::pem_slice_iter(pem);
        let key = keys
            .next()
            .and_then(|der| Self::of_der(&der.ok()?))
            .ok_or("not a PEM file with an Ed25519 public key (`openssl pkey -in KEY -pubout` prints one)")?;
        if keys.next().is_some() {
            return Err("more than one public key; expected the one that signs the bundles");
        }
        Ok(key)
    }

    fn of_der(der: &[u8]) -> Option<Self> {
        let key = SubjectPublicKeyInfoRef::from_der(der).ok()?;
        let point = key.subject_public_key.as_bytes().filter(|point| point.len() == 32)?.to_vec();
        let is_ed25519 = key.algorithm.oid == ED25519_OID && key.algorithm.parameters.is_none();
        let fingerprint = signing::hash(&point)[..16].to_owned();
        is_ed25519.then_some(Self { point, fingerprint })
    }

    pub(super) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Verifies the signature of an archive.
    ///
    /// # Errors
    /// The text is no signature, or not one of this archive by this key.
    pub(super) fn verify(&self, archive: &[u8], signature: &[u8]) -> Result<(), &'static str> {
        let text: Vec<u8> = signature.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
        let signature = STANDARD.decode(text).map_err(|_| "the signature is not base64")?;
        let key = UnparsedPublicKey::new(&ED25519, &self.point);
        key.verify(archive, &signature)
            .map_err(|_| "the signature is not that of this bundle by --settings-key")
    }
}

#[cfg(test)]
mod tests {
    use ring::signature::{Ed25519KeyPair, KeyPair as _};

    use super::*;

    /// The prefix of the DER of every Ed25519 public key (RFC 8410, 10.1).
    const DER_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

    fn pem(pair: &Ed25519KeyPair) -> String {
        let der = [&DER_PREFIX[..], pair.public_key().as_ref()].concat();
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der))
    }

    #[test]
    fn only_the_keys_own_signature_of_the_same_bytes_is_valid() {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let key = BundleKey::parse(pem(&pair).as_bytes()).unwrap();
        let signature = STANDARD.encode(pair.sign(b"bundle")) + "\n";
        assert_eq!(key.verify(b"bundle", signature.as_bytes()), Ok(()));
        assert!(key.verify(b"bundlf", signature.as_bytes()).is_err());
        assert!(key.verify(b"bundle", b"").is_err());
        assert!(key.verify(b"bundle", b"not base64!").unwrap_err().contains("base64"));
        let other = Ed25519KeyPair::from_seed_unchecked(&[8; 32]).unwrap();
        assert!(key.verify(b"bundle", STANDARD.encode(other.sign(b"bundle")).as_bytes()).is_err());
        assert_ne!(key.fingerprint(), BundleKey::parse(pem(&other).as_bytes()).unwrap().fingerprint());
    }

    #[test]
    fn a_key_of_another_kind_and_a_private_key_are_refused() {
        let rsa = include_bytes!("../../tests/it/credentials/keys/rsa.pkcs8.pem");
        assert!(BundleKey::parse(rsa).is_err());
        assert!(BundleKey::parse(b"").is_err());
        // X25519 has the same length (RFC 8410, 3)
        let mut der = [&DER_PREFIX[..], &[1; 32]].concat();
        der[8] = 0x6e;
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der));
        assert!(BundleKey::parse(pem.as_bytes()).is_err());
    }

    #[test]
    fn a_file_with_two_keys_is_refused_because_one_of_them_would_not_be_used() {
        let one = pem(&Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap());
        let other = pem(&Ed25519KeyPair::from_seed_unchecked(&[8; 32]).unwrap());
        assert!(BundleKey::parse(format!("a comment\n{one}").as_bytes()).is_ok());
        assert!(BundleKey::parse(one.replace('\n', "\r\n").as_bytes()).is_ok());
        let error = BundleKey::parse(format!("{one}{other}").as_bytes()).unwrap_err();
        assert!(error.starts_with("more than one public key"), "{error}");
    }
}
