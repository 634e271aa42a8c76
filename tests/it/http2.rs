//! HTTP/2 for clients: prior knowledge on the HTTP/1.1 port, streams, GOAWAY, and abuse.

use std::{
    io::{self, Read, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use http::Request;

use super::support::{
    App, Http2, Upstream, eventually, get,
    http2::{
        CONTINUATION, DATA, END_HEADERS, END_STREAM, Frames, GET, GOAWAY, HEADERS, PING, RST_STREAM, block,
    },
    process::{Process, settings},
    send,
};

const H2C: &str = "h2c: true";

fn before(upstream: &Upstream, rest: &str) -> App {
    App::listening(H2C, "").gateway("r", "/*", &upstream.uri("/"), rest).start()
}

const IAM: &str = "authorization:\n  iam: { accesskey: AKIDEXAMPLE, secretkey: s }";

#[test]
fn both_versions_are_spoken_on_one_port_and_only_1_1_without_h2c() {
    let upstream = Upstream::ok();
    let app = before(&upstream, "");
    assert_eq!(Http2::open(app.address).get("/2").text(), "ok");
    assert_eq!(get(app.address, "/1").text(), "ok");
    // starts like the preface, but is HTTP/1.1
    assert_eq!(send(app.address, b"PRI / HTTP/1.1\r\nHost: h\r\n\r\n").status, 200);
    assert_eq!(send(app.address, b"P / HTTP/1.1\r\nHost: h\r\n\r\n").status, 200);
    let plain = App::to(&upstream.uri("/"));
    let mut refused = Frames::open(plain.address);
    assert!(refused.until(GOAWAY).is_some());
    assert_eq!(get(plain.address, "/1").text(), "ok");
}

#[test]
fn a_request_reaches_the_upstream_as_http_1_1_with_its_authority_as_host_and_its_bytes() {
    for rest in ["", IAM] {
        let upstream = Upstream::ok();
        let app = before(&upstream, rest);
        let mut client = Http2::open(app.address);
        let cookies = [("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3")];
        let headers = [&[("x-a", "1"), ("x-a", "2"), ("te", "trailers")], &cookies[..]].concat();
        let body = vec![b'x'; 300_000];
        let uri = "http://example.com:8080/a%2Fb//c?q=1&q=%20";
        assert_eq!(client.call("POST", uri, &headers, &body).unwrap().status, 200);
        let received = upstream.only();
        assert_eq!(received.line, "POST /a%2Fb//c?q=1&q=%20 HTTP/1.1");
        assert_eq!(received.body, body);
        assert_eq!(received.header("x-forwarded-host"), Some("example.com:8080"));
        assert_eq!(received.header("x-forwarded-proto"), Some("http"));
        assert_eq!(received.all("x-a"), ["1", "2"]);
        assert!(received.header("via").unwrap().starts_with("2.0 apigw-invoker-"), "{received:?}");
        assert!(received.header("te").is_none());
        // RFC 9113, 8.2.3
        assert_eq!(received.header("cookie"), Some("a=1; b=2; c=3"));
        assert_eq!(received.header("content-length"), Some("300000"));
    }
}

#[test]
fn headers_of_a_connection_never_reach_the_client() {
    let upstream = Upstream::answering(
        "HTTP/1.1 200 OK\r\nConnection: keep-alive, x-hop\r\nKeep-Alive: timeout=5\r\nX-Hop: 1\r\n\
         Proxy-Connection: x\r\nTransfer-Encoding: chunked\r\nTrailer: x-t\r\nUpgrade: h3\r\nX-End: 1\r\n\
         Set-Cookie: a\r\nSet-Cookie: b\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    );
    let app = before(&upstream, "");
    let answer = Http2::open(app.address).get("/");
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
    for name in
        ["connection", "keep-alive", "x-hop", "proxy-connection", "transfer-encoding", "trailer", "upgrade"]
    {
        assert!(answer.header(name).is_none(), "{name}: {answer:?}");
    }
    assert_eq!(answer.header("x-end"), Some("1"));
    assert_eq!(answer.headers.get_all("set-cookie").iter().count(), 2);
    assert!(answer.header("date").is_some() && answer.header("x-request-id").is_some());
}

#[test]
fn head_204_304_and_empty_answers_end_with_their_head() {
    for (answer, method, status, length) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", "HEAD", 200, Some("5")),
        ("HTTP/1.1 204 No Content\r\n\r\n", "GET", 204, None),
        ("HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\n\r\n", "GET", 304, Some("7")),
        ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", "GET", 200, Some("0")),
    ] {
        let upstream = Upstream::answering(answer);
        let app = before(&upstream, "");
        let answer = Http2::open(app.address).call(method, "http://h/", &[], b"").unwrap();
        assert_eq!((answer.status, answer.header("content-length")), (status, length), "{method}");
        assert!(answer.body.is_empty());
    }
}

#[test]
fn our_own_answers_are_the_same_json() {
    let upstream = Upstream::ok();
    let app = App::listening(H2C, "limits: { max_headers: 20 }")
        .gateway("r", "/r/*", &upstream.uri("/"), "max_req_body_size: 10")
        .start();
    let mut client = Http2::open(app.address);
    let many: Vec<(String, String)> = (0..30).map(|number| (format!("x-{number}"), "1".to_owned())).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (&**name, &**value)).collect();
    for (uri, headers, body, status, code) in [
        ("http://h/none", &[][..], &b""[..], 404, "route_not_found"),
        ("http://h/r/a", &[], b"more than ten bytes", 413, "payload_too_large"),
        ("http://h/r/%zz", &[], b"", 400, "invalid_path"),
        ("http://h/r/a/..%2f..", &[], b"", 400, "invalid_path"),
        ("http://h/r/a", &many, b"", 431, "headers_too_large"),
    ] {
        let answer = client.call("POST", uri, headers, body).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!((answer.status, json["code"].as_str()), (status, Some(code)), "{uri}");
        assert_eq!(answer.header("x-request-id"), json["request_id"].as_str());
    }
    assert_eq!(upstream.accepted(), 0);
}

#[test]
fn a_host_that_differs_from_the_authority_and_none_at_all_are_400_and_trace_405() {
    let upstream = Upstream::ok();
    let app = before(&upstream, "");
    let mut client = Http2::open(app.address);
    let differs = client.call("GET", "http://a/", &[("host", "b")], b"").unwrap();
    assert_eq!(differs.status, 400, "{}", differs.text());
    assert_eq!(client.call("GET", "http://a/", &[("host", "a")], b"").unwrap().status, 200);
    assert_eq!(client.call("TRACE", "http://a/", &[], b"").unwrap().status, 405);
    assert_eq!(upstream.received().len(), 1);
    // `:method: GET`, `:scheme: http`, `:path: /` and no authority
    let mut frames = Frames::open(app.address);
    frames.send(HEADERS, END_STREAM | END_HEADERS, 1, &[0x82, 0x86, 0x84]).unwrap();
    let head = frames.until(HEADERS).unwrap();
    // the first byte is the status: 12 of the static table is `:status: 400`
    assert_eq!(head.payload[0], 0x8c, "{head:?}");
}

#[test]
fn connect_and_the_asterisk_are_404_with_an_access_line_as_over_http_1_1() {
    let upstream = Upstream::ok();
    let route = format!("uri: /*\napi_gateway:\n  function_uri: {}\n", upstream.uri("/"));
    let process = "listen: { http: '127.0.0.1:0', h2c: true }\nlog: { access: true }\n";
    let directory = settings(process, &[("r", &route)]);
    let (mut process, address) = Process::run(directory.path());
    let mut frames = Frames::open(address);
    let with = |method: &str| {
        block(&[(":method", method), (":scheme", "http"), (":path", "*"), (":authority", "h")])
    };
    let connect = block(&[(":method", "CONNECT"), (":authority", "h:443")]);
    for (number, head) in (0..).zip([connect, with("OPTIONS"), with("GET")]) {
        let stream = 2 * number + 1;
        frames.send(HEADERS, END_STREAM | END_HEADERS, stream, &head).unwrap();
        let received = frames.of_stream(stream);
        // 13 of the static table is `:status: 404`
        assert_eq!(received[0].payload[0], 0x8d, "{received:?}");
        assert!(String::from_utf8_lossy(&received[1].payload).contains("route_not_found"), "{received:?}");
    }
    let log = process.stop();
    for line in [" CONNECT - 404 ", " OPTIONS * 404 ", " GET * 404 "] {
        assert_eq!(log.matches(line).count(), 1, "{log}");
    }
    assert_eq!(upstream.accepted(), 0);
}

#[test]
fn x15_a_user_in_the_authority_is_400_for_that_stream_alone() {
    let upstream = Upstream::ok();
    let app = before(&upstream, "");
    let mut frames = Frames::open(app.address);
    let authority = b"user:pw@h";
    // `:method: GET`, `:scheme: http`, `:path: /`, `:authority` as a literal
    let mut block = vec![0x82, 0x86, 0x84, 0x01, u8::try_from(authority.len()).unwrap()];
    block.extend_from_slice(authority);
    frames.send(HEADERS, END_STREAM | END_HEADERS, 1, &block).unwrap();
    // the first byte is the status: 12 of the static table is `:status: 400`
    assert_eq!(frames.until(HEADERS).unwrap().payload[0], 0x8c);
    assert_eq!(upstream.accepted(), 0);
    frames.send(HEADERS, END_STREAM | END_HEADERS, 3, GET).unwrap();
    assert_eq!(frames.until(HEADERS).unwrap().stream, 3);
    assert_eq!(upstream.received().len(), 1);
}

#[test]
fn streams_are_served_side_by_side_and_pieces_arrive_one_by_one() {
    let go_on = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&go_on);
    let upstream = Upstream::serving(move |request, stream| {
        if request.target() == "/quick" {
            return stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nquick");
        }
        stream.write_all(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
        )?;
        stream.write_all(b"9\r\ndata: 1\n\n\r\n")?;
        eventually("told to go on", || told.load(Ordering::SeqCst));
        stream.write_all(b"9\r\ndata: 2\n\n\r\n0\r\n\r\n")
    });
    let app = before(&upstream, "");
    let mut client = Http2::open(app.address);
    let slow = client.begin(Request::get("http://h/slow").body(()).unwrap(), true).unwrap();
    let mut body = client.runtime.block_on(async { slow.response.await.unwrap().into_body() });
    let first = client.runtime.block_on(body.data()).unwrap().unwrap();
    assert_eq!(first, Bytes::from_static(b"data: 1\n\n"));
    assert_eq!(client.get("/quick").text(), "quick");
    go_on.store(true, Ordering::SeqCst);
    assert_eq!(client.runtime.block_on(body.data()).unwrap().unwrap(), Bytes::from_static(b"data: 2\n\n"));
    // the end of the stream may be an empty frame of its own
    let rest = client.runtime.block_on(async { body.data().await });
    assert!(rest.is_none_or(|end| end.unwrap().is_empty()) && body.is_end_stream());
}

