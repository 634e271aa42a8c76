//! A marker value in every key that the schema marks as secret, searched for in all outputs: mistakes,
//! `check`, `routes`, `explain`, `/ready`, `/routes`, `/metrics`, spans and the debug log.

use std::{collections::BTreeSet, fs, path::Path};

use apigw_invoker::settings::schema::{File, of};
use serde_json::Value;

use super::support::{
    Upstream, get,
    process::{Process, binary, end_of, settings},
    tls::{Authority, file},
};

const PROCESS: &str = "listen: { http: '127.0.0.1:0' }\nreload: { interval: 100ms }\nlog: { level: debug }\n";
/// Paths of all keys below a section of the schema, and whether they are `writeOnly`.
fn keys(schema: &Value, path: &str, found: &mut Vec<(String, bool)>) {
    for (key, below) in schema["properties"].as_object().unwrap() {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        if below["properties"].is_object() {
            keys(below, &path, found);
        } else {
            found.push((path, below["writeOnly"] == true));
        }
    }
}

fn all_keys() -> Vec<(String, bool)> {
    let mut found = Vec::new();
    keys(&of(File::Route), "", &mut found);
    found
}

/// A route with one key set to a text.
fn route_with(path: &str, value: &str) -> String {
    let is_lambda = path.starts_with("lambda.");
    let mut lines = vec!["uri: /wrong".to_owned()];
    let (section, base) = if is_lambda {
        ("lambda", ["function_name: f", "aws_region: us-east-1"])
    } else {
        ("api_gateway", ["function_uri: https://127.0.0.1:1/", "timeout: 1000"])
    };
    let own: Vec<&str> = path.split('.').collect();
    let (top, rest) = if own[0] == section { (true, &own[1..]) } else { (false, &own[..]) };
    if !top {
        lines.retain(|line| !line.starts_with(&format!("{}:", own[0])));
        let (outer, inner) = rest.split_first().unwrap();
        let nested = inner.iter().rev().fold(value.to_owned(), |value, key| format!("{{ {key}: {value} }}"));
        lines.push(format!("{outer}: {nested}"));
    }
    lines.push(format!("{section}:"));
    lines.extend(
        base.iter()
            .filter(|line| !top || !line.starts_with(&format!("{}:", rest[0])))
            .map(|line| format!("  {line}")),
    );
    if top {
        for (depth, key) in rest.iter().enumerate() {
            let value = if depth + 1 == rest.len() { format!(" {value}") } else { String::new() };
            lines.push(format!("{}{key}:{value}", "  ".repeat(depth + 1)));
        }
    }
    lines.join("\n") + "\n"
}

fn said(words: &[&str], directory: &Path) -> String {
    let mut arguments = words.to_vec();
    let at = directory.display().to_string();
    arguments.extend(["--settings", &at]);
    let ended = end_of(binary(&arguments).env("HUSH", "hush-planted?a=hush&b#hush"));
    ended.output + &ended.errors
}

#[track_caller]
fn assert_hushed(what: &str, said: &str) {
    assert!(!said.is_empty(), "{what} has said nothing");
    assert!(!said.contains("hush"), "{what} has said it: {said}");
}

#[test]
fn x14_no_mistake_quotes_what_may_be_a_secret_or_what_a_reference_yields() {
    let secret: Vec<String> =
        all_keys().into_iter().filter(|(_, is_secret)| *is_secret).map(|(path, _)| path).collect();
    assert!(secret.len() >= 18, "{secret:?}");
    let wrong = ["\"hush\\u0001 \\\\ [\"", "[hush]", "{ hush: 1 }"];
    let written = secret.iter().flat_map(|path| wrong.iter().map(move |value| (path.clone(), *value)));
    let query = ["ftp://h/?hush", "https://h/a*?k=hush", "https://h/#hush", "https://user:hush@h/"];
    let queries = query.iter().map(|value| ("api_gateway.function_uri".to_owned(), *value));
    let all = all_keys();
    let referred = all.iter().map(|(path, _)| (path.clone(), "$env://HUSH"));
    let mut looked_at = 0;
    for (path, value) in written.chain(queries).chain(referred) {
        // the name of a key is not a secret
        let value = value.replace("{ hush: 1 }", "{ a: { b: hush } }");
        let route = route_with(&path, &value);
        let environment = [("HUSH".to_owned(), "hush-planted?a=hush&b#hush".to_owned())].into();
        let documents = [apigw_invoker::settings::Document::route("wrong", route.clone())];
        if let Err(mistakes) = apigw_invoker::settings::Settings::from_documents(&documents, &environment) {
            assert_hushed(&route, &mistakes.to_string());
            looked_at += 1;
        }
    }
    assert!(looked_at > 60, "{looked_at}");
}

