//! Clients that are slow to send a head or the next request, or to read a response.

use std::{
    io::{self, BufReader, Read, Write},
    time::{Duration, Instant},
};

use super::support::{App, Upstream, eventually, open, read_response, wait::PATIENCE};

fn app(upstream: &Upstream, limits: &str) -> App {
    App::listening("h2c: true", &format!("limits: {{ {limits} }}"))
        .gateway("r", "/*", &upstream.uri("/"), "timeout: 20000")
        .start()
}

const ASK: &[u8] = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n";

#[test]
fn a_slow_head_on_a_kept_connection_is_408_as_on_a_new_one() {
    let upstream = Upstream::ok();
    let app = app(&upstream, "header_timeout: 300ms");
    let mut stream = BufReader::new(open(app.address));
    for _ in 0..3 {
        stream.get_mut().write_all(ASK).unwrap();
        assert_eq!(read_response(&mut stream, false).unwrap().status, 200);
    }
    stream.get_mut().write_all(b"GET /slow HTTP/1.1\r\nHost").unwrap();
    let response = read_response(&mut stream, false).unwrap();
    assert_eq!((response.status, response.code().as_str()), (408, "request_timeout"));
    assert_eq!(response.header("connection"), Some("close"));
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    assert_eq!(upstream.received().len(), 3);
}

#[test]
fn a_head_that_drips_has_one_limit_for_all_of_it() {
    let upstream = Upstream::ok();
    let app = app(&upstream, "header_timeout: 500ms");
    let mut stream = open(app.address);
    let start = Instant::now();
    stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let mut heard = Vec::new();
    let mut piece = [0; 512];
    // sends a byte whenever nothing was received
    let _ = stream.write_all(b"GET / HTTP/1.1\r\n");
    loop {
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(length) => heard.extend_from_slice(&piece[..length]),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                assert!(start.elapsed() < Duration::from_secs(10), "it drips for ever");
                let _ = stream.write_all(b"a: b\r\n");
            }
            Err(_) => break,
        }
    }
    assert!(String::from_utf8_lossy(&heard).starts_with("HTTP/1.1 408 "), "{heard:?}");
}

#[test]
fn the_time_for_the_first_head_begins_with_the_connection_whatever_is_spoken_on_it() {
    let upstream = Upstream::ok();
    let apps = ["h2c: true", "h2c: false"].map(|listen| {
        App::listening(listen, "limits: { header_timeout: 2s }")
            .gateway("r", "/*", &upstream.uri("/"), "")
            .start()
    });
    let refused_after = |app: &App, first: &str| {
        let start = Instant::now();
        let mut stream = open(app.address);
        stream.set_read_timeout(Some(Duration::from_millis(1200))).unwrap();
        stream.read(&mut [0]).expect_err("more than half of its time passes in silence");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(first.as_bytes()).unwrap();
        let response = read_response(&mut BufReader::new(stream), false).unwrap();
        assert_eq!((response.status, response.code().as_str()), (408, "request_timeout"), "{first:?}");
        start.elapsed()
    };
    std::thread::scope(|scope| {
        for app in &apps {
            for first in ["", "P", "PRI"] {
                scope.spawn(move || {
                    let after = refused_after(app, first);
                    assert!(after < Duration::from_secs(3), "{first:?}: after {after:?}");
                });
            }
        }
    });
}

#[test]
fn empty_lines_behind_a_request_begin_no_other() {
    let upstream = Upstream::ok();
    let app = app(&upstream, "keep_alive: 600ms, header_timeout: 100ms");
    let mut stream = BufReader::new(open(app.address));
    stream.get_mut().write_all(b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nok\r\n").unwrap();
    assert_eq!(read_response(&mut stream, false).unwrap().status, 200);
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
}

#[test]
fn an_idle_connection_is_closed_after_keep_alive_and_not_before() {
    let upstream = Upstream::ok();
    let app = app(&upstream, "keep_alive: 600ms, header_timeout: 100ms");
    let mut stream = BufReader::new(open(app.address));
    let start = Instant::now();
    stream.get_mut().write_all(ASK).unwrap();
    assert_eq!(read_response(&mut stream, false).unwrap().status, 200);
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty() && start.elapsed() >= Duration::from_millis(600), "{:?}", start.elapsed());
}

