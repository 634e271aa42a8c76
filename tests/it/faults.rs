//! Upstream faults on raw sockets: refused connections, cuts, stalls, malformed data. A truncated response
//! must become a 502 or a broken connection, never a complete short body.
//!
//! This file has faults that need their own test; `faults/table.rs` runs a table of faults over every kind of
//! route.

mod cuts;
pub mod kinds;
mod rows;
mod script;
mod seen;
mod table;
mod tls;

use std::{
    io::{self, BufReader, Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use super::support::{
    App, Response, Upstream, call, eventually, get, open, read_response, upstream::read_request,
};

const QUICK: &str = "timeout: 300";

/// A sidecar in front of an upstream that reads each request, writes these bytes and closes.
fn before(answer: impl AsRef<[u8]>) -> (Upstream, App) {
    let answer = answer.as_ref().to_vec();
    let upstream = Upstream::serving(move |_, stream| {
        stream.write_all(&answer)?;
        Err(io::ErrorKind::ConnectionAborted.into())
    });
    let app = App::with("").gateway("r", "/*", &upstream.uri("/"), QUICK).start();
    (upstream, app)
}

#[track_caller]
fn assert_failed(response: &Response, status: u16, code: &str) {
    assert_eq!((response.status, response.code().as_str()), (status, code), "{}", response.text());
}

/// The response that a client receives; an error if it was cut.
fn outcome(app: &App, request: &str) -> io::Result<Response> {
    let mut stream = open(app.address);
    stream.write_all(request.as_bytes())?;
    read_response(&mut BufReader::new(stream), request.starts_with("HEAD"))
}

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
const GET_1_0: &str = "GET / HTTP/1.0\r\n\r\n";

#[test]
fn an_answer_cut_at_any_byte_is_502_or_broken_and_never_clean() {
    let sized = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789";
    let chunked =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n";
    for whole in [sized, chunked] {
        let head = whole.find("\r\n\r\n").unwrap() + 4;
        let body = whole.rfind("01234").unwrap();
        for cut in 0..whole.len() {
            let (_upstream, app) = before(&whole[..cut]);
            for request in [GET, GET_1_0] {
                match outcome(&app, request) {
                    Ok(response) => {
                        assert!(cut <= body, "a clean {response:?} for {:?}", &whole[..cut]);
                        assert_failed(&response, 502, "upstream_truncated");
                    }
                    Err(_) => assert!(cut >= head, "no answer for {:?}", &whole[..cut]),
                }
            }
        }
        let (_upstream, app) = before(whole);
        for request in [GET, GET_1_0] {
            assert_eq!(outcome(&app, request).unwrap().body, b"0123456789");
        }
    }
}

#[test]
fn a_length_of_100_cut_at_10_bytes_breaks_the_connection() {
    let (_upstream, app) = before("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n0123456789");
    assert!(outcome(&app, GET).is_err());
}

#[test]
fn a_body_that_ends_with_the_connection_arrives_whole() {
    for version in ["1.0", "1.1"] {
        let (_upstream, app) = before(format!(
            "HTTP/{version} 200 OK\r\nContent-Type: text/plain\r\n\r\n{}",
            "x".repeat(100_000)
        ));
        let response = get(app.address, "/");
        assert_eq!((response.status, response.body.len()), (200, 100_000), "{version}");
    }
}

#[test]
fn a_body_that_ends_with_a_reset_connection_is_broken() {
    let upstream = Upstream::serving(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
        stream.write_all(&[b'x'; 10])?;
        reset(stream);
        Err(io::ErrorKind::ConnectionReset.into())
    });
    let app = App::with("").gateway("r", "/*", &upstream.uri("/"), QUICK).start();
    // the reset may overtake the head
    if let Ok(response) = outcome(&app, GET) {
        assert_failed(&response, 502, "upstream_truncated");
    }
}

#[test]
fn c1_a_reset_that_a_write_finds_first_breaks_an_answer_that_ends_with_its_connection() {
    let upstream = Upstream::accepting(|_, mut stream, _| {
        let mut head = [0; 1024];
        while !String::from_utf8_lossy(&head).contains("\r\n\r\n") {
            assert!(stream.read(&mut head)? > 0);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n0123456789")?;
        // until the sidecar waits for buffer space
        let (mut last, mut rounds) = (0, 0);
        while rounds < 20 {
            let now =
                socket2::SockRef::from(&stream).peek(&mut vec![std::mem::MaybeUninit::uninit(); 8 << 20])?;
            rounds = if now == last { rounds + 1 } else { 0 };
            last = now;
            std::thread::sleep(Duration::from_millis(5));
        }
        reset(&stream);
        Ok(())
    });
    let app = App::with("").gateway("r", "/*", &upstream.uri("/"), "timeout: 20000").start();
    for _ in 0..3 {
        let mut stream = open(app.address);
        let mut sender = stream.try_clone().unwrap();
        let sending = std::thread::spawn(move || {
            let head = format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", 8 << 20);
            sender.write_all(head.as_bytes()).and_then(|()| sender.write_all(&vec![b'x'; 8 << 20]))
        });
        let mut heard = Vec::new();
        let end = stream.read_to_end(&mut heard);
        let heard = String::from_utf8_lossy(&heard).into_owned();
        assert!(heard.contains("0123456789"), "{heard}");
        assert!(!heard.ends_with("0\r\n\r\n"), "a whole answer, {end:?}: {heard}");
        drop(stream);
        let _ = sending.join().unwrap();
    }
}

/// Makes the kernel send a reset when the socket is closed.
fn reset(stream: &TcpStream) {
    socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
}

#[test]
fn interim_responses_are_skipped() {
    for interim in [
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n",
    ] {
        for pause in [false, true] {
            let interim = interim.to_owned();
            let upstream = Upstream::serving(move |_, stream| {
                stream.write_all(interim.as_bytes())?;
                if pause {
                    stream.flush()?;
                    std::thread::sleep(Duration::from_millis(20));
                }
                stream.write_all(b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok")
            });
            let app = App::with("").gateway("r", "/*", &upstream.uri("/"), "").start();
            for _ in 0..3 {
                let response = call(app.address, "POST", "/", &[], b"x");
                assert_eq!((response.status, response.text().as_str()), (201, "ok"));
                assert_eq!(response.header("link"), None);
            }
            assert_eq!(upstream.accepted(), 1, "the connection serves on");
        }
    }
}

#[test]
fn a_304_with_a_length_is_answered_at_once() {
    let upstream = Upstream::answering("HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n");
    let app = App::with("").gateway("r", "/*", &upstream.uri("/"), "timeout: 1h").start();
    assert_eq!(get(app.address, "/").status, 304);
}

#[test]
fn bytes_after_an_answer_are_never_taken_for_the_next_one() {
    for extra in ["HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", "x"] {
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok{extra}");
        let upstream = Upstream::answering(&answer);
        let app = App::with("").gateway("r", "/*", &upstream.uri("/"), "").start();
        for _ in 0..5 {
            assert_eq!(get(app.address, "/").text(), "ok");
        }
        assert_eq!(upstream.accepted(), 5, "such a connection is not used again");
    }
}

#[test]
fn what_is_not_http_is_502() {
    for garbage in [
        "SSH-2.0-OpenSSH_9.2\r\n",
        "\u{15}\u{3}\u{1}",
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.1 999999 Nope\r\n\r\n",
        "HTTP/1.1 099 Nope\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nbad header\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx: a\0b\r\n\r\n",
    ] {
        let (_upstream, app) = before(garbage);
        assert_failed(&get(app.address, "/"), 502, "upstream_protocol");
    }
}

#[test]
fn endless_heads_are_502() {
    let upstream = Upstream::serving(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n")?;
        loop {
            stream.write_all(b"x-endless: yes\r\n")?;
        }
    });
    let app = App::with("").gateway("r", "/*", &upstream.uri("/"), "timeout: 1h").start();
    assert_failed(&get(app.address, "/"), 502, "upstream_protocol");
}

#[test]
fn a_broken_chunk_breaks_the_connection() {
    for broken in ["zz\r\nhello\r\n", "5\r\nhelloXX0\r\n\r\n", "ffffffffffffffffff\r\nx"] {
        let (_upstream, app) =
            before(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{broken}"));
        match outcome(&app, GET) {
            // no byte of the body was received before
            Ok(response) if !broken.starts_with('5') => assert_failed(&response, 502, "upstream_protocol"),
            Ok(response) => panic!("a clean {response:?} for {broken}"),
            Err(_) => assert!(broken.starts_with('5'), "no answer for {broken}"),
        }
    }
}

#[test]
fn a_refused_connection_and_an_unknown_name_are_502_upstream_connect() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for uri in [format!("http://{closed}/"), "http://name.invalid/".to_owned()] {
        let app = App::with("").gateway("r", "/*", &uri, "timeout: 10s").start();
        assert_failed(&get(app.address, "/"), 502, "upstream_connect");
    }
}

#[test]
fn a_connection_closed_or_reset_before_an_answer_is_502() {
    for with_reset in [false, true] {
        let upstream = Upstream::serving(move |_, stream| {
            if with_reset {
                reset(stream);
            }
            Err(io::ErrorKind::ConnectionReset.into())
        });
        let app = App::with("").gateway("r", "/*", &upstream.uri("/"), QUICK).start();
        assert_failed(&get(app.address, "/"), 502, "upstream_truncated");
        assert_failed(&call(app.address, "POST", "/", &[], b"x"), 502, "upstream_truncated");
        assert_eq!(upstream.received().len(), 2, "a fresh connection that breaks is not tried again");
    }
}

#[test]
fn an_upstream_that_never_answers_is_504_within_the_time_limit() {
    let (send, hold) = std::sync::mpsc::channel::<()>();
    let hold = std::sync::Mutex::new(hold);
    let upstream = Upstream::serving(move |_, _| {
        let _ = hold.lock().unwrap().recv();
        Ok(())
    });
    let app =
        App::with("").gateway("r", "/*", &upstream.uri("/"), "timeout: 1h\nfirst_byte_timeout: 200").start();
    let start = Instant::now();
    assert_failed(&get(app.address, "/"), 504, "upstream_timeout");
    assert!(start.elapsed() >= Duration::from_millis(200));
    drop(send);
}

#[test]
fn a_head_that_drips_is_504_and_a_body_that_stalls_breaks_the_connection() {
    let (head_send, head_hold) = std::sync::mpsc::channel::<()>();
    let head_hold = std::sync::Mutex::new(head_hold);
    let upstream = Upstream::serving(move |request, stream| {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n";
        let part = if request.target() == "/head" { &head[..20] } else { head };
        stream.write_all(part.as_bytes())?;
        let _ = head_hold.lock().unwrap().recv();
        Ok(())
    });
    let app = App::with("").gateway("r", "/*", &upstream.uri("/"), QUICK).start();
    assert_failed(&get(app.address, "/head"), 504, "upstream_timeout");
    assert!(outcome(&app, "GET /body HTTP/1.1\r\nHost: h\r\n\r\n").is_err());
    drop(head_send);
}

#[test]
fn a_slow_body_that_goes_on_outlasts_the_time_limit() {
    let upstream = Upstream::serving(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n")?;
        for _ in 0..6 {
            std::thread::sleep(Duration::from_millis(150));
            stream.write_all(b"x")?;
        }
        Ok(())
    });
    let app = App::with("").gateway("r", "/*", &upstream.uri("/"), QUICK).start();
    assert_eq!(get(app.address, "/").body, b"xxxxxx");
}

#[test]
fn pieces_of_a_body_arrive_one_by_one() {
    let (send, hold) = std::sync::mpsc::channel::<()>();
    let hold = std::sync::Mutex::new(hold);
    let upstream = Upstream::serving(move |_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")?;
        let _ = hold.lock().unwrap().recv();
        stream.write_all(b"6\r\nsecond\r\n0\r\n\r\n")
    });
    let app = App::with("").gateway("r", "/*", &upstream.uri("/"), "timeout: 1h").start();
    let mut stream = open(app.address);
    stream.write_all(GET.as_bytes()).unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"first\r\n") {
        let mut piece = [0; 256];
        let length = stream.read(&mut piece).unwrap();
        assert_ne!(length, 0);
        seen.extend_from_slice(&piece[..length]);
    }
    send.send(()).unwrap();
    let mut rest = Vec::new();
    while !rest.ends_with(b"0\r\n\r\n") {
        let mut piece = [0; 256];
        let length = stream.read(&mut piece).unwrap();
        assert_ne!(length, 0);
        rest.extend_from_slice(&piece[..length]);
    }
    assert!(rest.windows(6).any(|window| window == b"second"));
}

