//! Detects changed files by their metadata.
//!
//! Two [`Stamps`] that differ mean a change. `state/reload.rs` compares those of the settings,
//! `credentials/refresher.rs` those of keys, `tls/server.rs` those of certificates. The `notify` crate does
//! not fit: its polling watcher detects changes within one second only by reading every file of the
//! directory, and the kernel's events miss a `ConfigMap`, which changes by a link, and many network file
//! systems.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Two changes within this time may have the same stamp, depending on the file system.
const GRANULARITY: Duration = Duration::from_secs(2);

/// The stamp of each file; `None` for a file that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stamps(Vec<(PathBuf, Option<Stamp>)>);

/// Device and inode, length, and the times of change in seconds and nanoseconds. Links are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stamp {
    file: (u64, u64),
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamps {
    pub fn of(files: impl IntoIterator<Item = PathBuf>) -> Self {
        let look = |path: PathBuf| {
            let stamp = Stamp::of(&path);
            (path, stamp)
        };
        Self(files.into_iter().map(look).collect())
    }
}

impl Stamp {
    pub fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self {
            file: (metadata.dev(), metadata.ino()),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }

    /// Whether a change after `now` would give another stamp.
    pub fn is_settled(&self, now: SystemTime) -> bool {
        let changed = Duration::from_secs(u64::try_from(self.changed.0).unwrap_or(0));
        UNIX_EPOCH.checked_add(changed + GRANULARITY).is_some_and(|settled_at| settled_at < now)
    }
}