#[test]
fn a_request_that_is_taken_back_ends_the_call_and_frees_its_place() {
    let upstream = Upstream::accepting(|_, mut stream, _| {
        // until the sidecar closes it
        io::copy(&mut stream, &mut io::sink()).map(drop)
    });
    let app = before(&upstream, "timeout: 60000");
    let mut client = Http2::open(app.address);
    let stream = client.begin(Request::get("http://h/").body(()).unwrap(), true).unwrap();
    client.runtime.block_on(async {
        while app.snapshot.admission.in_flight() == 0 {
            tokio::task::yield_now().await;
        }
    });
    eventually("the call goes out", || upstream.open() == 1);
    let mut body = stream.body;
    body.send_reset(h2::Reason::CANCEL);
    client.runtime.block_on(async {
        while app.snapshot.admission.in_flight() > 0 {
            tokio::task::yield_now().await;
        }
    });
    eventually("the call is ended", || upstream.open() == 0);
    drop(stream.response);
}

#[test]
fn a_connection_that_is_cut_ends_all_its_calls() {
    let upstream = Upstream::accepting(|_, mut stream, _| io::copy(&mut stream, &mut io::sink()).map(drop));
    let app = before(&upstream, "timeout: 60000");
    let mut frames = Frames::open(app.address);
    for stream in [1, 3, 5] {
        frames.send(HEADERS, END_STREAM | END_HEADERS, stream, GET).unwrap();
    }
    eventually("three calls", || upstream.open() == 3 && app.snapshot.admission.in_flight() == 3);
    drop(frames);
    eventually("no call", || upstream.open() == 0 && app.snapshot.admission.in_flight() == 0);
}

