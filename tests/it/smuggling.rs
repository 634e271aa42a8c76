//! Request smuggling: raw requests that two parsers could read differently. Each has exactly one
//! interpretation, and none reaches AWS as two requests.

use std::{
    io::{BufReader, Read, Write},
    net::SocketAddr,
};

use super::support::{App, Response, Upstream, open, read_response, upstream::Received};

const HIDDEN: &str = "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n";
const IAM: &str = "authorization:\n  apikey: hush-key\n  iam: { accesskey: AKIDEXAMPLE, secretkey: s }";

/// The first response to some bytes, and everything received after it.
struct Outcome {
    first: Response,
    rest: String,
    received: Vec<Received>,
}

/// Sends bytes to a sidecar with a signed and one with an unsigned route, and closes.
fn outcomes(bytes: &[u8]) -> Vec<Outcome> {
    ["", IAM]
        .iter()
        .map(|rest| {
            let upstream = Upstream::ok();
            let app = App::with("limits: { header_timeout: 500ms, body_timeout: 500ms, keep_alive: 200ms }")
                .gateway("r", "/*", &upstream.uri("/"), rest)
                .start();
            let (first, rest) = exchange(app.address, bytes);
            Outcome { first, rest, received: upstream.received() }
        })
        .collect()
}

fn exchange(address: SocketAddr, bytes: &[u8]) -> (Response, String) {
    let mut stream = BufReader::new(open(address));
    let _ = stream.get_mut().write_all(bytes);
    let first = read_response(&mut stream, false)
        .unwrap_or_else(|error| panic!("{:?}: {error}", String::from_utf8_lossy(bytes)));
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    (first, String::from_utf8_lossy(&rest).into_owned())
}

/// Checks that the request is refused with this status, the connection closed, and nothing forwarded.
#[track_caller]
fn assert_refused(bytes: impl AsRef<[u8]>, status: u16) {
    let bytes = bytes.as_ref();
    let text = String::from_utf8_lossy(bytes).into_owned();
    for Outcome { first, rest, received } in outcomes(bytes) {
        assert_eq!(first.status, status, "{text:?}: {}", first.text());
        assert_eq!(received.len(), 0, "{text:?} was sent: {received:#?}");
        assert!(rest.is_empty(), "{text:?} is followed by {rest:?}");
    }
}

/// Checks that the bytes are one request, which the upstream receives once, as `seen` describes.
#[track_caller]
fn assert_one(bytes: impl AsRef<[u8]>, seen: impl Fn(&Received)) {
    let bytes = bytes.as_ref();
    let text = String::from_utf8_lossy(bytes).into_owned();
    for Outcome { first, received, .. } in outcomes(bytes) {
        assert_eq!(first.status, 200, "{text:?}: {}", first.text());
        assert_eq!(received.len(), 1, "{text:?}: {received:#?}");
        seen(&received[0]);
    }
}

fn post(headers: &str, body: &str) -> String {
    format!("POST /first HTTP/1.1\r\nHost: h\r\n{headers}\r\n{body}")
}

fn get(headers: &str) -> String {
    format!("GET /first HTTP/1.1\r\nHost: h\r\n{headers}\r\n")
}

#[test]
fn a_body_with_two_ends_is_400() {
    let chunked = format!("0\r\n\r\n{HIDDEN}");
    let length = chunked.len();
    for headers in [
        format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n"),
        format!("Transfer-Encoding: chunked\r\nContent-Length: {length}\r\n"),
        format!("Content-Length: 5\r\nContent-Length: {length}\r\n"),
        format!("Content-Length: {length}\r\nContent-Length: {length}\r\n"),
        format!("Content-Length: {length}, {length}\r\n"),
        format!("Content-Length: +{length}\r\n"),
        format!("Content-Length: -{length}\r\n"),
        format!("Content-Length: {length}x\r\n"),
        "Content-Length: 0x10\r\n".to_owned(),
        "Content-Length: \r\n".to_owned(),
        "Content-Length: 99999999999999999999\r\n".to_owned(),
        "Transfer-Encoding: identity\r\n".to_owned(),
        "Transfer-Encoding: chunked, identity\r\n".to_owned(),
        "Transfer-Encoding: chunked, chunked\r\n".to_owned(),
        "Transfer-Encoding: gzip, chunked\r\n".to_owned(),
        "Transfer-Encoding: xchunked\r\n".to_owned(),
        "Transfer-Encoding: \x0bchunked\r\n".to_owned(),
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n".to_owned(),
        "Transfer-Encoding : chunked\r\n".to_owned(),
        " Transfer-Encoding: chunked\r\n".to_owned(),
        "Transfer-Encoding:\r\n chunked\r\n".to_owned(),
        "Transfer\0-Encoding: chunked\r\n".to_owned(),
    ] {
        assert_refused(post(&headers, &chunked), 400);
    }
    assert_refused(
        format!("POST /first HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{chunked}"),
        400,
    );
}

