//! Unpacking of a bundle: a tar archive, optionally compressed by gzip.
//!
//! The archive is not trusted. Its size, the number of its entries and the time are limited; names must not
//! lead out of the bundle; devices, pipes, hard links and sparse files are refused. The `tar` crate accepts
//! an archive that ends without its two end blocks, and so a truncated one: [`unpack`] demands them.
//! Permissions, owners and times of the archive are ignored.

use std::{
    fs::{self, OpenOptions},
    io::{self, Read, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, symlink},
    path::{Component, Path, PathBuf},
    time::{Duration, Instant},
};

use flate2::bufread::MultiGzDecoder;
use tar::{Archive, Entry, EntryType};

use crate::text::{log_safe::log_safe, units::size_text};

/// The most bytes of an archive as it is fetched: thousands of routes have less than 1 MiB.
pub(super) const MAX_ARCHIVE: usize = 16 << 20;
/// The most bytes of an archive without compression.
const MAX_UNPACKED: u64 = 64 << 20;
/// The most entries: a file for each route of a large gateway, and as many certificates.
const MAX_ENTRIES: usize = 20_000;
/// The most directories above a file.
const MAX_DEPTH: usize = 16;
/// The most characters of a name in an error.
const QUOTED: usize = 100;
const MAX_TIME: Duration = Duration::from_secs(20);

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const BLOCK: u64 = 512;
/// The beginning of keys of sparse files in extended headers (GNU tar manual, "Storing Sparse Files").
const SPARSE_KEYS: &[u8] = b"GNU.sparse.";
/// Readable by the owner alone, since bundles may contain keys.
const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;

/// The reason why an archive is not a bundle.
#[derive(Debug, thiserror::Error)]
pub(super) enum ArchiveError {
    /// Unpacking the same bytes again gives the same error.
    #[error("the bundle is refused: {0}")]
    Refused(String),
    /// The disk is full, or this machine is slow.
    #[error("cannot unpack the bundle: {0}")]
    Failed(io::Error),
}

/// Unpacks an archive into an empty directory. `cache.rs` flushes it to the disk.
///
/// # Errors
/// The archive is no complete tar archive, it exceeds a limit, an entry is not allowed, or the disk is full.
pub(super) fn unpack(archive: &[u8], into: &Path) -> Result<(), ArchiveError> {
    let is_gzip = archive.starts_with(&GZIP_MAGIC);
    let tar: Box<dyn Read + '_> =
        if is_gzip { Box::new(MultiGzDecoder::new(archive)) } else { Box::new(archive) };
    let reader = LimitedReader { inner: tar, left: MAX_UNPACKED, until: Instant::now() + MAX_TIME };
    let mut unpacking = Unpacking { into, links: Vec::new() };
    let rest = unpacking.entries(reader).and_then(check_end);
    rest.map_err(|error| match error {
        ArchiveError::Refused(reason) if !is_gzip && !looks_like_tar(archive) => {
            ArchiveError::Refused(format!("neither gzip nor tar ({reason})"))
        }
        error => error,
    })?;
    unpacking.create_links()
}

/// The magic of POSIX and GNU archives.
fn looks_like_tar(archive: &[u8]) -> bool {
    archive.get(257..262) == Some(b"ustar")
}

fn refused(reason: impl Into<String>) -> ArchiveError {
    ArchiveError::Refused(reason.into())
}

/// A read error of the archive, which is in memory: its compression or its headers are wrong, or the time is
/// over.
fn unreadable(error: &io::Error) -> ArchiveError {
    match error.kind() {
        io::ErrorKind::TimedOut => {
            ArchiveError::Failed(io::Error::other(format!("not done within {MAX_TIME:?}")))
        }
        _ => match error.to_string() {
            // the text quotes the header, which in a file that is no archive may be a secret
            text if text.contains(" when getting ") => refused("the header of an entry is malformed"),
            text => refused(log_safe(&text, QUOTED)),
        },
    }
}

