//! When the files of the settings were last changed, as far as the file system tells without a look into them.
//!
//! `state/reload.rs` compares two of these. The `notify` crate would do it too, but its watcher that polls tells changes within
//! a second apart only by reading everything in the directory, whatever else lies there, and the kernel's own events tell
//! nothing of a `ConfigMap`, which changes by a link, nor of many network file systems.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use crate::system::exhausted::noted;

/// What the file system says of each file; none of those that are not there.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// Looks at the settings in `directory` and at the other `files` that they lead to.
    pub fn of(directory: &Path, files: &[PathBuf]) -> Self {
        let routes = directory.join("routes");
        let entries = noted(fs::read_dir(&routes)).into_iter().flatten().filter_map(Result::ok);
        // a directory's own time changes with every name in it
        let mut paths = vec![directory.to_owned(), directory.join("default.yaml")];
        paths.extend(entries.map(|entry| entry.path()));
        paths.push(routes);
        paths.extend_from_slice(files);
        paths.sort();
        let look = |path: PathBuf| {
            let stamp = stamp(&path);
            (path, stamp)
        };
        Self(paths.into_iter().map(look).collect())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_is_seen_and_what_grows_beside_the_settings_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        fs::create_dir(at.join("routes")).unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let other = elsewhere.path().join("secret");
        let look = || Stamps::of(at, std::slice::from_ref(&other));
        let mut last = look();
        let mut changes = |what: &str| {
            assert_ne!(look(), last, "{what}");
            last = look();
        };
        fs::write(at.join("default.yaml"), "a").unwrap();
        changes("a file appears");
        fs::write(at.join("default.yaml"), "b").unwrap();
        changes("a file of the same length");
        fs::write(at.join("routes/r.yaml"), "").unwrap();
        changes("a route");
        fs::write(&other, "x").unwrap();
        changes("a file that the settings lead to");
        fs::remove_file(at.join("routes/r.yaml")).unwrap();
        changes("a route goes");
        fs::write(at.join("log"), "x").unwrap();
        changes("a name appears");
        fs::write(at.join("log"), "y".repeat(100)).unwrap();
        assert_eq!(look(), last);
    }
}
