//! The other listeners: TLS with its certificates, and Unix sockets.

use std::{
    fs,
    io::{self, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    sync::Arc,
};

use apigw_invoker::settings::{Document, Settings};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::{CertificateDer, ServerName};
use tempfile::TempDir;

use super::support::{
    App, Http2, Response, Upstream, eventually, get, open,
    process::{ANY_PORT, Process, settings},
    read_response,
    tls::{Authority, CertificateFiles, Identity, provider},
};

/// A client that trusts only this authority.
fn trusting(authority: &Authority, identity: Option<&Identity>, protocols: &[&[u8]]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(authority.der()).unwrap();
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut client = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => builder.with_client_auth_cert(identity.chain(), identity.private_key()).unwrap(),
    };
    client.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    client
}

type Secured = StreamOwned<ClientConnection, TcpStream>;

fn connect(address: SocketAddr, client: ClientConfig) -> Secured {
    let name = ServerName::try_from("sidecar.example").unwrap();
    StreamOwned::new(ClientConnection::new(Arc::new(client), name).unwrap(), open(address))
}

fn ask(address: SocketAddr, client: ClientConfig) -> io::Result<(Response, CertificateDer<'static>)> {
    let mut stream = BufReader::new(connect(address, client));
    stream.get_mut().write_all(b"GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")?;
    let response = read_response(&mut stream, false)?;
    let certificates = stream.get_ref().conn.peer_certificates().unwrap_or_default();
    Ok((response, certificates[0].clone().into_owned()))
}

#[test]
fn https_serves_1_1_and_by_alpn_2_and_says_so_to_the_upstream() {
    let authority = Authority::new("test");
    let files = CertificateFiles::of(&authority.identity("sidecar.example"));
    let upstream = Upstream::ok();
    let app = App::listening(&files.listen(""), "")
        .gateway("r", "/*", &upstream.uri("/"), "timeout: 10000")
        .start();
    let address = app.https.unwrap();
    let (response, _) = ask(address, trusting(&authority, None, &[b"http/1.1"])).unwrap();
    assert_eq!((response.status, response.text().as_str()), (200, "ok"));
    assert_eq!(upstream.only().header("x-forwarded-proto"), Some("https"));

    let client = Arc::new(trusting(&authority, None, &[b"h2", b"http/1.1"]));
    let mut http2 = Http2::over(async move {
        let stream = tokio::net::TcpStream::connect(address).await?;
        let name = ServerName::try_from("sidecar.example").unwrap();
        let stream = tokio_rustls::TlsConnector::from(client).connect(name, stream).await?;
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        Ok(stream)
    });
    assert_eq!(http2.call("GET", "https://h/b", &[], b"").unwrap().text(), "ok");
    assert_eq!(upstream.received()[1].header("x-forwarded-proto"), Some("https"));
    // the plain HTTP listener works too
    assert_eq!(get(app.address, "/c").status, 200);
    assert_eq!(upstream.received()[2].header("x-forwarded-proto"), Some("http"));
    // e3: `X-Forwarded-Port` is the port of the socket in use
    let ports: Vec<_> = upstream
        .received()
        .iter()
        .map(|received| received.header("x-forwarded-port").map(str::to_owned))
        .collect();
    let own = [address, address, app.address].map(|address| Some(address.port().to_string()));
    assert_eq!(ports, own);
}

#[test]
fn with_client_ca_only_clients_with_a_certificate_of_it_are_served() {
    let authority = Authority::new("test");
    let files = CertificateFiles::of(&authority.identity("sidecar.example"));
    let client_ca = authority.file();
    let listen = files.listen(&format!(", client_ca: {}", client_ca.path().display()));
    let upstream = Upstream::ok();
    let app = App::listening(&listen, "").gateway("r", "/*", &upstream.uri("/"), "").start();
    let address = app.https.unwrap();
    let own = authority.client("caller");
    assert_eq!(ask(address, trusting(&authority, Some(&own), &[])).unwrap().0.status, 200);
    let stranger = Authority::new("stranger").client("caller");
    for identity in [None, Some(&stranger)] {
        assert!(ask(address, trusting(&authority, identity, &[])).is_err());
    }
    assert_eq!(upstream.received().len(), 1);
}

#[test]
fn changed_certificates_are_taken_without_a_restart_and_unfit_ones_change_nothing() {
    let authority = Authority::new("test");
    let first = authority.identity("sidecar.example");
    let files = CertificateFiles::of(&first);
    let upstream = Upstream::ok();
    let listen = files.listen("");
    let process = format!("listen: {{ http: '127.0.0.1:0', {listen} }}\nreload: {{ interval: 100ms }}\n");
    let route = format!("uri: /*\napi_gateway:\n  function_uri: {}\n", upstream.uri("/"));
    let directory = settings(&process, &[("r", &route)]);
    let (mut process, _) = Process::run(directory.path());
    let address: SocketAddr = {
        let errors = process.errors();
        let text = errors.split_once("with TLS on ").unwrap().1;
        text.split_whitespace().next().unwrap().parse().unwrap()
    };
    let presented = || ask(address, trusting(&authority, None, &[])).unwrap().1;
    assert_eq!(presented(), first.chain()[0]);
    fs::write(files.path("key"), "no key").unwrap();
    process.says("listen.https.key: ");
    assert_eq!(presented(), first.chain()[0]);
    let second = authority.identity("sidecar.example");
    files.replace(&second);
    eventually("the new certificate is presented", || presented() == second.chain()[0]);
    let log = process.stop();
    assert!(log.contains("certificates of listen.https reloaded"), "{log}");
    assert!(!log.contains("PRIVATE"), "{log}");
}

