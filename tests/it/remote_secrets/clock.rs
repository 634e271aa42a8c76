//! A clock that is off, which would make AWS refuse every call for a secret.

use std::{
    io::Write as _,
    time::{Duration, SystemTime},
};

use super::{Aws, PROCESS, Sidecar, Upstream, eventually, route, settings};
use crate::support::{
    times::{amz_date, http_date},
    tls::{self, Authority, SecuredUpstream},
};

#[test]
fn a_wrong_clock_is_corrected_by_the_date_of_the_service() {
    let (aws, upstream, authority) = (Aws::start(), Upstream::ok(), Authority::new("secrets"));
    let service =
        SecuredUpstream::serving(tls::server(authority.identity("localhost")), |request, stream| {
            let late = SystemTime::now() + Duration::from_hours(1);
            let is_late = request.header("x-amz-date").unwrap() < &*amz_date(late - Duration::from_mins(5));
            let (status, body) = if is_late {
                (
                    "400 Bad Request",
                    r#"{"__type":"InvalidSignatureException","message":"Signature expired: x"}"#,
                )
            } else {
                ("200 OK", r#"{"Parameter":{"Value":"hush"}}"#)
            };
            let (date, length) = (http_date(late), body.len());
            write!(stream, "HTTP/1.1 {status}\r\ndate: {date}\r\ncontent-length: {length}\r\n\r\n{body}")
        });
    let ca = authority.file();
    let mut environment = aws.environment();
    environment.push(("SSL_CERT_FILE".to_owned(), ca.path().display().to_string()));
    environment.push(("AWS_ENDPOINT_URL_SSM".to_owned(), service.uri("localhost")));
    let directory = settings(PROCESS, &[("a", &route("/a", &upstream, "$ssm://key"))]);
    let mut sidecar = Sidecar::run(directory, environment);
    eventually("it serves", || sidecar.get("/a").status == 200);
    assert_eq!(upstream.received().last().unwrap().header("x-api-key"), Some("hush"));
    sidecar.process.says("this machine's clock is 1h behind that of https://localhost:");
    // later calls need no second attempt
    eventually("it is fetched again", || service.handshakes().len() >= 5);
    let log = sidecar.stop();
    assert!(!log.contains("cannot fetch") && !log.contains("hush"), "{log}");
}
