//! The files whose change is a change of the settings, and a digest of their stamps that changes with them.
//!
//! `state/reload.rs` compares digests. The stamps themselves are not kept: there may be thousands of files.

use std::{
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::{Path, PathBuf},
};

use crate::system::{exhausted::noted, file_stamps::Stamp};

/// A digest of the stamps of the settings in `directory` and of the other `files` that they lead to. The order of the
/// files plays no part.
pub fn digest(directory: &Path, files: &[PathBuf]) -> u64 {
    let routes = directory.join("routes");
    let entries = noted(fs::read_dir(&routes)).into_iter().flatten().filter_map(Result::ok);
    let in_routes = entries.map(|entry| of_file(&entry.path()));
    // a directory's own time changes with every name in it
    let others = [of_file(directory), of_file(&directory.join("default.yaml")), of_file(&routes)];
    let files = files.iter().map(|file| of_file(file));
    in_routes.chain(others).chain(files).fold(0, u64::wrapping_add)
}

fn of_file(path: &Path) -> u64 {
    let mut hasher = DefaultHasher::new();
    path.as_os_str().hash(&mut hasher);
    Stamp::of(path).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_is_seen_and_other_files_beside_the_settings_are_ignored() {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        fs::create_dir(at.join("routes")).unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let other = elsewhere.path().join("secret");
        let look = || digest(at, std::slice::from_ref(&other));
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
