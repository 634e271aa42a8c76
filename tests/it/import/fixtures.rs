//! Files of every program and version: what becomes of them, and that the result is valid.

use std::fs;

use serde_json::Value;

use super::{SECRET, Target, fixture, of_report, texts};

/// Files of one import, the exit code, the routes that are written and those that are not.
type Case = (&'static [&'static str], i32, &'static [&'static str], &'static [&'static str]);

#[rustfmt::skip]
const CASES: &[Case] = &[
    (&["kong/ten-routes.yaml"], 0,
        &["avatars", "health", "jobs", "jobs-dry", "order", "orders-create", "orders-list", "reports",
            "users"], &[]),
    (&["kong/placeholders.yaml"], 0, &["lambda1"], &[]),
    (&["kong/service-references.yaml"], 0, &["lambda1"], &[]),
    (&["kong/every-parameter.yaml"], 0, &["all"], &[]),
    (&["kong/dump-routes.json", "kong/dump-plugins.json", "kong/dump-services.json"], 0, &["invoices"], &[]),
    (&["kong/apis.json"], 0, &["hello", "proto"], &[]),
    (&["kong/expressions-2.yaml"], 3, &["below", "exact", "literal", "template"], &["digits", "either"]),
    (&["kong/expressions-3.yaml"], 3, &["exact", "literal", "optional", "rest", "slash"], &["dot"]),
    (&["kong/conditions.yaml"], 3, &["fine"],
        &["by-header", "by-sni", "by-source", "by-expression", "right-wildcard"]),
    (&["kong/precedence.yaml"], 0,
        &["disabled-at-route", "of-all", "of-both", "of-route", "of-service"], &[]),
    (&["kong/deck.yaml"], 0, &["deck"], &[]),
    (&["kong/vaults.yaml"], 0, &["of-aws", "of-env", "of-hcv"], &[]),
    (&["kong/services-with-paths.yaml"], 0,
        &["kept", "kept-root", "kept-two", "stripped", "stripped-root", "whole"], &[]),
    (&["kong/clash.yaml"], 3, &["FIRST-2", "Gr-e", "etc-evil", "first"],
        &["second", "key-alone", "no-function"]),
    (&["kong/commands.sh"], 0, &["lambda1"], &[]),
    (&["apisix/trailing-comma.json"], 0, &["aws"], &[]),
    (&["apisix/list.json"], 0, &["aws", "url"], &[]),
    (&["apisix/nodes.json"], 0, &["orders"], &[]),
    (&["apisix/standalone.yaml"], 0, &["hello", "route"], &[]),
    (&["apisix/adc.yaml"], 0, &["aws-lambda-route"], &[]),
    (&["apisix/every-parameter.yaml"], 0, &["all"], &[]),
    (&["apisix/plugin-config.yaml"], 0, &["lost", "of-config", "of-route", "of-service"], &[]),
    (&["apisix/conditions.yaml"], 3, &["parameters"],
        &["vars", "addresses", "filter", "meta", "script", "middle", "huge", "no-uri"]),
    (&["apisix/commands.sh"], 0, &["aws"], &[]),
    (&["apisix/ingress-controller.yaml"], 3, &["aws-lambda-route", "of-gateway", "of-gateway-2"],
        &["by-argument"]),
    (&["sigv4-proxy/docker-run.sh"], 0, &["aws-sigv4-proxy"], &[]),
    (&["sigv4-proxy/any-host.sh"], 0, &["aws-sigv4-proxy"], &[]),
    (&["sigv4-proxy/sign-host.sh"], 0, &["aws-sigv4-proxy"], &[]),
    (&["sigv4-proxy/deployment.yaml"], 0, &["prometheus-writer"], &[]),
    (&["sigv4-proxy/every-flag.yaml"], 0, &["all"], &[]),
    (&["sigv4-proxy/compose.yaml"], 0, &["signer"], &[]),
    (&["sigv4-proxy/task.json"], 0, &["sigv4"], &[]),
    (&["sigv4-proxy/injected.yaml"], 0, &["sleep"], &[]),
    (&["sigv4-proxy/variables.yaml"], 0, &["prometheus-proxy"], &[]),
    (&["sigv4-proxy/unknown-host.sh"], 3, &[], &["aws-sigv4-proxy"]),
    (&["envoy/passthrough.yaml"], 3, &["functions-1", "functions-3"], &["functions-2"]),
    (&["envoy/signing.yaml"], 3, &["objects"], &["four-a"]),
    (&["envoy/cluster-filter.json"], 0, &["api-1", "api-2"], &[]),
    (&["envoy/free-names.yaml"], 0, &["default", "own"], &[]),
    (&["envoy/config-dump.json"], 0, &["orders"], &[]),
];

