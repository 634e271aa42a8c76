//! `sign: false`: routes to local emulators of Lambda, which sign nothing and need no credentials.

use std::{path::Path, process::Command};

use serde_json::{Value, json};

use super::support::{
    App, Upstream, call, get,
    process::{ANY_PORT, Ended, Process, binary, command, end_of, settings},
};

const ANSWER: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{\"made\":\"of it\"}";

/// A route to an emulator, without region and keys.
fn route(emulator: &Upstream, rest: &str) -> String {
    format!(
        "uri: /f*\nlambda:\n  function_name: function\n  host: {}\n  port: {}\n  disable_https: true\n  \
         sign: false\n{rest}",
        emulator.address.ip(),
        emulator.address.port()
    )
}

/// Nothing in the environment leads to credentials or a region.
fn without_aws(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("AWS_") {
            command.env_remove(name);
        }
    }
    command.env("HOME", "/nonexistent").env("AWS_EC2_METADATA_DISABLED", "true")
}

fn ended(name: &str, directory: &Path, arguments: &[&str]) -> Ended {
    end_of(without_aws(command(name, directory).args(arguments)))
}

#[track_caller]
fn document(name: &str, directory: &Path, arguments: &[&str]) -> Value {
    let ended = ended(name, directory, &[arguments, &["--output", "json"]].concat());
    assert_eq!(ended.code, Some(0), "{ended:?}");
    serde_json::from_str(&ended.output).unwrap_or_else(|_| panic!("{ended:?}"))
}

/// The mistakes of a route with these keys behind `function_name`.
fn mistakes(process: &str, keys: &str) -> String {
    let route = format!("uri: /f*\nlambda:\n  function_name: f\n{keys}");
    let directory = settings(&format!("{ANY_PORT}{process}"), &[("r", &route)]);
    let ended = ended("check", directory.path(), &[]);
    if ended.code == Some(0) { String::new() } else { ended.errors }
}

#[test]
fn a_process_without_keys_and_region_is_ready_and_calls_without_a_signature() {
    let emulator = Upstream::answering(ANSWER);
    let directory = settings(ANY_PORT, &[("emulator", &route(&emulator, ""))]);
    let (mut process, address) = Process::listening(without_aws(&mut command("run", directory.path())));
    let ready = get(process.admin(), "/ready");
    assert_eq!((ready.status, &ready.json()["ready"]), (200, &json!(true)), "{}", ready.text());
    assert_eq!(ready.json()["routes"], json!([{ "id": "emulator", "ready": true }]));
    let response = call(address, "POST", "/f", &[("Content-Type", "application/json")], b"{\"a\":1}");
    assert_eq!((response.status, response.text()), (200, "{\"made\":\"of it\"}".into()));
    let received = emulator.only();
    assert_eq!(received.line, "POST /2015-03-31/functions/function/invocations HTTP/1.1");
    assert_eq!(received.body, b"{\"a\":1}");
    for name in ["authorization", "x-amz-date", "x-amz-security-token", "x-amz-content-sha256"] {
        assert_eq!(received.header(name), None, "{received:?}");
    }
    let log = process.stop();
    assert!(!log.contains("credentials"), "{log}");
}

#[test]
fn keys_of_defaults_are_not_used_on_an_unsigned_route_and_still_sign_the_others() {
    let (emulator, aws) = (Upstream::answering(ANSWER), Upstream::answering(ANSWER));
    let keys = "defaults: { lambda: { aws_key: AKIDEXAMPLE, aws_secret: hush, aws_region: us-east-1 } }\n";
    let signed = route(&aws, "").replace("/f*", "/signed").replace("sign: false", "sign: true");
    let app = App::with(keys).route("emulator", &route(&emulator, "")).route("signed", &signed).start();
    assert_eq!((get(app.address, "/f").status, get(app.address, "/signed").status), (200, 200));
    assert_eq!(emulator.only().header("authorization"), None);
    assert!(aws.only().header("authorization").unwrap().contains("Credential=AKIDEXAMPLE/"));
}