#[test]
fn an_early_answer_to_a_body_that_is_still_being_sent_reaches_the_client() {
    let upstream = Upstream::accepting(|_, mut stream, _| {
        let mut head = [0; 64];
        let _ = stream.read(&mut head)?;
        stream.write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig")?;
        // closing with unread bytes resets the connection
        stream.shutdown(std::net::Shutdown::Write)?;
        let mut rest = vec![0; 1 << 16];
        while stream.read(&mut rest)? > 0 {}
        Ok(())
    });
    let app = App::with("").gateway("r", "/*", &upstream.uri("/"), "timeout: 10s").start();
    let response = call(app.address, "POST", "/", &[], &vec![b'x'; 4 << 20]);
    assert_eq!((response.status, response.text().as_str()), (413, "big"));
}

#[test]
fn a_kept_connection_that_was_closed_meanwhile_fails_no_request() {
    // serves one response per connection, keeps it open for a moment, then closes it
    let upstream = Upstream::accepting(|connection, stream, received| {
        let mut reader = BufReader::new(stream.try_clone()?);
        if let Some(request) = read_request(&mut reader, connection)? {
            received.lock().unwrap().push(request);
            (&stream).write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
        }
        Ok(())
    });
    let app = App::with("").gateway("r", "/*", &upstream.uri("/"), "").start();
    for _ in 0..100 {
        assert_eq!(get(app.address, "/").status, 200);
    }
}

