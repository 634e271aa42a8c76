//! TLS towards clients: certificate, key and the authorities of clients' certificates, reloaded when they
//! change.
//!
//! `settings/process/listen.rs` reads them once to check them, `listener/sockets.rs` holds them beside the
//! socket, and each new connection (`listener/accept.rs`) uses the current ones.

use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use rustls::{ServerConfig, server::WebPkiClientVerifier};
use rustls_pki_types::{PrivateKeyDer, pem::PemObject};

use crate::{
    system::{detached, exhausted, fault_points, file_stamps::Stamps, regular_file, wall_clock::TlsClock},
    tls::{Validity, certificates, read_authorities},
};

/// The PEM files of a server's TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFiles {
    /// The server's certificate, then the intermediate ones.
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// The authorities of clients' certificates; without it clients need none.
    pub client_ca: Option<PathBuf>,
}

/// The file at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerFilePart {
    Certificate,
    /// `key`, also if it is not the certificate's.
    Key,
    ClientAuthorities,
}

impl ServerFilePart {
    /// The settings key of the file.
    fn key(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Key => "key",
            Self::ClientAuthorities => "client_ca",
        }
    }
}

/// The reason why a server's TLS cannot be configured.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("listen.https.{}: {cause}", .part.key())]
pub struct InvalidFile {
    pub part: ServerFilePart,
    /// Never contains contents of the file.
    pub cause: String,
}

/// The TLS of new connections.
pub struct ServerTls {
    files: ServerFiles,
    current: ArcSwap<LoadedFiles>,
    /// The stamps at the last check, for a watcher that restarts after a panic.
    seen: Mutex<Option<Stamps>>,
}

/// A configuration and the validity of its certificate.
pub struct LoadedFiles {
    configuration: Arc<ServerConfig>,
    /// `None` if the chain cannot be parsed.
    pub validity: Option<Validity>,
}

impl fmt::Debug for ServerTls {
    /// Without the configuration, which holds the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").field("files", &self.files).finish_non_exhaustive()
    }
}

impl ServerTls {
    /// # Errors
    /// The file that is invalid.
    pub fn read(files: &ServerFiles) -> Result<Self, InvalidFile> {
        let current = ArcSwap::from_pointee(configuration(files)?);
        Ok(Self { files: files.clone(), current, seen: Mutex::default() })
    }

    /// The configuration for a new connection.
    pub fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.load().configuration)
    }

    /// The validity of the current certificate; `None` if it cannot be parsed.
    pub fn validity(&self) -> Option<Validity> {
        self.current.load().validity
    }

    /// Reloads changed files, checking them in this interval, and never ends. Invalid files are logged once,
    /// and the current ones stay in use.
    pub async fn follow_files(&self, interval: Duration) {
        let mut is_postponed = false;
        loop {
            let (files, seen) = (self.files.clone(), self.seen().clone());
            // a file system may hang, and must block neither requests nor the end of the process
            let read = detached::run("certificates of listen.https", move || {
                fault_points::pass("certificates");
                exhausted::watch(|| {
                    // before they are read, so that a change meanwhile is noticed
                    let stamps = files.stamps();
                    (seen.as_ref() != Some(&stamps)).then(|| (stamps, configuration(&files)))
                })
            });
            let was_postponed = std::mem::take(&mut is_postponed);
            match read.await {
                Ok(Ok(Some((stamps, result)))) => {
                    let is_first = self.seen().replace(stamps).is_none();
                    self.store(result, is_first);
                }
                Ok(Ok(None)) => {}
                Ok(Err(exhausted)) => {
                    is_postponed = true;
                    if !was_postponed {
                        log::error!("cannot read the certificates of listen.https, retrying: {exhausted}");
                    }
                }
                Err(error) => log::error!("cannot read the certificates of listen.https: {error}"),
            }
            tokio::time::sleep(interval).await;
        }
    }

    fn seen(&self) -> MutexGuard<'_, Option<Stamps>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn store(&self, result: Result<LoadedFiles, InvalidFile>, is_first: bool) {
        match result {
            Ok(loaded) => {
                self.current.store(Arc::new(loaded));
                if !is_first {
                    log::info!("certificates of listen.https reloaded");
                }
            }
            Err(error) => log::error!(
                "the new certificates of listen.https are invalid, the old ones stay in use: {error}"
            ),
        }
    }
}

impl ServerFiles {
    fn stamps(&self) -> Stamps {
        let Self { certificate, key, client_ca } = self;
        Stamps::of([Some(certificate), Some(key), client_ca.as_ref()].into_iter().flatten().cloned())
    }
}

fn invalid<E: ToString>(part: ServerFilePart) -> impl FnOnce(E) -> InvalidFile {
    move |cause| InvalidFile { part, cause: cause.to_string() }
}

/// Reads the files into a configuration for HTTP/2 and HTTP/1.1.
///
/// # Errors
/// The file that is invalid.
pub fn configuration(files: &ServerFiles) -> Result<LoadedFiles, InvalidFile> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain = certificates(&files.certificate).map_err(invalid(ServerFilePart::Certificate))?;
    let key = regular_file::read_certificates(&files.key).map_err(invalid(ServerFilePart::Key))?;
    let key = PrivateKeyDer::from_pem_slice(&key).map_err(invalid(ServerFilePart::Key))?;
    let builder = ServerConfig::builder_with_details(Arc::clone(&provider), Arc::new(TlsClock))
        .with_safe_default_protocol_versions()
        .map_err(invalid(ServerFilePart::Certificate))?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let roots = read_authorities(path).map_err(invalid(ServerFilePart::ClientAuthorities))?;
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.map_err(invalid(ServerFilePart::ClientAuthorities))?)
        }
    };
    let validity = Validity::of(&chain);
    let mut configuration = builder.with_single_cert(chain, key).map_err(|error| match error {
        // a key that was parsed, but is not this certificate's or cannot sign
        rustls::Error::InconsistentKeys(_) | rustls::Error::General(_) => {
            invalid(ServerFilePart::Key)("not the certificate's key")
        }
        error => invalid(ServerFilePart::Certificate)(error),
    })?;
    configuration.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(LoadedFiles { configuration: Arc::new(configuration), validity })
}
