use std::{io::Write as _, os::unix::fs::PermissionsExt as _};

use flate2::{Compression, write::GzEncoder};
use proptest::prelude::*;
use tar::{Builder, Header};

use super::*;

fn header(kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o777);
    header
}

/// An archive whose names are written as they are, which `Builder` refuses for some.
fn archive(entries: &[(&str, EntryType, &str)]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (name, kind, content) in entries {
        let is_link = matches!(kind, EntryType::Symlink | EntryType::Link);
        let size = if is_link { 0 } else { content.len() as u64 };
        let mut header = header(*kind, size);
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        if is_link {
            header.as_old_mut().linkname[..content.len()].copy_from_slice(content.as_bytes());
        }
        header.set_cksum();
        archive.extend_from_slice(header.as_bytes());
        if !is_link {
            archive.extend_from_slice(content.as_bytes());
            archive.resize(archive.len().next_multiple_of(512), 0);
        }
    }
    archive.resize(archive.len() + 1024, 0);
    archive
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn unpacked(archive: &[u8]) -> Result<tempfile::TempDir, String> {
    let directory = tempfile::tempdir().unwrap();
    unpack(archive, directory.path()).map_err(|error| error.to_string())?;
    Ok(directory)
}

const FILES: [(&str, EntryType, &str); 4] = [
    ("./", EntryType::Directory, ""),
    ("./default.yaml", EntryType::Regular, "workers: 2\n"),
    ("./routes/a.yaml", EntryType::Regular, "uri: /a\n"),
    ("./routes/b.yaml", EntryType::Symlink, "a.yaml"),
];

#[test]
fn a_bundle_is_unpacked_with_and_without_gzip_for_the_owner_alone() {
    let tar = archive(&FILES);
    for bundle in [tar.clone(), gzip(&tar)] {
        let directory = unpacked(&bundle).unwrap();
        let read = |name: &str| fs::read_to_string(directory.path().join(name)).unwrap();
        assert_eq!(
            (read("default.yaml").as_str(), read("routes/b.yaml").as_str()),
            ("workers: 2\n", "uri: /a\n")
        );
        let mode =
            |name: &str| fs::metadata(directory.path().join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("default.yaml"), mode("routes")), (0o600, 0o700));
    }
}

#[test]
fn names_longer_than_a_header_and_a_global_header_are_taken() {
    let long = format!("routes/{}.yaml", "n".repeat(150));
    let mut builder = Builder::new(Vec::new());
    let mut global = header(EntryType::XGlobalHeader, 0);
    builder.append_data(&mut global, "pax_global_header", &b""[..]).unwrap();
    builder.append_data(&mut header(EntryType::Regular, 1), &long, &b"x"[..]).unwrap();
    let directory = unpacked(&builder.into_inner().unwrap()).unwrap();
    assert!(directory.path().join(long).is_file());
    assert!(!directory.path().join("pax_global_header").exists());
}

#[test]
fn a_sparse_file_of_an_extended_header_is_refused() {
    let with = |record: &str| {
        let described = [("p", EntryType::XHeader, record), ("f", EntryType::Regular, "x")];
        unpacked(&archive(&described)).map(drop)
    };
    assert_eq!(with("17 mtime=1.5e+09\n"), Ok(()));
    assert_eq!(
        with("22 GNU.sparse.major=1\n"),
        Err("the bundle is refused: `f` is a sparse file".to_owned())
    );
    // no record to the `tar` crate
    assert_eq!(with("24 SCHILY.xattr.a=b\nc\nd\n"), Ok(()));
}

#[test]
fn every_cut_of_an_archive_is_refused() {
    let tar = archive(&FILES);
    let compressed = gzip(&tar);
    for (whole, step) in [(&tar, 64), (&compressed, 1)] {
        for length in (0..whole.len()).step_by(step) {
            assert!(unpacked(&whole[..length]).is_err(), "{length} of {}", whole.len());
        }
        assert!(unpacked(whole).is_ok());
    }
    // the last entry ends with zeros, as the end blocks do
    let zeros = archive(&[("a", EntryType::Regular, &"\0".repeat(2048))]);
    assert!(unpacked(&zeros[..zeros.len() - 1024]).unwrap_err().contains("two end blocks are missing"));
    assert!(unpacked(&zeros[..zeros.len() - 512]).unwrap_err().contains("two end blocks are missing"));
    let behind = [&tar[..], &tar[..]].concat();
    assert!(unpacked(&behind).unwrap_err().contains("data behind the end"));
}

