//! Responses over HTTP/2 that are cut or sent before the request is complete, and clients that wait for
//! `100 Continue`.

use std::io::{self, Write as _};

use http::Request;

use super::{
    event_streams::{HEAD, event, write_chunk},
    support::{
        App, Http2, Upstream, eventually,
        http2::{DATA, END_HEADERS, END_STREAM, Frame, Frames, GET, HEADERS, RST_STREAM},
        process::{Process, settings},
    },
};

const H2C: &str = "h2c: true";

fn before(upstream: &Upstream, rest: &str) -> App {
    App::listening(H2C, "").gateway("r", "/*", &upstream.uri("/"), rest).start()
}

/// An upstream that writes the same bytes for each request and closes.
fn cutting(answer: &'static str) -> Upstream {
    Upstream::serving(move |_, stream| {
        stream.write_all(answer.as_bytes())?;
        Err(io::ErrorKind::ConnectionAborted.into())
    })
}

/// The sidecar as a process in front of an upstream.
fn process_before(upstream: &Upstream) -> (Process, std::net::SocketAddr, tempfile::TempDir) {
    let route = format!("uri: /*\napi_gateway:\n  function_uri: {}\n", upstream.uri("/"));
    let directory = settings("listen: { http: '127.0.0.1:0', h2c: true }\n", &[("r", &route)]);
    let (process, address) = Process::run(directory.path());
    (process, address, directory)
}

const INTERNAL_ERROR: [u8; 4] = [0, 0, 0, 2];

fn data(frames: &[Frame]) -> Vec<u8> {
    frames.iter().filter(|frame| frame.kind == DATA).flat_map(|frame| frame.payload.clone()).collect()
}

#[test]
fn c1_what_was_received_of_a_cut_answer_goes_out_before_its_stream_is_reset() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n0123456789",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\na\r\n0123456789\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\na\r\n0123456789\r\nno size\r\n",
    ] {
        let upstream = cutting(answer);
        let (mut process, address, _directory) = process_before(&upstream);
        let mut frames = Frames::open(address);
        for number in 0..20 {
            let stream = 2 * number + 1;
            frames.send(HEADERS, END_STREAM | END_HEADERS, stream, GET).unwrap();
            let received = frames.of_stream(stream);
            let head = &received[0];
            // the first byte is `:status: 200` of the static table
            assert_eq!((head.kind, head.payload[0]), (HEADERS, 0x88), "{answer}: {received:?}");
            assert_eq!(data(&received), b"0123456789", "{answer}: {received:?}");
            // the answered PING before the reset shows that the client had read everything
            let reset = received.last().unwrap();
            assert_eq!((reset.kind, &reset.payload[..]), (RST_STREAM, &INTERNAL_ERROR[..]));
        }
        let log = process.stop();
        assert_eq!(log.matches(" response_bytes=10 ").count(), 20, "{log}");
    }
}

#[test]
fn c1_what_a_function_wrote_before_it_failed_goes_out_before_its_stream_is_reset() {
    let upstream = Upstream::serving(|_, stream| {
        let failed = br#"{"ErrorCode":"Unhandled","ErrorDetails":"x"}"#;
        let events = [event("PayloadChunk", b"0123456789"), event("InvokeComplete", failed)].concat();
        // everything can be read
        let mut whole = Vec::new();
        write_chunk(&mut whole, &events)?;
        stream.write_all(&[HEAD.as_bytes(), &whole, b"0\r\n\r\n"].concat())
    });
    let app =
        App::listening(H2C, "").lambda("r", "/*", upstream.address, "invoke_mode: response_stream").start();
    let mut frames = Frames::open(app.address);
    for number in 0..20 {
        let stream = 2 * number + 1;
        frames.send(HEADERS, END_STREAM | END_HEADERS, stream, GET).unwrap();
        let received = frames.of_stream(stream);
        assert_eq!((received[0].kind, received[0].payload[0]), (HEADERS, 0x88), "{received:?}");
        assert_eq!(data(&received), b"0123456789", "{received:?}");
        let reset = received.last().unwrap();
        assert_eq!((reset.kind, &reset.payload[..]), (RST_STREAM, &INTERNAL_ERROR[..]));
    }
}

#[test]
fn c1_an_answer_that_breaks_before_its_first_byte_is_502_and_logged_once() {
    let upstream =
        cutting("HTTP/1.1 200 OK\r\nx-of: upstream\r\ntransfer-encoding: chunked\r\n\r\nno size\r\n");
    let (mut process, address, _directory) = process_before(&upstream);
    let answer = Http2::open(address).get("/");
    let json: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((answer.status, json["code"].as_str()), (502, Some("upstream_protocol")));
    assert_eq!(answer.header("x-of"), None);
    assert_eq!(answer.header("x-request-id"), json["request_id"].as_str());
    let log = process.stop();
    assert_eq!(log.matches("The upstream's response was malformed").count(), 1, "{log}");
    let access = log.lines().find(|line| line.contains("GET / 502")).expect(&log);
    assert!(access.contains(&format!(" response_bytes={} ", answer.body.len())), "{access}");
}

