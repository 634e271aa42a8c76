//! `client_certificate` and `client_key`: custom domains of API Gateway that require mutual TLS.

use std::{fmt::Write as _, path::Path};

use apigw_invoker::settings::{Document, Settings};
use rcgen::ExtendedKeyUsagePurpose;
use rustls::version;
use tempfile::NamedTempFile;

use super::support::{
    App, get,
    tls::{Authority, Identity, demanding, file},
};

/// A client certificate.
fn client(authority: &Authority) -> Identity {
    authority.issue("client", |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth])
}

/// Route settings with files for certificate and key.
fn client_certificate_settings(authority: &Path, certificate: &Path, key: &Path) -> String {
    let mut rest = format!("timeout: 10s\nca_certificate: {}\n", authority.display());
    let _ = writeln!(rest, "client_certificate: {}\nclient_key: {}", certificate.display(), key.display());
    rest
}

fn files(identity: &Identity) -> (NamedTempFile, NamedTempFile) {
    (file(identity.certificate()), file(&identity.key()))
}

#[test]
fn a_server_that_wants_a_certificate_is_shown_the_routes() {
    let authority = Authority::new("ours");
    let trusted = authority.file();
    let (certificate, key) = files(&client(&authority));
    for version in [&version::TLS12, &version::TLS13] {
        let upstream = demanding(&authority, version);
        let rest = client_certificate_settings(trusted.path(), certificate.path(), key.path());
        let lambda: String = rest.lines().fold(String::new(), |text, line| text + "  " + line + "\n");
        let port = upstream.plain.address.port();
        let app = App::with("")
            .gateway("r", "/gateway/*", &upstream.uri("localhost"), &rest)
            .route(
                "f",
                &format!(
                    "uri: /lambda\nlambda:\n  function_name: f\n  aws_region: us-east-1\n  aws_key: a\n  \
                     aws_secret: s\n  host: localhost\n  port: {port}\n{lambda}"
                ),
            )
            .start();
        assert_eq!(get(app.address, "/gateway/").status, 200, "{version:?}");
        assert_eq!(get(app.address, "/lambda").status, 200, "{version:?}");
    }
}

#[test]
fn a_certificate_that_the_server_does_not_take_is_502_upstream_tls() {
    let (authority, stranger) = (Authority::new("ours"), Authority::new("a stranger"));
    let trusted = authority.file();
    let (certificate, key) = files(&client(&stranger));
    for version in [&version::TLS12, &version::TLS13] {
        let upstream = demanding(&authority, version);
        let rest = client_certificate_settings(trusted.path(), certificate.path(), key.path());
        let app = App::with("").gateway("r", "/*", &upstream.uri("localhost"), &rest).start();
        let response = get(app.address, "/");
        assert_eq!((response.status, response.code().as_str()), (502, "upstream_tls"), "{version:?}");
        assert!(upstream.plain.received().is_empty(), "{version:?}");
    }
}

#[test]
fn a_connection_with_a_certificate_never_serves_a_route_without_it() {
    let authority = Authority::new("ours");
    let trusted = authority.file();
    let (certificate, key) = files(&client(&authority));
    for version in [&version::TLS12, &version::TLS13] {
        let upstream = demanding(&authority, version);
        let uri = upstream.uri("localhost");
        let with = client_certificate_settings(trusted.path(), certificate.path(), key.path());
        let without = format!("timeout: 10s\nca_certificate: {}", trusted.path().display());
        let app = App::with("")
            .gateway("with", "/with/*", &uri, &with)
            .gateway("same", "/same/*", &uri, &with)
            .gateway("without", "/without/*", &uri, &without)
            .start();
        for _ in 0..2 {
            assert_eq!(get(app.address, "/with/").status, 200);
            assert_eq!(get(app.address, "/same/").status, 200);
            // neither the idle connection nor its TLS session may be used
            assert_eq!(get(app.address, "/without/").status, 502, "{version:?}");
        }
        assert_eq!(upstream.handshakes().iter().filter(|handshake| handshake.resumed).count(), 0);
        assert!(upstream.plain.received().iter().all(|request| request.connection == 0));
    }
}