/// Limits bytes and time.
struct LimitedReader<'a> {
    inner: Box<dyn Read + 'a>,
    left: u64,
    until: Instant,
}

impl Read for LimitedReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if Instant::now() > self.until {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let read = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(read as u64).ok_or_else(|| io::Error::other(too_large()))?;
        Ok(read)
    }
}

fn too_large() -> String {
    format!("more than {} without compression", size_text(MAX_UNPACKED))
}

/// Demands what remains behind the last entry: the second end block, and nothing but zeros.
fn check_end(mut reader: LimitedReader<'_>) -> Result<(), ArchiveError> {
    let (mut total, mut piece) = (0, [0; 8192]);
    loop {
        let read = reader.read(&mut piece).map_err(|error| unreadable(&error))?;
        if read == 0 {
            break;
        }
        total += read as u64;
        if piece[..read].iter().any(|byte| *byte != 0) {
            return Err(refused("there is data behind the end of the tar archive"));
        }
    }
    if total < BLOCK || total % BLOCK != 0 {
        return Err(refused("the tar archive is truncated: its two end blocks are missing"));
    }
    Ok(())
}

struct Unpacking<'a> {
    into: &'a Path,
    /// Symbolic links and their targets, which are created last: nothing is written through a link.
    links: Vec<(PathBuf, PathBuf)>,
}

impl Unpacking<'_> {
    /// Unpacks all entries, and returns the reader behind the first end block.
    fn entries<'r>(&mut self, reader: LimitedReader<'r>) -> Result<LimitedReader<'r>, ArchiveError> {
        let mut archive = Archive::new(reader);
        for (count, entry) in archive.entries().map_err(|error| unreadable(&error))?.enumerate() {
            if count == MAX_ENTRIES {
                return Err(refused(format!("more than {MAX_ENTRIES} entries")));
            }
            self.entry(&mut entry.map_err(|error| unreadable(&error))?)?;
        }
        Ok(archive.into_inner())
    }

    fn entry(&mut self, entry: &mut Entry<'_, LimitedReader<'_>>) -> Result<(), ArchiveError> {
        let kind = entry.header().entry_type();
        // `git archive` writes one with the commit
        if kind == EntryType::XGlobalHeader {
            return Ok(());
        }
        let name = entry.path_bytes().into_owned();
        let name = str::from_utf8(&name).map_err(|_| refused("the name of an entry is not UTF-8"))?;
        let shown = log_safe(name, QUOTED);
        refuse_sparse(entry, &shown)?;
        let path = inside(name).ok_or_else(|| refused(format!("`{shown}` leads out of the bundle")))?;
        if path.components().count() > MAX_DEPTH {
            return Err(refused(format!("`{shown}` is below more than {MAX_DEPTH} directories")));
        }
        if kind != EntryType::Directory && path.as_os_str().is_empty() {
            return Err(refused("an entry that is no directory has no name"));
        }
        match kind {
            EntryType::Directory => self.directory(&path),
            EntryType::Regular | EntryType::Continuous => self.file(&path, &shown, entry),
            EntryType::Symlink => {
                let target = entry.link_name_bytes().unwrap_or_default().into_owned();
                let target = String::from_utf8(target);
                let target = target.map_err(|_| refused("the target of a link is not UTF-8"))?;
                self.links.push((path, PathBuf::from(target)));
                Ok(())
            }
            EntryType::Link => Err(refused(format!("`{shown}` is a hard link"))),
            EntryType::GNUSparse => Err(refused(format!("`{shown}` is a sparse file"))),
            _ => Err(refused(format!("`{shown}` is neither a file, a directory nor a symbolic link"))),
        }
    }

    /// Creates a directory and those above it. None of them may be a link: it may lead out.
    fn directory(&self, path: &Path) -> Result<(), ArchiveError> {
        let mut at = self.into.to_owned();
        for part in path.components() {
            at.push(part);
            match fs::DirBuilder::new().mode(DIRECTORY_MODE).create(&at) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && is_directory(&at) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    return Err(refused(twice(path)));
                }
                Err(error) => return Err(named(&error, path)),
            }
        }
        Ok(())
    }

    fn file(
        &self,
        path: &Path,
        shown: &str,
        entry: &mut Entry<'_, LimitedReader<'_>>,
    ) -> Result<(), ArchiveError> {
        if entry.size() > MAX_UNPACKED {
            return Err(refused(format!("`{shown}`: {}", too_large())));
        }
        self.directory(path.parent().unwrap_or(Path::new("")))?;
        let mut options = OpenOptions::new();
        let opened = options.write(true).create_new(true).mode(FILE_MODE).open(self.into.join(path));
        let mut file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(refused(twice(path))),
            Err(error) => return Err(named(&error, path)),
        };
        let (mut piece, mut written) = ([0; 16 << 10], 0);
        loop {
            let read = entry.read(&mut piece).map_err(|error| unreadable(&error))?;
            if read == 0 {
                break;
            }
            file.write_all(&piece[..read]).map_err(ArchiveError::Failed)?;
            written += read as u64;
        }
        if written != entry.size() {
            return Err(refused(format!("the tar archive is truncated in `{shown}`")));
        }
        Ok(())
    }

    /// Creates the links, whose targets must exist inside the bundle.
    fn create_links(&mut self) -> Result<(), ArchiveError> {
        for (path, target) in std::mem::take(&mut self.links) {
            self.directory(path.parent().unwrap_or(Path::new("")))?;
            symlink(&target, self.into.join(&path)).map_err(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => refused(twice(&path)),
                _ => named(&error, &path),
            })?;
            self.links.push((path, target));
        }
        let root = self.into.canonicalize().map_err(ArchiveError::Failed)?;
        for (path, _) in &self.links {
            // follows all links, so that no chain of them leads out
            let leads_inside =
                self.into.join(path).canonicalize().is_ok_and(|found| found.starts_with(&root));
            if !leads_inside {
                let shown = log_safe(&path.to_string_lossy(), QUOTED);
                return Err(refused(format!("the link `{shown}` leads out of the bundle or nowhere")));
            }
        }
        Ok(())
    }
}