#[test]
fn malformed_heads_are_400() {
    for headers in [
        "X-Folded: a\r\n b\r\n",
        "X-Nul: a\0b\r\n",
        "X-Cr: a\rb\r\n",
        "X-Blank : a\r\n",
        "no colon\r\n",
        ": no name\r\n",
        "X-\x7f: a\r\n",
        "X(y): a\r\n",
    ] {
        assert_refused(get(headers), 400);
    }
    for line in [
        "GET  /first HTTP/1.1",
        "GET /fi rst HTTP/1.1",
        "GET /first HTTP/1.1 x",
        "GET /first http/1.1",
        "GET /first HTTP/2.0",
        "GET /first HTTP/1.2",
        "GET /first HTTP/11",
        "GET /first",
        "GET\t/first\tHTTP/1.1",
        "GET /fi\0rst HTTP/1.1",
        "G(T /first HTTP/1.1",
        " GET /first HTTP/1.1",
        "\rGET /first HTTP/1.1",
        "\r\rGET /first HTTP/1.1",
    ] {
        assert_refused(format!("{line}\r\nHost: h\r\n\r\n"), 400);
    }
}

#[test]
fn missing_repeated_or_invalid_hosts_are_400() {
    for headers in [
        "",
        "Host: a\r\nHost: a\r\n",
        "Host: a\r\nHost: b\r\n",
        "Host: a/b\r\n",
        "Host: u@a\r\n",
        "Host: a b\r\n",
    ] {
        assert_refused(format!("GET /first HTTP/1.1\r\n{headers}\r\n"), 400);
    }
}

