//! `proxy_url`: calls through an HTTP proxy by CONNECT, and faulty proxies. Only the proxy receives its
//! credentials.

use std::{
    io::{self, BufReader, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::{Mutex, mpsc},
    time::{Duration, Instant},
};

use super::support::{
    App, Response, Upstream, call, eventually, get,
    process::{ANY_PORT, Process, settings},
    tls::{Authority, SecuredUpstream, server},
    upstream::{Received, read_request},
};

/// A proxy that connects every tunnel to `target`.
pub(super) fn proxy_to(target: SocketAddr) -> Upstream {
    Upstream::accepting(move |connection, mut stream, received| {
        if accept(connection, &stream, received)?.is_none() {
            return Ok(());
        }
        let target = TcpStream::connect(target)?;
        target.set_nodelay(true)?;
        stream.write_all(b"HTTP/1.1 200 Connection established\r\nVia: 1.1 proxy\r\n\r\n")?;
        relay(&stream, &target)
    })
}

/// A proxy that responds to CONNECT with these bytes and closes.
fn proxy_saying(answer: impl AsRef<[u8]>) -> Upstream {
    let answer = answer.as_ref().to_vec();
    Upstream::accepting(move |connection, mut stream, received| {
        accept(connection, &stream, received)?;
        stream.write_all(&answer)?;
        stream.shutdown(Shutdown::Write)?;
        io::copy(&mut stream, &mut io::sink())?;
        Ok(())
    })
}

/// Reads the CONNECT request.
fn accept(
    connection: usize,
    stream: &TcpStream,
    received: &Mutex<Vec<Received>>,
) -> io::Result<Option<Received>> {
    // nothing follows CONNECT before its response, so the buffer is empty
    let request = read_request(&mut BufReader::new(stream), connection)?;
    received.lock().unwrap().extend(request.clone());
    Ok(request)
}

/// Copies bytes in both directions until both sides have closed.
fn relay(mut client: &TcpStream, mut target: &TcpStream) -> io::Result<()> {
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let _ = io::copy(&mut client, &mut target);
            let _ = target.shutdown(Shutdown::Write);
        });
        let _ = io::copy(&mut target, &mut client);
        client.shutdown(Shutdown::Write)
    })
}

/// Route settings with this proxy.
fn through(proxy: &Upstream, rest: &str) -> String {
    format!("proxy_url: http://{}\ntimeout: 10s\n{rest}", proxy.address)
}

/// A sidecar with one route from `/*` to `function_uri`.
fn app(function_uri: &str, rest: &str) -> App {
    App::with("").gateway("r", "/*", function_uri, rest).start()
}

#[track_caller]
fn assert_failed(response: &Response, status: u16, code: &str) {
    assert_eq!((response.status, response.code().as_str()), (status, code), "{}", response.text());
    let shown = format!("{response:?}");
    assert!(!["hush", "Basic", "secret", "127.0.0.1"].iter().any(|word| shown.contains(word)), "{shown}");
}

#[test]
fn k41_tls_with_the_target_goes_through_the_tunnel_and_the_proxy_resolves_the_name() {
    let authority = Authority::new("ours");
    let trusted = authority.file();
    let upstream = SecuredUpstream::ok(server(authority.identity("api.invalid")));
    let proxy = proxy_to(upstream.plain.address);
    let trusting = format!("ca_certificate: {}\n", trusted.path().display());
    for (uri, target) in
        [("https://api.invalid/a", "api.invalid:443"), ("https://api.invalid:8443/a", "api.invalid:8443")]
    {
        let app = app(uri, &through(&proxy, &trusting));
        let response = call(app.address, "POST", "/", &[], b"body");
        assert_eq!((response.status, response.text().as_str()), (200, "ok"));
        let asked = proxy.received().pop().unwrap();
        assert_eq!(asked.line, format!("CONNECT {target} HTTP/1.1"));
        assert_eq!((asked.header("host"), asked.names()), (Some(target), vec!["host".to_owned()]));
        assert_eq!(upstream.handshakes().pop().unwrap().name.as_deref(), Some("api.invalid"));
        assert_eq!(upstream.plain.received().pop().unwrap().body, b"body");
    }
}

