//! Values and settings that change while the process runs.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use super::{Answer, Aws, PROCESS, Sidecar, Upstream, eventually, get, route, waiting};

/// Ends the clients, also after a failed assertion.
struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn a_changed_value_is_used_within_the_interval_without_a_failed_request() {
    let (aws, upstream) = (Aws::start(), Upstream::ok());
    aws.set("key", Answer::parameter("hush-1"));
    let other = "uri: /other\napi_gateway: { function_uri: 'http://127.0.0.1:1/' }\n".to_owned();
    let routes = [("a", route("/a", &upstream, "$ssm://key")), ("other", other)];
    let mut sidecar = Sidecar::start(&aws, PROCESS, &routes);
    eventually("the first value", || sidecar.get("/a").status == 200);
    let (is_over, failures) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let _over = OnDrop(&is_over);
        scope.spawn(|| {
            while !is_over.load(Ordering::SeqCst) {
                failures.fetch_add(usize::from(sidecar.get("/a").status != 200), Ordering::SeqCst);
            }
        });
        for value in ["hush-2", "hush-3"] {
            aws.set("key", Answer::parameter(value));
            eventually(value, || {
                upstream.received().last().is_some_and(|last| last.header("x-api-key") == Some(value))
            });
        }
    });
    assert_eq!(failures.load(Ordering::SeqCst), 0);
    let log = sidecar.stop();
    assert!(log.contains("changed a") && !log.contains("changed a, other") && !log.contains("hush"), "{log}");
}

#[test]
fn the_last_value_stays_in_use_while_a_refresh_fails() {
    let (aws, upstream) = (Aws::start(), Upstream::ok());
    aws.set("key", Answer::parameter("hush-1"));
    let mut sidecar = Sidecar::start(&aws, PROCESS, &[("a", route("/a", &upstream, "$ssm://key"))]);
    eventually("the first value", || sidecar.get("/a").status == 200);
    let metric = |name: &str| {
        let page = get(sidecar.admin(), "/metrics").text();
        let line = page
            .lines()
            .find(|line| line.starts_with(&format!("{name} ")))
            .unwrap_or_else(|| panic!("{page}"));
        line.rsplit(' ').next().unwrap().to_owned()
    };
    assert_eq!(metric("apigw_invoker_secrets_stale"), "0");
    aws.set("key", Answer::refusal("ThrottlingException", "Rate exceeded"));
    sidecar.process.says("ThrottlingException: Rate exceeded; route a keeps its last value");
    assert_eq!((sidecar.get("/a").status, sidecar.ready().0), (200, 200));
    assert_eq!(upstream.received().last().unwrap().header("x-api-key"), Some("hush-1"));
    assert_eq!(
        (metric("apigw_invoker_secrets_stale").as_str(), metric("apigw_invoker_secrets_missing").as_str()),
        ("1", "0")
    );
    assert_ne!(metric("apigw_invoker_secret_fetches_total{outcome=\"failed\"}"), "0");
    aws.set("key", Answer::parameter("hush-1"));
    sidecar.process.says("works again");
    sidecar.stop();
}

#[test]
fn a_value_that_is_not_valid_for_its_key_is_not_used_and_the_old_one_stays() {
    let (aws, upstream) = (Aws::start(), Upstream::ok());
    aws.set("key", Answer::parameter("hush-1"));
    aws.set("other", Answer::parameter("hush-other-1"));
    let routes = [("a", route("/a", &upstream, "$ssm://key")), ("b", route("/b", &upstream, "$ssm://other"))];
    let mut sidecar = Sidecar::start(&aws, PROCESS, &routes);
    eventually("the first value", || sidecar.get("/a").status == 200);
    aws.set("key", Answer::parameter("hush 2\n"));
    sidecar
        .process
        .says("route a keeps its former version, waiting for the parameter key of Parameter Store");
    sidecar.process.says("api_gateway.authorization.apikey: the fetched value is not used: ");
    assert_eq!(sidecar.get("/a").status, 200);
    assert_eq!(upstream.received().last().unwrap().header("x-api-key"), Some("hush-1"));
    let ready = sidecar.ready().1;
    let kept = ready["settings"]["kept"][0].as_str().unwrap();
    assert!(kept.contains(": its value is not used: api_gateway.authorization.apikey: "), "{ready}");
    assert!(!ready.to_string().contains("hush"), "{ready}");
    eventually("it is counted", || {
        get(sidecar.admin(), "/metrics").text().contains("apigw_invoker_secrets_stale 1\n")
    });
    // other secrets and other changes take effect meanwhile
    aws.set("other", Answer::parameter("hush-other-2"));
    eventually("the other value", || {
        sidecar.get("/b").status == 200
            && upstream.received().last().unwrap().header("x-api-key") == Some("hush-other-2")
    });
    sidecar.write_route("c", &route("/c", &upstream, "literal"));
    eventually("a new route", || sidecar.get("/c").status == 200);
    assert_eq!(sidecar.get("/a").status, 200);
    assert_eq!(upstream.received().last().unwrap().header("x-api-key"), Some("hush-1"));
    aws.set("key", Answer::parameter("hush-3"));
    eventually("the right value", || {
        sidecar.get("/a").status == 200
            && upstream.received().last().unwrap().header("x-api-key") == Some("hush-3")
    });
    let log = sidecar.stop();
    assert!(!log.contains("hush"), "{log}");
}

