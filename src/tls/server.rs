//! TLS towards clients: certificate, key and the authorities for clients' certificates, read again when they
//! change.
//!
//! `settings/process/listen.rs` reads them once for their mistakes, `listener/sockets.rs` holds them beside the
//! socket, and each new connection (`listener/accept.rs`) is greeted with those in force.

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
    /// The server's certificate, then those between it and its authority.
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// The authorities that a client's certificate must come from; without it none is asked for.
    pub client_ca: Option<PathBuf>,
}

/// Which of the files is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerFilePart {
    Certificate,
    /// `key`, by itself or because it belongs to another certificate.
    Key,
    ClientAuthorities,
}

impl ServerFilePart {
    /// The key of the settings that names it.
    fn key(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Key => "key",
            Self::ClientAuthorities => "client_ca",
        }
    }
}

/// Why a server's TLS cannot be had.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("listen.https.{}: {cause}", .part.key())]
pub struct UnfitFile {
    pub part: ServerFilePart,
    /// Why, without what is in it.
    pub cause: String,
}

/// What new connections are greeted with.
pub struct ServerTls {
    files: ServerFiles,
    current: ArcSwap<InForce>,
    /// The files at the last look, kept for the watcher that follows one that panicked.
    seen: Mutex<Option<Stamps>>,
}

/// A configuration with what is known of its certificate.
pub struct InForce {
    configuration: Arc<ServerConfig>,
    /// The time in which the chain is valid, as far as it can be read.
    pub validity: Option<Validity>,
}

impl fmt::Debug for ServerTls {
    /// Without the configuration, which holds the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").field("files", &self.files).finish_non_exhaustive()
    }
}

impl ServerTls {
    /// Reads the files.
    ///
    /// # Errors
    /// Which of them is unfit, and why.
    pub fn read(files: &ServerFiles) -> Result<Self, UnfitFile> {
        let current = ArcSwap::from_pointee(configuration(files)?);
        Ok(Self { files: files.clone(), current, seen: Mutex::default() })
    }

    /// The configuration in force.
    pub fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.load().configuration)
    }

    /// The time in which the certificate in force is valid, as far as it can be read.
    pub fn validity(&self) -> Option<Validity> {
        self.current.load().validity
    }

    /// Takes changed files into use, looking at them in this interval, and never ends. Files that are unfit change
    /// nothing, and are logged once.
    pub async fn follow_files(&self, interval: Duration) {
        let mut is_postponed = false;
        loop {
            let (files, seen) = (self.files.clone(), self.seen().clone());
            // a file system may hang, and neither requests nor the end of the process may hang with it
            let read = detached::run("certificates of listen.https", move || {
                fault_points::pass("certificates");
                exhausted::watch(|| {
                    // before they are read: what changes meanwhile is read again
                    let stamps = files.stamps();
                    (seen.as_ref() != Some(&stamps)).then(|| (stamps, configuration(&files)))
                })
            });
            let was_postponed = std::mem::take(&mut is_postponed);
            match read.await {
                Ok(Ok(Some((stamps, result)))) => {
                    let is_first = self.seen().replace(stamps).is_none();
                    self.take(result, is_first);
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

    fn take(&self, result: Result<InForce, UnfitFile>, is_first: bool) {
        match result {
            Ok(in_force) => {
                self.current.store(Arc::new(in_force));
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
    /// When they were last changed.
    fn stamps(&self) -> Stamps {
        let Self { certificate, key, client_ca } = self;
        Stamps::of([Some(certificate), Some(key), client_ca.as_ref()].into_iter().flatten().cloned())
    }
}

fn unfit<E: ToString>(part: ServerFilePart) -> impl FnOnce(E) -> UnfitFile {
    move |cause| UnfitFile { part, cause: cause.to_string() }
}

/// Reads the files into a configuration that speaks HTTP/2 and HTTP/1.1.
///
/// # Errors
/// Which of them is unfit, and why.
pub fn configuration(files: &ServerFiles) -> Result<InForce, UnfitFile> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain = certificates(&files.certificate).map_err(unfit(ServerFilePart::Certificate))?;
    let key = regular_file::read_certificates(&files.key).map_err(unfit(ServerFilePart::Key))?;
    let key = PrivateKeyDer::from_pem_slice(&key).map_err(unfit(ServerFilePart::Key))?;
    let builder = ServerConfig::builder_with_details(Arc::clone(&provider), Arc::new(TlsClock))
        .with_safe_default_protocol_versions()
        .map_err(unfit(ServerFilePart::Certificate))?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let roots = read_authorities(path).map_err(unfit(ServerFilePart::ClientAuthorities))?;
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.map_err(unfit(ServerFilePart::ClientAuthorities))?)
        }
    };
    let validity = Validity::of(&chain);
    let mut configuration = builder.with_single_cert(chain, key).map_err(|error| match error {
        // the key has been read, but is not this certificate's, or of no kind that can sign
        rustls::Error::InconsistentKeys(_) | rustls::Error::General(_) => {
            unfit(ServerFilePart::Key)("not the certificate's key")
        }
        error => unfit(ServerFilePart::Certificate)(error),
    })?;
    configuration.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(InForce { configuration: Arc::new(configuration), validity })
}
