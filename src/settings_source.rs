//! Settings from a source: one bundle, a tar archive of a settings directory, that many sidecars follow.
//!
//! `cli` opens a [`SettingsSource`] before it reads the settings, and `app/process.rs` lets it follow the
//! source on a thread of its own. A bundle is fetched, verified, unpacked beside the others and checked as a
//! whole; only then does the link of the cache lead to it, and `state/reload.rs` reads through that link as
//! through any settings directory. Whatever else a source answers changes nothing but the log and the
//! metrics.
//!
//! ```text
//! address.rs     the value of --settings       fetch.rs      one fetch; s3.rs signs for Amazon S3
//! archive.rs     unpacking within limits       signature.rs  Ed25519 over the archive
//! cache.rs       the bundles on disk           follower.rs   the thread that follows the source
//! start.rs       the first fetch, and the signals that end it
//! ```

mod address;
mod archive;
mod cache;
mod fetch;
mod follower;
mod s3;
mod signature;
mod start;

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::runtime::{Builder, LocalOptions};

pub use self::{
    address::{BundleAddress, SettingsPlace},
    start::{EarlySignals, StartPolicy},
};
use self::{
    archive::ArchiveError,
    cache::{BundleCache, BundleRecord},
    fetch::{FetchError, Fetched, Fetcher},
    signature::BundleKey,
};
use crate::{
    metrics::Metrics,
    settings::{BundleLink, Mistakes, Settings, SettingsLoader, bundle_serial},
    signing,
    system::exhausted,
    text::log_safe::log_safe,
};

/// Open files of a source that is followed: its runtime and connection, the lock of the cache, and the files
/// that are unpacked and read.
pub const OPEN_FILES: u64 = 12;
/// Characters of a name in an error.
const QUOTED: usize = 100;

/// The options of a source.
#[derive(Debug)]
pub struct SourceOptions {
    pub address: BundleAddress,
    /// The file of the public key that must have signed the bundle.
    pub key: Option<PathBuf>,
    /// The directory of the last good bundle; a temporary one by default.
    pub cache: Option<PathBuf>,
    pub start: StartPolicy,
}

/// The reason why there is no new bundle.
#[derive(Debug)]
pub enum SourceError {
    Failed(String),
    /// The mistakes in the settings of the bundle, with the names of its files.
    Mistakes(Mistakes),
    /// A signal ended the start.
    Ended,
}

/// The source of the settings, and the bundle in use.
#[derive(Debug)]
pub struct SettingsSource {
    address: BundleAddress,
    key: Option<BundleKey>,
    cache: BundleCache,
    /// The digest of an archive that cannot be a bundle, and the reason.
    refused: Option<(String, String)>,
    /// The failure of the last fetch, for the log.
    failure: Option<SourceError>,
    /// `reload.interval` of the bundle in use.
    interval: Duration,
    /// The time of the last fetch that succeeded.
    confirmed: SystemTime,
    /// The signals of a start that ends at signals.
    signals: Option<EarlySignals>,
}

/// The result of a fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Unchanged,
    /// Another bundle is in use.
    Changed,
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(reason) => f.write_str(reason),
            Self::Mistakes(mistakes) => mistakes.fmt(f),
            Self::Ended => f.write_str("ended by a signal"),
        }
    }
}

impl std::error::Error for SourceError {}