#[test]
fn c1_the_access_log_counts_what_a_client_had_room_for() {
    let upstream =
        Upstream::answering(&format!("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{}", "x".repeat(1000)));
    let (mut process, address, _directory) = process_before(&upstream);
    // SETTINGS_INITIAL_WINDOW_SIZE: 10
    let mut frames = Frames::with_settings(address, &[0, 4, 0, 0, 0, 10]);
    frames.send(HEADERS, END_STREAM | END_HEADERS, 1, GET).unwrap();
    assert_eq!(frames.until(DATA).unwrap().payload, b"xxxxxxxxxx");
    frames.send(RST_STREAM, 0, 1, &8_u32.to_be_bytes()).unwrap();
    process.says("GET / 200");
    let log = process.stop();
    assert!(log.contains(" response_bytes=10 "), "{log}");
}

#[test]
fn c2_100_continue_is_sent_when_the_body_is_needed() {
    for rest in ["", "authorization:\n  iam: { accesskey: AKIDEXAMPLE, secretkey: s }"] {
        let upstream = Upstream::ok();
        let app = before(&upstream, rest);
        let mut client = Http2::open(app.address);
        for expect in ["100-continue", "100-Continue, x"] {
            let request = Request::post("http://h/a").header("expect", expect).header("content-length", "5");
            let mut stream = client.begin(request.body(()).unwrap(), false).unwrap();
            assert_eq!(client.interim(&mut stream.response), Some(100));
            stream.body.send_data("hello".into(), true).unwrap();
            assert_eq!(client.finish(stream.response).unwrap().status, 200);
        }
        let received = upstream.received();
        assert_eq!(received.len(), 2);
        assert!(received.iter().all(|request| request.body == b"hello"));
        assert!(received.iter().all(|request| request.header("expect").is_none()));
    }
}

#[test]
fn c2_a_request_that_is_refused_by_its_head_is_not_continued() {
    let upstream = Upstream::ok();
    let app = App::listening(H2C, "").gateway("r", "/r", &upstream.uri("/"), "max_req_body_size: 10").start();
    let mut client = Http2::open(app.address);
    for (path, status) in [("/none", 404), ("/r", 413)] {
        let request = Request::post(format!("http://h{path}"));
        let request = request.header("expect", "100-continue").header("content-length", "11");
        let mut stream = client.begin(request.body(()).unwrap(), false).unwrap();
        assert_eq!(client.interim(&mut stream.response), None);
        assert_eq!(client.finish(stream.response).unwrap().status, status);
    }
}

#[test]
fn c7_a_client_that_still_sends_reads_its_early_answer_before_its_stream_ends() {
    let upstream = Upstream::ok();
    let app = App::listening(H2C, "").gateway("r", "/r", &upstream.uri("/"), "max_req_body_size: 10").start();
    let mut client = Http2::open(app.address);
    // several times the flow-control windows of stream and connection
    let body = vec![b'x'; 4 << 20];
    for (path, status) in [("/none", 404), ("/r", 413)] {
        let request = Request::post(format!("http://h{path}")).body(()).unwrap();
        let mut stream = client.begin(request, false).unwrap();
        // like httpx, which reads the response only after it has sent everything
        client.runtime.block_on(async {
            let mut body = &body[..];
            while !body.is_empty() {
                stream.body.reserve_capacity(body.len().min(16 << 10));
                let room = std::future::poll_fn(|context| stream.body.poll_capacity(context));
                let room = room.await.expect("the stream is open").unwrap();
                let (piece, rest) = body.split_at(room.min(body.len()));
                body = rest;
                stream.body.send_data(bytes::Bytes::copy_from_slice(piece), body.is_empty()).unwrap();
            }
        });
        assert_eq!(client.finish(stream.response).unwrap().status, status, "{path}");
    }
}

#[test]
fn c7_a_client_that_sends_on_and_on_is_reset_after_a_moment() {
    let upstream = Upstream::ok();
    let app = App::listening(H2C, "").gateway("r", "/r", &upstream.uri("/"), "").start();
    let mut frames = Frames::open(app.address);
    // POST to `/`, for which no route exists
    frames.send(HEADERS, END_HEADERS, 1, &[0x83, 0x86, 0x84, 0x01, 0x01, b'h']).unwrap();
    let received = frames.of_stream(1);
    assert_eq!((received[0].kind, received[0].payload[0]), (HEADERS, 0x8d), "{received:?}");
    let start = std::time::Instant::now();
    let reset = frames.until(RST_STREAM).unwrap();
    assert_eq!((reset.stream, &reset.payload[..]), (1, &[0; 4][..]), "NO_ERROR");
    assert!(start.elapsed().as_millis() > 1000, "{:?}", start.elapsed());
    eventually("nothing is left", || app.snapshot.admission.in_flight() == 0);
}
