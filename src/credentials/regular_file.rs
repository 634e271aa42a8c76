//! Small files of secrets, read without a chance to hang: a pipe or a device would hold up every source.
//!
//! `mounted.rs`, `sts.rs`, `shared_files.rs` and `tls/client_identity.rs` come here before they read.

use std::{fs, io, path::Path};

/// No key or token is as long.
const LONGEST: u64 = 64 << 10;

/// Makes sure that it is a regular file of a sensible size.
pub fn check(path: &Path) -> io::Result<()> {
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    if metadata.len() > LONGEST {
        return Err(io::Error::other(format!("longer than {LONGEST} bytes")));
    }
    Ok(())
}

/// Reads it.
pub fn read(path: &Path) -> io::Result<String> {
    check(path)?;
    fs::read_to_string(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_small_regular_file_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(read(directory.path()).unwrap_err().to_string(), "not a regular file");
        assert_eq!(read(Path::new("/dev/zero")).unwrap_err().to_string(), "not a regular file");
        let long = directory.path().join("long");
        fs::write(&long, vec![b'x'; 70_000]).unwrap();
        assert_eq!(read(&long).unwrap_err().to_string(), "longer than 65536 bytes");
        fs::write(&long, "key").unwrap();
        assert_eq!(read(&long).unwrap(), "key");
    }
}
