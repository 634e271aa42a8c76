//! The circuit breaker: which failures open it, which calls it rejects, and how it closes.

use std::{
    io::{self, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use super::support::{
    App, Response, Upstream, eventually, get, open,
    process::{ANY_PORT, Process, settings},
    read_response,
};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const FAILED: &str =
    "HTTP/1.1 503 Down\r\nx-amzn-errortype: InternalServerErrorException\r\ncontent-length: 4\r\n\r\ndown";
/// Stays open for longer than any test.
const FOR_LONG: &str = "circuit_breaker: { failures: 3, open_for: 1h }";

/// An upstream that fails while the switch is on.
fn failing_while() -> (Upstream, Arc<AtomicBool>) {
    let down = Arc::new(AtomicBool::new(true));
    let switch = Arc::clone(&down);
    let upstream = Upstream::serving(move |_, stream| {
        let answer = if down.load(Ordering::SeqCst) { FAILED } else { OK };
        stream.write_all(answer.as_bytes())
    });
    (upstream, switch)
}

fn before(upstream: &Upstream, rest: &str) -> App {
    App::with("").gateway("r", "/*", &upstream.uri("/"), rest).start()
}

#[track_caller]
fn assert_kept_away(response: &Response) -> u64 {
    assert_eq!((response.status, response.code().as_str()), (503, "upstream_unavailable"));
    let seconds = response.header("retry-after").expect("it says when to come again");
    seconds.parse().expect("in seconds")
}

#[test]
fn failures_in_a_row_open_the_breaker_and_then_nothing_is_sent() {
    let (upstream, _) = failing_while();
    let app = before(&upstream, FOR_LONG);
    for _ in 0..3 {
        assert_eq!(get(app.address, "/").text(), "down");
    }
    for _ in 0..5 {
        let seconds = assert_kept_away(&get(app.address, "/"));
        assert!((3500..=3600).contains(&seconds), "{seconds}");
    }
    assert_eq!(upstream.received().len(), 3);
}

#[test]
fn without_circuit_breaker_or_with_failures_0_there_is_no_breaker() {
    for rest in ["", "circuit_breaker: { failures: 0 }"] {
        let (upstream, _) = failing_while();
        let app = before(&upstream, rest);
        for _ in 0..20 {
            assert_eq!(get(app.address, "/").text(), "down");
        }
    }
}

#[test]
fn an_empty_circuit_breaker_section_opens_after_five_failures() {
    let (upstream, _) = failing_while();
    let app = before(&upstream, "circuit_breaker: {}");
    for _ in 0..5 {
        assert_eq!(get(app.address, "/").text(), "down");
    }
    let seconds = assert_kept_away(&get(app.address, "/"));
    assert!((1..=10).contains(&seconds), "{seconds}");
}

#[test]
fn errors_of_aws_count_and_errors_of_the_apis_function_do_not() {
    let throttled =
        "HTTP/1.1 429 Slow\r\nx-amzn-errortype: TooManyRequestsException\r\ncontent-length: 0\r\n\r\n";
    for answer in [
        "HTTP/1.1 500 Own\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 503 Own\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 502 Bad\r\nx-amzn-errortype: InternalServerErrorException\r\ncontent-length: 0\r\n\r\n",
        throttled,
    ] {
        let upstream = Upstream::answering(answer);
        let app = before(&upstream, &format!("{FOR_LONG}\nretry: {{ attempts: 1 }}"));
        for _ in 0..10 {
            get(app.address, "/");
        }
        assert_eq!(upstream.received().len(), 10, "{answer}");
    }
}

#[test]
fn a_response_between_failures_resets_the_count() {
    let (upstream, down) = failing_while();
    let app = before(&upstream, FOR_LONG);
    for _ in 0..4 {
        for _ in 0..2 {
            get(app.address, "/");
        }
        down.store(false, Ordering::SeqCst);
        assert_eq!(get(app.address, "/").status, 200);
        down.store(true, Ordering::SeqCst);
    }
    assert_eq!(upstream.received().len(), 12);
}

#[test]
fn every_failure_without_a_response_counts() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let cut = Upstream::serving(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nconte")?;
        Err(io::ErrorKind::ConnectionAborted.into())
    });
    let late = Upstream::serving(|_, stream| stream.read(&mut [0]).map(drop));
    let secure = format!("https://127.0.0.1:{}/", cut.address.port());
    let alone = format!("{FOR_LONG}\nretry: {{ attempts: 1 }}\ntimeout: 10s");
    for (uri, rest, code) in [
        (format!("http://{closed}/"), "", "upstream_connect"),
        (secure, "", "upstream_tls"),
        (cut.uri("/"), "", "upstream_truncated"),
        (late.uri("/"), "first_byte_timeout: 100", "upstream_timeout"),
        (late.uri("/"), "request_timeout: 100", "upstream_timeout"),
    ] {
        let app = App::with("").gateway("r", "/*", &uri, &format!("{alone}\n{rest}")).start();
        for _ in 0..3 {
            assert_eq!(get(app.address, "/").code(), code);
        }
        assert_kept_away(&get(app.address, "/"));
    }
}

