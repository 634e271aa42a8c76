//! Faulty OTLP collectors: they hang, flood, redirect, close or are busy. Each costs bounded time and memory,
//! and their responses are not trusted.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tempfile::TempDir;

use super::support::{
    Upstream, eventually,
    exposition::Exposition,
    get,
    process::{ANY_PORT, Process, settings},
    upstream::{Received, read_request},
};

const TAKEN: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// A sidecar that exports a span for every request.
struct Sidecar {
    process: Process,
    address: SocketAddr,
    collector: Upstream,
    _upstream: Upstream,
    _directory: TempDir,
}

impl Sidecar {
    fn telling(collector: Upstream) -> Self {
        let upstream = Upstream::ok();
        let endpoint = collector.uri("/");
        let process = format!("{ANY_PORT}tracing: {{ otlp: {{ endpoint: '{endpoint}', timeout: 1s }} }}\n");
        let route = format!("uri: /\napi_gateway:\n  function_uri: {}\n", upstream.uri("/"));
        let directory = settings(&process, &[("a", &route)]);
        let (process, address) = Process::run(directory.path());
        Self { process, address, collector, _upstream: upstream, _directory: directory }
    }

    /// Sends a request and waits until `count` spans have this outcome.
    #[track_caller]
    fn serves_until(&self, outcome: &str, count: u64) {
        assert_eq!(get(self.address, "/").status, 200);
        eventually(outcome, || self.outcome(outcome) == count);
    }

    fn outcome(&self, outcome: &str) -> u64 {
        self.count("apigw_invoker_recorded_requests_total", &[("outcome", outcome)])
    }

    fn count(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        Exposition::of(self.process.admin()).count(name, labels)
    }

    /// A connection metric of the collector's endpoint.
    fn connections(&self, name: &str) -> u64 {
        let endpoint = self.collector.address.to_string();
        self.count(&format!("apigw_invoker_upstream_{name}"), &[("endpoint", &*endpoint)])
    }
}

/// A collector whose first connection follows a script; further connections succeed.
fn at_first(
    script: impl Fn(&mut TcpStream, &Mutex<Vec<Received>>) -> io::Result<()> + Send + Sync + 'static,
) -> Upstream {
    Upstream::accepting(move |connection, mut stream, received| {
        let mut reader = io::BufReader::new(stream.try_clone()?);
        while let Some(request) = read_request(&mut reader, connection)? {
            received.lock().unwrap().push(request);
            if connection == 0 {
                return script(&mut stream, received);
            }
            stream.write_all(TAKEN.as_bytes())?;
        }
        Ok(())
    })
}

/// Waits until the peer closes.
fn hang(stream: &mut TcpStream) -> io::Result<()> {
    io::copy(stream, &mut io::sink()).map(|_| ())
}

#[test]
fn a_connection_is_kept_for_the_next_delivery_and_replaced_when_the_collector_has_closed_it() {
    let sidecar = Sidecar::telling(Upstream::accepting(|connection, mut stream, received| {
        let mut reader = io::BufReader::new(stream.try_clone()?);
        for _ in 0..2 {
            let Some(request) = read_request(&mut reader, connection)? else { return Ok(()) };
            received.lock().unwrap().push(request);
            stream.write_all(TAKEN.as_bytes())?;
        }
        Ok(())
    }));
    sidecar.serves_until("delivered", 1);
    assert_eq!(sidecar.connections("connections_idle"), 1);
    sidecar.serves_until("delivered", 2);
    assert_eq!(sidecar.collector.accepted(), 1);
    sidecar.serves_until("delivered", 3);
    assert_eq!(sidecar.collector.accepted(), 2);
    assert_eq!(sidecar.connections("connections_idle"), 1);
    for (name, count) in [
        ("connections_opened_total", 2),
        ("connection_failures_total", 0),
        ("connections_reused_total", 1),
        ("connections_stale_total", 1),
    ] {
        assert_eq!(sidecar.connections(name), count, "{name}");
    }
}

#[test]
fn a_collector_that_closes_or_hangs_without_a_response_is_retried() {
    for part in ["", "HTTP/1.1 200 OK\r\ncontent-le"] {
        for hangs in [false, true] {
            let sidecar = Sidecar::telling(at_first(move |stream, _| {
                stream.write_all(part.as_bytes())?;
                if hangs { hang(stream) } else { Ok(()) }
            }));
            sidecar.serves_until("delivered", 1);
            let received = sidecar.collector.received();
            assert_eq!(received.len(), 2, "{part:?} {hangs}");
            assert_eq!(received[0].body, received[1].body);
        }
    }
}