impl From<FetchError> for SourceError {
    fn from(error: FetchError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<ArchiveError> for SourceError {
    fn from(error: ArchiveError) -> Self {
        Self::Failed(error.to_string())
    }
}

/// The name of the directory that holds everything, as in an archive of `settings` instead of its content.
fn only_directory(unpacked: &Path) -> Option<String> {
    let mut entries = unpacked.read_dir().ok()?.flatten();
    let (first, more) = (entries.next()?, entries.next());
    let is_settings = more.is_none() && first.path().join("routes").is_dir();
    is_settings.then(|| first.file_name().to_string_lossy().into_owned())
}

fn cannot_store(error: &io::Error) -> SourceError {
    SourceError::Failed(format!("cannot store the bundle: {error}"))
}

impl SettingsSource {
    /// Fetches the bundle, or uses the cached one if the source has none. Without both it retries as
    /// [`StartPolicy`] says, and passes each new reason to `say`.
    ///
    /// # Errors
    /// There is no bundle, its settings have mistakes and there is no other, or a signal ended the start.
    pub fn open(options: SourceOptions, say: impl FnMut(&str)) -> Result<Self, SourceError> {
        let SourceOptions { address, key, cache, start } = options;
        let key = key.map(|path| BundleKey::read(&path)).transpose();
        let key = key.map_err(|error| SourceError::Failed(format!("--settings-key: {error}")))?;
        let cache = match BundleCache::open(cache.as_deref()) {
            Ok(cache) => cache,
            Err(error) => {
                let place = cache.map_or_else(
                    || "a temporary directory (--settings-cache names another)".to_owned(),
                    |directory| format!("--settings-cache {}", directory.display()),
                );
                return Err(SourceError::Failed(format!("{place}: {error}")));
            }
        };
        let confirmed = cache.current().map_or(0, |current| current.fetched);
        let mut source = Self {
            address,
            key,
            cache,
            refused: None,
            failure: None,
            interval: Settings::default().reload.interval,
            confirmed: UNIX_EPOCH + Duration::from_secs(confirmed),
            signals: None,
        };
        source.trust_cache();
        let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
        let runtime = runtime.map_err(|error| SourceError::Failed(error.to_string()))?;
        let opened = runtime.block_on(source.first_bundle(start, say));
        // a name resolution in progress must not delay the start
        runtime.shutdown_background();
        opened.map(|()| source)
    }

    /// Refuses a cached bundle that the key has not verified, and an `ETag` that may belong to another
    /// address: the user info and the query are not stored.
    fn trust_cache(&mut self) {
        if !self.address.is_shown_whole() {
            self.cache.set_etag(None);
        }
        let Some(key) = &self.key else { return };
        let signed_by = self.cache.current().and_then(|current| current.signed_by.as_deref());
        if self.cache.current().is_some() && signed_by != Some(key.fingerprint()) {
            self.cache.forget_current();
        }
    }

    /// The signals that the start was waiting for, to be waited for from then on.
    pub fn take_signals(&mut self) -> Option<EarlySignals> {
        self.signals.take()
    }

    /// The link to the settings in use.
    pub fn link(&self) -> &Arc<BundleLink> {
        self.cache.link()
    }

    /// Fetches the bundle and puts it in use if it has changed.
    async fn fetch(
        &mut self,
        fetcher: &mut Option<Fetcher>,
        metrics: &Metrics,
    ) -> Result<Outcome, SourceError> {
        let fetcher = match fetcher {
            Some(fetcher) => fetcher,
            none => none.insert(Fetcher::new(&self.address, metrics)?),
        };
        let current = self.cache.current();
        let of_source = current.filter(|current| current.source == self.address.to_string());
        let known = of_source.and_then(|current| current.etag.clone());
        let outcome = match fetcher.archive(known.as_deref()).await? {
            Fetched::NotModified => Outcome::Unchanged,
            Fetched::Archive { archive, etag } => {
                let digest = signing::hash(&archive);
                if self.cache.current().is_some_and(|current| current.digest == digest) {
                    self.cache.set_etag(etag);
                    Outcome::Unchanged
                } else {
                    if let Some((_, reason)) = self.refused.as_ref().filter(|(refused, _)| *refused == digest)
                    {
                        return Err(SourceError::Failed(reason.clone()));
                    }
                    if let Some(key) = &self.key {
                        let signature = fetcher.signature().await?;
                        let verified = key.verify(&archive, &signature);
                        verified.map_err(|problem| SourceError::Failed(problem.to_owned()))?;
                    }
                    self.accept(&archive, digest, etag)?;
                    Outcome::Changed
                }
            }
        };
        self.confirmed = SystemTime::now();
        Ok(outcome)
    }

    /// Unpacks and checks a bundle, and puts it in use.
    fn accept(&mut self, archive: &[u8], digest: String, etag: Option<String>) -> Result<(), SourceError> {
        let new = self.cache.begin().map_err(|error| cannot_store(&error))?;
        let directory = new.settings();
        if let Err(error) = archive::unpack(archive, &directory) {
            if let ArchiveError::Refused(_) = &error {
                self.refused = Some((digest, error.to_string()));
            }
            return Err(error.into());
        }
        if let Some(name) = only_directory(&directory) {
            let name = log_safe(&name, QUOTED);
            let cure = format!("make the bundle by `tar -czf settings.tar.gz -C {name} .`");
            return Err(SourceError::Failed(format!(
                "the settings of the bundle are below `{name}/`: {cure}"
            )));
        }
        let serial = bundle_serial(&directory).map_err(SourceError::Failed)?;
        self.check_serial(serial)?;
        let read = exhausted::watch(|| SettingsLoader::of_bundle(&directory).load());
        let settings = read.map_err(|exhausted| SourceError::Failed(exhausted.to_string()))?;
        let prefix = format!("{}/", directory.display());
        let settings =
            settings.map_err(|mistakes| SourceError::Mistakes(mistakes.without_prefix(&prefix)))?;
        let record = BundleRecord {
            source: self.address.to_string(),
            digest,
            serial,
            etag,
            signed_by: self.key.as_ref().map(|key| key.fingerprint().to_owned()),
            fetched: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
        };
        self.cache.commit(new, record).map_err(|error| cannot_store(&error))?;
        self.interval = settings.reload.interval;
        Ok(())
    }

    /// Refuses the bundle of an older serial number, which an attacker may have kept with its signature. The
    /// numbers of all addresses count if one key signs them; without a key, each address has its own.
    fn check_serial(&self, serial: Option<u64>) -> Result<(), SourceError> {
        let address = self.address.to_string();
        let current = self.cache.current();
        let current = current.filter(|current| self.key.is_some() || current.source == address);
        let last = current.and_then(|current| Some((current.serial?, &current.source)));
        match (serial, last) {
            (None, _) if self.key.is_some() => {
                Err(SourceError::Failed("the bundle has no bundle.yaml with `serial: N`".to_owned()))
            }
            (serial, Some((last, source))) if serial.is_none_or(|serial| serial < last) => {
                let serial = serial.map_or_else(|| "none".to_owned(), |serial| serial.to_string());
                let of = if *source == address { String::new() } else { format!(" of {source}") };
                Err(SourceError::Failed(format!(
                    "the bundle is older than the one in use: serial {serial}, in use {last}{of}"
                )))
            }
            _ => Ok(()),
        }
    }
}
