//! Detects that no more files can be opened (EMFILE, ENFILE).
//!
//! A settings file that cannot be read for this reason is not a mistake in the settings: `state/reload.rs`
//! and `tls/server.rs` watch for it while they read. `client/dial.rs` and `listener/accept.rs` answer 503.

use std::{cell::Cell, fs::File, io};

use rustix::io::Errno;

/// The limit of open files that is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FileLimit {
    /// EMFILE
    #[error(
        "too many open files in this process: raise its limit (`ulimit -n`, LimitNOFILE of \
         systemd), or lower limits.max_connections and limits.max_in_flight"
    )]
    Process,
    /// ENFILE
    #[error("too many open files on this machine: raise fs.file-max")]
    System,
}

thread_local! {
    /// The last failure of this kind since [`watch`] began. The layers between reading a file and deciding
    /// about a reload convert errors to text.
    static NOTED: Cell<Option<FileLimit>> = const { Cell::new(None) };
}

impl FileLimit {
    /// The limit that caused an error.
    pub fn in_error(error: &io::Error) -> Option<Self> {
        match Errno::from_io_error(error)? {
            Errno::MFILE => Some(Self::Process),
            Errno::NFILE => Some(Self::System),
            _ => None,
        }
    }

    /// The limit that is reached now. The resolver of the C library reports it as a failure to resolve.
    pub fn now() -> Option<Self> {
        spare().err().as_ref().and_then(Self::in_error)
    }
}

/// Opens a descriptor that is closed later to free one.
///
/// # Errors
/// No more files can be opened.
pub fn spare() -> io::Result<File> {
    File::open("/dev/null")
}

/// Records the error of opening a file if no more files can be opened, and returns the result.
///
/// # Errors
/// The error of `result`.
pub fn noted<T>(result: io::Result<T>) -> io::Result<T> {
    result.inspect_err(|error| {
        note(error);
    })
}

/// Records an error if no more files can be opened; true if that is its cause.
pub fn note(error: &io::Error) -> bool {
    let exhausted = FileLimit::in_error(error);
    if exhausted.is_some() {
        NOTED.set(exhausted);
    }
    exhausted.is_some()
}

/// Runs `read`. Its result is discarded if a file could not be opened because no more files can be opened.
///
/// # Errors
/// The limit that was reached meanwhile.
pub fn watch<T>(read: impl FnOnce() -> T) -> Result<T, FileLimit> {
    NOTED.set(None);
    let result = read();
    NOTED.take().map_or(Ok(result), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(errno: Errno) -> io::Error {
        io::Error::from_raw_os_error(errno.raw_os_error())
    }

    #[test]
    fn c9_a_lack_of_descriptors_differs_from_other_failures() {
        assert_eq!(FileLimit::in_error(&error(Errno::MFILE)), Some(FileLimit::Process));
        assert_eq!(FileLimit::in_error(&error(Errno::NFILE)), Some(FileLimit::System));
        assert_eq!(FileLimit::in_error(&error(Errno::NOENT)), None);
        assert_eq!(FileLimit::in_error(&io::Error::other("x")), None);
        assert_eq!(FileLimit::now(), None);
    }

    #[test]
    fn c9_a_result_without_descriptors_is_discarded() {
        let read = |errno| watch(|| noted::<()>(Err(error(errno))).is_err());
        assert_eq!(read(Errno::MFILE), Err(FileLimit::Process));
        assert_eq!(read(Errno::NOENT), Ok(true));
        assert_eq!(watch(|| noted(Ok(1)).unwrap()), Ok(1));
        assert_eq!(read(Errno::NFILE), Err(FileLimit::System));
    }
}
