//! When files were last changed, as far as the file system tells without a look into them.
//!
//! Two [`Stamps`] that differ mean a change. `state/reload.rs` compares those of the settings,
//! `credentials/refresher.rs` those of keys, `tls/server.rs` those of certificates for clients. The `notify` crate
//! would do it too, but its watcher that polls tells changes within a second apart only by reading everything in the
//! directory, whatever else lies there, and the kernel's own events tell nothing of a `ConfigMap`, which changes by a
//! link, nor of many network file systems.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// The stamp of each file; `None` for a file that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stamps(Vec<(PathBuf, Option<Stamp>)>);

/// Which file it is, how long, and when it and its entry changed, in nanoseconds. Links are followed.
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
