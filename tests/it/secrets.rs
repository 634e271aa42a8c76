//! Secrets of every kind in a complete run, searched for by value in all outputs.

use std::{fs, io::Write as _, path::Path};

use tempfile::TempDir;

use super::support::{
    Http2, Upstream, call, get, open,
    process::{Process, binary, command, end_of, settings},
    send,
    tls::{Authority, file},
};

/// Values that may occur only in the outbound request.
const SECRETS: [&str; 9] = [
    "hush-api-key",
    "hush-secret-key",
    "hush-session-token",
    "hush-file-key",
    "hush-proxy-word",
    "hush-in-query",
    "hush-tenant",
    "hush-environment",
    "hush-collector",
];

/// All outputs, by source.
#[derive(Default)]
struct Heard(Vec<(String, String)>);

impl Heard {
    fn add(&mut self, who: &str, said: impl Into<String>) {
        self.0.push((who.to_owned(), said.into()));
    }

    #[track_caller]
    fn assert_holds_none(&self) {
        for (who, said) in &self.0 {
            assert!(!said.is_empty(), "{who} has said nothing");
            for secret in SECRETS.iter().chain(&["PRIVATE KEY"]) {
                assert!(!said.contains(secret), "{who} has said {secret}: {said}");
            }
        }
    }
}

fn routes(upstream: &Upstream, key_file: &str, identity: &TempDir) -> Vec<(&'static str, String)> {
    let uri = upstream.uri("/");
    let keys = "accesskey: AKIDEXAMPLE, secretkey: hush-secret-key, session_token: hush-session-token";
    let (certificate, key) = (identity.path().join("certificate"), identity.path().join("key"));
    vec![
        (
            "both",
            format!(
                "uri: /both/*\napi_gateway:\n  function_uri: {uri}?code=hush-in-query\n  authorization:\n    \
             apikey: hush-api-key\n    iam: {{ {keys} }}\n"
            ),
        ),
        (
            "file",
            format!(
                "uri: /file\napi_gateway:\n  function_uri: {uri}\n  \
                 authorization: {{ apikey: '$file://{key_file}' }}\n"
            ),
        ),
        (
            "environment",
            format!(
                "uri: /environment\napi_gateway:\n  function_uri: {uri}\n  \
                 authorization: {{ apikey: $env://HUSH }}\n"
            ),
        ),
        (
            "proxy",
            "uri: /proxy\napi_gateway:\n  function_uri: http://127.0.0.1:1/\n  \
                   proxy_url: http://user:hush-proxy-word@127.0.0.1:1\n"
                .to_owned(),
        ),
        (
            "mutual",
            format!(
                "uri: /mutual\napi_gateway:\n  function_uri: https://127.0.0.1:1/\n  \
                 client_certificate: {}\n  client_key: {}\n",
                certificate.display(),
                key.display()
            ),
        ),
        (
            "function",
            format!(
                "uri: /function\nlambda:\n  function_name: f\n  aws_region: us-east-1\n  \
                 aws_key: AKIDEXAMPLE\n  aws_secret: hush-secret-key\n  \
                 aws_session_token: hush-session-token\n  tenant_id: hush-tenant\n  host: 127.0.0.1\n  \
                 port: {}\n  disable_https: true\n",
                upstream.address.port()
            ),
        ),
    ]
}

/// An upstream that responds, or refuses like AWS with a message that quotes the request.
fn upstream() -> Upstream {
    Upstream::serving(|request, stream| {
        let lines =
            request.headers.iter().map(|(name, value)| format!("{name}:{}\\n", value.replace('"', "")));
        let explained = format!(
            "{{\"message\":\"It does not match. The Canonical String for this request should have been \
             '{}'\"}}",
            lines.collect::<String>()
        );
        let is_refused = request.line.contains("refused");
        let (status, text) = if is_refused { ("403 Forbidden", &*explained) } else { ("200 OK", "{}") };
        let kind = if is_refused { "x-amzn-errortype: InvalidSignatureException\r\n" } else { "" };
        write!(stream, "HTTP/1.1 {status}\r\n{kind}content-length: {}\r\n\r\n{text}", text.len())
    })
}

