//! The bundles on disk: the directory of `--settings-cache`, or a temporary one.
//!
//! ```text
//! DIR/lock                    locked while a process uses the directory
//! DIR/current                 link to the settings of the bundle in use
//! DIR/bundles/NAME/settings   a bundle as it was unpacked
//! DIR/bundles/NAME/bundle.json
//! ```
//!
//! A bundle is written and flushed beside the others, and only the replacement of the link by `rename` puts
//! it in use. A process that is killed at any moment leaves a link to a complete bundle; the next one removes
//! what is unfinished.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, symlink},
    path::{self, Path, PathBuf},
    sync::Arc,
};

use rustix::{
    fs::{FlockOperation, OFlags, flock},
    io::Errno,
};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::{settings::BundleLink, system::regular_file};

const LOCK: &str = "lock";
const LINK: &str = "current";
const NEW_LINK: &str = ".current.new";
const BUNDLES: &str = "bundles";
const SETTINGS: &str = "settings";
const RECORD: &str = "bundle.json";

/// The record of a bundle, beside its settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct BundleRecord {
    /// The address without user info and query.
    pub(super) source: String,
    /// SHA-256 of the archive.
    pub(super) digest: String,
    pub(super) serial: Option<u64>,
    pub(super) etag: Option<String>,
    /// The fingerprint of the key that has verified the signature.
    pub(super) signed_by: Option<String>,
    /// Unix seconds.
    pub(super) fetched: u64,
}

/// A bundle that is being unpacked. It is removed when dropped.
pub(super) struct NewBundle {
    directory: TempDir,
}

/// The bundles of one process.
#[derive(Debug)]
pub(super) struct BundleCache {
    directory: PathBuf,
    link: Arc<BundleLink>,
    /// The bundle in use.
    current: Option<BundleRecord>,
    /// Kept until the next change: a read of its certificates may be in progress.
    previous: Option<PathBuf>,
    /// Locked until the process ends.
    _lock: File,
    temporary: Option<TempDir>,
}

impl BundleCache {
    /// Opens the directory, or a temporary one, and removes unfinished bundles.
    ///
    /// # Errors
    /// The directory cannot be written, or another process uses it.
    pub(super) fn open(directory: Option<&Path>) -> io::Result<Self> {
        let temporary = match directory {
            Some(_) => None,
            None => Some(tempfile::Builder::new().prefix("apigw-invoker-settings-").tempdir()?),
        };
        let directory = directory.or_else(|| temporary.as_ref().map(TempDir::path)).unwrap_or(Path::new("."));
        let directory = path::absolute(directory)?;
        let bundles = directory.join(BUNDLES);
        DirBuilder::new().recursive(true).mode(0o700).create(&bundles)?;
        // everything in it but the bundle in use is removed
        if !fs::symlink_metadata(&bundles)?.is_dir() {
            return Err(io::Error::other(format!("{} is a link", bundles.display())));
        }
        let lock = locked(&directory.join(LOCK))?;
        let link = Arc::new(BundleLink::at(directory.join(LINK)));
        let mut cache = Self { directory, link, current: None, previous: None, _lock: lock, temporary };
        let in_use = cache.bundle_in_use()?;
        cache.current = in_use.as_deref().and_then(read_record);
        cache.remove_others(&in_use.into_iter().collect::<Vec<_>>());
        Ok(cache)
    }

    pub(super) fn link(&self) -> &Arc<BundleLink> {
        &self.link
    }

    /// The record of the bundle in use.
    pub(super) fn current(&self) -> Option<&BundleRecord> {
        self.current.as_ref()
    }

    /// Takes a bundle out of use that must not be served.
    pub(super) fn forget_current(&mut self) {
        self.current = None;
    }

    /// Stores the `ETag` that the source has now for the bundle in use.
    pub(super) fn set_etag(&mut self, etag: Option<String>) {
        if let Some(current) = &mut self.current {
            current.etag = etag;
        }
    }

    /// A directory for a bundle.
    ///
    /// # Errors
    /// The directory cannot be created.
    pub(super) fn begin(&self) -> io::Result<NewBundle> {
        let directory =
            tempfile::Builder::new().prefix("").rand_bytes(12).tempdir_in(self.directory.join(BUNDLES))?;
        DirBuilder::new().mode(0o700).create(directory.path().join(SETTINGS))?;
        Ok(NewBundle { directory })
    }

    /// Puts a complete bundle in use.
    ///
    /// # Errors
    /// It cannot be written. The last bundle stays in use.
    pub(super) fn commit(&mut self, new: NewBundle, record: BundleRecord) -> io::Result<()> {
        let bundle = new.directory.path();
        write_new(&bundle.join(RECORD), &serde_json::to_vec(&record)?)?;
        if self.temporary.is_none() {
            flush_all(bundle)?;
        }
        let name = bundle.file_name().unwrap_or_default();
        let target = Path::new(BUNDLES).join(name).join(SETTINGS);
        let new_link = self.directory.join(NEW_LINK);
        match fs::remove_file(&new_link) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        symlink(&target, &new_link)?;
        let last = self.bundle_in_use()?;
        {
            let _locked = self.link.lock();
            fs::rename(&new_link, self.link.path())?;
        }
        // in use from here on, also if the flush fails
        let bundle = new.directory.keep();
        self.current = Some(record);
        self.previous = last;
        let kept = self.previous.iter().cloned().chain([bundle]).collect::<Vec<_>>();
        self.remove_others(&kept);
        flush(&self.directory)
    }

