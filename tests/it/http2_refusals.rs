//! Requests over HTTP/2 that are refused: each has a log line, and other streams go on if possible.

use std::{
    io::{Read as _, Write as _},
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::support::{
    App, Upstream, get,
    http2::{
        CONTINUATION, DATA, END_HEADERS, END_STREAM, Frames, GET, GOAWAY, HEADERS, RST_STREAM, SETTINGS,
        block, head,
    },
    process::{Process, settings},
};

const WHOLE: u8 = END_STREAM | END_HEADERS;

/// The sidecar as a process in front of an upstream, with additional keys of `listen`.
fn process(upstream: &Upstream, listen: &str) -> (Process, SocketAddr, tempfile::TempDir) {
    let route = format!("uri: /*\napi_gateway:\n  function_uri: {}\n", upstream.uri("/"));
    let process = format!("listen: {{ http: '127.0.0.1:0'{listen} }}\n");
    let directory = settings(&process, &[("r", &route)]);
    let (process, address) = Process::run(directory.path());
    (process, address, directory)
}

#[test]
fn c11_http_2_without_h2c_gets_http_1_1_required_and_the_log_names_the_key() {
    let upstream = Upstream::ok();
    let (mut process, address, _directory) = process(&upstream, "");
    let mut frames = Frames::open(address);
    let _ = frames.send(HEADERS, WHOLE, 1, GET);
    let start = Instant::now();
    let received = frames.rest();
    // the sidecar closes its side right after GOAWAY, although it reads on for two seconds
    assert!(start.elapsed() < Duration::from_millis(1500), "{:?}", start.elapsed());
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

/// Sends the same target and `Host` over HTTP/1.1.
fn call_http_1(address: SocketAddr, target: &str, host: &str) {
    let mut stream = super::support::open(address);
    let request = format!("GET {target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
}

/// First byte of a header block: `:status: 200` in the static table.
const OK: u8 = 0x88;
const BAD_REQUEST: u8 = 0x8c;

#[test]
fn x9_any_path_is_escaped_as_on_http_1_1() {
    let upstream = Upstream::ok();
    let (_process, address, _directory) = process(&upstream, ", h2c: true");
    let mut frames = Frames::open(address);
    let paths = ["/\u{e9}", "/a\"b?c=\"d\"", "/<a>?b=<c>", "/a`?b=`", "/a#b", "/a?b#c?d", "/a{b}|c?q={}|^"];
    for (number, path) in (0..).zip(paths) {
        let stream = 2 * number + 1;
        frames.send(HEADERS, WHOLE, stream, &head(path, "h", &[])).unwrap();
        assert_eq!(frames.of_stream(stream)[0].payload[0], OK, "{path}");
        call_http_1(address, path, "h");
        let received = upstream.received();
        let [.., first, second] = &received[..] else { panic!("{received:?}") };
        assert_eq!(first.line, second.line, "{path}");
    }
}

#[test]
fn c4_the_path_of_a_unix_socket_as_authority_is_served_as_it_is_as_host() {
    let upstream = Upstream::ok();
    let (_process, address, _directory) = process(&upstream, ", h2c: true");
    let mut frames = Frames::open(address);
    let with_host = head("/", "tmp%2Fx.sock", &[("host", "tmp%2Fx.sock")]);
    for (stream, block) in [(1, head("/", "tmp%2Fx.sock", &[])), (3, with_host)] {
        frames.send(HEADERS, WHOLE, stream, &block).unwrap();
        assert_eq!(frames.of_stream(stream)[0].payload[0], OK);
    }
    call_http_1(address, "/", "tmp%2Fx.sock");
    for received in upstream.received() {
        assert_eq!(received.header("x-forwarded-host"), Some("tmp%2Fx.sock"));
        assert!(!received.headers.iter().any(|(name, _)| name.contains('"')), "{received:?}");
    }
    // a different `Host`, and bytes that are invalid in a host
    for (stream, block) in [
        (5, head("/", "tmp%2Fx.sock", &[("host", "h")])),
        (7, head("/", "a b", &[])),
        (9, head("/", "<", &[])),
    ] {
        frames.send(HEADERS, WHOLE, stream, &block).unwrap();
        assert_eq!(frames.of_stream(stream)[0].payload[0], BAD_REQUEST);
    }
    assert_eq!(upstream.received().len(), 3);
}

#[test]
fn x10_a_malformed_head_is_400_for_its_stream_with_one_line_and_the_others_go_on() {
    let upstream = Upstream::ok();
    let (mut process, address, _directory) = process(&upstream, ", h2c: true");
    let mut frames = Frames::open(address);
    let pseudo = [(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "h")];
    frames.send(HEADERS, END_HEADERS, 1, &block(&pseudo)).unwrap();
    frames.send(DATA, 0, 1, b"secret").unwrap();
    let with = |name, value| head("/?secret", "h", &[(name, value)]);
    let refused = [
        (with("x-a", "secret\0"), "a header value has a control character"),
        (with("x-a", "\u{1}"), "a header value has a control character"),
        (with("X-secret", "b"), "a header name has an upper-case letter"),
        (with("x a", "b"), "a header name has an upper-case letter"),
        (with("", "b"), "a header name has an upper-case letter"),
        // a client's header must not pass for the internal marker of a fault
        (with("\"fault", "a"), "a header name has an upper-case letter"),
        (with("connection", "close"), "a connection-specific header"),
        (with("content-length", "x"), "`content-length`"),
        (with(":secret", "b"), "an unknown pseudo-header"),
        (with(":path", "/"), "a pseudo-header is repeated"),
        (block(&[(":method", "GET"), (":path", "/")]), "`:scheme` or `:path` is missing"),
        (block(&[(":method", "secret("), (":scheme", "http"), (":path", "/")]), "`:method` is not a method"),
        (head("/secret b", "h", &[]), "`:path` has a space"),
        (head("/", "", &[]), "`:authority` is empty"),
    ];
    for (number, (block, _)) in (0..).zip(&refused) {
        let stream = 2 * number + 3;
        frames.send(HEADERS, WHOLE, stream, block).unwrap();
        let received = frames.of_stream(stream);
        assert_eq!((received[0].kind, received[0].payload[0]), (HEADERS, BAD_REQUEST));
        let body = String::from_utf8_lossy(&received[1].payload).into_owned();
        assert!(body.contains("\"code\":\"invalid_request\""), "{body}");
    }
    frames.send(DATA, END_STREAM, 1, b"whole").unwrap();
    assert_eq!(frames.of_stream(1)[0].payload[0], OK);
    assert_eq!(upstream.only().body, b"secretwhole");
    let log = process.stop();
    for (_, cause) in &refused {
        assert!(log.contains(cause), "{cause} is not in {log}");
    }
    assert_eq!(log.matches("code=invalid_request").count(), refused.len(), "{log}");
    assert!(!log.contains("secret"), "{log}");
}

#[test]
fn x10_a_malformed_head_without_a_body_in_its_answer_has_none() {
    let upstream = Upstream::ok();
    let (_process, address, _directory) = process(&upstream, ", h2c: true");
    let mut frames = Frames::open(address);
    let head = [(":method", "HEAD"), (":scheme", "http"), (":path", "/"), (":authority", "h"), ("X", "")];
    frames.send(HEADERS, WHOLE, 1, &block(&head)).unwrap();
    let received = frames.of_stream(1);
    assert_eq!(received.iter().map(|frame| frame.kind).collect::<Vec<_>>(), [HEADERS]);
    assert_eq!(received[0].payload[0], BAD_REQUEST);
}

#[test]
fn x10_malformed_trailers_reset_their_stream_alone_with_one_line() {
    let upstream = Upstream::ok();
    let (mut process, address, _directory) = process(&upstream, ", h2c: true");
    let mut frames = Frames::open(address);
    let pseudo = [(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "h")];
    for stream in [1, 3] {
        frames.send(HEADERS, END_HEADERS, stream, &block(&pseudo)).unwrap();
        frames.send(DATA, 0, stream, b"body").unwrap();
    }
    frames.send(HEADERS, WHOLE, 1, &block(&[("X-a", "b")])).unwrap();
    let last = frames.of_stream(1).pop().unwrap();
    // PROTOCOL_ERROR
    assert_eq!((last.kind, &last.payload[..]), (RST_STREAM, &[0, 0, 0, 1][..]));
    frames.send(HEADERS, WHOLE, 3, &block(&[("x-a", "b")])).unwrap();
    assert_eq!(frames.of_stream(3)[0].payload[0], OK);
    assert_eq!(upstream.only().body, b"body");
    let log = process.stop();
    assert_eq!(log.matches("code=invalid_request").count(), 1, "{log}");
    assert!(log.contains("trailers: a header name has an upper-case letter"), "{log}");
}

#[test]
fn x10_a_head_of_the_announced_size_is_431_in_our_words() {
    let upstream = Upstream::ok();
    let (mut process, address, _directory) = process(&upstream, ", h2c: true");
    let mut frames = Frames::open(address);
    // an entry of 1,006 bytes in the dynamic table, and 300 references to it
    let mut head = GET.to_vec();
    head.extend([0x40, 5]);
    head.extend(b"x-big");
    head.extend([0x7f, 0xe9, 0x06]);
    head.extend([b'v'; 1000]);
    head.extend([0xbe; 300]);
    frames.send(HEADERS, WHOLE, 1, &head).unwrap();
    let received = frames.of_stream(1);
    let body = String::from_utf8_lossy(&received[1].payload).into_owned();
    assert!(body.contains("headers_too_large"), "{body}");
    // the dynamic table is still in sync with the client's
    frames.send(HEADERS, WHOLE, 3, &[GET, &[0xbe]].concat()).unwrap();
    assert_eq!(frames.of_stream(3)[0].payload[0], OK);
    assert_eq!(upstream.only().header("x-big"), Some(&*"v".repeat(1000)));
    let log = process.stop();
    assert_eq!(log.matches("code=headers_too_large").count(), 1, "{log}");
    assert!(log.contains("has 256 KiB or more, or repeats more than 16 KiB"), "{log}");
}

#[test]
fn x10_reset_and_refused_streams_leave_the_table_of_the_client_intact() {
    let upstream = Upstream::ok();
    let (_process, address, _directory) = process(&upstream, ", h2c: true");
    let mut frames = Frames::open(address);
    // `x-a` with a value, added to the dynamic table
    let inserting = |value| [GET, &[0x40, 3], b"x-a", &[1, value]].concat();
    frames.send(HEADERS, END_HEADERS, 1, &inserting(b'1')).unwrap();
    // CANCEL
    frames.send(RST_STREAM, 0, 1, &[0, 0, 0, 8]).unwrap();
    // the maximum number of streams, which wait for their bodies, and one more
    for stream in (3..=257).step_by(2) {
        frames.send(HEADERS, END_HEADERS, stream, GET).unwrap();
    }
    frames.send(HEADERS, WHOLE, 259, &inserting(b'2')).unwrap();
    // REFUSED_STREAM
    assert_eq!(frames.of_stream(259)[0].payload, [0, 0, 0, 7]);
    frames.send(DATA, END_STREAM, 3, b"").unwrap();
    assert_eq!(frames.of_stream(3)[0].payload[0], OK);
    frames.send(HEADERS, WHOLE, 261, &[GET, &[0xbe, 0xbf]].concat()).unwrap();
    assert_eq!(frames.of_stream(261)[0].payload[0], OK);
    let received = upstream.received();
    let values = received.iter().map(|request| {
        let headers = request.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("x-a"));
        headers.map(|(_, value)| value.clone()).collect::<Vec<_>>()
    });
    assert!(values.into_iter().any(|values| values == ["2", "1"]), "{received:?}");
}

#[test]
fn x10_a_head_that_breaks_compression_ends_the_connection_with_a_line_that_says_why() {
    let upstream = Upstream::ok();
    let (mut process, address, _directory) = process(&upstream, ", h2c: true");
    // an index outside of the tables, and a truncated value
    for block in [&[0xbe][..], &[0x00, 0x01, b'x', 0x05, b'y']] {
        let mut frames = Frames::open(address);
        frames.send(HEADERS, WHOLE, 1, block).unwrap();
        // COMPRESSION_ERROR
        assert_eq!(frames.until(GOAWAY).unwrap().payload[4..8], [0, 0, 0, 9]);
        frames.rest();
    }
    let log = process.stop();
    assert!(log.contains("closing the HTTP/2 connection: an index outside of the tables"), "{log}");
    assert_eq!(log.matches("code=invalid_request").count(), 2, "{log}");
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
    let process = "listen: { http: '127.0.0.1:0', h2c: true }\nlimits: { header_timeout: 200ms }\n";
    let directory = settings(process, &[("r", &route)]);
    let (mut process, address) = Process::run(directory.path());
    let mut silent = Frames::open(address);
    let start = Instant::now();
    silent.send(HEADERS, END_STREAM, 1, GET).unwrap();
    // ENHANCE_YOUR_CALM
    assert_eq!(silent.until(GOAWAY).unwrap().payload[4..8], [0, 0, 0, 11]);
    let bounded = start.elapsed();
    assert!((180..5000).contains(&bounded.as_millis()), "{bounded:?}");
    silent.rest();
    let mut flood = Frames::open(address);
    flood.send(HEADERS, END_STREAM, 1, GET).unwrap();
    while flood.send(CONTINUATION, 0, 1, b"").is_ok() {}
    let log = process.stop();
    assert!(log.contains("too many CONTINUATION frames"), "{log}");
    assert!(log.contains("request head not complete within limits.header_timeout"), "{log}");
    assert_eq!(upstream.accepted(), 0);
}

#[test]
fn x15_a_head_that_came_in_pieces_and_in_time_leaves_its_connection_without_a_limit() {
    const LIMIT: Duration = Duration::from_secs(1);
    let upstream = Upstream::ok();
    let route = format!("uri: /*\napi_gateway:\n  function_uri: {}\n", upstream.uri("/"));
    let process = "listen: { http: '127.0.0.1:0', h2c: true }\nlimits: { header_timeout: 1s }\n";
    let directory = settings(process, &[("r", &route)]);
    let (mut process, address) = Process::run(directory.path());
    let mut frames = Frames::open(address);
    let (first, rest) = GET.split_at(1);
    frames.send(HEADERS, END_STREAM, 1, first).unwrap();
    // the process reads the incomplete head
    std::thread::sleep(LIMIT / 10);
    frames.send(CONTINUATION, END_HEADERS, 1, rest).unwrap();
    assert_eq!(frames.of_stream(1)[0].payload[0], OK);
    std::thread::sleep(LIMIT + LIMIT / 10);
    frames.send(HEADERS, WHOLE, 3, GET).unwrap();
    assert_eq!(frames.of_stream(3)[0].payload[0], OK);
    let log = process.stop();
    assert!(!log.contains("limits.header_timeout"), "{log}");
}

#[test]
fn garbage_after_the_preface_is_logged_and_a_client_that_leaves_is_not() {
    let upstream = Upstream::ok();
    let (mut process, address, _directory) = process(&upstream, ", h2c: true");
    drop(Frames::open(address));
    let mut frames = Frames::open(address);
    frames.send(HEADERS, WHOLE, 0, GET).unwrap();
    assert!(frames.until(GOAWAY).is_some());
    let log = process.stop();
    assert_eq!(log.matches("code=invalid_request").count(), 1, "{log}");
    assert!(log.contains("closing the HTTP/2 connection"), "{log}");
}

#[test]
fn x9_a_body_that_is_shorter_than_its_content_length_is_invalid_body_in_the_log_and_no_client_that_left() {
    let upstream = Upstream::ok();
    let (mut process, address, _directory) = process(&upstream, ", h2c: true");
    let mut frames = Frames::open(address);
    let head = block(&[
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "h"),
        ("content-length", "5"),
    ]);
    frames.send(HEADERS, END_HEADERS, 1, &head).unwrap();
    frames.send(DATA, END_STREAM, 1, b"abc").unwrap();
    assert!(frames.until(RST_STREAM).is_some());
    process.says("code=invalid_body");
    let log = process.errors();
    assert!(log.contains("HTTP/2: the body is not as long as its content-length"), "{log}");
    let log = process.stop();
    assert!(!log.contains("client_left"), "{log}");
}
