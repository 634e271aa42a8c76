//! The files whose change is a change of the settings.
//!
//! `state/reload.rs` looks at them again and again.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::system::{exhausted::noted, file_stamps::Stamps};

/// Looks at the settings in `directory` and at the other `files` that they lead to.
pub fn stamps(directory: &Path, files: &[PathBuf]) -> Stamps {
    let routes = directory.join("routes");
    let entries = noted(fs::read_dir(&routes)).into_iter().flatten().filter_map(Result::ok);
    // a directory's own time changes with every name in it
    let mut paths = vec![directory.to_owned(), directory.join("default.yaml")];
    paths.extend(entries.map(|entry| entry.path()));
    paths.push(routes);
    paths.extend_from_slice(files);
    paths.sort();
    Stamps::of(paths)
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
        let look = || stamps(at, std::slice::from_ref(&other));
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
