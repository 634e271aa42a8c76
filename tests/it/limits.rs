//! Limits of sizes, counts and times: requests beyond a limit are refused with a message that names the
//! limit, and nothing is sent.

use std::{
    io::{self, BufReader, Read, Write},
    net::Shutdown,
    sync::{Mutex, mpsc},
    time::{Duration, Instant},
};

use super::support::{
    App, Http2, Response, Upstream, call, eventually, get, open,
    process::{ANY_PORT, Process, settings},
    read_response, send,
    upstream::read_request,
};

#[track_caller]
fn assert_refused(response: &Response, status: u16, code: &str) {
    assert_eq!((response.status, response.code().as_str()), (status, code), "{}", response.text());
    let body = response.json();
    assert_eq!(response.header("x-request-id"), body["request_id"].as_str(), "{}", response.text());
    assert_eq!(response.header("content-type"), Some("application/json"));
}

/// A route with a limit of 1000 bytes, signed (buffered) or unsigned (streamed); the limit is the same.
fn small(upstream: &Upstream, signed: bool) -> App {
    let iam = "\nauthorization:\n  iam: { accesskey: AKIDEXAMPLE, secretkey: s }";
    let rest = format!("max_req_body_size: 1000{}", if signed { iam } else { "" });
    App::with("").gateway("small", "/*", &upstream.uri("/"), &rest).start()
}

fn chunked(body: &[u8]) -> Vec<u8> {
    let mut request = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for piece in body.chunks(300) {
        request.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        request.extend_from_slice(piece);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"0\r\n\r\n");
    request
}

#[test]
fn a16_a_body_over_the_limit_is_413_names_limit_and_size_and_is_never_sent() {
    for signed in [true, false] {
        let upstream = Upstream::ok();
        let app = small(&upstream, signed);
        let response = call(app.address, "POST", "/", &[], &[b'x'; 1001]);
        assert_refused(&response, 413, "payload_too_large");
        let message = response.json()["message"].as_str().unwrap().to_owned();
        assert!(message.contains("1000") && message.contains("1001"), "{message}");
        assert_eq!(upstream.accepted(), 0);
        assert_eq!(call(app.address, "POST", "/", &[], &[b'x'; 1000]).status, 200);
        assert_eq!(upstream.only().body.len(), 1000);
    }
}

#[test]
fn a16_a_chunked_body_over_the_limit_is_413_and_never_sent() {
    for signed in [true, false] {
        let upstream = Upstream::ok();
        let app = small(&upstream, signed);
        let response = send(app.address, chunked(&[b'x'; 1001]));
        assert_refused(&response, 413, "payload_too_large");
        assert!(response.json()["message"].as_str().unwrap().contains("1000"));
        assert_eq!(upstream.accepted(), 0);
        assert_eq!(send(app.address, chunked(&[b'x'; 1000])).status, 200);
        assert_eq!(upstream.only().header("content-length"), Some("1000"));
    }
}

