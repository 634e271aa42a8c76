//! Many requests on one HTTP/1.1 connection: `Upgrade`, `CONNECT`, `Expect`, chunks. No client header may
//! make a body disappear or change the response to the next request.

use std::{
    io::{self, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

use super::support::{App, Response, Upstream, open, read_response, send, upstream::Received};

const SIGNED: &str = "authorization: { iam: { accesskey: AKIDEXAMPLE, secretkey: s } }";

/// An upstream that returns what it received.
fn echo() -> Upstream {
    Upstream::serving(|request, stream| stream.write_all(&echoed(request)))
}

fn echoed(request: &Received) -> Vec<u8> {
    let body = String::from_utf8_lossy(&request.body);
    let text = format!("{} [{body}]", request.line);
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len()).into_bytes()
}

/// The three ways of a body: streamed, held for the signature, put into an event.
fn apps(upstream: &Upstream) -> [(&'static str, App); 3] {
    [
        ("unsigned", App::with("").gateway("r", "/*", &upstream.uri("/"), "").start()),
        ("signed", App::with("").gateway("r", "/*", &upstream.uri("/"), SIGNED).start()),
        ("lambda", App::with("").lambda("r", "/*", upstream.address, "forward_request_body: true").start()),
    ]
}

const UPGRADES: [&str; 6] = [
    "Upgrade: websocket\r\n",
    "Upgrade: WebSocket\r\nConnection: Upgrade\r\n",
    "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
    "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
    "Connection: Upgrade\r\nUpgrade: TLS/1.0, websocket\r\n",
    "Connection: Upgrade\r\n",
];

#[test]
fn x1_a_body_arrives_whatever_protocol_its_upgrade_header_names() {
    let upstream = echo();
    for (name, app) in apps(&upstream) {
        for upgrade in UPGRADES {
            for (framing, body) in
                [("Content-Length: 5", "hello"), ("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n")]
            {
                let request = format!(
                    "POST /a HTTP/1.1\r\nHost: h\r\nContent-Type: text/plain\r\n{upgrade}{framing}\r\n\r\n\
                     {body}"
                );
                let response = send(app.address, &request);
                let arrived = ["hello", "aGVsbG8="].iter().any(|body| response.text().contains(body));
                assert!(response.status == 200 && arrived, "{name} {request:?}: {}", response.text());
                assert_eq!((response.header("connection"), response.header("upgrade")), (None, None));
            }
        }
    }
}

#[test]
fn x1_a_large_body_with_an_upgrade_is_read_to_its_end_and_no_further() {
    let upstream = echo();
    let body = "x".repeat(70_000);
    for (name, app) in apps(&upstream) {
        let mut stream = BufReader::new(open(app.address));
        let head = format!(
            "POST /a HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nContent-Length: {}\r\n",
            body.len()
        );
        let requests =
            format!("{head}Content-Type: text/plain\r\n\r\n{body}GET /b HTTP/1.1\r\nHost: h\r\n\r\n");
        stream.get_mut().write_all(requests.as_bytes()).unwrap();
        let (first, second) =
            (read_response(&mut stream, false).unwrap(), read_response(&mut stream, false).unwrap());
        assert_eq!((first.status, second.status), (200, 200), "{name}");
        let bodies: Vec<usize> =
            upstream.received().iter().rev().take(2).map(|seen| seen.body.len()).collect();
        assert!(bodies[1] >= body.len() && bodies[0] < body.len(), "{name}: {bodies:?}");
    }
}

#[test]
fn x2_connect_ends_its_connection_with_an_answer_that_says_so() {
    let upstream = echo();
    for methods in ["", "methods: [GET]\n"] {
        let route = format!("uri: /*\n{methods}api_gateway:\n  function_uri: {}\n", upstream.uri("/"));
        let app = App::with("").route("r", &route).start();
        for target in ["h:443", "/a", "http://h/a"] {
            for length in ["", "Content-Length: 5\r\n"] {
                let connect = format!("CONNECT {target} HTTP/1.1\r\nHost: h:443\r\n{length}\r\n");
                let mut stream = BufReader::new(open(app.address));
                stream.get_mut().write_all(connect.as_bytes()).unwrap();
                stream.get_mut().write_all(b"GET /b HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
                let response = read_response(&mut stream, false).unwrap();
                assert!((400..500).contains(&response.status), "{connect:?}: {}", response.status);
                assert_eq!(response.header("connection"), Some("close"), "{connect:?}");
                let mut rest = Vec::new();
                stream.read_to_end(&mut rest).expect("no reset");
                assert_eq!(String::from_utf8_lossy(&rest), "", "{connect:?}");
            }
        }
    }
    assert_eq!(upstream.received().len(), 0);
}

#[test]
fn x2_a_request_behind_an_upgrade_is_answered_like_any_other() {
    let upstream = echo();
    for (name, app) in apps(&upstream) {
        for upgrade in UPGRADES {
            let mut stream = BufReader::new(open(app.address));
            for target in ["/one", "/two", "/three"] {
                let request = format!("GET {target} HTTP/1.1\r\nHost: h\r\n{upgrade}\r\n");
                stream.get_mut().write_all(request.as_bytes()).unwrap();
                let response = read_response(&mut stream, false).unwrap();
                let is_own = name == "lambda" || response.text().contains(target);
                assert!(response.status == 200 && is_own, "{name} {request:?}: {}", response.text());
            }
        }
    }
}

#[test]
fn c3_twenty_requests_that_offer_h2c_take_one_connection() {
    let upstream = echo();
    let app = App::to(&upstream.uri("/"));
    let mut stream = BufReader::new(open(app.address));
    for number in 0..20 {
        // as Java's HttpClient and `curl --http2` send it
        let request = format!(
            "GET /{number} HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\n\
             HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\nUpgrade: h2c\r\n\r\n"
        );
        stream.get_mut().write_all(request.as_bytes()).unwrap();
        let response = read_response(&mut stream, false).unwrap();
        assert_eq!((response.status, response.header("connection")), (200, None), "{number}");
    }
    assert_eq!(upstream.received().len(), 20);
}

#[test]
fn c3_an_upgrade_leaves_an_http_1_0_connection_as_it_is() {
    let upstream = echo();
    let app = App::to(&upstream.uri("/"));
    let ask = |options: &str| {
        send(
            app.address,
            format!("GET /a HTTP/1.0\r\nHost: h\r\nUpgrade: h2c\r\nConnection: {options}\r\n\r\n"),
        )
    };
    assert_eq!(ask("Upgrade, keep-alive").header("connection"), Some("keep-alive"));
    assert_eq!(ask("Upgrade").header("connection"), None);
    let closed =
        send(app.address, "GET /a HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\nConnection: Upgrade, close\r\n\r\n");
    assert_eq!(closed.header("connection"), Some("close"));
}

fn chunked(body: &str) -> String {
    format!("POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{body}")
}

#[track_caller]
fn assert_malformed(app: &App, name: &str, request: &[u8]) {
    let start = Instant::now();
    let response = send(app.address, request);
    assert_eq!((response.status, response.code().as_str()), (400, "invalid_body"), "{name}");
    assert!(start.elapsed() < Duration::from_secs(5), "{name}: {:?}", start.elapsed());
}

#[test]
fn c8_chunk_extensions_are_bounded_in_all() {
    let upstream = echo();
    for (name, app) in apps(&upstream) {
        let long = chunked(&format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(300_000)));
        assert_malformed(&app, name, long.as_bytes());
        let each = format!("1;{}\r\na\r\n", "x".repeat(8 << 10));
        assert_malformed(&app, name, chunked(&each.repeat(500)).as_bytes());
        assert_malformed(&app, name, chunked(&"0".repeat(300_000)).as_bytes());
        let short = send(app.address, chunked("5;name=\"a value\"\r\nhello\r\n0\r\nX-Trailer: a\r\n\r\n"));
        assert_eq!(short.status, 200, "{name}");
    }
    assert_eq!(upstream.received().len(), 3);
}

#[test]
fn c8_an_extension_without_end_is_answered_while_it_is_sent() {
    let upstream = echo();
    let app = App::to(&upstream.uri("/"));
    let stream = open(app.address);
    let mut sender = stream.try_clone().unwrap();
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&sent);
    let sending = std::thread::spawn(move || {
        sender.write_all(chunked("5;").as_bytes())?;
        // up to one gigabyte, if the connection stays open for so long
        let piece = vec![b'x'; 1 << 16];
        (0..1 << 14).try_for_each(|_| {
            counter.fetch_add(piece.len(), Ordering::SeqCst);
            sender.write_all(&piece)
        })
    });
    let mut stream = BufReader::new(stream);
    let response = read_response(&mut stream, false).unwrap();
    assert_eq!((response.status, response.code().as_str()), (400, "invalid_body"));
    let sent = sent.load(Ordering::SeqCst);
    assert!(sent < 64 << 20, "{sent} bytes were read before the answer");
    drop(stream);
    let _ = sending.join().unwrap();
}

#[test]
fn c8_fifty_thousand_chunks_of_a_byte_are_one_body() {
    let upstream = echo();
    let app = App::with("").gateway("r", "/*", &upstream.uri("/"), SIGNED).start();
    let body = format!("{}0\r\n\r\n", "1\r\na\r\n".repeat(50_000));
    assert_eq!(send(app.address, chunked(&body)).status, 200);
    assert_eq!(upstream.only().body.len(), 50_000);
}

#[test]
fn x15_malformed_trailers_are_400() {
    let upstream = echo();
    let app = App::to(&upstream.uri("/"));
    for trailer in
        ["a: b\nc: d\r\n", "a: \0\r\n", "no colon\r\n", ": no name\r\n", "a b: c\r\n", " folded\r\n"]
    {
        assert_malformed(&app, trailer, chunked(&format!("5\r\nhello\r\n0\r\n{trailer}\r\n")).as_bytes());
    }
    assert_eq!(upstream.received().len(), 0);
}

#[test]
fn x15_100_continue_is_sent_for_any_list_that_has_it() {
    let upstream = echo();
    for (_, app) in apps(&upstream) {
        for expect in ["100-continue", "100-Continue, x", "x, 100-continue", "\"a, b\", 100-continue"] {
            let mut stream = BufReader::new(open(app.address));
            let head = format!(
                "POST /a HTTP/1.1\r\nHost: h\r\nContent-Type: text/plain\r\nExpect: {expect}\r\n\
                 Content-Length: 5\r\n\r\n"
            );
            stream.get_mut().write_all(head.as_bytes()).unwrap();
            assert_eq!(read_response(&mut stream, true).unwrap().status, 100, "{expect}");
            stream.get_mut().write_all(b"hello").unwrap();
            assert_eq!(read_response(&mut stream, false).unwrap().status, 200, "{expect}");
        }
    }
}

/// One request of the property test.
#[derive(Debug, Clone)]
struct Request {
    method: &'static str,
    version: &'static str,
    headers: String,
    /// Body and framing (chunked or not); methods for which a body has no meaning have none.
    body: Option<(bool, String)>,
}

impl Request {
    /// The bytes of the request; its target contains the number.
    fn bytes(&self, number: usize) -> Vec<u8> {
        let Self { method, version, headers, .. } = self;
        let target = if *method == "CONNECT" { "h:443".to_owned() } else { format!("/{number}") };
        let head = format!("{method} {target} HTTP/{version}\r\nHost: h\r\n{headers}");
        match &self.body {
            None => format!("{head}\r\n"),
            Some((false, body)) => format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()),
            Some((true, body)) => {
                let chunk =
                    if body.is_empty() { String::new() } else { format!("{:x}\r\n{body}\r\n", body.len()) };
                format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunk}0\r\n\r\n")
            }
        }
        .into_bytes()
    }

    fn expects_100(&self) -> bool {
        self.headers.contains("100-continue")
    }
}