#[test]
fn an_answer_that_is_cut_resets_its_stream_and_leaves_the_others_alone() {
    let upstream = Upstream::serving(|request, stream| {
        if request.target() == "/cut" {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345")?;
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
    });
    let app = before(&upstream, "");
    let mut client = Http2::open(app.address);
    let error = client.call("GET", "http://h/cut", &[], b"").unwrap_err();
    assert_eq!(error.reason(), Some(h2::Reason::INTERNAL_ERROR), "{error}");
    assert_eq!(client.get("/whole").text(), "ok");
}

#[test]
fn a_body_that_is_shorter_or_longer_than_announced_never_reaches_the_upstream_whole() {
    for rest in ["", IAM] {
        for length in ["3", "30"] {
            let upstream = Upstream::ok();
            let app = before(&upstream, rest);
            let mut client = Http2::open(app.address);
            let outcome = client.call("POST", "http://h/", &[("content-length", length)], b"0123456789");
            if let Ok(answer) = outcome {
                assert_eq!(answer.status, 400, "{}", answer.text());
            }
            assert!(upstream.received().is_empty(), "{:?}", upstream.received());
        }
    }
}

#[test]
fn headers_of_a_connection_in_a_request_are_400_for_its_stream() {
    let upstream = Upstream::ok();
    let app = before(&upstream, "");
    let mut frames = Frames::open(app.address);
    // a literal header without indexing: `transfer-encoding: chunked`
    let mut block = GET.to_vec();
    block.extend([0, 17]);
    block.extend_from_slice(b"transfer-encoding");
    block.push(7);
    block.extend_from_slice(b"chunked");
    frames.send(HEADERS, END_STREAM | END_HEADERS, 1, &block).unwrap();
    let head = frames.until(HEADERS).unwrap();
    // `:status: 400` of the static table
    assert_eq!((head.stream, head.payload[0]), (1, 0x8c));
    assert_eq!(upstream.accepted(), 0);
}

#[test]
fn rapid_resets_end_the_connection_and_leave_no_call_behind() {
    let upstream = Upstream::accepting(|_, mut stream, _| io::copy(&mut stream, &mut io::sink()).map(drop));
    let app = before(&upstream, "timeout: 60000");
    let mut frames = Frames::open(app.address);
    for number in 0..5000 {
        let stream = number * 2 + 1;
        let sent = frames
            .send(HEADERS, END_STREAM | END_HEADERS, stream, GET)
            .and_then(|()| frames.send(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
        if sent.is_err() {
            break;
        }
    }
    let rest = frames.rest();
    if let Some(away) = rest.iter().find(|frame| frame.kind == GOAWAY) {
        // ENHANCE_YOUR_CALM
        assert_eq!(away.payload[4..8], [0, 0, 0, 11], "{away:?}");
    }
    eventually("no call is left", || app.snapshot.admission.in_flight() == 0 && upstream.open() == 0);
    assert!(upstream.accepted() < 500, "{} calls", upstream.accepted());
    assert_eq!(get(app.admin, "/live").status, 200);
}

#[test]
fn endless_continuations_end_the_connection() {
    let upstream = Upstream::ok();
    let app = before(&upstream, "");
    let mut frames = Frames::open(app.address);
    frames.send(HEADERS, END_STREAM, 1, GET).unwrap();
    // a literal header without indexing, 1000 bytes of value
    let mut block = vec![0, 1, b'x', 0x7f, 0xe9, 0x06];
    block.resize(6 + 1000, b'v');
    let mut sent = 0;
    while sent < 100_000 && frames.send(CONTINUATION, 0, 1, &block).is_ok() {
        sent += 1;
    }
    assert!(sent < 100_000, "{sent} frames were taken");
    assert_eq!(upstream.accepted(), 0);
    assert_eq!(app.snapshot.admission.in_flight(), 0);
}

#[test]
fn garbage_behind_the_preface_and_frames_out_of_order_end_the_connection() {
    let upstream = Upstream::ok();
    let app = before(&upstream, "");
    let mut garbage = Frames::open(app.address);
    garbage.stream.write_all(&[0xff; 100]).unwrap();
    assert!(garbage.rest().iter().any(|frame| frame.kind == GOAWAY));
    let mut frames = Frames::open(app.address);
    frames.send(DATA, END_STREAM, 1, b"x").unwrap();
    assert!(frames.until(GOAWAY).is_some());
    assert_eq!(upstream.accepted(), 0);
}

#[test]
fn floods_of_empty_data_and_of_pings_do_not_stop_others() {
    let upstream = Upstream::ok();
    let app = before(&upstream, "");
    let mut frames = Frames::open(app.address);
    // POST
    frames.send(HEADERS, END_HEADERS, 1, &[0x83, 0x86, 0x84, 0x01, 0x01, b'h']).unwrap();
    let mut other = Http2::open(app.address);
    for _ in 0..20_000 {
        if frames.send(DATA, 0, 1, b"").is_err() || frames.send(PING, 0, 0, b"12345678").is_err() {
            break;
        }
    }
    assert_eq!(other.get("/").status, 200);
    drop(frames);
    eventually("nothing is left", || app.snapshot.admission.in_flight() == 0);
}

#[test]
fn an_idle_connection_is_told_to_go_and_closed() {
    let upstream = Upstream::ok();
    let app = App::listening(H2C, "limits: { keep_alive: 200ms }")
        .gateway("r", "/*", &upstream.uri("/"), "")
        .start();
    let mut client = Http2::open(app.address);
    assert_eq!(client.get("/").status, 200);
    client.end().unwrap();
    // a connection without a preface
    let mut silent = Frames::open(app.address);
    assert!(silent.until(GOAWAY).is_some());
    assert!(silent.rest().iter().all(|frame| frame.kind != HEADERS));
}

#[test]
fn a_preface_that_stops_halfway_is_closed_in_time() {
    let upstream = Upstream::ok();
    let app = App::listening(H2C, "limits: { header_timeout: 200ms }")
        .gateway("r", "/*", &upstream.uri("/"), "")
        .start();
    let mut stream = super::support::open(app.address);
    stream.write_all(b"PRI * HTTP/2.0\r\n").unwrap();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert!(String::from_utf8_lossy(&rest).starts_with("HTTP/1.1 4") || rest.is_empty(), "{rest:?}");
}

#[test]
fn an_upload_is_held_back_where_the_upstream_does_not_take_it_and_passes_whole() {
    let upstream = Upstream::ok();
    let app = before(&upstream, "max_req_body_size: 8MiB\ntimeout: 20000");
    let mut client = Http2::open(app.address);
    let body = vec![b'y'; 4 << 20];
    let answer = client.call("POST", "http://h/", &[("content-length", "4194304")], &body).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(upstream.only().body, body);
}

#[test]
fn small_chunks_of_an_answer_that_are_at_hand_share_a_frame() {
    let chunks = "1\r\na\r\n".repeat(900);
    let upstream = Upstream::answering(&format!(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{chunks}0\r\n\r\n"
    ));
    let app = before(&upstream, "");
    let mut frames = Frames::open(app.address);
    frames.send(HEADERS, END_STREAM | END_HEADERS, 1, GET).unwrap();
    let mut data = Vec::new();
    let mut body = 0;
    while body < 900 {
        let frame = frames.until(DATA).expect("the whole body");
        body += frame.payload.len();
        data.push(frame.payload.len());
    }
    // the default window of `h2` has room for 128 waiting streams with small bodies
    assert!(data.len() < 20, "{data:?}");
}
