//! Secrets in AWS by reference, through the binary: a scripted Secrets Manager and Parameter Store verify
//! each signature with AWS's own signer, and return every fault.

mod changes;
mod clock;
mod commands;
mod scripted;

use serde_json::Value;

use self::scripted::{Answer, Aws, Sidecar};
use super::support::{Upstream, call, eventually, get, process::settings};

/// A route that sends an API key.
fn route(uri: &str, upstream: &Upstream, key: &str) -> String {
    format!(
        "uri: {uri}\napi_gateway:\n  function_uri: {}\n  authorization: {{ apikey: '{key}' }}\n",
        upstream.uri("/")
    )
}

const PROCESS: &str = "listen: { http: '127.0.0.1:0' }\nadmin: { inspect: {} }\nlog: { level: debug }\n\
                       reload: { interval: 100ms }\nsecrets: { interval: 1s }\n";

/// The state of a route in `/ready`.
fn waiting(ready: &Value, id: &str) -> Option<String> {
    let routes = ready["routes"].as_array().unwrap();
    let route = routes.iter().find(|route| route["id"] == id).unwrap_or_else(|| panic!("{ready}"));
    assert_eq!(route["ready"], route["waiting"].is_null(), "{ready}");
    route["waiting"].as_str().map(str::to_owned)
}

/// A route for each spelling of a reference, and for each place.
fn routes_of_each_spelling(upstream: &Upstream) -> Vec<(&'static str, String)> {
    let iam = format!(
        "uri: /signed\napi_gateway:\n  function_uri: {}\n  authorization: {{ iam: {{ aws_region: us-east-1, \
         accesskey: AKIDEXAMPLE, secretkey: '{{vault://aws/prod/db/other}}' }} }}\n",
        upstream.uri("/")
    );
    let header = format!(
        "uri: /header\nheaders: {{ request: {{ set: {{ x-own: $ssm://name }} }} }}\napi_gateway:\n  \
         function_uri: {}\n",
        upstream.uri("/")
    );
    vec![
        ("kong", route("/kong", upstream, "{vault://aws/prod/db/key}")),
        ("apisix", route("/apisix", upstream, "$secret://aws/1/prod/db/key")),
        ("whole", route("/whole", upstream, "{vault://aws/whole/}")),
        ("parameter", route("/parameter", upstream, "$ssm://prod/key")),
        ("literal", route("/literal", upstream, "$$ssm://prod/key")),
        ("signed", iam),
        ("header", header),
    ]
}

