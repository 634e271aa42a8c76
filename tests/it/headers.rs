//! `headers` of a route: what the upstream, the function and the client see, and which names are a mistake.

use std::collections::BTreeMap;

use apigw_invoker::settings::{Document, Settings};
use serde_json::Value;

use super::support::{
    App, Http2, Upstream, call, get,
    process::{binary, command, end_of, settings},
    upstream::Received,
};

const IAM: &str = "authorization: { iam: { accesskey: AKIDEXAMPLE, secretkey: s } }";

fn gateway(upstream: &Upstream, uri: &str, headers: &str, rest: &str) -> String {
    format!(
        "uri: '{uri}'\nheaders: {headers}\napi_gateway: {{ function_uri: '{}', {rest} }}\n",
        upstream.uri("/")
    )
}

/// The request that reaches the upstream for one of a client.
fn received(uri: &str, headers: &str, rest: &str, path: &str, brought: &[(&str, &str)]) -> Received {
    let upstream = Upstream::ok();
    let app = App::with("").route("r", &gateway(&upstream, uri, headers, rest)).start();
    assert_eq!(call(app.address, "GET", path, brought, b"").status, 200);
    upstream.only()
}

/// The event of a function for a request of a client.
fn event_of(headers: &str, rest: &str, brought: &[(&str, &str)]) -> (Value, Received) {
    let upstream = Upstream::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
    let route = format!(
        "uri: /u/{{id}}\nheaders: {headers}\nlambda: {{ function_name: f, aws_region: us-east-1, aws_key: A, \
         aws_secret: s, host: 127.0.0.1, port: {}, disable_https: true, {rest} }}\n",
        upstream.address.port()
    );
    let app = App::with("").route("r", &route).start();
    assert_eq!(call(app.address, "GET", "/u/a%20b", brought, b"").status, 200);
    let sent = upstream.only();
    (serde_json::from_slice(&sent.body).unwrap(), sent)
}

/// The mistakes of a route, or none.
fn mistakes(route: &str, environment: &[(&str, &str)]) -> String {
    let environment: BTreeMap<String, String> =
        environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let read = Settings::from_documents(&[Document::route("r", route)], &environment);
    read.map_or_else(|mistakes| mistakes.to_string(), |_| String::new())
}

fn route(headers: &str, rest: &str) -> String {
    let section = format!("api_gateway: {{ function_uri: 'https://a.example/', {rest} }}");
    format!("uri: /u/{{id}}\nheaders: {headers}\n{section}\n")
}

#[test]
fn a_request_has_its_headers_removed_then_set_then_added() {
    let headers = "{ request: { remove: [X-Gone, X-Both], set: { X-Both: set, X-New: new, X-Empty: '' }, \
                   add: { X-Kept: added, X-Both: added } } }";
    let brought = [
        ("x-gone", "1"),
        ("X-Gone", "2"),
        ("x-both", "client"),
        ("x-new", "client"),
        ("x-new", "client"),
        ("x-kept", "client"),
    ];
    for rest in ["", IAM] {
        let sent = received("/a", headers, rest, "/a", &brought);
        assert_eq!(sent.all("x-gone"), [""; 0]);
        assert_eq!(sent.all("x-both"), ["set", "added"]);
        assert_eq!(sent.all("x-new"), ["new"]);
        assert_eq!(sent.all("x-kept"), ["client", "added"]);
        assert_eq!(sent.all("x-empty"), [""]);
    }
}

