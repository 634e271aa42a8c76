//! `check --connect` and `check --credentials`: network problems are reported before a client meets them.

use std::{
    fmt::Write as _,
    io::{self, BufReader, Read as _, Write as _},
    net::{Shutdown, TcpListener},
    path::Path,
    time::{Duration, Instant},
};

use rcgen::{CertificateParams, date_time_ymd};
use rustls::version;
use serde_json::Value;

use super::support::{
    Upstream,
    process::{ANY_PORT, Ended, command, end_of, settings},
    tls::{Authority, SecuredUpstream, demanding, server},
    upstream::read_request,
};

/// Runs `check` with additional arguments.
fn check(directory: &Path, arguments: &[&str]) -> Ended {
    let mut check = command("check", directory);
    // removes settings of this machine
    for name in ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_STS", "AWS_PROFILE"] {
        check.env_remove(name);
    }
    end_of(check.args(arguments))
}

/// Runs the same command with `--output json`; returns the JSON and the exit code.
#[track_caller]
fn as_json(directory: &Path, arguments: &[&str]) -> (Option<i32>, Value) {
    let ended = check(directory, &[arguments, &["--output", "json"]].concat());
    let document = serde_json::from_str(&ended.output).unwrap_or_else(|_| panic!("{ended:?}"));
    (ended.code, document)
}

/// A route file to `function_uri`.
fn route(name: &str, function_uri: &str, rest: &str) -> String {
    format!("uri: /{name}\napi_gateway:\n  function_uri: {function_uri}\n  connect_timeout: 10s\n{rest}")
}

fn trusting(authority: &Path) -> String {
    format!("  ca_certificate: {}\n", authority.display())
}

/// The result of the only connection.
#[track_caller]
fn only_connection(function_uri: &str, rest: &str) -> (Option<i32>, Value) {
    let directory = settings(ANY_PORT, &[("r", &route("r", function_uri, rest))]);
    let (code, document) = as_json(directory.path(), &["--connect"]);
    let connections = document["connections"].as_array().unwrap();
    assert_eq!(connections.len(), 1, "{document:#}");
    assert_eq!(connections[0]["routes"], serde_json::json!(["r"]));
    (code, connections[0].clone())
}

#[track_caller]
fn assert_unreached(function_uri: &str, rest: &str, step: &str, problem: &str, cure: &str) {
    let (code, connection) = only_connection(function_uri, rest);
    assert_eq!(code, Some(1), "{connection:#}");
    let text = |key: &str| connection[key].as_str().unwrap_or_default();
    assert_eq!((&connection["reached"], text("failed_step")), (&false.into(), step), "{connection:#}");
    assert!(text("problem").contains(problem), "{problem}\nis not in\n{connection:#}");
    assert!(text("cure").contains(cure), "{cure}\nis not the cure of\n{connection:#}");
}

