//! `listen.trusted_ips` and `listen.proxy_protocol`: which of a proxy's words about its client count.

use std::{
    io::{self, BufReader, Read as _, Write},
    net::{Ipv6Addr, Shutdown, SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use apigw_invoker::settings::{Document, Settings};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::ServerName;
use serde_json::Value;
use tempfile::TempDir;

use super::support::{
    App, Http2, Response, Upstream, call, open,
    process::{Process, binary, end_of, settings},
    read_response,
    tls::{Authority, CertificateFiles, provider},
    upstream::Received,
};

/// Headers that tell of a client, as a client sends them.
const TOLD: [(&str, &str); 5] = [
    ("X-Forwarded-For", "203.0.113.7"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Host", "shop.example"),
    ("X-Forwarded-Port", "8443"),
    ("Forwarded", "for=203.0.113.7;proto=https"),
];
const V1: &str = "PROXY TCP4 203.0.113.7 10.0.0.1 40000 80\r\n";
const GET: &str = "GET /p HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

fn app(listen: &str, upstream: &Upstream) -> App {
    App::listening(listen, "log: { access: false }").gateway("r", "/*", &upstream.uri("/"), "").start()
}

/// `X-Forwarded-For`, `-Proto`, `-Host`, `-Port` and `Forwarded`, as they were sent on.
fn told(received: &Received) -> [Option<&str>; 5] {
    TOLD.map(|(name, _)| received.header(name))
}

/// A request with these headers as the upstream receives it, and the port of the sidecar.
fn forwarded(listen: &str, headers: &[(&str, &str)]) -> (Received, String) {
    let upstream = Upstream::ok();
    let app = app(listen, &upstream);
    assert_eq!(call(app.address, "GET", "/p", headers, b"").status, 200);
    (upstream.only(), app.address.port().to_string())
}

#[test]
fn without_trusted_ips_x_forwarded_for_is_appended_to_and_the_rest_is_replaced() {
    let (received, port) = forwarded("", &TOLD);
    let own = [Some("203.0.113.7, 127.0.0.1"), Some("http"), Some("localhost"), Some(&*port), None];
    assert_eq!(told(&received), own);
}

#[test]
fn what_a_trusted_proxy_tells_is_kept() {
    for listen in
        ["trusted_ips: [127.0.0.1]", "trusted_ips: ['::1', 127.0.0.0/8]", "trusted_ips: [0.0.0.0/0]"]
    {
        let (received, _) = forwarded(listen, &TOLD);
        let mut kept = TOLD.map(|(_, value)| Some(value));
        kept[0] = Some("203.0.113.7, 127.0.0.1");
        assert_eq!(told(&received), kept, "{listen}");
    }
}

#[test]
fn what_another_peer_tells_is_replaced() {
    for listen in ["trusted_ips: [10.0.0.0/8]", "trusted_ips: ['unix:']"] {
        let (received, port) = forwarded(listen, &TOLD);
        let own = [Some("127.0.0.1"), Some("http"), Some("localhost"), Some(&*port), None];
        assert_eq!(told(&received), own, "{listen}");
    }
}

#[test]
fn what_a_trusted_proxy_leaves_out_is_completed() {
    for (headers, proto, host, port) in [
        (&[][..], "http", "localhost", None),
        (&[("X-Forwarded-Proto", "https")], "https", "localhost", Some("443")),
        (&[("X-Forwarded-Proto", "http")], "http", "localhost", Some("80")),
        (&[("X-Forwarded-Proto", "HTTPS, http")], "HTTPS, http", "localhost", Some("443")),
        (&[("X-Forwarded-Proto", "wss")], "wss", "localhost", None),
        (&[("X-Forwarded-Port", "8443")], "http", "localhost", Some("8443")),
        (&[("X-Forwarded-Host", "shop.example")], "http", "shop.example", None),
        (
            &[("X-Forwarded-Proto", ""), ("X-Forwarded-Host", ""), ("X-Forwarded-Port", "")],
            "http",
            "localhost",
            None,
        ),
    ] {
        let (received, own) = forwarded("trusted_ips: [127.0.0.1]", headers);
        let completed = [Some("127.0.0.1"), Some(proto), Some(host), Some(port.unwrap_or(&own)), None];
        assert_eq!(told(&received), completed, "{headers:?}");
    }
}

#[test]
fn connection_removes_no_header_about_the_client() {
    // a client behind a proxy that passes `Connection` on could hide its address
    let names = TOLD.map(|(name, _)| name).join(", ") + ", X-Own";
    let nominated = [&TOLD[..], &[("X-Own", "1"), ("Connection", &names)]].concat();
    let (received, _) = forwarded("trusted_ips: [127.0.0.1]", &nominated);
    let mut kept = TOLD.map(|(_, value)| Some(value));
    kept[0] = Some("203.0.113.7, 127.0.0.1");
    assert_eq!(told(&received), kept);
    assert_eq!(received.header("x-own"), None);
    let (received, _) = forwarded("trusted_ips: [10.0.0.0/8]", &nominated);
    assert_eq!((told(&received)[0], told(&received)[4]), (Some("127.0.0.1"), None));
}

/// The `sourceIp` of both events.
fn source_ips(listen: &str, forwarded_for: &[(&str, &str)]) -> [String; 2] {
    let answer = "{\"statusCode\":200}";
    let upstream =
        Upstream::answering(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{answer}", answer.len()));
    let event = |version| {
        format!(
            "awsgateway_compatible: true\nawsgateway_compatible_payload_version: '{version}'\n\
             is_proxy_integration: true"
        )
    };
    let app = App::listening(listen, "log: { access: false }")
        .lambda("v1", "/v1", upstream.address, &event("1.0"))
        .lambda("v2", "/v2", upstream.address, &event("2.0"))
        .start();
    for path in ["/v1", "/v2"] {
        assert_eq!(call(app.address, "GET", path, forwarded_for, b"").status, 200);
    }
    let events =
        upstream.received().into_iter().map(|received| serde_json::from_slice(&received.body).unwrap());
    let [rest, http]: [Value; 2] = events.collect::<Vec<_>>().try_into().unwrap();
    let (rest, http) =
        (&rest["requestContext"]["identity"]["sourceIp"], &http["requestContext"]["http"]["sourceIp"]);
    [rest, http].map(|ip| ip.as_str().unwrap().to_owned())
}

#[test]
fn l_the_source_ip_of_both_events_is_the_client() {
    let chain = [("X-Forwarded-For", "198.51.100.1, 203.0.113.7"), ("X-Forwarded-For", "10.0.0.2")];
    for (trusted, source_ip) in [
        ("", "127.0.0.1"),
        ("trusted_ips: [10.0.0.0/8]", "127.0.0.1"),
        ("trusted_ips: [127.0.0.1]", "10.0.0.2"),
        ("trusted_ips: [127.0.0.1, 10.0.0.0/8]", "203.0.113.7"),
    ] {
        assert_eq!(source_ips(trusted, &chain), [source_ip; 2], "{trusted}");
    }
}

/// A sidecar whose log is read, and its addresses.
fn process(listen: &str, upstream: &Upstream) -> (Process, SocketAddr, TempDir) {
    let route = format!("uri: /p\napi_gateway: {{ function_uri: '{}' }}\n", upstream.uri("/"));
    let directory = settings(
        &format!("listen: {{ http: '127.0.0.1:0', {listen} }}\nlog: {{ format: json }}\n"),
        &[("r", &route)],
    );
    let (process, address) = Process::run(directory.path());
    (process, address, directory)
}

/// The member `client_ip` of each line of the access log.
fn client_ips(log: &str) -> Vec<Option<String>> {
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let access = lines.filter(|line| line["target"] == "access");
    access.map(|line| line.get("client_ip").map(|ip| ip.as_str().unwrap().to_owned())).collect()
}

fn ask_unix(path: &Path, request: &str) -> Response {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    read_response(&mut BufReader::new(stream), false).unwrap()
}

#[test]
fn the_access_log_has_the_client_of_each_request() {
    let directory = TempDir::new().unwrap();
    let socket = directory.path().join("s");
    let unix = format!("unix: {}", socket.display());
    for (trusted, [plain, chain, over_unix]) in [
        ("", [Some("127.0.0.1"), Some("127.0.0.1"), None]),
        (", trusted_ips: [127.0.0.0/8]", [Some("127.0.0.1"), Some("2001:db8::7"), None]),
        (", trusted_ips: ['unix:']", [Some("127.0.0.1"), Some("127.0.0.1"), Some("2001:db8::7")]),
    ] {
        let upstream = Upstream::ok();
        let (mut process, address, _settings) = process(&format!("{unix}{trusted}"), &upstream);
        let chained = [("X-Forwarded-For", "[2001:db8::7]:443")];
        assert_eq!(call(address, "GET", "/p", &[], b"").status, 200);
        assert_eq!(call(address, "GET", "/nowhere", &chained, b"").status, 404);
        let request = "GET /p HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: [2001:db8::7]:443\r\n\r\n";
        assert_eq!(ask_unix(&socket, request).status, 200);
        let log = process.stop();
        let expected = [plain, chain, over_unix].map(|ip| ip.map(str::to_owned));
        assert_eq!(client_ips(&log), expected, "{trusted}: {log}");
    }
}

#[test]
fn a_unix_socket_is_trusted_by_its_own_word() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("s");
    let headers: String = TOLD.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let request = format!("GET / HTTP/1.1\r\nHost: h\r\n{headers}\r\n");
    let kept = TOLD.map(|(_, value)| Some(value));
    for (trusted, expected) in [
        ("", [Some("203.0.113.7"), Some("http"), Some("h"), Some("80"), None]),
        (", trusted_ips: [0.0.0.0/0, '::/0']", [None, Some("http"), Some("h"), Some("80"), None]),
        (", trusted_ips: ['unix:']", kept),
        // its clients send no such header
        (", trusted_ips: [10.0.0.0/8, 'unix:'], proxy_protocol: true", kept),
    ] {
        let upstream = Upstream::ok();
        let app = app(&format!("unix: {}{trusted}", path.display()), &upstream);
        assert_eq!(ask_unix(&path, &request).status, 200);
        assert_eq!(told(&upstream.only()), expected, "{trusted}");
        drop(app);
    }
}

/// A header of version 2 for TCP over IPv4 or IPv6, or `LOCAL`.
fn v2(source: Option<SocketAddr>) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    match source {
        None => header.extend([0x20, 0, 0, 0]),
        Some(SocketAddr::V4(source)) => {
            header.extend([0x21, 0x11, 0, 12]);
            header.extend(source.ip().octets());
            header.extend([10, 0, 0, 1]);
            header.extend(source.port().to_be_bytes());
            header.extend([0, 80]);
        }
        Some(SocketAddr::V6(source)) => {
            header.extend([0x21, 0x21, 0, 36]);
            header.extend(source.ip().octets());
            header.extend(Ipv6Addr::LOCALHOST.octets());
            header.extend(source.port().to_be_bytes());
            header.extend([0, 80]);
        }
    }
    header
}

/// The answer to bytes on a connection, or an error if it is closed without one.
fn answered(address: SocketAddr, bytes: &[u8]) -> io::Result<Response> {
    let mut stream = open(address);
    stream.write_all(bytes)?;
    read_response(&mut BufReader::new(stream), false)
}

#[test]
fn the_client_of_the_proxy_protocol_is_the_peer() {
    let upstream = Upstream::ok();
    let listen = "trusted_ips: [127.0.0.1], proxy_protocol: true";
    let (mut process, address, _settings) = process(listen, &upstream);
    let headers = [
        (V1.as_bytes().to_vec(), "203.0.113.7"),
        (b"PROXY TCP6 2001:db8::7 ::1 40000 80\r\n".to_vec(), "2001:db8::7"),
        (b"PROXY TCP6 ::ffff:203.0.113.7 ::1 40000 80\r\n".to_vec(), "203.0.113.7"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (v2(Some("203.0.113.7:40000".parse().unwrap())), "203.0.113.7"),
        (v2(Some("[2001:db8::7]:40000".parse().unwrap())), "2001:db8::7"),
        (v2(None), "127.0.0.1"),
    ];
    for (header, client) in &headers {
        let response = answered(address, &[header, GET.as_bytes()].concat()).unwrap();
        assert_eq!(response.status, 200, "{}", header.escape_ascii());
        assert_eq!(upstream.received().last().unwrap().header("x-forwarded-for"), Some(*client));
    }
    let log = process.stop();
    let clients: Vec<_> = headers.iter().map(|(_, client)| Some((*client).to_owned())).collect();
    assert_eq!(client_ips(&log), clients, "{log}");
}

#[test]
fn the_address_of_the_proxy_protocol_is_asked_whether_it_is_trusted() {
    let told_by = |source: &str| {
        let upstream = Upstream::ok();
        let app = app("trusted_ips: [127.0.0.1, 10.0.0.0/8], proxy_protocol: true", &upstream);
        let headers: String = TOLD.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let request =
            format!("PROXY TCP4 {source} 10.0.0.1 1 2\r\nGET / HTTP/1.1\r\nHost: h\r\n{headers}\r\n");
        assert_eq!(answered(app.address, request.as_bytes()).unwrap().status, 200);
        (upstream.only(), app.address.port().to_string())
    };
    // a load balancer before an ingress
    let (received, _) = told_by("10.0.0.9");
    let mut kept = TOLD.map(|(_, value)| Some(value));
    kept[0] = Some("203.0.113.7, 10.0.0.9");
    assert_eq!(told(&received), kept);
    // a load balancer before clients
    let (received, port) = told_by("198.51.100.1");
    let own = [Some("198.51.100.1"), Some("http"), Some("h"), Some(&*port), None];
    assert_eq!(told(&received), own);
}

#[test]
fn the_requests_of_a_connection_have_the_client_of_its_header() {
    let upstream = Upstream::ok();
    let app = app("h2c: true, trusted_ips: [127.0.0.1], proxy_protocol: true", &upstream);
    let mut stream = open(app.address);
    // in pieces, with a whole request and the beginning of another behind the header
    stream.write_all(&V1.as_bytes()[..9]).unwrap();
    let again = "GET /1 HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HT";
    stream.write_all([&V1[9..], again].concat().as_bytes()).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    assert_eq!(read_response(&mut reader, false).unwrap().status, 200);
    stream.write_all(b"TP/1.1\r\nHost: h\r\n\r\n").unwrap();
    assert_eq!(read_response(&mut reader, false).unwrap().status, 200);

    let address = app.address;
    let mut http2 = Http2::over(async move {
        let mut stream = tokio::net::TcpStream::connect(address).await?;
        tokio::io::AsyncWriteExt::write_all(&mut stream, V1.as_bytes()).await?;
        Ok(stream)
    });
    assert_eq!(http2.get("/3").status, 200);
    let received = upstream.received();
    let seen: Vec<_> = received.iter().map(|one| (one.target(), one.header("x-forwarded-for"))).collect();
    let client = Some("203.0.113.7");
    assert_eq!(seen, [("/1", client), ("/2", client), ("/3", client)]);
}

#[test]
fn the_header_comes_before_tls() {
    let authority = Authority::new("test");
    let files = CertificateFiles::of(&authority.identity("sidecar.example"));
    let upstream = Upstream::ok();
    let listen = format!("{}, trusted_ips: [127.0.0.1], proxy_protocol: true", files.listen(""));
    let app = app(&listen, &upstream);
    let mut roots = RootCertStore::empty();
    roots.add(authority.der()).unwrap();
    let client = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("sidecar.example").unwrap();
    let ask = |header: &[u8]| -> io::Result<Response> {
        let mut stream = open(app.https.unwrap());
        stream.write_all(header)?;
        let tls = ClientConnection::new(Arc::new(client.clone()), name.clone()).unwrap();
        let mut stream = BufReader::new(StreamOwned::new(tls, stream));
        stream.get_mut().write_all(GET.as_bytes())?;
        read_response(&mut stream, false)
    };
    for header in [V1.as_bytes(), &v2(Some("203.0.113.7:40000".parse().unwrap()))] {
        assert_eq!(ask(header).unwrap().status, 200);
        let received = upstream.received();
        let last = received.last().unwrap();
        assert_eq!(last.header("x-forwarded-for"), Some("203.0.113.7"));
        assert_eq!(last.header("x-forwarded-proto"), Some("https"));
    }
    assert!(ask(b"").is_err());
}

#[test]
fn a_connection_that_closes_before_its_handshake_is_not_logged() {
    let files = CertificateFiles::of(&Authority::new("test").identity("sidecar.example"));
    let upstream = Upstream::ok();
    let listen = format!("{}, trusted_ips: [127.0.0.1], proxy_protocol: true", files.listen(""));
    let (mut process, _, _settings) = process(&listen, &upstream);
    process.says("listening with TLS on ");
    let started = process.errors();
    let (_, rest) = started.split_once("listening with TLS on ").unwrap();
    let address: SocketAddr = rest.split('"').next().unwrap().parse().unwrap();
    // load balancers check ports so
    for header in [b"".as_slice(), V1.as_bytes(), &v2(None)] {
        open(address).write_all(header).unwrap();
    }
    open(address).write_all(&[&v2(None)[..], &[0x16]].concat()).unwrap();
    process.says("TLS handshake with 127.0.0.1:");
    let log = process.stop();
    assert_eq!(log.matches("TLS handshake with").count(), 1, "{log}");
}

/// The bytes that a server sends until it closes or resets the connection.
fn until_closed(stream: &mut TcpStream) -> Vec<u8> {
    let mut received = Vec::new();
    match stream.read_to_end(&mut received) {
        Err(error) if error.kind() != io::ErrorKind::ConnectionReset => panic!("not closed: {error}"),
        _ => received,
    }
}

#[test]
fn a_trusted_peer_without_the_header_is_closed_and_the_log_says_why() {
    let upstream = Upstream::ok();
    let (mut process, address, _settings) =
        process("trusted_ips: [127.0.0.1], proxy_protocol: true", &upstream);
    for (bytes, why) in [
        (GET.as_bytes(), "no header of the PROXY protocol, which listen.proxy_protocol requires"),
        (b"PROXY TCP4 a b c d\r\nGET / HTTP/1.1\r\n\r\n", "malformed header of the PROXY protocol: "),
    ] {
        let mut stream = open(address);
        stream.write_all(bytes).unwrap();
        assert_eq!(until_closed(&mut stream), b"");
        let client = stream.local_addr().unwrap();
        process.says(&format!("closing the connection of {client}: {why}"));
    }
    // a health check of a load balancer that opens a connection and closes it
    let stream = open(address);
    let silent = stream.local_addr().unwrap().to_string();
    stream.shutdown(Shutdown::Both).unwrap();
    drop(stream);
    assert_eq!(answered(address, [V1, GET].concat().as_bytes()).unwrap().status, 200);
    let log = process.stop();
    assert!(!log.contains(&silent), "{log}");
    assert_eq!(upstream.received().len(), 1);
}

#[test]
fn another_peer_is_closed_at_once_whatever_it_sends() {
    let upstream = Upstream::ok();
    let (mut process, address, _settings) =
        process("trusted_ips: [10.0.0.0/8], proxy_protocol: true", &upstream);
    for bytes in [V1, GET, ""] {
        let mut stream = open(address);
        // the connection may be closed already
        let _ = stream.write_all(bytes.as_bytes());
        assert_eq!(until_closed(&mut stream), b"");
        let client = stream.local_addr().unwrap();
        process.says(&format!(
            "closing the connection of {client}: listen.proxy_protocol accepts only listen.trusted_ips"
        ));
    }
    process.stop();
    assert!(upstream.received().is_empty());
}

#[test]
fn a_header_that_is_late_is_closed_after_header_timeout() {
    let upstream = Upstream::ok();
    let route = format!("uri: /*\napi_gateway: {{ function_uri: '{}' }}\n", upstream.uri("/"));
    let listen = "listen: { http: '127.0.0.1:0', trusted_ips: [127.0.0.1], proxy_protocol: true }\n";
    let directory = settings(&format!("{listen}limits: {{ header_timeout: 300ms }}\n"), &[("r", &route)]);
    let (mut process, address) = Process::run(directory.path());
    for start in ["", "PROX", "PROXY TCP4 203.0."] {
        let begun = Instant::now();
        let mut stream = open(address);
        stream.write_all(start.as_bytes()).unwrap();
        assert_eq!(until_closed(&mut stream), b"");
        assert!(begun.elapsed() >= Duration::from_millis(300), "{start}: {:?}", begun.elapsed());
        let client = stream.local_addr().unwrap();
        process.says(&format!(
            "closing the connection of {client}: the header of the PROXY protocol did not arrive within \
             limits.header_timeout"
        ));
    }
    process.stop();
}

fn mistakes(listen: &str) -> String {
    let right = Document::route("r", "uri: /\napi_gateway: { function_uri: https://a.example/ }\n");
    let process = Document::process(format!("listen: {{ {listen} }}\n"));
    Settings::from_documents(&[process, right], &[].into())
        .map_or_else(|mistakes| mistakes.to_string(), |_| String::new())
}

#[test]
fn mistakes_in_both_keys_name_what_is_expected() {
    for (listen, mistake) in [
        (
            "proxy_protocol: true",
            "listen.proxy_protocol: on, but `trusted_ips` has no address; expected the addresses of the \
             proxies in `trusted_ips`, or false",
        ),
        ("proxy_protocol: true, trusted_ips: ['unix:']", "on, but `trusted_ips` has no address"),
        (
            "trusted_ips: [10.0.0.1, localhost]",
            "listen.trusted_ips.1: invalid value `localhost`; expected an IP address, a network such as \
             10.0.0.0/8, or `unix:`",
        ),
        ("trusted_ips: [10.0.0.0/33]", "invalid value `10.0.0.0/33`"),
        ("trusted_ips: 10.0.0.0/8", "expected a list"),
    ] {
        let found = mistakes(listen);
        assert!(found.contains(mistake), "{listen}: {found}");
        assert_eq!(found.lines().count(), 2, "{found}");
    }
    // the wrong address is the only mistake
    let found = mistakes("proxy_protocol: true, trusted_ips: [10.0.0.0/33]");
    assert!(!found.contains("proxy_protocol"), "{found}");
    for right in
        ["proxy_protocol: true, trusted_ips: ['::1']", "proxy_protocol: false", "trusted_ips: ['unix:']"]
    {
        assert_eq!(mistakes(right), "");
    }
}

#[test]
fn explain_says_which_headers_a_peer_that_is_not_trusted_may_not_set() {
    let route = "uri: /*\napi_gateway: { function_uri: http://127.0.0.1:1/ }\n";
    let explained = |trusted: &str| {
        let directory = settings(&format!("listen: {{ trusted_ips: [{trusted}] }}\n"), &[("r", route)]);
        let mut explain = binary(&["explain", "GET", "/a", "--output", "json", "--settings"]);
        explain.arg(directory.path());
        for (name, value) in TOLD {
            explain.args(["-H", &format!("{name}: {value}")]);
        }
        let ended = end_of(&mut explain);
        serde_json::from_str::<Value>(&ended.output).unwrap_or_else(|error| panic!("{error}: {ended:?}"))
    };
    let left_out = |explained: &Value| -> Vec<(String, String)> {
        let all = explained["outbound"]["left_out"].as_array().unwrap().clone();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        all.iter().map(|one| (text(&one["name"]), text(&one["why"]))).collect()
    };
    let why = |name: &str, all: &[(String, String)]| {
        all.iter().find(|(own, _)| own == name).map(|(_, why)| why.clone())
    };
    let untrusted = left_out(&explained("10.0.0.1"));
    for name in ["forwarded", "x-forwarded-for"] {
        let told = why(name, &untrusted);
        assert_eq!(told.as_deref(), Some("the peer is not in listen.trusted_ips"), "{untrusted:?}");
    }
    // `explain` is a client on this machine
    let trusted = left_out(&explained("127.0.0.1"));
    assert!(trusted.iter().all(|(name, _)| name == "host"), "{trusted:?}");
}
