//! `function_uri: https://{host}`: the client names the host, in `Host` or in an absolute target.

use std::{fs, io::Write as _, net::TcpListener};

use base64::{Engine as _, prelude::BASE64_STANDARD};

use super::{
    forward_proxy::proxy_to,
    support::{
        App, Http2, Response, call, eventually, get,
        process::{ANY_PORT, Process, command, end_of, settings},
        send,
        tls::{Authority, SecuredUpstream, server},
    },
};

const URI: &str = "https://{host}";
const KEYS: &str = "accesskey: AKIDEXAMPLE, secretkey: wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

/// The keys of a route whose connections lead to `upstream`.
fn keys(upstream: &SecuredUpstream, hosts: &str, iam: &str) -> String {
    format!(
        "hosts: [{hosts}]\nssl_verify: false\ntimeout: 10s\nconnect: {{ address: '{}' }}\n\
         authorization: {{ iam: {{ {KEYS}{iam} }} }}",
        upstream.plain.address
    )
}

fn app(upstream: &SecuredUpstream, hosts: &str, iam: &str) -> App {
    App::with("").gateway("named", "/*", &format!("'{URI}'"), &keys(upstream, hosts, iam)).start()
}

fn upstream() -> SecuredUpstream {
    SecuredUpstream::ok(server(Authority::new("unknown").identity("any.invalid")))
}

#[track_caller]
fn named(app: &App, host: &str) -> Response {
    send(app.address, format!("GET /a HTTP/1.1\r\nHost: {host}\r\n\r\n"))
}

/// The scope in the signature of the last request.
#[track_caller]
fn last_scope(upstream: &SecuredUpstream) -> String {
    let received = upstream.plain.received().pop().unwrap();
    let authorization = received.header("authorization").unwrap().to_owned();
    let (credential, _) = authorization.split_once(',').unwrap();
    credential.splitn(3, '/').nth(2).unwrap().to_owned()
}

#[test]
fn each_listed_host_is_signed_for_its_own_service_and_region() {
    let upstream = upstream();
    let hosts = "bedrock-runtime.us-east-1.amazonaws.com, '*.s3.eu-west-1.amazonaws.com', \
                 c.us-east-2.neptune.amazonaws.com:8182";
    let app = app(&upstream, hosts, "");
    for (host, sent, scope) in [
        ("bedrock-runtime.us-east-1.amazonaws.com", "", "us-east-1/bedrock/aws4_request"),
        (
            "Bucket.S3.eu-west-1.amazonaws.com",
            "bucket.s3.eu-west-1.amazonaws.com",
            "eu-west-1/s3/aws4_request",
        ),
        ("b2.s3.eu-west-1.amazonaws.com:443", "b2.s3.eu-west-1.amazonaws.com", "eu-west-1/s3/aws4_request"),
        ("c.us-east-2.neptune.amazonaws.com:8182", "", "us-east-2/neptune-db/aws4_request"),
    ] {
        let response = named(&app, host);
        assert_eq!(response.status, 200, "{host}: {}", response.text());
        assert_eq!(last_scope(&upstream), scope, "{host}");
        let sent = if sent.is_empty() { host } else { sent };
        assert_eq!(upstream.plain.received().pop().unwrap().header("host"), Some(sent));
        let name = sent.split(':').next();
        assert_eq!(upstream.handshakes().pop().unwrap().name.as_deref(), name);
    }
}

#[test]
fn an_absolute_target_names_the_host_as_with_http_proxy() {
    let upstream = upstream();
    let app = app(&upstream, "'*.eu-west-1.amazonaws.com'", "");
    let target = "http://sqs.eu-west-1.amazonaws.com/q?a=b";
    let response = call(app.address, "POST", target, &[], b"body");
    assert_eq!(response.status, 200, "{}", response.text());
    let received = upstream.plain.received().pop().unwrap();
    assert_eq!((received.target(), received.header("host")), ("/q?a=b", Some("sqs.eu-west-1.amazonaws.com")));
    assert_eq!(last_scope(&upstream), "eu-west-1/sqs/aws4_request");
}

#[test]
fn a_host_that_is_not_listed_is_404_and_nothing_is_sent() {
    let upstream = upstream();
    let app = app(&upstream, "'*.amazonaws.com', 'a.es.eu-west-1.on.aws:8443'", "");
    for host in [
        "example.com",
        "amazonaws.com",
        "sqs.eu-west-1.amazonaws.com:80",
        "sqs.eu-west-1.amazonaws.com.example.com",
        "a.es.eu-west-1.on.aws",
        "127.0.0.1",
        "[::1]",
        "",
        // neither region nor service
        "x.elb.amazonaws.com",
        "iam.amazonaws.com",
        "b--x-s3.s3express-use1-az4.us-east-1.amazonaws.com",
    ] {
        let response = named(&app, host);
        assert_eq!((response.status, response.code().as_str()), (404, "route_not_found"), "{host}");
    }
    assert_eq!(upstream.plain.accepted(), 0);
}

