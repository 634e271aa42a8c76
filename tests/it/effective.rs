//! `/routes`: the effective settings of each route, without secrets.

use super::support::{App, get, tls};

/// A sidecar with one route of each kind; every secret key is set.
fn app() -> App {
    let token = tls::file("hush-token\n");
    let gateway = format!(
        "authorization:\n  apikey: hush-apikey\n  iam:\n    accesskey: hushkeyid\n    \
         secretkey: hush-secret\n    session_token: '$file://{}'\n    \
         assume_role_arn: arn:aws:iam::123456789012:role/x\n    external_id: hush-external\n\
         proxy_url: http://hush-user:hush-password@127.0.0.1:1\ncircuit_breaker: {{}}\n\
         retry: {{ unsafe: [timeout] }}\nconnect: {{ address: '127.0.0.1:2' }}",
        token.path().display()
    );
    let keys = "host: 127.0.0.1\n  port: 1\n  disable_https: true\n  aws_region: us-east-1\n  \
        function_name: f\n  aws_key: hushkeyid\n  aws_secret: hush-secret\n  \
        aws_session_token: hush-token\n  client_context: '{\"key\":\"hush-context\"}'\n  \
        tenant_id: hush-tenant\n  timeout: 1h\n  circuit_breaker: {}";
    let identity = tls::Authority::new("effective").client("pod");
    let (certificate, key) = (tls::file(identity.certificate()), tls::file(&identity.key()));
    let anywhere = format!(
        "roles_anywhere:\n  trust_anchor_arn: arn:aws:rolesanywhere:us-east-1:123456789012:trust-anchor/t\n  \
         profile_arn: arn:aws:rolesanywhere:us-east-1:123456789012:profile/p\n  \
         role_arn: arn:aws:iam::123456789012:role/r\n  certificate: {}\n  key: {}\n",
        certificate.path().display(),
        key.path().display()
    );
    App::with("")
        .route(
            "anywhere",
            &format!(
                "enabled: false\nuri: /anywhere\napi_gateway:\n  function_uri: https://a.example/\n  \
                 authorization:\n    iam:\n      aws_region: us-east-1\n      {}\n",
                anywhere.replace('\n', "\n      ")
            ),
        )
        .route(
            "function",
            &format!(
                "enabled: false\nuri: /function\nlambda:\n  function_name: f\n  aws_region: us-east-1\n  \
                 aws_{}\n",
                anywhere.replace('\n', "\n  ")
            ),
        )
        .gateway("api", "/api/*", "http://127.0.0.1:1/prod?key=hush-query", &gateway)
        .route("merged", &format!("uri: /merged\nlambda:\n  {keys}\n  body: {{ key: hush-body }}\n"))
        .route(
            "event",
            &format!(
                "enabled: false\nuri: /event\nhosts: ['*.example.com']\nmethods: [GET]\nlambda:\n  {keys}\n  \
                 awsgateway_compatible: true\n  stage_variables: {{ key: hush-variable }}\n"
            ),
        )
        .route(
            "parts",
            &format!(
                "uri: /parts\n\
                 headers: {{ request: {{ set: {{ X-Verify: hush-header }}, remove: [Cookie] }} }}\n\
                 lambda:\n  {keys}\n  forward_request_method: true\n"
            ),
        )
        .start()
}

#[test]
fn each_route_is_there_with_its_defaults_and_none_of_its_secrets() {
    let app = app();
    let response = get(app.admin, "/routes");
    assert_eq!((response.status, response.header("content-type")), (200, Some("application/json")));
    let routes = response.json();
    let route = |id: &str| {
        routes.as_array().unwrap().iter().find(|route| route["id"] == id).unwrap_or_else(|| panic!("{id}"))
    };
    let api = route("api");
    assert_eq!(
        (&api["uris"][0], &api["enabled"], &api["file"]),
        (&"/api/*".into(), &true.into(), &"routes/api.yaml".into())
    );
    let gateway = &api["api_gateway"];
    for (pointer, expected) in [
        ("/function_uri", "http://127.0.0.1:1/prod?(redacted)"),
        ("/authorization/apikey", "(redacted)"),
        ("/authorization/iam/accesskey", "(redacted)"),
        ("/authorization/iam/assume_role_arn", "arn:aws:iam::123456789012:role/x"),
        ("/authorization/iam/service", "execute-api"),
        ("/client_authorization", "replace"),
        ("/connect_timeout", "3s"),
        ("/retry/unsafe/0", "timeout"),
        ("/circuit_breaker/open_for", "10s"),
        ("/proxy_url", "http://(redacted)@127.0.0.1:1"),
        ("/connect/address", "127.0.0.1:2"),
        ("/max_req_body_size", "10MiB"),
    ] {
        assert_eq!(gateway.pointer(pointer).and_then(serde_json::Value::as_str), Some(expected), "{pointer}");
    }
    let token = gateway["authorization"]["iam"]["session_token"].as_str().unwrap();
    assert!(token.starts_with("$file:///"), "{token}");
    assert_eq!(
        route("parts")["headers"],
        serde_json::json!({
            "request": { "set": { "x-verify": "(redacted)" }, "add": {}, "remove": ["cookie"] },
            "response": { "set": {}, "add": {}, "remove": [] },
        })
    );
    assert!(api["headers"].is_null());
    let lambda = &route("merged")["lambda"];
    assert_eq!((&lambda["function_name"], &lambda["aws_key"]), (&"f".into(), &"(redacted)".into()));
    assert_eq!((&lambda["body"]["key"], &lambda["idle_timeout"]), (&"(redacted)".into(), &"1h".into()));
    let event = route("event");
    assert_eq!((&event["enabled"], &event["hosts"][0]), (&false.into(), &"*.example.com".into()));
    assert_eq!(
        (&event["methods"][0], &event["lambda"]["stage_variables"]["key"]),
        (&"GET".into(), &"(redacted)".into())
    );
    assert!(!response.text().contains("hush"), "{}", response.text());
}

/// Keys that are missing in the JSON by design: aliases, long forms, and keys that are merged into others.
const LEFT_OUT: [&str; 9] = [
    "uri",
    "authorization.iam.secret_key",
    "aws_access_key",
    "aws_secret_key",
    "timeout",
    "upstream_url",
    "use_fips_endpoint",
    "use_dualstack_endpoint",
    "skip_large_bodies",
];

#[test]
fn every_key_of_the_reference_is_in_the_section_that_has_it() {
    let app = app();
    let routes = get(app.admin, "/routes").json();
    let reference =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/settings/README.md")).unwrap();
    let mut looked_at = 0;
    // each of the three kinds of events has its own keys
    for (heading, section, ids) in [
        ("## Route keys", "", &["api", "merged", "event", "parts"][..]),
        ("## `api_gateway`", "/api_gateway", &["api", "anywhere"]),
        ("## `lambda`", "/lambda", &["merged", "event", "parts", "function"]),
    ] {
        let sections: Vec<_> = routes
            .as_array()
            .unwrap()
            .iter()
            .filter(|route| ids.iter().any(|id| route["id"] == *id))
            .map(|route| route.pointer(section).unwrap())
            .collect();
        assert_eq!(sections.len(), ids.len());
        for row in super::documents::table(&reference, heading) {
            for key in row[0].split(", ").filter(|key| !LEFT_OUT.contains(key)) {
                let pointer = format!("/{}", key.replace('.', "/"));
                assert!(
                    sections.iter().any(|section| section.pointer(&pointer).is_some()),
                    "{heading}: {key}"
                );
                looked_at += 1;
            }
        }
    }
    assert!(looked_at > 90, "{looked_at}");
}