#[test]
fn tls_is_verified_through_a_tunnel_as_without_one() {
    let upstream = SecuredUpstream::ok(server(Authority::new("unknown").identity("api.invalid")));
    let proxy = proxy_to(upstream.plain.address);
    let strict = app("https://api.invalid/", &through(&proxy, ""));
    assert_failed(&get(strict.address, "/"), 502, "upstream_tls");
    let lax = app("https://api.invalid/", &through(&proxy, "ssl_verify: false"));
    assert_eq!(get(lax.address, "/").status, 200);
}

#[test]
fn a_plain_target_is_reached_by_connect_too() {
    let upstream = Upstream::serving(|request, stream| {
        write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", request.body.len())?;
        stream.write_all(&request.body)
    });
    let proxy = proxy_to(upstream.address);
    let body = vec![b'x'; 1 << 20];
    for (uri, target) in [("http://api.invalid/a", "api.invalid:80"), ("http://[::1]:3000/a", "[::1]:3000")] {
        let app = app(uri, &through(&proxy, ""));
        let response = call(app.address, "POST", "/b", &[("Proxy-Authorization", "Basic client")], &body);
        assert!(response.status == 200 && response.body == body, "{}", response.status);
        assert_eq!(proxy.received().pop().unwrap().line, format!("CONNECT {target} HTTP/1.1"));
        let received = upstream.received().pop().unwrap();
        assert_eq!(received.target(), "/a/b");
        assert_eq!(received.header("proxy-authorization"), None);
    }
}

#[test]
fn proxy_credentials_reach_only_the_proxy() {
    let upstream = Upstream::ok();
    let proxy = proxy_to(upstream.address);
    let rest = format!("proxy_url: http://hush-user:hush%20pass%3A@{}", proxy.address);
    let app = app("http://api.invalid/", &rest);
    let response = get(app.address, "/");
    assert_eq!(response.status, 200);
    // base64 of `hush-user:hush pass:`
    let credentials = "aHVzaC11c2VyOmh1c2ggcGFzczo=";
    assert_eq!(proxy.only().header("proxy-authorization"), Some(format!("Basic {credentials}").as_str()));
    for shown in [format!("{:?}", app.snapshot), format!("{response:?}"), format!("{:?}", upstream.only())] {
        assert!(!shown.contains("hush") && !shown.contains(credentials), "{shown}");
    }
}

#[test]
fn a_proxy_that_refuses_is_502_upstream_connect_and_named_in_the_log_without_credentials() {
    let uri = "http://api.invalid/";
    for status in ["407 Proxy Authentication Required", "503 Unavailable", "301 Moved", "101 Switching"] {
        let answer =
            format!("HTTP/1.1 {status}\r\nLocation: http://secret/\r\nContent-Length: 6\r\n\r\nsecret");
        let proxy = proxy_saying(answer);
        let app = app(uri, &through(&proxy, ""));
        assert_failed(&get(app.address, "/"), 502, "upstream_connect");
        assert_failed(&call(app.address, "POST", "/", &[], b"secret body"), 502, "upstream_connect");
    }
    let proxy = proxy_saying("HTTP/1.1 407 No\r\n\r\n");
    let route = format!(
        "uri: /*\napi_gateway:\n  function_uri: {uri}\n  proxy_url: http://hush-user:hush-pass@{}\n",
        proxy.address
    );
    let directory = settings(&format!("{ANY_PORT}log: {{ level: debug }}\n"), &[("r", &route)]);
    let (mut process, address) = Process::run(directory.path());
    assert_failed(&get(address, "/"), 502, "upstream_connect");
    let log = process.stop();
    let cause = format!("the proxy {} opened no tunnel (CONNECT api.invalid:80): status 407", proxy.address);
    assert!(log.contains(&cause), "{log}");
    // base64 of `hush-user:hush-pass`
    assert!(!log.contains("hush") && !log.contains("aHVzaC11c2VyOmh1c2gtcGFzcw"), "{log}");
}

#[test]
fn a_malformed_or_truncated_connect_response_is_502_upstream_connect() {
    let too_many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(65));
    let endless = format!("HTTP/1.1 200 OK\r\nx: {}", "x".repeat(8 << 10));
    for answer in [
        "",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\r\nx: y\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n",
        "\u{15}\u{3}\u{1}",
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nbad header\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
        &too_many,
        &endless,
    ] {
        let proxy = proxy_saying(answer);
        for uri in ["http://api.invalid/", "https://api.invalid/"] {
            assert_failed(&get(app(uri, &through(&proxy, "")).address, "/"), 502, "upstream_connect");
        }
    }
}

