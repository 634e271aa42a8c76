use crate::settings::route::key_source::CredentialProvider;
use std::time::Duration;

use proptest::prelude::*;
use secrecy::ExposeSecret;

use super::*;

mod plain_sentences;

const ROUTE: &str =
    "uri: /aws/*\napi_gateway:\n  function_uri: https://abc.execute-api.us-east-1.amazonaws.com/prod\n";

fn environment(variables: &[(&str, &str)]) -> Environment {
    variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn read(process: &str, routes: &[(&str, &str)], variables: &[(&str, &str)]) -> Result<Settings, Vec<String>> {
    let mut documents = vec![Document::process(process)];
    documents.extend(routes.iter().map(|(name, text)| Document::route(name, *text)));
    Settings::from_documents(&documents, &environment(variables))
        .map_err(|mistakes| mistakes.iter().map(Mistake::to_string).collect())
}

fn mistakes(process: &str, route: &str) -> Vec<String> {
    read(process, &[("hello", route)], &[]).unwrap_err()
}

fn gateway(settings: &Settings) -> &ApiGatewaySettings {
    let BackendSettings::ApiGateway(gateway) = &settings.routes[0].backend else { panic!("another backend") };
    gateway
}

#[track_caller]
fn assert_starts(mistakes: &[String], starts: &[&str]) {
    assert_eq!(mistakes.len(), starts.len(), "{mistakes:#?}");
    for (mistake, start) in mistakes.iter().zip(starts) {
        assert!(mistake.starts_with(start), "{mistake}\ndoes not start with\n{start}");
    }
}

#[test]
fn a03_missing_keys_have_apisix_defaults() {
    let route = format!("{ROUTE}  authorization:\n    iam: {{ accesskey: a, secretkey: s }}\n");
    let settings = read("", &[("hello", &route)], &[]).unwrap();
    let gateway = gateway(&settings);
    let iam = gateway.authorization.iam.as_ref().unwrap();
    assert_eq!((iam.region.as_str(), iam.service.as_str()), ("us-east-1", "execute-api"));
    let upstream = &gateway.upstream;
    let three = Duration::from_secs(3);
    assert_eq!(upstream.timeouts, Timeouts { connect: three, first_byte: three, idle: Some(three) });
    assert!(upstream.ssl_verify && upstream.keepalive);
    assert_eq!((upstream.keepalive_pool, upstream.keepalive_timeout), (5, Duration::from_mins(1)));
    assert_eq!(gateway.max_req_body_size.bytes(), 10 << 20);
    let route = &settings.routes[0];
    assert_eq!((route.id.as_str(), route.enabled, route.rule.priority), ("hello", true, 0));
}

#[test]
fn a01_keys_may_be_given_and_either_spelling_of_the_secret_is_read() {
    for spelling in ["secretkey", "secret_key"] {
        let route = format!("{ROUTE}  authorization:\n    iam: {{ accesskey: AKID, {spelling}: sec }}\n");
        let settings = read("", &[("hello", &route)], &[]).unwrap();
        let iam = gateway(&settings).authorization.iam.clone().unwrap();
        let CredentialProvider::Keys(keys) = &iam.source.origin else { panic!("no keys") };
        assert_eq!((keys.access_key_id(), keys.secret_access_key()), ("AKID", "sec"));
    }
}

#[test]
fn a02_a_key_without_its_other_half_is_a_mistake() {
    let wrong = |authorization: &str, expected: &str| {
        let route = format!("{ROUTE}  authorization: {authorization}\n");
        assert_starts(
            &mistakes("", &route),
            &[&format!("routes/hello.yaml:4: api_gateway.authorization{expected}")],
        );
    };
    wrong("{ iam: { secretkey: s } }", ".iam.accesskey: missing, but `secretkey` is set");
    wrong("{ iam: { accesskey: a } }", ".iam.secretkey: missing, but `accesskey` is set");
}

#[test]
fn iam_without_keys_uses_the_chain_and_an_empty_authorization_is_a_mistake() {
    for iam in ["iam: {}", "iam:"] {
        let route = format!("{ROUTE}  authorization:\n    {iam}\n");
        let settings = read("", &[("hello", &route)], &[]).unwrap();
        assert_eq!(
            gateway(&settings).authorization.iam.as_ref().unwrap().source.origin,
            CredentialProvider::Chain
        );
    }
    for (authorization, expected) in [
        ("{}", ": missing `apikey` or `iam`"),
        ("", ": missing `apikey` or `iam`"),
        ("{ apikey: }", ".apikey: found nothing"),
    ] {
        let route = format!("{ROUTE}  authorization: {authorization}\n");
        assert_starts(
            &mistakes("", &route),
            &[&format!("routes/hello.yaml:4: api_gateway.authorization{expected}")],
        );
    }
}

#[test]
fn a03_a_route_without_function_uri_or_with_another_type_is_a_mistake() {
    assert_starts(
        &mistakes("", "uri: /a\napi_gateway:\n  timeout: 3000\n"),
        &["routes/hello.yaml:2: api_gateway.function_uri: missing"],
    );
    assert_starts(
        &mistakes("", "uri: /a\napi_gateway:\n  function_uri: 7\n"),
        &["routes/hello.yaml:3: api_gateway.function_uri: found a number; expected a text"],
    );
}

#[test]
fn every_mistake_of_every_file_is_reported_at_once_with_its_line() {
    let process = "workers: 0\nlisten:\n  htp: 127.0.0.1:1\nlimits: { max_uri: 1GiB, body_timeout: soon }\n\
        log:\n  level: loud\n";
    let route = "uri: aws\nmethods: [GET, get]\nhosts: ['a..b']\npriority: high\napi_gateway:\n  \
        function_uri: ftp://x\n  timout: 1\n  keepalive: 'yes'\n  timeout: 10\n";
    assert_starts(
        &mistakes(process, route),
        &[
            "default.yaml:1: workers: 0 is out of range; expected 1 to 64",
            "default.yaml:3: listen.htp: unknown key; did you mean `http`?; expected one of h2c, http, \
             https, \
             proxy_protocol, trusted_ips, unix",
            "default.yaml:4: limits.body_timeout: invalid value `soon`; expected a duration",
            "default.yaml:4: limits.max_uri: 1GiB is out of range; expected 64 bytes to 16KiB",
            "default.yaml:6: log.level: unknown value `loud`; expected one of debug, error, info, off, warn",
            "routes/hello.yaml:1: uri: invalid value `aws`; expected a path that starts with `/`",
            "routes/hello.yaml:2: methods.1: invalid value `get`; expected a method in capitals",
            "routes/hello.yaml:3: hosts.0: invalid value `a..b`; expected a host name",
            "routes/hello.yaml:4: priority: found a text; expected a whole number",
            "routes/hello.yaml:6: api_gateway.function_uri: invalid value `ftp://x`; expected an http or \
             https URL",
            "routes/hello.yaml:7: api_gateway.timout: unknown key; did you mean `timeout`?",
            "routes/hello.yaml:8: api_gateway.keepalive: found a text; expected true or false",
            "routes/hello.yaml:9: api_gateway.timeout: 10ms is out of range; expected 100ms to 1day",
        ],
    );
}

#[test]
fn a_mistake_in_a_list_has_the_index_as_written_although_other_items_are_wrong_too() {
    let found = mistakes("", &ROUTE.replace("uri: /aws/*", "uris: [1, /b, 2, \"c\"]\nmethods: [{}, get]"));
    assert_starts(
        &found,
        &[
            "routes/hello.yaml:1: uris.0: found a number",
            "routes/hello.yaml:1: uris.2: found a number",
            "routes/hello.yaml:1: uris.3: invalid value `c`",
            "routes/hello.yaml:2: methods.0: found a table",
            "routes/hello.yaml:2: methods.1: invalid value `get`",
        ],
    );
    let retry = format!("{ROUTE}  retry: {{ unsafe: [late, timeout, later] }}\n");
    let start = "routes/hello.yaml:4: api_gateway.retry.unsafe";
    assert_starts(
        &mistakes("", &retry),
        &[0, 2].map(|index| format!("{start}.{index}: unknown value")).each_ref().map(String::as_str),
    );
}

#[test]
fn a_misspelled_section_is_one_mistake_and_another_unknown_key_does_not_hide_a_missing_backend() {
    for (section, nearest) in [("api_gatewy", "api_gateway"), ("lambd", "lambda")] {
        let found = mistakes("", &format!("uri: /a\n{section}: {{}}\n"));
        let start = format!("routes/hello.yaml:2: {section}: unknown key; did you mean `{nearest}`?");
        assert_starts(&found, &[&start]);
    }
    assert_starts(
        &mistakes("", "uri: /a\nmethod_s: [GET]\n"),
        &["routes/hello.yaml:1: missing backend", "routes/hello.yaml:2: method_s: unknown key"],
    );
    let process = "defaults:\n  lambd: {}\n";
    assert_starts(
        &mistakes(process, "uri: /a\n"),
        &["default.yaml:2: defaults.lambd: unknown key", "routes/hello.yaml:1: missing backend"],
    );
}

#[test]
fn an_sts_endpoint_has_a_host_and_a_port_that_is_a_number() {
    let iam = |url: &str| format!("{ROUTE}  authorization:\n    iam: {{ sts_endpoint_url: '{url}' }}\n");
    for url in
        ["http://h:x", "http://h:", "http://h:0", "http://h:65536", "http://:80", "http://u@h", "http://[h]"]
    {
        let found = mistakes("", &iam(url));
        assert_starts(
            &found,
            &["routes/hello.yaml:5: api_gateway.authorization.iam.sts_endpoint_url: invalid value"],
        );
    }
    for url in ["http://h:80", "https://sts.eu-west-1.amazonaws.com/", "http://[::1]:4566"] {
        assert!(read("", &[("hello", &iam(url))], &[]).is_ok(), "{url}");
    }
}

#[test]
fn unsafe_methods_of_a_function_are_a_mistake_even_if_null() {
    for value in ["true", "~"] {
        let lambda = "uri: /f\nlambda:\n  function_name: f\n  aws_region: us-east-1\n";
        let found = mistakes("", &format!("{lambda}  retry: {{ unsafe_methods: {value} }}\n"));
        let start =
            "routes/hello.yaml:5: lambda.retry.unsafe_methods: a function is called by the same method";
        assert_starts(&found, &[start]);
    }
}

#[test]
fn a_key_is_checked_although_a_required_key_of_its_section_is_missing() {
    let route = "uri: /a\nmax_in_flight: 0\nlambda:\n  aws_region: us-east-1\n  tenant_id: ''\n";
    assert_starts(
        &mistakes("tracing:\n  otlp:\n    timeout: 2m\n", route),
        &[
            "default.yaml:2: tracing.otlp.endpoint: missing",
            "default.yaml:3: tracing.otlp.timeout: 2m is out of range",
            "routes/hello.yaml:2: max_in_flight: 0 is out of range",
            "routes/hello.yaml:3: lambda.function_name: missing",
            "routes/hello.yaml:5: lambda.tenant_id: invalid value",
        ],
    );
}

#[test]
fn the_log_is_text_or_json_and_nothing_else() {
    let of = |format: &str| read(&format!("log: {{ format: {format} }}\n"), &[("a", ROUTE)], &[]);
    for (written, format) in [("text", LogFormat::Text), ("json", LogFormat::Json), ("~", LogFormat::Text)] {
        assert_eq!(of(written).unwrap().log.format, format);
    }
    let expected = "default.yaml:1: log.format: unknown value `xml`; expected one of json, text";
    assert_starts(&of("xml").unwrap_err(), &[expected]);
}

#[test]
fn traces_are_propagated_by_default_and_the_sample_is_a_share() {
    let of = |written: &str| read(&format!("tracing: {{ {written} }}\n"), &[("a", ROUTE)], &[]);
    assert_eq!(of("").unwrap().tracing, Tracing { propagate: true, sample: None, otlp: None });
    for (written, sample) in [("~", None), ("0", Some(0.0)), ("1", Some(1.0)), ("0.25", Some(0.25))] {
        assert_eq!(of(&format!("sample: {written}")).unwrap().tracing.sample, sample, "{written}");
    }
    for (written, problem) in [
        ("1.5", "1.5 is out of range; expected 0 to 1"),
        ("-1", "-1 is out of range; expected 0 to 1"),
        ("half", "invalid value `half`; expected a number from 0 to 1"),
        ("[]", "found a list; expected a number from 0 to 1"),
    ] {
        let expected = format!("default.yaml:1: tracing.sample: {problem}");
        assert_starts(&of(&format!("sample: {written}")).unwrap_err(), &[&expected]);
    }
    let variables =
        [("APIGW_INVOKER__TRACING__SAMPLE", "0.5"), ("APIGW_INVOKER__TRACING__PROPAGATE", "false")];
    let wrong = read("", &[("a", ROUTE)], &[("APIGW_INVOKER__TRACING__SAMPLE", "nan")]).unwrap_err();
    let expected = "environment variable APIGW_INVOKER__TRACING__SAMPLE: tracing.sample: NaN is out of \
        range; expected 0 to 1";
    assert_starts(&wrong, &[expected]);
    let settings = read("", &[("a", ROUTE)], &variables).unwrap();
    assert_eq!(settings.tracing, Tracing { propagate: false, sample: Some(0.5), otlp: None });
}

#[test]
fn a_collector_has_an_endpoint_and_samples_all_requests_by_default() {
    let of = |written: &str| read(&format!("tracing: {{ {written} }}\n"), &[("a", ROUTE)], &[]);
    let tracing = of("otlp: { endpoint: 'http://c:4318' }").unwrap().tracing;
    let otlp = tracing.otlp.unwrap();
    assert_eq!(
        (tracing.sample, &*otlp.service_name, otlp.timeout),
        (Some(1.0), "apigw-invoker", Duration::from_secs(10))
    );
    assert_eq!((&*otlp.endpoint.authority, otlp.endpoint.path.as_str()), ("c:4318", "/"));
    assert_eq!(of("sample: 0.5, otlp: { endpoint: 'http://c' }").unwrap().tracing.sample, Some(0.5));
    assert_eq!(of("otlp: ~").unwrap().tracing, Tracing::default());
    for (written, problem) in [
        ("otlp: {}", "tracing.otlp.endpoint: missing; expected where the collector takes OTLP"),
        ("otlp: { endpoint: c }", "tracing.otlp.endpoint: invalid value `c`; expected where"),
        ("otlp: { endpoint: 'http://c?a=b' }", "tracing.otlp.endpoint: invalid value `http://c?…`"),
        ("otlp: { endpoint: 'http://c', timeout: 2m }", "tracing.otlp.timeout: 2m is out of range"),
        ("otlp: { endpoint: 'http://c', headers: { host: x } }", "tracing.otlp.headers.host: cannot be set"),
        (
            "otlp: { endpoint: 'http://c/v1/traces' }",
            "tracing.otlp.endpoint: invalid value `http://c/v1/traces`",
        ),
        ("otlp: { endpoint: 'http://c', headers: { A: x, a: y } }", "tracing.otlp.headers.a: cannot be set"),
        (
            "otlp: { endpoint: 'http://c', headers: { a: Bearer $env://KEY } }",
            "tracing.otlp.headers.a: a reference in the middle of the value",
        ),
        ("otlp: { endpoint: 'http://c', headers: { 'a b': x } }", "tracing.otlp.headers.a: cannot be set"),
        (
            r#"otlp: { endpoint: 'http://c', headers: { a: "hu\nsh" } }"#,
            "tracing.otlp.headers.a: invalid value",
        ),
        (
            "otlp: { endpoint: 'http://c', ca_certificate: /x }",
            "tracing.otlp.ca_certificate: has no effect without TLS",
        ),
        ("propagate: false, otlp: { endpoint: 'http://c' }", "tracing.propagate: off, but `otlp` is set"),
    ] {
        let mistakes = of(written).unwrap_err();
        assert!(mistakes[0].starts_with(&format!("default.yaml:1: {problem}")), "{mistakes:?}");
        assert!(!mistakes[0].contains("hu\nsh"));
    }
    let headers = "otlp: { endpoint: 'http://c', headers: { Api-Key: $env://KEY } }";
    let settings = read(&format!("tracing: {{ {headers} }}\n"), &[("a", ROUTE)], &[("KEY", "hush")]).unwrap();
    let otlp = settings.tracing.otlp.as_ref().unwrap();
    assert_eq!((otlp.headers[0].0.as_str(), otlp.headers[0].1.as_bytes()), ("api-key", &b"hush"[..]));
    assert!(!format!("{settings:?}").contains("hush"));
}

#[test]
fn invalid_yaml_is_a_mistake_with_its_line_and_the_other_files_are_read_all_the_same() {
    let routes =
        [("bad", "uri: /a\n  x: [\n"), ("twice", "uri: /a\napi_gateway:\n  timeout: 1\n  timeout: 2\n")];
    assert_starts(
        &read("workers: 0\n", &routes, &[]).unwrap_err(),
        &[
            "default.yaml:1: workers: 0 is out of range",
            "routes/bad.yaml:2: not valid YAML:",
            "routes/twice.yaml:4: api_gateway.timeout: duplicate key",
        ],
    );
}

#[test]
fn variables_override_files() {
    let settings = read(
        "listen: { http: '127.0.0.1:1' }\nworkers: 1\nlog: { access: true }\n",
        &[("hello", ROUTE)],
        &[
            ("APIGW_INVOKER__LISTEN__HTTP", "127.0.0.1:2"),
            ("APIGW_INVOKER__WORKERS", "3"),
            ("APIGW_INVOKER__LOG__ACCESS", "false"),
            ("APIGW_INVOKER__LIMITS__BODY_TIMEOUT", "1s"),
            ("APIGW_INVOKER__ROUTES__HELLO__METHODS", "GET, POST"),
            ("APIGW_INVOKER__ROUTES__HELLO__API_GATEWAY__TIMEOUT", "5000"),
            ("APIGW_INVOKER_SETTINGS", "elsewhere"),
        ],
    )
    .unwrap();
    assert_eq!(settings.listen.http.port(), 2);
    assert_eq!(settings.workers, 3);
    assert!(!settings.log.access);
    assert_eq!(settings.limits.body_timeout, Duration::from_secs(1));
    assert_eq!(settings.routes[0].rule.methods.allowed().len(), 2);
    assert_eq!(gateway(&settings).upstream.timeouts.connect, Duration::from_secs(5));
}

#[test]
fn a_mistake_in_the_environment_names_the_variable() {
    let found = read(
        "",
        &[("hello", ROUTE)],
        &[("APIGW_INVOKER__LISTEM__HTTP", "x"), ("APIGW_INVOKER__WORKERS", "many")],
    )
    .unwrap_err();
    assert_starts(
        &found,
        &[
            "environment variable APIGW_INVOKER__LISTEM: listem: unknown key; did you mean `listen`?",
            "environment variable APIGW_INVOKER__WORKERS: workers: found a text; expected a whole number",
        ],
    );
}

#[test]
fn a_reference_is_read_and_never_quoted() {
    let secret = "hush-0123456789";
    let route = format!("{ROUTE}  authorization:\n    apikey: $env://KEY\n");
    let settings = read("", &[("hello", &route)], &[("KEY", secret)]).unwrap();
    assert_eq!(gateway(&settings).authorization.apikey.as_ref().unwrap().expose_secret(), secret);
    assert!(!format!("{settings:?}").contains(secret));

    let route = format!("{ROUTE}  timeout: $env://KEY\n  client_authorization: $env://KEY\n");
    let process = "listen: { http: $env://KEY }\n";
    let found = read(process, &[("hello", &route)], &[("KEY", secret)]).unwrap_err();
    assert_eq!(found.len(), 3, "{found:#?}");
    assert!(!found.concat().contains(secret), "{found:#?}");
}

#[test]
fn an_unquoted_number_is_no_secret_and_is_not_shown() {
    let route = format!("{ROUTE}  authorization:\n    apikey: 12345678901234567890\n");
    let found = mistakes("", &route);
    assert_starts(
        &found,
        &["routes/hello.yaml:5: api_gateway.authorization.apikey: found a number; expected a text (in \
             quotes"],
    );
    assert!(!found[0].contains("123"));
}

#[test]
fn a_url_with_a_password_is_refused_without_being_shown() {
    let found = mistakes("", "uri: /a\napi_gateway: { function_uri: 'https://user:hush@host/' }\n");
    assert_starts(&found, &["routes/hello.yaml:2: api_gateway.function_uri: invalid value"]);
    assert!(!found[0].contains("hush"));
}

#[test]
fn a_variable_that_is_not_set_is_named_with_key_and_line() {
    let route = format!("{ROUTE}  authorization:\n    apikey: $env://APIGW_KEY\n");
    assert_starts(
        &mistakes("", &route),
        &["routes/hello.yaml:5: api_gateway.authorization.apikey: the environment variable APIGW_KEY is \
             not set"],
    );
}

#[test]
fn defaults_apply_to_each_route_and_its_own_keys_win() {
    let process = "defaults:\n  api_gateway:\n    timeout: 10s\n    authorization: { apikey: k }\n";
    let route = format!("{ROUTE}  timeout: 1s\n");
    let settings = read(process, &[("a", ROUTE), ("b", &route.replace("/aws", "/b"))], &[]).unwrap();
    let of = |index: usize| {
        let BackendSettings::ApiGateway(gateway) = &settings.routes[index].backend else { panic!("another") };
        (gateway.upstream.timeouts.connect, gateway.authorization.apikey.is_some())
    };
    assert_eq!(of(0), (Duration::from_secs(10), true));
    assert_eq!(of(1), (Duration::from_secs(1), true));
    let found = read("defaults:\n  api_gateway:\n    timout: 10s\n", &[("a", ROUTE)], &[]).unwrap_err();
    assert_starts(
        &found,
        &["default.yaml:3: defaults.api_gateway.timout: unknown key; did you mean `timeout`?"],
    );
}

#[test]
fn the_time_limits_of_single_phases_go_before_the_common_one() {
    let route = format!("{ROUTE}  timeout: 5s\n  connect_timeout: 1s\n  idle_timeout: 30s\n");
    let settings = read("", &[("hello", &route)], &[]).unwrap();
    let seconds = Duration::from_secs;
    assert_eq!(
        gateway(&settings).upstream.timeouts,
        Timeouts { connect: seconds(1), first_byte: seconds(5), idle: Some(seconds(30)) }
    );
}

#[test]
fn by_default_calls_are_retried_once_and_only_where_it_is_safe() {
    let settings = read("", &[("hello", ROUTE)], &[]).unwrap();
    let upstream = &gateway(&settings).upstream;
    let expected = RetrySettings {
        attempts: 2,
        backoff: Duration::from_millis(50),
        max_backoff: Duration::from_secs(1),
        budget: 20,
        accepted: MayHaveRun::default(),
        any_method: false,
    };
    assert_eq!(upstream.retry, expected);
    assert_eq!((upstream.circuit_breaker, upstream.request_timeout), (None, None));
    assert_eq!(settings.routes[0].max_in_flight, None);
}

#[test]
fn retries_circuit_breaker_and_limits_are_configurable() {
    let route = format!(
        "max_in_flight: 7\n{ROUTE}  request_timeout: 30s\n  retry: {{ attempts: 10, backoff: 2s, budget: 0, \
         unsafe: [timeout, connection_lost], unsafe_methods: true }}\n  circuit_breaker: {{ open_for: 1m }}\n"
    );
    let settings = read("", &[("hello", &route)], &[]).unwrap();
    let upstream = &gateway(&settings).upstream;
    let seconds = Duration::from_secs;
    let expected = RetrySettings {
        attempts: 10,
        backoff: seconds(2),
        // at least `backoff`
        max_backoff: seconds(2),
        budget: 0,
        accepted: MayHaveRun { connection_lost: true, unavailable: false, timeout: true },
        any_method: true,
    };
    assert_eq!(upstream.retry, expected);
    let breaker = CircuitBreakerSettings { failures: 5, open_for: seconds(60) };
    assert_eq!((upstream.circuit_breaker, upstream.request_timeout), (Some(breaker), Some(seconds(30))));
    assert_eq!(settings.routes[0].max_in_flight, Some(7));
}

#[test]
fn a_route_turns_off_defaults() {
    let process = "defaults:\n  api_gateway:\n    request_timeout: 1s\n    \
        circuit_breaker: { failures: 3 }\n    retry: { attempts: 5, unsafe: [timeout] }\n";
    let off =
        "  request_timeout: 0\n  circuit_breaker: { failures: 0 }\n  retry: { attempts: 1, unsafe: [] }\n";
    let off = format!("{}{off}", ROUTE.replace("/aws", "/b"));
    let settings = read(process, &[("a", ROUTE), ("b", &off)], &[]).unwrap();
    let of = |index: usize| {
        let upstream = settings.routes[index].backend.upstream();
        let opens_after = upstream.circuit_breaker.map(|breaker| breaker.failures);
        (upstream.request_timeout, opens_after, upstream.retry.attempts, upstream.retry.accepted.timeout)
    };
    assert_eq!(of(0), (Some(Duration::from_secs(1)), Some(3), 5, true));
    assert_eq!(of(1), (None, None, 1, false));
}

#[test]
fn values_out_of_range_of_retries_and_circuit_breaker_are_mistakes() {
    for (keys, start) in [
        ("retry: { attempts: 0 }", "retry.attempts: 0 is out of range; expected 1 to 10"),
        ("retry: { attempts: 11 }", "retry.attempts: 11 is out of range"),
        ("retry: { backoff: 0 }", "retry.backoff: 0s is out of range; expected 1ms to 1day"),
        (
            "retry: { max_backoff: 10 }",
            "retry.max_backoff: shorter than `backoff`; expected `backoff` or more",
        ),
        ("retry: { budget: 901 }", "retry.budget: 901 is out of range; expected 0 to 900"),
        ("retry: { unsafe: [late] }", "retry.unsafe.0: unknown value `late`"),
        ("retry: { unsafe: timeout }", "retry.unsafe: found a text; expected a list"),
        ("retry: { attemts: 2 }", "retry.attemts: unknown key; did you mean `attempts`?"),
        ("retry: 3", "retry: found a number; expected a table about retries"),
        ("circuit_breaker: { failures: 10001 }", "circuit_breaker.failures: 10001 is out of range"),
        (
            "circuit_breaker: { open_for: 10 }",
            "circuit_breaker.open_for: 10ms is out of range; expected 100ms",
        ),
        ("circuit_breaker: true", "circuit_breaker: found true or false; expected a table with `failures`"),
        ("request_timeout: 50", "request_timeout: too short; expected at least 100ms, or 0 for none"),
        ("request_timeout: 25h", "request_timeout: 1day 1h is out of range"),
    ] {
        let found = mistakes("", &format!("{ROUTE}  {keys}\n"));
        assert_starts(&found, &[&format!("routes/hello.yaml:4: api_gateway.{start}")]);
    }
    let found = mistakes("", &format!("max_in_flight: 0\n{ROUTE}"));
    assert_starts(&found, &["routes/hello.yaml:1: max_in_flight: 0 is out of range; expected 1 to 1000000"]);
}

#[test]
fn routes_that_match_the_same_requests_are_a_mistake_that_names_both() {
    let found = read("", &[("a", ROUTE), ("b", ROUTE)], &[]).unwrap_err();
    assert_starts(
        &found,
        &["routes/b.yaml:1: uri: matches the same requests as routes/a.yaml: any method /aws/* with \
             priority 0"],
    );
    let disabled = format!("enabled: false\n{ROUTE}");
    assert!(read("", &[("a", ROUTE), ("b", &disabled)], &[]).is_ok());
}

#[test]
fn ids_are_unique_and_fit_for_a_log_line() {
    let same = format!("id: a\n{}", ROUTE.replace("/aws", "/b"));
    let found = read("", &[("a", ROUTE), ("b", &same)], &[]).unwrap_err();
    assert_starts(&found, &["routes/b.yaml:1: id: duplicate id `a`, also used by routes/a.yaml"]);
    let found = mistakes("", &format!("id: a b\n{ROUTE}"));
    assert_starts(&found, &["routes/hello.yaml:1: id: invalid value `a b`"]);
    // the metrics use this label for requests without a route, and Prometheus refuses duplicates
    let found = mistakes("", &format!("id: '-'\n{ROUTE}"));
    assert_starts(&found, &["routes/hello.yaml:1: id: invalid value `-`"]);
}

#[test]
fn a_route_needs_a_uri_and_a_backend_and_not_two_kinds_of_uri() {
    assert_starts(
        &mistakes("", "priority: 1\n"),
        &["routes/hello.yaml:1: missing path", "routes/hello.yaml:1: missing backend"],
    );
    assert_starts(
        &mistakes("", &format!("uris: [/b]\n{ROUTE}")),
        &["routes/hello.yaml:1: uris: conflicts with `uri`; expected one of the two"],
    );
}

#[test]
fn no_route_at_all_is_a_mistake() {
    assert_starts(
        &read("", &[], &[]).unwrap_err(),
        &["routes: there is no route; expected at least one file"],
    );
}

#[test]
fn a_body_limit_above_the_process_limit_is_a_mistake() {
    let route = format!("{ROUTE}  max_req_body_size: 20MiB\n");
    let found = mistakes("limits: { max_request_body: 10MiB }\n", &route);
    assert_starts(
        &found,
        &["routes/hello.yaml:4: api_gateway.max_req_body_size: exceeds `limits.max_request_body`; expected \
             at most 10MiB"],
    );
}

#[test]
fn a_section_that_is_empty_or_of_another_type_is_read_or_reported() {
    assert!(read("listen:\nlimits:\n", &[("hello", ROUTE)], &[]).is_ok());
    let found = mistakes("limits: 7\nlisten: [a]\n", ROUTE);
    assert_starts(
        &found,
        &[
            "default.yaml:1: limits: found a number; expected a table of limits",
            "default.yaml:2: listen: found a list; expected a table of listeners",
        ],
    );
}

#[test]
fn a_ca_certificate_without_a_file_is_a_mistake() {
    let route = format!("{ROUTE}  ca_certificate: /nowhere/ca.pem\n");
    assert_starts(
        &mistakes("", &route),
        &["routes/hello.yaml:4: api_gateway.ca_certificate: /nowhere/ca.pem:"],
    );
}

#[test]
fn k40_a_proxy_is_reached_by_http_and_its_url_is_never_shown() {
    for url in ["https://hush:hush@proxy:3128", "ftp://hush", "wss://hush@h", "hush:3128"] {
        let found = mistakes("", &format!("{ROUTE}  proxy_url: {url}\n"));
        let start =
            "routes/hello.yaml:4: api_gateway.proxy_url: proxy_url scheme must be http; expected http://";
        assert_starts(&found, &[start]);
        assert!(!found[0].contains("hush"), "{found:?}");
    }
    for url in
        ["http://hush:99999", "http://hush%zz@h", "http://u:hush@h/path", "''", "[hush]", "{ a: hush }"]
    {
        let found = mistakes("", &format!("{ROUTE}  proxy_url: {url}\n"));
        assert_starts(&found, &["routes/hello.yaml:4: api_gateway.proxy_url: "]);
        assert!(!found[0].contains("hush"), "{found:?}");
    }
    let route = format!("{ROUTE}  proxy_url: $env://PROXY\n");
    let settings = read("", &[("hello", &route)], &[("PROXY", "http://u:hush@proxy:3128")]).unwrap();
    let proxy = gateway(&settings).upstream.proxy.proxy().unwrap();
    assert_eq!((proxy.to_string().as_str(), proxy.authorization.is_some()), ("proxy:3128", true));
    assert!(!format!("{settings:?}").contains("hush"));
    let without = read("", &[("hello", ROUTE)], &[]).unwrap();
    assert_eq!(gateway(&without).upstream.proxy.proxy(), None);
}

proptest! {
    /// Reading any text ends with settings or mistakes.
    #[test]
    fn no_text_makes_reading_panic_or_hang(text in "[a-z_:{}\\[\\]\\-\n \"$/*0-9&]{0,120}") {
        let _ = read(&text, &[("hello", &text)], &[]);
    }

    #[test]
    fn known_keys_with_any_values_end_with_settings_or_mistakes(
        keys in prop::collection::vec(
            (
                prop::sample::select(vec![
                    "uri", "uris", "hosts", "methods", "priority", "enabled", "api_gateway", "id", "x",
                ]),
                prop::sample::select(vec![
                    "1", "-1", "text", "[]", "{}", "[1, {}]", "{ a: 1 }", "null", "true", "1.5", "/a", "[/a]",
                ]),
            ),
            0..6,
        )
    ) {
        let text: String = keys.iter().map(|(key, value)| format!("{key}: {value}\n")).collect();
        let _ = read("", &[("hello", &text)], &[]);
    }
}
