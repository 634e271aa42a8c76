//! Retries over real sockets, for both backends: which calls, how many, with which delay, and how they are
//! signed.

use std::{
    io::{self, BufReader, Read as _, Write as _},
    net::TcpStream,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant, SystemTime},
};

use apigw_invoker::stand_in::StandInKeys;
use time::{PrimitiveDateTime, macros::format_description};

use super::support::{
    App, Signatory, Upstream, call, eventually, get, open,
    process::{ANY_PORT, Process, settings},
    send,
    tls::{Authority, SecuredUpstream, server},
    upstream::{Received, read_request},
};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
/// Retries with short delays and an unlimited budget.
const RETRY: &str = "retry: { attempts: 3, backoff: 1, max_backoff: 1s, budget: 900 }";

/// An error response of AWS.
fn answer(status: u16, kind: &str, more: &str) -> String {
    let kind = if kind.is_empty() { String::new() } else { format!("x-amzn-ErrorType: {kind}\r\n") };
    format!("HTTP/1.1 {status} Whatever\r\n{kind}{more}content-length: 2\r\n\r\n{{}}")
}

/// An upstream that sends these responses in turn, then 200.
fn answering(answers: &[String]) -> Upstream {
    let (answers, served) = (answers.to_vec(), AtomicUsize::new(0));
    Upstream::serving(move |_, stream| {
        let number = served.fetch_add(1, Ordering::SeqCst);
        stream.write_all(answers.get(number).map_or(OK, String::as_str).as_bytes())
    })
}

/// Names of a signed API Gateway route and a Lambda route.
const BACKENDS: [&str; 2] = ["api_gateway", "lambda"];

/// A sidecar with one signed route of this kind from `/*` to an upstream.
fn before(backend: &str, upstream: &Upstream, rest: &str) -> App {
    let iam = "authorization:\n  iam: { accesskey: AKIDEXAMPLE, secretkey: s }";
    match backend {
        "lambda" => App::with("").lambda("r", "/*", upstream.address, rest).start(),
        _ => App::with("").gateway("r", "/*", &upstream.uri("/"), &format!("{iam}\n{rest}")).start(),
    }
}

/// The client's status, and the number of calls to the upstream.
fn outcome(backend: &str, first: &str, method: &str, rest: &str) -> (u16, usize) {
    let upstream = answering(&[first.to_owned()]);
    let app = before(backend, &upstream, rest);
    let response = call(app.address, method, "/", &[], b"");
    (response.status, upstream.received().len())
}

#[test]
fn refusals_before_anything_ran_are_retried_for_every_method() {
    let gateway = [(429, "TooManyRequestsException"), (429, "ThrottlingException:http://internal/")];
    let lambda = [
        (429, "TooManyRequestsException"),
        (429, ""),
        (409, "ResourceConflictException"),
        (409, "CodeArtifactUserPendingException"),
        (409, "SnapStartNotReadyException"),
        (502, "EC2ThrottledException"),
        (502, "ENINotReadyException"),
        (502, "ResourceNotReadyException"),
        (502, "SubnetIPAddressLimitReachedException"),
        (502, "ENILimitReachedException"),
        (408, "EFSMountTimeoutException"),
        (408, "S3FilesMountTimeoutException"),
        (408, "SnapStartTimeoutException"),
    ];
    for (backend, rows) in [("api_gateway", &gateway[..]), ("lambda", &lambda[..])] {
        for (status, kind) in rows {
            for method in ["GET", "POST"] {
                let retry = "retry: { backoff: 1, max_backoff: 1 }";
                let seen = outcome(backend, &answer(*status, kind, ""), method, retry);
                assert_eq!(seen, (200, 2), "{backend} {method} {status} {kind}");
            }
        }
    }
}

