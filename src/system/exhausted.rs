//! Errors that say that no more files can be opened, told apart from every other failure.
//!
//! A file of the settings that cannot be read for this reason is not a mistake of the operator's: `state/reload.rs`
//! and `tls/server.rs` watch for it while they read. `client/dial.rs` and `listener/accept.rs` answer 503
//! then.

use std::{cell::Cell, fs::File, io};

use rustix::io::Errno;

/// Whose limit of open files is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Exhausted {
    /// That of the process (EMFILE).
    #[error(
        "too many open files in this process: raise its limit (`ulimit -n`, LimitNOFILE of \
         systemd), or lower limits.max_connections and limits.max_in_flight"
    )]
    Process,
    /// That of the machine (ENFILE).
    #[error("too many open files on this machine: raise fs.file-max")]
    System,
}

thread_local! {
    /// The last failure of this kind since [`watch`] began. The layers between the reading of a file and the
    /// decision about a reload turn errors into text, each with its own words.
    static NOTED: Cell<Option<Exhausted>> = const { Cell::new(None) };
}

impl Exhausted {
    /// The limit that is behind an error.
    pub fn in_error(error: &io::Error) -> Option<Self> {
        match Errno::from_io_error(error)? {
            Errno::MFILE => Some(Self::Process),
            Errno::NFILE => Some(Self::System),
            _ => None,
        }
    }

    /// The limit that is reached at this moment. The resolver of the C library reports it as a failure to
    /// resolve.
    pub fn now() -> Option<Self> {
        spare().err().as_ref().and_then(Self::in_error)
    }
}

/// A descriptor that is kept to be closed when there is none left.
///
/// # Errors
/// There is none.
pub fn spare() -> io::Result<File> {
    File::open("/dev/null")
}

/// Passes the result of opening a file on, and notes where that failed for lack of descriptors.
///
/// # Errors
/// The one that is passed on.
pub fn noted<T>(result: io::Result<T>) -> io::Result<T> {
    result.inspect_err(|error| {
        note(error);
    })
}

/// Notes an error if it means a lack of descriptors; whether it does.
pub fn note(error: &io::Error) -> bool {
    let exhausted = Exhausted::in_error(error);
    if exhausted.is_some() {
        NOTED.set(exhausted);
    }
    exhausted.is_some()
}

/// Runs `read`, whose result says nothing if a file could not be opened meanwhile for lack of descriptors.
///
/// # Errors
/// There was such a file.
pub fn watch<T>(read: impl FnOnce() -> T) -> Result<T, Exhausted> {
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
    fn c9_a_lack_of_descriptors_is_told_apart_from_other_failures() {
        assert_eq!(Exhausted::in_error(&error(Errno::MFILE)), Some(Exhausted::Process));
        assert_eq!(Exhausted::in_error(&error(Errno::NFILE)), Some(Exhausted::System));
        assert_eq!(Exhausted::in_error(&error(Errno::NOENT)), None);
        assert_eq!(Exhausted::in_error(&io::Error::other("x")), None);
        assert_eq!(Exhausted::now(), None);
    }

    #[test]
    fn c9_what_was_read_without_descriptors_counts_for_nothing() {
        let read = |errno| watch(|| noted::<()>(Err(error(errno))).is_err());
        assert_eq!(read(Errno::MFILE), Err(Exhausted::Process));
        assert_eq!(read(Errno::NOENT), Ok(true));
        assert_eq!(watch(|| noted(Ok(1)).unwrap()), Ok(1));
        assert_eq!(read(Errno::NFILE), Err(Exhausted::System));
    }
}