#[test]
fn a_secret_goes_out_with_requests_and_is_in_no_output() {
    let (aws, upstream) = (Aws::start(), Upstream::ok());
    aws.set("prod/db", Answer::secret(r#"{"key":"hush-member","other":"hush-other"}"#));
    aws.set("whole", Answer::secret("hush-whole"));
    aws.set("/prod/key", Answer::parameter("hush-parameter"));
    aws.set("name", Answer::parameter("hush-name"));
    let routes = routes_of_each_spelling(&upstream);
    let mut sidecar = Sidecar::start(&aws, PROCESS, &routes);
    eventually("the secrets are there", || sidecar.ready().0 == 200);
    for (path, key) in [
        ("/kong", "hush-member"),
        ("/apisix", "hush-member"),
        ("/whole", "hush-whole"),
        ("/parameter", "hush-parameter"),
        ("/literal", "$ssm://prod/key"),
    ] {
        assert_eq!(sidecar.get(path).status, 200, "{path}");
        assert_eq!(upstream.received().last().unwrap().header("x-api-key"), Some(key), "{path}");
    }
    assert_eq!((sidecar.get("/signed").status, sidecar.get("/header").status), (200, 200));
    assert_eq!(upstream.received().last().unwrap().header("x-own"), Some("hush-name"));
    let calls = aws.calls();
    let count = |name: &str| calls.iter().filter(|(_, called)| called == name).count();
    assert!(calls.iter().all(|(target, _)| {
        ["secretsmanager.GetSecretValue", "AmazonSSM.GetParameter"].contains(&&**target)
    }));
    assert!(count("prod/db") >= 1 && aws.refused_signatures() == 0, "{calls:?}");
    assert_eq!(sidecar.ready().0, 200);
    for page in ["/ready", "/routes", "/metrics", "/", "/inspect", "/inspect/1", "/inspect/6", "/inspect/7"] {
        let page = call(sidecar.admin(), "GET", page, &[("accept", "application/json")], b"");
        assert!(page.status == 200 && !page.text().contains("hush"), "{}", page.text());
    }
    let log = sidecar.stop();
    assert!(!log.contains("hush") && log.contains("listening on"), "{log}");
}

#[test]
fn a_secret_is_fetched_once_for_all_who_name_it() {
    let (aws, upstream) = (Aws::start(), Upstream::ok());
    aws.set("db", Answer::secret(r#"{"a":"hush-a","b":"hush-b"}"#));
    let routes: Vec<(&str, String)> = ["r1", "r2", "r3", "r4"]
        .into_iter()
        .zip(["a", "b", "a", "b"])
        .map(|(id, key)| (id, route(&format!("/{id}"), &upstream, &format!("{{vault://aws/db/{key}}}"))))
        .collect();
    let process = "listen: { http: '127.0.0.1:0' }\nreload: { interval: 100ms }\n";
    let mut sidecar = Sidecar::start(&aws, process, &routes);
    eventually("it serves", || sidecar.get("/r4").status == 200);
    assert_eq!(aws.calls().len(), 1, "{:?}", aws.calls());
    sidecar.stop();
}

/// Each fault with a part of the reason in `/ready`.
fn faults() -> Vec<(&'static str, Answer, &'static str)> {
    vec![
        (
            "refused",
            Answer::refusal("AccessDeniedException", "User x is not authorized"),
            "; allow secretsmanager:",
        ),
        (
            "missing",
            Answer::refusal("ResourceNotFoundException", "no such secret"),
            "; create it in this region",
        ),
        (
            "throttled",
            Answer::refusal("ThrottlingException", "Rate exceeded"),
            "ThrottlingException: Rate exceeded",
        ),
        ("broken", Answer::raw("HTTP/1.1 500 Oops\r\ncontent-length: 4\r\n\r\nhush"), "status 500"),
        ("cut", Answer::raw("HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{\"SecretString\":\"hush"), ""),
        (
            "garbage",
            Answer::raw("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nhush"),
            "is not the JSON of this service",
        ),
        (
            "moved",
            Answer::raw("HTTP/1.1 302 Found\r\nlocation: http://hush/\r\ncontent-length: 0\r\n\r\n"),
            "status 302",
        ),
        ("binary", Answer::json(r#"{"SecretBinary":"aHVzaA=="}"#), "the secret is binary"),
        ("keyless", Answer::secret(r#"{"other":"hush"}"#), "has no such member"),
        ("text", Answer::secret("hush"), "is no JSON object"),
        (
            "huge",
            Answer::secret(&format!(r#"{{"key":"{}"}}"#, "hush".repeat(100_000))),
            "length limit exceeded",
        ),
        ("silent", Answer::Silence, ""),
    ]
}

#[test]
fn every_fault_keeps_its_route_from_being_ready_and_no_other() {
    let (aws, upstream) = (Aws::start(), Upstream::ok());
    let faults = faults();
    let mut routes = vec![("good", route("/good", &upstream, "literal"))];
    for (name, answer, _) in &faults {
        aws.set(name, answer.clone());
        routes.push((name, route(&format!("/{name}"), &upstream, &format!("{{vault://aws/{name}/key}}"))));
    }
    // a private key that is not there cannot be checked
    let tls = "uri: /tls\napi_gateway:\n  function_uri: https://h.example/\n  \
               client_certificate: $ssm://tls-cert\n  client_key: $ssm://tls-key\n";
    routes.push(("tls", tls.to_owned()));
    let mut sidecar = Sidecar::start(&aws, PROCESS, &routes);
    assert_eq!(sidecar.get("/good").status, 200);
    for (name, _, reason) in &faults {
        let answer = sidecar.get(&format!("/{name}"));
        assert_eq!((answer.status, answer.code().as_str()), (503, "secret_unavailable"), "{name}");
        assert!(!answer.text().contains(&format!("{name}/")), "{}", answer.text());
        let mut text = String::new();
        eventually(name, || {
            let (status, ready) = sidecar.ready();
            assert_eq!(status, 503);
            text = waiting(&ready, name).unwrap();
            text.contains(reason)
        });
        let start = format!("waiting for key of the secret {name} of Secrets Manager in us-east-1: ");
        assert!(text.starts_with(&start) && !text.contains("hush"), "{text}");
    }
    assert_eq!(sidecar.get("/tls").code(), "secret_unavailable");
    assert!(waiting(&sidecar.ready().1, "good").is_none());
    let page = get(sidecar.admin(), "/").text();
    assert!(page.contains("waiting for key of the secret refused of Secrets Manager"), "{page}");
    sidecar.stop();
    assert!(!sidecar.process.errors().contains("hush"));
}

#[test]
fn a_route_serves_once_the_cause_is_gone_and_the_log_has_a_line_for_each() {
    let (aws, upstream) = (Aws::start(), Upstream::ok());
    aws.set("refused", Answer::refusal("AccessDeniedException", "User x is not authorized"));
    let route = route("/refused", &upstream, "{vault://aws/refused/key}");
    let mut sidecar = Sidecar::start(&aws, PROCESS, &[("refused", route)]);
    eventually("the reason", || waiting(&sidecar.ready().1, "refused").unwrap().contains("AccessDenied"));
    aws.set("refused", Answer::secret(r#"{"key":"hush"}"#));
    eventually("it serves", || sidecar.get("/refused").status == 200);
    assert_eq!(upstream.received().last().unwrap().header("x-api-key"), Some("hush"));
    let log = sidecar.stop();
    let line = "secrets: cannot fetch key of the secret refused of Secrets Manager in us-east-1: \
                AccessDeniedException: User x is not authorized; allow secretsmanager:GetSecretValue on it, \
                and kms:Decrypt on its key if that is not the service's own; route refused waits";
    assert_eq!(log.matches(line).count(), 1, "{log}");
    assert!(
        !log.contains("hush")
            && log.contains("the secret refused of Secrets Manager in us-east-1: works again")
    );
}

#[test]
fn a_missing_secret_of_the_collector_turns_the_export_off_and_nothing_else() {
    let (aws, upstream, collector) = (Aws::start(), Upstream::ok(), Upstream::ok());
    aws.set("otlp", Answer::refusal("ParameterNotFound", ""));
    let process = format!(
        "{PROCESS}tracing: {{ otlp: {{ endpoint: '{}', headers: {{ api-key: $ssm://otlp }} }} }}\n",
        collector.uri("")
    );
    let mut sidecar = Sidecar::start(&aws, &process, &[("good", route("/good", &upstream, "literal"))]);
    assert_eq!((sidecar.get("/good").status, sidecar.ready().0), (200, 200));
    assert_eq!(collector.accepted(), 0);
    aws.set("otlp", Answer::parameter("hush-collector"));
    sidecar.process.says("changed tracing");
    assert_eq!(sidecar.get("/good").status, 200);
    eventually("a span arrives", || !collector.received().is_empty());
    assert_eq!(collector.received()[0].header("api-key"), Some("hush-collector"));
    let log = sidecar.stop();
    assert!(
        log.contains("create it in this region and account, or correct the reference; tracing.otlp waits"),
        "{log}"
    );
    assert!(!log.contains("hush"), "{log}");
}

#[test]
fn no_keys_are_a_reason_too_and_the_process_starts() {
    let (aws, upstream) = (Aws::start(), Upstream::ok());
    let routes = [("a", route("/a", &upstream, "$ssm://a")), ("good", route("/good", &upstream, "literal"))];
    let routes: Vec<(&str, &str)> = routes.iter().map(|(id, text)| (*id, &**text)).collect();
    let directory = settings(PROCESS, &routes);
    let mut sidecar = Sidecar::run(directory, aws.environment_without_keys());
    assert_eq!(sidecar.get("/good").status, 200);
    eventually("the reason", || {
        waiting(&sidecar.ready().1, "a").unwrap().contains("no credential source is configured")
    });
    assert!(aws.calls().is_empty());
    sidecar.stop();
}