#[test]
fn a_kept_connection_that_closes_on_the_next_request_is_replaced_for_what_may_be_repeated() {
    // the close follows the request, so it cannot be detected before
    let upstream = Upstream::accepting(|connection, stream, received| {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut served = 0;
        while let Some(request) = read_request(&mut reader, connection)? {
            received.lock().unwrap().push(request);
            served += 1;
            if served == 2 {
                break;
            }
            (&stream).write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
        }
        Ok(())
    });
    // signed, so the body is held until the response arrives
    let signed = "authorization:\n  iam: { accesskey: AKIDEXAMPLE, secretkey: s }";
    let app = App::with("").gateway("r", "/*", &upstream.uri("/"), signed).start();
    assert_eq!(get(app.address, "/1").status, 200);
    assert_eq!(call(app.address, "PUT", "/2", &[], b"body").status, 200);
    let targets: Vec<(String, usize)> =
        upstream.received().iter().map(|request| (request.target().to_owned(), request.connection)).collect();
    assert_eq!(targets, [("/1".into(), 0), ("/2".into(), 0), ("/2".into(), 1)]);
    assert_eq!(upstream.received()[2].body, b"body");
    assert_failed(&call(app.address, "POST", "/3", &[], b"x"), 502, "upstream_truncated");
}

