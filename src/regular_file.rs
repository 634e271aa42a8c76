//! Small files of secrets and certificates, read without a chance to hang: a pipe or a device would hold up all
//! who wait for them.
//!
//! The sources of credentials come here before they read, `listener/tls.rs` for a server's certificate and
//! `tls/client_identity.rs` for ours.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::Path,
};

use crate::open_files::exhausted::noted;

/// No key or token is as long.
const LONGEST_SECRET: u64 = 64 << 10;
/// No file of profiles: some companies generate thousands of them.
const LONGEST_PROFILES: u64 = 4 << 20;
/// No certificate with its chain, nor a bundle of authorities.
const LONGEST_CERTIFICATES: u64 = 4 << 20;

/// Reads a secret.
pub fn read(path: &Path) -> io::Result<String> {
    check_within(path, LONGEST_SECRET)?;
    noted(fs::read_to_string(path))
}

/// Reads a file of profiles. The null device is an empty one: that is how the SDKs are told that there is none.
pub fn read_profiles(path: &Path) -> io::Result<Vec<u8>> {
    if is_null_device(path) {
        return Ok(Vec::new());
    }
    check_within(path, LONGEST_PROFILES)?;
    noted(fs::read(path))
}

/// Whatever name leads to it.
fn is_null_device(path: &Path) -> bool {
    let device = |path| {
        let metadata = fs::metadata(path).ok()?;
        metadata.file_type().is_char_device().then(|| metadata.rdev())
    };
    device(path).is_some_and(|found| device(Path::new("/dev/null")) == Some(found))
}

/// Reads certificates.
pub fn read_certificates(path: &Path) -> io::Result<Vec<u8>> {
    check_within(path, LONGEST_CERTIFICATES)?;
    noted(fs::read(path))
}

fn check_within(path: &Path, limit: u64) -> io::Result<()> {
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    if metadata.len() > limit {
        return Err(io::Error::other(format!("longer than {limit} bytes")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_small_regular_file_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(read(directory.path()).unwrap_err().to_string(), "not a regular file");
        assert_eq!(read(Path::new("/dev/zero")).unwrap_err().to_string(), "not a regular file");
        assert!(read_certificates(Path::new("/dev/zero")).is_err());
        let long = directory.path().join("long");
        fs::write(&long, vec![b'x'; 70_000]).unwrap();
        assert_eq!(read(&long).unwrap_err().to_string(), "longer than 65536 bytes");
        assert_eq!(read_certificates(&long).unwrap().len(), 70_000);
        assert_eq!(read_profiles(&long).unwrap().len(), 70_000);
        assert_eq!(read_profiles(Path::new("/dev/null")).unwrap(), b"");
        assert!(read_profiles(Path::new("/dev/zero")).is_err());
        fs::write(&long, "key").unwrap();
        assert_eq!(read(&long).unwrap(), "key");
    }
}