#[test]
fn a_body_that_announces_more_than_memory_holds_is_413_before_it_is_sent() {
    let upstream = Upstream::ok();
    let app = small(&upstream, true);
    for length in ["10000000000", "18446744073709551615"] {
        let response =
            send(app.address, format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n"));
        assert_refused(&response, 413, "payload_too_large");
    }
    assert_eq!(upstream.accepted(), 0);
}

#[test]
fn a_body_that_is_expected_with_100_is_refused_before_it_is_sent() {
    let upstream = Upstream::ok();
    let app = small(&upstream, true);
    let head = |length| {
        format!("POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n")
    };
    let mut stream = open(app.address);
    stream.write_all(head(5).as_bytes()).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    assert_eq!(read_response(&mut reader, false).unwrap().status, 100);
    stream.write_all(b"hello").unwrap();
    assert_eq!(read_response(&mut reader, false).unwrap().status, 200);
    assert_eq!((upstream.only().body, upstream.only().header("expect")), (b"hello".to_vec(), None));

    let mut reader = BufReader::new(open(app.address));
    reader.get_mut().write_all(head(5000).as_bytes()).unwrap();
    let mut response = read_response(&mut reader, false).unwrap();
    if response.status == 100 {
        // actix-http sends it before the route is known
        response = read_response(&mut reader, false).unwrap();
    }
    assert_refused(&response, 413, "payload_too_large");
}

#[test]
fn the_query_and_the_path_count_together_and_beyond_max_uri_they_are_414() {
    let upstream = Upstream::ok();
    let app = App::with("limits: { max_uri: 100 }").gateway("r", "/*", &upstream.uri("/"), "").start();
    assert_eq!(get(app.address, &format!("/{}?{}", "a".repeat(48), "b".repeat(50))).status, 200);
    let response = get(app.address, &format!("/{}?{}", "a".repeat(48), "b".repeat(51)));
    assert_refused(&response, 414, "uri_too_long");
    assert!(response.json()["message"].as_str().unwrap().contains("100"));
    assert_eq!(upstream.received().len(), 1);
}

#[test]
fn a_uri_beyond_what_the_signer_can_hold_is_414_and_does_not_panic() {
    let app = App::dev();
    // the limit of `http` is 64 KiB, that of the parser 128 KiB
    for length in [11 << 10, 65_534, 65_535, 65_536, 70_000, 100_000, 200_000] {
        let response = get(app.address, &format!("/iam/{}", "a".repeat(length)));
        assert_refused(&response, 414, "uri_too_long");
    }
    // the longest URI that passes is three times as long when its query is escaped
    assert_eq!(get(app.address, &format!("/iam/echo?{}", "'".repeat(10_000))).status, 200);
    assert_eq!(get(app.address, "/iam/echo").status, 200);
}

#[test]
fn too_many_and_too_long_headers_are_431() {
    let upstream = Upstream::ok();
    let app = App::to(&upstream.uri("/"));
    let request = |count: usize, length: usize| {
        let headers: String =
            (0..count).map(|index| format!("x-{index}: {}\r\n", "v".repeat(length))).collect();
        format!("GET / HTTP/1.1\r\nHost: h\r\n{headers}\r\n")
    };
    assert_eq!(send(app.address, request(90, 10)).status, 200);
    assert_refused(&send(app.address, request(97, 10)), 431, "headers_too_large");
    assert_refused(&send(app.address, request(1000, 10)), 431, "headers_too_large");
    assert_refused(&send(app.address, request(2, 100_000)), 431, "headers_too_large");
    assert_eq!(upstream.received().len(), 1);
}

#[test]
fn malformed_escapes_are_400_in_path_and_query_on_signed_and_unsigned_routes() {
    let app = App::dev();
    for stage in ["/open", "/iam"] {
        for target in ["/echo/%", "/echo/%4", "/echo/%zz/x", "/echo?a=%", "/echo?a=%f", "/echo?100%"] {
            assert_refused(&get(app.address, &format!("{stage}{target}")), 400, "invalid_path");
        }
    }
}

#[test]
fn dots_that_would_leave_the_route_are_400_in_any_spelling() {
    let upstream = Upstream::ok();
    let app = App::with("").gateway("r", "/aws/*", &upstream.uri("/stage/base"), "").start();
    for path in [
        "/aws/..",
        "/aws/../secret",
        "/aws/a/../../secret",
        "/aws/%2e%2e/secret",
        "/aws/%2E./secret",
        "/aws/..%2fsecret",
        "/aws/..%5csecret",
        "/aws/..\\secret",
        "/aws/%252e%252e/secret",
        "/aws/..;x=1/secret",
    ] {
        assert_refused(&get(app.address, path), 400, "invalid_path");
    }
    assert_eq!(upstream.accepted(), 0);
    assert_eq!(get(app.address, "/aws/a/../b").status, 200);
    assert_eq!(upstream.only().target(), "/stage/base/a/../b");
}

#[test]
fn what_is_no_http_request_is_400_with_a_code_and_the_connection_closes() {
    let upstream = Upstream::ok();
    let app = App::to(&upstream.uri("/"));
    for request in [
        "GET /a\x01b HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /a\x00b HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /a b HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET / HTTP/1.1\r\nHo st: h\r\n\r\n",
        "GET / HTTP/1.1\r\nx: a\x00b\r\n\r\n",
        "GET / HTTP/9.9\r\nHost: h\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nHost: i\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\u{fc}\x03\x03",
        "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n",
    ] {
        let mut reader = BufReader::new(open(app.address));
        let _ = reader.get_mut().write_all(request.as_bytes());
        let response =
            read_response(&mut reader, false).unwrap_or_else(|error| panic!("{request:?}: {error}"));
        assert_eq!((request, response.status), (request, 400));
        assert_refused(&response, 400, "invalid_request");
        let mut rest = Vec::new();
        let _ = reader.read_to_end(&mut rest);
        assert!(rest.is_empty(), "{request:?} is followed by {:?}", String::from_utf8_lossy(&rest));
    }
    assert_eq!(upstream.accepted(), 0);
}

#[test]
fn a_request_that_could_be_read_in_two_ways_smuggles_nothing() {
    let upstream = Upstream::ok();
    let app = App::to(&upstream.uri("/"));
    let hidden = "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n";
    for head in [
        format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n", 5 + hidden.len()),
        format!("Transfer-Encoding: chunked\r\nContent-Length: {}\r\n", 5 + hidden.len()),
        "Transfer-Encoding: chunked, identity\r\n".to_owned(),
        "Transfer-Encoding : chunked\r\n".to_owned(),
    ] {
        let mut stream = open(app.address);
        let _ = stream
            .write_all(format!("POST /first HTTP/1.1\r\nHost: h\r\n{head}\r\n0\r\n\r\n{hidden}").as_bytes());
        let response = read_response(&mut BufReader::new(stream), false).unwrap();
        assert_eq!(response.status, 400, "{head:?}");
    }
    assert!(!upstream.received().iter().any(|request| request.target() == "/smuggled"));
}

#[test]
fn a_head_that_does_not_arrive_in_time_is_408() {
    let upstream = Upstream::ok();
    let app = App::with("limits: { header_timeout: 1s }").gateway("r", "/*", &upstream.uri("/"), "").start();
    for beginning in ["GET / HTTP/1.1\r\nHost: h\r\n", "G", ""] {
        let mut stream = open(app.address);
        stream.write_all(beginning.as_bytes()).unwrap();
        let mut answer = Vec::new();
        let _ = BufReader::new(stream).read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.starts_with("HTTP/1.1 408 "), "{beginning:?}: {answer:?}");
        assert!(answer.contains("\"code\":\"request_timeout\""), "{answer}");
    }
    assert_eq!(upstream.accepted(), 0);
}