#[test]
fn a_region_and_a_service_that_are_set_are_those_of_every_host() {
    let upstream = upstream();
    let app = app(&upstream, "'*.example'", ", aws_region: eu-west-3, service: es");
    assert_eq!(named(&app, "search.example").status, 200);
    assert_eq!(last_scope(&upstream), "eu-west-3/es/aws4_request");
}

#[test]
fn a_name_that_resolves_to_this_machine_is_502_and_nothing_is_connected() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let app = App::with("")
        .gateway(
            "named",
            "/*",
            &format!("'{URI}'"),
            &format!("hosts: ['localhost:{port}']\nssl_verify: false"),
        )
        .start();
    let response = named(&app, &format!("localhost:{port}"));
    assert_eq!((response.status, response.code().as_str()), (502, "upstream_connect"), "{}", response.text());
    assert!(listener.accept().is_err());
}

#[test]
fn names_below_a_wildcard_share_a_label_of_the_metrics() {
    let upstream = upstream();
    let app = app(&upstream, "'*.s3.eu-west-1.amazonaws.com'", "");
    for bucket in 0..5 {
        assert_eq!(named(&app, &format!("b{bucket}.s3.eu-west-1.amazonaws.com")).status, 200);
    }
    let metrics = get(app.admin, "/metrics").text();
    let opened: Vec<&str> = metrics
        .lines()
        .filter(|line| line.starts_with("apigw_invoker_upstream_connections_opened_total{"))
        .collect();
    assert_eq!(
        opened,
        ["apigw_invoker_upstream_connections_opened_total{endpoint=\"*.s3.eu-west-1.amazonaws.com:443\"} 5"]
    );
}

#[test]
fn connections_are_kept_for_each_host() {
    let upstream = upstream();
    let app = App::with("workers: 1\n")
        .gateway("named", "/*", &format!("'{URI}'"), &keys(&upstream, "'*.s3.eu-west-1.amazonaws.com'", ""))
        .start();
    for _ in 0..3 {
        for host in ["a.s3.eu-west-1.amazonaws.com", "b.s3.eu-west-1.amazonaws.com"] {
            assert_eq!(named(&app, host).status, 200);
        }
    }
    assert_eq!(upstream.plain.accepted(), 2);
}

#[test]
fn a_circuit_breaker_is_open_for_the_host_that_fails_alone() {
    let upstream = SecuredUpstream::serving(
        server(Authority::new("unknown").identity("any.invalid")),
        |request, stream| match request.header("host") {
            Some(host) if host.starts_with("bad.") => Err(std::io::ErrorKind::ConnectionAborted.into()),
            _ => stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"),
        },
    );
    let rest = "\ncircuit_breaker: { failures: 1, open_for: 1h }\nretry: { attempts: 1 }";
    let rest = format!("{}{rest}", keys(&upstream, "'*.es.eu-west-1.amazonaws.com'", ""));
    let app = App::with("").gateway("named", "/*", &format!("'{URI}'"), &rest).start();
    assert_eq!(named(&app, "bad.es.eu-west-1.amazonaws.com").code(), "upstream_truncated");
    assert_eq!(named(&app, "bad.es.eu-west-1.amazonaws.com").code(), "upstream_unavailable");
    assert_eq!(named(&app, "good.es.eu-west-1.amazonaws.com").status, 200);
    let metrics = get(app.admin, "/metrics").text();
    assert!(metrics.contains("apigw_invoker_circuit_breaker_state{route=\"named\"} 1"), "{metrics}");
}

#[test]
fn explain_check_and_routes_know_the_hosts() {
    let upstream = upstream();
    let hosts = "sqs.eu-west-1.amazonaws.com, '*.amazonaws.com'";
    let route = keys(&upstream, hosts, "");
    let indented: String = route.lines().map(|line| format!("  {line}\n")).collect();
    let directory = settings(
        ANY_PORT,
        &[("named", &format!("uri: /*\napi_gateway:\n  function_uri: '{URI}'\n{indented}"))],
    );
    let target = "http://sns.us-east-2.amazonaws.com/a";
    let explained = end_of(command("explain", directory.path()).args(["GET", target, "--output", "json"]));
    let explained: serde_json::Value = serde_json::from_str(&explained.output).unwrap();
    let scope = explained["outbound"]["signature"]["scope"].as_str().unwrap();
    assert!(scope.ends_with("/us-east-2/sns/aws4_request"), "{scope}");
    let refused = end_of(command("explain", directory.path()).args(["GET", "http://x.elb.amazonaws.com/a"]));
    assert!(refused.output.contains("the service of `x.elb.amazonaws.com` is unknown"), "{refused:?}");
    let checked = end_of(command("check", directory.path()).args(["--connect", "--output", "json"]));
    let checked: serde_json::Value = serde_json::from_str(&checked.output).unwrap();
    assert_eq!(checked["connections"].as_array().unwrap().len(), 1, "{checked:#}");
    assert_eq!(checked["connections"][0]["reached"], true, "{checked:#}");
    let routes = end_of(&mut command("routes", directory.path())).output;
    assert!(routes.contains("https://{host}/") && routes.contains("{host}/{host}"), "{routes}");
}

