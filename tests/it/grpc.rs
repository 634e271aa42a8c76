//! gRPC clients: every response has a `grpc-status`.

use super::support::{App, Http2, Upstream, call, http2::Answer};

const CALL: &[(&str, &str)] = &[("content-type", "application/grpc+proto"), ("te", "trailers")];
/// An uncompressed message of three bytes.
const MESSAGE: &[u8] = b"\0\0\0\0\x03abc";

fn app(upstream: &Upstream) -> App {
    App::listening("h2c: true", "limits: { max_in_flight: 1 }")
        .gateway("r", "/pkg.Service/*", &upstream.uri("/"), "max_req_body_size: 100\ntimeout: 300")
        .gateway("gone", "/gone/*", "http://127.0.0.1:1/", "timeout: 300")
        .start()
}

fn invoke(client: &mut Http2, path: &str, body: &[u8]) -> Answer {
    client.call("POST", &format!("http://h{path}"), CALL, body).unwrap()
}

/// Checks a trailers-only response and returns its status.
#[track_caller]
fn assert_trailers_only(answer: &Answer, status: &str, message: &str) {
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/grpc")), "{answer:?}");
    assert_eq!(answer.header("grpc-status"), Some(status), "{answer:?}");
    assert!(answer.header("grpc-message").unwrap().contains(message), "{answer:?}");
    assert!(answer.body.is_empty() && answer.trailers.is_none(), "{answer:?}");
    assert!(answer.header("x-request-id").is_some());
}

#[test]
fn errors_of_ours_are_trailers_only_with_the_status_of_the_table() {
    let upstream =
        Upstream::accepting(|_, mut stream, _| std::io::copy(&mut stream, &mut std::io::sink()).map(drop));
    let app = app(&upstream);
    let mut client = Http2::open(app.address);
    assert_trailers_only(&invoke(&mut client, "/other.Service/Do", MESSAGE), "12", "(route_not_found)");
    assert_trailers_only(&invoke(&mut client, "/pkg.Service/Do", &[0; 101]), "8", "(payload_too_large)");
    assert_trailers_only(&invoke(&mut client, "/gone/Do", MESSAGE), "14", "(upstream_connect)");
    assert_trailers_only(&invoke(&mut client, "/pkg.Service/%zz", MESSAGE), "3", "(invalid_path)");
    assert_trailers_only(&invoke(&mut client, "/pkg.Service/Do", MESSAGE), "4", "(upstream_timeout)");
}

#[test]
fn an_upstream_that_does_not_speak_grpc_is_12_or_what_its_status_means_and_never_a_broken_stream() {
    for (line, status) in [
        ("200 OK", "12"),
        ("403 Forbidden", "7"),
        ("404 Not Found", "12"),
        ("429 Too Many Requests", "14"),
        ("500 Internal Server Error", "2"),
        ("502 Bad Gateway", "14"),
    ] {
        let upstream = Upstream::answering(&format!(
            "HTTP/1.1 {line}\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}"
        ));
        let app = app(&upstream);
        let answer = invoke(&mut Http2::open(app.address), "/pkg.Service/Do", MESSAGE);
        assert_trailers_only(&answer, status, "does not speak gRPC");
        assert_eq!(upstream.only().body, MESSAGE);
    }
    // also a gRPC content type without a status, because the call's result would be unknown
    let upstream = Upstream::answering(
        "HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ncontent-length: 8\r\n\r\n\0\0\0\0\x03abc",
    );
    let app = app(&upstream);
    let answer = invoke(&mut Http2::open(app.address), "/pkg.Service/Do", MESSAGE);
    assert_trailers_only(&answer, "12", "does not speak gRPC");
}

#[test]
fn a_function_that_puts_grpc_status_among_its_headers_is_understood() {
    let upstream = Upstream::answering(
        "HTTP/1.1 200 OK\r\ncontent-type: application/grpc+proto\r\ngrpc-status: 0\r\ngrpc-message: fine\r\n\
         content-length: 8\r\n\r\n\0\0\0\0\x03abc",
    );
    let app = app(&upstream);
    let answer = invoke(&mut Http2::open(app.address), "/pkg.Service/Do", MESSAGE);
    assert_eq!((answer.status, answer.header("grpc-status"), &*answer.body), (200, None, MESSAGE));
    let trailers = answer.trailers.unwrap();
    assert_eq!(
        (trailers["grpc-status"].as_bytes(), trailers["grpc-message"].as_bytes()),
        (&b"0"[..], &b"fine"[..])
    );

    let upstream = Upstream::answering(
        "HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ngrpc-status: 5\r\ngrpc-message: none\r\n\
         content-length: 0\r\n\r\n",
    );
    let app = self::app(&upstream);
    let answer = invoke(&mut Http2::open(app.address), "/pkg.Service/Do", MESSAGE);
    assert_trailers_only(&answer, "5", "none");
}

#[test]
fn a_call_over_http_1_1_gets_its_status_too() {
    let upstream = Upstream::ok();
    let app = app(&upstream);
    let response = call(app.address, "POST", "/none", &[("content-type", "application/grpc")], MESSAGE);
    assert_eq!((response.status, response.header("grpc-status")), (200, Some("12")));
    assert!(response.body.is_empty());
}

#[test]
fn other_types_get_the_json() {
    let upstream = Upstream::ok();
    let app = app(&upstream);
    for content_type in ["application/json", "application/grpc-web"] {
        let response = call(app.address, "POST", "/none", &[("content-type", content_type)], MESSAGE);
        assert_eq!((response.status, response.code().as_str()), (404, "route_not_found"), "{content_type}");
    }
}