#[test]
fn x14_a_value_misread_as_part_of_its_key_is_never_shown() {
    let section = |text: &str| {
        format!("uri: /wrong\napi_gateway:\n  function_uri: https://h.example/\n  authorization: {text}\n")
    };
    let known = "api_gateway.authorization.iam.secretkey: unknown key: missing space after the colon; \
                 expected `secretkey: VALUE`";
    for (route, told) in [
        (section("{ iam: { accesskey: A, secretkey:hush } }"), known),
        (
            section("{ iam: { accesskey: A, secretkey=hush } }"),
            "secretkey: unknown key: missing colon and space after the name",
        ),
        (section("{ iam: { accesskey: A, secretkeyy:hush } }"), "iam.secretkeyy: unknown key; did you mean"),
        (
            section("{ iam: { accesskey: A, secretkey:hush, secretkey:hush } }"),
            "iam.secretkey: duplicate key",
        ),
        (section(&format!("{{ apikey: k, '{}': 1 }}", "hush".repeat(10))), "authorization.…: unknown key"),
        (section("{ apikey:hush: 1 }"), "authorization.apikey: unknown key: missing space"),
        (
            "{ uri: /wrong, lambda: { aws_secret:hush } }\n".to_owned(),
            "lambda.aws_secret: unknown key: missing space",
        ),
    ] {
        let directory = settings(PROCESS, &[("wrong", &route)]);
        for words in [&["check"][..], &["check", "--output", "json"], &["routes"], &["explain", "GET", "/"]] {
            let said = said(words, directory.path());
            assert!(said.contains(told), "{told}\nis not in\n{said}");
            assert_hushed(&words.join(" "), &said);
        }
    }
}

#[test]
fn x14_keys_that_are_swapped_are_a_mistake_that_quotes_neither() {
    let secret = "hushXUtnFEMIaK7MDENGabPxRfiCYEXAMPLEKEYx";
    assert_eq!(secret.len(), 40);
    for secret in [secret, "hush/K7MDENG", "hush+K7MDENG"] {
        for (route, key) in [
            (
                format!(
                    "uri: /a\napi_gateway:\n  function_uri: https://h.example/\n  authorization: {{ iam: {{ \
                     accesskey: '{secret}', secretkey: AKIDEXAMPLE }} }}\n"
                ),
                "accesskey and secretkey may be swapped",
            ),
            (
                format!(
                    "uri: /a\nlambda: {{ function_name: f, aws_region: us-east-1, aws_key: '{secret}', \
                     aws_secret: AKIDEXAMPLE }}\n"
                ),
                "aws_key and aws_secret may be swapped",
            ),
        ] {
            let directory = settings(PROCESS, &[("a", &route)]);
            for words in [&["check"][..], &["explain", "GET", "/a"]] {
                let said = said(words, directory.path());
                assert!(said.contains(key), "{said}");
                assert_hushed(&words.join(" "), &said);
            }
        }
    }
    let chain = "uri: /a\napi_gateway:\n  function_uri: https://h.example/\n  authorization: { iam: {} }\n";
    let directory = settings(PROCESS, &[("a", chain)]);
    let at = directory.path().display().to_string();
    let mut explain = binary(&["explain", "GET", "/a", "--settings", &at]);
    explain.env("AWS_ACCESS_KEY_ID", secret).env("AWS_SECRET_ACCESS_KEY", "AKIDEXAMPLE");
    let ended = end_of(&mut explain);
    let said = ended.output + &ended.errors;
    assert!(said.contains("the two may be swapped"), "{said}");
    assert_hushed("explain with swapped keys of the environment", &said);
}

#[test]
fn x14_no_output_of_wrong_settings_shows_a_planted_value() {
    let upstream = Upstream::ok();
    let route = format!("uri: /a\napi_gateway:\n  function_uri: {}\n", upstream.uri("/"));
    let directory = settings(PROCESS, &[("a", &route)]);
    let (mut process, _) = Process::run(directory.path());
    let wrong = "ftp://h/?code=hush";
    let mut texts = vec![("uri", route_with("api_gateway.function_uri", wrong))];
    for (path, is_secret) in all_keys() {
        if is_secret {
            texts.push(("secret", route_with(&path, "\"hush\\u0001\"")));
        }
    }
    for (at, (name, text)) in texts.iter().enumerate() {
        let text = text.replace("/wrong", &format!("/wrong{at}"));
        fs::write(directory.path().join(format!("routes/{name}{at}.yaml")), text).unwrap();
    }
    process.says("mistakes in the settings");
    assert_hushed("/ready", &get(process.admin(), "/ready").text());
    for words in [
        &["check"][..],
        &["check", "--output", "json"],
        &["routes"],
        &["routes", "--output", "json"],
        &["explain", "GET", "/a"],
        &["explain", "GET", "/a", "--output", "json"],
    ] {
        let said = said(words, directory.path());
        assert!(said.contains("function_uri"), "{said}");
        assert_hushed(&words.join(" "), &said);
    }
    assert_hushed("the log", &process.stop());
}

