//! Certificates generated for a test, and a TLS upstream that uses them.

use std::{
    fs,
    io::{self, BufReader, Write as _},
    net::{Shutdown, TcpStream},
    sync::{Arc, Mutex},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use rustls::{
    HandshakeKind, RootCertStore, ServerConfig, ServerConnection, SupportedProtocolVersion,
    crypto::CryptoProvider,
    server::{ResolvesServerCert, WebPkiClientVerifier},
    sign::{CertifiedKey, SingleCertAndKey},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::{NamedTempFile, TempDir};

use super::upstream::{Received, Upstream, read_request};

/// A TLS connection of the upstream.
pub type Secured = rustls::StreamOwned<ServerConnection, TcpStream>;

/// A certificate authority that no client trusts by default.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate with its key.
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    certificate: String,
    key: KeyPair,
}

/// Result of a client's TLS handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handshake {
    /// Name in the SNI extension.
    pub name: Option<String>,
    /// ALPN protocol.
    pub protocol: Option<String>,
    /// True if a session was resumed, without certificates.
    pub resumed: bool,
}

/// A TLS upstream.
pub struct SecuredUpstream {
    pub plain: Upstream,
    handshakes: Arc<Mutex<Vec<Handshake>>>,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        Self(CertifiedIssuer::self_signed(Self::params(name), KeyPair::generate().unwrap()).unwrap())
    }

    /// An authority whose certificate this one issues.
    pub fn intermediate(&self, name: &str) -> Self {
        Self(CertifiedIssuer::signed_by(Self::params(name), KeyPair::generate().unwrap(), &self.0).unwrap())
    }

    fn params(name: &str) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    }

    /// The certificate as PEM.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    pub fn der(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    /// The certificate as a file for `ca_certificate`.
    pub fn file(&self) -> NamedTempFile {
        file(&self.pem())
    }

    /// Issues a certificate for a name or an IP address.
    pub fn identity(&self, name: &str) -> Identity {
        self.issue(name, |_| ())
    }

    /// Issues a client certificate.
    pub fn client(&self, name: &str) -> Identity {
        self.issue(name, |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth])
    }

    /// Issues a certificate with changed parameters.
    pub fn issue(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        self.issue_for(KeyPair::generate().unwrap(), name, change)
    }

    /// Issues a certificate for this key.
    pub fn issue_for(
        &self,
        key: KeyPair,
        name: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Identity {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        change(&mut params);
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Identity { chain: vec![certificate.der().clone()], certificate: certificate.pem(), key }
    }
}

impl Identity {
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.chain.clone()
    }

    /// The key, for a TLS client.
    pub fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(self.key.serialize_der().into())
    }

    /// The certificate as PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// The key as PEM.
    pub fn key(&self) -> String {
        self.key.serialize_pem()
    }

    /// The certificate with a key that does not belong to it.
    pub fn with_wrong_key(self) -> Self {
        Self { key: KeyPair::generate().unwrap(), ..self }
    }
}

/// A temporary file with this text.
pub fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

/// The crypto provider of the test servers.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// A server with this certificate and the default TLS versions.
pub fn server(identity: Identity) -> ServerConfig {
    server_speaking(rustls::DEFAULT_VERSIONS, identity)
}

/// A server with this certificate and these TLS versions.
pub fn server_speaking(versions: &[&'static SupportedProtocolVersion], identity: Identity) -> ServerConfig {
    let mut server = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(resolver(identity));
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    server
}

/// Presents the certificate without checking that the key belongs to it.
pub fn resolver(identity: Identity) -> Arc<dyn ResolvesServerCert> {
    let key = PrivateKeyDer::Pkcs8(identity.key.serialize_der().into());
    let key = provider().key_provider.load_private_key(key).unwrap();
    Arc::new(SingleCertAndKey::from(CertifiedKey::new(identity.chain, key)))
}

impl SecuredUpstream {
    /// Responds with 200 and a small body.
    pub fn ok(server: ServerConfig) -> Self {
        Self::serving(server, |_, stream| stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"))
    }

    /// Reads each request and calls `answer`; an error closes the connection without `close_notify`.
    pub fn serving(
        server: ServerConfig,
        answer: impl Fn(&Received, &mut Secured) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let server = Arc::new(server);
        let handshakes = Arc::<Mutex<Vec<Handshake>>>::default();
        let plain = Upstream::accepting({
            let handshakes = Arc::clone(&handshakes);
            move |connection, mut stream, received| {
                let mut tls = ServerConnection::new(Arc::clone(&server)).map_err(io::Error::other)?;
                while tls.is_handshaking() {
                    if let Err(error) = tls.complete_io(&mut stream) {
                        return close_after_failed_handshake(&mut stream, error);
                    }
                }
                handshakes.lock().unwrap().push(Handshake::of(&tls));
                let mut stream = BufReader::new(Secured::new(tls, stream));
                while let Some(request) = read_request(&mut stream, connection)? {
                    received.lock().unwrap().push(request.clone());
                    answer(&request, stream.get_mut())?;
                }
                Ok(())
            }
        });
        Self { plain, handshakes }
    }

    /// A function URI with this host and the upstream's port.
    pub fn uri(&self, host: &str) -> String {
        format!("https://{host}:{}/", self.plain.address.port())
    }

    /// All completed handshakes.
    pub fn handshakes(&self) -> Vec<Handshake> {
        self.handshakes.lock().unwrap().clone()
    }
}

/// Closes after a failed handshake so that the client reads the alert: closing a socket with unread bytes
/// would reset the connection.
fn close_after_failed_handshake(stream: &mut TcpStream, error: io::Error) -> io::Result<()> {
    stream.shutdown(Shutdown::Write)?;
    io::copy(stream, &mut io::sink())?;
    Err(error)
}

impl Handshake {
    fn of(tls: &ServerConnection) -> Self {
        let protocol = tls.alpn_protocol().map(|protocol| String::from_utf8_lossy(protocol).into_owned());
        Self {
            name: tls.server_name().map(ToOwned::to_owned),
            protocol,
            resumed: tls.handshake_kind() == Some(HandshakeKind::Resumed),
        }
    }
}

/// An upstream that requires a client certificate of this authority.
pub fn demanding(authority: &Authority, version: &'static SupportedProtocolVersion) -> SecuredUpstream {
    let mut roots = RootCertStore::empty();
    roots.add(authority.der()).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider()).build().unwrap();
    SecuredUpstream::ok(
        ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(resolver(authority.identity("localhost"))),
    )
}

/// Files with a certificate and its key.
pub struct CertificateFiles {
    directory: TempDir,
}

impl CertificateFiles {
    pub fn of(identity: &Identity) -> Self {
        let files = Self { directory: TempDir::new().unwrap() };
        files.replace(identity);
        files
    }

    pub fn replace(&self, identity: &Identity) {
        fs::write(self.path("key"), identity.key()).unwrap();
        fs::write(self.path("certificate"), identity.certificate()).unwrap();
    }

    pub fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    /// The section `listen.https`, with additional keys.
    pub fn listen(&self, rest: &str) -> String {
        let (certificate, key) = (self.path("certificate"), self.path("key"));
        format!("https: {{ address: '127.0.0.1:0', certificate: {certificate}, key: {key}{rest} }}")
    }
}