#[test]
fn failures_of_the_lambda_api_count_and_those_of_a_function_do_not() {
    for (answer, opens) in [
        ("HTTP/1.1 500 X\r\nx-amzn-errortype: ServiceException\r\ncontent-length: 2\r\n\r\n{}", true),
        ("HTTP/1.1 503 X\r\ncontent-length: 0\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\nx-amz-function-error: Unhandled\r\ncontent-length: 2\r\n\r\n{}", false),
        ("HTTP/1.1 502 X\r\nx-amzn-errortype: KMSDisabledException\r\ncontent-length: 2\r\n\r\n{}", false),
        ("HTTP/1.1 403 X\r\nx-amzn-errortype: AccessDeniedException\r\ncontent-length: 2\r\n\r\n{}", false),
    ] {
        let upstream = Upstream::answering(answer);
        let app = App::with("").lambda("f", "/*", upstream.address, FOR_LONG).start();
        for _ in 0..10 {
            get(app.address, "/");
        }
        assert_eq!(upstream.received().len(), if opens { 3 } else { 10 }, "{answer}");
    }
}

/// Sends requests until one reaches the upstream, and returns its connection.
#[track_caller]
fn probe(address: SocketAddr, has_arrived: impl Fn() -> bool) -> TcpStream {
    let mut asking: Option<TcpStream> = None;
    eventually("a probe is let through", || {
        let stream = asking.get_or_insert_with(|| {
            let mut stream = open(address);
            stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
            stream.set_nonblocking(true).unwrap();
            stream
        });
        let is_refused = stream.peek(&mut [0]).is_ok();
        if is_refused {
            asking = None;
        }
        has_arrived()
    });
    let stream = asking.expect("a call that waits");
    stream.set_nonblocking(false).unwrap();
    stream
}

#[test]
fn after_open_for_one_call_at_a_time_is_let_through_until_one_succeeds() {
    let (release, released) = mpsc::channel::<&'static str>();
    let (released, served) = (Mutex::new(released), AtomicBool::new(false));
    let upstream = Upstream::serving(move |_, stream| {
        if !served.swap(true, Ordering::SeqCst) {
            return stream.write_all(FAILED.as_bytes());
        }
        let answer = released.lock().unwrap().recv().unwrap_or(OK);
        stream.write_all(answer.as_bytes())
    });
    let app = before(&upstream, "timeout: 1h\ncircuit_breaker: { failures: 1, open_for: 300 }");
    let mut opened = Instant::now();
    assert_eq!(get(app.address, "/").text(), "down");
    let mut calls = 1;
    for answer in [FAILED, OK] {
        // the first request after that is the probe
        let probe = probe(app.address, || upstream.received().len() > calls);
        calls += 1;
        assert!(opened.elapsed() >= Duration::from_millis(300));
        for _ in 0..5 {
            assert_eq!(assert_kept_away(&get(app.address, "/")), 1);
        }
        assert_eq!(upstream.received().len(), calls, "one at a time");
        // a failed probe restarts `open_for`
        opened = Instant::now();
        release.send(answer).unwrap();
        let response = read_response(&mut BufReader::new(probe), false).unwrap();
        assert_eq!(response.status, if answer == OK { 200 } else { 503 });
    }
    drop(release);
    for _ in 0..5 {
        assert_eq!(get(app.address, "/").status, 200);
    }
}

