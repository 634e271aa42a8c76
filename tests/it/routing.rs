//! Route matching, as seen by a client.

use super::support::{App, Upstream, call, get, send};

fn two_routes(upstream: &Upstream) -> App {
    App::with("")
        .route(
            "read",
            &format!(
                "uri: /a/*\nmethods: [GET, HEAD]\napi_gateway: {{ function_uri: {} }}\n",
                upstream.uri("/read")
            ),
        )
        .route(
            "write",
            &format!(
                "uri: /a/*\nmethods: [PUT]\napi_gateway: {{ function_uri: {} }}\n",
                upstream.uri("/write")
            ),
        )
        .start()
}

#[test]
fn a_path_without_route_is_404_and_a_method_without_route_is_405_with_allow() {
    let upstream = Upstream::ok();
    let app = two_routes(&upstream);
    let missing = get(app.address, "/b");
    assert_eq!((missing.status, missing.code().as_str()), (404, "route_not_found"));
    let wrong = call(app.address, "DELETE", "/a/x", &[], b"");
    assert_eq!((wrong.status, wrong.code().as_str()), (405, "method_not_allowed"));
    assert_eq!(wrong.header("allow"), Some("GET, HEAD, PUT"));
    assert!(upstream.received().is_empty());
}

#[test]
fn the_method_chooses_between_routes_with_the_same_path() {
    let upstream = Upstream::ok();
    let app = two_routes(&upstream);
    get(app.address, "/a/x");
    call(app.address, "PUT", "/a/x", &[], b"1");
    let lines: Vec<String> = upstream.received().iter().map(|request| request.line.clone()).collect();
    assert_eq!(lines, ["GET /read/x HTTP/1.1", "PUT /write/x HTTP/1.1"]);
}

#[test]
fn the_host_of_an_absolute_target_goes_before_the_host_header() {
    let upstream = Upstream::ok();
    let app = App::with("")
        .route("any", &format!("uri: /x\napi_gateway: {{ function_uri: {} }}\n", upstream.uri("/any")))
        .route(
            "named",
            &format!(
                "uri: /x\nhosts: ['*.example.com']\napi_gateway: {{ function_uri: {} }}\n",
                upstream.uri("/named")
            ),
        )
        .start();
    send(app.address, "GET http://a.example.com/x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    send(app.address, "GET /x HTTP/1.1\r\nHost: B.EXAMPLE.com:9080\r\n\r\n");
    send(app.address, "GET /x HTTP/1.1\r\nHost: example.com\r\n\r\n");
    let targets: Vec<String> =
        upstream.received().iter().map(|request| request.target().to_owned()).collect();
    assert_eq!(targets, ["/named", "/named", "/any"]);
}

#[test]
fn a_route_that_is_not_enabled_takes_nothing() {
    let upstream = Upstream::ok();
    let app = App::with("")
        .route(
            "off",
            &format!("uri: /a\nenabled: false\napi_gateway: {{ function_uri: {} }}\n", upstream.uri("/")),
        )
        .start();
    assert_eq!(get(app.address, "/a").status, 404);
}

#[test]
fn connect_and_trace_and_the_asterisk_reach_no_upstream() {
    let upstream = Upstream::ok();
    let app = App::to(&upstream.uri("/"));
    assert_eq!(send(app.address, "TRACE /x HTTP/1.1\r\nHost: h\r\n\r\n").status, 405);
    assert_eq!(send(app.address, "CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n").status, 404);
    assert_eq!(send(app.address, "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n").status, 404);
    assert!(upstream.received().is_empty());
}
