//! A client certificate with its key, for mutual TLS with a server.
//!
//! `settings/route/upstream.rs` reads it, and `tls.rs` adds it to a configuration.

use std::{
    fmt,
    hash::{Hash, Hasher},
    io,
    path::Path,
    sync::Arc,
};

use rustls::{
    Error, InconsistentKeys,
    client::ResolvesClientCert,
    crypto::ring,
    sign::{CertifiedKey, SingleCertAndKey},
};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{self, PemObject},
};
use zeroize::Zeroizing;

use super::Validity;
use crate::system::regular_file;

/// A chain of certificates and the key of the first. `Debug` shows neither.
#[derive(Clone)]
pub struct ClientIdentity {
    certified: Arc<CertifiedKey>,
    validity: Option<Validity>,
}

/// The reason why an identity cannot be read, by the setting at fault. It never contains contents of the
/// files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdentityProblem {
    Certificate(String),
    Key(String),
}

impl ClientIdentity {
    /// Reads the certificate, followed by the rest of its chain, and its key. Each is the path of a PEM file,
    /// or PEM itself.
    ///
    /// # Errors
    /// The setting at fault: a file cannot be read or parsed, or the key is not the certificate's.
    pub fn read(certificate: &str, key: &str) -> Result<Self, IdentityProblem> {
        let certified = certified(certificate, key, "client_certificate")?;
        let validity = Validity::of(&certified.cert);
        Ok(Self { certified: Arc::new(certified), validity })
    }

    /// The validity of the chain; `None` if it cannot be parsed.
    pub fn validity(&self) -> Option<Validity> {
        self.validity
    }

    /// Presents the certificate to every server that asks for one.
    pub(super) fn resolver(&self) -> Arc<dyn ResolvesClientCert> {
        Arc::new(SingleCertAndKey::from(Arc::clone(&self.certified)))
    }
}

/// A chain with the key of its first certificate; `setting` is the key of the settings with the chain.
pub(super) fn certified(
    certificate: &str,
    key: &str,
    setting: &str,
) -> Result<CertifiedKey, IdentityProblem> {
    use IdentityProblem::{Certificate, Key};
    let chain = chain(certificate).map_err(|error| Certificate(error.to_string()))?;
    let key = private_key(key).map_err(|error| Key(error.to_string()))?;
    let key = ring::sign::any_supported_type(&key).map_err(|_| Key(unsupported(&key).into()))?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(certified),
        Err(Error::InconsistentKeys(_)) => {
            Err(Key(format!("it is not the key of the first certificate in {setting}")))
        }
        Err(_) => Err(Certificate("the first certificate cannot be parsed".into())),
    }
}

/// The kind of a key that ring does not read.
fn unsupported(key: &PrivateKeyDer<'_>) -> &'static str {
    /// The curve's object identifier, 1.3.132.0.35 (RFC 5480, 2.1.1.1).
    const P521: [u8; 7] = [0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23];
    let is_p521 = key.secret_der().windows(P521.len()).any(|bytes| bytes == P521);
    if is_p521 { "an EC key on P-521, which is not supported" } else { "an unknown kind of key" }
}

/// The text of a PEM file, or the text itself.
fn pem_text(file_or_text: &str) -> io::Result<Zeroizing<String>> {
    let is_text = file_or_text.contains("-----BEGIN ");
    let text = if is_text { file_or_text.to_owned() } else { regular_file::read(Path::new(file_or_text))? };
    Ok(Zeroizing::new(text))
}

pub(super) fn chain(certificate: &str) -> io::Result<Vec<CertificateDer<'static>>> {
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(pem_text(certificate)?.as_bytes()).collect();
    let chain = chain.map_err(|_| io::Error::other("invalid PEM"))?;
    if chain.is_empty() {
        return Err(io::Error::other("the file has no certificate"));
    }
    Ok(chain)
}

pub(super) fn private_key(key: &str) -> io::Result<PrivateKeyDer<'static>> {
    let text = pem_text(key)?;
    PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|error| {
        io::Error::other(match error {
            _ if text.contains("ENCRYPTED") => "an encrypted key, for which there is no password",
            pem::Error::NoItemsFound => "the file has no private key",
            // quotes the file
            _ => "invalid PEM",
        })
    })
}

impl fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientIdentity")
            .field("certificates", &self.certified.cert.len())
            .finish_non_exhaustive()
    }
}

/// Compares the certificates: equal ones have the same key.
impl PartialEq for ClientIdentity {
    fn eq(&self, other: &Self) -> bool {
        self.certified.cert == other.certified.cert
    }
}

impl Eq for ClientIdentity {}

impl Hash for ClientIdentity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.certified.cert.hash(state);
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertifiedKey, generate_simple_self_signed};

    use super::*;

    /// A certificate and its key as PEM.
    fn pair() -> (String, String) {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["client".to_owned()]).unwrap();
        (cert.pem(), signing_key.serialize_pem())
    }

    fn problem(certificate: &str, key: &str) -> IdentityProblem {
        ClientIdentity::read(certificate, key).unwrap_err()
    }

    #[test]
    fn both_are_read_from_files_and_from_texts() {
        let (certificate, key) = pair();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), format!("{key}{certificate}")).unwrap();
        let path = file.path().to_str().unwrap();
        let from_texts = ClientIdentity::read(&certificate, &key).unwrap();
        assert_eq!(ClientIdentity::read(path, path).unwrap(), from_texts);
        let (other, its_key) = pair();
        assert_ne!(ClientIdentity::read(&other, &its_key).unwrap(), from_texts);
    }

    #[test]
    fn a_problem_names_the_setting_at_fault() {
        let ((certificate, key), (_, foreign)) = (pair(), pair());
        let of_certificate = |text: &str| IdentityProblem::Certificate(text.into());
        let of_key = |text: &str| IdentityProblem::Key(text.into());
        assert_eq!(problem(&key, &key), of_certificate("the file has no certificate"));
        assert_eq!(problem(&certificate, &certificate), of_key("the file has no private key"));
        assert_eq!(
            problem(&certificate, &foreign),
            of_key("it is not the key of the first certificate in client_certificate")
        );
        let none = "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n";
        assert_eq!(problem(none, &key), of_certificate("the first certificate cannot be parsed"));
        let broken = "-----BEGIN CERTIFICATE-----\n*\n-----END CERTIFICATE-----\n";
        assert_eq!(problem(broken, &key), of_certificate("invalid PEM"));
        let half = &key[..key.len() / 2];
        assert_eq!(problem(&certificate, half), of_key("invalid PEM"));
        let strange = "-----BEGIN PRIVATE KEY-----\naGVsbG8=\n-----END PRIVATE KEY-----\n";
        assert_eq!(problem(&certificate, strange), of_key("an unknown kind of key"));
        let locked = "-----BEGIN ENCRYPTED PRIVATE KEY-----\naGVsbG8=\n-----END ENCRYPTED PRIVATE KEY-----\n";
        assert_eq!(problem(&certificate, locked), of_key("an encrypted key, for which there is no password"));
        assert!(matches!(problem("/nowhere/at/all", &key), IdentityProblem::Certificate(_)));
        assert_eq!(problem(&certificate, "/dev/zero"), of_key("not a regular file"));
    }

    #[test]
    fn debug_shows_nothing_of_the_key() {
        let (certificate, key) = pair();
        let shown = format!("{:?}", ClientIdentity::read(&certificate, &key).unwrap());
        assert_eq!(shown, "ClientIdentity { certificates: 1, .. }");
    }
}
