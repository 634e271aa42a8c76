//! A certificate whose key signs requests: the identity that IAM Roles Anywhere exchanges for keys.
//!
//! `settings/route/roles_anywhere.rs` checks it, and `credentials/roles_anywhere.rs` signs with it.

use std::{fmt, time::SystemTime};

use p384::{
    SecretKey,
    ecdsa::{DerSignature, SigningKey, signature::hazmat::PrehashSigner as _},
    pkcs8::DecodePrivateKey as _,
};
use rustls::{SignatureScheme, sign::CertifiedKey};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest as _, Sha256};

use super::{
    Validity, ValidityStatus,
    certificate_fields::{decimal, serial_number},
    client_identity::{IdentityProblem, certified, chain, private_key},
};

/// The schemes of ring that IAM Roles Anywhere verifies: it requires SHA-256, for every curve.
const SCHEMES: [SignatureScheme; 2] =
    [SignatureScheme::RSA_PKCS1_SHA256, SignatureScheme::ECDSA_NISTP256_SHA256];
const RSA: &str = "AWS4-X509-RSA-SHA256";
const ECDSA: &str = "AWS4-X509-ECDSA-SHA256";

/// A chain of certificates and the key of the first. `Debug` shows neither.
#[derive(Clone)]
pub struct SigningIdentity {
    certified: CertifiedKey,
    /// The key on P-384, for which ring has SHA-384 alone; erased when dropped.
    p384: Option<SigningKey>,
    algorithm: &'static str,
    serial_number: String,
    validity: Option<Validity>,
}

/// The key cannot sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the key cannot sign")]
pub struct SigningFailed;

impl SigningIdentity {
    /// Reads the certificate, followed by the rest of its chain, and its key. Each is the path of a PEM file,
    /// or PEM itself.
    ///
    /// # Errors
    /// The setting at fault: a file cannot be read or parsed, the key is not the certificate's, or its kind
    /// cannot sign for IAM Roles Anywhere.
    pub fn read(certificate: &str, key: &str) -> Result<Self, IdentityProblem> {
        let certified = certified(certificate, key, "certificate")?;
        let (algorithm, p384) = match certified.key.choose_scheme(&SCHEMES).map(|signer| signer.scheme()) {
            Some(SignatureScheme::RSA_PKCS1_SHA256) => (RSA, None),
            Some(_) => (ECDSA, None),
            None => (ECDSA, Some(on_p384(key)?)),
        };
        let serial = certified.cert.first().and_then(|first| serial_number(first).ok());
        let serial = serial.ok_or_else(|| {
            IdentityProblem::Certificate("the first certificate has no positive serial number".into())
        })?;
        let validity = validity_of(&certified.cert);
        Ok(Self { algorithm, p384, serial_number: decimal(serial), validity, certified })
    }

    /// The first certificate, followed by the rest of its chain.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.certified.cert
    }

    /// The name of the signature's algorithm in `Authorization`.
    pub fn algorithm(&self) -> &'static str {
        self.algorithm
    }

    /// The first certificate's serial number in decimal.
    pub fn serial_number(&self) -> &str {
        &self.serial_number
    }

    /// The validity of the first certificate in a PEM file, or in PEM; `None` if it cannot be read.
    pub fn validity(certificate: &str) -> Option<Validity> {
        validity_of(&chain(certificate).ok()?)
    }

    /// The end of a sentence that begins with the certificate; `None` if it is valid now.
    pub fn invalid_at(&self, now: SystemTime) -> Option<String> {
        let validity = self.validity?;
        match validity.status(now) {
            ValidityStatus::Valid | ValidityStatus::EndsSoon => None,
            ValidityStatus::NotYet | ValidityStatus::Expired => validity.warning(now),
        }
    }

    /// The signature of a message's SHA-256: PKCS#1 v1.5 with RSA, DER with ECDSA.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SigningFailed> {
        if let Some(key) = &self.p384 {
            let signature: DerSignature =
                key.sign_prehash(&Sha256::digest(message)).map_err(|_| SigningFailed)?;
            return Ok(signature.as_bytes().to_vec());
        }
        let signer = self.certified.key.choose_scheme(&SCHEMES).ok_or(SigningFailed)?;
        signer.sign(message).map_err(|_| SigningFailed)
    }
}