/// A valid value for each secret key, by the last part of its path.
fn right(key: &str, pem: (&str, &str)) -> String {
    match key {
        "apikey" | "secretkey" | "secret_key" | "session_token" | "aws_secret" | "aws_secret_key"
        | "aws_session_token" => "hush-proof".into(),
        "external_id" | "aws_external_id" => "hush-external".into(),
        "client_certificate" | "certificate" => pem.0.into(),
        "client_key" | "key" => pem.1.into(),
        "proxy_url" => "http://hush-user:hush-word@127.0.0.1:1".into(),
        "client_context" => "{ key: hush-context }".into(),
        "tenant_id" => "hush-tenant".into(),
        "stage_variables" => "{ name: hush-variable }".into(),
        "set" => "{ X-Origin-Verify: hush-set, X-Id: 'hush {proxy}', Content-Type: hush/type }".into(),
        "add" => "{ X-Origin-Verify: hush-add, Cookie: hush=1; hush=2 }".into(),
        "body" => "{ name: [hush-body] }".into(),
        other => panic!("a new secret key: {other}"),
    }
}

/// Keys that must be set together with this one, without a host other than loopback.
fn beside(path: &str, pem: (&str, &str)) -> String {
    let (section, key) = path.rsplit_once('.').unwrap();
    let mut lines: Vec<String> = match key {
        "client_certificate" => vec![format!("client_key: {}", pem.1)],
        "client_key" => vec![format!("client_certificate: {}", pem.0)],
        "certificate" => roles_anywhere("key", pem.1),
        "key" => roles_anywhere("certificate", pem.0),
        "stage_variables" => vec!["awsgateway_compatible: true".to_owned()],
        "external_id" => vec![
            "assume_role_arn: arn:aws:iam::123456789012:role/r".to_owned(),
            "sts_endpoint_url: http://127.0.0.1:1".to_owned(),
        ],
        "aws_external_id" => vec![
            "aws_assume_role_arn: arn:aws:iam::123456789012:role/r".to_owned(),
            "aws_sts_endpoint_url: http://127.0.0.1:1".to_owned(),
        ],
        _ => Vec::new(),
    };
    let keys = match section {
        "lambda" if key == "aws_secret_key" => ["aws_access_key", "aws_secret_key"],
        "lambda" => ["aws_key", "aws_secret"],
        _ => ["accesskey", "secretkey"],
    };
    if section == "lambda" || section == "api_gateway.authorization.iam" {
        let value = |own: &str| if own == keys[0] { "AKIDEXAMPLE" } else { "hush-proof" };
        lines.extend(keys.iter().filter(|own| **own != key).map(|own| format!("{own}: {}", value(own))));
    }
    if section == "lambda" {
        lines.extend(["host: 127.0.0.1".to_owned(), "port: 1".to_owned()]);
    }
    let indent = "  ".repeat(section.split('.').count());
    let mut text: String = lines.iter().map(|line| format!("{indent}{line}\n")).collect();
    if section == "lambda.aws_roles_anywhere" {
        text.push_str("  host: 127.0.0.1\n  port: 1\n");
    }
    text
}

/// The keys of `roles_anywhere` beside certificate or key, of which this is the other.
fn roles_anywhere(other: &str, path: &str) -> Vec<String> {
    vec![
        "trust_anchor_arn: arn:aws:rolesanywhere:us-east-1:123456789012:trust-anchor/t".to_owned(),
        "profile_arn: arn:aws:rolesanywhere:us-east-1:123456789012:profile/p".to_owned(),
        "role_arn: arn:aws:iam::123456789012:role/r".to_owned(),
        format!("{other}: {path}"),
    ]
}

