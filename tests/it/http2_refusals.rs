//! Requests over HTTP/2 that are refused: each has its line in the log, and as few others as possible suffer
//! from it.

use std::{io::Read as _, net::SocketAddr};

use super::support::{
    App, Upstream, get,
    http2::{
        CONTINUATION, END_HEADERS, END_STREAM, Frames, GET, GOAWAY, HEADERS, RST_STREAM, SETTINGS, block,
        head,
    },
    process::{Process, settings},
};

const WHOLE: u8 = END_STREAM | END_HEADERS;

/// The process before an upstream; `listen` has more keys of it.
fn process(upstream: &Upstream, listen: &str) -> (Process, SocketAddr, tempfile::TempDir) {
    let route = format!("uri: /*\napi_gateway:\n  function_uri: {}\n", upstream.uri("/"));
    let process = format!("listen: {{ http: '127.0.0.1:0'{listen} }}\n");
    let directory = settings(&process, &[("r", &route)]);
    let (process, address) = Process::run(directory.path());
    (process, address, directory)
}

#[test]
fn c11_a_client_of_http_2_where_it_is_off_is_told_so_in_http_2_and_the_log_names_the_key() {
    let upstream = Upstream::ok();
    let (mut process, address, _directory) = process(&upstream, "");
    let mut frames = Frames::open(address);
    let _ = frames.send(HEADERS, WHOLE, 1, GET);
    let received = frames.rest();
    assert_eq!(received.iter().map(|frame| frame.kind).collect::<Vec<_>>(), [SETTINGS, GOAWAY]);
    // HTTP_1_1_REQUIRED, before any stream
    assert_eq!(received[1].payload, [0, 0, 0, 0, 0, 0, 0, 13]);
    assert_eq!(get(address, "/").status, 200);
    let log = process.stop();
    let line = log.lines().find(|line| line.contains("listen.h2c")).expect(&log);
    assert!(line.contains("code=invalid_request"), "{line}");
    assert_eq!(upstream.received().len(), 1);
}

#[test]
fn c11_the_sidecar_of_dev_speaks_http_2_with_prior_knowledge() {
    let app = App::dev();
    assert_eq!(super::support::Http2::open(app.address).get("/aws").status, 200);
}

#[test]
fn x9_c4_each_stream_that_the_codec_refuses_has_one_line_and_the_others_go_on() {
    let upstream = Upstream::ok();
    let (mut process, address, _directory) = process(&upstream, ", h2c: true");
    let mut frames = Frames::open(address);
    let refused = [
        (head("/a?secret=\"x\"", "h", &[]), "`:path` has a byte"),
        (head("/<secret>", "h", &[]), "`:path` has a byte"),
        (head("/secret`", "h", &[]), "`:path` has a byte"),
        (head("/", "tmp%2Fx.sock", &[]), "grpc.default_authority"),
        (head("/", "h", &[("connection", "close")]), "malformed header block"),
        (head("/", "h", &[("content-length", "x")]), "could not parse content-length"),
        (block(&[(":method", "GET"), (":path", "/")]), "missing scheme"),
    ];
    for (number, (block, _)) in (0..).zip(&refused) {
        let stream = 2 * number + 1;
        frames.send(HEADERS, WHOLE, stream, block).unwrap();
        let received = frames.of_stream(stream);
        // PROTOCOL_ERROR
        assert_eq!((received[0].kind, &received[0].payload[..]), (RST_STREAM, &[0, 0, 0, 1][..]));
    }
    frames.send(HEADERS, WHOLE, 99, GET).unwrap();
    assert_eq!(frames.of_stream(99)[0].payload[0], 0x88);
    let log = process.stop();
    for (_, cause) in &refused {
        assert!(log.contains(cause), "{cause} is not in {log}");
    }
    assert_eq!(log.matches("code=invalid_request").count(), refused.len(), "{log}");
    assert!(!log.contains("secret"), "{log}");
}