#[test]
fn x15_a_user_in_an_absolute_target_is_400() {
    for target in ["http://user:pw@h/first", "http://user@h/first", "http://@h/first", "https://a:b@h:81/"] {
        assert_refused(format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n"), 400);
    }
}

#[test]
fn an_absolute_target_is_forwarded_in_origin_form_and_its_host_goes_before_the_header() {
    for (target, host) in
        [("http://a.example:81/first?q=1", "a.example:81"), ("https://b.example/first?q=1", "b.example")]
    {
        assert_one(format!("GET {target} HTTP/1.1\r\nHost: other\r\n\r\n"), |received| {
            assert_eq!(received.target(), "/first?q=1");
            assert_eq!(received.header("x-forwarded-host"), Some(host));
            assert_ne!(received.header("host"), Some(host));
        });
    }
}

#[test]
fn connect_and_trace_reveal_no_key_and_are_never_sent() {
    for (line, status) in [("CONNECT h:443", 404), ("CONNECT /first", 405), ("TRACE /first", 405)] {
        for Outcome { first, received, .. } in
            outcomes(format!("{line} HTTP/1.1\r\nHost: h:443\r\n\r\n").as_bytes())
        {
            assert_eq!((first.status, received.len()), (status, 0), "{line}: {}", first.text());
            assert_eq!(first.header("allow").is_some(), status == 405);
            assert!(!first.text().contains("hush"));
        }
    }
}

#[test]
fn targets_without_a_path_are_never_sent() {
    for (target, status) in [("h:443", 404), ("*", 404), ("//", 200)] {
        for Outcome { first, received, .. } in
            outcomes(format!("OPTIONS {target} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes())
        {
            assert_eq!(first.status, status, "{target}: {}", first.text());
            assert_eq!(received.len(), usize::from(status == 200), "{target}");
        }
    }
}

#[test]
fn an_upgrade_is_not_granted_and_its_headers_are_not_forwarded() {
    let ungranted = |received: &Received| {
        assert_eq!(received.target(), "/first");
        for name in ["upgrade", "connection", "http2-settings"] {
            assert!(received.header(name).is_none(), "{name}: {received:?}");
        }
    };
    // the client has to wait for 101 before it changes the protocol (RFC 9110, 7.8)
    for headers in [
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x\r\n",
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
        "Connection: upgrade\r\nUpgrade: TLS/1.0\r\n",
    ] {
        for Outcome { first, rest, received } in outcomes(format!("{}{HIDDEN}", get(headers)).as_bytes()) {
            assert_eq!((first.status, first.header("connection")), (200, None), "{headers:?}");
            ungranted(&received[0]);
            assert_eq!((received.len(), received[1].target()), (2, "/smuggled"), "{received:#?}");
            assert_eq!(rest.matches("HTTP/1.1 200 OK").count(), 1, "{headers:?}: {rest}");
        }
    }
}

#[test]
fn a_request_behind_one_whose_answer_closes_the_connection_is_not_served() {
    for Outcome { first, received, .. } in
        outcomes(format!("{}{HIDDEN}", get("Connection: close\r\n")).as_bytes())
    {
        assert_eq!((first.status, first.header("connection")), (200, Some("close")));
        assert_eq!(received.len(), 1, "{received:#?}");
    }
}

#[test]
fn lines_that_end_with_a_bare_lf_are_one_request() {
    assert_one("GET /first HTTP/1.1\nHost: h\nX-A: b\n\n", |received| {
        assert_eq!((received.target(), received.header("x-a")), ("/first", Some("b")));
    });
}

#[test]
fn broken_chunks_are_400_and_never_sent() {
    let chunked = |body: &str| post("Transfer-Encoding: chunked\r\n", body);
    for body in [
        "5\r\nhello6\r\n world\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "-1\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        "5 5\r\nhello\r\n0\r\n\r\n",
        "fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n5;\0\r\nhello\r\n0\r\n\r\n",
    ] {
        assert_refused(chunked(body), 400);
    }
}

#[test]
fn chunk_extensions_and_trailers_are_dropped() {
    let body =
        "5;a=b;c=\"d\"\r\nhello\r\n0\r\nContent-Length: 100\r\nX-Trailer: 1\r\nAuthorization: x\r\n\r\n";
    assert_one(post("Transfer-Encoding: chunked\r\nTrailer: X-Trailer\r\n", body), |received| {
        assert_eq!((&*received.body, received.header("content-length")), (&b"hello"[..], Some("5")));
        assert!(received.header("x-trailer").is_none() && received.header("trailer").is_none());
    });
}

#[test]
fn a_get_with_a_body_is_one_request_and_its_body_no_other() {
    let headers = format!("Content-Length: {}\r\n", HIDDEN.len());
    assert_one(format!("{}{HIDDEN}", get(&headers)), |received| {
        assert_eq!((received.target(), &*received.body), ("/first", HIDDEN.as_bytes()));
    });
}

#[test]
fn what_connection_names_is_not_forwarded_and_cannot_take_our_own_headers_away() {
    let upstream = Upstream::ok();
    let app = App::with("").gateway("r", "/*", &upstream.uri("/"), IAM).start();
    let headers = "Connection: close, x-gone, authorization, x-api-key, host, x-amz-date, content-length\r\n\
        X-Gone: 1\r\n";
    assert_eq!(exchange(app.address, get(headers).as_bytes()).0.status, 200);
    let received = upstream.only();
    assert!(received.header("x-gone").is_none());
    for name in ["authorization", "x-api-key", "host", "x-amz-date"] {
        assert!(received.header(name).is_some(), "{name}: {received:?}");
    }
}

#[test]
fn nothing_is_decompressed_either_way() {
    // even if it is marked as compressed
    let answer = "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 5\r\n\r\nplain";
    for encoding in ["gzip", "br", "deflate", "zstd", "gzip, gzip"] {
        let upstream = Upstream::answering(answer);
        let app = App::to(&upstream.uri("/"));
        let headers = format!("Content-Encoding: {encoding}\r\nAccept-Encoding: br\r\nContent-Length: 4\r\n");
        let (first, _) =
            exchange(app.address, post(&format!("{headers}Connection: close\r\n"), "bomb").as_bytes());
        assert_eq!((first.header("content-encoding"), first.text().as_str()), (Some("gzip"), "plain"));
        let received = upstream.only();
        assert_eq!((received.header("content-encoding"), &*received.body), (Some(encoding), &b"bomb"[..]));
        assert_eq!(received.header("accept-encoding"), Some("br"));
    }
}

#[test]
fn requests_in_one_packet_are_answered_as_if_they_came_alone() {
    // larger than one write, or just the path
    let body = |target: &str| if target == "/large" { "x".repeat(300_000) } else { target.to_owned() };
    // each would change how actix-http writes the previous response: no body, another version, another end
    let requests = [
        "GET /1 HTTP/1.1\r\nHost: h\r\n\r\n",
        "HEAD /2 HTTP/1.1\r\nHost: h\r\n\r\n",
        "POST /3 HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab",
        "HEAD /4 HTTP/1.1\r\nHost: h\r\n\r\n",
        "POST /5 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
        "HEAD /\u{fc} HTTP/1.1\r\nHost: h\r\n\r\n",
        "POST /5 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2;x\r\nab\r\n0\r\nA: b\r\n\r\n",
        "HEAD /6 HTTP/1.1\r\nHost: h\r\n\r\n",
        "POST /7 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET /\u{fc} HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /large HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /large HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /8 HTTP/1.0\r\n\r\n",
    ];
    let upstream = Upstream::serving(move |request, stream| {
        let body = body(request.target());
        let length = body.len();
        let body = if request.line.starts_with("HEAD") { "" } else { &*body };
        stream.write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}").as_bytes())
    });
    let app = App::to(&upstream.uri("/"));
    let mut stream = BufReader::new(open(app.address));
    stream.get_mut().write_all(requests.concat().as_bytes()).unwrap();
    for request in requests {
        let response = read_response(&mut stream, request.starts_with("HEAD")).unwrap();
        let body = body(&request.split(' ').nth(1).unwrap().replace('\u{fc}', "%C3%BC"));
        assert_eq!(response.header("content-length"), Some(body.len().to_string().as_str()), "{request}");
        let body = if request.starts_with("HEAD") { "" } else { &*body };
        assert!(response.text() == body, "{request}");
    }
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_request_behind_chunks_that_were_refused_is_not_served_behind_an_answer_that_closes() {
    let upstream = Upstream::ok();
    let app = App::with("").gateway("r", "/r/*", &upstream.uri("/"), "").start();
    for chunks in ["5\r\nhello\r\n0\r\n\r\n", "0\r\n\r\n"] {
        let mut stream = BufReader::new(open(app.address));
        let refused = format!("POST /none HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
        let bytes = format!("{refused}GET /r/next HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        stream.get_mut().write_all(bytes.as_bytes()).unwrap();
        let first = read_response(&mut stream, false).unwrap();
        assert_eq!(first.status, 404);
        let is_last = first.header("connection") == Some("close");
        let next = read_response(&mut stream, false).ok().map(|response| response.status);
        // RFC 9112, 9.6: no response follows one with `Connection: close`
        assert_eq!(next, if is_last { None } else { Some(200) }, "{chunks:?}");
    }
}

#[test]
fn a_client_that_leaves_while_its_next_request_waits_ends_the_call() {
    let upstream =
        Upstream::accepting(|_, mut stream, _| std::io::copy(&mut stream, &mut std::io::sink()).map(drop));
    let app = App::with("").gateway("r", "/*", &upstream.uri("/"), "timeout: 60000").start();
    let mut stream = open(app.address);
    stream.write_all(format!("{}{HIDDEN}", get("")).as_bytes()).unwrap();
    super::support::eventually("a call", || upstream.open() == 1);
    drop(stream);
    super::support::eventually("no call", || upstream.open() == 0 && app.snapshot.admission.in_flight() == 0);
}