#[test]
fn the_authority_of_http2_names_the_host() {
    let upstream = upstream();
    let app = App::listening("h2c: true", "")
        .gateway("named", "/*", &format!("'{URI}'"), &keys(&upstream, "'*.eu-west-1.amazonaws.com'", ""))
        .start();
    let mut http2 = Http2::open(app.address);
    let answer = http2.call("POST", "http://sqs.eu-west-1.amazonaws.com/q", &[], b"body").unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(last_scope(&upstream), "eu-west-1/sqs/aws4_request");
    let refused = http2.call("GET", "http://sqs.eu-west-2.amazonaws.com/q", &[], b"").unwrap();
    assert_eq!(refused.status, 404, "{}", refused.text());
    // `Host` beside `:authority` never decides
    let host = [("host", "sns.eu-west-1.amazonaws.com")];
    let answer = http2.call("GET", "http://sqs.eu-west-1.amazonaws.com/q", &host, b"");
    if answer.is_ok_and(|answer| answer.status == 200) {
        let received = upstream.plain.received().pop().unwrap();
        assert_eq!(received.header("host"), Some("sqs.eu-west-1.amazonaws.com"));
    }
}

#[test]
fn a_bounded_number_of_hosts_is_kept_and_the_others_still_work() {
    let upstream = upstream();
    let app = app(&upstream, "'*.s3.eu-west-1.amazonaws.com'", "");
    for round in 0..2 {
        for bucket in 0..200 {
            let host = format!("b{bucket}.s3.eu-west-1.amazonaws.com");
            assert_eq!(named(&app, &host).status, 200, "{round}");
            assert_eq!(upstream.plain.received().pop().unwrap().header("host"), Some(host.as_str()));
        }
    }
    let shown = format!("{:?}", app.snapshot);
    let (_, rest) = shown.split_once("HostRoutes { hosts: ").unwrap();
    let kept: usize = rest.split(|char: char| !char.is_ascii_digit()).next().unwrap().parse().unwrap();
    assert!((1..=128).contains(&kept), "{kept}");
}

