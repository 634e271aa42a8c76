//! Keys of the caller over Unix sockets, TLS, loopback, and plain TCP from other addresses.

use std::{
    io::{BufReader, Write as _},
    net::{IpAddr, SocketAddr, UdpSocket},
    os::unix::net::UnixStream,
    sync::Arc,
};

use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::ServerName;

use super::{
    super::support::{
        App, Http2, Upstream, call, get, open, read_response,
        tls::{Authority, CertificateFiles, provider},
    },
    IAM, ONE, assert_signed_by, basic, curl,
};

/// An address of this machine that is not loopback. Nothing is sent to find it.
fn own_address() -> IpAddr {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect("192.0.2.1:9").expect("a network interface beside loopback");
    socket.local_addr().unwrap().ip()
}

/// A sidecar that listens on all addresses, and its address as other machines see it.
fn public(upstream: &Upstream, rest: &str) -> (App, SocketAddr) {
    let mut builder = App::with("").gateway("g", "/*", &upstream.uri("/"), &format!("{IAM}\n{rest}"));
    builder.replace_process("listen: { http: '0.0.0.0:0', h2c: true }\nadmin: { address: '127.0.0.1:0' }\n");
    let app = builder.start();
    let address = SocketAddr::new(own_address(), app.address.port());
    (app, address)
}

#[test]
fn keys_over_plain_tcp_from_another_address_are_refused_whatever_a_hop_says() {
    let upstream = Upstream::ok();
    let (app, address) = public(&upstream, "");
    let keys = basic(ONE);
    for more in [
        &[][..],
        &[("x-forwarded-proto", "https"), ("x-forwarded-for", "127.0.0.1")],
        &[("forwarded", "for=127.0.0.1;proto=https")],
    ] {
        let headers: Vec<_> = [("authorization", &*keys)].into_iter().chain(more.iter().copied()).collect();
        let response = call(address, "GET", "/a", &headers, b"");
        assert_eq!((response.status, response.code().as_str()), (401, "client_credentials_insecure"));
        assert_eq!(response.header("www-authenticate"), None, "nobody is asked for keys here");
    }
    assert_eq!(get(address, "/a").code(), "client_credentials_insecure");
    let answer = Http2::open(address).call("GET", "http://h/a", &[("authorization", &keys)], b"").unwrap();
    assert_eq!(answer.status, 401);
    assert_eq!(upstream.accepted(), 0);
    // the same listener by loopback
    let loopback = SocketAddr::from(([127, 0, 0, 1], app.address.port()));
    assert_eq!(curl(loopback, "/a", ONE).status, 200);
}

#[test]
fn keys_over_plain_tcp_are_refused_although_the_route_has_its_own_and_a_request_without_keys_is_served() {
    let upstream = Upstream::ok();
    let own = "accesskey: AKIDROUTE, secretkey: hush-own, client_credentials: basic";
    let mut builder = App::with("").gateway(
        "g",
        "/*",
        &upstream.uri("/"),
        &format!("authorization: {{ iam: {{ {own}, client_credentials_required: false }} }}"),
    );
    builder.replace_process("listen: { http: '0.0.0.0:0' }\nadmin: { address: '127.0.0.1:0' }\n");
    let app = builder.start();
    let address = SocketAddr::new(own_address(), app.address.port());
    assert_eq!(curl(address, "/a", ONE).code(), "client_credentials_insecure");
    assert_eq!(get(address, "/a").status, 200);
    assert_signed_by("AKIDROUTE:hush-own", "execute-api", &upstream.only());
}

#[test]
fn keys_over_a_unix_socket_are_taken() {
    let upstream = Upstream::ok();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let app = App::listening(&format!("unix: {}", path.display()), "")
        .gateway("g", "/*", &upstream.uri("/"), IAM)
        .start();
    let mut stream = UnixStream::connect(&path).unwrap();
    write!(stream, "GET /u HTTP/1.1\r\nHost: h\r\nAuthorization: {}\r\n\r\n", basic(ONE)).unwrap();
    let response = read_response(&mut BufReader::new(stream), false).unwrap();
    assert_eq!(response.status, 200, "{response:?}");
    assert_signed_by(ONE, "execute-api", &upstream.only());
    drop(app);
}

#[test]
fn keys_over_tls_are_taken_from_any_address_over_http_1_and_2() {
    let authority = Authority::new("test");
    let files = CertificateFiles::of(&authority.identity("sidecar.example"));
    let upstream = Upstream::ok();
    let mut builder = App::with("").gateway("g", "/*", &upstream.uri("/"), IAM);
    let listen = files.listen("").replace("127.0.0.1:0", "0.0.0.0:0");
    builder.replace_process(&format!(
        "listen: {{ http: '127.0.0.1:0', {listen} }}\nadmin: {{ address: '127.0.0.1:0' }}\n"
    ));
    let app = builder.start();
    let address = SocketAddr::new(own_address(), app.https.unwrap().port());
    let client = |protocol: &[u8]| {
        let mut roots = RootCertStore::empty();
        roots.add(authority.der()).unwrap();
        let builder = ClientConfig::builder_with_provider(provider());
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let mut client = builder.with_root_certificates(roots).with_no_client_auth();
        client.alpn_protocols = vec![protocol.to_vec()];
        Arc::new(client)
    };
    let name = ServerName::try_from("sidecar.example").unwrap();
    let tls = ClientConnection::new(client(b"http/1.1"), name.clone()).unwrap();
    let mut stream = StreamOwned::new(tls, open(address));
    write!(stream, "GET /t HTTP/1.1\r\nHost: h\r\nAuthorization: {}\r\n\r\n", basic(ONE)).unwrap();
    let response = read_response(&mut BufReader::new(stream), false).unwrap();
    assert_eq!(response.status, 200, "{response:?}");
    let config = client(b"h2");
    let mut http2 = Http2::over(async move {
        let stream = tokio::net::TcpStream::connect(address).await?;
        tokio_rustls::TlsConnector::from(config).connect(name, stream).await
    });
    let answer = http2.call("GET", "https://h/t", &[("authorization", &basic(ONE))], b"").unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    let received = upstream.received();
    assert_eq!(received.len(), 2);
    for request in &received {
        assert_signed_by(ONE, "execute-api", request);
    }
}
