//! Settings that AWS or the system would reject later: `check` warns of them.

use super::support::process::{ANY_PORT, command, end_of, settings};

#[test]
fn k3_a_function_url_that_is_signed_for_execute_api_is_a_warning_with_the_cure() {
    let route = "uri: /\napi_gateway:\n  function_uri: https://abc.lambda-url.us-east-1.on.aws/\n  \
                 authorization: { iam: { accesskey: AKIDEXAMPLE, secretkey: s } }\n";
    let directory = settings(ANY_PORT, &[("url", route)]);
    let ended = end_of(&mut command("check", directory.path()));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(
        ended.errors.contains(
            "route url: abc.lambda-url.us-east-1.on.aws is a Function URL and accepts only signatures \
             for lambda, but the route signs for execute-api: set authorization.iam.service to lambda"
        ),
        "{ended:?}"
    );
}

#[test]
fn an_inspector_that_may_take_a_gibibyte_is_a_warning() {
    let route = "uri: /\napi_gateway: { function_uri: 'https://a.example/' }\n";
    for (inspect, warns) in [("keep: 10000, bodies: 1MiB", true), ("keep: 10000", false)] {
        let process = format!("{ANY_PORT}admin: {{ inspect: {{ {inspect} }} }}\n");
        let directory = settings(&process, &[("r", route)]);
        let ended = end_of(&mut command("check", directory.path()));
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let told = "admin.inspect: keep and bodies allow recorded requests to take 40156 MiB of memory";
        assert_eq!(ended.errors.contains(told), warns, "{ended:?}");
    }
}

#[test]
fn k3_a_service_that_cannot_be_signed_is_a_mistake() {
    let host = "b--use1-az4--x-s3.s3express-use1-az4.us-east-1.amazonaws.com";
    let route = format!(
        "uri: /\napi_gateway:\n  function_uri: https://{host}/\n  \
         authorization: {{ iam: {{ service: s3express }} }}\n"
    );
    let directory = settings(ANY_PORT, &[("s3", &route)]);
    let ended = end_of(&mut command("check", directory.path()));
    assert_eq!(ended.code, Some(78), "{ended:?}");
    assert!(
        ended.errors.contains(
            "api_gateway.authorization.iam.service: `s3express` cannot be signed: S3 Express One Zone needs \
             a session for each bucket (CreateSession)"
        ),
        "{ended:?}"
    );
}

#[test]
fn k3_listeners_on_one_address_are_a_mistake_with_both_places() {
    let route = "uri: /\napi_gateway: { function_uri: 'https://a.example/' }\n";
    let directory = settings("listen:\n  http: 0.0.0.0:9333\n", &[("r", route)]);
    for name in ["check", "run"] {
        let mut check = command(name, directory.path());
        let ended = end_of(check.env("APIGW_INVOKER__ADMIN__ADDRESS", "127.0.0.1:9333"));
        assert_eq!(ended.code, Some(78), "{ended:?}");
        let told = "environment variable APIGW_INVOKER__ADMIN__ADDRESS: admin.address: 127.0.0.1:9333 \
                    is already used by 0.0.0.0:9333 (";
        assert!(
            ended.errors.contains(told) && ended.errors.contains("default.yaml:2: listen.http)"),
            "{ended:?}"
        );
    }
}