#[test]
fn a_pipelined_head_that_never_ends_does_not_keep_the_connection_for_ever() {
    let upstream = Upstream::ok();
    let app = app(&upstream, "keep_alive: 300ms, header_timeout: 300ms");
    let mut stream = BufReader::new(open(app.address));
    stream.get_mut().write_all(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\nGET /half HT").unwrap();
    assert_eq!(read_response(&mut stream, false).unwrap().status, 200);
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert_eq!(upstream.received().len(), 1);
}

/// An upstream whose response is larger than all buffers on its way to the client.
fn large() -> Upstream {
    Upstream::serving(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 67108864\r\n\r\n")?;
        for _ in 0..1024 {
            stream.write_all(&vec![b'x'; 65536])?;
        }
        Ok(())
    })
}

#[test]
fn a_client_that_reads_nothing_is_disconnected_and_its_call_cancelled() {
    let upstream = large();
    let app = app(&upstream, "send_timeout: 300ms");
    let mut stream = open(app.address);
    stream.write_all(ASK).unwrap();
    eventually("it is in flight", || app.snapshot.admission.in_flight() == 1);
    eventually("it is given up", || app.snapshot.admission.in_flight() == 0 && upstream.open() == 0);
    let mut rest = Vec::new();
    // buffered bytes arrive, but no clean end
    let outcome = stream.read_to_end(&mut rest);
    assert!(outcome.is_err() && rest.len() < 64 << 20, "{outcome:?} after {} bytes", rest.len());
}

#[test]
fn a_stream_whose_window_stays_closed_is_reset_and_its_connection_stays() {
    let upstream = Upstream::serving(|request, stream| {
        if request.target() == "/small" {
            return stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 67108864\r\n\r\n")?;
        for _ in 0..1024 {
            stream.write_all(&vec![b'x'; 65536])?;
        }
        Ok(())
    });
    let app = app(&upstream, "send_timeout: 300ms");
    let mut client = super::support::Http2::open(app.address);
    let large = client.begin(http::Request::get("http://h/large").body(()).unwrap(), true).unwrap();
    let mut body = client.runtime.block_on(async { large.response.await.unwrap().into_body() });
    let error = client.runtime.block_on(async {
        // data is read, but its flow-control capacity is not released
        loop {
            match body.data().await {
                Some(Ok(_)) => {}
                Some(Err(error)) => break error,
                None => panic!("a clean end"),
            }
        }
    });
    assert_eq!(error.reason(), Some(h2::Reason::CANCEL));
    assert_eq!(client.get("/small").text(), "ok");
    eventually("the call is ended", || app.snapshot.admission.in_flight() == 0);
}

#[test]
fn a_client_that_reads_slowly_but_reads_is_served_to_the_end() {
    let upstream = Upstream::serving(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 8388608\r\n\r\n")?;
        stream.write_all(&vec![b'x'; 8 << 20])
    });
    let app = app(&upstream, "send_timeout: 400ms");
    let mut stream = open(app.address);
    stream.write_all(ASK).unwrap();
    let mut piece = vec![0; 256 << 10];
    let mut total = 0;
    let mut pauses = 0;
    loop {
        let length = stream.read(&mut piece).unwrap();
        total += length;
        if total >= 8 << 20 {
            break;
        }
        assert!(length > 0, "cut after {total} bytes");
        // longer than the limit in total, but not between two pieces
        if pauses < 10 {
            pauses += 1;
            std::thread::sleep(Duration::from_millis(60));
        }
    }
}