#[test]
fn commands_show_a_route_without_signature_and_ask_for_no_source() {
    let emulator = Upstream::answering(ANSWER);
    let event = "  awsgateway_compatible: true\n";
    let directory = settings(ANY_PORT, &[("emulator", &route(&emulator, event))]);
    let checked = document("check", directory.path(), &["--connect", "--credentials"]);
    assert_eq!((&checked["credentials"], &checked["warnings"]), (&json!([]), &json!([])));
    let connections = checked["connections"].as_array().unwrap();
    assert_eq!(connections.len(), 1, "{checked:#}");
    assert_eq!((&connections[0]["purpose"], &connections[0]["reached"]), (&json!("calls"), &json!(true)));

    let shown = document("routes", directory.path(), &[]);
    assert_eq!(
        (&shown[0]["lambda"]["sign"], &shown[0]["lambda"]["aws_region"]),
        (&json!(false), &json!(null))
    );
    let table = ended("routes", directory.path(), &[]).output;
    let row = table.lines().find(|line| line.starts_with("emulator")).unwrap();
    assert!(row.contains(" none ") && !row.contains("iam"), "{table}");

    let mut explain = binary(&["explain", "GET", "/f", "--output", "json", "--settings"]);
    let ended = end_of(without_aws(explain.arg(directory.path())));
    let explanation: Value = serde_json::from_str(&ended.output).unwrap_or_else(|_| panic!("{ended:?}"));
    let outbound = &explanation["outbound"];
    assert_eq!((&outbound["signature"], &outbound["tls"]), (&json!(null), &json!(false)));
    assert!(!outbound["headers"].to_string().contains("authorization"), "{outbound:#}");
    assert!(!outbound["varies"].to_string().contains("signature"), "{outbound:#}");
    assert!(emulator.received().is_empty());
}

#[test]
fn an_unsigned_route_that_leaves_loopback_is_a_mistake_with_its_reason() {
    let local = "  host: 127.0.0.1\n  disable_https: true\n";
    for (process, keys, problem, expected) in [
        ("", "", "without TLS", "`disable_https: true` beside it"),
        ("", "  host: 127.0.0.1\n", "without TLS", "`disable_https: true` beside it"),
        ("", "  disable_https: true\n", "loopback", "`host` is localhost"),
        ("", "  host: lambda.example\n  disable_https: true\n", "loopback", "`host` is localhost"),
        ("", "  host: 10.0.0.1\n  disable_https: true\n", "loopback", "`host` is localhost"),
        ("", "  host: localhost.example\n  disable_https: true\n", "loopback", "`host` is localhost"),
        ("", &*format!("{local}  connect: {{ address: 10.0.0.1 }}\n"), "loopback", "`connect.address`"),
        ("", &*format!("{local}  proxy_url: 'http://p:1'\n"), "through a proxy", "no `proxy_url`"),
        ("defaults: { lambda: { proxy_url: 'http://p:1' } }\n", local, "through a proxy", "no `proxy_url`"),
    ] {
        let told = mistakes(process, &format!("{keys}  aws_region: us-east-1\n  sign: false\n"));
        let mistake = told.lines().find(|line| line.contains("lambda.sign: "));
        let mistake = mistake.unwrap_or_else(|| panic!("{told}"));
        assert!(mistake.contains(problem) && mistake.contains(expected), "{mistake}");
        assert!(told.contains("1 mistake in"), "{told}");
        assert_eq!(
            mistakes(process, &format!("{keys}  aws_region: us-east-1\n  sign: true\n")),
            "",
            "{keys}"
        );
    }
}

#[test]
fn every_name_of_loopback_may_be_unsigned() {
    for host in ["127.0.0.1", "127.1.2.3", "localhost", "'::1'", "'[::1]'"] {
        let keys = format!("  host: {host}\n  disable_https: true\n  sign: false\n");
        assert_eq!(mistakes("", &keys), "", "{host}");
        let connect = format!("{keys}  connect: {{ address: '127.0.0.1:9001' }}\n");
        assert_eq!(mistakes("", &connect), "", "{host}");
    }
    let of_the_region = mistakes("", "  disable_https: true\n  sign: false\n");
    assert!(of_the_region.contains("lambda.sign: unsigned calls may only go to loopback"), "{of_the_region}");
    assert!(of_the_region.contains("1 mistake in"), "{of_the_region}");
    let misspelt = mistakes("", "  host: 127.0.0.1\n  disable_https: true\n  sign: 'false'\n");
    assert!(misspelt.contains("lambda.sign: ") && misspelt.contains("1 mistake in"), "{misspelt}");
    let signed = "  host: 127.0.0.1\n  disable_https: true\n";
    assert!(mistakes("", signed).contains("lambda.aws_region: no region or host specified"));
    let defaults = "defaults: { lambda: { sign: false, disable_https: true, host: 127.0.0.1 } }\n";
    assert_eq!(mistakes(defaults, ""), "");
}
