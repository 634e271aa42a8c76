//! Imported routes that run: requests go out as the peer's parameters say.

use serde_json::{Value, json};

use super::{
    super::support::{
        Upstream, call, get,
        process::{ANY_PORT, Process, command},
        send,
    },
    Target,
};

/// Runs what was imported and returns the address for clients.
fn run(target: &Target) -> (Process, std::net::SocketAddr) {
    let process = target.settings().join("default.yaml");
    std::fs::write(process, ANY_PORT).unwrap();
    Process::listening(&mut command("run", &target.settings()))
}

/// A function that answers with this payload.
fn function(payload: &str) -> Upstream {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ";
    Upstream::answering(&format!("{head}{}\r\n\r\n{payload}", payload.len()))
}

/// Kong's plugin for a function at an upstream.
fn kong(upstream: &Upstream, route: &str, config: &str) -> String {
    format!(
        "_format_version: '3.0'\n\
         services:\n\
         - name: s\n  url: http://localhost/base\n  routes:\n  - {{ name: r, {route} }}\n  plugins:\n  \
         - name: aws-lambda\n    config: {{ function_name: fn, aws_region: eu-west-1, aws_key: hush-id, \
         aws_secret: hush-key, host: 127.0.0.1, port: {}, disable_https: true, {config} }}\n",
        upstream.address.port()
    )
}

/// Imports a text and runs it.
fn imported(text: &str) -> (Target, Process, std::net::SocketAddr) {
    let target = Target::new();
    target.import_text(text, 0);
    let (process, address) = run(&target);
    (target, process, address)
}

fn event(upstream: &Upstream) -> Value {
    serde_json::from_slice(&upstream.only().body).unwrap()
}

#[test]
fn kongs_function_is_called_signed_with_the_keys_region_and_qualifier() {
    let upstream = function("{}");
    let (_target, _process, address) =
        imported(&kong(&upstream, "paths: [/a]", "qualifier: live, invocation_type: Event, log_type: None"));
    assert_eq!(get(address, "/a?x=1").status, 200);
    let received = upstream.only();
    assert_eq!(received.target(), "/2015-03-31/functions/fn/invocations?Qualifier=live");
    let authorization = received.header("authorization").unwrap();
    assert!(authorization.contains("Credential=hush-id/"), "{authorization}");
    assert!(authorization.contains("/eu-west-1/lambda/aws4_request"), "{authorization}");
    assert_eq!(received.header("x-amz-invocation-type"), Some("Event"));
    assert_eq!(received.header("x-amz-log-type").unwrap_or("None"), "None");
    assert_eq!(event(&upstream), json!({ "x": "1" }));
}

#[test]
fn k22_an_event_of_api_gateway_has_the_path_that_kong_would_send_to_the_service() {
    for (route, path) in [("paths: [/a]", "/base/x"), ("paths: [/a], strip_path: false", "/base/a/x")] {
        let upstream = function(r#"{"statusCode":201,"body":"b","headers":{"x-a":"1"}}"#);
        let config = "awsgateway_compatible: true, is_proxy_integration: true, base64_encode_body: false";
        let (_target, _process, address) = imported(&kong(&upstream, route, config));
        let answer = call(address, "POST", "/a/x?y=2", &[("content-type", "text/plain")], b"hello");
        assert_eq!((answer.status, answer.text()), (201, "b".to_owned()));
        let event = event(&upstream);
        assert_eq!(event["path"], path, "{route}: {event:#}");
        assert_eq!((&event["body"], &event["httpMethod"]), (&json!("hello"), &json!("POST")));
        assert_eq!(event["queryStringParameters"]["y"], "2");
    }
}

#[test]
fn k11_parts_of_the_request_are_forwarded_as_the_flags_say() {
    let upstream = function("{}");
    let config = "forward_request_method: true, forward_request_uri: true, forward_request_body: true";
    let (_target, _process, address) = imported(&kong(&upstream, "paths: [/a]", config));
    call(address, "PUT", "/a/b?c=d", &[("content-type", "text/plain")], b"text");
    let event = event(&upstream);
    assert_eq!(event["request_method"], "PUT");
    assert_eq!(event["request_uri"], "/a/b?c=d");
    assert_eq!(event["request_body"], "text");
    assert!(event.get("request_headers").is_none(), "{event:#}");
}

#[test]
fn r06_a_failed_function_has_the_status_of_the_plugin() {
    let answer = "HTTP/1.1 200 OK\r\nx-amz-function-error: Unhandled\r\ncontent-length: 2\r\n\r\n{}";
    let upstream = Upstream::answering(answer);
    let (_target, _process, address) = imported(&kong(&upstream, "paths: [/a]", "unhandled_status: 412"));
    assert_eq!(get(address, "/a").status, 412);
}

#[test]
fn a_regular_expression_of_kong_takes_what_its_template_takes() {
    let upstream = function("{}");
    let route = r#"paths: ["~/users/(?<id>[^/]+)/orders$"], methods: [GET]"#;
    let (_target, _process, address) = imported(&kong(&upstream, route, "awsgateway_compatible: true"));
    assert_eq!(get(address, "/users/7/orders").status, 200);
    assert_eq!(get(address, "/users/7/orders/8").status, 404);
    assert_eq!(call(address, "POST", "/users/7/orders", &[], b"").status, 405);
    assert_eq!(event(&upstream)["pathParameters"]["id"], "7");
}

#[test]
fn hosts_of_kong_decide() {
    let upstream = function("{}");
    let route = "paths: [/], hosts: [\"*.example.com\"]";
    let (_target, _process, address) = imported(&kong(&upstream, route, ""));
    let status = |host: &str| send(address, format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n")).status;
    assert_eq!((status("a.example.com"), status("example.org")), (200, 404));
}

#[test]
fn the_prototype_of_2016_merges_body_and_query_into_its_own() {
    let target = Target::new();
    let text = r#"{"apis": [{"name": "p", "request_path": "/p", "upstream_url": "aws-lambda://us-east-1/fn",
        "plugins": [{"name": "aws-lambda", "config": {"body": {"a": 1, "b": 2}, "aws_access_key": "hush-id",
        "aws_secret_key": "hush-key", "host": "127.0.0.1", "port": PORT, "disable_https": true}}]}]}"#;
    let upstream = function("{}");
    target.import_text(&text.replace("PORT", &upstream.address.port().to_string()), 0);
    let (_process, address) = run(&target);
    assert_eq!(get(address, "/p?b=3").status, 200);
    assert_eq!(event(&upstream), json!({ "a": 1, "b": "3" }));
    assert_eq!(upstream.only().target(), "/2015-03-31/functions/fn/invocations");
}

