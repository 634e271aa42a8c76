//! Certificates that the sidecar presents: one warning before expiry, one after it.

use std::time::Duration;

use rcgen::{CertificateParams, date_time_ymd};
use time::OffsetDateTime;

use super::support::{
    App, eventually,
    exposition::Exposition,
    process::{ANY_PORT, Process, command, end_of, settings},
    tls::{Authority, CertificateFiles, Identity},
};

const EXPIRY: &str = "apigw_invoker_certificate_expiry_timestamp_seconds";
const RENEWAL_DUE: &str = "apigw_invoker_certificate_renewal_due_timestamp_seconds";

/// A route that presents the certificate.
fn route(files: &CertificateFiles) -> String {
    format!(
        "uri: /r\napi_gateway:\n  function_uri: https://a.example/\n  client_certificate: {}\n  \
         client_key: {}\n",
        files.path("certificate"),
        files.path("key")
    )
}

/// A certificate that is valid from `from` for the time `life`.
fn lasting(authority: &Authority, from: OffsetDateTime, life: Duration) -> Identity {
    authority.issue("localhost", |params: &mut CertificateParams| {
        params.not_before = from;
        params.not_after = from + life;
    })
}

fn expired(authority: &Authority) -> Identity {
    authority.issue("localhost", |params| params.not_after = date_time_ymd(2025, 2, 1))
}

#[test]
fn k3_check_warns_of_expiring_and_expired_certificates_and_exits_with_0() {
    let authority = Authority::new("ours");
    let day = Duration::from_hours(24);
    let soon = lasting(&authority, OffsetDateTime::now_utc() - 90 * day, 100 * day);
    let future = authority.issue("localhost", |params| params.not_before = date_time_ymd(4000, 1, 1));
    let sound = lasting(&authority, OffsetDateTime::now_utc() - day, 100 * day);
    for (identity, listener, client) in [
        (expired(&authority), "expired on 2025-02-01, ", "and servers refuse it: replace the file"),
        (soon, "expires on 20", "days (this machine's clock: "),
        (future, "is not valid before 4000-01-01 ", "and servers refuse it: replace the file"),
        (sound, "", ""),
    ] {
        let files = CertificateFiles::of(&identity);
        let process = format!("listen: {{ http: '127.0.0.1:0', {} }}\n", files.listen(""));
        let directory = settings(&process, &[("r", &route(&files))]);
        let ended = end_of(&mut command("check", directory.path()));
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let of = |start: &str| ended.errors.lines().find(|line| line.starts_with(start)).unwrap_or_default();
        let (of_listener, of_client) =
            (of("warning: listen.https.certificate "), of("warning: route r: client_certificate "));
        assert!(of_listener.contains(listener) && of_client.contains(client), "{ended:?}");
        assert_eq!(of_listener.is_empty() && of_client.is_empty(), listener.is_empty(), "{ended:?}");
    }
}

#[test]
fn k3_a_running_process_warns_once_before_and_once_after_a_certificate_expires() {
    let authority = Authority::new("ours");
    let files = CertificateFiles::of(&expired(&authority));
    let process =
        format!("listen: {{ http: '127.0.0.1:0', {} }}\nreload: {{ interval: 100ms }}\n", files.listen(""));
    let directory =
        settings(&process, &[("r", "uri: /\napi_gateway: { function_uri: 'http://a.example/' }\n")]);
    let (mut process, _) = Process::run(directory.path());
    let warned = |log: &str, words: &str| {
        log.lines().filter(|line| line.contains("WARN") && line.contains(words)).count()
    };
    let expired = "listen.https.certificate expired on 2025-02-01, ";
    eventually("the expired certificate is told of", || warned(&process.errors(), expired) == 1);
    // already in the last fifth of its lifetime, and expired before the test ends
    let now = OffsetDateTime::now_utc();
    files.replace(&lasting(&authority, now - Duration::from_mins(1), Duration::from_secs(63)));
    let soon = "listen.https.certificate expires on ";
    eventually("the new one ends soon", || warned(&process.errors(), soon) == 1);
    let over = "listen.https.certificate expired less than a day ago, ";
    eventually("and has ended", || warned(&process.errors(), over) == 1);
    files.replace(&lasting(&authority, now, Duration::from_hours(2400)));
    eventually("the third is in use", || {
        process.errors().matches("certificates of listen.https reloaded").count() == 2
    });
    let log = process.stop();
    let counts = [expired, soon, over].map(|words| warned(&log, words));
    assert_eq!(counts, [1, 1, 1], "{log}");
}

