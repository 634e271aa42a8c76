//! Log level of each failure: it depends on which side caused it.

use super::support::{
    Upstream, call, eventually,
    exposition::Exposition,
    get,
    process::{ANY_PORT, Process, settings, write_settings},
};

const DENIED: &str = "HTTP/1.1 403 Forbidden\r\nx-amzn-ErrorType: AccessDeniedException\r\ncontent-length: \
                      21\r\n\r\n{\"Message\":\"refused\"}";

fn function(uri: &str, upstream: &Upstream, rest: &str) -> String {
    format!(
        "uri: {uri}\nlambda:\n  function_name: f\n  aws_region: us-east-1\n  host: {}\n  port: {}\n  \
         disable_https: true\n  aws_key: AKIDEXAMPLE\n  aws_secret: s\n  {rest}\n",
        upstream.address.ip(),
        upstream.address.port()
    )
}

#[test]
fn k6_a_failure_of_awss_own_behind_api_gateway_is_one_error_line_with_its_type() {
    for (status, kind, lines) in [
        (500, "x-amzn-ErrorType: InternalServerErrorException\r\n", 1),
        (502, "x-amzn-ErrorType: InternalServerErrorException\r\n", 1),
        (503, "x-amzn-ErrorType: ServiceUnavailableException\r\n", 1),
        (504, "x-amzn-ErrorType: InternalServerErrorException\r\n", 1),
        (503, "", 0),
    ] {
        let answer = format!("HTTP/1.1 {status} No\r\n{kind}content-length: 2\r\n\r\n{{}}");
        let upstream = Upstream::answering(&answer);
        let route = format!(
            "uri: /*\napi_gateway:\n  function_uri: {}\n  retry: {{ attempts: 1 }}\n",
            upstream.uri("/")
        );
        let directory = settings(ANY_PORT, &[("r", &route)]);
        let (mut process, address) = Process::run(directory.path());
        assert_eq!(get(address, "/").status, status);
        let log = process.stop();
        let errors: Vec<&str> = log.lines().filter(|line| line.contains("ERROR] ")).collect();
        assert_eq!(errors.len(), lines, "{log}");
        let name = kind.trim().rsplit(' ').next().unwrap_or_default();
        for line in errors {
            let told = format!("AWS answered with a failure of its own, {status} {name}: ");
            assert!(line.contains(&told) && line.contains(" request_id="), "{line}");
        }
    }
}

#[test]
fn k6_level_error_shows_refusals_of_the_lambda_api_and_failures_but_no_mistake_of_a_client() {
    let upstream = Upstream::answering(DENIED);
    let unreachable =
        "uri: /unreachable\napi_gateway:\n  function_uri: http://127.0.0.1:1/\n  max_req_body_size: 1\n";
    let routes = [
        ("hidden", &*function("/hidden", &upstream, "")),
        ("kept", &function("/kept", &upstream, "preserve_lambda_api_error_code: true")),
        ("unreachable", unreachable),
    ];
    let directory = settings(ANY_PORT, &routes);
    // at level error, the listening address is not logged
    let (mut process, address) = Process::run(directory.path());
    let admin = process.admin();
    write_settings(directory.path(), &format!("{ANY_PORT}log: {{ level: error }}\n"), &routes);
    process.signal("HUP");
    eventually("the level is in force", || {
        Exposition::of(admin).count("apigw_invoker_settings_generation", &[]) == 2
    });
    assert_eq!(get(address, "/hidden").code(), "lambda_rejected");
    assert_eq!(get(address, "/kept").status, 403);
    assert_eq!(get(address, "/unreachable").code(), "upstream_connect");
    for (method, target, status) in
        [("GET", "/nowhere", 404), ("POST", "/unreachable", 413), ("GET", "/a/%zz", 400)]
    {
        assert_eq!(call(address, method, target, &[], b"body").status, status);
    }
    let log = process.stop();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains(" request_id=")).collect();
    let refusal = "ERROR] AWS Lambda API returned error: refused, status code: 403 (AccessDeniedException)";
    assert_eq!(lines.len(), 3, "{log}");
    assert!(lines[0].contains("ERROR] The function could not be invoked: AWS Lambda API returned"), "{log}");
    assert!(lines[1].contains(refusal) && lines[1].contains("route=kept"), "{log}");
    assert!(lines[2].contains("ERROR] The upstream could not be reached: "), "{log}");
}