/// True for a directory itself, false for a link to one.
fn is_directory(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_dir())
}

/// Refuses the sparse files of GNU tar in POSIX archives, which the `tar` crate takes for ordinary ones.
fn refuse_sparse(entry: &mut Entry<'_, LimitedReader<'_>>, shown: &str) -> Result<(), ArchiveError> {
    let extensions = entry.pax_extensions().map_err(|error| unreadable(&error))?;
    // values with line ends, such as extended attributes of macOS, are no records to the `tar` crate
    let mut records = extensions.into_iter().flatten().flatten();
    if records.any(|record| record.key_bytes().starts_with(SPARSE_KEYS)) {
        return Err(refused(format!("`{shown}` is a sparse file")));
    }
    Ok(())
}

/// The path of an entry inside the bundle; `None` if it is absolute or contains `..`.
fn inside(name: &str) -> Option<PathBuf> {
    let mut path = PathBuf::new();
    for part in Path::new(name).components() {
        match part {
            Component::Normal(part) => path.push(part),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(path)
}

fn twice(path: &Path) -> String {
    format!("`{}` is there twice", log_safe(&path.to_string_lossy(), QUOTED))
}

/// An error of writing; a name that the file system does not take is the archive's mistake.
fn named(error: &io::Error, path: &Path) -> ArchiveError {
    let shown = log_safe(&path.to_string_lossy(), QUOTED);
    match error.kind() {
        io::ErrorKind::InvalidFilename | io::ErrorKind::InvalidInput | io::ErrorKind::NotADirectory => {
            refused(format!("`{shown}`: {error}"))
        }
        kind => ArchiveError::Failed(io::Error::new(kind, format!("`{shown}`: {error}"))),
    }
}

#[cfg(test)]
mod tests;