#[test]
fn calls_that_may_have_run_and_permanent_failures_are_not_retried() {
    let both = [(500, "ServiceException"), (503, "X"), (504, "X"), (403, "AccessDeniedException"), (404, "")];
    let gateway = [(429, ""), (429, "LimitExceededException"), (409, "ResourceConflictException"), (502, "")];
    let lambda = [(502, "KMSDisabledException"), (409, "RuntimeAliasDeletedException"), (413, ""), (402, "")];
    for (backend, own) in [("api_gateway", gateway), ("lambda", lambda)] {
        for (status, kind) in both.into_iter().chain(own) {
            let (_, calls) = outcome(backend, &answer(status, kind, ""), "GET", RETRY);
            assert_eq!(calls, 1, "{backend} {status} {kind}");
        }
    }
}

#[test]
fn a_failed_function_is_never_retried() {
    let failed = "HTTP/1.1 200 OK\r\nX-Amz-Function-Error: Unhandled\r\ncontent-length: 2\r\n\r\n{}";
    let all = "retry: { unsafe: [connection_lost, unavailable, timeout] }";
    assert_eq!(outcome("lambda", failed, "GET", all), (200, 1));
}

#[test]
fn failures_of_aws_are_retried_if_unsafe_and_the_method_allow_it() {
    let accepted = "retry: { unsafe: [unavailable] }";
    let any = "retry: { unsafe: [unavailable], unsafe_methods: true }";
    let others = "retry: { unsafe: [connection_lost, timeout] }";
    for status in [500, 503, 504] {
        let failed = answer(status, "InternalServerErrorException", "");
        assert_eq!(outcome("api_gateway", &failed, "GET", accepted).1, 2);
        assert_eq!(outcome("api_gateway", &failed, "PUT", accepted).1, 2);
        assert_eq!(outcome("api_gateway", &failed, "POST", accepted).1, 1);
        assert_eq!(outcome("api_gateway", &failed, "POST", any).1, 2);
        assert_eq!(outcome("api_gateway", &failed, "GET", others).1, 1);
        assert_eq!(outcome("lambda", &failed, "POST", accepted).1, 2);
        assert_eq!(outcome("lambda", &failed, "GET", others).1, 1);
    }
}

/// An upstream that handles its first request with `first`, and further ones with 200.
fn stumbling(first: impl Fn(&mut TcpStream) -> io::Result<()> + Send + Sync + 'static) -> Upstream {
    let served = AtomicUsize::new(0);
    Upstream::serving(move |_, stream| match served.fetch_add(1, Ordering::SeqCst) {
        0 => first(stream),
        _ => stream.write_all(OK.as_bytes()),
    })
}

#[test]
fn a_lost_connection_and_a_timeout_are_retried_only_if_unsafe_allows_it() {
    let lost = || stumbling(|_| Err(io::ErrorKind::ConnectionAborted.into()));
    // until the sidecar's timeout
    let late = || stumbling(|stream| stream.read(&mut [0]).map(drop));
    let plans: [(&str, &dyn Fn() -> Upstream, u16); 2] =
        [("connection_lost", &lost, 502), ("timeout", &late, 504)];
    for (word, upstream, status) in plans {
        for backend in BACKENDS {
            for (accepted, method, expected) in [
                ("", "GET", (status, 1)),
                ("unavailable", "GET", (status, 1)),
                (word, "GET", (200, 2)),
                // calls to the Lambda API are always POST
                (word, "POST", if backend == "lambda" { (200, 2) } else { (status, 1) }),
            ] {
                let upstream = upstream();
                let rest =
                    format!("timeout: 10s\nfirst_byte_timeout: 300\nretry: {{ unsafe: [{accepted}] }}");
                let app = before(backend, &upstream, &rest);
                let response = call(app.address, method, "/", &[], b"");
                let seen = (response.status, upstream.received().len());
                assert_eq!(seen, expected, "{backend} {word} {method} [{accepted}]");
            }
        }
    }
}