#[test]
fn a_slow_head_times_out_and_a_slow_body_is_not_awaited() {
    for (head, attempts) in
        [("HTTP/1.1 200 OK\r\nx: ", 2), ("HTTP/1.1 200 OK\r\ncontent-length: 99999\r\n\r\n", 1)]
    {
        let sidecar = Sidecar::telling(at_first(move |stream, _| {
            stream.write_all(head.as_bytes())?;
            loop {
                std::thread::sleep(Duration::from_millis(50));
                stream.write_all(b"x")?;
            }
        }));
        sidecar.serves_until("delivered", 1);
        assert_eq!(sidecar.collector.received().len(), attempts, "{head:?}");
        sidecar.serves_until("delivered", 2);
    }
}

#[test]
fn only_the_beginning_of_a_100_mib_response_is_read() {
    const SIZE: usize = 100 << 20;
    const PIECE: usize = 1 << 20;
    let chunk = format!("{PIECE:x}\r\n");
    for (head, before, status) in [
        (format!("200 OK\r\ncontent-length: {SIZE}"), String::new(), "delivered"),
        ("400 Bad Request\r\ntransfer-encoding: chunked".to_owned(), chunk, "refused"),
    ] {
        let written = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&written);
        let sidecar = Sidecar::telling(at_first(move |stream, _| {
            write!(stream, "HTTP/1.1 {head}\r\n\r\n")?;
            let end = if before.is_empty() { "" } else { "\r\n" };
            let piece = [&before, &*"x".repeat(PIECE), end].concat();
            for _ in 0..SIZE / PIECE {
                stream.write_all(piece.as_bytes())?;
                counted.fetch_add(PIECE, Ordering::SeqCst);
            }
            Ok(())
        }));
        sidecar.serves_until(status, 1);
        eventually("it is closed", || sidecar.collector.open() == 0);
        let written = written.load(Ordering::SeqCst);
        assert!(written < SIZE / 4, "{written} bytes were taken");
        sidecar.serves_until("delivered", if status == "delivered" { 2 } else { 1 });
        assert_eq!(sidecar.collector.accepted(), 2);
    }
}

#[test]
fn a_redirect_is_not_followed() {
    for status in ["301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let elsewhere = Upstream::answering(TAKEN);
        let location = elsewhere.uri("/v1/traces");
        let mut sidecar = Sidecar::telling(Upstream::answering(&format!(
            "HTTP/1.1 {status}\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n"
        )));
        sidecar.serves_until("refused", 1);
        assert_eq!((sidecar.collector.received().len(), elsewhere.accepted()), (1, 0));
        let log = sidecar.process.stop();
        assert!(log.contains(&format!("dropping them: the collector answers {status}\n")), "{log}");
    }
}

#[test]
fn a_collector_that_is_busy_is_asked_when_it_says_and_not_if_that_is_too_late() {
    for (status, after, attempts) in [
        ("429 Too Many Requests", "1", 2),
        ("503 Service Unavailable", "1", 2),
        ("429 Too Many Requests", "11", 1),
        ("503 Service Unavailable", "11", 1),
    ] {
        let answer = format!("HTTP/1.1 {status}\r\nretry-after: {after}\r\ncontent-length: 0\r\n\r\n");
        let arrivals = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&arrivals);
        let sidecar = Sidecar::telling(Upstream::serving(move |_, stream| {
            let mut arrivals = noted.lock().unwrap();
            arrivals.push(std::time::Instant::now());
            stream.write_all(if arrivals.len() == 1 { answer.as_bytes() } else { TAKEN.as_bytes() })
        }));
        sidecar.serves_until(if attempts == 2 { "delivered" } else { "refused" }, 1);
        let arrivals = arrivals.lock().unwrap();
        assert_eq!(arrivals.len(), attempts, "{status} {after}");
        let is_patient = |pair: &[std::time::Instant]| pair[1] - pair[0] >= Duration::from_secs(1);
        assert!(arrivals.windows(2).all(is_patient), "{status} {after}");
    }
}

#[test]
fn a_connection_with_an_ambiguous_response_is_not_reused() {
    for (first, outcome) in [
        // awc reads no body in this response
        ("HTTP/1.1 200 OK\r\n\r\n", "delivered"),
        ("HTTP/1.1 103 Early Hints\r\n\r\n", "refused"),
    ] {
        let sidecar = Sidecar::telling(at_first(move |stream, _| {
            stream.write_all(first.as_bytes())?;
            // returns if the next delivery uses the connection
            stream.read_exact(&mut [0])?;
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")?;
            hang(stream)
        }));
        sidecar.serves_until(outcome, 1);
        sidecar.serves_until("delivered", if outcome == "delivered" { 2 } else { 1 });
        assert_eq!(sidecar.collector.accepted(), 2, "{first:?}");
        assert_eq!(sidecar.connections("connections_stale_total"), 0, "it was closed at once");
    }
}
