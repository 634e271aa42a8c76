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
};

/// The stamp of each file; `None` for a file that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stamps(Vec<(PathBuf, Option<Stamp>)>);

/// Device and inode, length, and the times of change in seconds and nanoseconds. Links are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamps {
    pub fn of(files: impl IntoIterator<Item = PathBuf>) -> Self {
        let look = |path: PathBuf| {
            let stamp = stamp(&path);
            (path, stamp)
        };
        Self(files.into_iter().map(look).collect())
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(path).ok()?;
    Some(Stamp {
        file: (metadata.dev(), metadata.ino()),
        length: metadata.len(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
    })
}
