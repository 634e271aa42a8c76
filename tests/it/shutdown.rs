//! Shutdown: no accepted request is lost, with any HTTP version.

use std::{
    io::{self, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::Request;

use super::support::{
    App, Http2, Upstream, eventually, get,
    http2::{END_HEADERS, END_STREAM, Frames, GET, GOAWAY, HEADERS},
    open,
    process::{Process, settings},
    read_response,
    wait::PATIENCE,
};

const ASK: &[u8] = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n";

/// An upstream that responds on a signal.
fn held_back() -> (Upstream, Arc<AtomicBool>) {
    let go = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&go);
    let upstream = Upstream::serving(move |_, stream| {
        eventually("told to answer", || told.load(Ordering::SeqCst));
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
    });
    (upstream, go)
}

fn before(upstream: &Upstream) -> App {
    App::listening("h2c: true", "").gateway("r", "/*", &upstream.uri("/"), "timeout: 20000").start()
}

fn is_refused(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_err()
}

#[test]
fn what_is_in_flight_is_finished_and_the_answer_says_close_while_no_one_new_is_let_in() {
    let (upstream, go) = held_back();
    let mut app = before(&upstream);
    let mut stream = BufReader::new(open(app.address));
    stream.get_mut().write_all(ASK).unwrap();
    eventually("it is in flight", || upstream.received().len() == 1);
    app.stop();
    eventually("nobody is let in", || is_refused(app.address));
    assert_eq!(get(app.admin, "/ready").status, 503);
    go.store(true, Ordering::SeqCst);
    let response = read_response(&mut stream, false).unwrap();
    assert_eq!((response.text().as_str(), response.header("connection")), ("ok", Some("close")));
}

#[test]
fn a_stream_of_http_2_is_finished_after_the_client_was_told_to_go() {
    let (upstream, go) = held_back();
    let mut app = before(&upstream);
    let mut client = Http2::open(app.address);
    let stream = client.begin(Request::get("http://h/").body(()).unwrap(), true).unwrap();
    let mut frames = Frames::open(app.address);
    frames.send(HEADERS, END_STREAM | END_HEADERS, 1, GET).unwrap();
    client.runtime.block_on(async {
        while upstream.received().len() < 2 {
            tokio::task::yield_now().await;
        }
    });
    app.stop();
    assert!(frames.until(GOAWAY).is_some());
    go.store(true, Ordering::SeqCst);
    assert_eq!(client.finish(stream.response).unwrap().text(), "ok");
    assert!(frames.rest().iter().any(|frame| frame.kind == HEADERS && frame.stream == 1));
    client.end().unwrap();
}

#[test]
fn an_idle_connection_is_closed_in_good_order() {
    let upstream = Upstream::ok();
    let mut app = before(&upstream);
    let mut stream = BufReader::new(open(app.address));
    stream.get_mut().write_all(ASK).unwrap();
    assert_eq!(read_response(&mut stream, false).unwrap().status, 200);
    let mut http2 = Http2::open(app.address);
    assert_eq!(http2.get("/").status, 200);
    app.stop();
    let mut rest = Vec::new();
    // no reset
    stream.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty());
    http2.end().unwrap();
}

/// A client that sends requests until its connection ends. The end is correct only between two responses.
fn ask_on(address: SocketAddr, answered: &AtomicUsize, lost: &AtomicUsize) -> io::Result<()> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut stream = BufReader::new(stream);
    loop {
        stream.get_mut().write_all(ASK)?;
        let response = match read_response(&mut stream, false) {
            Ok(response) => response,
            Err(error) => {
                lost.fetch_add(1, Ordering::SeqCst);
                return Err(error);
            }
        };
        if response.status == 200 && response.text() == "ok" {
            answered.fetch_add(1, Ordering::SeqCst);
        } else {
            lost.fetch_add(1, Ordering::SeqCst);
        }
        if response.header("connection") == Some("close") {
            return Ok(());
        }
    }
}

#[test]
fn under_load_no_request_is_lost_during_the_delay_and_the_drain() {
    let upstream = Upstream::ok();
    let route = format!("uri: /*\napi_gateway:\n  function_uri: {}\n", upstream.uri("/"));
    let process = "listen: { http: '127.0.0.1:0' }\nlog: { access: false }\nshutdown: { delay: 300ms }\n";
    let directory = settings(process, &[("r", &route)]);
    let (mut process, address) = Process::run(directory.path());
    let (answered, lost) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let clients: Vec<_> = (0..16)
        .map(|_| {
            let (answered, lost) = (Arc::clone(&answered), Arc::clone(&lost));
            // a new connection after each one that ends, until connecting fails
            std::thread::spawn(move || while ask_on(address, &answered, &lost).is_ok() {})
        })
        .collect();
    eventually("there is load", || answered.load(Ordering::SeqCst) > 200);
    process.stop();
    for client in clients {
        client.join().unwrap();
    }
    assert_eq!(lost.load(Ordering::SeqCst), 0, "of {} requests", answered.load(Ordering::SeqCst));
}

#[test]
fn requests_that_wait_in_the_kernel_when_the_drain_begins_are_served() {
    let (upstream, go) = held_back();
    let mut app = before(&upstream);
    // each has sent a request; some connections may still be in the backlog
    let mut clients: Vec<BufReader<TcpStream>> = (0..50)
        .map(|_| {
            let mut stream = open(app.address);
            stream.write_all(ASK).unwrap();
            BufReader::new(stream)
        })
        .collect();
    app.stop();
    go.store(true, Ordering::SeqCst);
    for client in &mut clients {
        assert_eq!(read_response(client, false).unwrap().status, 200);
    }
}

#[test]
fn a_connection_without_a_request_does_not_delay_shutdown() {
    let upstream = Upstream::ok();
    let mut app = before(&upstream);
    let silent = [open(app.address), open(app.address)];
    let _half = {
        let mut half = open(app.address);
        half.write_all(b"PRI * HT").unwrap();
        half
    };
    assert_eq!(get(app.address, "/").status, 200);
    app.stop();
    let start = std::time::Instant::now();
    drop(app);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    drop(silent);
}

/// A process with a request in flight, and the client's connection.
fn process_in_flight(upstream: &Upstream, request: &[u8]) -> (Process, TcpStream, tempfile::TempDir) {
    let route = format!("uri: /*\napi_gateway:\n  function_uri: {}\n  timeout: 20000\n", upstream.uri("/"));
    let directory = settings("listen: { http: '127.0.0.1:0' }\n", &[("r", &route)]);
    let (process, address) = Process::run(directory.path());
    let mut stream = open(address);
    stream.write_all(request).unwrap();
    (process, stream, directory)
}

#[test]
fn a_second_signal_is_the_cause_in_the_log_where_it_cuts_the_drain_short() {
    let (upstream, go) = held_back();
    let (mut process, mut stream, _directory) = process_in_flight(&upstream, ASK);
    eventually("it is in flight", || upstream.received().len() == 1);
    process.signal("TERM");
    process.says("draining requests in flight");
    process.signal("TERM");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
    process.wait();
    let log = process.errors();
    assert!(log.contains("a second signal ended the drain"), "{log}");
    assert!(!log.contains("drain timeout"), "{log}");
    go.store(true, Ordering::SeqCst);
}
