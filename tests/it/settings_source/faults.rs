//! Answers of a source that must change nothing, and changes under load.

use std::{
    io::Write as _,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use flate2::{Compression, write::GzEncoder};

use super::{
    bundle::{PROCESS, Source, bundle, route, run},
    named, to,
};
use crate::support::{Upstream, eventually, get, process::Process};

/// The number of changes under load; CONTRIBUTING.md names the variable.
const CHANGES: &str = "SETTINGS_CHANGES";

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn ok(body: &[u8], length: usize) -> Vec<u8> {
    [format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n").as_bytes(), body].concat()
}

/// A part of the error, and the bytes of the answer.
type Fault = (&'static str, Vec<u8>);

fn faults_of_http(elsewhere: &str, good: &[u8]) -> Vec<Fault> {
    let cut = good.len() / 2;
    let redirect = format!("HTTP/1.1 302 Found\r\nlocation: {elsewhere}\r\ncontent-length: 0\r\n\r\n");
    let unasked = b"HTTP/1.1 304 Not Modified\r\n\r\n".to_vec();
    let part = b"HTTP/1.1 206 Part\r\ncontent-length: 9\r\n\r\n123456789".to_vec();
    let chunked = [
        &b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"[..],
        format!("{cut:x}\r\n").as_bytes(),
        &good[..cut],
        b"\r\n",
    ]
    .concat();
    vec![
        ("the answer is truncated after", ok(&good[..cut], good.len())),
        ("", chunked),
        ("", [&b"HTTP/1.1 200 OK\r\n\r\n"[..], &good[..cut]].concat()),
        ("302 Found: a redirect to 127.0.0.1 is not followed", redirect.into_bytes()),
        ("304 Not Modified for a request without If-None-Match", unasked),
        ("500 Internal Server Error", b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n".to_vec()),
        ("206 Partial Content", part),
        ("", b"not HTTP at all\r\n\r\n".to_vec()),
        ("", Vec::new()),
    ]
}

fn faults_of_bundles(good: &[u8]) -> Vec<Fault> {
    let cut = good.len() / 2;
    let mistakes = bundle(&[("default.yaml", PROCESS), ("routes/a.yaml", "uri: /other\napi_gatewy: {}\n")]);
    let nested = bundle(&[("settings/default.yaml", PROCESS), ("settings/routes/a.yaml", "uri: /other\n")]);
    let routeless = bundle(&[("README", "another archive")]);
    let bomb = gzip(&vec![0; 65 << 20]);
    vec![
        ("neither gzip nor tar", ok(b"<html>login</html>", 18)),
        ("neither gzip nor tar", ok(b"", 0)),
        // the length is right, and the archive ends in its middle
        ("the bundle is refused", ok(&good[..cut], cut)),
        ("more than 64MiB without compression", ok(&bomb, bomb.len())),
        ("api_gatewy", ok(&mistakes, mistakes.len())),
        ("there is no route", ok(&routeless, routeless.len())),
        ("are below `settings/`: make the bundle by `tar -czf", ok(&nested, nested.len())),
    ]
}

#[test]
fn no_fault_of_a_source_changes_anything_but_the_log_and_the_metrics() {
    let (one, two, elsewhere) = (named("one"), named("two"), Source::with(to(&named("stolen"))));
    let (source, good) = (Source::with(to(&one)), to(&two));
    let (mut process, address) = Process::listening(&mut run(&source.address("", "/b")));
    let admin = process.admin();
    let shown = || get(admin, "/ready").json();
    let bundle_in_use = shown()["settings"]["source"]["bundle"].clone();
    // the sidecar sends no `If-None-Match` for a bundle without an `ETag`
    let whole = ok(&to(&one), to(&one).len());
    source.answer(move |_, stream| stream.write_all(&whole));
    let asked = source.server.received().len();
    eventually("the source answers without an ETag", || {
        let received = source.server.received();
        received.len() > asked + 3 && received.last().unwrap().header("if-none-match").is_none()
    });
    let faults = faults_of_http(&elsewhere.address("", "/b?hush"), &good);
    for (told, answer) in faults.into_iter().chain(faults_of_bundles(&good)) {
        let asked = source.server.received().len();
        source.answer(move |_, stream| {
            stream.write_all(&answer)?;
            // closes the connection
            Err(std::io::ErrorKind::ConnectionReset.into())
        });
        eventually(told, || {
            let error = shown()["settings"]["source"]["error"].clone();
            source.server.received().len() > asked + 2 && error.to_string().contains(told) && !error.is_null()
        });
        let ready = shown();
        assert_eq!((&ready["ready"], &ready["settings"]["generation"]), (&true.into(), &1.into()), "{ready}");
        assert_eq!(ready["settings"]["source"]["bundle"], bundle_in_use, "{ready}");
        assert_eq!(get(address, "/a").text(), "one");
        assert!(!ready.to_string().contains("hush"), "{ready}");
    }
    assert!(elsewhere.server.received().is_empty());
    let metrics = get(admin, "/metrics").text();
    assert!(metrics.contains("settings_source_last_fetch_successful 0\n"), "{metrics}");
    assert!(!metrics.contains("fetches_total{outcome=\"rejected\"} 0\n"), "{metrics}");
    source.put(good);
    eventually("the next good bundle is used", || get(address, "/a").text() == "two");
    let log = process.stop();
    assert!(log.lines().count() < 30 && !log.contains("hush"), "the log is limited: {log}");
}

#[test]
fn a_body_without_a_length_is_named_as_such() {
    let (one, two) = (named("one"), named("two"));
    let source = Source::with(to(&one));
    let (mut process, address) = Process::listening(&mut run(&source.address("", "/b")));
    let unframed = [&b"HTTP/1.1 200 OK\r\n\r\n"[..], &to(&two)].concat();
    source.answer(move |_, stream| {
        stream.write_all(&unframed)?;
        Err(std::io::ErrorKind::ConnectionReset.into())
    });
    process.says("the answer has neither Content-Length nor Transfer-Encoding");
    assert_eq!(get(address, "/a").text(), "one");
    process.stop();
}

#[test]
fn retry_after_delays_the_next_fetch_but_not_one_of_a_hangup() {
    let (one, two) = (named("one"), named("two"));
    let source = Source::with(to(&one));
    let (mut process, address) = Process::listening(&mut run(&source.address("", "/b")));
    source.answer(|_, stream| {
        stream.write_all(b"HTTP/1.1 503 Busy\r\nretry-after: 3600\r\ncontent-length: 0\r\n\r\n")
    });
    process.says("503 Service Unavailable");
    let asked = source.server.received().len();
    source.put(to(&two));
    // ten intervals
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!((source.server.received().len(), get(address, "/a").text().as_str()), (asked, "one"));
    process.signal("HUP");
    eventually("the new bundle is used", || get(address, "/a").text() == "two");
    eventually("the interval is as before", || source.server.received().len() > asked + 3);
    process.stop();
}

#[test]
fn a_slow_source_delays_neither_requests_nor_the_admin_port_nor_the_end() {
    let one = named("one");
    let source = Source::with(to(&one));
    let (mut process, address) = Process::listening(&mut run(&source.address("", "/b")));
    source.answer(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")?;
        loop {
            stream.write_all(b"x")?;
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let asked = source.server.received().len();
    eventually("it drips", || source.server.received().len() > asked);
    for _ in 0..20 {
        assert_eq!(get(address, "/a").text(), "one");
        assert_eq!(get(process.admin(), "/live").status, 200);
        std::thread::sleep(Duration::from_millis(10));
    }
    let begun = std::time::Instant::now();
    process.stop();
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[test]
fn changes_under_load_fail_no_request() {
    let changes: usize = std::env::var(CHANGES).map_or(50, |number| number.parse().unwrap());
    let upstreams: Vec<Upstream> = ["0", "1", "2"].into_iter().map(named).collect();
    let with = |version: usize| {
        let upstream = &upstreams[version % 3];
        let extra = format!("routes/v{version}.yaml");
        bundle(&[
            ("default.yaml", PROCESS),
            ("routes/a.yaml", &route("/a", upstream)),
            ("routes/b.yaml", &route("/b", upstream)),
            (&extra, &route(&format!("/v{version}"), upstream)),
        ])
    };
    let source = Source::with(with(0));
    let (mut process, address) = Process::listening(&mut run(&source.address("", "/b")));
    let (is_over, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = ["/a", "/b"]
        .map(|target| {
            let (is_over, served) = (Arc::clone(&is_over), Arc::clone(&served));
            std::thread::spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    let response = get(address, target);
                    assert_eq!(response.status, 200, "{}", response.text());
                    served.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .into();
    for version in 1..=changes {
        source.put(with(version));
        eventually("the change is used", || get(address, &format!("/v{version}")).status == 200);
        // no route of an older bundle stays
        assert_eq!(get(address, &format!("/v{}", version - 1)).status, 404);
        assert_eq!(get(address, "/a").text(), (version % 3).to_string());
    }
    is_over.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().unwrap();
    }
    assert!(served.load(Ordering::Relaxed) > changes);
    let log = process.stop();
    assert!(log.contains(&format!("generation {}: ", changes + 1)), "{log}");
}