fn names(report: &Value, is_translated: bool) -> Vec<String> {
    let routes = report["routes"].as_array().unwrap().iter();
    let routes = routes.filter(|route| route["translated"] == is_translated);
    routes.map(|route| route["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn every_file_is_imported_and_what_is_written_passes_check_and_shows_no_secret() {
    for (files, code, written, refused) in CASES {
        let target = Target::new();
        let paths: Vec<_> = files.iter().map(|name| fixture(name)).collect();
        let report = target.import(&paths, *code);
        assert_eq!(names(&report, false), *refused, "{files:?}");
        let mut expected: Vec<String> = written.iter().map(|name| format!("{name}.yaml")).collect();
        expected.sort();
        assert_eq!(target.routes(), expected, "{files:?}");
        target.fill_secrets(&report);
        if !written.is_empty() {
            let checked = target.check();
            assert_eq!(checked.code, Some(0), "{files:?}: {checked:?}\n{}", target.route(written[0]));
        }
        for name in *written {
            let text = target.route(name);
            assert!(!text.contains(SECRET), "{files:?}: {text}");
        }
        assert!(!report.to_string().contains(SECRET), "{files:?}: {report:#}");
    }
}

#[test]
fn the_report_in_every_form_shows_no_secret_and_names_each_route() {
    for (files, code, written, refused) in CASES {
        for format in ["text", "markdown"] {
            let target = Target::new();
            let paths: Vec<_> = files.iter().map(|name| fixture(name)).collect();
            let ended = super::end_of(target.command(&paths).args(["--report", format]));
            assert_eq!((ended.code, ended.errors.as_str()), (Some(*code), ""), "{files:?}: {ended:?}");
            assert!(!ended.output.contains(SECRET), "{files:?}: {}", ended.output);
            for name in written.iter().chain(*refused) {
                assert!(ended.output.contains(name), "{files:?}: no {name} in {}", ended.output);
            }
        }
    }
}

#[test]
fn every_fixture_is_a_case() {
    let known: Vec<_> = CASES.iter().flat_map(|(files, ..)| files.iter()).map(|name| fixture(name)).collect();
    let mut found = 0;
    for program in ["kong", "apisix", "sigv4-proxy", "envoy"] {
        for entry in fs::read_dir(fixture(program)).unwrap() {
            let path = entry.unwrap().path();
            assert!(known.contains(&path), "{}", path.display());
            found += 1;
        }
    }
    assert!(found >= 35, "{found}");
}

/// The report and the target of one fixture.
#[track_caller]
fn imported(name: &str, code: i32) -> (Target, Value) {
    let target = Target::new();
    let report = target.import(&[fixture(name)], code);
    (target, report)
}

/// Lines of a file without comments.
fn keys(text: &str) -> String {
    text.lines().filter(|line| !line.trim_start().starts_with('#')).map(|line| format!("{line}\n")).collect()
}

#[test]
fn a_route_of_kong_is_written_with_the_plugins_keys_that_are_not_defaults() {
    let (target, _) = imported("kong/ten-routes.yaml", 0);
    let secrets = target.secrets();
    let secrets = secrets.display();
    assert_eq!(
        keys(&target.route("orders-list")),
        format!(
            "uri: /orders*\nmethods: [GET]\nstrip_path: true\nlambda:\n  function_name: orders\n  \
             aws_region: eu-central-1\n  aws_key: $file://{secrets}/orders-list.aws_key\n  \
             aws_secret: $file://{secrets}/orders-list.aws_secret\n  timeout: 10000\n  \
             awsgateway_compatible: true\n  is_proxy_integration: true\n  base64_encode_body: true\n"
        )
    );
    assert!(!target.route("orders-create").contains("strip_path"));
    assert!(target.route("order").contains("uri: \"/orders/{id}\"\n"), "{}", target.route("order"));
    let users = target.route("users");
    assert!(users.contains("rewrite: /v2\n") && !users.contains("strip_path"), "{users}");
    let avatars = target.route("avatars");
    assert!(
        avatars.contains("uri: /avatars/*\nhosts: [\"*.img.example.com\", img.example.com]\n"),
        "{avatars}"
    );
    assert!(target.route("jobs").contains("invocation_type: Event\n"));
    let reports = target.route("reports");
    assert!(reports.contains("uris: [/reports*, /r*]\n"), "{reports}");
}

#[test]
fn equal_secrets_share_a_file_that_only_its_owner_may_read() {
    use std::os::unix::fs::PermissionsExt as _;
    let (target, report) = imported("kong/ten-routes.yaml", 0);
    let files: Vec<_> = fs::read_dir(target.secrets()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 2, "{files:?}");
    assert_eq!(report["secrets"].as_array().unwrap().len(), 2);
    for file in files {
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "{}", file.display());
        assert!(fs::read_to_string(file).unwrap().starts_with(SECRET));
    }
    assert_eq!(fs::metadata(target.secrets()).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn every_plugin_and_route_that_is_left_out_is_named() {
    let (_, report) = imported("kong/ten-routes.yaml", 0);
    let left_out = texts(&report["left_out"]);
    for part in ["route `plain`", "plugin `prometheus` of all routes", "plugin `cors` of all routes"] {
        assert!(left_out.contains(part), "{part} is not in {left_out}");
    }
    assert!(texts(&of_report(&report, "orders-list")["left_out"]).contains("plugin `key-auth`"));
    assert!(texts(&of_report(&report, "users")["left_out"]).contains("plugin `rate-limiting`"));
    let (_, report) = imported("kong/precedence.yaml", 0);
    let left_out = texts(&report["left_out"]);
    for part in
        ["consumers (1)", "of a consumer", "plugin `aws-lambda` of `alice`", "not in the files", "disabled"]
    {
        assert!(left_out.contains(part), "{part} is not in {left_out}");
    }
    let (_, report) = imported("apisix/standalone.yaml", 0);
    let left_out = texts(&report["left_out"]);
    for part in ["/off", "upstreams (1)", "plugin `prometheus` of a global rule"] {
        assert!(left_out.contains(part), "{part} is not in {left_out}");
    }
    let of_route = texts(&of_report(&report, "hello")["left_out"]);
    assert!(of_route.contains("serverless-pre-function") && of_route.contains("request-id"), "{of_route}");
    let (_, report) = imported("envoy/signing.yaml", 3);
    let left_out = texts(&report["left_out"]);
    for part in ["filter `envoy.filters.http.lua`", "route `open`", "route `redirected`"] {
        assert!(left_out.contains(part), "{part} is not in {left_out}");
    }
}

#[test]
fn the_most_specific_plugin_wins_and_a_disabled_one_counts_for_nothing() {
    let (target, _) = imported("kong/precedence.yaml", 0);
    for (route, function) in [
        ("of-service", "of-service"),
        ("of-route", "of-route"),
        ("disabled-at-route", "of-service"),
        ("of-both", "of-both"),
        ("of-all", "of-all"),
    ] {
        let text = target.route(route);
        assert!(text.contains(&format!("function_name: {function}\n")), "{route}: {text}");
    }
    let (target, _) = imported("apisix/plugin-config.yaml", 0);
    for (route, uri) in [("of-config", "shared"), ("of-service", "svc"), ("of-route", "route")] {
        let text = target.route(route);
        assert!(text.contains(&format!("function_uri: https://{uri}.example/x\n")), "{route}: {text}");
        assert!(text.contains("hosts: [svc.example.com]\n"), "{route}: {text}");
    }
}

#[test]
fn parameters_out_of_range_or_without_a_key_are_reported() {
    let (target, report) = imported("kong/every-parameter.yaml", 0);
    let route = of_report(&report, "all");
    let (changed, left_out) = (texts(&route["changed"]), texts(&route["left_out"]));
    for part in ["config.timeout", "config.unhandled_status", "regex_priority"] {
        assert!(changed.contains(part), "{part} is not in {changed}");
    }
    for part in ["config.new_parameter", "config.proxy_scheme", "protocols"] {
        assert!(left_out.contains(part), "{part} is not in {left_out}");
    }
    let text = target.route("all");
    for line in [
        "qualifier: live",
        "aws_assume_role_arn: \"arn:aws:iam::123456789012:role/invoker\"",
        "aws_role_session_name: gateway",
        "host: lambda.internal.example",
        "port: 8443",
        "log_type: None",
        "timeout: 100",
        "keepalive: 30000",
        "unhandled_status: 200",
        "forward_request_method: true",
        "forward_request_uri: true",
        "forward_request_headers: true",
        "forward_request_body: true",
        "base64_encode_body: false",
        "empty_arrays_mode: legacy",
        "preserve_lambda_api_error_code: true",
    ] {
        let plain = line.replace('"', "");
        assert!(text.contains(line) || text.contains(&plain), "{line} is not in {text}");
    }
    assert!(text.contains("proxy_url: $file://"), "{text}");
    let (target, _) = imported("apisix/every-parameter.yaml", 0);
    let text = target.route("all");
    for line in [
        "timeout: 5000",
        "ssl_verify: false",
        "keepalive: false",
        "keepalive_timeout: 1000",
        "keepalive_pool: 9",
        "max_req_body_size: 1048576",
        "aws_region: eu-west-1",
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
}

#[test]
fn placeholders_are_named_as_what_they_are() {
    let (target, report) = imported("kong/placeholders.yaml", 0);
    let to_do = texts(&of_report(&report, "lambda1")["to_do"]);
    assert!(
        to_do.contains("`{some user key}` is a placeholder of a document, and a table to YAML"),
        "{to_do}"
    );
    assert!(!target.secrets().exists());
    assert_eq!(report["secrets"][0]["written"], false);
    let (_, report) = imported("kong/service-references.yaml", 0);
    let to_do = texts(&of_report(&report, "lambda1")["to_do"]);
    for part in
        ["looks like a placeholder", "config.aws_region", "`LAMBDA_FUNCTION_NAME` looks like a placeholder"]
    {
        assert!(to_do.contains(part), "{part} is not in {to_do}");
    }
}

#[test]
fn references_that_settings_have_too_are_kept() {
    let (target, report) = imported("kong/vaults.yaml", 0);
    assert!(target.route("of-env").contains("aws_key: \"{vault://env/lambda-key}\"\n"));
    assert!(target.route("of-aws").contains("aws_key: \"{vault://aws/lambda/key?region=eu-west-1}\"\n"));
    let to_do = texts(&of_report(&report, "of-hcv")["to_do"]);
    assert!(to_do.contains("not supported here"), "{to_do}");
    let (target, _) = imported("kong/deck.yaml", 0);
    let text = target.route("deck");
    for line in ["aws_key: $env://DECK_AWS_KEY\n", "enabled: false\n", "payload_version: \"2.0\"\n"] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
    let (target, _) = imported("apisix/nodes.json", 0);
    assert!(target.route("orders").contains("apikey: $env://ORDERS_KEY\n"));
}

#[test]
fn the_flags_of_aws_sigv4_proxy_become_keys() {
    let (target, report) = imported("sigv4-proxy/every-flag.yaml", 0);
    let text = target.route("all");
    for line in [
        "uri: /*\n",
        "remove: [Accept, Cookie]\n",
        "Accept: text/plain\n",
        "X-Env: $file://",
        "apikey: $file://",
        "function_uri: https://bucket.s3.eu-central-1.amazonaws.com\n",
        "aws_region: eu-central-1\n",
        "service: s3\n",
        "payload: unsigned\n",
        "keepalive_timeout: 1m 30s\n",
        "ssl_verify: false\n",
        "assume_role_arn: ",
    ] {
        assert!(text.contains(line) || text.replace('"', "").contains(line), "{line} is not in {text}");
    }
    let process = fs::read_to_string(target.settings().join("default.yaml")).unwrap();
    assert!(process.contains("http: 127.0.0.1:9999\n"), "{process}");
    let route = of_report(&report, "all");
    assert_eq!(route["flags"].as_array().unwrap().len(), 14, "{:#}", route["flags"]);
    assert!(texts(&route["left_out"]).contains("--future-flag"));
    let (target, _) = imported("sigv4-proxy/sign-host.sh", 0);
    let text = target.route("aws-sigv4-proxy").replace('"', "");
    for line in [
        "function_uri: https://eu-west-1.es.amazonaws.com\n",
        "address: host.docker.internal:4443\n",
        "sni: host.docker.internal\n",
        "service: es\n",
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
    let (target, _) = imported("sigv4-proxy/docker-run.sh", 0);
    assert!(target.route("aws-sigv4-proxy").contains("accesskey: $file://"));
    let process = fs::read_to_string(target.settings().join("default.yaml")).unwrap();
    assert!(process.contains("127.0.0.1:8081"), "{process}");
    let (target, _) = imported("sigv4-proxy/task.json", 0);
    assert!(target.route("sigv4").contains("service: es\n"));
}

#[test]
fn filters_of_envoy_become_routes() {
    let (target, report) = imported("envoy/passthrough.yaml", 3);
    let text = target.route("functions-1").replace('"', "");
    for line in [
        "uri: /async*\n",
        "function_name: arn:aws:lambda:us-west-2:987654321000:function:later:live\n",
        "invocation_type: Event\n",
        "log_type: None\n",
        "aws_key: $file://",
        "request_timeout: 30000\n",
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
    let problems = of_report(&report, "functions-2")["problems"].to_string();
    assert!(problems.contains("payload_passthrough: false"), "{problems}");
    let (target, _) = imported("envoy/signing.yaml", 3);
    let text = target.route("objects").replace('"', "");
    for line in [
        "uri: /objects/*\n",
        "hosts: [static.example.com]\n",
        "methods: [GET]\n",
        "function_uri: https://bucket.s3.ap-northeast-1.amazonaws.com\n",
        "address: s3.ap-northeast-1.amazonaws.com\n",
        "service: s3\n",
        "payload: unsigned\n",
        "session_token: $file://",
        "request_timeout: 15000\n",
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
    let (target, _) = imported("envoy/cluster-filter.json", 0);
    let text = target.route("api-2").replace('"', "");
    for line in [
        "uri: /api*\n",
        "function_uri: https://x9.execute-api.us-east-1.amazonaws.com/api\n",
        "address: vpce-1.execute-api.us-east-1.vpce.amazonaws.com\n",
        "assume_role_arn: arn:aws:iam::123456789012:role/api\n",
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
}

#[test]
fn differences_that_concern_a_route_are_reported_and_others_are_not() {
    let (_, report) = imported("kong/ten-routes.yaml", 0);
    let topics = |name: &str| -> String {
        let differences = of_report(&report, name)["differences"].as_array().unwrap();
        differences.iter().map(|row| format!("{}\n", row["topic"].as_str().unwrap())).collect()
    };
    let gateway = topics("orders-list");
    assert!(gateway.contains("TLS to AWS") && gateway.contains("absent maps of payload 1.0"), "{gateway}");
    assert!(
        !gateway.contains("body that cannot be merged") && !gateway.contains("disable_https"),
        "{gateway}"
    );
    let merge = topics("jobs");
    assert!(merge.contains("body that cannot be merged") && !merge.contains("payload 1.0"), "{merge}");
    let tls = &of_report(&report, "jobs")["differences"]
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["topic"] == "TLS to AWS");
    assert_eq!(tls.unwrap()["keep"], "ssl_verify: false");
}
