//! Refusals by other services than API Gateway, and warnings of a scope that the host does not belong to.

use std::{
    io::Write as _,
    time::{Duration, SystemTime},
};

use actix_web::http::header::HttpDate;
use time::{OffsetDateTime, PrimitiveDateTime, macros::format_description};

use super::super::support::{
    App, Upstream, call, get,
    process::{ANY_PORT, Process, command, end_of, settings},
    tls::{Authority, SecuredUpstream, server},
};

const KEYS: &str = "accesskey: AKIDEXAMPLE, secretkey: s, session_token: hush-token";

/// The client's response and the log of a route that signs for a service at a host, which the upstream
/// refuses with this answer.
fn refused(host: &str, service: &str, answer: &str) -> (String, String) {
    let upstream = Upstream::answering(answer);
    let route = format!(
        "uri: /*\napi_gateway:\n  function_uri: http://{host}/\n  connect: {{ address: '{}' }}\n  \
         authorization: {{ iam: {{ {KEYS}, service: {service} }} }}\n",
        upstream.address
    );
    let directory = settings(ANY_PORT, &[("r", &route)]);
    let (mut process, address) = Process::run(directory.path());
    let response = get(address, "/b/k").text();
    let log = process.stop();
    assert!(!log.contains("hush") && !response.contains("hush"), "{response}\n{log}");
    (response, log)
}

