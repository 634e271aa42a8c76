//! Reads files that settings name, without hanging and with bounded memory: only regular files, up to a size
//! limit for each kind. A pipe would wait for its writer, and a device may never end.
//!
//! Settings, secrets and credentials are read here, and certificates for `tls`. `credentials/sdk_files.rs`
//! checks here the files that the SDK opens itself. `detached.rs` isolates reads on a file system that hangs.

use std::{
    fs,
    io::{self, Read as _},
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::Path,
};

use rustix::fs::{Mode, OFlags};

use crate::system::exhausted::noted;

/// Keys and tokens are shorter.
const MAX_SECRET: u64 = 64 << 10;
/// Files of profiles are smaller, also those generated with thousands of profiles.
const MAX_PROFILES: u64 = 4 << 20;
/// Chains of certificates and bundles of authorities are smaller.
const MAX_CERTIFICATES: u64 = 4 << 20;
/// A route with every key, a certificate and comments has a tenth of this. The YAML parser keeps a list in
/// brackets as tokens until the list ends, of a hundred times its bytes.
pub const MAX_SETTINGS: u64 = 256 << 10;

/// A file of another program in the place of settings, of which only the program is named.
const MAX_FOREIGN: u64 = 2 << 20;

/// Reads a secret.
pub fn read(path: &Path) -> io::Result<String> {
    text(read_within(path, MAX_SECRET)?)
}

/// Reads a file of profiles. The null device counts as an empty file: `AWS_CONFIG_FILE=/dev/null` disables
/// the file in the SDKs.
pub fn read_profiles(path: &Path) -> io::Result<Vec<u8>> {
    if is_null_device(path) {
        return Ok(Vec::new());
    }
    read_within(path, MAX_PROFILES)
}

/// True for every path that leads to the null device.
fn is_null_device(path: &Path) -> bool {
    let device = |path| {
        let metadata = fs::metadata(path).ok()?;
        metadata.file_type().is_char_device().then(|| metadata.rdev())
    };
    device(path).is_some_and(|found| device(Path::new("/dev/null")) == Some(found))
}

/// Refuses a file that would block a library that opens it itself. Another file may still replace it before
/// the library opens it.
pub fn check(path: &Path) -> io::Result<()> {
    check_within(&fs::metadata(path)?, MAX_PROFILES)
}

pub fn read_certificates(path: &Path) -> io::Result<Vec<u8>> {
    read_within(path, MAX_CERTIFICATES)
}

/// Reads a file of the settings.
pub fn read_settings(path: &Path) -> io::Result<String> {
    text(read_within(path, MAX_SETTINGS)?)
}

/// Reads a file that may be another program's.
pub fn read_foreign(path: &Path) -> io::Result<String> {
    text(read_within(path, MAX_FOREIGN)?)
}

/// Reads the first `most` bytes of a file, or all of a shorter one.
pub fn read_beginning(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    opened(path, u64::MAX)?.0.take(most).read_to_end(&mut content)?;
    Ok(content)
}

fn text(content: Vec<u8>) -> io::Result<String> {
    String::from_utf8(content).map_err(|_| io::Error::other("not UTF-8 text"))
}

fn check_within(metadata: &fs::Metadata, limit: u64) -> io::Result<()> {
    if !metadata.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    if metadata.len() > limit {
        return Err(too_long(limit));
    }
    Ok(())
}

fn read_within(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let (file, length) = opened(path, limit)?;
    // files of the kernel report no length, and others grow
    let mut content = Vec::with_capacity(usize::try_from(length).unwrap_or(0) + 1);
    file.take(limit.saturating_add(1)).read_to_end(&mut content)?;
    if content.len() as u64 > limit { Err(too_long(limit)) } else { Ok(content) }
}

/// An open file and its length.
fn opened(path: &Path, limit: u64) -> io::Result<(fs::File, u64)> {
    // checked before it is opened, which has side effects on some devices
    check_within(&fs::metadata(path)?, limit)?;
    // checked again: another file may have replaced it; a pipe is opened without waiting and then refused
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    let file = fs::File::from(noted(rustix::fs::open(path, flags, Mode::empty()).map_err(io::Error::from))?);
    let metadata = file.metadata()?;
    check_within(&metadata, limit)?;
    Ok((file, metadata.len()))
}

fn too_long(limit: u64) -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, format!("longer than {limit} bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_small_regular_files_are_read() {
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
        fs::write(&long, b"\xff").unwrap();
        assert_eq!(read_settings(&long).unwrap_err().to_string(), "not UTF-8 text");
    }

    #[test]
    fn x6_a_pipe_is_refused_without_waiting() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        assert_eq!(check(&pipe).unwrap_err().to_string(), "not a regular file");
        assert_eq!(check(Path::new("/dev/zero")).unwrap_err().to_string(), "not a regular file");
        assert_eq!(read_settings(&pipe).unwrap_err().to_string(), "not a regular file");
    }

    /// The kernel reports a length of 0 for such a file.
    #[cfg(target_os = "linux")]
    #[test]
    fn x6_a_file_without_a_length_is_read_up_to_its_limit() {
        assert!(!read_settings(Path::new("/proc/self/stat")).unwrap().is_empty());
        let error = read_within(Path::new("/proc/self/stat"), 3).unwrap_err();
        assert_eq!(error.to_string(), "longer than 3 bytes");
    }
}