/// The validity of the first certificate: AWS ignores superfluous ones behind it.
fn validity_of(chain: &[CertificateDer<'_>]) -> Option<Validity> {
    Validity::of(chain.get(..1).unwrap_or_default())
}

/// The key on P-384 in a PEM file, or in PEM.
fn on_p384(key: &str) -> Result<SigningKey, IdentityProblem> {
    let der = private_key(key).map_err(|error| IdentityProblem::Key(error.to_string()))?;
    let key = match &der {
        PrivateKeyDer::Pkcs8(key) => SecretKey::from_pkcs8_der(key.secret_pkcs8_der()).ok(),
        PrivateKeyDer::Sec1(key) => SecretKey::from_sec1_der(key.secret_sec1_der()).ok(),
        _ => None,
    };
    let problem = || IdentityProblem::Key("neither an RSA key nor an EC key on P-256 or P-384".into());
    key.map(SigningKey::from).ok_or_else(problem)
}

impl fmt::Debug for SigningIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningIdentity")
            .field("certificates", &self.certified.cert.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, date_time_ymd};
    use rustls_pki_types::alg_id;

    use super::*;

    const P521: &str = include_str!("../../tests/it/credentials/keys/p521.sec1.pem");

    fn pair(key: &KeyPair) -> (String, String) {
        let mut params = CertificateParams::new(["pod".to_owned()]).unwrap();
        params.not_after = date_time_ymd(2030, 1, 1);
        (params.self_signed(key).unwrap().pem(), key.serialize_pem())
    }

    #[test]
    fn an_expired_certificate_is_invalid_from_its_end_on() {
        let (certificate, key) = pair(&KeyPair::generate().unwrap());
        let identity = SigningIdentity::read(&certificate, &key).unwrap();
        let at = |text: &str| identity.invalid_at(humantime::parse_rfc3339(text).unwrap());
        assert_eq!(at("2029-12-31T23:59:59Z"), None);
        let expired = at("2030-01-03T00:00:00Z").unwrap();
        assert!(expired.starts_with("expired on 2030-01-01, 2 days ago "), "{expired}");
        assert_eq!(identity.algorithm(), "AWS4-X509-ECDSA-SHA256");
    }

    #[test]
    fn a_key_on_p384_signs_with_sha_256() {
        let pair_of_keys = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
        let (certificate, key) = pair(&pair_of_keys);
        let identity = SigningIdentity::read(&certificate, &key).unwrap();
        assert_eq!(identity.algorithm(), ECDSA);
        let signature = identity.sign(b"message").unwrap();
        let known = rustls::crypto::ring::default_provider().signature_verification_algorithms.all;
        let verifier = known.iter().find(|known| {
            known.public_key_alg_id() == alg_id::ECDSA_P384
                && known.signature_alg_id() == alg_id::ECDSA_SHA256
        });
        let is_valid = |message: &[u8]| {
            verifier.unwrap().verify_signature(pair_of_keys.public_key_raw(), message, &signature).is_ok()
        };
        assert!(is_valid(b"message") && !is_valid(b"massage"));
    }

    #[test]
    fn a_key_of_another_kind_is_refused() {
        let (certificate, key) = pair(&KeyPair::generate_for(&PKCS_ED25519).unwrap());
        let problem = SigningIdentity::read(&certificate, &key).unwrap_err();
        let expected = "neither an RSA key nor an EC key on P-256 or P-384";
        assert_eq!(problem, IdentityProblem::Key(expected.into()));
        let problem = SigningIdentity::read(&certificate, P521).unwrap_err();
        assert_eq!(problem, IdentityProblem::Key("an EC key on P-521, which is not supported".into()));
    }

    #[test]
    fn debug_shows_nothing_of_the_key() {
        let (certificate, key) = pair(&KeyPair::generate().unwrap());
        let shown = format!("{:?}", SigningIdentity::read(&certificate, &key).unwrap());
        assert_eq!(shown, "SigningIdentity { certificates: 1, .. }");
    }
}
