//! TLS towards servers: the authorities that verify a server's certificate, and the client's certificate
//! (`tls/client_identity.rs`); and TLS towards clients (`tls/server.rs`).
//!
//! `settings/route/upstream.rs` checks files here, `backend.rs` gets a configuration, `client/dial.rs` uses
//! it, and `tls/failure.rs` describes its failures.

mod certificate_fields;
mod client_identity;
pub(crate) mod failure;
pub(crate) mod server;
mod signing_identity;
mod validity;

use std::{
    collections::HashMap,
    error::Error as _,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
};
use rustls_native_certs::CertificateResult;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject};
use sha2::{Digest as _, Sha256};

pub(crate) use self::{
    client_identity::{ClientIdentity, IdentityProblem},
    signing_identity::SigningIdentity,
    validity::{Validity, ValidityStatus},
};
use crate::system::{
    exhausted::note,
    regular_file::{self, read_certificates},
    wall_clock::TlsClock,
};

/// A TLS configuration; connections with the same one share its session tickets.
pub type Tls = Arc<ClientConfig>;

/// The reason why a TLS configuration cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct TlsError(pub String);

/// Identifies a configuration: the server is verified or not, the file of authorities with its digest (`None`
/// if it cannot be read, which `ssl_verify: false` allows), and the client's certificate. The content counts:
/// connections survive when the same authorities are written again.
type TlsKey = (bool, Option<(PathBuf, Option<Vec<u8>>)>, Option<ClientIdentity>);

/// The configurations in use, one for each key, so that routes share their session tickets.
#[derive(Debug, Default)]
pub struct Configurations {
    known: HashMap<TlsKey, Tls>,
    /// Digests of the files that have been read for the routes of one snapshot: thousands of them may name
    /// the same.
    digests: HashMap<PathBuf, Option<Vec<u8>>>,
}

impl Configurations {
    /// The configuration that verifies by the authorities of `ca_certificate` or the platform, or with
    /// `verify` off does not verify. `identity` is presented to a server that asks for a client certificate.
    ///
    /// # Errors
    /// The file's certificates cannot be read.
    pub fn get(
        &mut self,
        verify: bool,
        ca_certificate: Option<&Path>,
        identity: Option<&ClientIdentity>,
    ) -> Result<Tls, TlsError> {
        let authorities = ca_certificate.map(|file| (file.to_owned(), self.digest(file)));
        let key = (verify, authorities, identity.cloned());
        if let Some(known) = self.known.get(&key) {
            return Ok(Arc::clone(known));
        }
        let tls = Arc::new(configuration(verify, ca_certificate, identity)?);
        self.known.insert(key, Arc::clone(&tls));
        Ok(tls)
    }

    /// Forgets the digests, so that the files are read again.
    pub fn forget_digests(&mut self) {
        self.digests.clear();
    }

    fn digest(&mut self, file: &Path) -> Option<Vec<u8>> {
        if let Some(known) = self.digests.get(file) {
            return known.clone();
        }
        let digest = read_certificates(file).ok().map(|content| Sha256::digest(content).to_vec());
        self.digests.insert(file.to_owned(), digest.clone());
        digest
    }

    /// Drops the configurations that no route uses any more.
    pub fn forget_unused(&mut self) {
        self.known.retain(|_, tls| Arc::strong_count(tls) > 1);
    }
}

fn configuration(
    verify: bool,
    ca_certificate: Option<&Path>,
    identity: Option<&ClientIdentity>,
) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_details(Arc::clone(&provider), Arc::new(TlsClock))
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError(error.to_string()))?;
    let builder = if verify {
        builder.with_root_certificates(roots(ca_certificate)?)
    } else {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(NoVerification(provider)))
    };
    let mut configuration = match identity {
        Some(identity) => builder.with_client_cert_resolver(identity.resolver()),
        None => builder.with_no_client_auth(),
    };
    // the only protocol of `client`, and every AWS endpoint has it
    configuration.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(configuration)
}

/// The authorities of `ca_certificate` or the platform. An image from scratch has none; there the built-in
/// ones of Mozilla are used.
fn roots(ca_certificate: Option<&Path>) -> Result<RootCertStore, TlsError> {
    if let Some(file) = ca_certificate {
        return read_authorities(file)
            .map_err(|error| TlsError(format!("ca_certificate {}: {error}", file.display())));
    }
    let mut roots = RootCertStore::empty();
    let native = platform_certificates();
    for error in &native.errors {
        let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
        if let Some(cause) = cause.filter(|cause| note(cause)) {
            // an incomplete set would stay in use as long as a route uses it
            return Err(TlsError(format!("certificate authorities of this system: {cause}")));
        }
        log::warn!("cannot read one of this system's certificate authorities: {error}");
    }
    roots.add_parsable_certificates(native.certs);
    if roots.is_empty() {
        log::warn!("found no certificate authorities on this system, using the built-in ones (webpki-roots)");
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    Ok(roots)
}

/// The certificates of `SSL_CERT_FILE` and `SSL_CERT_DIR`, or of the platform's default places.
/// `rustls_native_certs` reads only regular files of a directory, but opens the named file of any type.
fn platform_certificates() -> CertificateResult {
    const VARIABLE: &str = "SSL_CERT_FILE";
    let named = std::env::var_os(VARIABLE).map(PathBuf::from);
    match named.as_deref().map(|file| (file, regular_file::check(file))) {
        Some((file, Err(error))) if error.kind() == io::ErrorKind::Other => {
            log::warn!("{VARIABLE} {}: {error}", file.display());
            CertificateResult::default()
        }
        _ => rustls_native_certs::load_native_certs(),
    }
}

/// Reads the authorities of a PEM file; at least one.
///
/// # Errors
/// The file cannot be read, has no certificate, or one that cannot be parsed.
pub fn read_authorities(file: &Path) -> io::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for (index, certificate) in certificates(file)?.into_iter().enumerate() {
        let broken = |_| io::Error::other(format!("certificate {} cannot be parsed", index + 1));
        roots.add(certificate).map_err(broken)?;
    }
    Ok(roots)
}

/// The certificates of a PEM file; at least one.
fn certificates(file: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read_certificates(file)?).collect();
    match found {
        Ok(found) if found.is_empty() => Err(io::Error::other("the file has no certificate")),
        found => found.map_err(|error| io::Error::other(error.to_string())),
    }
}

/// `ssl_verify: false`: accepts any certificate, but the handshake must be signed with its key.
#[derive(Debug)]
struct NoVerification(Arc<CryptoProvider>);

impl ServerCertVerifier for NoVerification {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
