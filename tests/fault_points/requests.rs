//! Panics in the task of a client's connection or request.

use std::{
    io::{BufReader, ErrorKind, Read as _, Write as _},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use super::{
    Sidecar,
    client::{get, open, read_response},
    exposition::Exposition,
    http2::Http2,
    upstream::Upstream,
    wait::eventually,
};

const ANSWER: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";

#[test]
fn x3_a_request_that_panics_is_500_and_its_connection_serves_on() {
    let mut sidecar = Sidecar::start("");
    let mut client = BufReader::new(open(sidecar.address));
    let mut ask = || {
        client.get_mut().write_all(b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
        read_response(&mut client, false).unwrap()
    };
    sidecar.arm("request");
    let answer = ask();
    assert_eq!((answer.status, answer.code().as_str()), (500, "internal"), "{}", answer.text());
    assert!(!answer.text().contains("hush") && !answer.text().contains("fault_points"));
    assert_eq!(ask().status, 200);
    let metrics = Exposition::of(sidecar.admin);
    let errors = metrics.count("apigw_invoker_errors_total", &[("route", "all"), ("code", "internal")]);
    assert_eq!((errors, sidecar.failures("connection")), (1, 1));
    let id = answer.json()["request_id"].as_str().unwrap().to_owned();
    let panics = sidecar.panics(1);
    assert!(panics[0].contains(&id) && panics[0].contains("src/system/fault_points.rs:"), "{panics:?}");
    sidecar.process.stop();
}

#[test]
fn x3_a_connection_that_panics_is_closed_and_the_next_one_is_served() {
    let mut sidecar = Sidecar::start("");
    sidecar.arm("connection");
    let mut client = open(sidecar.address);
    let _ = client.write_all(b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(read_response(&mut BufReader::new(client), false).is_err());
    sidecar.serves();
    eventually("it is counted", || sidecar.failures("connection") == 1);
    sidecar.panicked_at("src/system/fault_points.rs");
    sidecar.process.stop();
}

/// An upstream that sends the second half of each response once `go` is set.
fn in_halves(go: &Arc<AtomicBool>) -> Upstream {
    let go = Arc::clone(go);
    Upstream::serving(move |_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n")?;
        while !go.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(5));
        }
        stream.write_all(b"6\r\n world\r\n0\r\n\r\n")
    })
}

#[test]
fn x3_an_answer_that_panics_does_not_look_whole() {
    let go = Arc::new(AtomicBool::new(false));
    let mut sidecar = Sidecar::calling(in_halves(&go), "", "");
    for version in ["1.0", "1.1"] {
        go.store(false, Ordering::SeqCst);
        let mut client = open(sidecar.address);
        client
            .write_all(format!("GET /x HTTP/{version}\r\nHost: h\r\nConnection: close\r\n\r\n").as_bytes())
            .unwrap();
        let (mut answer, mut piece) = (Vec::new(), [0; 1024]);
        while !answer.windows(5).any(|bytes| bytes == b"hello") {
            let length = client.read(&mut piece).unwrap();
            assert_ne!(length, 0, "{version}");
            answer.extend_from_slice(&piece[..length]);
        }
        // inside the body, after its first bytes were sent
        sidecar.arm("answer");
        go.store(true, Ordering::SeqCst);
        let ended = client.read_to_end(&mut answer).map_err(|error| error.kind());
        let text = String::from_utf8_lossy(&answer);
        // without chunks, only a reset distinguishes a cut from the end
        let expected = if version == "1.0" { Err(ErrorKind::ConnectionReset) } else { Ok(()) };
        assert_eq!(ended.map(|_| ()), expected, "{version}: {text}");
        assert!(!text.ends_with("0\r\n\r\n") && !text.contains("world"), "{version}: {text}");
    }
    assert_eq!(get(sidecar.address, "/x").text(), "hello world");
    sidecar.process.stop();
}

#[test]
fn x3_a_stream_of_http2_that_panics_is_reset_and_its_connection_serves_on() {
    let mut sidecar = Sidecar::calling(Upstream::answering(ANSWER), ", h2c: true", "");
    let mut client = Http2::open(sidecar.address);
    assert_eq!(client.get("/x").text(), "hello");
    sidecar.arm("answer");
    let request = http::Request::get(format!("http://{}/x", sidecar.address)).body(()).unwrap();
    let stream = client.begin(request, true).unwrap();
    assert!(client.finish(stream.response).is_err());
    assert_eq!(client.get("/x").text(), "hello");
    eventually("it is counted", || sidecar.failures("connection") == 1);
    sidecar.panicked_at("src/system/fault_points.rs");
    sidecar.process.stop();
}

#[test]
fn x3_x15_a_panic_is_one_line_of_a_json_log() {
    let mut sidecar = Sidecar::start("log: { format: json }\n");
    for place in ["connection", "request", "worker", "reload", "admin"] {
        sidecar.arm(place);
    }
    for _ in 0..5 {
        let mut client = open(sidecar.address);
        let _ = client.write_all(b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n");
        let _ = read_response(&mut BufReader::new(client), false);
    }
    eventually("all of them are counted", || {
        ["worker", "reload", "admin"].iter().all(|task| sidecar.failures(task) == 1)
            && sidecar.failures("connection") == 2
    });
    sidecar.panics(5);
    // last step: a log writer that panics loses its buffered lines
    sidecar.arm("log");
    sidecar.serves();
    eventually("it is counted", || sidecar.failures("log") == 1);
    sidecar.panics(6);
    let log = sidecar.process.stop();
    for line in log.lines() {
        let read: Result<serde_json::Value, _> = serde_json::from_str(line);
        assert!(read.is_ok_and(|line| line["message"].is_string()), "{line}");
    }
}