#[test]
fn a_probe_whose_client_leaves_makes_room_for_another() {
    let served = AtomicBool::new(false);
    let upstream = Upstream::serving(move |_, stream| {
        if served.swap(true, Ordering::SeqCst) {
            // until the peer closes
            return stream.read(&mut [0]).map(drop);
        }
        stream.write_all(FAILED.as_bytes())
    });
    let app = before(&upstream, "timeout: 1h\ncircuit_breaker: { failures: 1, open_for: 100 }");
    get(app.address, "/");
    for calls in 1..=3 {
        // the client leaves at once
        drop(probe(app.address, || upstream.received().len() > calls));
        eventually("it is over", || app.snapshot.admission.in_flight() == 0);
    }
}

#[test]
fn routes_with_the_same_host_and_settings_share_one_in_all_workers_and_others_have_their_own() {
    let (upstream, _) = failing_while();
    let app = App::with("workers: 3")
        .gateway("a", "/a", &upstream.uri("/a"), FOR_LONG)
        .gateway("b", "/b", &upstream.uri("/b"), FOR_LONG)
        .gateway("c", "/c", &upstream.uri("/c"), "circuit_breaker: { failures: 4, open_for: 1h }")
        .gateway("d", "/d", &upstream.uri("/d"), "")
        .start();
    for target in ["/a", "/b", "/a"] {
        assert_eq!(get(app.address, target).text(), "down");
    }
    for _ in 0..6 {
        assert_kept_away(&get(app.address, "/a"));
        assert_kept_away(&get(app.address, "/b"));
        assert_eq!(get(app.address, "/d").text(), "down");
    }
    assert_eq!(get(app.address, "/c").text(), "down");
    assert_eq!(upstream.received().len(), 3 + 6 + 1);
}

#[test]
fn retries_stop_when_the_breaker_opens_and_the_last_attempts_response_is_used() {
    let (upstream, _) = failing_while();
    let retry = "retry: { attempts: 10, backoff: 1, budget: 900, unsafe: [unavailable] }";
    let app = before(&upstream, &format!("{FOR_LONG}\n{retry}"));
    assert_eq!(get(app.address, "/").text(), "down");
    assert_eq!(upstream.received().len(), 3);
    assert_kept_away(&get(app.address, "/"));
}

#[test]
fn the_log_says_when_it_opens_and_closes() {
    let (upstream, down) = failing_while();
    let breaker = "circuit_breaker: { failures: 2, open_for: 100 }";
    let route = format!("uri: /*\napi_gateway:\n  function_uri: {}\n  {breaker}\n", upstream.uri("/"));
    let directory = settings(ANY_PORT, &[("r", &route)]);
    let (mut process, address) = Process::run(directory.path());
    for _ in 0..2 {
        get(address, "/");
    }
    down.store(false, Ordering::SeqCst);
    eventually("it closes", || get(address, "/").status == 200);
    let log = process.stop();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("] circuit breaker ")).collect();
    let [opened, closed] = &lines[..] else { panic!("{log}") };
    let host = upstream.address.to_string();
    assert!(opened.contains("WARN") && opened.contains(&host) && opened.contains("2 calls"), "{opened}");
    assert!(closed.contains("INFO") && closed.contains(&host) && closed.contains("closed"), "{closed}");
}