#[test]
fn values_have_path_parameters_as_received() {
    let headers = "{ request: { set: { X-Id: 'id={id}; rest={proxy+}', X-Json: '{\"a\":{}}' } } }";
    let sent = received("/u/{id}/*", headers, "", "/u/a%2Fb~!$&'()*+,;=:@|/x//y%20/", &[]);
    assert_eq!(sent.header("x-id"), Some("id=a%2Fb~!$&'()*+,;=:@|; rest=x//y%20/"));
    assert_eq!(sent.header("x-json"), Some(r#"{"a":{}}"#));
    let sent = received("/u/{id}/*", headers, "", "/u/7/", &[]);
    assert_eq!(sent.header("x-id"), Some("id=7; rest="));
}

#[test]
fn no_path_brings_a_byte_that_a_header_cannot_hold() {
    let upstream = Upstream::ok();
    let headers = "{ request: { set: { X-Id: '{id}' } }, response: { set: { X-Id: '{id}' } } }";
    let app = App::with("").route("r", &gateway(&upstream, "/u/{id}", headers, "")).start();
    for byte in 1..=255_u8 {
        let rest = b"b HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
        let request = [b"GET /u/a", &[byte][..], rest].concat();
        let response = super::support::send(app.address, request);
        if response.status != 200 {
            continue;
        }
        let value = response.header("x-id").unwrap();
        assert!(value.bytes().all(|byte| byte.is_ascii_graphic()), "{byte}: {value}");
    }
    let sent = upstream.received();
    assert!(sent.len() > 200, "{}", sent.len());
    let names = sent.first().unwrap().names();
    for request in sent {
        assert_eq!(request.names(), names);
        assert!(request.header("x-id").unwrap().bytes().all(|byte| byte.is_ascii_graphic()), "{request:?}");
    }
}

#[test]
fn a_header_of_aws_that_is_set_goes_out_signed() {
    let sent = received(
        "/a",
        "{ request: { set: { X-Amz-Meta: own, X-Own: own } } }",
        IAM,
        "/a",
        &[("x-amz-meta", "client")],
    );
    assert_eq!(sent.all("x-amz-meta"), ["own"]);
    let authorization = sent.header("authorization").unwrap();
    assert!(authorization.contains("SignedHeaders=host;x-amz-date;x-amz-meta,"), "{authorization}");
}

#[test]
fn a_route_without_authorization_may_set_it() {
    let headers = "{ request: { set: { Authorization: Bearer own, x-api-key: own } } }";
    let sent = received("/a", headers, "", "/a", &[("authorization", "client")]);
    assert_eq!((sent.all("authorization"), sent.all("x-api-key")), (vec!["Bearer own"], vec!["own"]));
}

#[test]
fn a_function_sees_the_changed_headers_and_the_lambda_api_none_of_them() {
    let headers = "{ request: { remove: [Cookie, Authorization], set: { X-Id: '{id}' }, \
                   add: { X-Line: own } } }";
    let brought = [("cookie", "a=1"), ("authorization", "client"), ("x-id", "client"), ("x-line", "client")];
    let (event, sent) = event_of(headers, "awsgateway_compatible: true", &brought);
    assert!(event["headers"]["cookie"].is_null() && event["headers"]["authorization"].is_null(), "{event}");
    assert_eq!(event["headers"]["X-Id"], "a%20b");
    assert_eq!(event["multiValueHeaders"]["X-Line"], serde_json::json!(["client", "own"]));
    assert!(sent.header("authorization").unwrap().starts_with("AWS4-HMAC-SHA256"));
    assert!(sent.all("x-id").is_empty() && sent.all("x-line").is_empty());
    let rest = "awsgateway_compatible: true, awsgateway_compatible_payload_version: 2.0";
    let (event, _) = event_of(headers, rest, &brought);
    assert_eq!((&event["headers"]["x-line"], &event["cookies"]), (&"client,own".into(), &Value::Null));
    let (event, _) = event_of(headers, "forward_request_headers: true", &brought);
    assert_eq!(event["request_headers"]["x-id"], "a%20b");
    assert!(event["request_headers"]["cookie"].is_null(), "{event}");
}

#[test]
fn names_of_the_route_have_its_spelling_in_events_of_rest_apis_and_never_the_clients() {
    let headers = "{ request: { set: { X-Origin-Verify: v, x-low: l }, add: { X-TENANT: t } } }";
    let brought =
        [("x-ORIGIN-verify", "c"), ("X-Low", "c"), ("x-tenant", "c"), ("X-Other", "c"), ("x-other", "d")];
    for brought in [&brought[..], &[]] {
        let (event, _) = event_of(headers, "awsgateway_compatible: true", brought);
        for (name, value) in [("X-Origin-Verify", "v"), ("x-low", "l"), ("X-TENANT", "t")] {
            assert_eq!(event["headers"][name], value);
            assert!(event["multiValueHeaders"][name].is_array());
        }
        let names = event["headers"].as_object().unwrap().keys();
        let others = ["x-origin-verify", "X-Low", "x-tenant"];
        assert_eq!(names.filter(|name| others.contains(&name.as_str())).count(), 0);
        assert_eq!(event["headers"].get("X-Other").is_some(), !brought.is_empty());
    }
    let version = "awsgateway_compatible: true, awsgateway_compatible_payload_version: '2.0'";
    assert_eq!(event_of(headers, version, &[]).0["headers"]["x-origin-verify"], "v");
}

#[test]
fn a_response_has_its_headers_changed_whoever_made_it() {
    let headers = "{ response: { remove: [Server, Set-Cookie], \
                   set: { X-Id: '{id}', Cache-Control: no-store }, add: { Vary: Origin } } }";
    let upstream = Upstream::answering(
        "HTTP/1.1 403 Forbidden\r\nServer: x\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nCache-Control: public\r\n\
         Vary: Accept\r\nContent-Length: 2\r\n\r\nno",
    );
    let route = gateway(&upstream, "/u/{id}", headers, "");
    let app = App::listening("h2c: true", "").route("r", &route).start();
    let response = get(app.address, "/u/a%20b");
    assert_eq!((response.status, response.text().as_str()), (403, "no"));
    assert!(response.all("server").is_empty() && response.all("set-cookie").is_empty());
    assert_eq!(response.all("cache-control"), ["no-store"]);
    assert_eq!(response.all("vary"), ["Accept", "Origin"]);
    assert_eq!(response.header("x-id"), Some("a%20b"));
    assert_eq!(response.header("content-length"), Some("2"));
    let answer = Http2::open(app.address).get("/u/7");
    assert_eq!((answer.status, answer.header("x-id"), answer.header("server")), (403, Some("7"), None));
    let function = Upstream::answering(
        "HTTP/1.1 200 OK\r\nContent-Length: 45\r\n\r\n{\"statusCode\":201,\"headers\":{\"server\":\"own\"}}",
    );
    let route = format!(
        "uri: /f/{{id}}\nheaders: {headers}\nlambda: {{ function_name: f, aws_region: us-east-1, aws_key: A, \
         aws_secret: s, host: 127.0.0.1, port: {}, disable_https: true, is_proxy_integration: true }}\n",
        function.address.port()
    );
    let app = App::with("").route("f", &route).start();
    let response = get(app.address, "/f/7");
    assert_eq!((response.status, response.header("x-id"), response.header("server")), (201, Some("7"), None));
}

#[test]
fn errors_of_the_sidecar_are_not_changed() {
    let headers = "{ response: { set: { X-Own: own, Content-Type: text/own } } }";
    let section = "api_gateway: { function_uri: 'http://127.0.0.1:1/' }";
    let route = format!("uri: /a\nheaders: {headers}\n{section}\n");
    let app = App::with("").route("r", &route).start();
    let response = get(app.address, "/a");
    assert_eq!((response.status, response.code().as_str()), (502, "upstream_connect"));
    assert_eq!((response.header("x-own"), response.header("content-type")), (None, Some("application/json")));
}

#[test]
fn a_grpc_call_has_its_headers_changed_in_both_directions() {
    let upstream = Upstream::answering(
        "HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ngrpc-status: 0\r\nserver: x\r\n\
         content-length: 5\r\n\r\n\0\0\0\0\0",
    );
    let headers = "{ request: { set: { X-Tenant: own } }, \
                   response: { set: { X-Own: '{method}' }, remove: [Server] } }";
    let route = gateway(&upstream, "/pkg.Service/{method}", headers, "");
    let app = App::listening("h2c: true", "").route("r", &route).start();
    let call = [("content-type", "application/grpc"), ("te", "trailers"), ("x-tenant", "client")];
    let answer =
        Http2::open(app.address).call("POST", "http://h/pkg.Service/Do", &call, b"\0\0\0\0\0").unwrap();
    assert_eq!((answer.header("x-own"), answer.header("server")), (Some("Do"), None));
    assert_eq!(answer.trailers.unwrap()["grpc-status"], "0");
    assert_eq!(upstream.only().all("x-tenant"), ["own"]);
}

#[test]
fn names_that_the_sidecar_owns_are_a_mistake() {
    let own = "the sidecar sets or removes this header itself";
    let both =
        ["Connection", "transfer-encoding", "TE", "Upgrade", "Keep-Alive", "Content-Length", "X-Request-Id"];
    let request = ["HOST", "Expect", "Via", "X-HTTP-Method-Override", "x-amzn-vpce-id", "X-Amzn-Tls-Version"];
    let responses = both.iter().chain(&["Date", "Trailer"]).map(|name| ("response", *name));
    for (direction, name) in both.iter().chain(&request).map(|name| ("request", *name)).chain(responses) {
        for (key, edit) in [
            ("set", format!("{{ set: {{ {name}: a }} }}")),
            ("add", format!("{{ add: {{ {name}: a }} }}")),
            ("remove", format!("{{ remove: [{name}] }}")),
        ] {
            let found = mistakes(&route(&format!("{{ {direction}: {edit} }}"), ""), &[]);
            let at = format!("headers.{direction}.{key}");
            assert!(found.contains(&at) && found.contains(own), "{direction} {edit}: {found}");
        }
    }
    for name in ["Authorization", "X-Amz-Date", "x-amz-security-token", "X-Amz-Content-Sha256", "x-api-key"] {
        let headers = format!("{{ request: {{ remove: [{name}] }} }}");
        for rest in [IAM, "authorization: { apikey: k }"] {
            let found = mistakes(&route(&headers, rest), &[]);
            assert!(found.contains("headers.request.remove.0: `authorization` of the route"), "{found}");
        }
        assert_eq!(mistakes(&route(&headers, ""), &[]), "");
        assert_eq!(mistakes(&route(&format!("{{ response: {{ remove: [{name}] }} }}"), IAM), &[]), "");
    }
    let open = "{ request: { set: { X-Forwarded-Host: a, Content-Type: a, traceparent: a, Date: a } }, \
                response: { set: { Via: a, Server: a, Content-Encoding: a, X-Amz-Date: a } } }";
    assert_eq!(mistakes(&route(open, IAM), &[]), "");
}

#[test]
fn a_mistake_in_a_value_names_the_key_and_never_the_value() {
    let found = mistakes(
        &route(
            "{ request: { set: { X-A: 'hush {order}', X-B: 'hush $env://B', X-C: \" hush\", \
             X-D: \"hush\\r\\nhush: hush\", X-E: hush-é, x-a: hush, 'X F': hush, 'Y\"': hush, '': hush, \
             X-G: }, \
             add: { X-H: $env://NONE } } }",
            "",
        ),
        &[],
    );
    for told in [
        "headers.request.set.X-A: `{order}` is not in the path `/u/{id}`; expected `{id}`",
        "headers.request.set.X-B: a reference in the middle of the value",
        "headers.request.set.X-C: invalid value; expected visible ASCII",
        "headers.request.set.X-D: invalid value",
        "headers.request.set.X-E: invalid value",
        "headers.request.set.x-a: duplicate header in another spelling",
        "headers.request.set.X: invalid name of a header",
        "headers.request.set.Y: invalid name of a header",
        "headers.request.set.: invalid name of a header",
        "headers.request.set.X-G: found nothing",
        "headers.request.add.X-H:",
    ] {
        assert!(found.contains(told), "{told}\nis not in\n{found}");
    }
    assert!(!found.contains("hush"), "{found}");
}

#[test]
fn a_value_of_a_reference_is_sent_as_it_is() {
    let upstream = Upstream::ok();
    let headers = "{ request: { set: { X-Secret: $env://SECRET } } }";
    let route = gateway(&upstream, "/a", headers, "");
    let secret = "{id}$env://{x}";
    assert_eq!(mistakes(&route, &[("SECRET", secret)]), "");
    let file = super::support::tls::file(&format!("{secret}\n"));
    let headers = format!("{{ request: {{ set: {{ X-Secret: '$file://{}' }} }} }}", file.path().display());
    let app = App::with("").route("r", &gateway(&upstream, "/a", &headers, "")).start();
    assert_eq!(get(app.address, "/a").status, 200);
    assert_eq!(upstream.only().header("x-secret"), Some(secret));
    let found = mistakes(&route, &[("SECRET", "hush\nhush")]);
    assert!(found.contains("headers.request.set.X-Secret: invalid value"), "{found}");
    assert!(!found.contains("hush"), "{found}");
}

#[test]
fn explain_names_the_key_that_removes_or_replaces_a_header_and_shows_no_value() {
    let upstream = Upstream::ok();
    let headers = "{ request: { remove: [X-Gone], set: { X-Set: hush-set, X-Id: 'hush-{id}' }, \
                   add: { X-Line: hush-line } } }";
    let lambda = format!(
        "uri: '/event/{{id}}'\nheaders: {headers}\nlambda: {{ function_name: f, aws_region: us-east-1, \
         aws_key: A, aws_secret: s, awsgateway_compatible: true, \
         awsgateway_compatible_payload_version: 2.0 }}\n"
    );
    let directory =
        settings("", &[("api", &gateway(&upstream, "/api/{id}", headers, IAM)), ("event", &lambda)]);
    for path in ["/api/7", "/event/7"] {
        let mut explain = binary(&["explain", "GET", path, "--settings"]);
        explain.arg(directory.path());
        for header in ["x-gone: 1", "x-set: client", "x-line: client", "x-kept: kept"] {
            explain.args(["-H", header]);
        }
        let ended = end_of(&mut explain);
        for (name, why) in
            [("x-gone", "headers.request.remove names it"), ("x-set", "headers.request.set replaces it")]
        {
            let line = ended.output.lines().find(|line| line.trim_start().starts_with(&format!("{name}  ")));
            assert!(line.is_some_and(|line| line.contains(why)), "{name}: {}", ended.output);
        }
        assert!(ended.output.contains("kept") && ended.output.contains("(left out)"), "{}", ended.output);
        assert!(!ended.output.contains("hush") && ended.errors.is_empty(), "{ended:?}");
    }
}

#[test]
fn a_function_that_sees_no_headers_is_a_warning() {
    let lambda = |headers: &str, rest: &str| {
        let route = format!(
            "uri: /a\nheaders: {headers}\nlambda: {{ function_name: f, aws_region: us-east-1, aws_key: A, \
             aws_secret: s {rest} }}\n"
        );
        let directory = settings("", &[("r", &route)]);
        let ended = end_of(&mut command("check", directory.path()));
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended.errors
    };
    let request = "{ request: { remove: [Cookie] } }";
    let told = "route r: headers.request changes no header that the function sees: set \
                awsgateway_compatible or forward_request_headers";
    let found = lambda(request, "");
    assert!(found.contains(told), "{found}");
    for (headers, rest) in [
        (request, ", forward_request_headers: true"),
        (request, ", awsgateway_compatible: true"),
        ("{ response: { remove: [Server] } }", ""),
        ("{}", ""),
    ] {
        assert!(!lambda(headers, rest).contains("headers.request"), "{headers} {rest}");
    }
}
