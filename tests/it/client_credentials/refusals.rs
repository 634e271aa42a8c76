//! Calls with keys of the caller that AWS refuses.

use std::{io::Write as _, sync::Mutex, time::Instant};

use apigw_invoker::stand_in::{Fault, StandIn, StandInKeys, StandInOptions};

use super::{
    super::support::{
        App, Upstream,
        exposition::Exposition,
        process::{ANY_PORT, Process, settings},
        tls::{Authority, SecuredUpstream, server},
    },
    IAM, ONE, OTHER, assert_signed_by, curl,
};

const EXPIRED: &str =
    "HTTP/1.1 403 Forbidden\r\nx-amzn-errortype: ExpiredTokenException\r\ncontent-length: 2\r\n\r\n{}";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[test]
fn nobody_waits_for_newer_keys_of_a_caller() {
    let upstream = Upstream::answering(EXPIRED);
    let app = App::with("")
        .gateway("g", "/*", &upstream.uri("/"), &format!("{IAM}\nretry: {{ attempts: 5, max_backoff: 20s }}"))
        .start();
    let begun = Instant::now();
    assert_eq!(curl(app.address, "/a", ONE).status, 403);
    assert!(begun.elapsed().as_secs() < 10, "{:?}", begun.elapsed());
    assert_eq!(upstream.received().len(), 1);
}

#[test]
fn a_call_that_is_repeated_is_signed_again_with_the_keys_of_its_caller() {
    let first = Mutex::new(true);
    let upstream = Upstream::serving(move |_, stream| {
        let is_first = std::mem::take(&mut *first.lock().unwrap());
        let throttled = "HTTP/1.1 429 Too Many Requests\r\nx-amzn-errortype: TooManyRequestsException\r\n\
                         content-length: 2\r\n\r\n{}";
        stream.write_all(if is_first { throttled } else { OK }.as_bytes())
    });
    let app = App::with("").gateway("g", "/*", &upstream.uri("/"), IAM).start();
    assert_eq!(curl(app.address, "/a", OTHER).status, 200);
    let received = upstream.received();
    assert_eq!(received.len(), 2);
    for request in &received {
        assert_signed_by(OTHER, "execute-api", request);
    }
}

/// An API over TLS whose clock is ten minutes ahead, and which refuses a signature by an earlier one.
fn ten_minutes_ahead(authority: &Authority) -> SecuredUpstream {
    use time::{Duration, OffsetDateTime, macros::format_description};
    SecuredUpstream::serving(server(authority.identity("localhost")), |request, stream| {
        let theirs = OffsetDateTime::now_utc() + Duration::minutes(10);
        let day = format_description!(
            "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
        );
        let date = theirs.format(day).unwrap();
        let earliest = (theirs - Duration::minutes(5))
            .format(format_description!("[year][month][day]T[hour][minute][second]Z"))
            .unwrap();
        let (status, kind) = if request.header("x-amz-date").unwrap() < &*earliest {
            ("403 Forbidden", "x-amzn-errortype: InvalidSignatureException\r\n")
        } else {
            ("200 OK", "")
        };
        write!(stream, "HTTP/1.1 {status}\r\n{kind}date: {date}\r\ncontent-length: 2\r\n\r\n{{}}")
    })
}

#[test]
fn a_wrong_clock_is_corrected_with_keys_of_callers_too() {
    let authority = Authority::new("ours");
    let upstream = ten_minutes_ahead(&authority);
    let trusted = authority.file();
    let rest = format!("{IAM}\nca_certificate: {}\ntimeout: 10s", trusted.path().display());
    let app = App::with("").gateway("g", "/*", &upstream.uri("localhost"), &rest).start();
    for (user, calls) in [(ONE, 2), (OTHER, 3)] {
        assert_eq!(curl(app.address, "/a", user).status, 200);
        assert_eq!(upstream.plain.received().len(), calls);
        assert_signed_by(user, "execute-api", upstream.plain.received().last().unwrap());
    }
}

#[test]
fn a_refused_signature_is_told_as_the_callers_and_is_not_counted_for_the_route() {
    for (fault, told) in [
        (Fault::Secret, "the secret key does not belong to the caller's access key that ends in MPLE"),
        (Fault::Key, "AWS does not know the caller's access key that ends in MPLE"),
        (
            Fault::Expired,
            "the caller's access key that ends in MPLE has expired: the caller must send newer keys",
        ),
    ] {
        let options = StandInOptions::new(StandInKeys::example()).with_fault(fault);
        let stand_in = StandIn::start("127.0.0.1:0".parse().unwrap(), options).unwrap();
        let route =
            format!("uri: /iam*\napi_gateway:\n  function_uri: http://{}/iam\n  {IAM}\n", stand_in.address());
        let directory = settings(&format!("{ANY_PORT}log: {{ level: debug }}\n"), &[("iam", &route)]);
        let (mut process, address) = Process::run(directory.path());
        let user = "AKIDEXAMPLE:wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
        let response = curl(address, "/iam/echo", user);
        assert_eq!(response.status, 403, "{fault:?}: {}", response.text());
        let metrics = Exposition::of(process.admin());
        let route = [("route", "iam")];
        assert_eq!(metrics.count("apigw_invoker_signatures_refused_total", &route), 0);
        let log = process.stop();
        let lines: Vec<&str> = log.lines().filter(|line| line.contains("] AWS ")).collect();
        assert!(lines.len() == 1 && lines[0].contains(told), "{fault:?}: {log}");
        assert!(lines[0].contains("INFO"), "the operator need not do anything: {log}");
        assert!(!log.contains("wJalrXUtnFEMI"), "{log}");
    }
}