#[test]
fn plain_text_on_the_port_of_tls_and_a_handshake_that_never_ends_are_closed() {
    let authority = Authority::new("test");
    let files = CertificateFiles::of(&authority.identity("sidecar.example"));
    let upstream = Upstream::ok();
    let app = App::listening(&files.listen(""), "limits: { header_timeout: 200ms }")
        .gateway("r", "/*", &upstream.uri("/"), "")
        .start();
    for sent in [&b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"[..], b"\x16\x03\x01", b""] {
        let mut stream = open(app.https.unwrap());
        stream.write_all(sent).unwrap();
        let mut rest = Vec::new();
        // an alert, or nothing
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.len() < 16, "{rest:?}");
    }
    assert_eq!(upstream.accepted(), 0);
}

fn mistakes(listen: &str) -> String {
    let documents = [
        Document::process(format!("listen:\n  {listen}\n")),
        Document::route("r", "uri: /*\napi_gateway:\n  function_uri: http://127.0.0.1:1/\n"),
    ];
    Settings::from_documents(&documents, &std::collections::BTreeMap::new()).unwrap_err().to_string()
}

#[test]
fn files_that_do_not_fit_are_mistakes_that_name_file_and_key() {
    let authority = Authority::new("test");
    let identity = authority.identity("sidecar.example");
    let files = CertificateFiles::of(&identity);
    let other = CertificateFiles::of(&authority.identity("other.example"));
    let empty = CertificateFiles::of(&identity);
    fs::write(empty.path("certificate"), "").unwrap();
    let https = |certificate: &str, key: &str, rest: &str| {
        format!("https: {{ address: '127.0.0.1:0', certificate: {certificate}, key: {key}{rest} }}")
    };
    let (certificate, key) = (files.path("certificate"), files.path("key"));
    for (listen, expected) in [
        (https("/none", &key, ""), "listen.https.certificate: /none: No such file"),
        (https(&empty.path("certificate"), &key, ""), "certificate: the file has no certificate"),
        (https(&certificate, "/none", ""), "listen.https.key: /none: No such file"),
        (https(&certificate, &certificate, ""), "listen.https.key: "),
        (https(&certificate, &other.path("key"), ""), "key: not the certificate's key"),
        (https(&certificate, &key, ", client_ca: /none"), "listen.https.client_ca: /none: No such file"),
        ("https: { address: '127.0.0.1:0' }".to_owned(), "missing `certificate`"),
        (https(&certificate, &key, ", clientca: x"), "did you mean `client_ca`?"),
        (format!("unix: /{}", "x".repeat(200)), "listen.unix: "),
    ] {
        let told = mistakes(&listen);
        assert!(told.contains(expected), "{listen}\n{told}\ndoes not contain\n{expected}");
        assert!(!told.contains("PRIVATE"), "{told}");
    }
}

fn ask_unix(path: &Path) -> io::Result<Response> {
    let mut stream = UnixStream::connect(path)?;
    stream.write_all(b"GET /u HTTP/1.1\r\nHost: h\r\n\r\n")?;
    read_response(&mut BufReader::new(stream), false)
}

#[test]
fn a_unix_socket_serves_and_its_client_has_no_address() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("sidecar.sock");
    let upstream = Upstream::ok();
    let listen = format!("h2c: true, unix: {}", path.display());
    let app = App::listening(&listen, "").gateway("r", "/*", &upstream.uri("/"), "").start();
    assert_eq!(ask_unix(&path).unwrap().status, 200);
    assert_eq!(upstream.only().header("x-forwarded-for"), None);
    assert_eq!(upstream.only().header("x-forwarded-port"), Some("80"), "e3: a Unix socket has no port");
    let own = path.clone();
    let mut http2 = Http2::over(async move { tokio::net::UnixStream::connect(own).await });
    assert_eq!(http2.get("/").status, 200);
    drop(app);
    assert!(!path.exists(), "the socket is removed");
}

#[test]
fn a_socket_left_behind_is_replaced_and_one_in_use_or_another_file_is_not() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("sidecar.sock");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let upstream = Upstream::ok();
    let route = format!("uri: /*\napi_gateway:\n  function_uri: {}\n", upstream.uri("/"));
    let process = ANY_PORT.replace(" }", &format!(", unix: {} }}", path.display()));
    let settings = settings(&process, &[("r", &route)]);
    let (mut first, _) = Process::run(settings.path());
    assert_eq!(ask_unix(&path).unwrap().status, 200);
    let mut second = Process::start(&mut super::support::process::command("run", settings.path()));
    assert_eq!(second.wait().code(), Some(1), "{}", second.errors());
    assert!(second.errors().contains("cannot listen on "), "{}", second.errors());
    assert_eq!(ask_unix(&path).unwrap().status, 200);
    first.stop();
    assert!(!path.exists());
    fs::write(&path, "precious").unwrap();
    let mut third = Process::start(&mut super::support::process::command("run", settings.path()));
    assert_eq!(third.wait().code(), Some(1));
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}
