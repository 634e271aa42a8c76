//! Signatures that AWS refuses: the log line about the cause, and the client's response.

use std::{io::Write as _, path::Path};

use apigw_invoker::stand_in::{Fault, StandIn, StandInKeys, StandInOptions};
use tempfile::TempDir;

use super::support::{
    App, Response, Upstream, call, eventually, get,
    process::{ANY_PORT, Process, command, settings},
    tls::{Authority, SecuredUpstream, server},
};

const KEYS: &str = "accesskey: AKIDEXAMPLE, secretkey: wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

/// A sidecar process in front of a stand-in with a fault.
struct Refused {
    process: Process,
    address: std::net::SocketAddr,
    stand_in: StandIn,
    _directory: TempDir,
}

impl Refused {
    fn by(fault: Fault) -> Self {
        let options = StandInOptions::new(StandInKeys::example()).with_fault(fault);
        let stand_in = StandIn::start("127.0.0.1:0".parse().unwrap(), options).unwrap();
        let at = stand_in.address();
        let iam = format!(
            "uri: /iam*\napi_gateway:\n  function_uri: http://{at}/iam\n  \
             authorization: {{ apikey: hush-key, iam: {{ {KEYS} }} }}\n"
        );
        let lambda = format!(
            "uri: /lambda\nlambda:\n  function_name: hello\n  aws_region: us-east-1\n  host: {}\n  \
             port: {}\n  disable_https: true\n  aws_key: AKIDEXAMPLE\n  \
             aws_secret: wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY\n",
            at.ip(),
            at.port()
        );
        let directory =
            settings(&format!("{ANY_PORT}log: {{ level: debug }}\n"), &[("iam", &iam), ("lambda", &lambda)]);
        let (process, address) = Process::run(directory.path());
        Self { process, address, stand_in, _directory: directory }
    }

    fn post(&self, target: &str) -> Response {
        call(self.address, "POST", target, &[("content-type", "application/json")], b"{\"a\": 1}")
    }

    /// Stops the sidecar and returns its log; checks that it has no secret.
    fn log(mut self) -> String {
        let log = self.process.stop();
        for secret in self.stand_in.secrets() {
            assert!(!log.contains(&secret), "{secret} is in {log}");
        }
        assert!(!log.contains("hush-key"), "{log}");
        assert!(!log.contains("wJalrXUtnFEMI"), "{log}");
        log
    }
}

/// The only warning about the call with this request id.
#[track_caller]
fn sentence(log: &str) -> &str {
    let lines: Vec<&str> =
        log.lines().filter(|line| line.contains("WARN") && line.contains("] AWS ")).collect();
    assert_eq!(lines.len(), 1, "{log}");
    lines[0].split_once("] ").unwrap().1
}

/// Fault, words of the log line, and beginning of the client's message.
const REFUSALS: [(Fault, &[&str], &str); 11] = [
    (
        Fault::Clock,
        &["AWS refused the signature for its date", "Signature expired", " behind AWS's"],
        "Signature expired",
    ),
    (
        Fault::Region,
        &["AWS refused the signature for its region, us-east-1: set aws_region to the one of the endpoint"],
        "Credential should be scoped to a valid region, not 'us-east-1'.",
    ),
    (
        Fault::Service,
        &["AWS refused the signature for its service, execute-api", "'another-service'", "set `service`"],
        "Credential should be scoped to correct service: 'another-service'.",
    ),
    (
        Fault::Secret,
        &["AWS refused the signature, although AWS and the sidecar signed the same request: the secret key \
             does not belong to the access key that ends in MPLE"],
        "The request signature we calculated does not match",
    ),
    (
        Fault::Key,
        &["AWS does not know the access key that ends in MPLE", "session token is missing"],
        "The security token included in the request is invalid.",
    ),
    (
        Fault::Expired,
        &["AWS says that the access key that ends in MPLE has expired. Replace keys that are written in \
             the settings and reload, and keys of the environment and restart; keys of other sources are \
             fetched again now"],
        "The security token included in the request is expired",
    ),
    (
        Fault::Path,
        &[
            "a different request than was signed: path: AWS received `/iam/echo/rewritten`, but `/iam/echo` was signed",
        ],
        "The request signature we calculated does not match",
    ),
    (
        Fault::Header,
        &["header content-type: AWS received `text/rewritten`, but `application/json` was signed"],
        "The request signature we calculated does not match",
    ),
    (
        Fault::Payload,
        &[
            "payload hash (the body): AWS received `",
            "`, but `f9d86028c6e0d64e225186f96acb69338b2c59764df79162107f5c4bb34d1310` was signed",
        ],
        "The request signature we calculated does not match",
    ),
    (
        Fault::Missing,
        &[
            "AWS answered `Missing Authentication Token` to a signed call: the API at 127.0.0.1",
            "has no such path or method, or function_uri lacks the stage, or a proxy removed Authorization",
        ],
        "Missing Authentication Token",
    ),
    (
        Fault::Incomplete,
        &["AWS could not parse the signature: a proxy on the way"],
        "Authorization header requires",
    ),
];

