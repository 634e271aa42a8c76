//! The start with a source: signals, time limits, and what the cache may be used for.

use std::{
    fs,
    io::Write as _,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use super::{
    bundle::{PROCESS, Source, bundle, route, run},
    named, to,
};
use crate::support::{
    eventually, get,
    process::{Process, binary, end_of},
};

const DOWN: &[u8] = b"HTTP/1.1 503 Down\r\ncontent-length: 0\r\n\r\n";

/// A sidecar whose temporary directories are in this one.
fn run_in(temporary: &tempfile::TempDir, address: &str) -> Command {
    let mut command = run(address);
    command.env("TMPDIR", temporary.path());
    command
}

fn is_empty(directory: &tempfile::TempDir) -> bool {
    fs::read_dir(directory.path()).unwrap().next().is_none()
}

#[test]
fn a_signal_ends_a_start_that_waits_and_leaves_no_temporary_directory() {
    let source = Source::with(Vec::new());
    for signal in ["TERM", "INT"] {
        let temporary = tempfile::tempdir().unwrap();
        // between two fetches
        source.answer(|_, stream| stream.write_all(DOWN));
        let mut process = Process::start(&mut run_in(&temporary, &source.address("", "/b")));
        process.says("retrying for 30s at most");
        assert!(!is_empty(&temporary));
        process.signal(signal);
        assert_eq!((process.wait().code(), is_empty(&temporary)), (Some(0), true), "{signal}");
        // within a fetch
        source.answer(|_, _| {
            thread::sleep(Duration::from_secs(20));
            Ok(())
        });
        let asked = source.server.received().len();
        let mut process = Process::start(&mut run_in(&temporary, &source.address("", "/b")));
        eventually("it fetches", || source.server.received().len() > asked);
        let begun = Instant::now();
        process.signal(signal);
        assert_eq!((process.wait().code(), is_empty(&temporary)), (Some(0), true), "{signal}");
        assert!(begun.elapsed() < Duration::from_secs(10), "{signal}");
    }
}

#[test]
fn a_hangup_ends_no_start_and_a_later_signal_still_ends_the_process() {
    let (one, source) = (named("one"), Source::with(Vec::new()));
    source.answer(|_, stream| stream.write_all(DOWN));
    let mut process = Process::start(&mut run(&source.address("", "/b")));
    process.says("retrying for 30s at most");
    process.signal("HUP");
    source.put(to(&one));
    process.says("admin port on ");
    assert!(process.stop().contains("shutting down"));
}

#[test]
fn a_start_retries_for_all_of_its_time() {
    let source = Source::with(Vec::new());
    source.answer(|_, stream| stream.write_all(DOWN));
    let begun = Instant::now();
    let ended = end_of(run(&source.address("", "/b")).args(["--settings-wait", "1s"]));
    assert!(ended.code == Some(1) && begun.elapsed() >= Duration::from_secs(1), "{ended:?}");
}

#[test]
fn a_command_waits_for_a_slow_source_and_retries_nothing() {
    let (one, source) = (named("one"), Source::with(Vec::new()));
    let content = to(&one);
    source.answer(move |_, stream| {
        // as the first fetch from S3, with keys from STS
        thread::sleep(Duration::from_millis(1500));
        write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", content.len())?;
        stream.write_all(&content)
    });
    let check = || end_of(&mut binary(&["check", "--settings", &source.address("", "/b")]));
    let checked = check();
    assert_eq!(checked.code, Some(0), "{checked:?}");
    source.answer(|_, stream| stream.write_all(DOWN));
    let asked = source.server.received().len();
    let checked = check();
    assert!(checked.code == Some(1) && checked.errors.contains("503 Service Unavailable"), "{checked:?}");
    assert_eq!(source.server.received().len(), asked + 1);
}

#[test]
fn a_cached_bundle_of_another_address_is_named_and_its_etag_is_not_sent() {
    let (one, two) = (named("one"), named("two"));
    let (first, second) = (Source::with(to(&one)), Source::with(to(&two)));
    let cache = tempfile::tempdir().unwrap();
    let cached = |address: &str| {
        let mut command = run(address);
        command.arg("--settings-cache").arg(cache.path());
        command
    };
    let (mut process, _) = Process::listening(&mut cached(&first.address("", "/b?stage=test")));
    process.stop();
    // the same host and path, and the same ETag, of another bundle
    let other = to(&two);
    first.answer(move |request, stream| {
        if request.header("if-none-match").is_some() {
            return write!(stream, "HTTP/1.1 304 Not Modified\r\n\r\n");
        }
        write!(stream, "HTTP/1.1 200 OK\r\netag: \"1\"\r\ncontent-length: {}\r\n\r\n", other.len())?;
        stream.write_all(&other)
    });
    let (mut process, address) = Process::listening(&mut cached(&first.address("", "/b?stage=prod")));
    assert_eq!(get(address, "/a").text(), "two");
    process.stop();
    second.answer(|_, stream| stream.write_all(DOWN));
    let (mut process, address) = Process::listening(&mut cached(&second.address("", "/b")));
    assert_eq!(get(address, "/a").text(), "two");
    process.says(&format!(" of http://{}/b?(left out), from the cache", first.server.address));
    process.stop();
}

#[test]
fn without_a_key_a_serial_counts_for_its_address_alone() {
    let (one, two) = (named("one"), named("two"));
    let numbered = |serial, upstream| {
        let files =
            [("bundle.yaml", serial), ("default.yaml", PROCESS), ("routes/a.yaml", &*route("/a", upstream))];
        bundle(&files)
    };
    let (first, second) =
        (Source::with(numbered("serial: 5", &one)), Source::with(numbered("serial: 1", &two)));
    let cache = tempfile::tempdir().unwrap();
    let start = |source: &Source| {
        let mut command = run(&source.address("", "/b"));
        Process::listening(command.arg("--settings-cache").arg(cache.path()))
    };
    let (mut process, _) = start(&first);
    process.stop();
    first.put(numbered("serial: 4", &two));
    let (mut process, address) = start(&first);
    process.says("serial 4, in use 5;");
    assert_eq!(get(address, "/a").text(), "one");
    process.stop();
    let (mut process, address) = start(&second);
    assert_eq!(get(address, "/a").text(), "two");
    process.stop();
}
