//! TLS to AWS: trusted authorities, the client's response on failure, and no reuse of an unverified
//! connection by a route that verifies.

use std::{
    io::{self, Read as _, Write as _},
    path::Path,
};

use apigw_invoker::{
    app::Application,
    settings::{self, Document, Settings},
};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, date_time_ymd};
use rustls::version;

use super::support::{
    App, Response, Upstream, call, get,
    tls::{Authority, Handshake, Identity, SecuredUpstream, demanding, file, server, server_speaking},
};

/// Route settings with this `ca_certificate`.
fn trusting(authorities: &Path) -> String {
    format!("ca_certificate: {}\ntimeout: 10s\n", authorities.display())
}

const UNVERIFIED: &str = "ssl_verify: false\ntimeout: 10s\n";

/// A sidecar with one route from `/*` to `function_uri`.
fn app(function_uri: &str, rest: &str) -> App {
    App::with("").gateway("r", "/*", function_uri, rest).start()
}

/// Checks that the response is `upstream_tls`, without the cause.
#[track_caller]
fn assert_refused(response: &Response, what: &str) {
    assert_eq!(response.status, 502, "{what}: {}", response.text());
    let id = response.header("x-request-id").expect("a request id");
    let expected = serde_json::json!({
        "message": "TLS with the upstream failed",
        "code": "upstream_tls",
        "request_id": id,
    });
    assert_eq!(response.json(), expected, "{what}");
    let mut names: Vec<&str> = response.headers.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["content-length", "content-type", "date", "x-request-id"], "{what}");
}

#[test]
fn a_server_that_the_file_vouches_for_is_called_by_its_name() {
    let authority = Authority::new("ours");
    let trusted = authority.file();
    for (host, name) in [("localhost", Some("localhost")), ("127.0.0.1", None)] {
        for version in [&version::TLS12, &version::TLS13] {
            let upstream = SecuredUpstream::ok(server_speaking(&[version], authority.identity(host)));
            let app = app(&upstream.uri(host), &trusting(trusted.path()));
            let response = get(app.address, "/");
            assert_eq!((response.status, response.text().as_str()), (200, "ok"));
            let port = upstream.plain.address.port();
            assert_eq!(upstream.plain.only().header("host"), Some(format!("{host}:{port}").as_str()));
            // SNI contains no IP addresses (RFC 6066, 3); the server offers HTTP/2, but the sidecar does not
            let name = name.map(ToOwned::to_owned);
            let protocol = Some("http/1.1".to_owned());
            assert_eq!(upstream.handshakes(), [Handshake { name, protocol, resumed: false }]);
        }
    }
}

#[test]
fn each_certificate_of_the_file_is_trusted_and_what_else_is_in_it_is_passed_over() {
    let (first, second) = (Authority::new("first"), Authority::new("second"));
    let trusted = file(&format!("# ours\n{}\nand theirs\n{}", first.pem(), second.pem()));
    for authority in [first, second] {
        let upstream = SecuredUpstream::ok(server(authority.identity("localhost")));
        let app = app(&upstream.uri("localhost"), &trusting(trusted.path()));
        assert_eq!(get(app.address, "/").status, 200);
    }
}

/// Certificates that are invalid for `localhost`, by the reason.
fn unfit(authority: &Authority) -> Vec<(&'static str, Identity)> {
    let changed = |what, change: fn(&mut CertificateParams)| (what, authority.issue("localhost", change));
    vec![
        ("another name", authority.identity("other.example")),
        ("an address only", authority.identity("127.0.0.1")),
        changed("no name but the subject's", |params| {
            params.subject_alt_names.clear();
            params.distinguished_name.push(DnType::CommonName, "localhost");
        }),
        changed("expired", |params| params.not_after = date_time_ymd(2020, 1, 1)),
        changed("not yet valid", |params| params.not_before = date_time_ymd(4000, 1, 1)),
        changed("for clients", |params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        }),
        ("another authority of the same name", Authority::new("ours").identity("localhost")),
    ]
}

#[test]
fn a_certificate_for_another_name_expired_or_by_another_authority_is_502_upstream_tls() {
    let authority = Authority::new("ours");
    let trusted = authority.file();
    for (what, identity) in unfit(&authority) {
        let upstream = SecuredUpstream::ok(server(identity));
        let app = app(&upstream.uri("localhost"), &trusting(trusted.path()));
        for _ in 0..2 {
            assert_refused(&get(app.address, "/"), what);
            assert_refused(&call(app.address, "POST", "/", &[], b"secret body"), what);
        }
        assert!(upstream.plain.received().is_empty(), "{what}: nothing is sent to a stranger");
    }
}

#[test]
fn an_authority_that_the_platform_does_not_know_is_502_upstream_tls() {
    let upstream = SecuredUpstream::ok(server(Authority::new("unknown").identity("localhost")));
    let app = app(&upstream.uri("localhost"), "timeout: 10s");
    assert_refused(&get(app.address, "/"), "an unknown authority");
}