#[test]
fn k4_a_reachable_endpoint_is_reported_and_receives_no_request() {
    let authority = Authority::new("ours");
    let trusted = authority.file();
    let secured = SecuredUpstream::ok(server(authority.identity("localhost")));
    let plain = Upstream::ok();
    let directory = settings(
        ANY_PORT,
        &[
            ("a", &route("a", &secured.uri("localhost"), &trusting(trusted.path()))),
            ("b", &route("b", &secured.uri("localhost"), &trusting(trusted.path()))),
            ("plain", &route("plain", &plain.uri("/"), "")),
            ("off", &format!("{}enabled: false\n", route("off", "http://127.0.0.1:1/", ""))),
        ],
    );
    let ended = check(directory.path(), &["--connect"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let place = format!("localhost:{}", secured.plain.address.port());
    for line in [
        format!("routes a, b: {place} is reached by TLS in "),
        format!("route plain: {} is reached by TCP, without TLS in ", plain.address),
    ] {
        assert!(ended.output.lines().any(|own| own.starts_with(&line)), "{line}\n{ended:?}");
    }
    let (code, document) = as_json(directory.path(), &["--connect"]);
    assert_eq!((code, document["connections"].as_array().unwrap().len()), (Some(0), 2), "{document:#}");
    assert_eq!(secured.handshakes().len(), 2);
    assert!(secured.plain.received().is_empty() && plain.received().is_empty());
}

#[test]
fn k4_without_options_check_opens_no_connection() {
    let upstream = Upstream::ok();
    let iam = format!(
        "  authorization:\n    iam: {{ accesskey: AKIDEXAMPLE, secretkey: s, sts_endpoint_url: \
         'http://{}' }}\n",
        upstream.address
    );
    let directory = settings(ANY_PORT, &[("r", &route("r", &upstream.uri("/"), &iam))]);
    let (code, document) = as_json(directory.path(), &[]);
    assert_eq!((code, &document["connections"]), (Some(0), &serde_json::json!([])));
    assert_eq!((&document["credentials"], upstream.accepted()), (&serde_json::json!([]), 0));
}

#[test]
fn k4_an_unresolvable_name_and_a_closed_port_are_reported_with_their_cures() {
    assert_unreached("http://nowhere.invalid/", "", "resolve", "nowhere.invalid", "DNS");
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let problem = format!("cannot connect to {closed}: connection refused");
    assert_unreached(&format!("http://{closed}/"), "", "connect", &problem, "a server listens there");
}

#[test]
fn k4_every_tls_failure_is_reported_with_its_cure() {
    let authority = Authority::new("ours");
    let trusted = authority.file();
    let rest = trusting(trusted.path());
    let expired = |params: &mut CertificateParams| params.not_after = date_time_ymd(2025, 2, 1);
    for (identity, problem, cure) in [
        (
            Authority::new("theirs").identity("localhost"),
            "its certificate for localhost was not issued by an authority that is trusted here",
            "Add the authority to that file",
        ),
        (
            authority.identity("other.example"),
            "its certificate is for other.example and not for localhost",
            "Correct the host, or name the server in connect.sni",
        ),
        (
            authority.issue("localhost", |params| params.not_before = date_time_ymd(4000, 1, 1)),
            "its certificate is not valid before 4000-01-01",
            "Set the clock right",
        ),
        (
            authority.issue("localhost", expired),
            "its certificate expired on 2025-02-01, ",
            "has to replace the certificate",
        ),
    ] {
        let upstream = SecuredUpstream::ok(server(identity));
        assert_unreached(&upstream.uri("localhost"), &rest, "tls", problem, cure);
    }
    for version in [&version::TLS12, &version::TLS13] {
        let upstream = demanding(&authority, version);
        assert_unreached(&upstream.uri("localhost"), &rest, "tls", "TLS", "client_certificate");
    }
    let plain = Upstream::accepting(|_, mut stream, _| {
        let _ = stream.read(&mut [0; 4096])?;
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
    });
    let uri = format!("https://localhost:{}/", plain.address.port());
    assert_unreached(
        &uri,
        &rest,
        "tls",
        "did not answer with TLS",
        "without TLS the URL begins with http://",
    );
}

#[test]
fn k4_all_silent_servers_together_delay_check_by_five_seconds() {
    let silent = Upstream::accepting(|_, mut stream, _| io::copy(&mut stream, &mut io::sink()).map(drop));
    let port = silent.address.port();
    let named: Vec<String> = (0..20).map(|number| format!("r{number}")).collect();
    // each has an endpoint of its own
    let routes: Vec<String> = (0..20)
        .map(|number| {
            let rest = format!("  connect: {{ address: '127.0.0.1:{port}' }}\n");
            route(&format!("r{number}"), &format!("https://h{number}.example/"), &rest)
        })
        .collect();
    let routes: Vec<(&str, &str)> =
        named.iter().map(String::as_str).zip(routes.iter().map(String::as_str)).collect();
    let directory = settings(ANY_PORT, &routes);
    let begun = Instant::now();
    let (code, document) = as_json(directory.path(), &["--connect"]);
    let elapsed = begun.elapsed();
    let connections = document["connections"].as_array().unwrap();
    assert_eq!((code, connections.len()), (Some(1), 20), "{document:#}");
    for connection in connections {
        assert_eq!(connection["failed_step"], "tls", "{connection:#}");
        let problem = connection["problem"].as_str().unwrap();
        assert!(problem.contains("within the time of `check --connect`, 4.5s"), "{problem}");
    }
    // includes the time to start the process on a loaded machine
    assert!(elapsed < Duration::from_secs(8), "{elapsed:?}");
}

/// A proxy that responds to CONNECT with this status and closes.
fn proxy_saying(status: &'static str) -> Upstream {
    Upstream::accepting(move |connection, mut stream, received| {
        let request = read_request(&mut BufReader::new(&stream), connection)?;
        received.lock().unwrap().extend(request);
        write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n")?;
        stream.shutdown(Shutdown::Write)?;
        io::copy(&mut stream, &mut io::sink()).map(drop)
    })
}

#[test]
fn k4_a_proxy_that_refuses_connect_is_reported_with_its_status_and_cure() {
    for (status, cure) in [
        ("407 Proxy Authentication Required", "correct user and password in proxy_url"),
        ("403 Forbidden", "allow them there"),
        ("502 Bad Gateway", "The proxy's log says why"),
    ] {
        let proxy = proxy_saying(status);
        let rest = format!("  proxy_url: http://user:hush@{}\n", proxy.address);
        let problem = format!(
            "the proxy {} opened no tunnel (CONNECT api.invalid:443): status {}",
            proxy.address,
            &status[..3]
        );
        assert_unreached("https://api.invalid/", &rest, "proxy", &problem, cure);
        let (_, connection) = only_connection("https://api.invalid/", &rest);
        assert!(!connection.to_string().contains("hush"), "{connection:#}");
        assert!(proxy.received().iter().all(|request| request.line.starts_with("CONNECT api.invalid:443 ")));
    }
}

#[test]
fn k4_sts_of_a_role_and_the_collector_are_endpoints_too() {
    let (upstream, sts, collector) = (Upstream::ok(), Upstream::ok(), Upstream::ok());
    let role = format!(
        "  authorization:\n    iam:\n      accesskey: AKIDEXAMPLE\n      secretkey: s\n      \
         assume_role_arn: \
         arn:aws:iam::123456789012:role/x\n      sts_endpoint_url: http://{}\n",
        sts.address
    );
    let process = format!("{ANY_PORT}tracing: {{ otlp: {{ endpoint: 'http://{}' }} }}\n", collector.address);
    let directory = settings(&process, &[("r", &route("r", &upstream.uri("/"), &role))]);
    let (code, document) = as_json(directory.path(), &["--connect"]);
    assert_eq!(code, Some(0), "{document:#}");
    let connections = document["connections"].as_array().unwrap();
    let told: Vec<(&str, String)> = connections
        .iter()
        .map(|connection| {
            (connection["purpose"].as_str().unwrap(), connection["endpoint"].as_str().unwrap().to_owned())
        })
        .collect();
    let address = |upstream: &Upstream| upstream.address.to_string();
    assert_eq!(
        told,
        [("calls", address(&upstream)), ("keys", address(&sts)), ("traces", address(&collector))]
    );
    for server in [&upstream, &sts, &collector] {
        assert!(server.received().is_empty());
    }
}

/// Access keys and `sts_endpoint_url` of a route.
fn keys(sts: &str) -> String {
    format!(
        "  authorization:\n    iam: {{ accesskey: AKIDEXAMPLE, secretkey: hush-secret, sts_endpoint_url: \
         '{sts}' }}\n"
    )
}

/// A response of STS.
fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-type: text/xml\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

#[test]
fn k4_sts_is_asked_once_for_each_source_whose_keys_they_are() {
    let sts = Upstream::answering(&answer(
        "200 OK",
        "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
         <GetCallerIdentityResult>\
         <Arn>arn:aws:iam::123456789012:user/caller</Arn><UserId>U</UserId><Account>123456789012</Account>\
         </GetCallerIdentityResult><ResponseMetadata><RequestId>r</RequestId></ResponseMetadata>\
         </GetCallerIdentityResponse>",
    ));
    let signed = keys(&sts.uri(""));
    let directory = settings(
        ANY_PORT,
        &[
            ("a", &route("a", "https://a.example/", &signed)),
            ("b", &route("b", "https://a.example/", &signed)),
        ],
    );
    let (code, document) = as_json(directory.path(), &["--credentials"]);
    assert_eq!(code, Some(0), "{document:#}");
    let told = &document["credentials"][0];
    assert_eq!(told["routes"], serde_json::json!(["a", "b"]));
    assert_eq!(
        (told["account"].as_str(), told["arn"].as_str()),
        (Some("123456789012"), Some("arn:aws:iam::123456789012:user/caller"))
    );
    assert!(told["identity_problem"].is_null() && !document.to_string().contains("hush"), "{document:#}");
    let request = sts.only();
    assert!(request.header("authorization").unwrap().contains("Credential=AKIDEXAMPLE/"), "{request:?}");
    assert!(String::from_utf8_lossy(&request.body).contains("Action=GetCallerIdentity"), "{request:?}");
}

#[test]
fn k4_keys_refused_by_sts_are_exit_1_and_an_unreachable_sts_is_reported_with_its_cure() {
    let mut body = String::new();
    let _ = write!(
        body,
        "<ErrorResponse><Error><Type>Sender</Type><Code>InvalidClientTokenId</Code><Message>The \
         security token included in the request is invalid.</Message></Error>\
         <RequestId>r</RequestId></ErrorResponse>"
    );
    let refusing = Upstream::answering(&answer("403 Forbidden", &body));
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (code, sts, cause, cure) in [
        (
            1,
            refusing.uri(""),
            "STS refuses the access key ending in MPLE (InvalidClientTokenId: The security token included \
             in the request is invalid.)"
                .to_owned(),
            "it was deleted or made inactive",
        ),
        (
            0,
            format!("http://{closed}"),
            format!("calling GetCallerIdentity failed: cannot connect to {closed}: connection refused"),
            "See that this machine reaches STS",
        ),
    ] {
        let directory = settings(ANY_PORT, &[("r", &route("r", "https://a.example/", &keys(&sts)))]);
        let ended = check(directory.path(), &["--credentials"]);
        assert_eq!(ended.code, Some(code), "{ended:?}");
        let line = ended.output.lines().find(|line| line.starts_with("route r: ")).unwrap_or_default();
        assert!(line.contains(&cause) && line.contains(cure), "{cause}\n{cure}\n{ended:?}");
        assert!(!ended.output.contains("hush"), "{ended:?}");
    }
}