#[test]
fn a_failed_connect_is_retried() {
    // a proxy that cannot reach the upstream at first
    let upstream = Upstream::ok();
    let address = upstream.address;
    let proxy = Upstream::accepting(move |connection, mut stream, _| {
        let mut reader = BufReader::new(stream.try_clone()?);
        read_request(&mut reader, connection)?;
        if connection == 0 {
            return stream.write_all(b"HTTP/1.1 503 Not Now\r\ncontent-length: 0\r\n\r\n");
        }
        stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
        let mut forth = TcpStream::connect(address)?;
        let (mut back, mut client) = (forth.try_clone()?, stream.try_clone()?);
        let answers = std::thread::spawn(move || io::copy(&mut back, &mut client));
        io::copy(&mut reader, &mut forth)?;
        forth.shutdown(std::net::Shutdown::Both)?;
        let _ = answers.join();
        Ok(())
    });
    for backend in BACKENDS {
        let before_it = proxy.accepted();
        let app = before(backend, &upstream, &format!("proxy_url: http://{}", proxy.address));
        assert_eq!(call(app.address, "POST", "/", &[], b"").status, 200);
        assert_eq!(proxy.accepted() - before_it, if before_it == 0 { 2 } else { 1 });
    }
}

#[test]
fn a_broken_or_hanging_handshake_is_retried_and_an_untrusted_certificate_is_not() {
    let https = |upstream: &Upstream, rest: &str| {
        let uri = format!("https://localhost:{}/", upstream.address.port());
        App::with("").gateway("r", "/*", &uri, &format!("timeout: 10s\n{rest}\n{RETRY}")).start()
    };
    let breaking = Upstream::accepting(|_, stream, _| {
        // the length of a TLS record's header, so that closing sends no reset
        (&stream).read_exact(&mut [0; 5])
    });
    let response = call(https(&breaking, "").address, "POST", "/", &[], b"");
    assert_eq!((response.status, response.code().as_str(), breaking.accepted()), (502, "upstream_tls", 3));

    let hanging = Upstream::accepting(|_, mut stream, _| io::copy(&mut stream, &mut io::sink()).map(drop));
    let response = call(https(&hanging, "connect_timeout: 100").address, "POST", "/", &[], b"");
    assert_eq!((response.status, response.code().as_str(), hanging.accepted()), (504, "upstream_timeout", 3));

    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let trusted = ours.file();
    let upstream = SecuredUpstream::ok(server(theirs.identity("localhost")));
    let rest = format!("ca_certificate: {}", trusted.path().display());
    let response = get(https(&upstream.plain, &rest).address, "/");
    assert_eq!((response.status, response.code().as_str()), (502, "upstream_tls"));
    assert_eq!(upstream.plain.accepted(), 1);
}

/// The signature that AWS's own signer makes at the time in `X-Amz-Date`.
fn expected_authorization(request: &Received, service: &str) -> String {
    let date = request.header("x-amz-date").expect("a date");
    let form = format_description!("[year][month][day]T[hour][minute][second]Z");
    let at = PrimitiveDateTime::parse(date, form).expect("a date").assume_utc();
    let mut signatory = Signatory::with(service, |keys| {
        *keys = StandInKeys {
            access_key_id: "AKIDEXAMPLE".into(),
            secret_access_key: "s".into(),
            session_token: None,
            region: "us-east-1".into(),
            ..keys.clone()
        };
    });
    signatory.at = SystemTime::from(at);
    let is_signed = |name: &str| {
        let name = name.to_ascii_lowercase();
        name == "content-type" || name.starts_with("x-amz-") && name != "x-amz-date"
    };
    let headers: Vec<(&str, &str)> = request
        .headers
        .iter()
        .filter(|(name, _)| is_signed(name))
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let method = request.line.split(' ').next().unwrap_or_default();
    let host = request.header("host").expect("a host");
    let signed = signatory.sign_for(host, method, request.target(), &headers, &request.body);
    let authorization = signed.into_iter().find(|(name, _)| name == "authorization");
    authorization.expect("it is signed").1
}