#[test]
fn a_first_value_that_is_not_valid_keeps_only_its_own_route_from_serving() {
    let (aws, upstream) = (Aws::start(), Upstream::ok());
    // as written by an editor, with a line end
    aws.set("db", Answer::secret(r#"{"good":"hush-good","bad":"hush-bad\n"}"#));
    let routes = ["good", "bad"]
        .map(|key| (key, route(&format!("/{key}"), &upstream, &format!("{{vault://aws/db/{key}}}"))));
    let mut sidecar = Sidecar::start(&aws, PROCESS, &routes);
    eventually("the other route serves", || sidecar.get("/good").status == 200);
    assert_eq!(sidecar.get("/bad").code(), "secret_unavailable");
    let (status, ready) = sidecar.ready();
    let expected = "waiting for bad of the secret db of Secrets Manager in us-east-1: its value is not used: \
                    api_gateway.authorization.apikey: ";
    assert!(status == 503 && waiting(&ready, "bad").unwrap().starts_with(expected), "{ready}");
    assert!(ready["settings"]["rejected"].is_null(), "{ready}");
    aws.set("db", Answer::secret(r#"{"good":"hush-good","bad":"hush-corrected"}"#));
    eventually("the corrected value", || sidecar.get("/bad").status == 200);
    assert_eq!(upstream.received().last().unwrap().header("x-api-key"), Some("hush-corrected"));
    let log = sidecar.stop();
    assert!(!log.contains("hush"), "{log}");
}

#[test]
fn a_key_that_aws_refuses_is_fetched_again_long_before_its_interval() {
    let aws = Aws::start();
    let upstream = Upstream::answering(
        "HTTP/1.1 403 Forbidden\r\nx-amzn-errortype: InvalidSignatureException\r\ncontent-length: 2\r\n\r\n\
         {}",
    );
    aws.set("key", Answer::parameter("hush-1"));
    let signed = format!(
        "uri: /a\napi_gateway:\n  function_uri: {}\n  authorization: {{ iam: {{ aws_region: us-east-1, \
         accesskey: AKIDEXAMPLE, secretkey: $ssm://key }} }}\n",
        upstream.uri("/")
    );
    let process = PROCESS.replace("interval: 1s", "interval: 1h");
    let mut sidecar = Sidecar::start(&aws, &process, &[("a", signed)]);
    eventually("the first value", || sidecar.get("/a").status == 403);
    aws.set("key", Answer::parameter("hush-2"));
    let begun = Instant::now();
    while aws.calls().len() < 2 {
        assert!(begun.elapsed() < Duration::from_mins(1), "{:?}", begun.elapsed());
        assert_eq!(sidecar.get("/a").status, 403);
        thread::sleep(Duration::from_millis(200));
    }
    assert!(begun.elapsed() > Duration::from_secs(25), "{:?}", begun.elapsed());
    sidecar.process.says("changed a");
    sidecar.stop();
}

#[test]
fn at_a_reload_a_new_route_waits_and_a_changed_one_keeps_its_former_version() {
    let (aws, upstream) = (Aws::start(), Upstream::ok());
    let routes = [("a", route("/a", &upstream, "former")), ("b", route("/b", &upstream, "b"))];
    let mut sidecar = Sidecar::start(&aws, PROCESS, &routes);
    sidecar.write_route("a", &route("/a", &upstream, "{vault://aws/late/}"));
    sidecar.write_route("new", &route("/new", &upstream, "{vault://aws/late/}"));
    sidecar.process.says("route a keeps its former version, waiting for the secret late of Secrets Manager");
    assert_eq!(sidecar.get("/a").status, 200);
    assert_eq!(upstream.received().last().unwrap().header("x-api-key"), Some("former"));
    eventually("the new route waits", || sidecar.get("/new").status == 503);
    let (status, ready) = sidecar.ready();
    assert_eq!((status, waiting(&ready, "a")), (503, None));
    assert!(waiting(&ready, "new").unwrap().contains("ResourceNotFoundException"), "{ready}");
    assert!(ready["settings"]["kept"][0].as_str().unwrap().starts_with("route a keeps"), "{ready}");
    aws.set("late", Answer::secret("hush-late"));
    for path in ["/new", "/a"] {
        eventually(path, || {
            sidecar.get(path).status == 200
                && upstream.received().last().unwrap().header("x-api-key") == Some("hush-late")
        });
    }
    let (status, ready) = sidecar.ready();
    assert!(status == 200 && ready["settings"]["kept"].is_null(), "{ready}");
    sidecar.stop();
}

#[test]
fn a_route_whose_former_version_would_clash_waits_instead() {
    let (aws, upstream) = (Aws::start(), Upstream::ok());
    let mut sidecar = Sidecar::start(&aws, PROCESS, &[("a", route("/a", &upstream, "former"))]);
    sidecar.write_route("a", &route("/moved", &upstream, "{vault://aws/late/}"));
    sidecar.process.says("route a keeps its former version");
    assert_eq!((sidecar.get("/a").status, sidecar.get("/moved").status), (200, 404));
    // another route takes its path
    sidecar.write_route("b", &route("/a", &upstream, "other"));
    eventually("the new version waits", || sidecar.get("/moved").status == 503);
    assert_eq!(sidecar.get("/a").status, 200);
    assert_eq!(upstream.received().last().unwrap().header("x-api-key"), Some("other"));
    sidecar.stop();
}

#[test]
fn a_new_route_with_its_secret_at_hand_never_answers_503() {
    let (aws, upstream) = (Aws::start(), Upstream::ok());
    aws.set("key", Answer::parameter("hush-1"));
    let mut sidecar = Sidecar::start(&aws, PROCESS, &[("a", route("/a", &upstream, "a"))]);
    sidecar.write_route("b", &route("/b", &upstream, "$ssm://key"));
    eventually("it serves", || {
        let status = sidecar.get("/b").status;
        assert!([404, 200].contains(&status), "{status}");
        status == 200
    });
    let log = sidecar.stop();
    assert!(!log.contains("secret_unavailable"), "{log}");
}