/// One route for each secret key, and some with references in parts of an event.
fn planted(upstream: &Upstream, pem: (&str, &str)) -> (Vec<(String, String)>, BTreeSet<String>) {
    let (mut routes, mut covered) = (Vec::new(), BTreeSet::new());
    for (at, (path, is_secret)) in all_keys().into_iter().enumerate() {
        let key = path.rsplit('.').next().unwrap().to_owned();
        if !is_secret || key == "secret_key" {
            continue;
        }
        let mut text = route_with(&path, &right(&key, pem)).replace("/wrong", &format!("/planted{at}*"));
        text += &beside(&path, pem);
        routes.push((format!("planted{at}"), text));
        covered.insert(path);
    }
    let referred = "$env://HUSH";
    routes.push((
        "event".to_owned(),
        format!(
            "uri: /event\nlambda: {{ function_name: f, aws_region: us-east-1, aws_key: a, aws_secret: b, \
             host: 127.0.0.1, port: 1, awsgateway_compatible: true, account_id: {referred}, \
             api_id: {referred}, stage: {referred} }}\n"
        ),
    ));
    routes.push((
        "text".to_owned(),
        "uri: /text\nlambda: { function_name: f, aws_region: us-east-1, aws_key: a, aws_secret: b, \
         host: 127.0.0.1, port: 1, body: '{\"name\": {\"a\": [\"hush-text\"]}}' }\n"
            .to_owned(),
    ));
    routes.push((
        "query".to_owned(),
        format!(
            "uri: /query/*\napi_gateway:\n  function_uri: {}?code=hush%20a+b&hush&name=v\n  \
             authorization: {{ iam: {{ accesskey: a, secretkey: b }} }}\n",
            upstream.uri("/")
        ),
    ));
    let headers = "{ set: { X-Amz-Verify: hush-set, X-Id: 'hush-{proxy}', X-Ref: $env://HUSH }, \
                   add: { X-Line: hush-add, Cookie: hush=1; hush=2, User-Agent: hush-agent } }";
    let function =
        "function_name: f, aws_region: us-east-1, aws_key: a, aws_secret: b, host: 127.0.0.1, port: 1";
    for (name, section) in [
        (
            "signed",
            format!(
                "api_gateway: {{ function_uri: '{}', \
                 authorization: {{ iam: {{ accesskey: a, secretkey: b }} }} }}",
                upstream.uri("/")
            ),
        ),
        ("rest", format!("lambda: {{ {function}, awsgateway_compatible: true }}")),
        (
            "http",
            format!(
                "lambda: {{ {function}, awsgateway_compatible: true, \
                 awsgateway_compatible_payload_version: 2.0 }}"
            ),
        ),
        ("forward", format!("lambda: {{ {function}, forward_request_headers: true }}")),
    ] {
        let text = format!("uri: /headers-{name}/*\nheaders: {{ request: {headers} }}\n{section}\n");
        routes.push((format!("headers-{name}"), text));
    }
    (routes, covered)
}

#[test]
fn x14_no_output_of_right_settings_shows_a_planted_value() {
    let upstream = Upstream::ok();
    let own = Authority::new("test").client("hush-caller");
    let (certificate, key) = (file(own.certificate()), file(&own.key()));
    let pem = (certificate.path().to_str().unwrap(), key.path().to_str().unwrap());
    let (routes, covered) = planted(&upstream, pem);
    assert!(covered.len() >= 17, "{covered:?}");
    let routes: Vec<(&str, &str)> = routes.iter().map(|(name, text)| (&**name, &**text)).collect();
    let collector = Upstream::ok();
    let process = format!(
        "{PROCESS}tracing:\n  sample: 1\n  otlp:\n    endpoint: '{}'\n    \
         headers: {{ authorization: hush-header }}\n",
        collector.uri("/")
    );
    let directory = settings(&process, &routes);
    let (mut process, address) = Process::listening(
        super::support::process::command("run", directory.path())
            .env("HUSH", "hush-planted")
            .env("AWS_ENDPOINT_URL_ROLESANYWHERE", "http://127.0.0.1:1"),
    );
    let said = |words: &[&str]| {
        let mut arguments = words.to_vec();
        let at = directory.path().display().to_string();
        arguments.extend(["--settings", &at]);
        let ended = end_of(binary(&arguments).env("HUSH", "hush-planted"));
        ended.output + &ended.errors
    };
    for (_, text) in &routes {
        let path = text.lines().next().unwrap().trim_start_matches("uri: ").replace('*', "x");
        get(address, &path);
        for form in ["text", "json"] {
            let explained = said(&["explain", "GET", &path, "--output", form]);
            assert_hushed(&format!("explain {path}"), &explained);
        }
    }
    assert!(format!("{:?}", upstream.received()).contains("hush"), "the query reaches the upstream");
    for words in
        [&["check"][..], &["check", "--output", "json"], &["routes"], &["routes", "--output", "json"]]
    {
        assert_hushed(&words.join(" "), &said(words));
    }
    for path in ["/ready", "/routes", "/metrics"] {
        assert_hushed(path, &get(process.admin(), path).text());
    }
    assert_hushed("the log", &process.stop());
    let spans: Vec<_> = collector.received().into_iter().map(|delivery| delivery.body).collect();
    assert_hushed("the spans", &String::from_utf8_lossy(&spans.concat()));
}
