//! TCP and TLS failures: the log has cause and cure.

use std::{io::Write as _, net::TcpListener};

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, date_time_ymd};
use rustls::version;

use super::support::{
    Upstream, get,
    process::{ANY_PORT, Process, settings},
    tls::{Authority, SecuredUpstream, demanding, server},
};

/// The log line of one failed call.
fn failure(function_uri: &str, rest: &str, code: &str) -> String {
    let route = format!("uri: /*\napi_gateway:\n  function_uri: {function_uri}\n  timeout: 10s\n  {rest}\n");
    let directory = settings(ANY_PORT, &[("r", &route)]);
    let (mut process, address) = Process::run(directory.path());
    assert_eq!(get(address, "/").code(), code);
    let log = process.stop();
    let line = log.lines().find(|line| line.contains("ERROR] ")).unwrap_or_else(|| panic!("{log}"));
    line.to_owned()
}

#[test]
fn words_an_address_that_refuses_is_named_once() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let line = failure(&format!("http://{closed}/"), "retry: { attempts: 1 }", "upstream_connect");
    assert!(
        line.contains(&format!(": cannot connect to {closed}: connection refused request_id=")),
        "{line}"
    );
}

#[test]
fn words_each_untrusted_certificate_is_logged_with_cause_and_cure() {
    let authority = Authority::new("ours");
    let trusted = authority.file();
    let file = trusted.path().display().to_string();
    let expired = |params: &mut CertificateParams| params.not_after = date_time_ymd(2025, 2, 1);
    let future = |params: &mut CertificateParams| params.not_before = date_time_ymd(4000, 1, 1);
    let clients = |params: &mut CertificateParams| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    };
    let own = |params: &mut CertificateParams| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    for (identity, told) in [
        (
            Authority::new("theirs").identity("localhost"),
            format!(
                "failed: its certificate for localhost was not issued by an authority that is trusted here \
                 (ca_certificate: {file}). Add the authority to that file"
            ),
        ),
        (authority.issue("localhost", expired), "failed: its certificate expired on 2025-02-01, ".to_owned()),
        (
            authority.issue("localhost", future),
            "failed: its certificate is not valid before 4000-01-01 (this machine's clock: ".to_owned(),
        ),
        (
            authority.identity("other.example"),
            "failed: its certificate is for other.example and not for localhost. Correct the host".to_owned(),
        ),
        (authority.issue("localhost", clients), "failed: its certificate is not one for servers".to_owned()),
        (authority.issue("localhost", own), "failed: its certificate is that of an authority".to_owned()),
    ] {
        let upstream = SecuredUpstream::ok(server(identity));
        let rest = format!("ca_certificate: {file}");
        let line = failure(&upstream.uri("localhost"), &rest, "upstream_tls");
        let place = format!("TLS with localhost:{} {told}", upstream.plain.address.port());
        assert!(line.contains(&place), "{place}\nis not in\n{line}");
    }
}

#[test]
fn words_an_authority_that_the_platform_does_not_know_leads_to_ca_certificate() {
    let upstream = SecuredUpstream::ok(server(Authority::new("unknown").identity("localhost")));
    let line = failure(&upstream.uri("localhost"), "", "upstream_tls");
    assert!(
        line.contains(
            "trusted here (those of this system). Name a file with the authority in ca_certificate"
        ),
        "{line}"
    );
}

#[test]
fn words_a_server_without_tls_is_logged_as_such() {
    let upstream = Upstream::accepting(|_, mut stream, _| {
        let _ = std::io::Read::read(&mut stream, &mut [0; 4096])?;
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
    });
    let place = format!("localhost:{}", upstream.address.port());
    let line = failure(&format!("https://{place}/"), "", "upstream_tls");
    assert!(line.contains(&format!("{place} did not answer with TLS; does it speak plain HTTP?")), "{line}");
}

#[test]
fn words_a_server_that_wants_a_client_certificate_leads_to_client_certificate() {
    let authority = Authority::new("ours");
    let trusted = authority.file();
    for version in [&version::TLS12, &version::TLS13] {
        let upstream = demanding(&authority, version);
        let rest = format!("ca_certificate: {}", trusted.path().display());
        let line = failure(&upstream.uri("localhost"), &rest, "upstream_tls");
        assert!(line.contains("client_certificate") && line.contains("client_key"), "{version:?}: {line}");
    }
}