#[test]
fn each_refusal_by_an_api_is_told_with_its_cause_and_the_client_learns_no_more_than_aws_says() {
    for (fault, told, seen) in REFUSALS {
        let refused = Refused::by(fault);
        let response = refused.post("/iam/echo");
        assert_eq!(response.status, 403, "{fault:?}: {}", response.text());
        let message = response.json()["message"].as_str().unwrap().to_owned();
        assert!(message.starts_with(seen), "{fault:?}: {message}");
        assert!(!message.contains("Canonical") && !message.contains("was signed"), "{message}");
        let log = refused.log();
        let sentence = sentence(&log);
        assert!(told.iter().all(|told| sentence.contains(told)), "{fault:?}: {sentence}\nis not {told:?}");
        assert!(sentence.contains("request_id=") && sentence.contains("route=iam"), "{sentence}");
    }
}

#[test]
fn a_refusal_by_the_lambda_api_is_told_in_the_same_words() {
    for (fault, told) in [
        (Fault::Clock, "for its date"),
        (Fault::Region, "for its region, us-east-1"),
        (Fault::Secret, "the secret key does not belong to the access key that ends in MPLE"),
        (Fault::Key, "AWS does not know the access key that ends in MPLE"),
        (
            Fault::Header,
            "header content-type: AWS received `text/rewritten`, but `application/json` was signed",
        ),
        (Fault::Payload, "payload hash (the body): AWS received"),
        (Fault::Missing, "is not the Lambda API (`host`)"),
    ] {
        let refused = Refused::by(fault);
        let response = refused.post("/lambda");
        assert_eq!((response.status, response.code().as_str()), (500, "lambda_rejected"), "{fault:?}");
        let log = refused.log();
        let lines: Vec<&str> = log.lines().filter(|line| line.contains("] AWS ")).collect();
        assert!(lines.iter().any(|line| line.contains(told)), "{fault:?}: {log}");
    }
}

#[test]
fn a_path_unknown_to_the_api_is_logged_as_such() {
    let refused = Refused::by(Fault::Clock);
    drop(refused);
    let stand_in =
        StandIn::start("127.0.0.1:0".parse().unwrap(), StandInOptions::new(StandInKeys::example())).unwrap();
    let route = format!(
        "uri: /iam*\napi_gateway:\n  function_uri: http://{}/iam\n  authorization: {{ iam: {{ {KEYS} }} }}\n",
        stand_in.address()
    );
    let open = format!("uri: /open*\napi_gateway:\n  function_uri: http://{}/iam\n", stand_in.address());
    let directory = settings(ANY_PORT, &[("iam", &route), ("open", &open)]);
    let (mut process, address) = Process::run(directory.path());
    assert_eq!(get(address, "/iam/nothing-there").status, 403);
    assert_eq!(get(address, "/open/echo").status, 403);
    let log = process.stop();
    assert!(log.contains("to a signed call: the API at 127.0.0.1"), "{log}");
    assert!(
        log.contains("or the method requires a signature and the route has no authorization.iam"),
        "{log}"
    );
}

#[test]
fn a_refusal_is_explained_on_a_route_without_retries_too() {
    let mismatch = "HTTP/1.1 403 Forbidden\r\nx-amzn-errortype: InvalidSignatureException\r\n\
        content-length: 2\r\n\r\n{}";
    let upstream = Upstream::answering(mismatch);
    let route = format!(
        "uri: /*\napi_gateway:\n  function_uri: {}\n  retry: {{ attempts: 1 }}\n  \
         authorization: {{ iam: {{ {KEYS} }} }}\n",
        upstream.uri("/")
    );
    let directory = settings(ANY_PORT, &[("r", &route)]);
    let (mut process, address) = Process::run(directory.path());
    assert_eq!(get(address, "/").status, 403);
    let log = process.stop();
    let in_order = [
        "clock",
        "aws_region, us-east-1",
        "the service, execute-api",
        "the host, 127.0.0.1",
        "access key that ends in MPLE",
    ];
    let mut rest = sentence(&log);
    for cause in in_order {
        rest = rest.split_once(cause).unwrap_or_else(|| panic!("{cause} is not next in {rest}")).1;
    }
    assert_eq!(upstream.received().len(), 1);
}

/// A `Date` header `ahead` seconds after this machine's clock.
fn date(ahead: i64) -> String {
    use time::{Duration, OffsetDateTime, macros::format_description};
    let format = format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    (OffsetDateTime::now_utc() + Duration::seconds(ahead)).format(format).unwrap()
}

