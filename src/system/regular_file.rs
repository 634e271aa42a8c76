//! Files that the settings lead to, read without a chance to hang or to fill the memory: only regular files, and no
//! more of each than fits its kind. A pipe would wait for its writer, and a device may never end.
//!
//! `settings/source/document.rs` reads the settings here and `settings/source/reference.rs` what they refer to, the
//! sources of credentials come here before they or the SDK read (`credentials/sdk_files.rs`), `tls/server.rs` for a
//! server's certificate and `tls/client_identity.rs` for ours. `detached.rs` keeps a file system that hangs away
//! from the end of the process.

use std::{
    fs,
    io::{self, Read as _},
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::Path,
};

use rustix::fs::{Mode, OFlags};

use crate::system::exhausted::noted;

/// No key or token is as long.
const LONGEST_SECRET: u64 = 64 << 10;
/// No file of profiles: some companies generate thousands of them.
const LONGEST_PROFILES: u64 = 4 << 20;
/// No certificate with its chain, nor a bundle of authorities.
const LONGEST_CERTIFICATES: u64 = 4 << 20;
/// A route with every key, a certificate and comments has a tenth of it. The YAML parser keeps a list in
/// brackets as tokens until the list ends, of a hundred times its bytes.
pub const LONGEST_SETTINGS: u64 = 256 << 10;

/// Reads a secret.
pub fn read(path: &Path) -> io::Result<String> {
    text(read_within(path, LONGEST_SECRET)?)
}

/// Reads a file of profiles. The null device is an empty one: that is how the SDKs are told that there is none.
pub fn read_profiles(path: &Path) -> io::Result<Vec<u8>> {
    if is_null_device(path) {
        return Ok(Vec::new());
    }
    read_within(path, LONGEST_PROFILES)
}

/// Whatever name leads to it.
fn is_null_device(path: &Path) -> bool {
    let device = |path| {
        let metadata = fs::metadata(path).ok()?;
        metadata.file_type().is_char_device().then(|| metadata.rdev())
    };
    device(path).is_some_and(|found| device(Path::new("/dev/null")) == Some(found))
}

/// Refuses what would hold up a library that opens the file by itself. Another file may still take its place
/// before the library opens it.
pub fn check(path: &Path) -> io::Result<()> {
    check_within(&fs::metadata(path)?, LONGEST_PROFILES)
}

pub fn read_certificates(path: &Path) -> io::Result<Vec<u8>> {
    read_within(path, LONGEST_CERTIFICATES)
}

/// Reads a file of the settings.
pub fn read_settings(path: &Path) -> io::Result<String> {
    text(read_within(path, LONGEST_SETTINGS)?)
}

/// Reads the first bytes of a file, as many as `most`.
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
    // files of the kernel's have no length, and others grow
    let mut content = Vec::with_capacity(usize::try_from(length).unwrap_or(0) + 1);
    file.take(limit.saturating_add(1)).read_to_end(&mut content)?;
    if content.len() as u64 > limit { Err(too_long(limit)) } else { Ok(content) }
}

/// An open file and its length.
fn opened(path: &Path, limit: u64) -> io::Result<(fs::File, u64)> {
    // before it is opened, which makes some devices act
    check_within(&fs::metadata(path)?, limit)?;
    // another file may have taken its place since: a pipe is opened at once, and is none that is read
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    let file = fs::File::from(noted(rustix::fs::open(path, flags, Mode::empty()).map_err(io::Error::from))?);
    let metadata = file.metadata()?;
    check_within(&metadata, limit)?;
    Ok((file, metadata.len()))
}

fn too_long(limit: u64) -> io::Error {
    io::Error::other(format!("longer than {limit} bytes"))
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
        fs::write(&long, b"\xff").unwrap();
        assert_eq!(read_settings(&long).unwrap_err().to_string(), "not UTF-8 text");
    }

    #[test]
    fn x6_a_pipe_is_not_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        assert_eq!(check(&pipe).unwrap_err().to_string(), "not a regular file");
        assert_eq!(check(Path::new("/dev/zero")).unwrap_err().to_string(), "not a regular file");
        assert_eq!(read_settings(&pipe).unwrap_err().to_string(), "not a regular file");
    }

    /// The kernel says that such a file has no bytes, and gives some.
    #[cfg(target_os = "linux")]
    #[test]
    fn x6_a_file_without_a_length_is_read_up_to_its_limit() {
        assert!(!read_settings(Path::new("/proc/self/stat")).unwrap().is_empty());
        let error = read_within(Path::new("/proc/self/stat"), 3).unwrap_err();
        assert_eq!(error.to_string(), "longer than 3 bytes");
    }
}