fn requests() -> impl Strategy<Value = Vec<Request>> {
    let headers = prop::sample::subsequence(
        vec![
            "Upgrade: websocket\r\n",
            "Upgrade: h2c\r\n",
            "Connection: Upgrade\r\n",
            "Connection: keep-alive\r\n",
            "Connection: close\r\n",
            "Expect: 100-continue\r\n",
            "Expect: x\r\n",
            "X-Custom: a\r\n",
        ],
        0..4,
    );
    let body = prop::option::of((any::<bool>(), "[a-z]{0,40}"));
    let method =
        prop::sample::select(vec!["GET", "POST", "POST", "HEAD", "DELETE", "OPTIONS", "CONNECT", "ODD"]);
    let version = prop::sample::select(vec!["1.1", "1.1", "1.1", "1.0"]);
    let request = (method, version, headers, body).prop_map(|(method, version, headers, body)| {
        // HTTP/1.0 has no chunks (RFC 9112, 6.1), and a POST needs a length
        let body = match (version, method, body) {
            ("1.0", "POST", None) => Some((false, String::new())),
            ("1.0", _, body) => body.map(|(_, body)| (false, body)),
            (_, _, body) => body,
        };
        Request { method, version, headers: headers.concat(), body }
    });
    prop::collection::vec(request, 1..6)
}