#[test]
fn each_attempt_is_the_same_request_with_a_date_and_a_signature_of_its_own() {
    for (backend, service) in [("api_gateway", "execute-api"), ("lambda", "lambda")] {
        let upstream = answering(&[answer(429, "TooManyRequestsException", "Retry-After: 1\r\n")]);
        let app = before(backend, &upstream, "");
        let headers = [("Content-Type", "application/json"), ("X-Twice", "a"), ("X-Twice", "b")];
        let response = call(app.address, "POST", "/p?b=2&a=%2F", &headers, br#"{"x":[]}"#);
        assert_eq!(response.status, 200);
        let received = upstream.received();
        let [first, second] = &received[..] else { panic!("{received:#?}") };
        for request in [first, second] {
            let expected = expected_authorization(request, service);
            assert_eq!(request.header("authorization"), Some(expected.as_str()), "{backend}");
        }
        assert!(first.header("x-amz-date") < second.header("x-amz-date"), "{received:#?}");
        let unsigned = |request: &Received| {
            let own = |name: &str| ["authorization", "date", "x-amz-date"].contains(&name);
            let mut headers = request.headers.clone();
            headers.retain(|(name, _)| !own(&name.to_ascii_lowercase()));
            headers.sort();
            (request.line.clone(), headers, request.body.clone())
        };
        assert_eq!(unsigned(first), unsigned(second));
    }
}

#[test]
fn a_buffered_body_is_sent_again_and_a_streamed_one_never() {
    let throttled = answer(429, "TooManyRequestsException", "");
    let open_route = |upstream: &Upstream| App::with("").gateway("r", "/*", &upstream.uri("/"), "").start();
    let upstream = answering(std::slice::from_ref(&throttled));
    let response = call(open_route(&upstream).address, "PUT", "/", &[], b"streams");
    assert_eq!((response.status, upstream.received().len()), (429, 1));
    // without `Content-Length` it is buffered
    let upstream = answering(std::slice::from_ref(&throttled));
    let chunked = "PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nheld\r\n0\r\n\r\n";
    assert_eq!(send(open_route(&upstream).address, chunked).status, 200);
    let bodies: Vec<Vec<u8>> = upstream.received().into_iter().map(|request| request.body).collect();
    assert_eq!(bodies, [b"held", b"held"]);
    // without a body nothing streams
    let upstream = answering(std::slice::from_ref(&throttled));
    let response = send(open_route(&upstream).address, "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!((response.status, upstream.received().len()), (200, 2));
}

#[test]
fn retry_after_is_obeyed_in_seconds_and_in_milliseconds() {
    for backend in BACKENDS {
        for (header, least) in [("Retry-After: 1\r\n", 1000), ("x-amz-retry-after: 400\r\n", 400)] {
            let upstream = answering(&[answer(429, "TooManyRequestsException", header)]);
            let app = before(backend, &upstream, "");
            let start = Instant::now();
            assert_eq!(get(app.address, "/").status, 200);
            assert!(start.elapsed() >= Duration::from_millis(least), "{backend} {header}");
        }
    }
}

#[test]
fn a_retry_after_that_is_too_long_is_forwarded_to_the_client() {
    for (backend, status) in [("api_gateway", 429), ("lambda", 500)] {
        for header in ["Retry-After: 2\r\n", "x-amz-retry-after: 1001\r\n", "Retry-After: tomorrow\r\n"] {
            let upstream = answering(&[answer(429, "TooManyRequestsException", header)]);
            let app = before(backend, &upstream, "");
            let response = get(app.address, "/");
            assert_eq!((response.status, upstream.received().len()), (status, 1), "{backend} {header}");
            if let Some((_, asked)) = header.trim_end().split_once("Retry-After: ") {
                assert_eq!(response.header("retry-after"), Some(asked), "{backend}");
            }
        }
    }
}

#[test]
fn the_response_is_that_of_the_last_attempt() {
    for backend in BACKENDS {
        let throttled = answer(429, "TooManyRequestsException", "");
        let upstream = answering(&[throttled.clone(), throttled, answer(403, "AccessDeniedException", "")]);
        let app = before(backend, &upstream, RETRY);
        let response = get(app.address, "/");
        let expected = if backend == "lambda" { 500 } else { 403 };
        assert_eq!((response.status, upstream.received().len()), (expected, 3), "{backend}");
    }
}

#[test]
fn attempts_counts_the_first_call_too() {
    for (attempts, expected) in [(1, 1), (2, 2), (5, 5), (10, 10)] {
        let upstream = Upstream::answering(&answer(429, "TooManyRequestsException", ""));
        let rest = format!("retry: {{ attempts: {attempts}, backoff: 1, budget: 900 }}");
        let app = before("api_gateway", &upstream, &rest);
        assert_eq!(get(app.address, "/").status, 429);
        assert_eq!(upstream.received().len(), expected);
    }
}

#[test]
fn a_slow_start_is_retried_once() {
    let upstream = Upstream::answering(&answer(408, "SnapStartTimeoutException", ""));
    let app = before("lambda", &upstream, RETRY);
    assert_eq!(get(app.address, "/").status, 500);
    assert_eq!(upstream.received().len(), 2);
}

#[test]
fn keys_that_never_change_are_not_waited_for() {
    for backend in BACKENDS {
        let (_, calls) = outcome(backend, &answer(403, "ExpiredTokenException", ""), "GET", RETRY);
        assert_eq!(calls, 1, "{backend}");
    }
}

/// Retries that the budget permits until now: five at once, then five per second.
fn free_since(start: Instant) -> usize {
    6 + usize::try_from(start.elapsed().as_millis() / 200).unwrap()
}

#[test]
fn the_budget_limits_retries_to_an_upstream_that_refuses_everything() {
    const REQUESTS: usize = 200;
    for (budget, earned) in [(0, 0), (20, 40)] {
        let upstream = Upstream::answering(&answer(429, "TooManyRequestsException", ""));
        let app = before("api_gateway", &upstream, &format!("retry: {{ backoff: 1, budget: {budget} }}"));
        let start = Instant::now();
        for _ in 0..REQUESTS {
            assert_eq!(get(app.address, "/").status, 429);
        }
        let repeated = upstream.received().len() - REQUESTS;
        let (least, most) = (earned + 5, earned + free_since(start));
        assert!((least..=most).contains(&repeated), "{repeated} with {budget}, {least} to {most} are right");
    }
}

#[test]
fn the_budget_is_one_for_all_workers_and_each_route_has_its_own() {
    let upstream = Upstream::answering(&answer(429, "TooManyRequestsException", ""));
    let rest = "retry: { backoff: 1, budget: 0 }";
    let app = App::with("workers: 4")
        .gateway("a", "/a", &upstream.uri("/a"), rest)
        .gateway("b", "/b", &upstream.uri("/b"), rest)
        .start();
    let start = Instant::now();
    let calls = |route: &str| {
        for _ in 0..40 {
            assert_eq!(get(app.address, route).status, 429);
        }
        upstream.received().iter().filter(|request| request.target() == route).count() - 40
    };
    let (a, b) = (calls("/a"), calls("/b"));
    let most = free_since(start);
    assert!((5..=most).contains(&a) && (5..=most).contains(&b), "{a} and {b} of {most}");
}

#[test]
fn the_connection_of_a_small_refusal_serves_the_next_attempt_and_that_of_a_large_one_is_closed() {
    let throttled = answer(429, "TooManyRequestsException", "");
    let upstream = answering(&[throttled.clone(), throttled]);
    let app = before("api_gateway", &upstream, RETRY);
    assert_eq!(get(app.address, "/").status, 200);
    assert_eq!((upstream.received().len(), upstream.accepted()), (3, 1));

    let length = 100_000;
    let head = "HTTP/1.1 429 Slow\r\nx-amzn-errortype: TooManyRequestsException\r\n";
    let large = format!("{head}content-length: {length}\r\n\r\n{}", "x".repeat(length));
    let chunked = format!("{head}transfer-encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n");
    let upstream = answering(&[large, chunked]);
    let app = before("api_gateway", &upstream, RETRY);
    assert_eq!(get(app.address, "/").status, 200);
    assert_eq!((upstream.received().len(), upstream.accepted()), (3, 3));
    eventually("what was dropped is closed", || upstream.open() == 1);
    eventually("the request is over", || app.snapshot.admission.in_flight() == 0);
}

#[test]
fn a_client_that_leaves_ends_the_backoff() {
    let upstream = Upstream::answering(&answer(429, "TooManyRequestsException", "Retry-After: 600\r\n"));
    let app = before("api_gateway", &upstream, "retry: { max_backoff: 1h }");
    let mut stream = open(app.address);
    stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    eventually("the first attempt", || upstream.received().len() == 1);
    assert_eq!(app.snapshot.admission.in_flight(), 1);
    drop(stream);
    eventually("nothing is in flight", || app.snapshot.admission.in_flight() == 0);
    assert_eq!(upstream.received().len(), 1);
}

#[test]
fn a_backoff_beyond_request_timeout_is_not_started() {
    let upstream = Upstream::answering(&answer(429, "TooManyRequestsException", "Retry-After: 600\r\n"));
    let app = before("api_gateway", &upstream, "request_timeout: 10s\nretry: { max_backoff: 1h }");
    assert_eq!(get(app.address, "/").status, 429);
    assert_eq!(upstream.received().len(), 1);
}

#[test]
fn request_timeout_holds_for_all_attempts_together() {
    // each attempt lasts until the sidecar's timeout
    let upstream = Upstream::serving(|_, stream| stream.read(&mut [0]).map(drop));
    let rest = "timeout: 500\nrequest_timeout: 2s\n\
        retry: { attempts: 10, backoff: 1, budget: 900, unsafe: [timeout] }";
    let app = before("api_gateway", &upstream, rest);
    let start = Instant::now();
    let response = get(app.address, "/");
    assert_eq!((response.status, response.code().as_str()), (504, "upstream_timeout"));
    let calls = upstream.received().len();
    assert!((2..=4).contains(&calls), "{calls}");
    assert!(start.elapsed() >= Duration::from_secs(2), "{:?}", start.elapsed());
}

#[test]
fn each_retry_is_logged_and_the_access_log_has_attempts() {
    let upstream = answering(&[answer(429, "TooManyRequestsException", "")]);
    let route = format!("uri: /*\napi_gateway:\n  function_uri: {}\n", upstream.uri("/"));
    let directory = settings(ANY_PORT, &[("r", &route)]);
    let (mut process, address) = Process::run(directory.path());
    for id in ["repeated", "once"] {
        assert_eq!(call(address, "GET", "/", &[("X-Request-Id", id)], b"").status, 200);
    }
    let log = process.stop();
    let lines = |id: &str| {
        let id = format!("request_id={id}");
        log.lines().filter(|line| line.contains(&id)).collect::<Vec<_>>()
    };
    let repeated = lines("repeated");
    let [line, access] = &repeated[..] else { panic!("{log}") };
    assert!(
        line.contains("attempt 1 failed, retrying: ") && line.contains("429 TooManyRequestsException"),
        "{line}"
    );
    assert!(line.contains(" route=r") && line.contains(" attempt=1"), "{line}");
    assert!(access.contains(" duration_ms=") && access.contains(" attempts=2"), "{access}");
    let once = lines("once");
    assert!(once.len() == 1 && !once[0].contains("attempts"), "{once:?}");
}