/// A TLS upstream whose clock is ten minutes ahead, and which checks dates.
fn ten_minutes_ahead(authority: &Authority) -> SecuredUpstream {
    SecuredUpstream::serving(server(authority.identity("localhost")), |request, stream| {
        let signed = request.header("x-amz-date").unwrap().to_owned();
        let ours = time::OffsetDateTime::now_utc() + time::Duration::minutes(5);
        let earliest =
            ours.format(time::macros::format_description!("[year][month][day]T[hour][minute][second]Z"));
        let date = date(600);
        if signed < earliest.unwrap() {
            let body = "{\"message\":\"Signature expired: it is\"}";
            return stream.write_all(
                format!(
                    "HTTP/1.1 403 Forbidden\r\nx-amzn-errortype: InvalidSignatureException\r\n\
                     date: {date}\r\ncontent-length: {}\r\n\r\n{body}",
                    body.len()
                )
                .as_bytes(),
            );
        }
        stream.write_all(format!("HTTP/1.1 200 OK\r\ndate: {date}\r\ncontent-length: 2\r\n\r\nok").as_bytes())
    })
}

fn to(upstream: &SecuredUpstream, rest: &str) -> App {
    let rest = format!("authorization: {{ iam: {{ {KEYS} }} }}\ntimeout: 10s\n{rest}");
    App::with("").gateway("r", "/*", &upstream.uri("localhost"), &rest).start()
}

fn trusting(authorities: &Path) -> String {
    format!("ca_certificate: {}\n", authorities.display())
}

#[test]
fn a_call_that_is_refused_for_a_wrong_clock_is_signed_again_by_awss_and_the_next_ones_at_once() {
    let authority = Authority::new("ours");
    let upstream = ten_minutes_ahead(&authority);
    let trusted = authority.file();
    let app = to(&upstream, &trusting(trusted.path()));
    for calls in 2..5 {
        let response = call(app.address, "POST", "/", &[], b"body");
        assert_eq!((response.status, response.text().as_str()), (200, "ok"));
        assert_eq!(upstream.plain.received().len(), calls);
        assert_eq!(upstream.plain.received()[calls - 1].body, b"body");
    }
    let offset = app.snapshot.routes.routes()[0].signing.as_ref().unwrap().clock.offset().unwrap();
    assert!((offset - 600.0).abs() < 5.0, "{offset}");
}

#[test]
fn without_retries_the_refusal_is_the_answer_and_the_next_call_is_signed_by_the_right_time() {
    let authority = Authority::new("ours");
    let upstream = ten_minutes_ahead(&authority);
    let trusted = authority.file();
    let app = to(&upstream, &format!("{}retry: {{ attempts: 1 }}\n", trusting(trusted.path())));
    assert_eq!(get(app.address, "/").status, 403);
    assert_eq!(get(app.address, "/").status, 200);
    assert_eq!(upstream.plain.received().len(), 2);
}

#[test]
fn the_date_of_an_unverified_upstream_is_ignored() {
    let authority = Authority::new("ours");
    let upstream = ten_minutes_ahead(&authority);
    let app = to(&upstream, "ssl_verify: false\n");
    for calls in 1..4 {
        assert_eq!(get(app.address, "/").status, 403);
        assert_eq!(upstream.plain.received().len(), calls);
    }
    assert_eq!(app.snapshot.routes.routes()[0].signing.as_ref().unwrap().clock.offset(), None);
}

#[test]
fn the_stand_ins_clock_is_followed_where_it_is_believed_by_all_routes_to_it() {
    for clock_ahead in [-900, 900] {
        let app =
            App::dev_with(StandInOptions { clock_ahead, ..StandInOptions::new(StandInKeys::example()) });
        assert_eq!(get(app.address, "/iam/echo").status, 403);
        for route in app.snapshot.routes.routes() {
            if let Some(signing) = &route.signing {
                signing.clock.trust();
            }
        }
        let response = get(app.address, "/iam/echo");
        assert_eq!(response.status, 200, "{}", response.text());
        let response = get(app.address, "/lambda/hello?name=x");
        assert_eq!(response.status, 200, "{}", response.text());
    }
}

#[test]
fn a_clock_that_goes_wrong_is_warned_of_once() {
    let authority = Authority::new("ours");
    let upstream = ten_minutes_ahead(&authority);
    let trusted = authority.file();
    let route = format!(
        "uri: /*\napi_gateway:\n  function_uri: {}\n  ca_certificate: {}\n  timeout: 10s\n  \
         authorization: {{ iam: {{ {KEYS} }} }}\n",
        upstream.uri("localhost"),
        trusted.path().display()
    );
    let directory = settings(ANY_PORT, &[("r", &route)]);
    let (mut process, address) = Process::listening(&mut command("run", directory.path()));
    for _ in 0..3 {
        assert_eq!(get(address, "/").status, 200);
    }
    eventually("the warning", || process.errors().contains("this machine's clock is"));
    let log = process.stop();
    let warning = log.lines().filter(|line| line.contains("WARN ] clock skew: this machine's clock is "));
    let warning: Vec<&str> = warning.collect();
    assert!(warning.len() == 1 && warning[0].contains(" behind that of localhost:"), "{log}");
    assert_eq!(log.matches("attempt 1 failed, retrying: 403 InvalidSignatureException").count(), 1, "{log}");
    assert!(!log.contains("] AWS "), "what went well in the end is no refusal: {log}");
}
