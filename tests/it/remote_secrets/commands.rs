//! References in `check`, `explain`, `routes` and `dev`.

use super::{Answer, Aws, Upstream, route, settings};
use crate::support::process::{Ended, end_of};

/// Runs a command on one route with this API key.
fn run(aws: &Aws, words: &[&str], key: &str) -> Ended {
    let upstream = Upstream::ok();
    let directory = settings("listen: { http: '127.0.0.1:0' }\n", &[("a", &route("/a", &upstream, key))]);
    let mut command = aws.command(words[0], directory.path());
    end_of(command.args(&words[1..]))
}

#[test]
fn check_reads_the_spelling_alone() {
    let aws = Aws::start();
    for right in [
        "{vault://aws/db/key}",
        "{vault://aws/prod/db/key?region=eu-west-1}",
        "$secret://aws/1/db/key",
        "$ssm:///prod/key",
        "$$ssm://literal",
        "$$word://literal",
    ] {
        let ended = run(&aws, &["check"], right);
        assert_eq!(ended.code, Some(0), "{right}: {ended:?}");
        let has_remark = ended.errors.contains("the ID in $secret://aws/ID/NAME/KEY is not needed");
        assert_eq!(has_remark, right.starts_with("$secret"), "{ended:?}");
    }
    for (wrong, told) in [
        ("$smm://hush", "an unknown kind of reference; did you mean `$ssm://`?"),
        ("$ENV://HUSH", "an unknown kind of reference; did you mean `$env://`?"),
        ("$word://hush", "an unknown kind of reference; expected $env://NAME"),
        (
            "$secret://vault/1/hush",
            "a reference to an unsupported secret store; expected {vault://aws/NAME/KEY}",
        ),
        ("{vault://hcv/hush}", "a reference to a vault other than `env` and `aws`"),
        ("$ssm://", "a reference with an invalid name of a parameter"),
        ("$ssm://hush?x=1", "a reference with an unknown option; expected `?region=REGION`"),
    ] {
        let ended = run(&aws, &["check"], wrong);
        assert_eq!(ended.code, Some(78), "{wrong}: {ended:?}");
        assert!(ended.errors.contains(&format!("api_gateway.authorization.apikey: {told}")), "{ended:?}");
        assert!(!ended.errors.to_lowercase().contains("hush"), "{ended:?}");
    }
    assert!(aws.calls().is_empty());
}

#[test]
fn check_finds_other_mistakes_beside_a_secret_that_is_not_fetched() {
    let aws = Aws::start();
    let wrong = "uri: /a\napi_gateway:\n  function_uri: $ssm://uri\n  timeot: 1\n  ssl_verify: maybe\n";
    let directory =
        settings("listen: { http: $ssm://address }\n", &[("a", wrong), ("b", "uri: $ssm://path\n")]);
    let ended = end_of(&mut aws.command("check", directory.path()));
    assert_eq!(ended.code, Some(78), "{ended:?}");
    for told in [
        "default.yaml:1: listen.http: a secret in AWS cannot stand here: this key is needed before secrets \
         are fetched",
        "routes/a.yaml:4: api_gateway.timeot: unknown key; did you mean `timeout`?",
        "routes/a.yaml:5: api_gateway.ssl_verify: ",
        "routes/b.yaml:1: uri: a secret in AWS cannot stand here",
    ] {
        assert!(ended.errors.contains(told), "{told} is not in {ended:?}");
    }
    assert!(!ended.errors.contains("function_uri: "), "{ended:?}");
}

#[test]
fn a_reference_without_a_region_is_a_mistake() {
    let (aws, upstream) = (Aws::start(), Upstream::ok());
    let directory =
        settings("listen: { http: '127.0.0.1:0' }\n", &[("a", &route("/a", &upstream, "$ssm://a"))]);
    let mut command = aws.command("check", directory.path());
    let ended = end_of(command.env_remove("AWS_REGION").env_remove("AWS_DEFAULT_REGION"));
    assert_eq!(ended.code, Some(78), "{ended:?}");
    assert!(
        ended.errors.contains("a reference to a secret without a region; expected AWS_REGION in"),
        "{ended:?}"
    );
}

#[test]
fn check_credentials_fetches_each_secret() {
    let aws = Aws::start();
    aws.set("db", Answer::secret(r#"{"key":"hush","bad":"hush 2\n"}"#));
    let ended = run(&aws, &["check", "--credentials"], "{vault://aws/db/key}");
    let told = "route a: key of the secret db of Secrets Manager in us-east-1: fetched";
    assert!(ended.code == Some(0) && ended.output.contains(told), "{ended:?}");
    let ended = run(&aws, &["check", "--credentials", "--output", "json"], "{vault://aws/db/none}");
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let document: serde_json::Value = serde_json::from_str(&ended.output).unwrap();
    let secret = &document["secrets"][0];
    assert_eq!((&secret["fetched"], &secret["users"][0]), (&false.into(), &"route a".into()), "{document}");
    assert!(secret["problem"].as_str().unwrap().contains("no such member"), "{document}");
    // a value that is not valid for its key
    let ended = run(&aws, &["check", "--credentials"], "{vault://aws/db/bad}");
    assert_eq!(ended.code, Some(78), "{ended:?}");
    assert!(ended.errors.contains("api_gateway.authorization.apikey: "), "{ended:?}");
    assert!(!format!("{ended:?}").contains("hush"), "{ended:?}");
}

#[test]
fn explain_and_routes_show_no_placeholder_as_a_value_and_fetch_nothing() {
    let aws = Aws::start();
    let ended = run(&aws, &["explain", "GET", "/a"], "{vault://aws/db/key}");
    let told = "  key of the secret db of Secrets Manager in us-east-1";
    assert!(ended.code == Some(0) && ended.output.contains(told), "{ended:?}");
    let ended = run(&aws, &["routes", "--output", "json"], "{vault://aws/db/key}");
    assert!(ended.code == Some(0) && !ended.output.contains("waiting-for"), "{ended:?}");
    assert!(aws.calls().is_empty());
}

#[test]
fn dev_replaces_a_reference_by_a_value_of_the_stand_in_and_calls_nobody() {
    let aws = Aws::start();
    let wanted = "uri: /a\nheaders: { request: { set: { x-own: '{vault://aws/db/key}' } } }\napi_gateway:\n  \
                  function_uri: https://h.example/\n  authorization: { apikey: $ssm://key }\n";
    let directory = settings("", &[("a", wanted)]);
    let ended = end_of(aws.command("explain", directory.path()).args(["--dev", "GET", "/a"]));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for line in [
        "headers.request.set.x-own: the reference has no value on this machine",
        "api_gateway.authorization.apikey: replaced by the stand-in's API key",
    ] {
        assert_eq!(ended.errors.matches(line).count(), 1, "{ended:?}");
    }
    assert!(aws.calls().is_empty());
}