/// The final response to a request, after `100 Continue`.
fn answer(stream: &mut BufReader<TcpStream>, request: &Request) -> io::Result<Response> {
    loop {
        let response = read_response(stream, request.method == "HEAD")?;
        if response.status != 100 {
            return Ok(response);
        }
        assert!(request.expects_100(), "nobody has asked for 100: {request:?}");
    }
}

/// Status and body without the parts that differ between calls: request id, time, trace.
fn essence(response: &Response) -> (u16, String) {
    let text = response.text();
    let text = text.split("\"request_id\"").next().unwrap_or_default().to_owned();
    (response.status, text)
}

fn alone(address: SocketAddr, request: &Request, number: usize) -> (u16, String) {
    let mut stream = BufReader::new(open(address));
    stream.get_mut().write_all(&request.bytes(number)).unwrap();
    essence(&answer(&mut stream, request).unwrap())
}

#[test]
fn x2_any_sequence_of_requests_on_one_connection_is_answered_as_each_alone() {
    let upstream = Upstream::serving(|request, stream| {
        let answer = echoed(request);
        let is_head = request.line.starts_with("HEAD ");
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
        stream.write_all(if is_head { &answer[..end] } else { &answer })
    });
    let [unsigned, signed] = ["", SIGNED]
        .map(|rest| App::with("log: { access: false }").gateway("r", "/*", &upstream.uri("/"), rest).start());
    TestRunner::new(Config { failure_persistence: None, ..Config::default() })
        .run(&(requests(), any::<bool>(), any::<bool>()), |(requests, is_signed, is_pipelined)| {
            let address = if is_signed { signed.address } else { unsigned.address };
            let mut stream = BufReader::new(open(address));
            if is_pipelined {
                let all: Vec<u8> =
                    requests.iter().enumerate().flat_map(|(number, request)| request.bytes(number)).collect();
                let _ = stream.get_mut().write_all(&all);
            }
            for (number, request) in requests.iter().enumerate() {
                if !is_pipelined {
                    stream.get_mut().write_all(&request.bytes(number)).unwrap();
                }
                let response = answer(&mut stream, request)
                    .map_err(|error| TestCaseError::fail(format!("no answer to {request:?}: {error}")))?;
                prop_assert_eq!(essence(&response), alone(address, request, number), "{:?}", request);
                let stays = match request.version {
                    "1.0" => response.header("connection") == Some("keep-alive"),
                    _ => response.header("connection").is_none(),
                };
                if !stays {
                    let mut rest = Vec::new();
                    let end = stream.read_to_end(&mut rest);
                    prop_assert!(end.is_ok() && rest.is_empty(), "behind the last answer: {end:?} {rest:?}");
                    break;
                }
            }
            Ok(())
        })
        .unwrap();
}