#[test]
fn no_proxy_decides_for_each_host() {
    let upstream = upstream();
    let proxy = proxy_to(upstream.plain.address);
    let route = format!(
        "uri: /*\napi_gateway:\n  function_uri: '{URI}'\n  \
         hosts: ['*.eu-west-1.amazonaws.com', direct.invalid]\n  \
         ssl_verify: false\n  timeout: 10s\n  authorization: {{ iam: {{ {KEYS}, aws_region: us-east-1, \
         service: es }} }}\n"
    );
    let directory = settings(ANY_PORT, &[("named", &route)]);
    let mut run = command("run", directory.path());
    run.env("HTTPS_PROXY", format!("http://{}", proxy.address));
    run.env("NO_PROXY", "direct.invalid,sns.eu-west-1.amazonaws.com");
    let (mut process, address) = Process::listening(&mut run);
    let call = |host: &str| send(address, format!("GET /a HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    assert_eq!(call("sqs.eu-west-1.amazonaws.com").status, 200);
    let direct = call("direct.invalid");
    assert_eq!((direct.status, direct.code().as_str()), (502, "upstream_connect"));
    assert_eq!(call("ssm.eu-west-1.amazonaws.com").status, 200);
    let tunnels: Vec<String> = proxy.received().into_iter().map(|request| request.line).collect();
    let tunnel = |name: &str| format!("CONNECT {name}.eu-west-1.amazonaws.com:443 HTTP/1.1");
    assert_eq!(tunnels, [tunnel("sqs"), tunnel("ssm")]);
    process.stop();
}

#[test]
fn keys_of_the_caller_sign_for_the_host() {
    let upstream = upstream();
    let rest = keys(&upstream, "'*.amazonaws.com'", "");
    let rest = rest.replace(KEYS, "client_credentials: basic");
    let app = App::with("").gateway("named", "/*", &format!("'{URI}'"), &rest).start();
    for (user, service) in [("AKIDONE", "sqs"), ("AKIDTWO", "sns"), ("AKIDONE", "sns")] {
        let basic = BASE64_STANDARD.encode(format!("{user}:secret"));
        let head = format!("GET /a HTTP/1.1\r\nHost: {service}.eu-west-1.amazonaws.com\r\n");
        let response = send(app.address, format!("{head}Authorization: Basic {basic}\r\n\r\n"));
        assert_eq!(response.status, 200, "{}", response.text());
        let received = upstream.plain.received().pop().unwrap();
        let authorization = received.header("authorization").unwrap();
        assert!(authorization.contains(&format!("Credential={user}/")), "{authorization}");
        assert_eq!(last_scope(&upstream), format!("eu-west-1/{service}/aws4_request"));
    }
    let refused = named(&app, "sqs.eu-west-1.amazonaws.com");
    assert_eq!(refused.code(), "client_credentials_missing");
}

#[test]
fn a_reload_changes_the_hosts() {
    let upstream = upstream();
    let route = |hosts: &str| {
        let indented: String = keys(&upstream, hosts, "").lines().map(|line| format!("  {line}\n")).collect();
        format!("uri: /*\napi_gateway:\n  function_uri: '{URI}'\n{indented}")
    };
    let process = format!("{ANY_PORT}reload: {{ interval: 100ms }}\n");
    let directory = settings(&process, &[("named", &route("sqs.eu-west-1.amazonaws.com"))]);
    let (mut process, address) = Process::run(directory.path());
    let status = |host: &str| send(address, format!("GET /a HTTP/1.1\r\nHost: {host}\r\n\r\n")).status;
    assert_eq!((status("sqs.eu-west-1.amazonaws.com"), status("sns.eu-west-1.amazonaws.com")), (200, 404));
    fs::write(directory.path().join("routes/named.yaml"), route("sns.eu-west-1.amazonaws.com")).unwrap();
    eventually("the new host is called", || status("sns.eu-west-1.amazonaws.com") == 200);
    assert_eq!(status("sqs.eu-west-1.amazonaws.com"), 404);
    process.stop();
}

/// Spellings of hosts by which a client could try to reach this machine, or another host than the listed one.
const STRANGE_HOSTS: &[&str] = &[
    "user@a.amazonaws.com",
    "a.amazonaws.com@evil.example",
    "a.amazonaws.com#.evil.example",
    "a.amazonaws.com/evil.example",
    "a.amazonaws.com\\evil.example",
    "evil.example?.amazonaws.com",
    "a.amazonaws.com..",
    ".amazonaws.com",
    "..amazonaws.com",
    "a.amazonaws.com:0443x",
    "a.amazonaws.com:",
    "a.amazonaws.com:80",
    "a.amazonaws.com:70000",
    "a.amazonaws.com:-1",
    "a%2eamazonaws.com",
    "a.amazonaws.com%00.evil.example",
    "[::ffff:127.0.0.1]",
    "127.1",
    "2130706433",
    "0x7f.1",
    "169.254.169.254",
    "0.0.0.0",
    "b\u{fc}cher.example",
    "a.amazonaws.com, b.amazonaws.com",
    "a b.amazonaws.com",
];

#[test]
fn a_host_in_a_strange_spelling_is_refused_or_is_the_listed_one() {
    let upstream = upstream();
    let app = app(&upstream, "'*.amazonaws.com', 'xn--bcher-kva.example'", ", aws_region: r, service: es");
    let absolute = |target: &str, host: &str| {
        send(app.address, format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
    };
    // the absolute target decides, whatever `Host` says (RFC 9112, 3.2.2)
    assert_eq!(absolute("http://a.amazonaws.com/x", "evil.example").status, 200);
    assert_eq!(upstream.plain.received().pop().unwrap().header("host"), Some("a.amazonaws.com"));
    assert_ne!(absolute("http://evil.example/x", "a.amazonaws.com").status, 200);
    for host in ["A.AmazonAWS.com", "a.amazonaws.com.", "a.amazonaws.com:443", "XN--BCHER-KVA.example"] {
        assert_eq!(named(&app, host).status, 200, "{host}");
        let received = upstream.plain.received().pop().unwrap();
        let sent = host.trim_end_matches(":443").trim_end_matches('.').to_ascii_lowercase();
        assert_eq!(received.header("host"), Some(sent.as_str()));
    }
    let accepted = upstream.plain.received().len();
    for host in STRANGE_HOSTS {
        let response = named(&app, host);
        assert!([400, 404].contains(&response.status), "{host}: {}", response.status);
        let target = format!("http://{host}/x");
        let response = send(app.address, format!("GET {target} HTTP/1.1\r\nHost: a.amazonaws.com\r\n\r\n"));
        let is_path = host.contains(['/', '?', '#']);
        assert!(is_path || [400, 404].contains(&response.status), "{target}: {}", response.status);
    }
    let reached = upstream.plain.received().split_off(accepted);
    assert!(reached.iter().all(|request| request.header("host") == Some("a.amazonaws.com")), "{reached:?}");
}