#[test]
fn a_file_of_authorities_stands_in_for_the_platforms_and_does_not_add_to_them() {
    let (named, other) = (Authority::new("named"), Authority::new("other"));
    let (named_file, other_file) = (named.file(), other.file());
    let upstream = SecuredUpstream::ok(server(named.identity("localhost")));
    let uri = upstream.uri("localhost");
    let app = App::with("")
        .gateway("named", "/named/*", &uri, &trusting(named_file.path()))
        .gateway("other", "/other/*", &uri, &trusting(other_file.path()))
        .gateway("platform", "/platform/*", &uri, "timeout: 10s")
        .start();
    for _ in 0..2 {
        assert_eq!(get(app.address, "/named/").status, 200);
        assert_refused(&get(app.address, "/other/"), "the authorities of another route");
        assert_refused(&get(app.address, "/platform/"), "the platform's authorities");
    }
}

#[test]
fn without_verification_every_certificate_will_do_and_a_warning_says_so() {
    let authority = Authority::new("ours");
    for (what, identity) in unfit(&authority) {
        let upstream = SecuredUpstream::ok(server(identity));
        let app = app(&upstream.uri("localhost"), UNVERIFIED);
        assert_eq!(get(app.address, "/").status, 200, "{what}");
    }
    let route =
        |rest: &str| format!("uri: /*\napi_gateway:\n  function_uri: https://api.example/\n  {rest}\n");
    assert_eq!(
        settings::warnings(&settings(&route("ssl_verify: false")).unwrap()),
        ["route r: ssl_verify is off: anyone between here and AWS can impersonate api.example"]
    );
    assert_eq!(settings::warnings(&settings(&route("ssl_verify: true")).unwrap()), [""; 0]);
}

/// The settings with one route `r`, or their mistakes.
fn settings(route: &str) -> Result<Settings, String> {
    let documents = [Document::process("listen: { http: '127.0.0.1:0' }\n"), Document::route("r", route)];
    Settings::from_documents(&documents, &std::collections::BTreeMap::new())
        .map_err(|mistakes| mistakes.to_string())
}

#[test]
fn a_certificate_without_its_key_is_502_upstream_tls_even_without_verification() {
    let authority = Authority::new("ours");
    let trusted = authority.file();
    for version in [&version::TLS12, &version::TLS13] {
        for rest in [UNVERIFIED, &trusting(trusted.path())] {
            let with_wrong_key = authority.identity("localhost").with_wrong_key();
            let upstream = SecuredUpstream::ok(server_speaking(&[version], with_wrong_key));
            let app = app(&upstream.uri("localhost"), rest);
            assert_refused(&get(app.address, "/"), rest);
        }
    }
}