/// A run with valid and invalid calls to every route, and settings that become invalid.
fn run(directory: &Path, upstream: &Upstream, heard: &mut Heard) {
    let (mut sidecar, address) =
        Process::listening(command("run", directory).env("HUSH", "hush-environment"));
    for path in
        ["/both/a", "/both/refused", "/file", "/environment", "/proxy", "/mutual", "/function", "/none"]
    {
        let answer = call(address, "GET", path, &[("x-a", "b")], b"");
        // AWS's message of a refusal is forwarded to the client
        heard.add(path, format!("{answer:?}"));
        heard.add(path, format!("{:?}", Http2::open(address).get(path)));
    }
    open(address).write_all(b"nothing that is HTTP\r\n\r\n").unwrap();
    let sent = format!("{:?}", upstream.received());
    for secret in ["hush-api-key", "hush-session-token", "hush-file-key", "hush-in-query", "hush-environment"]
    {
        assert!(sent.contains(secret), "{secret} has to reach AWS, or its absence elsewhere says nothing");
    }
    let errors = sidecar.errors();
    let admin = errors.split_once("admin port on ").unwrap().1.split('"').next().unwrap().parse().unwrap();
    for path in ["/metrics", "/ready", "/routes"] {
        heard.add(path, get(admin, path).text());
    }
    let route = directory.join("routes/file.yaml");
    let right = fs::read_to_string(&route).unwrap();
    fs::write(&route, "uri: /x\napi_gateway: { apikey: hush-api-key }\n").unwrap();
    sidecar.signal("HUP");
    sidecar.says("the new settings have mistakes");
    sidecar.signal("USR1");
    sidecar.says("SIGUSR1");
    heard.add("/ready", get(admin, "/ready").text());
    heard.add("the log", sidecar.stop());
    fs::write(&route, right).unwrap();
}

fn commands(directory: &Path, heard: &mut Heard) {
    let at = directory.display().to_string();
    for words in [
        &["check"][..],
        &["check", "--output", "json"],
        &["routes"],
        &["routes", "--output", "json"],
        &["explain", "GET", "/both/a?b=c"],
        &["explain", "GET", "/both/a", "--output", "json"],
        &["explain", "POST", "/function", "--data", "{}"],
        &["explain", "GET", "/proxy"],
    ] {
        let arguments: Vec<&str> = words.iter().copied().chain(["--settings", &at]).collect();
        let ended = end_of(binary(&arguments).env("HUSH", "hush-environment"));
        heard.add(&words.join(" "), format!("{}{}", ended.output, ended.errors));
    }
}

#[test]
fn no_secret_is_in_any_log_answer_metric_or_command_of_a_whole_run() {
    let upstream = upstream();
    let own = Authority::new("test").client("caller");
    let identity = TempDir::new().unwrap();
    fs::write(identity.path().join("certificate"), own.certificate()).unwrap();
    fs::write(identity.path().join("key"), own.key()).unwrap();
    let key_file = file("hush-file-key\n");
    let routes = routes(&upstream, &key_file.path().display().to_string(), &identity);
    let routes: Vec<(&str, &str)> = routes.iter().map(|(name, text)| (*name, &**text)).collect();
    // spans are not decoded: it is enough to search their bytes
    let collector = Upstream::answering("HTTP/1.1 400 hush\r\ncontent-length: 0\r\n\r\n");
    let process = format!(
        "listen: {{ http: '127.0.0.1:0', h2c: true }}\nlog: {{ level: debug, format: json }}\n\
         tracing: {{ otlp: {{ endpoint: '{}', headers: {{ authorization: hush-collector }} }} }}\n",
        collector.uri("/")
    );
    let directory = settings(&process, &routes);
    let mut heard = Heard::default();
    run(directory.path(), &upstream, &mut heard);
    commands(directory.path(), &mut heard);
    for delivery in collector.received() {
        assert_eq!(delivery.header("authorization"), Some("hush-collector"));
        heard.add("a span", String::from_utf8_lossy(&delivery.body));
    }
    assert!(heard.0.iter().any(|(who, _)| who == "a span"));
    heard.assert_holds_none();
}

#[test]
fn x15_a_password_in_a_target_reaches_neither_upstream_nor_log_nor_answer() {
    let upstream = Upstream::ok();
    let route = format!("uri: /*\napi_gateway:\n  function_uri: {}\n", upstream.uri("/"));
    let process = "listen: { http: '127.0.0.1:0' }\nlog: { level: debug }\n";
    let directory = settings(process, &[("r", &route)]);
    let (mut process, address) = Process::run(directory.path());
    for request in [
        "GET http://hush-user:hush-password@h/a HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: hush-user:hush-password@h\r\n\r\n",
        "GET http://h/a HTTP/1.1\r\nHost: hush-user:hush-password@h\r\n\r\n",
    ] {
        let response = send(address, request);
        assert_eq!((response.status, response.code().as_str()), (400, "invalid_request"), "{request}");
        assert!(!format!("{response:?}").contains("hush"), "{response:?}");
    }
    process.signal("TERM");
    process.wait();
    let said = format!("{}{}", process.output(), process.errors());
    assert!(said.contains("not a host with an optional port") && !said.contains("hush"), "{said}");
    assert_eq!(upstream.accepted(), 0);
}
