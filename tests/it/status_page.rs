//! The status page of the admin port, and the hosts that may ask for pages.

use apigw_invoker::{
    settings::{Document, Environment, Settings},
    stand_in::{Fault, StandInKeys, StandInOptions},
};

use super::support::{App, Response, Upstream, call, eventually, get, send};

const POLICY: &str = "content-security-policy";

fn page(app: &App, accept: &str) -> Response {
    call(app.admin, "GET", "/", &[("Accept", accept)], b"")
}

fn status(app: &App) -> serde_json::Value {
    page(app, "application/json").json()
}

#[test]
fn a_browser_gets_html_that_names_files_of_this_port_and_curl_gets_text() {
    let app = App::to("http://127.0.0.1:1/");
    let html = page(&app, "text/html,application/xhtml+xml,*/*;q=0.8");
    assert_eq!(html.header("content-type"), Some("text/html; charset=utf-8"));
    let html_text = html.text();
    let names = html_text.split('"').filter(|text| text.starts_with("/pages/")).collect::<Vec<_>>();
    assert!(names.len() >= 3, "{names:?}");
    for name in names {
        let file = get(app.admin, name);
        assert_eq!(file.status, 200, "{name}");
        assert_eq!(file.header("x-content-type-options"), Some("nosniff"), "{name}");
    }
    let text = page(&app, "*/*");
    assert_eq!(text.header("content-type"), Some("text/plain; charset=utf-8"));
    assert!(text.text().starts_with(concat!("apigw-invoker   ", env!("CARGO_PKG_VERSION"), ", ready\n")));
    for answer in [html, text, page(&app, "application/json"), get(app.admin, "/routes")] {
        let policy = answer.header(POLICY).unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    assert_eq!(get(app.admin, "/pages/none.js").status, 404);
    assert_eq!(call(app.admin, "POST", "/", &[], b"x").status, 405);
}

#[test]
fn the_status_shows_the_process_and_its_listeners() {
    let app = App::to("http://127.0.0.1:1/");
    let status = status(&app);
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!((&status["state"], &status["settings"]["generation"]), (&"ready".into(), &1.into()));
    assert_eq!(status["settings"]["rejected"], serde_json::json!([]));
    let listeners = status["listeners"].as_array().unwrap();
    assert_eq!(listeners[0]["address"], app.address.to_string());
    assert_eq!(listeners[1]["address"], app.admin.to_string());
    assert!(status["descriptors"]["open"].as_u64().unwrap() > 3);
    assert_eq!(status["log_lines_lost"], 0);
}

#[test]
fn a_route_has_its_counters_and_quantiles() {
    let upstream = Upstream::ok();
    let app = App::with("").gateway("a", "/a/*", &upstream.uri("/"), "circuit_breaker: {}").start();
    let route = || status(&app)["routes"][0].clone();
    assert_eq!((&route()["requests"], &route()["p50_ms"]), (&0.into(), &serde_json::Value::Null));
    for _ in 0..3 {
        assert_eq!(get(app.address, "/a/x").status, 200);
    }
    eventually("they are counted", || route()["requests"] == 3);
    let route = route();
    assert_eq!(
        (&route["id"], &route["pattern"], &route["backend"]),
        (&"a".into(), &"/a/*".into(), &"api_gateway".into())
    );
    assert_eq!((&route["errors"], &route["breaker"]), (&0.into(), &"closed".into()));
    let (p50, p99) = (route["p50_ms"].as_f64().unwrap(), route["p99_ms"].as_f64().unwrap());
    assert!(0.0 < p50 && p50 <= p99, "{p50} {p99}");
    assert_eq!(route["last_failure"], serde_json::Value::Null);
}

#[test]
fn the_last_failure_has_cause_cure_and_request_id() {
    let app = App::to("http://127.0.0.1:1/");
    let answer = call(app.address, "GET", "/a", &[("X-Request-Id", "my-request-7")], b"");
    assert_eq!(answer.status, 502);
    eventually("it is counted", || status(&app)["routes"][0]["errors"] == 1);
    let last = status(&app)["routes"][0]["last_failure"].clone();
    assert_eq!((&last["request_id"], &last["code"]), (&"my-request-7".into(), &"upstream_connect".into()));
    assert!(last["cause"].as_str().unwrap().contains("cannot connect to 127.0.0.1:1"), "{last}");
    assert!(last["cure"].as_str().unwrap().contains("check --connect"), "{last}");
    let text = page(&app, "*/*").text();
    assert!(
        text.contains("last failure of all: ") && text.contains("  request id  my-request-7\n"),
        "{text}"
    );
}

#[test]
fn a_refused_signature_is_the_last_failure_with_its_diagnosis() {
    let options = StandInOptions::new(StandInKeys::example()).with_fault(Fault::Service);
    let app = App::dev_with(options);
    get(app.address, "/iam/x");
    let route = || {
        let status = status(&app);
        status["routes"].as_array().unwrap().iter().find(|route| route["id"] == "iam").unwrap().clone()
    };
    eventually("it is counted", || route()["refused"] == 1);
    let last = route()["last_failure"].clone();
    assert!(last["cause"].as_str().unwrap().starts_with("AWS refused the signature"), "{last}");
}

#[test]
fn a_5xx_of_the_upstream_is_the_last_failure_with_the_request_id_of_aws() {
    let upstream =
        Upstream::answering("HTTP/1.1 503 x\r\nx-amzn-RequestId: aws-id-1\r\ncontent-length: 0\r\n\r\n");
    let app = App::to(&upstream.uri("/"));
    get(app.address, "/a");
    eventually("it is counted", || status(&app)["routes"][0]["errors"] == 1);
    let last = status(&app)["routes"][0]["last_failure"].clone();
    assert_eq!(last["status"], 503);
    assert!(last["cause"].as_str().unwrap().contains("aws-id-1"), "{last}");
}

#[test]
fn an_error_of_a_function_that_is_passed_on_is_the_last_failure() {
    let error = r#"{"errorType":"ValueError","errorMessage":"stock"}"#;
    let length = error.len();
    let upstream = Upstream::answering(&format!(
        "HTTP/1.1 200 OK\r\nx-amz-function-error: Unhandled\r\ncontent-length: {length}\r\n\r\n{error}"
    ));
    for (rest, code, cause) in [("", 200, "Unhandled"), ("unhandled_status: 500", 500, "ValueError: stock")] {
        let app = App::with("").lambda("f", "/f", upstream.address, rest).start();
        assert_eq!(get(app.address, "/f").status, code);
        let last = || status(&app)["routes"][0]["last_failure"].clone();
        eventually("it is stored", || !last().is_null());
        assert_eq!(last()["status"], code);
        let found = last()["cause"].as_str().unwrap().to_owned();
        assert!(found.starts_with("the function failed: ") && found.ends_with(cause), "{found}");
        assert!(last()["cure"].as_str().unwrap().contains("CloudWatch"), "{}", last());
    }
}

#[test]
fn a_mistake_of_the_client_is_no_failure_of_the_route() {
    let app = App::to("http://127.0.0.1:1/");
    assert_eq!(get(app.address, "/%zz").status, 400);
    eventually("it is counted", || status(&app)["unrouted"]["requests"].as_u64() > Some(0));
    assert_eq!(status(&app)["unrouted"]["last_failure"], serde_json::Value::Null);
}

#[test]
fn no_secret_of_the_settings_is_on_the_page() {
    let upstream = Upstream::ok();
    let app = App::with("")
        .variable("TARGET_KEY", "hush-key")
        .gateway(
            "signed",
            "/signed",
            &format!("{}?key=hush-query", upstream.uri("/")),
            "authorization:\n  apikey: $env://TARGET_KEY\n  iam: { accesskey: AKIDEXAMPLE, secretkey: \
             hush-secret, session_token: hush-token }",
        )
        .start();
    get(app.address, "/signed");
    for accept in ["application/json", "*/*"] {
        let text = page(&app, accept).text();
        assert!(text.contains("access key ending in MPLE"), "{text}");
        assert!(!text.contains("hush"), "{text}");
    }
}

#[test]
fn pages_are_refused_to_a_foreign_host_and_probes_are_not() {
    let app = App::administered("hosts: [sidecar.example.com, '*.internal']")
        .gateway("a", "/", "http://127.0.0.1:1/", "")
        .start();
    let ask = |target: &str, host: &str| {
        send(app.admin, format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n")).status
    };
    for target in ["/", "/routes", "/pages/status.js"] {
        for host in ["localhost", "127.0.0.1:9180", "[::1]", "sidecar.example.com:80", "a.internal"] {
            assert_eq!(ask(target, host), 200, "{target} {host}");
        }
        for host in ["evil.example", "evil.example:9180", "127.0.0.1.evil.example", "internal"] {
            assert_eq!(ask(target, host), 421, "{target} {host}");
        }
        let absolute = format!("GET http://evil.example{target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(send(app.admin, absolute).status, 421, "{target}");
        // headers of a proxy decide nothing
        let forwarded = [("X-Forwarded-Host", "localhost"), ("Forwarded", "host=localhost")];
        let foreign = forwarded.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
        let foreign: String = foreign.collect();
        let foreign = format!("GET {target} HTTP/1.1\r\nHost: evil.example\r\n{foreign}\r\n");
        assert_eq!(send(app.admin, foreign).status, 421, "{target}");
    }
    for target in ["/live", "/ready", "/metrics"] {
        assert_eq!(ask(target, "evil.example"), 200, "{target}");
    }
}

#[test]
fn a_host_of_admin_hosts_that_is_no_name_is_a_mistake() {
    let documents = [
        Document::process("admin: { hosts: ['http://a', ok.example] }".to_owned()),
        Document::route("a", "uri: /\napi_gateway: { function_uri: 'http://127.0.0.1:1/' }\n"),
    ];
    let mistakes = Settings::from_documents(&documents, &Environment::new()).unwrap_err().to_string();
    assert!(mistakes.contains("admin.hosts"), "{mistakes}");
    assert!(mistakes.ends_with("1 mistake in the settings"), "{mistakes}");
}