#[test]
fn a_server_that_speaks_plain_text_or_closes_in_the_handshake_is_502_upstream_tls() {
    for (what, read, answer) in [
        ("plain text", 4096, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"),
        ("a close", 4096, ""),
        ("a reset", 1, ""),
        ("an alert", 4096, "\u{15}\u{3}\u{3}\0\u{2}\u{2}\u{28}"),
        ("half a record", 4096, "\u{16}\u{3}\u{3}\0\u{7a}\u{2}"),
    ] {
        let upstream = Upstream::accepting(move |_, mut stream, _| {
            let _ = stream.read(&mut vec![0; read])?;
            stream.write_all(answer.as_bytes())
        });
        let uri = format!("https://localhost:{}/", upstream.address.port());
        for rest in ["timeout: 10s", UNVERIFIED] {
            assert_refused(&get(app(&uri, rest).address, "/"), what);
        }
    }
}

#[test]
fn a_handshake_that_never_ends_is_504_within_the_time_limit() {
    let (send, hold) = std::sync::mpsc::channel::<()>();
    let hold = std::sync::Mutex::new(hold);
    let upstream = Upstream::accepting(move |_, _stream, _| {
        let _ = hold.lock().unwrap().recv();
        Ok(())
    });
    let uri = format!("https://localhost:{}/", upstream.address.port());
    let app = app(&uri, "timeout: 1h\nconnect_timeout: 200");
    let response = get(app.address, "/");
    assert_eq!((response.status, response.code().as_str()), (504, "upstream_timeout"));
    drop(send);
}

#[test]
fn a_server_that_wants_a_certificate_of_ours_is_a_502() {
    let authority = Authority::new("ours");
    let trusted = authority.file();
    for version in [&version::TLS12, &version::TLS13] {
        let upstream = demanding(&authority, version);
        let app = app(&upstream.uri("localhost"), &trusting(trusted.path()));
        assert_refused(&get(app.address, "/"), &format!("{version:?}"));
    }
}

#[test]
fn a_connection_opened_without_verification_never_serves_a_route_that_verifies() {
    let upstream = SecuredUpstream::ok(server(Authority::new("unknown").identity("localhost")));
    let uri = upstream.uri("localhost");
    let app = App::with("")
        .gateway("open", "/open/*", &uri, UNVERIFIED)
        .gateway("safe", "/safe/*", &uri, "timeout: 10s")
        .start();
    for round in 1..=3 {
        assert_eq!(get(app.address, "/open/").status, 200);
        // neither the idle connection nor its session, which would be resumed without certificates
        assert_refused(&get(app.address, "/safe/"), "beside an open route");
        assert_eq!(upstream.plain.accepted(), 1 + round, "the open route keeps its own connection");
    }
    assert!(upstream.plain.received().iter().all(|request| request.connection == 0));
}

#[test]
fn a_kept_connection_serves_on_and_a_new_one_goes_on_with_its_session() {
    let authority = Authority::new("ours");
    let trusted = authority.file();
    for version in [&version::TLS12, &version::TLS13] {
        let upstream = SecuredUpstream::ok(server_speaking(&[version], authority.identity("localhost")));
        let rest = trusting(trusted.path());
        let app = App::with("")
            .gateway("kept", "/kept/*", &upstream.uri("localhost"), &rest)
            .gateway("anew", "/anew/*", &upstream.uri("localhost"), &format!("{rest}keepalive: false\n"))
            .start();
        for _ in 0..5 {
            assert_eq!(get(app.address, "/kept/").status, 200);
        }
        assert_eq!(upstream.plain.accepted(), 1, "{version:?}");
        assert_eq!(get(app.address, "/anew/").status, 200);
        let resumed: Vec<bool> = upstream.handshakes().iter().map(|handshake| handshake.resumed).collect();
        assert_eq!(resumed, [false, true], "{version:?}");
    }
}

#[test]
fn a_body_of_several_mebibytes_passes_both_ways_unchanged() {
    let authority = Authority::new("ours");
    let trusted = authority.file();
    let upstream = SecuredUpstream::serving(server(authority.identity("localhost")), |request, stream| {
        write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", request.body.len())?;
        stream.write_all(&request.body)
    });
    let body: Vec<u8> = (0..8_u32 << 20).map(|index| u8::try_from(index % 251).unwrap()).collect();
    let signed = "authorization: { iam: { accesskey: a, secretkey: s } }\n";
    for rest in ["", signed] {
        let app = app(&upstream.uri("localhost"), &(trusting(trusted.path()) + rest));
        for _ in 0..2 {
            let response = call(app.address, "POST", "/", &[], &body);
            assert_eq!(response.status, 200, "{}", response.text());
            assert!(response.body == body, "{rest}: the body has changed");
        }
    }
    let connections: Vec<usize> =
        upstream.plain.received().iter().map(|request| request.connection).collect();
    assert_eq!(connections, [0, 0, 1, 1], "such an answer leaves the connection in order");
}

#[test]
fn a_body_that_ends_with_the_connection_is_whole_only_after_a_farewell() {
    let authority = Authority::new("ours");
    let trusted = authority.file();
    for farewell in [true, false] {
        let identity = authority.identity("localhost");
        let upstream = SecuredUpstream::serving(server(identity), move |_, stream| {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nhello")?;
            if farewell {
                stream.conn.send_close_notify();
                stream.flush()?;
            }
            Err(io::ErrorKind::ConnectionAborted.into())
        });
        let app = app(&upstream.uri("localhost"), &trusting(trusted.path()));
        let mut answer = Vec::new();
        let mut stream = super::support::open(app.address);
        // without `close_notify` the end may be forged, so the client must detect it
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        let end = stream.read_to_end(&mut answer);
        assert_eq!(end.is_ok() && answer.ends_with(b"hello"), farewell, "{end:?}");
    }
}

#[test]
fn a_file_that_holds_no_authority_is_a_mistake_that_names_file_and_key() {
    let key = file(&rcgen::KeyPair::generate().unwrap().serialize_pem());
    let (empty, garbage) = (file(""), file("garbage\n"));
    let broken = file("-----BEGIN CERTIFICATE-----\n*\n-----END CERTIFICATE-----\n");
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing.pem");
    for path in [key.path(), empty.path(), garbage.path(), broken.path(), directory.path(), &missing] {
        let path = path.display();
        let mistakes = settings(&route_trusting(&path.to_string())).unwrap_err();
        let start = format!("routes/r.yaml:4: api_gateway.ca_certificate: {path}: ");
        assert!(mistakes.starts_with(&start), "{mistakes}\ndoes not start with\n{start}");
        assert!(mistakes.contains("expected a PEM file with certificates of authorities"), "{mistakes}");
        assert!(mistakes.ends_with("\n1 mistake in the settings"), "{mistakes}");
    }
}

#[test]
fn a_certificate_that_cannot_be_parsed_prevents_the_start_and_is_named() {
    let broken = file("-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n");
    let path = broken.path().display().to_string();
    let refused = match settings(&route_trusting(&path)) {
        Ok(settings) => Application::build(settings).unwrap_err().to_string(),
        Err(mistakes) => mistakes,
    };
    assert!(refused.contains(&path), "{refused}");
}

fn route_trusting(path: &str) -> String {
    format!("uri: /*\napi_gateway:\n  function_uri: https://localhost/\n  ca_certificate: {path}\n")
}
