//! Routes with path parameters, and prefixes that are stripped or rewritten, seen by a client and by the
//! backend.

use serde_json::{Value, json};

use super::support::{App, Upstream, get};

const PROXY: &str = "awsgateway_compatible: true, is_proxy_integration: true";
const ANSWER: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 18\r\n\r\n{\"statusCode\":200}";

/// The target that a request of `path` has for the API behind `uri`.
fn target(uri: &str, function_uri: &str, rest: &str, path: &str) -> Result<String, u16> {
    let upstream = Upstream::ok();
    let function_uri = upstream.uri(function_uri);
    let route = format!("uri: '{uri}'\n{rest}api_gateway: {{ function_uri: '{function_uri}' }}\n");
    let app = App::with("").route("r", &route).start();
    let response = get(app.address, path);
    if response.status != 200 {
        assert!(upstream.received().is_empty());
        return Err(response.status);
    }
    Ok(upstream.only().target().to_owned())
}

/// The event that a request of `path` is for a function behind the routes `uris`.
fn event(routes: &[(&str, &str)], version: &str, path: &str) -> Result<Value, u16> {
    let upstream = Upstream::answering(ANSWER);
    let mut app = App::with("");
    for (index, (uri, rest)) in routes.iter().enumerate() {
        let keys =
            format!("function_name: f, aws_region: us-east-1, aws_key: AKIDEXAMPLE, aws_secret: s, {PROXY}");
        let address = format!(
            "host: {}, port: {}, disable_https: true",
            upstream.address.ip(),
            upstream.address.port()
        );
        let version = format!("awsgateway_compatible_payload_version: '{version}'");
        let route = format!("uri: '{uri}'\n{rest}lambda: {{ {keys}, {address}, {version} }}\n");
        app = app.route(&format!("r{index}"), &route);
    }
    let app = app.start();
    let response = get(app.address, path);
    if response.status != 200 {
        assert!(upstream.received().is_empty());
        return Err(response.status);
    }
    Ok(serde_json::from_slice(&upstream.only().body).unwrap())
}

#[test]
fn parameters_fill_the_path_and_the_query_of_function_uri() {
    let own = "/prod/u/{id}?tab={tab}";
    let filled = |path| target("/users/{id}/{tab}", own, "", path);
    assert_eq!(filled("/users/7/home?a=1"), Ok("/prod/u/7?tab=home&a=1".into()));
    // escapes stay in the path; a value of the query is encoded anew
    assert_eq!(filled("/users/a%2Fb%20/x%26y+z&w=v"), Ok("/prod/u/a%2Fb%20?tab=x%26y%2Bz%26w%3Dv".into()));
    for dots in ["/users/../x", "/users/%2e%2e/x", "/users/./x", "/users/%2E/x", "/users/..%2f../x"] {
        assert_eq!(filled(dots), Err(400), "{dots}");
    }
}

#[test]
fn no_value_makes_a_dot_segment_with_the_text_around_it() {
    let filled = |own, path| target("/u/{a}/{b}", own, "", path);
    assert_eq!(filled("/p/.{a}/{b}.json", "/u/x/y"), Ok("/p/.x/y.json".into()));
    for (own, path) in [
        ("/p/.{a}/x", "/u/.%2Fx/b"),
        ("/p/.{a}/x", "/u/.;x/b"),
        ("/p/{a}.", "/u/x%2F./b"),
        ("/p/{a}{b}", "/u/x%2F./.%2Fy"),
        ("/p/{a}.{b}", "/u/x%2F/.%5Cy"),
        ("/p/{a}.{b}", "/u/%252F/%252E%252Fy"),
    ] {
        assert_eq!(filled(own, path), Err(400), "{own} {path}");
    }
    // a segment stays one: a value must not remove itself
    for path in ["/u/x%2F../b", "/u/x%5C..;/b", "/u/x/a%2F%2E%2E%2Fb"] {
        assert_eq!(filled("/p/{a}/{b}/z", path), Err(400), "{path}");
    }
    // the rest of a path may have dots that stay in it
    let rest = |own, path| target("/f/{id}/{path+}", own, "", path);
    assert_eq!(rest("/a/{path}/{id}", "/f/7/x/../y"), Ok("/a/x/../y/7".into()));
    assert_eq!(rest("/a/.{path}", "/f/7/.%2Fx"), Err(400));
    assert_eq!(rest("/a/{id}/{path}", "/f/x%2F../y"), Err(400));
}

#[test]
fn the_rest_is_appended_unless_function_uri_names_it() {
    assert_eq!(target("/f/{proxy+}", "/prod", "", "/f/x//y%2F/"), Ok("/prod/x//y%2F/".into()));
    assert_eq!(target("/f/{path+}", "/a/{path}/b", "", "/f/x/y"), Ok("/a/x/y/b".into()));
    assert_eq!(target("/f/*", "/a/{proxy}/b", "", "/f/x/y"), Ok("/a/x/y/b".into()));
    assert_eq!(target("/f/{id}/*", "/prod", "", "/f/7/x"), Ok("/prod/x".into()));
    assert_eq!(target("/f/{id}", "/prod", "", "/f/7"), Ok("/prod".into()));
    assert_eq!(target("/f/{path+}", "/a/{path}/b", "", "/f/x/../../y"), Err(400));
    assert_eq!(target("/f/{path+}", "/a", "", "/f/"), Err(404));
}

#[test]
fn a_rewrite_stands_between_function_uri_and_the_rest() {
    assert_eq!(
        target("/old/*", "/prod", "rewrite: /new/api\n", "/old/x?q=1"),
        Ok("/prod/new/api/x?q=1".into())
    );
    assert_eq!(target("/old/*", "/", "rewrite: /new/\n", "/old/"), Ok("/new".into()));
    assert_eq!(target("/old/*", "/", "rewrite: /\n", "/old/x"), Ok("/x".into()));
}

#[test]
fn a_signed_route_signs_the_path_that_its_parameters_make() {
    let keys = "  authorization: { iam: { accesskey: AKIDEXAMPLE, secretkey: s } }\n";
    let upstream = Upstream::ok();
    let route =
        format!("uri: /u/{{id}}\napi_gateway:\n  function_uri: {}\n{keys}", upstream.uri("/p/{id}?q={id}"));
    let app = App::with("").route("r", &route).start();
    assert_eq!(get(app.address, "/u/a%20b*").status, 200);
    let sent = upstream.only();
    assert_eq!(sent.target(), "/p/a%20b*?q=a%20b%2A");
    assert!(sent.header("authorization").is_some());
}

#[test]
fn l_five_templates_lead_to_one_function_and_its_events_name_each() {
    let routes = [
        ("/users", ""),
        ("/users/{id}", ""),
        ("/users/me", ""),
        ("/users/{id}/orders/{order}", ""),
        ("/files/{path+}", ""),
    ];
    for (path, resource, parameters) in [
        ("/users", "/users", Value::Null),
        ("/users/a%20b", "/users/{id}", json!({ "id": "a%20b" })),
        ("/users/me", "/users/me", Value::Null),
        ("/users/7/orders/x%2Fy", "/users/{id}/orders/{order}", json!({ "id": "7", "order": "x%2Fy" })),
        ("/files/a/b%20c/", "/files/{path+}", json!({ "path": "a/b%20c" })),
    ] {
        let event = event(&routes, "1.0", path).unwrap();
        assert_eq!((&event["path"], &event["resource"]), (&json!(path), &json!(resource)));
        assert_eq!(event["pathParameters"], parameters);
        assert_eq!(event["requestContext"]["resourcePath"], resource);
    }
    let http = event(&routes, "2.0", "/users/7/orders/x%2Fy").unwrap();
    assert_eq!(http["routeKey"], "ANY /users/{id}/orders/{order}");
    assert_eq!(http["pathParameters"], json!({ "id": "7", "order": "x/y" }));
    assert_eq!(http["rawPath"], "/users/7/orders/x%2Fy");
    assert_eq!(
        event(&routes, "2.0", "/files/a/b%20c/").unwrap()["pathParameters"],
        json!({ "path": "a/b c/" })
    );
    assert_eq!(event(&routes, "2.0", "/users/").unwrap_err(), 404);
}

#[test]
fn the_route_key_names_the_method_where_the_route_does() {
    for (rest, key) in [
        ("", "ANY /users/{id}"),
        ("methods: []\n", "ANY /users/{id}"),
        ("methods: [GET]\n", "GET /users/{id}"),
        ("methods: [POST, GET]\nstrip_path: true\n", "GET /{id}"),
    ] {
        let event = event(&[("/users/{id}", rest)], "2.0", "/users/7").unwrap();
        assert_eq!(event["routeKey"], key, "{rest}");
        assert_eq!(event["requestContext"]["routeKey"], key, "{rest}");
    }
}

#[test]
fn one_function_serves_behind_two_prefixes() {
    for (rest, version, path, raw, resource) in [
        ("strip_path: true\n", "1.0", "/shop/v1/carts/7", "/carts/7", "/{proxy+}"),
        ("strip_path: true\n", "1.0", "/shop/v1", "/", "/"),
        ("rewrite: /api\n", "1.0", "/shop/v1/carts/7", "/api/carts/7", "/api/{proxy+}"),
        ("strip_path: true\n", "2.0", "/shop/v1/carts/7", "/carts/7", "/{proxy+}"),
        ("rewrite: /api\n", "2.0", "/shop/v1/carts/7", "/api/carts/7", "/api/{proxy+}"),
    ] {
        let event = event(&[("/shop/v1*", rest)], version, path).unwrap();
        if version == "1.0" {
            assert_eq!((&event["path"], &event["resource"]), (&json!(raw), &json!(resource)), "{rest}");
            assert_eq!(event["requestContext"]["path"], raw);
        } else {
            assert_eq!(event["rawPath"], raw);
            assert_eq!(event["requestContext"]["http"]["path"], raw);
            assert_eq!(event["routeKey"], format!("ANY {resource}"));
        }
    }
}

#[test]
fn a_lambda_route_refuses_dots_that_leave_its_prefix() {
    for path in ["/f/../x", "/f/a/../../x", "/f/%2e%2e/x", "/f/..%2fx"] {
        assert_eq!(event(&[("/f/*", "")], "1.0", path).unwrap_err(), 400, "{path}");
    }
    assert!(event(&[("/f/*", "")], "1.0", "/f/a/../x").is_ok());
    assert_eq!(event(&[("/u/{id}", "")], "2.0", "/u/..").unwrap_err(), 400);
}
