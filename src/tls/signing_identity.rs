//! A certificate whose key signs requests: the identity that IAM Roles Anywhere exchanges for keys.
//!
//! `settings/route/roles_anywhere.rs` checks it, and `credentials/roles_anywhere.rs` signs with it.

use std::{fmt, time::SystemTime};

use rustls::{SignatureScheme, sign::CertifiedKey};
use rustls_pki_types::CertificateDer;

use super::{
    Validity, ValidityStatus,
    certificate_fields::{decimal, serial_number},
    client_identity::{IdentityProblem, certified},
};

/// The schemes that IAM Roles Anywhere verifies. ring has SHA-256 for the curve P-256 alone.
const SCHEMES: [SignatureScheme; 2] =
    [SignatureScheme::RSA_PKCS1_SHA256, SignatureScheme::ECDSA_NISTP256_SHA256];

/// A chain of certificates and the key of the first. `Debug` shows neither.
#[derive(Clone)]
pub struct SigningIdentity {
    certified: CertifiedKey,
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
        let algorithm = match certified.key.choose_scheme(&SCHEMES).map(|signer| signer.scheme()) {
            Some(SignatureScheme::RSA_PKCS1_SHA256) => "AWS4-X509-RSA-SHA256",
            Some(_) => "AWS4-X509-ECDSA-SHA256",
            None => return Err(IdentityProblem::Key("neither an RSA key nor an EC key on P-256".into())),
        };
        let serial = certified.cert.first().and_then(|first| serial_number(first).ok());
        let serial = serial.ok_or_else(|| {
            IdentityProblem::Certificate("the first certificate has no positive serial number".into())
        })?;
        // AWS ignores superfluous certificates behind the first
        let validity = Validity::of(certified.cert.get(..1).unwrap_or_default());
        Ok(Self { algorithm, serial_number: decimal(serial), validity, certified })
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
        let signer = self.certified.key.choose_scheme(&SCHEMES).ok_or(SigningFailed)?;
        signer.sign(message).map_err(|_| SigningFailed)
    }
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

    use super::*;

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
    fn a_key_that_cannot_sign_with_sha_256_is_refused() {
        for algorithm in [&PKCS_ECDSA_P384_SHA384, &PKCS_ED25519] {
            let (certificate, key) = pair(&KeyPair::generate_for(algorithm).unwrap());
            let problem = SigningIdentity::read(&certificate, &key).unwrap_err();
            let expected = "neither an RSA key nor an EC key on P-256";
            assert_eq!(problem, IdentityProblem::Key(expected.into()), "{algorithm:?}");
        }
    }

    #[test]
    fn debug_shows_nothing_of_the_key() {
        let (certificate, key) = pair(&KeyPair::generate().unwrap());
        let shown = format!("{:?}", SigningIdentity::read(&certificate, &key).unwrap());
        assert_eq!(shown, "SigningIdentity { certificates: 1, .. }");
    }
}