#[test]
fn a_proxy_that_cannot_be_reached_is_502_upstream_connect() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for place in [closed.to_string(), "name.invalid:3128".to_owned()] {
        let app = app("http://api.invalid/", &format!("proxy_url: http://{place}\ntimeout: 10s"));
        assert_failed(&get(app.address, "/"), 502, "upstream_connect");
    }
}

#[test]
fn a_proxy_that_stalls_is_504_within_the_time_to_connect() {
    for start in ["", "HTTP/1.1 200 OK\r\nx", "HTTP/1.1 200 OK\r\n\r\n"] {
        let (send, hold) = mpsc::channel::<()>();
        let hold = Mutex::new(hold);
        let proxy = Upstream::accepting(move |connection, mut stream, received| {
            accept(connection, &stream, received)?;
            stream.write_all(start.as_bytes())?;
            let _ = hold.lock().unwrap().recv();
            Ok(())
        });
        let rest = format!("proxy_url: http://{}\ntimeout: 1h\nconnect_timeout: 200", proxy.address);
        let app = app("https://api.invalid/", &rest);
        let begin = Instant::now();
        assert_failed(&get(app.address, "/"), 504, "upstream_timeout");
        assert!(begin.elapsed() >= Duration::from_millis(200), "{start:?}");
        drop(send);
    }
}

#[test]
fn bytes_after_the_connect_response_belong_to_the_target() {
    // the target's response in the same packet as the proxy's, whose lengths are ignored
    for head in [
        "HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.0 299 Fine\r\nContent-Length: 1000\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nx: y\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    ] {
        let both = format!("{head}HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok");
        let proxy = proxy_saying(&both);
        let response = get(app("http://api.invalid/", &through(&proxy, "")).address, "/");
        assert_eq!((response.status, response.text().as_str()), (201, "ok"), "{head}");
    }
}

#[test]
fn a_connect_response_in_pieces_opens_a_tunnel() {
    let authority = Authority::new("ours");
    let trusted = authority.file();
    let upstream = SecuredUpstream::ok(server(authority.identity("api.invalid")));
    let target = upstream.plain.address;
    let proxy = Upstream::accepting(move |connection, mut stream, received| {
        accept(connection, &stream, received)?;
        let target = TcpStream::connect(target)?;
        for byte in b"HTTP/1.1 200 Connection established\r\nVia: 1.1 proxy\r\n\r\n" {
            stream.write_all(&[*byte])?;
            std::thread::yield_now();
        }
        relay(&stream, &target)
    });
    let rest = format!("ca_certificate: {}", trusted.path().display());
    let app = app("https://api.invalid/", &through(&proxy, &rest));
    assert_eq!(get(app.address, "/").status, 200);
}

#[test]
fn a_tunnel_is_reused_by_routes_with_the_same_proxy() {
    let upstream = Upstream::ok();
    let proxy = proxy_to(upstream.address);
    let uri = "http://api.invalid/";
    let other = format!("proxy_url: http://other:user@{}\ntimeout: 10s", proxy.address);
    let app = App::with("")
        .gateway("one", "/one/*", uri, &through(&proxy, ""))
        .gateway("same", "/same/*", uri, &through(&proxy, ""))
        .gateway("other", "/other/*", uri, &other)
        .start();
    for _ in 0..3 {
        for path in ["/one/", "/same/"] {
            assert_eq!(get(app.address, path).status, 200);
        }
    }
    assert_eq!((proxy.accepted(), proxy.received().len(), upstream.received().len()), (1, 1, 6));
    // a tunnel opened with other credentials must not be reused
    assert_eq!(get(app.address, "/other/").status, 200);
    assert_eq!(proxy.received().len(), 2);
}

#[test]
fn a_tunnel_that_was_closed_meanwhile_fails_no_request() {
    let upstream = Upstream::accepting(|connection, stream, received| {
        if let Some(request) = read_request(&mut BufReader::new(&stream), connection)? {
            received.lock().unwrap().push(request);
            (&stream).write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
        }
        Ok(())
    });
    let proxy = proxy_to(upstream.address);
    let app = app("http://api.invalid/", &through(&proxy, ""));
    for _ in 0..20 {
        assert_eq!(get(app.address, "/").status, 200);
    }
    eventually("closed tunnels are let go", || proxy.open() == 0);
}
