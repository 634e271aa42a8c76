//! Tests of the section `lambda`, with the cases of Kong's plugin.

use std::collections::BTreeMap;

use super::*;
use crate::settings::{BackendSettings, Document, EndpointVariant, Environment, Settings};
use crate::settings::{CredentialProvider, MetadataProtocol};

fn read_in(environment: &[(&str, &str)], keys: &str) -> Result<LambdaSettings, String> {
    let keys: String = keys.lines().map(|line| format!("  {line}\n")).collect();
    let documents =
        [Document::process(String::new()), Document::route("f", format!("uri: /f*\nlambda:\n{keys}"))];
    let environment: Environment =
        environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let settings =
        Settings::from_documents(&documents, &environment).map_err(|mistakes| mistakes.to_string())?;
    let BackendSettings::Lambda(lambda) = &settings.routes[0].backend else {
        return Err("another backend".to_owned());
    };
    Ok((**lambda).clone())
}

#[track_caller]
fn right(keys: &str) -> LambdaSettings {
    read_in(&[], keys).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

#[track_caller]
fn assert_wrong(keys: &str, parts: &[&str]) {
    let mistakes = read_in(&[], keys).expect_err(keys);
    for part in parts {
        assert!(mistakes.contains(part), "{part:?} is not in\n{mistakes}");
    }
    assert!(mistakes.contains("1 mistake in"), "{mistakes}");
}

const NAMED: &str = "function_name: f\naws_region: us-east-1\n";

fn named(more: &str) -> String {
    format!("{NAMED}{more}")
}

#[test]
fn a_name_and_a_region_are_enough_and_the_rest_is_kongs_defaults() {
    let lambda = right(NAMED);
    assert_eq!(lambda.endpoint.authority(), "lambda.us-east-1.amazonaws.com");
    assert_eq!((lambda.endpoint.scheme, lambda.endpoint.port), (Scheme::Https, 443));
    assert_eq!(lambda.invocation_type, InvocationType::RequestResponse);
    assert_eq!(lambda.log_type, LogType::Tail);
    assert_eq!(lambda.upstream.timeouts.first_byte.as_secs(), 60);
    assert_eq!(lambda.upstream.keepalive_timeout.as_secs(), 60);
    assert!(lambda.upstream.ssl_verify && lambda.upstream.keepalive);
    assert_eq!(lambda.payload, PayloadSettings::Merge { body: None });
    let answer = lambda.answer;
    assert!(!answer.is_proxy_integration && !answer.preserve_lambda_api_error_code);
    assert_eq!((answer.unhandled_status, answer.empty_arrays_mode), (None, EmptyArraysMode::Correct));
    assert_eq!((&lambda.source.origin, &lambda.source.role), (&CredentialProvider::Chain, &None));
}

#[test]
fn k38_a_key_without_its_secret_is_a_mistake_that_names_what_is_missing() {
    assert_wrong(
        &named("aws_key: a"),
        &["lambda.aws_secret: missing", "all or none of aws_key and aws_secret"],
    );
    assert_wrong(&named("aws_secret: s"), &["lambda.aws_key: missing"]);
    let neither = read_in(&[], &named("aws_session_token: t")).unwrap_err();
    for missing in ["lambda.aws_key: missing", "lambda.aws_secret: missing"] {
        assert!(neither.contains(missing), "{neither}");
    }
    assert_wrong(&named("aws_key: ''\naws_secret: s"), &["lambda.aws_key: empty"]);
}

#[test]
fn k39_neither_is_valid_and_takes_the_chain_or_a_profile() {
    let lambda = right(&named("aws_profile: team\naws_imds_protocol_version: v1"));
    assert_eq!(lambda.source.origin, CredentialProvider::Profile("team".into()));
    assert_eq!(lambda.source.metadata, MetadataProtocol::V1);
    let own = right(&named("aws_key: own\naws_secret: s"));
    assert!(matches!(&own.source.origin, CredentialProvider::Keys(keys) if keys.access_key_id() == "own"));
    assert_wrong(
        &named("aws_key: a\naws_secret: s\naws_profile: p"),
        &["lambda.aws_profile: conflicts with `aws_key`"],
    );
    assert_wrong(&named("aws_key:"), &["lambda.aws_key: found nothing"]);
}

#[test]
fn a_role_is_assumed_with_kongs_session_name_on_whatever_keys_there_are() {
    let arn = "aws_assume_role_arn: arn:aws:iam::123456789012:role/path/caller";
    let more = "aws_external_id: id-1\naws_role_duration: 1h\naws_sts_endpoint_url: http://127.0.0.1:9081/";
    let source = right(&named(&format!("{arn}\n{more}"))).source;
    let role = source.role.as_ref().unwrap();
    assert_eq!((&*role.arn, &*role.session_name), ("arn:aws:iam::123456789012:role/path/caller", "kong"));
    assert_eq!((role.external_id.as_deref(), role.duration.unwrap().as_secs()), (Some("id-1"), 3600));
    assert_eq!(source.sts_endpoint.as_deref(), Some("http://127.0.0.1:9081"));
    assert_wrong(
        &named("aws_assume_role_arn: role/x"),
        &["lambda.aws_assume_role_arn: invalid value `role/x`"],
    );
    assert_wrong(&named("aws_external_id: id-1"), &["lambda.aws_external_id: has no effect without a role"]);
    assert_wrong(
        &named(&format!("{arn}\naws_role_duration: 1m")),
        &["lambda.aws_role_duration: 1m is out of range"],
    );
    assert_wrong(&named("aws_sts_endpoint_url: sts.amazonaws.com"), &["lambda.aws_sts_endpoint_url"]);
}

#[test]
fn k40_a_proxy_is_spoken_to_in_http() {
    let upstream = right(&named("proxy_url: http://me:hush@proxy.internal:3128")).upstream;
    let proxy = upstream.proxy.proxy().unwrap();
    assert_eq!(proxy.to_string(), "proxy.internal:3128");
    assert!(!format!("{proxy:?}").contains("hush"));
    for scheme in ["https", "ftp", "wss"] {
        assert_wrong(
            &named(&format!("proxy_url: {scheme}://a")),
            &["lambda.proxy_url: proxy_url scheme must be http"],
        );
    }
}

#[test]
fn k42_unhandled_status_is_a_status() {
    assert_eq!(right(NAMED).answer.unhandled_status, None);
    assert_eq!(right(&named("unhandled_status: 412")).answer.unhandled_status.unwrap().as_u16(), 412);
    assert_eq!(right(&named("unhandled_status: 999")).answer.unhandled_status.unwrap().as_u16(), 999);
    for status in ["99", "1000"] {
        let mistake = "value should be between 100 and 999";
        assert_wrong(&named(&format!("unhandled_status: {status}")), &["lambda.unhandled_status", mistake]);
    }
    // no client could make an end of it
    assert_wrong(&named("unhandled_status: 101"), &["no interim one"]);
}

#[test]
fn k43_k44_without_any_region_it_is_a_mistake_at_the_start() {
    assert_wrong("function_name: f", &["lambda.aws_region: no region or host specified"]);
    assert_wrong("function_name: f\nhost: localhost", &["no region or host specified"]);
    let of_host = right("function_name: f\nhost: lambda.eu-west-1.amazonaws.com");
    assert_eq!(of_host.region, "eu-west-1");
    let of_arn = right("function_name: arn:aws-cn:lambda:cn-north-1:123456789012:function:f");
    assert_eq!(
        (&*of_arn.region, &*of_arn.endpoint.host),
        ("cn-north-1", "lambda.cn-north-1.amazonaws.com.cn")
    );
}

#[test]
fn k45_the_environments_region_is_taken_where_the_route_has_none() {
    let region = |environment: &[(&str, &str)], keys| read_in(environment, keys).unwrap().region;
    let both = [("AWS_REGION", "eu-west-1"), ("AWS_DEFAULT_REGION", "eu-west-2")];
    assert_eq!(region(&both, "function_name: f"), "eu-west-1");
    assert_eq!(region(&both[1..], "function_name: f"), "eu-west-2");
    assert_eq!(region(&[("AWS_REGION", ""), both[1]], "function_name: f"), "eu-west-2");
    assert_eq!(region(&both, NAMED), "us-east-1");
    let arn = "function_name: arn:aws:lambda:us-west-2:123456789012:function:f";
    assert_eq!(region(&both, arn), "us-west-2", "the endpoint of another region does not know the function");
}

#[test]
fn k47_k48_k49_host_and_port_are_overridden_and_plain_http_is_port_80() {
    let endpoint = |more: &str| right(&named(more)).endpoint;
    let local = endpoint("host: localhost\nport: 10001");
    assert_eq!((local.authority().as_str(), local.scheme), ("localhost:10001", Scheme::Https));
    let plain = endpoint("host: localhost\ndisable_https: true");
    assert_eq!((plain.authority().as_str(), plain.port, plain.scheme), ("localhost", 80, Scheme::Http));
    assert_eq!(endpoint("host: '[::1]'\nport: 3001\ndisable_https: true").authority(), "[::1]:3001");
    assert_eq!(endpoint("use_fips_endpoint: true").host, "lambda-fips.us-east-1.amazonaws.com");
    assert_eq!(endpoint("use_dualstack_endpoint: true").host, "lambda.us-east-1.api.aws");
    assert_wrong(&named("host: 'https://localhost'"), &["lambda.host"]);
    assert_wrong(&named("host: 'localhost:80'"), &["lambda.host", "without scheme and port"]);
    assert_wrong(&named("port: 0"), &["lambda.port: 0 is out of range"]);
}

#[test]
fn s5_one_switch_moves_the_lambda_api_and_sts() {
    let read = |environment: &[(&str, &str)], more: &str| {
        let lambda = read_in(environment, &named(more)).unwrap();
        let EndpointVariant { fips, dual_stack } = lambda.source.variant;
        (lambda.endpoint.host, fips, dual_stack)
    };
    let fips = [("AWS_USE_FIPS_ENDPOINT", "true")];
    let both = [fips[0], ("AWS_USE_DUALSTACK_ENDPOINT", "True")];
    assert_eq!(read(&fips, ""), ("lambda-fips.us-east-1.amazonaws.com".to_owned(), true, false));
    assert_eq!(read(&[], "use_fips_endpoint: true"), read(&fips, ""));
    assert_eq!(read(&both, ""), ("lambda-fips.us-east-1.api.aws".to_owned(), true, true));
    assert_eq!(read(&both[1..], ""), read(&[], "use_dualstack_endpoint: true"));
    assert_eq!(read(&fips, "use_fips_endpoint: false"), read(&[], ""));
    let mistakes = read_in(&[("AWS_USE_FIPS_ENDPOINT", "yes")], NAMED).unwrap_err().clone();
    assert_eq!(mistakes.matches("AWS_USE_FIPS_ENDPOINT is neither true nor false").count(), 1, "{mistakes}");
}

#[test]
fn an_arn_agrees_with_region_and_qualifier() {
    let arn = "function_name: arn:aws:lambda:us-west-2:123456789012:function:f:live\n";
    assert_wrong(
        &format!("{arn}aws_region: us-east-1"),
        &["lambda.aws_region: `us-east-1` conflicts with `us-west-2` in function_name"],
    );
    assert_wrong(
        &format!("{arn}qualifier: test"),
        &["lambda.qualifier: `test` conflicts with the qualifier in function_name"],
    );
    assert_eq!(right(&format!("{arn}qualifier: live")).qualifier.as_deref(), Some("live"));
    assert_wrong(&named("qualifier: 'a b'"), &["lambda.qualifier"]);
    assert_wrong("aws_region: us-east-1", &["lambda.function_name: missing"]);
    assert_wrong("aws_region: us-east-1\nfunction_name: a/b", &["lambda.function_name: invalid value `a/b`"]);
}

#[test]
fn h05_h06_upstream_url_stands_for_region_and_function_or_agrees_with_them() {
    let lambda =
        right("upstream_url: aws-lambda://us-east-1/f?qualifier=live&invocation_type=Event&log_type=None");
    assert_eq!((&*lambda.region, &*lambda.function), ("us-east-1", "f"));
    assert_eq!(lambda.qualifier.as_deref(), Some("live"));
    assert_eq!((lambda.invocation_type, lambda.log_type), (InvocationType::Event, LogType::None));
    right(&named("upstream_url: aws-lambda://us-east-1/f"));
    assert_wrong(
        &named("upstream_url: aws-lambda://us-west-2/f"),
        &["lambda.aws_region: `us-east-1` conflicts with `us-west-2` in upstream_url"],
    );
    assert_wrong(
        &named("upstream_url: aws-lambda://us-east-1/g"),
        &["lambda.function_name: `f` conflicts with `g` in upstream_url"],
    );
    assert_wrong(
        &named("upstream_url: http://us-east-1/f"),
        &["lambda.upstream_url", "aws-lambda://REGION/FUNCTION"],
    );
}

#[test]
fn one_wrong_value_is_one_mistake() {
    assert_wrong("upstream_url: https://us-east-1/f", &["lambda.upstream_url"]);
    assert_wrong("function_name: 123\naws_region: us-east-1", &["lambda.function_name: found a number"]);
    assert_wrong("function_name: arn:aws:lambda:us-east-1:12:function:f", &["lambda.function_name"]);
    assert_wrong(
        &named("aws_key: a\naws_secret: $env://NOPE"),
        &["lambda.aws_secret: the environment variable NOPE"],
    );
}

#[test]
fn what_contradicts_itself_or_would_not_be_read_is_a_mistake() {
    let url = "upstream_url: aws-lambda://us-east-1/f?invocation_type=Event\ninvocation_type: DryRun";
    assert_wrong(url, &["lambda.invocation_type: conflicts with upstream_url"]);
    assert_wrong(
        &named("host: lambda.eu-west-1.amazonaws.com"),
        &["lambda.host: is in the region eu-west-1"],
    );
    assert_wrong(
        &named("host: localhost\nuse_fips_endpoint: true"),
        &["lambda.use_fips_endpoint: conflicts with `host`"],
    );
    assert_wrong(&named("stage: prod"), &["lambda.stage: has no effect without `awsgateway_compatible`"]);
}

#[test]
fn the_event_is_the_gateways_before_the_forwarded_parts_before_the_merged_object() {
    let all = "awsgateway_compatible: true\nforward_request_uri: true";
    let PayloadSettings::Gateway(event) = right(&named(all)).payload else { panic!("another event") };
    assert_eq!((&*event.account_id, &*event.api_id, &*event.stage), ("000000000000", "f", "$default"));
    assert_eq!((event.version, event.base64_encode_body), (PayloadVersion::V1, true));
    let PayloadSettings::Forward(parts) = right(&named("forward_request_uri: true")).payload else {
        panic!("another event")
    };
    assert!(parts.uri && !parts.method && !parts.headers && !parts.body);
    let arn = "function_name: arn:aws:lambda:us-west-2:123456789012:function:f\nawsgateway_compatible: true";
    let PayloadSettings::Gateway(event) = right(arn).payload else { panic!("another event") };
    assert_eq!(event.account_id, "123456789012");
}

#[test]
fn a_payload_version_is_a_number_or_a_text() {
    for (text, version) in [
        ("1.0", PayloadVersion::V1),
        ("'1.0'", PayloadVersion::V1),
        ("2.0", PayloadVersion::V2),
        ("\"2.0\"", PayloadVersion::V2),
    ] {
        let lambda = right(&named(&format!("awsgateway_compatible_payload_version: {text}")));
        assert_eq!(lambda.answer.version, version, "{text}");
    }
    assert_wrong(&named("awsgateway_compatible_payload_version: 3.0"), &["1.0 or 2.0"]);
}

#[test]
fn a_body_is_a_table_or_a_text_of_json_and_keeps_its_names() {
    for body in [
        "body: { Key1: 1, nested: { A: [1, 2.5, x] } }",
        "body: '{\"Key1\":1,\"nested\":{\"A\":[1,2.5,\"x\"]}}'",
    ] {
        let PayloadSettings::Merge { body: Some(object) } = right(&named(body)).payload else {
            panic!("no body")
        };
        let json = serde_json::to_value(object).unwrap();
        assert_eq!(json, serde_json::json!({ "Key1": 1, "nested": { "A": [1, 2.5, "x"] } }), "{body}");
    }
    assert_wrong(&named("body: '[1]'"), &["lambda.body"]);
    assert_wrong(
        &named("body: {}\nforward_request_body: true"),
        &["lambda.body: is merged with query and body"],
    );
}

#[test]
fn stage_variables_keep_their_names() {
    let lambda = right(&named("awsgateway_compatible: true\nstage_variables: { FooBar: x }"));
    let PayloadSettings::Gateway(event) = lambda.payload else { panic!("another event") };
    assert_eq!(event.stage_variables, BTreeMap::from([("FooBar".to_owned(), "x".to_owned())]));
}

#[test]
fn context_and_tenant_are_checked() {
    let lambda = right(&named("client_context: '{\"custom\":{\"a\":1}}'\ntenant_id: team-1"));
    assert_eq!(lambda.client_context.as_deref(), Some("eyJjdXN0b20iOnsiYSI6MX19"));
    assert_eq!(lambda.tenant_id.as_deref(), Some("team-1"));
    assert_wrong(&named("client_context: 'x'"), &["lambda.client_context"]);
    let long = format!("client_context: '{{\"a\":\"{}\"}}'", "x".repeat(2700));
    assert_wrong(&named(&long), &["lambda.client_context"]);
    assert_wrong(&named("tenant_id: 'a\\b'"), &["lambda.tenant_id"]);
}

#[test]
fn keepalive_0_keeps_nothing_and_a_queued_call_cannot_stream() {
    assert!(!right(&named("keepalive: 0")).upstream.keepalive);
    assert_wrong(
        &named("invocation_type: Event\ninvoke_mode: response_stream"),
        &["lambda.invoke_mode: an invocation of type Event has no answer to stream"],
    );
    assert_wrong(&named("invocation_type: event"), &["lambda.invocation_type", "did you mean `Event`"]);
}

#[test]
fn one_backend_a_route() {
    let text = format!(
        "uri: /f\napi_gateway: {{ function_uri: 'https://a/' }}\nlambda: {{ {} }}\n",
        NAMED.replace('\n', ", ")
    );
    let documents = [Document::process(String::new()), Document::route("f", text)];
    let mistakes = Settings::from_documents(&documents, &BTreeMap::new()).unwrap_err().to_string();
    assert!(mistakes.contains("lambda: conflicts with `api_gateway`"), "{mistakes}");
}

#[test]
fn debug_shows_neither_secret_nor_token() {
    let lambda = right(&named("aws_key: AKID\naws_secret: hush-secret\naws_session_token: hush-token"));
    let shown = format!("{lambda:?}");
    assert!(!shown.contains("hush"), "{shown}");
}

#[test]
fn the_keys_about_calls_that_fail_are_those_of_api_gateway_but_for_the_method_which_is_always_post() {
    let lambda = right(&named("request_timeout: 1m\nretry: { unsafe: [unavailable] }\ncircuit_breaker: {}"));
    let upstream = &lambda.upstream;
    assert_eq!(upstream.request_timeout.map(|limit| limit.as_secs()), Some(60));
    assert!(upstream.retry.accepted.unavailable && upstream.retry.any_method);
    assert_eq!(upstream.circuit_breaker.map(|breaker| breaker.failures), Some(5));
    assert_eq!(right(NAMED).upstream.circuit_breaker, None);
    for value in ["true", "false"] {
        assert_wrong(
            &named(&format!("retry: {{ unsafe_methods: {value} }}")),
            &[
                "lambda.retry.unsafe_methods: a function is called by the same method",
                "expected `unsafe` alone",
            ],
        );
    }
}