fn xml(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/xml\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[test]
fn an_error_of_s3_is_explained_in_the_log_and_reaches_the_client_without_the_token() {
    let host = "s3.us-east-1.amazonaws.com";
    let mismatch = "<Error><Code>SignatureDoesNotMatch</Code><Message>No match</Message>\
        <StringToSign>AWS4-HMAC-SHA256\n1\n2\n3</StringToSign><CanonicalRequest>GET\n/b/other\n\n\
        x-amz-security-token:hush-token\n\nhost\nUNSIGNED</CanonicalRequest></Error>";
    let (response, log) = refused(host, "s3", &xml("403 Forbidden", mismatch));
    assert_eq!(response, "<Error><Code>SignatureDoesNotMatch</Code><Message>No match</Message></Error>");
    assert!(log.contains("path: AWS received `/b/other`, but `/b/k` was signed"), "{log}");

    let expired = "<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message>\
        <Token-0>hush-token</Token-0></Error>";
    let (response, log) = refused(host, "s3", &xml("400 Bad Request", expired));
    assert!(response.contains("ExpiredToken"), "{response}");
    assert!(log.contains("AWS says that the access key that ends in MPLE has expired"), "{log}");

    let region = "<Error><Code>AuthorizationHeaderMalformed</Code><Message>The authorization header is \
        malformed; the region 'us-east-1' is wrong; expecting 'eu-west-1'</Message></Error>";
    let (_, log) = refused("b.s3.amazonaws.com", "s3", &xml("400 Bad Request", region));
    assert!(
        log.contains("AWS refused the signature for its region, us-east-1")
            && log.contains("expecting 'eu-west-1'`): set aws_region"),
        "{log}"
    );

    let denied = "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>";
    let (response, log) = refused(host, "s3", &xml("403 Forbidden", denied));
    assert_eq!(response, denied);
    assert!(
        log.contains("AWS denied access to the access key that ends in MPLE: allow the action of `s3`"),
        "{log}"
    );
}

/// An upstream whose clock is an hour ahead, and that answers as S3 does.
fn ahead_by_an_hour(authority: &Authority) -> SecuredUpstream {
    SecuredUpstream::serving(server(authority.identity("s3.eu-west-1.amazonaws.com")), |request, stream| {
        let now = SystemTime::now() + Duration::from_hours(1);
        let format = format_description!("[year][month][day]T[hour][minute][second]Z");
        let dated = PrimitiveDateTime::parse(request.header("x-amz-date").unwrap(), format).unwrap();
        let apart = OffsetDateTime::from(now) - dated.assume_utc();
        let body = "<Error><Code>RequestTimeTooSkewed</Code></Error>";
        let (status, body) =
            if apart.abs() > Duration::from_mins(15) { ("403 Forbidden", body) } else { ("200 OK", "ok") };
        write!(
            stream,
            "HTTP/1.1 {status}\r\ndate: {}\r\ncontent-type: application/xml\r\n\
             content-length: {}\r\n\r\n{body}",
            HttpDate::from(now),
            body.len()
        )
    })
}

#[test]
fn a_request_that_s3_refuses_for_the_clock_is_signed_again_with_the_corrected_time() {
    let authority = Authority::new("ours");
    let trusted = authority.file();
    let upstream = ahead_by_an_hour(&authority);
    let start = |payload: &str| {
        let rest = format!(
            "ca_certificate: {}\nconnect: {{ address: '{}' }}\n\
             authorization: {{ iam: {{ {KEYS}, service: s3, aws_region: eu-west-1{payload} }} }}",
            trusted.path().display(),
            upstream.plain.address
        );
        App::with("").gateway("r", "/*", "https://s3.eu-west-1.amazonaws.com", &rest).start()
    };
    let app = start("");
    assert_eq!(call(app.address, "PUT", "/b/k", &[], b"body").status, 200);
    assert_eq!(upstream.plain.received().len(), 2);
    // a streamed body is not sent again; the next request has the corrected time
    let app = start(", payload: unsigned");
    assert_eq!(call(app.address, "PUT", "/b/k", &[], b"body").status, 403);
    assert_eq!(call(app.address, "PUT", "/b/k", &[], b"body").status, 200);
    assert_eq!(upstream.plain.received().len(), 4);
}

#[test]
fn a_refusal_without_a_reason_names_the_service_and_the_region_of_the_host() {
    let answer = "HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\n{}";
    let (_, log) = refused("search-d.eu-west-1.es.amazonaws.com", "aoss", answer);
    assert!(
        log.contains(
            "AWS answered 403, probably because of the signature's scope: signs for the region us-east-1, \
             but search-d.eu-west-1.es.amazonaws.com is in eu-west-1: set aws_region; \
             search-d.eu-west-1.es.amazonaws.com is an endpoint of OpenSearch Service and accepts only \
             signatures for es, but the route signs for aoss: set authorization.iam.service to es"
        ),
        "{log}"
    );
    // a 403 by the service's own rules is not explained
    let (_, log) = refused("search-d.us-east-1.es.amazonaws.com", "es", answer);
    assert!(!log.contains("AWS answered 403"), "{log}");
}

#[test]
fn check_and_explain_warn_of_a_scope_that_the_host_does_not_belong_to() {
    let route = |host: &str, iam: &str| {
        format!(
            "uri: /*\napi_gateway:\n  function_uri: https://{host}/\n  \
             authorization: {{ iam: {{ {KEYS}, {iam} }} }}\n"
        )
    };
    let service = "s3.us-east-1.amazonaws.com is an endpoint of Amazon S3 and accepts only signatures for \
        s3, but the route signs for execute-api: set authorization.iam.service to s3";
    let region =
        "signs for the region us-east-1, but s3.eu-west-1.amazonaws.com is in eu-west-1: set aws_region";
    for (host, iam, doubt) in [
        ("s3.us-east-1.amazonaws.com", "aws_region: us-east-1", Some(service)),
        ("s3.eu-west-1.amazonaws.com", "service: s3", Some(region)),
        ("s3.us-east-1.amazonaws.com", "service: s3", None),
        ("my-objects.example.com", "service: s3", None),
    ] {
        let directory = settings(ANY_PORT, &[("r", &route(host, iam))]);
        let checked = end_of(&mut command("check", directory.path()));
        assert_eq!(checked.code, Some(0), "{checked:?}");
        let explained = end_of(command("explain", directory.path()).args(["GET", "/b/k"]));
        assert_eq!(explained.code, Some(0), "{explained:?}");
        match doubt {
            Some(doubt) => {
                assert!(checked.errors.contains(doubt), "{checked:?}");
                assert!(explained.output.contains(&format!("Warning: {doubt}")), "{explained:?}");
            }
            None => {
                assert!(!checked.errors.contains("route r: "), "{checked:?}");
                assert!(!explained.output.contains("Warning"), "{explained:?}");
            }
        }
    }
}