#[test]
fn connections_are_kept_by_keepalive_capped_by_its_pool_and_not_at_all_without() {
    let upstream = Upstream::ok();
    let app = App::with("").gateway("r", "/*", &upstream.uri("/"), "").start();
    for _ in 0..5 {
        get(app.address, "/");
    }
    assert_eq!(upstream.accepted(), 1);

    let upstream = Upstream::ok();
    let app = App::with("").gateway("r", "/*", &upstream.uri("/"), "keepalive: false").start();
    for _ in 0..3 {
        get(app.address, "/");
    }
    assert_eq!(upstream.accepted(), 3);
    assert_eq!(upstream.received()[0].header("connection"), Some("close"));

    let barrier = std::sync::Arc::new(std::sync::Barrier::new(6));
    let at_once = std::sync::Arc::clone(&barrier);
    let upstream = Upstream::serving(move |_, stream| {
        at_once.wait();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    });
    let app = App::with("")
        .gateway("r", "/*", &upstream.uri("/"), "keepalive_pool: 2\nkeepalive_timeout: 1h")
        .start();
    let clients: Vec<_> = (0..6)
        .map(|_| {
            let address = app.address;
            std::thread::spawn(move || get(address, "/").status)
        })
        .collect();
    for client in clients {
        assert_eq!(client.join().unwrap(), 200);
    }
    assert_eq!(upstream.accepted(), 6);
    eventually("spare connections are let go", || upstream.open() == 2);
}