/// The settings with one route `r`, or their mistakes.
fn settings(uri: &str, rest: &str) -> Result<Settings, String> {
    let route = format!("uri: /*\napi_gateway:\n  function_uri: {uri}\n{rest}");
    let environment = [("KEY".to_owned(), "hush-hush".to_owned())].into();
    Settings::from_documents(&[Document::process(""), Document::route("r", &route)], &environment)
        .map_err(|mistakes| mistakes.to_string())
}

#[track_caller]
fn assert_mistake(uri: &str, rest: &str, start: &str) {
    let mistakes = settings(uri, rest).unwrap_err();
    assert!(mistakes.starts_with(start), "{mistakes}\ndoes not start with\n{start}");
    assert!(mistakes.ends_with("\n1 mistake in the settings"), "{mistakes}");
    assert!(!mistakes.contains("hush") && !mistakes.contains("MII"), "{mistakes}");
}

#[test]
fn one_without_the_other_is_a_mistake_that_names_what_is_missing() {
    for (there, missing) in [("client_certificate", "client_key"), ("client_key", "client_certificate")] {
        assert_mistake(
            "https://a/",
            &format!("  {there}: /some/file\n"),
            &format!(
                "routes/r.yaml:2: api_gateway.{missing}: missing, but `{there}` is set; expected both or \
                 none of client_certificate and client_key"
            ),
        );
    }
}

#[test]
fn invalid_files_are_mistakes_at_their_keys() {
    let authority = Authority::new("ours");
    let (ours, theirs) = (client(&authority), client(&authority));
    let ((certificate, key), (_, their_key)) = (files(&ours), files(&theirs));
    let garbage = file("hush\n");
    let https = "https://a/";
    let path = |file: &NamedTempFile| file.path().display().to_string();
    let pair =
        |certificate: &str, key: &str| format!("  client_certificate: {certificate}\n  client_key: {key}\n");
    let of_certificate = "routes/r.yaml:4: api_gateway.client_certificate: ";
    let of_key = "routes/r.yaml:5: api_gateway.client_key: ";
    for (certificate, key, start) in [
        ("/nowhere", &*path(&key), format!("{of_certificate}/nowhere: No such file")),
        (
            &path(&garbage),
            &path(&key),
            format!("{of_certificate}{}: the file has no certificate", path(&garbage)),
        ),
        (&path(&certificate), "/nowhere", format!("{of_key}/nowhere: No such file")),
        (
            &path(&certificate),
            &path(&garbage),
            format!("{of_key}{}: the file has no private key", path(&garbage)),
        ),
        (
            &path(&certificate),
            &path(&their_key),
            format!("{of_key}{}: it is not the key of the first certificate", path(&their_key)),
        ),
        // the value behind a reference, or a possible key, must not be quoted
        (&path(&certificate), "$env://KEY", format!("{of_key}No such file")),
        (&path(&certificate), "hush-hush", format!("{of_key}No such file")),
    ] {
        assert_mistake(https, &pair(certificate, key), &start);
    }
    let start = format!("{of_certificate}has no effect without TLS; expected https, or remove the key");
    assert_mistake("http://a/", &pair(&path(&certificate), &path(&key)), &start);
}

#[test]
fn debug_of_the_settings_shows_nothing_of_the_key_wherever_it_comes_from() {
    let authority = Authority::new("ours");
    let identity = client(&authority);
    let (certificate, key) = files(&identity);
    for spelling in [key.path().display().to_string(), format!("$file://{}", key.path().display())] {
        let rest =
            format!("  client_certificate: {}\n  client_key: {spelling}\n", certificate.path().display());
        let client_certificate_settings = format!("{:?}", settings("https://a/", &rest).unwrap());
        let inside = identity.key();
        let secret = inside.lines().nth(1).unwrap();
        assert!(
            client_certificate_settings.contains("ClientIdentity")
                && !client_certificate_settings.contains(secret),
            "{client_certificate_settings}"
        );
        assert!(!client_certificate_settings.contains("PRIVATE KEY"), "{client_certificate_settings}");
    }
}