#[test]
fn x9_a_path_that_the_codec_takes_is_escaped_as_on_http_1_1() {
    let upstream = Upstream::ok();
    let (_process, address, _directory) = process(&upstream, ", h2c: true");
    let mut frames = Frames::open(address);
    for (number, path) in (0..).zip(["/\u{e9}", "/a\"b", "/a{b}|c?q=`{}|^"]) {
        let stream = 2 * number + 1;
        frames.send(HEADERS, WHOLE, stream, &head(path, "h", &[])).unwrap();
        assert_eq!(frames.of_stream(stream)[0].payload[0], 0x88, "{path}");
        let mut other = super::support::open(address);
        std::io::Write::write_all(
            &mut other,
            format!("GET {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").as_bytes(),
        )
        .unwrap();
        let _ = other.read_to_end(&mut Vec::new());
        let received = upstream.received();
        let [.., first, second] = &received[..] else { panic!("{received:?}") };
        assert_eq!(first.line, second.line, "{path}");
    }
    // `http::Uri` cuts a fragment off before anybody sees it
    frames.send(HEADERS, WHOLE, 99, &head("/a#b", "h", &[])).unwrap();
    assert_eq!(frames.of_stream(99)[0].payload[0], 0x88);
    assert_eq!(upstream.received().last().unwrap().target(), "/a");
}

#[test]
fn x10_a_head_that_cannot_be_decoded_ends_the_connection_with_a_line_that_says_why() {
    let upstream = Upstream::ok();
    let (mut process, address, _directory) = process(&upstream, ", h2c: true");
    let refused = [("x-a", "\0"), ("x-a", "\u{1}"), ("X-a", "b"), ("x a", "b")];
    for field in refused {
        let mut frames = Frames::open(address);
        frames.send(HEADERS, WHOLE, 1, &head("/", "h", &[field])).unwrap();
        assert!(frames.until(GOAWAY).is_some(), "{field:?}");
    }
    let log = process.stop();
    let lines = log.lines().filter(|line| line.contains("a header's name has a capital"));
    assert_eq!(lines.count(), refused.len(), "{log}");
    assert_eq!(log.matches("code=invalid_request").count(), refused.len(), "{log}");
    assert_eq!(upstream.accepted(), 0);
}

#[test]
fn x15_a_quotation_mark_in_a_header_name_is_400_as_on_http_1_1() {
    let upstream = Upstream::ok();
    let (mut process, address, _directory) = process(&upstream, ", h2c: true");
    let mut frames = Frames::open(address);
    frames.send(HEADERS, WHOLE, 1, &head("/", "h", &[("x\"a", "b")])).unwrap();
    // `:status: 400` of the static table
    assert_eq!(frames.of_stream(1)[0].payload[0], 0x8c);
    assert_eq!(super::support::call(address, "GET", "/", &[("x\"a", "b")], b"").status, 400);
    let log = process.stop();
    assert_eq!(log.matches("code=invalid_request").count(), 2, "{log}");
    assert_eq!(upstream.accepted(), 0);
}

#[test]
fn x15_a_head_without_end_is_bounded_in_bytes_and_in_time() {
    let upstream = Upstream::ok();
    let route = format!("uri: /*\napi_gateway:\n  function_uri: {}\n", upstream.uri("/"));
    let process = "listen: { http: '127.0.0.1:0', h2c: true }\nlimits: { keep_alive: 200ms }\n";
    let directory = settings(process, &[("r", &route)]);
    let (mut process, address) = Process::run(directory.path());
    let mut silent = Frames::open(address);
    silent.send(HEADERS, END_STREAM, 1, GET).unwrap();
    let mut flood = Frames::open(address);
    flood.send(HEADERS, END_STREAM, 1, GET).unwrap();
    while flood.send(CONTINUATION, 0, 1, b"").is_ok() {}
    assert!(silent.until(GOAWAY).is_some());
    silent.rest();
    let log = process.stop();
    assert!(log.contains("a head comes in too many CONTINUATION frames"), "{log}");
    assert_eq!(upstream.accepted(), 0);
}

#[test]
fn garbage_behind_the_preface_has_its_line_and_a_client_that_leaves_has_none() {
    let upstream = Upstream::ok();
    let (mut process, address, _directory) = process(&upstream, ", h2c: true");
    drop(Frames::open(address));
    let mut frames = Frames::open(address);
    frames.send(HEADERS, WHOLE, 0, GET).unwrap();
    assert!(frames.until(GOAWAY).is_some());
    let log = process.stop();
    assert_eq!(log.matches("code=invalid_request").count(), 1, "{log}");
    assert!(log.contains("HTTP/2: the connection and all its streams end"), "{log}");
}