#[test]
fn an_idle_connection_is_closed_after_keepalive_timeout() {
    let upstream = Upstream::ok();
    let app = App::with("").gateway("r", "/*", &upstream.uri("/"), "keepalive_timeout: 1s").start();
    get(app.address, "/");
    assert_eq!(upstream.open(), 1);
    eventually("the idle connection is closed", || upstream.open() == 0);
}

#[test]
fn a_client_that_leaves_cancels_the_call() {
    let upstream = Upstream::accepting(|connection, stream, received| {
        let mut reader = BufReader::new(stream.try_clone()?);
        if let Some(request) = read_request(&mut reader, connection)? {
            received.lock().unwrap().push(request);
        }
        // returns when the sidecar closes
        let _ = reader.read(&mut [0; 1]);
        Ok(())
    });
    for with_reset in [false, true] {
        let app = App::with("").gateway("r", "/*", &upstream.uri("/"), "timeout: 1h").start();
        let before = upstream.received().len();
        let mut stream = open(app.address);
        stream.write_all(GET.as_bytes()).unwrap();
        eventually("the call is under way", || upstream.received().len() > before);
        assert_eq!(app.snapshot.admission.in_flight(), 1);
        if with_reset {
            reset(&stream);
        }
        drop(stream);
        eventually("the call is cancelled", || upstream.open() == 0);
        eventually("nothing is in flight", || app.snapshot.admission.in_flight() == 0);
    }
}

#[test]
fn a_client_that_leaves_in_the_middle_of_a_body_cancels_the_call() {
    let upstream = Upstream::serving(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        loop {
            stream.write_all(b"5\r\nhello\r\n")?;
        }
    });
    let app = App::with("").gateway("r", "/*", &upstream.uri("/"), "timeout: 1h").start();
    let mut stream = open(app.address);
    stream.write_all(GET.as_bytes()).unwrap();
    stream.read_exact(&mut [0; 1000]).unwrap();
    drop(stream);
    eventually("the call is cancelled", || upstream.open() == 0 && app.snapshot.admission.in_flight() == 0);
}

#[test]
fn a_client_that_does_not_read_holds_the_upstream_back() {
    let written = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = std::sync::Arc::clone(&written);
    let upstream = Upstream::serving(move |_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")?;
        let piece = vec![b'x'; 1 << 16];
        loop {
            stream.write_all(&piece)?;
            counter.fetch_add(piece.len(), std::sync::atomic::Ordering::SeqCst);
        }
    });
    let app = App::with("").gateway("r", "/*", &upstream.uri("/"), "timeout: 1h").start();
    let mut stream = open(app.address);
    stream.write_all(GET.as_bytes()).unwrap();
    // waits until the kernel's buffers are full
    let mut last = usize::MAX;
    eventually("the upstream is held back", || {
        let now = written.load(std::sync::atomic::Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(200));
        let still = now > 0 && now == last;
        last = now;
        still
    });
    assert!(last < 64 << 20, "{last} bytes were taken in without a reader");
}