#[test]
fn a_body_that_does_not_arrive_in_time_is_408_and_what_was_begun_is_not_completed() {
    for signed in [true, false] {
        let upstream = Upstream::accepting(|connection, stream, received| {
            // an unsigned body streams, so its beginning may arrive; the connection must then break
            if let Ok(Some(request)) = read_request(&mut BufReader::new(stream), connection) {
                received.lock().unwrap().push(request);
            }
            Ok(())
        });
        let iam = "authorization:\n  iam: { accesskey: AKIDEXAMPLE, secretkey: s }";
        let app = App::with("limits: { body_timeout: 200 }")
            .gateway("r", "/*", &upstream.uri("/"), if signed { iam } else { "" })
            .start();
        let response = send(app.address, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n12345");
        assert_refused(&response, 408, "request_timeout");
        eventually("the upstream's connection ends", || upstream.open() == 0);
        assert!(upstream.received().is_empty());
    }
}

#[test]
fn a_slow_upload_is_the_clients_time_and_not_the_upstreams() {
    for signed in [true, false] {
        let upstream = Upstream::ok();
        let iam = "\nauthorization:\n  iam: { accesskey: AKIDEXAMPLE, secretkey: s }";
        let rest = format!("timeout: 200{}", if signed { iam } else { "" });
        let app =
            App::with("limits: { body_timeout: 1s }").gateway("r", "/*", &upstream.uri("/"), &rest).start();
        let head = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 8\r\n\r\n";
        let mut stream = open(app.address);
        stream.write_all(head.as_bytes()).unwrap();
        for byte in b"12345678" {
            // longer in total than the upstream's limit
            std::thread::sleep(Duration::from_millis(60));
            stream.write_all(&[*byte]).unwrap();
        }
        assert_eq!(read_response(&mut BufReader::new(stream), false).unwrap().status, 200);
        assert_eq!(upstream.only().body, b"12345678");
        let stalled = send(app.address, format!("{head}1"));
        assert_refused(&stalled, 408, "request_timeout");
    }
}

#[test]
fn a_body_is_asked_for_by_100_only_when_it_is_wanted() {
    let upstream = Upstream::ok();
    let app = App::with("").gateway("r", "/r", &upstream.uri("/"), "").start();
    let expecting = |path: &str| {
        let mut stream = BufReader::new(open(app.address));
        let head =
            format!("POST {path} HTTP/1.1\r\nHost: h\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\n");
        stream.get_mut().write_all(head.as_bytes()).unwrap();
        let first = read_response(&mut stream, false).unwrap();
        (stream, first)
    };
    let (mut stream, refused) = expecting("/nowhere");
    assert_refused(&refused, 404, "route_not_found");
    assert_eq!(refused.header("connection"), Some("close"));
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    let (mut stream, asked) = expecting("/r");
    assert_eq!(asked.status, 100);
    stream.get_mut().write_all(b"ok").unwrap();
    assert_eq!(read_response(&mut stream, false).unwrap().status, 200);
}

#[test]
fn what_follows_100_continue_is_a_body_and_never_a_request() {
    let upstream = Upstream::ok();
    let app = App::to(&upstream.uri("/"));
    let mut stream = BufReader::new(open(app.address));
    stream.get_mut().write_all(b"GET /first HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    assert_eq!(read_response(&mut stream, false).unwrap().status, 200);
    // escaped, the request line would be longer than the body, and the rest would be read as another request
    let hidden = "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n";
    let body = format!("x {}\n{hidden}", "<".repeat(hidden.len() / 2));
    let head = format!(
        "POST /second HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.get_mut().write_all(head.as_bytes()).unwrap();
    assert_eq!(read_response(&mut stream, false).unwrap().status, 100);
    stream.get_mut().write_all(body.as_bytes()).unwrap();
    assert_eq!(read_response(&mut stream, false).unwrap().status, 200);
    let received = upstream.received();
    assert_eq!(received.len(), 2, "{received:#?}");
    assert_eq!(received[1].body, body.as_bytes());
}

#[test]
fn malformed_bytes_after_a_request_do_not_affect_it() {
    let upstream = Upstream::ok();
    let app = App::to(&upstream.uri("/"));
    let mut stream = BufReader::new(open(app.address));
    stream.get_mut().write_all(b"GET /first HTTP/1.1\r\nHost: h\r\n\r\n\x00garbage\r\n\r\n").unwrap();
    assert_eq!(read_response(&mut stream, false).unwrap().status, 200);
    assert_eq!(read_response(&mut stream, false).unwrap().status, 400);
}

#[test]
fn an_unread_body_is_drained_only_up_to_a_limit() {
    let app = App::with("").gateway("r", "/r", "http://127.0.0.1:1/", "").start();
    let mut stream = open(app.address);
    stream.write_all(b"POST /nowhere HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
    let mut chunk = b"10000\r\n".to_vec();
    chunk.resize(7 + 0x10000, b'x');
    chunk.extend_from_slice(b"\r\n");
    let mut sent = 0_u64;
    // an error means that the connection has ended
    while stream.write_all(&chunk).is_ok() {
        sent += 1;
        assert!(sent < 1 << 20, "64 GiB were taken");
    }
}

#[test]
fn a_method_that_is_too_long_and_an_invalid_host_are_400() {
    let upstream = Upstream::ok();
    let app = App::to(&upstream.uri("/"));
    let long = format!("{} / HTTP/1.1\r\nHost: h\r\n\r\n", "M".repeat(9000));
    assert_refused(&send(app.address, long), 400, "invalid_request");
    for host in ["a b/../c", "a/b", "u@h", "h\x7f"] {
        let response = send(app.address, format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_refused(&response, 400, "invalid_request");
    }
    assert_eq!(upstream.accepted(), 0);
}

#[test]
fn a_long_header_is_431_however_short_the_uri() {
    let app = App::dev();
    for length in [100_000, 140_000] {
        let request = format!("GET / HTTP/1.1\r\nHost: h\r\nX-Long: {}\r\n\r\n", "v".repeat(length));
        let response = send(app.address, request);
        assert!(matches!(response.status, 431 | 404), "{}", response.status);
    }
    let request = format!("GET / HTTP/1.1\r\nX-Long: {}\r\n\r\n", "v".repeat(72_000));
    assert_refused(&send(app.address, request), 400, "invalid_request");
}

#[test]
fn a_body_that_ends_too_soon_is_never_completed() {
    for signed in [true, false] {
        let upstream = Upstream::ok();
        let app = small(&upstream, signed);
        for request in [
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n12345",
            "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n",
        ] {
            let mut stream = open(app.address);
            stream.write_all(request.as_bytes()).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest);
            assert!(!rest.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&rest));
        }
        eventually("no connection is left half-used", || upstream.open() == 0);
        assert!(upstream.received().is_empty());
    }
}

#[test]
fn a_broken_chunk_of_a_request_is_400_and_never_sent() {
    let upstream = Upstream::ok();
    let app = App::to(&upstream.uri("/"));
    for body in ["zz\r\nhello\r\n0\r\n\r\n", "5\r\nhelloXX0\r\n\r\n", "-1\r\n\r\n"] {
        let request = format!("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        let response = send(app.address, request);
        assert_eq!(response.status, 400, "{body:?}: {}", response.text());
    }
    assert_eq!(upstream.accepted(), 0);
}

/// An upstream that responds to each request on a signal.
fn on_release() -> (Upstream, mpsc::Sender<()>) {
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let upstream = Upstream::serving(move |_, stream| {
        let _ = released.lock().unwrap().recv();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
    });
    (upstream, release)
}

#[test]
fn requests_beyond_max_in_flight_are_503_with_retry_after_and_room_comes_back() {
    let (upstream, release) = on_release();
    let app = App::with("limits: { max_in_flight: 1 }").gateway("r", "/*", &upstream.uri("/"), "").start();
    let mut first = open(app.address);
    first.write_all(b"GET /first HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    eventually("the first request is at the upstream", || upstream.received().len() == 1);
    let response = get(app.address, "/second");
    assert_refused(&response, 503, "overloaded");
    assert_eq!(response.json()["message"], "Too many requests in flight");
    assert_eq!(response.header("retry-after"), Some("1"));
    release.send(()).unwrap();
    assert_eq!(read_response(&mut BufReader::new(first), false).unwrap().status, 200);
    eventually("the permit is given back", || app.snapshot.admission.in_flight() == 0);
    release.send(()).unwrap();
    assert_eq!(get(app.address, "/third").status, 200);
}

#[test]
fn requests_beyond_a_routes_max_in_flight_are_503_while_other_routes_go_on() {
    let (upstream, release) = on_release();
    let free = Upstream::ok();
    let narrow = format!("max_in_flight: 1\nuri: /a\napi_gateway:\n  function_uri: {}\n", upstream.uri("/"));
    let app = App::with("").route("a", &narrow).gateway("b", "/b", &free.uri("/"), "").start();
    let mut first = open(app.address);
    first.write_all(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    eventually("the first request is at the upstream", || upstream.received().len() == 1);
    for _ in 0..3 {
        let response = get(app.address, "/a");
        assert_refused(&response, 503, "overloaded");
        assert_eq!(response.header("retry-after"), Some("1"));
        assert_eq!(get(app.address, "/b").status, 200);
    }
    eventually("what was turned away takes no room", || app.snapshot.admission.in_flight() == 1);
    release.send(()).unwrap();
    assert_eq!(read_response(&mut BufReader::new(first), false).unwrap().status, 200);
    eventually("the permit is given back", || app.snapshot.admission.in_flight() == 0);
    release.send(()).unwrap();
    assert_eq!(get(app.address, "/a").status, 200);
    assert_eq!(upstream.received().len(), 2);
}

#[test]
fn a_routes_permit_is_held_to_the_last_byte_of_the_answer() {
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let upstream = Upstream::serving(move |_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nha")?;
        let _ = released.lock().unwrap().recv();
        stream.write_all(b"lf")
    });
    let route = format!("max_in_flight: 1\nuri: /*\napi_gateway:\n  function_uri: {}\n", upstream.uri("/"));
    let app = App::with("workers: 2").route("r", &route).start();
    let mut first = open(app.address);
    first.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"ha") {
        let mut piece = [0; 256];
        let length = first.read(&mut piece).unwrap();
        seen.extend_from_slice(&piece[..length]);
    }
    for _ in 0..4 {
        assert_refused(&get(app.address, "/"), 503, "overloaded");
    }
    release.send(()).unwrap();
    first.read_exact(&mut [0; 2]).unwrap();
    eventually("the permit is given back", || app.snapshot.admission.in_flight() == 0);
    release.send(()).unwrap();
    assert_eq!(get(app.address, "/").text(), "half");
}

const SIGNED: &str = "authorization:\n  iam: { accesskey: AKIDEXAMPLE, secretkey: s }";
/// All limits except one are too high to be reached.
const IN_TIME: &str = "timeout: 1h\nrequest_timeout: 300";

#[track_caller]
fn assert_took_at_least(milliseconds: u64, start: Instant) {
    assert!(start.elapsed() >= Duration::from_millis(milliseconds), "{:?}", start.elapsed());
}

#[test]
fn request_timeout_is_504_while_nothing_of_an_answer_has_come() {
    // a TLS handshake that is never answered, and a head that is never sent
    let silent = Upstream::accepting(|_, mut stream, _| io::copy(&mut stream, &mut io::sink()).map(drop));
    for scheme in ["http", "https"] {
        let uri = format!("{scheme}://{}/", silent.address);
        let app = App::with("").gateway("r", "/*", &uri, IN_TIME).start();
        let start = Instant::now();
        assert_refused(&call(app.address, "POST", "/", &[], b"x"), 504, "upstream_timeout");
        assert_took_at_least(300, start);
        eventually("the call is ended", || silent.open() == 0);
    }
    let app = App::with("").lambda("f", "/*", silent.address, IN_TIME).start();
    assert_refused(&get(app.address, "/"), 504, "upstream_timeout");
}

#[test]
fn request_timeout_is_408_while_the_clients_body_is_waited_for() {
    let silent = Upstream::accepting(|_, mut stream, _| io::copy(&mut stream, &mut io::sink()).map(drop));
    for rest in ["", SIGNED] {
        let app = App::with("").gateway("r", "/*", &silent.uri("/"), &format!("{IN_TIME}\n{rest}")).start();
        let start = Instant::now();
        let response = send(app.address, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n12345");
        assert_refused(&response, 408, "request_timeout");
        assert_took_at_least(300, start);
        // less than `body_timeout`
        assert!(start.elapsed() < Duration::from_secs(20));
        eventually("the call is ended", || silent.open() == 0);
    }
}

#[test]
fn request_timeout_counts_from_the_head_and_not_from_when_the_body_was_there() {
    let (upstream, _release) = on_release();
    let rest = format!("timeout: 1h\nrequest_timeout: 2s\n{SIGNED}");
    let app = App::with("").gateway("r", "/*", &upstream.uri("/"), &rest).start();
    let mut stream = open(app.address);
    let start = Instant::now();
    stream.write_all(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n1").unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    stream.write_all(b"2").unwrap();
    let response = read_response(&mut BufReader::new(stream), false).unwrap();
    assert_refused(&response, 504, "upstream_timeout");
    assert_took_at_least(2000, start);
    assert!(start.elapsed() < Duration::from_millis(3500), "{:?}", start.elapsed());
}

#[test]
fn request_timeout_is_504_while_an_answer_is_collected() {
    let upstream = Upstream::serving(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{")?;
        stream.read(&mut [0]).map(drop)
    });
    let rest = format!("{IN_TIME}\nis_proxy_integration: true");
    let app = App::with("").lambda("f", "/*", upstream.address, &rest).start();
    assert_refused(&get(app.address, "/"), 504, "upstream_timeout");
    eventually("the call is ended", || upstream.open() == 0);
}

/// An upstream whose responses continue for much longer than permitted, one piece at a time.
fn lasting(pause: Duration) -> Upstream {
    Upstream::serving(move |_, stream| {
        let start = Instant::now();
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")?;
        while start.elapsed() < Duration::from_secs(5) {
            stream.write_all(b"5\r\nhello\r\n")?;
            std::thread::sleep(pause);
        }
        stream.write_all(b"0\r\n\r\n")
    })
}

#[test]
fn request_timeout_breaks_off_an_answer_that_has_begun() {
    // slow, without a pause, and stalled
    for pause in [Duration::from_millis(20), Duration::ZERO, Duration::from_secs(1)] {
        let upstream = lasting(pause);
        let app = App::with("").gateway("r", "/*", &upstream.uri("/"), IN_TIME).start();
        let start = Instant::now();
        let mut stream = open(app.address);
        stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
        let mut stream = BufReader::new(stream);
        assert!(read_response(&mut stream, false).is_err(), "it never ends in good order");
        assert_took_at_least(300, start);
        eventually("the call is ended", || upstream.open() == 0 && app.snapshot.admission.in_flight() == 0);
    }
}

#[test]
fn request_timeout_breaks_off_an_answer_of_known_length_and_one_to_http_1_0_too() {
    let upstream = Upstream::serving(|request, stream| {
        let length = if request.target() == "/sized" { "content-length: 100\r\n" } else { "" };
        write!(stream, "HTTP/1.1 200 OK\r\n{length}\r\nhello")?;
        stream.read(&mut [0]).map(drop)
    });
    let app = App::with("").gateway("r", "/*", &upstream.uri("/"), IN_TIME).start();
    for target in ["/sized", "/until-close"] {
        let mut stream = open(app.address);
        write!(stream, "GET {target} HTTP/1.0\r\n\r\n").unwrap();
        let error = read_response(&mut BufReader::new(stream), false).unwrap_err();
        // the sidecar closed it, not the client's timeout
        assert_ne!(error.kind(), io::ErrorKind::WouldBlock, "{target}: {error}");
    }
}

#[test]
fn request_timeout_strikes_while_a_client_reads_slowly() {
    let upstream = lasting(Duration::ZERO);
    let app = App::with("").gateway("r", "/*", &upstream.uri("/"), IN_TIME).start();
    let mut stream = open(app.address);
    stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    let mut piece = vec![0; 1 << 16];
    let mut end = Vec::new();
    // an error or the end of the connection
    while let Ok(length @ 1..) = stream.read(&mut piece) {
        end = piece[..length].to_vec();
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(!end.ends_with(b"0\r\n\r\n"), "it ends in good order");
    eventually("the call is ended", || upstream.open() == 0 && app.snapshot.admission.in_flight() == 0);
}

#[test]
fn request_timeout_strikes_while_a_client_takes_nothing() {
    let upstream = Upstream::serving(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 67108864\r\n\r\n")?;
        (0..1024).try_for_each(|_| stream.write_all(&vec![b'x'; 65536]))
    });
    let app = App::listening("h2c: true", "").gateway("r", "/*", &upstream.uri("/"), IN_TIME).start();
    // several connections, because the state of each at that moment is random
    let mut streams: Vec<_> = (0..10).map(|_| open(app.address)).collect();
    for stream in &mut streams {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    }
    let mut client = Http2::open(app.address);
    let held = client.begin(http::Request::get("http://h/").body(()).unwrap(), true).unwrap();
    eventually("the calls are made", || upstream.received().len() == 11);
    eventually("the calls are ended", || upstream.open() == 0 && app.snapshot.admission.in_flight() == 0);
    drop((streams, held));
}

#[test]
fn without_request_timeout_an_answer_takes_as_long_as_it_takes() {
    for rest in ["timeout: 300", "timeout: 300\nrequest_timeout: 0"] {
        let upstream = Upstream::serving(|_, stream| {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n")?;
            for _ in 0..8 {
                std::thread::sleep(Duration::from_millis(100));
                stream.write_all(b"x")?;
            }
            Ok(())
        });
        let app = App::with("").gateway("r", "/*", &upstream.uri("/"), rest).start();
        assert_eq!(get(app.address, "/").text(), "xxxxxxxx");
    }
}

#[test]
fn an_answer_that_request_timeout_breaks_off_is_explained_in_the_log() {
    let upstream = lasting(Duration::from_millis(20));
    let rest = "timeout: 1h\n  request_timeout: 300";
    let route = format!("uri: /*\napi_gateway:\n  function_uri: {}\n  {rest}\n", upstream.uri("/"));
    let directory = settings(ANY_PORT, &[("r", &route)]);
    let (mut process, address) = Process::run(directory.path());
    let mut stream = open(address);
    stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\nX-Request-Id: cut-off\r\n\r\n").unwrap();
    assert!(read_response(&mut BufReader::new(stream), false).is_err());
    let log = process.stop();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("request_id=cut-off")).collect();
    let [cause, access] = &lines[..] else { panic!("{log}") };
    assert!(cause.contains("request_timeout, 300ms") && cause.contains("code=upstream_timeout"), "{cause}");
    assert!(access.contains(" 200 ") && access.ends_with("code=upstream_timeout"), "{access}");
}

#[test]
fn connections_beyond_max_connections_are_503_with_retry_after_and_room_comes_back() {
    let upstream = Upstream::ok();
    let app = App::with("limits: { max_connections: 1 }").gateway("r", "/*", &upstream.uri("/"), "").start();
    let mut first = BufReader::new(open(app.address));
    first.get_mut().write_all(b"GET /1 HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    assert_eq!(read_response(&mut first, false).unwrap().status, 200);
    let refused = get(app.address, "/2");
    assert_refused(&refused, 503, "overloaded");
    assert_eq!(refused.json()["message"], "Too many connections");
    assert_eq!((refused.header("retry-after"), refused.header("connection")), (Some("1"), Some("close")));
    first.get_mut().write_all(b"GET /3 HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    assert_eq!(read_response(&mut first, false).unwrap().status, 200);
    drop(first);
    eventually("there is room again", || get(app.address, "/4").status == 200);
    let targets: Vec<String> = upstream.received().iter().map(|own| own.target().to_owned()).collect();
    assert_eq!(targets, ["/1", "/3", "/4"]);
}

#[test]
fn requests_in_one_packet_are_answered_one_by_one_in_order() {
    let upstream = Upstream::serving(|request, stream| {
        let body = request.target();
        write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    });
    let app = App::to(&upstream.uri("/"));
    let mut stream = open(app.address);
    let requests: String = (0..20).map(|index| format!("GET /{index} HTTP/1.1\r\nHost: h\r\n\r\n")).collect();
    stream.write_all(requests.as_bytes()).unwrap();
    let mut reader = BufReader::new(stream);
    for index in 0..20 {
        assert_eq!(read_response(&mut reader, false).unwrap().text(), format!("/{index}"));
    }
}

#[test]
fn a_body_that_its_client_cuts_and_a_head_with_too_many_headers_are_told_in_the_log_in_plain_words() {
    let upstream = Upstream::ok();
    let iam = "  authorization: { iam: { accesskey: AKIDEXAMPLE, secretkey: s } }\n";
    let route = format!("uri: /*\napi_gateway:\n  function_uri: {}\n{iam}", upstream.uri("/"));
    let directory = settings(ANY_PORT, &[("r", &route)]);
    let (mut process, address) = Process::run(directory.path());
    for framing in ["Content-Length: 10\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n5\r\nabc"] {
        let mut stream = open(address);
        stream.write_all(format!("POST / HTTP/1.1\r\nHost: h\r\n{framing}").as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("invalid_body"), "{answer}");
    }
    let many = format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "a: b\r\n".repeat(200));
    assert_eq!(send(address, many).status, 431);
    let log = process.stop();
    assert_eq!(
        log.matches("incomplete: the client ended its connection before the end of its body").count(),
        2,
        "{log}"
    );
    assert!(
        log.contains("too many or too long: more than 96 headers or a head of more than 128 KiB"),
        "{log}"
    );
    assert_eq!(upstream.accepted(), 0);
}