    /// The directory of the bundle that the link leads to.
    fn bundle_in_use(&self) -> io::Result<Option<PathBuf>> {
        match fs::read_link(self.link.path()) {
            Ok(target) => {
                let bundle = target.parent().map(|bundle| self.directory.join(bundle));
                Ok(bundle.filter(|bundle| bundle.join(SETTINGS).is_dir()))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(_) => Err(io::Error::other(format!("{} is not a link", self.link.path().display()))),
        }
    }

    /// Removes all bundles but these. A failure leaves files that the next call removes.
    fn remove_others(&self, kept: &[PathBuf]) {
        let bundles = fs::read_dir(self.directory.join(BUNDLES)).into_iter().flatten().flatten();
        for bundle in bundles.map(|entry| entry.path()).filter(|bundle| !kept.contains(bundle)) {
            let _ = fs::remove_dir_all(bundle);
        }
    }
}

impl Drop for BundleCache {
    fn drop(&mut self) {
        if let Some(temporary) = self.temporary.take() {
            let _ = temporary.close();
        }
    }
}

impl NewBundle {
    /// The directory to unpack into.
    pub(super) fn settings(&self) -> PathBuf {
        self.directory.path().join(SETTINGS)
    }
}

/// Opens and locks a file. File systems without locks are taken as they are.
fn locked(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    let file = options.custom_flags(OFlags::NOFOLLOW.bits().cast_signed()).open(path)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => Err(io::Error::other("another process uses this directory")),
        _ => Ok(file),
    }
}

fn read_record(bundle: &Path) -> Option<BundleRecord> {
    serde_json::from_str(&regular_file::read(&bundle.join(RECORD)).ok()?).ok()
}

fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(content)
}

/// Flushes all files of a bundle to the disk: once for thousands of routes, since each flush may take
/// milliseconds.
fn flush_all(bundle: &Path) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::fs::syncfs(File::open(bundle)?)?;
    #[cfg(not(target_os = "linux"))]
    rustix::fs::sync();
    flush(bundle)
}

fn flush(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(digest: &str, serial: Option<u64>) -> BundleRecord {
        let source = "https://config.example/b.tgz".to_owned();
        let (etag, signed_by) = (Some("\"1\"".to_owned()), None);
        BundleRecord { source, digest: digest.to_owned(), serial, etag, signed_by, fetched: 1 }
    }

    fn put(cache: &mut BundleCache, digest: &str) {
        let new = cache.begin().unwrap();
        fs::write(new.settings().join("default.yaml"), digest).unwrap();
        cache.commit(new, record(digest, Some(1))).unwrap();
    }

    fn content(directory: &Path) -> String {
        fs::read_to_string(directory.join("current/default.yaml")).unwrap()
    }

    #[test]
    fn a_bundle_is_in_use_once_it_is_committed_and_survives_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let mut cache = BundleCache::open(Some(directory.path())).unwrap();
        assert_eq!(cache.current(), None);
        put(&mut cache, "a");
        assert_eq!(content(directory.path()), "a");
        let unfinished = cache.begin().unwrap();
        fs::write(unfinished.settings().join("default.yaml"), "half").unwrap();
        // as a process that is killed
        let left = unfinished.directory.keep();
        drop(cache);
        let mut cache = BundleCache::open(Some(directory.path())).unwrap();
        assert_eq!(cache.current(), Some(&record("a", Some(1))));
        assert!(!left.exists());
        put(&mut cache, "b");
        assert_eq!(content(directory.path()), "b");
        let count = || fs::read_dir(directory.path().join(BUNDLES)).unwrap().count();
        assert_eq!(count(), 2, "the last one stays");
        put(&mut cache, "c");
        assert_eq!(count(), 2);
    }

    #[test]
    fn a_directory_is_used_by_one_process_and_a_temporary_one_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let cache = BundleCache::open(Some(directory.path())).unwrap();
        let error = BundleCache::open(Some(directory.path())).unwrap_err();
        assert_eq!(error.to_string(), "another process uses this directory");
        drop(cache);
        assert!(BundleCache::open(Some(directory.path())).is_ok());
        let temporary = BundleCache::open(None).unwrap();
        let path = temporary.directory.clone();
        assert!(path.exists());
        drop(temporary);
        assert!(!path.exists());
    }

    #[test]
    fn links_in_place_of_the_caches_own_files_are_refused_and_nothing_behind_them_is_touched() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("kept"), "").unwrap();
        for name in [BUNDLES, LOCK] {
            let directory = tempfile::tempdir().unwrap();
            let target = if name == LOCK { outside.path().join("new") } else { outside.path().to_owned() };
            symlink(target, directory.path().join(name)).unwrap();
            assert!(BundleCache::open(Some(directory.path())).is_err(), "{name}");
        }
        let left: Vec<_> =
            fs::read_dir(outside.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["kept"]);
    }

    #[test]
    fn a_link_to_nothing_and_a_record_that_cannot_be_read_are_no_bundle() {
        let directory = tempfile::tempdir().unwrap();
        symlink("bundles/gone/settings", directory.path().join(LINK)).unwrap();
        assert_eq!(BundleCache::open(Some(directory.path())).unwrap().current(), None);
        let mut cache = BundleCache::open(Some(directory.path())).unwrap();
        put(&mut cache, "a");
        let bundle = cache.bundle_in_use().unwrap().unwrap();
        fs::write(bundle.join(RECORD), "{").unwrap();
        drop(cache);
        assert_eq!(BundleCache::open(Some(directory.path())).unwrap().current(), None);
        fs::remove_file(directory.path().join(LINK)).unwrap();
        fs::create_dir(directory.path().join(LINK)).unwrap();
        assert!(
            BundleCache::open(Some(directory.path())).unwrap_err().to_string().ends_with("is not a link")
        );
    }
}