#[test]
fn names_and_links_that_lead_out_and_special_files_are_refused() {
    let file = EntryType::Regular;
    let link = EntryType::Symlink;
    let outside = tempfile::tempdir().unwrap();
    let outside = outside.path().to_str().unwrap();
    for (entries, reason) in [
        (vec![("/etc/x", file, "")], "`/etc/x` leads out of the bundle"),
        (vec![("a/../../x", file, "")], "leads out of the bundle"),
        (vec![("..", EntryType::Directory, "")], "leads out of the bundle"),
        (vec![("l", link, "/etc/passwd")], "the link `l` leads out"),
        (vec![("l", link, "../x")], "the link `l` leads out"),
        (vec![("l", link, "nowhere")], "the link `l` leads out of the bundle or nowhere"),
        (vec![("l", link, "l")], "the link `l` leads out"),
        // each link alone stays inside
        (vec![("d/s", link, "../d"), ("d/t", link, "s/../..")], "leads out"),
        // nothing is written through a link
        (vec![("l", link, outside), ("l/x", file, "")], "`l` is there twice"),
        (vec![("l", link, outside), ("l/x", link, "y")], "`l` is there twice"),
        (vec![("l", link, outside), ("l/d/x", link, "y")], "`l/d` is there twice"),
        (vec![("", file, "")], "an entry that is no directory has no name"),
        (vec![(".", link, "a")], "an entry that is no directory has no name"),
        (vec![("a", file, ""), ("l", EntryType::Link, "a")], "`l` is a hard link"),
        (vec![("a", file, ""), ("a", file, "")], "`a` is there twice"),
        (vec![("a", file, ""), ("a/b", file, "")], "`a` is there twice"),
        (vec![("p", EntryType::Fifo, "")], "`p` is neither a file"),
        (vec![("d", EntryType::Char, "")], "`d` is neither a file"),
        (vec![("d", EntryType::Block, "")], "`d` is neither a file"),
        (vec![("a\u{1b}[31m/../..", file, "")], "`a\\u{1b}[31m"),
        (vec![("a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a", file, "")], "more than 16 directories"),
    ] {
        let told = unpacked(&archive(&entries)).unwrap_err();
        assert!(told.contains(reason), "{reason}: {told}");
    }
    assert!(fs::read_dir(outside).unwrap().next().is_none());
}

#[test]
fn a_sparse_file_and_files_of_many_gigabytes_are_refused_at_once() {
    let mut sparse = header(EntryType::GNUSparse, 0);
    sparse.as_gnu_mut().unwrap().set_real_size(10 << 30);
    sparse.as_gnu_mut().unwrap().sparse[0].set_offset(10 << 30);
    sparse.as_gnu_mut().unwrap().sparse[0].set_length(0);
    sparse.as_old_mut().name[0] = b's';
    sparse.set_cksum();
    let mut large = header(EntryType::Regular, 10 << 30);
    large.as_old_mut().name[0] = b'l';
    large.set_cksum();
    for header in [sparse, large] {
        let begun = Instant::now();
        assert!(unpacked(header.as_bytes()).is_err());
        assert!(begun.elapsed() < Duration::from_secs(2));
    }
}

#[test]
fn a_bomb_and_too_many_entries_are_refused() {
    let zeros = gzip(&vec![0; usize::try_from(MAX_UNPACKED).unwrap() + (1 << 20)]);
    assert!(zeros.len() < 1 << 20);
    let told = unpacked(&zeros).unwrap_err();
    assert!(told.contains(&too_large()), "{told}");
    // beneath a long name, which the `tar` crate reads into memory
    let mut name = header(EntryType::GNULongName, 1 << 40);
    name.as_old_mut().name[0] = b'n';
    name.set_cksum();
    let bomb = [name.as_bytes(), &vec![b'a'; usize::try_from(MAX_UNPACKED).unwrap()][..]].concat();
    assert!(unpacked(&gzip(&bomb)).is_err());
    let one = archive(&[("d", EntryType::Directory, "")]);
    let many: Vec<u8> = one[..512].repeat(MAX_ENTRIES + 1);
    assert!(unpacked(&many).unwrap_err().contains("more than 20000 entries"));
}

#[test]
fn an_archive_that_takes_too_long_is_no_mistake_of_the_archive() {
    let tar = archive(&FILES);
    let directory = tempfile::tempdir().unwrap();
    let until = Instant::now().checked_sub(Duration::from_secs(1)).unwrap();
    let reader = LimitedReader { inner: Box::new(&tar[..]), left: MAX_UNPACKED, until };
    let unpacked = Unpacking { into: directory.path(), links: Vec::new() }.entries(reader).map(drop);
    assert!(matches!(unpacked, Err(ArchiveError::Failed(_))), "{unpacked:?}");
}

#[test]
fn other_content_is_named_as_such() {
    for content in [&b"<html>"[..], b"", b"{}", &[b'x'; 2000]] {
        let told = unpacked(content).unwrap_err();
        assert!(told.contains("neither gzip nor tar"), "{told}");
    }
    let json = format!(r#"{{"data": [{{"aws_secret": "hush-{}"}}]}}"#, "x".repeat(600));
    for content in [json.as_bytes(), &gzip(json.as_bytes())] {
        let told = unpacked(content).unwrap_err();
        assert!(told.contains("the header of an entry is malformed") && !told.contains("hush"), "{told}");
    }
    assert!(unpacked(&gzip(b"text")).is_err());
    assert!(unpacked(&[&gzip(&archive(&FILES))[..], b"more"].concat()).is_err());
}

proptest! {
    #[test]
    fn no_changed_archive_makes_it_panic_or_write_outside(
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        is_compressed in any::<bool>(),
    ) {
        let mut bundle = archive(&FILES);
        if is_compressed {
            bundle = gzip(&bundle);
        }
        let at = at.index(bundle.len());
        bundle[at] = byte;
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("d");
        fs::create_dir(&directory).unwrap();
        let _ = unpack(&bundle, &directory);
        prop_assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 1);
    }
}