/// APISIX's plugin on a route.
fn apisix(uri: &str, function_uri: &str, config: &str) -> String {
    format!(
        r#"{{"uri": "{uri}", "plugins": {{"aws-lambda": {{"function_uri": "{function_uri}", {config}}},}},}}"#
    )
}

#[test]
fn a18_the_rest_of_the_path_follows_apisixs_function_uri_with_the_api_key() {
    let upstream = Upstream::ok();
    let text = apisix("/aws/*", &upstream.uri("/default"), r#""authorization": {"apikey": "hush-apikey"},"#);
    let (_target, _process, address) = imported(&text);
    assert_eq!(get(address, "/aws/http/trigger?a=b").status, 200);
    let received = upstream.only();
    assert_eq!(received.target(), "/default/http/trigger?a=b");
    assert_eq!(received.header("x-api-key"), Some("hush-apikey"));
}

#[test]
fn a24_a_route_of_apisix_without_a_star_sends_the_path_of_function_uri() {
    let upstream = Upstream::ok();
    let text = apisix("/aws", &upstream.uri("/default/x"), r#""timeout": 1000"#);
    let (_target, _process, address) = imported(&text);
    get(address, "/aws");
    assert_eq!(upstream.only().target(), "/default/x");
}

#[test]
fn a10_a_route_of_apisix_with_iam_signs_for_its_service_and_region() {
    let upstream = Upstream::ok();
    let iam = r#""authorization": {"iam": {"accesskey": "hush-id", "secretkey": "hush-key",
        "aws_region": "us-west-2", "service": "lambda"}}"#;
    let (_target, _process, address) = imported(&apisix("/*", &upstream.uri("/"), iam));
    get(address, "/x");
    let received = upstream.only();
    let authorization = received.header("authorization").unwrap();
    assert!(authorization.contains("Credential=hush-id/"), "{authorization}");
    assert!(authorization.contains("/us-west-2/lambda/aws4_request"), "{authorization}");
}

#[test]
fn aws_sigv4_proxy_signs_and_changes_headers_as_its_flags_say() {
    let upstream = Upstream::ok();
    let target = Target::new();
    let text = format!(
        "AWS_ACCESS_KEY_ID=hush-id AWS_SECRET_ACCESS_KEY=hush-key aws-sigv4-proxy --name es \
         --region eu-west-1 --host {} --sign-host search.example --upstream-url-scheme http -s Cookie \
         --custom-headers X-Env=prod\n",
        upstream.address
    );
    target.import(&[target.file("run.sh", &text)], 0);
    let (_process, address) = run(&target);
    call(address, "GET", "/_search?q=1", &[("cookie", "a=b"), ("x-env", "client")], b"");
    let received = upstream.only();
    assert_eq!(received.target(), "/_search?q=1");
    assert_eq!(received.header("host"), Some("search.example"));
    assert_eq!((received.header("cookie"), received.header("x-env")), (None, Some("prod")));
    let authorization = received.header("authorization").unwrap();
    assert!(authorization.contains("Credential=hush-id/"), "{authorization}");
    assert!(authorization.contains("/eu-west-1/es/aws4_request"), "{authorization}");
}

/// A listener with the filter, and a cluster at a port.
const ENVOY: &str = "
static_resources:
  listeners:
  - filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          http_filters:
          - name: envoy.filters.http.aws_request_signing
            typed_config:
              service_name: vpc-lattice
              region: eu-west-1
              host_rewrite: lattice.example
              credential_provider:
                inline_credential: { access_key_id: hush-id, secret_access_key: hush-key }
          route_config:
            virtual_hosts:
            - name: v
              domains: ['*']
              routes: [{ match: { prefix: /api }, route: { cluster: c } }]
  clusters:
  - name: c
    load_assignment:
      endpoints:
      - lb_endpoints:
        - endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: PORT } } }
";

#[test]
fn envoys_filter_signs_for_its_service_and_keeps_the_path() {
    let upstream = Upstream::ok();
    let text = ENVOY.replace("PORT", &upstream.address.port().to_string());
    let (_target, _process, address) = imported(&text);
    assert_eq!(get(address, "/api/x?y=1").status, 200);
    let received = upstream.only();
    assert_eq!((received.target(), received.header("host")), ("/api/x?y=1", Some("lattice.example")));
    let authorization = received.header("authorization").unwrap();
    assert!(authorization.contains("/eu-west-1/vpc-lattice/aws4_request"), "{authorization}");
}