#[test]
fn k3_an_expiring_client_certificate_is_logged_at_the_start() {
    let files = CertificateFiles::of(&expired(&Authority::new("ours")));
    let directory = settings(ANY_PORT, &[("r", &route(&files))]);
    let (mut process, _) = Process::run(directory.path());
    let told = "route r: client_certificate expired on 2025-02-01, ";
    eventually("it is told of", || process.errors().contains(told));
    process.stop();
}

#[test]
fn the_end_of_a_certificate_that_roles_anywhere_exchanges_is_a_warning_and_a_metric() {
    let authority = Authority::new("ours");
    let now = OffsetDateTime::now_utc();
    let ends = |life: Duration| lasting(&authority, now - Duration::from_mins(1), life);
    let files = CertificateFiles::of(&ends(Duration::from_secs(75)));
    let of_anywhere = "arn:aws:rolesanywhere:us-east-1:123456789012";
    let route = format!(
        "uri: /r\napi_gateway:\n  function_uri: https://a.example/\n  authorization: {{ iam: {{ \
         roles_anywhere: {{ trust_anchor_arn: '{of_anywhere}:trust-anchor/a', \
         profile_arn: '{of_anywhere}:profile/p', role_arn: 'arn:aws:iam::123456789012:role/r', \
         certificate: {}, key: {} }} }} }}\n",
        files.path("certificate"),
        files.path("key")
    );
    let directory = settings(&format!("{ANY_PORT}reload: {{ interval: 100ms }}\n"), &[("r", &route)]);
    let checked = end_of(&mut command("check", directory.path()));
    let soon = "route r: certificate of roles_anywhere expires on ";
    assert!(checked.code == Some(0) && checked.errors.contains(soon), "{checked:?}");
    let mut run = command("run", directory.path());
    run.env("AWS_ENDPOINT_URL_ROLESANYWHERE", "http://127.0.0.1:1");
    let (mut process, _) = Process::listening(&mut run);
    process.says(soon);
    let labels = [("certificate", "roles_anywhere"), ("route", "r")];
    let end = |life: Duration| {
        let end = now - Duration::from_mins(1) + life;
        u64::try_from(end.unix_timestamp()).unwrap()
    };
    let admin = process.admin();
    let metric = |name: &str| Exposition::of(admin).count(name, &labels);
    eventually("the metric is there", || Exposition::of(admin).value(EXPIRY, &labels).is_some());
    assert_eq!(metric(EXPIRY), end(Duration::from_secs(75)));
    // a renewed file counts at once
    let renewed = Duration::from_hours(2400);
    files.replace(&ends(renewed));
    eventually("the renewed certificate is there", || metric(EXPIRY) == end(renewed));
    assert_eq!(metric(RENEWAL_DUE), end(renewed / 5 * 4));
    let log = process.stop();
    assert_eq!(log.matches("certificate of roles_anywhere expires on").count(), 1, "{log}");
}

#[test]
fn k3_the_expiry_of_each_certificate_is_a_metric() {
    let authority = Authority::new("ours");
    let day = Duration::from_hours(24);
    let now = OffsetDateTime::now_utc();
    let (listener, client) = (lasting(&authority, now, 100 * day), lasting(&authority, now, 10 * day));
    let (listener, client) = (CertificateFiles::of(&listener), CertificateFiles::of(&client));
    let app = App::listening(&listener.listen(""), "").route("r", &route(&client)).start();
    let of_listener = [("certificate", "listen.https"), ("route", "-")];
    let of_client = [("certificate", "client_certificate"), ("route", "r")];
    let mut metrics = Exposition::of(app.admin);
    eventually("the listener's is there", || {
        metrics = Exposition::of(app.admin);
        metrics.value(EXPIRY, &of_listener).is_some()
    });
    let start = u64::try_from(now.unix_timestamp()).unwrap();
    let days = |days: u64| start + days * day.as_secs();
    assert_eq!(metrics.count(EXPIRY, &of_listener), days(100));
    assert_eq!(metrics.count(RENEWAL_DUE, &of_listener), days(80));
    assert_eq!(metrics.count(EXPIRY, &of_client), days(10));
    assert_eq!(metrics.count(RENEWAL_DUE, &of_client), days(8));
}
