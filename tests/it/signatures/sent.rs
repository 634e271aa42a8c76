//! Outbound requests over real sockets: they equal the client's request, and the signature covers them.

use apigw_invoker::signing::hash;

use super::{
    super::support::{App, Http2, Upstream, call, get, upstream::Received},
    SECRET_ACCESS_KEY,
};

const QUOTED: &str = r#"multipart/form-data; boundary="a  b""#;

fn iam(rest: &str) -> String {
    format!("authorization:\n  iam: {{ accesskey: AKIDEXAMPLE, secretkey: {SECRET_ACCESS_KEY} }}\n{rest}")
}

/// A signed route `/s/*`, and a route `/p/*` with `client_authorization: pass`.
fn signed(function_uri: &str) -> App {
    App::with("")
        .gateway("signed", "/s/*", function_uri, &iam(""))
        .gateway("pass", "/p/*", function_uri, &iam("client_authorization: pass\n"))
        .start()
}

/// The same in front of the stand-in, which verifies signatures with its own code.
fn before(dev: &App) -> App {
    signed(&format!("http://{}/iam/echo", dev.stand_in()))
}

fn signed_headers(received: &Received) -> Vec<&str> {
    let authorization = received.header("authorization").expect("it is signed");
    let (_, names) = authorization.split_once("SignedHeaders=").expect("names");
    names.split_once(',').expect("a signature behind them").0.split(';').collect()
}

#[test]
fn s1_a_path_that_ends_in_dots_verifies_and_goes_out_as_it_came() {
    let dev = App::dev();
    let app = before(&dev);
    for path in
        ["/a/b/..", "/a/b/.", "/a/b/../", "/a/./", "/a/b/./..", "/a/b/..?x=1", "//a//..", "/a/b/..//", "/."]
    {
        let response = get(app.address, &format!("/s{path}"));
        assert_eq!(response.status, 200, "{path}: {}", response.text());
        let sent = path.trim_start_matches('/').split('?').next().unwrap_or_default();
        // exactly one slash between the route's prefix and the rest
        assert!(response.json()["path"].as_str().unwrap().ends_with(sent), "{path}: {}", response.text());
    }
}

#[test]
fn s2_bytes_within_quotes_of_a_content_type_stay_on_a_signed_route() {
    let upstream = Upstream::ok();
    let app = signed(&upstream.uri("/"));
    for sent in [QUOTED, "multipart/form-data; name=\"a\tb\"", "text/plain;  charset=utf-8", "a/b;\tc=é"] {
        call(app.address, "POST", "/s/", &[("content-type", sent)], b"body");
        let received = upstream.received().pop().unwrap();
        assert_eq!(received.header("content-type"), Some(sent));
        assert!(!signed_headers(&received).contains(&"content-type"), "{sent}");
    }
}

#[test]
fn s2_a_content_type_that_all_signers_write_alike_is_signed() {
    let upstream = Upstream::ok();
    let app = signed(&upstream.uri("/"));
    for sent in ["application/json", "text/plain; charset=utf-8", "multipart/form-data; boundary=\"a b\""] {
        call(app.address, "POST", "/s/", &[("content-type", sent)], b"body");
        let received = upstream.received().pop().unwrap();
        assert_eq!(received.header("content-type"), Some(sent));
        assert_eq!(signed_headers(&received), ["content-type", "host", "x-amz-date"], "{sent}");
    }
}

#[test]
fn s2_every_x_amz_header_that_goes_out_is_signed_and_keeps_its_blanks() {
    let upstream = Upstream::ok();
    let app = signed(&upstream.uri("/"));
    let dev = App::dev();
    let checked = before(&dev);
    let values = ["a   b", "\"a  b\"", "\"a\tb\"", "a\t\tb", "é", ""];
    let headers = values.map(|value| ("x-amz-meta-a", value));
    call(app.address, "POST", "/s/", &headers, b"");
    let received = upstream.only();
    assert_eq!(received.all("x-amz-meta-a"), values);
    assert_eq!(signed_headers(&received), ["host", "x-amz-date", "x-amz-meta-a"]);
    let response = call(checked.address, "POST", "/s/", &headers, b"");
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.json()["headers"]["x-amz-meta-a"], serde_json::json!(values));
}

#[test]
fn s2_blanks_at_the_ends_of_an_http_2_value_verify() {
    let dev = App::dev();
    let app = before(&dev);
    let mut client = Http2::open(app.address);
    for value in [" a/b", "a/b ", "\ta/b", "  "] {
        let headers = [("content-type", value), ("x-amz-meta-a", value)];
        let answer = client.call("POST", "http://h/s/", &headers, b"body");
        // the HTTP library may refuse to send such a value
        if let Ok(answer) = answer {
            assert_eq!(answer.status, 200, "{value:?}: {}", answer.text());
        }
    }
}

/// All headers by which a client can claim a payload hash of `body`.
fn payload_hashes() -> Vec<Vec<(&'static str, String)>> {
    let name = "x-amz-content-sha256";
    let mut claims: Vec<Vec<(&str, String)>> = [
        "UNSIGNED-PAYLOAD",
        "unsigned-payload",
        "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        "garbage \t \"",
        "",
    ]
    .map(|value| vec![(name, value.to_owned())])
    .into();
    claims.push(vec![(name, hash(b"body"))]);
    claims.push(vec![(name, hash(b"body").to_uppercase())]);
    claims.push(vec![(name, hash(b"another"))]);
    claims.push(vec![(name, hash(b"body")), (name, hash(b"body"))]);
    claims.push(vec![(name, "UNSIGNED-PAYLOAD".into()), (name, hash(b"body"))]);
    claims
}

#[test]
fn x11_a_clients_payload_hash_does_not_go_out_beside_our_signature() {
    let upstream = Upstream::ok();
    let app = signed(&upstream.uri("/"));
    let dev = App::dev();
    let checked = before(&dev);
    for claim in payload_hashes() {
        let headers: Vec<(&str, &str)> = claim.iter().map(|(name, value)| (*name, value.as_str())).collect();
        for route in ["/s/", "/p/"] {
            call(app.address, "POST", route, &headers, b"body");
            let received = upstream.received().pop().unwrap();
            assert!(received.all("x-amz-content-sha256").is_empty(), "{route} {claim:?}");
            assert_eq!(signed_headers(&received), ["host", "x-amz-date"], "{route} {claim:?}");
            let response = call(checked.address, "POST", route, &headers, b"body");
            assert_eq!(response.status, 200, "{route} {claim:?}: {}", response.text());
        }
    }
}

#[test]
fn x11_beside_a_signature_of_the_clients_own_its_payload_hash_and_its_bytes_pass() {
    let upstream = Upstream::ok();
    let app = signed(&upstream.uri("/prod?base=a+b"));
    let headers = [
        ("authorization", "AWS4-HMAC-SHA256 theirs"),
        ("x-amz-date", "20200101T000000Z"),
        ("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
        ("content-type", QUOTED),
    ];
    call(app.address, "POST", "/p/a//b/..?x=c+d&flag&y=%7e*&X-Amz-Expires=1", &headers, b"body");
    let received = upstream.only();
    assert_eq!(received.target(), "/prod/a//b/..?base=a+b&x=c+d&flag&y=%7e*&X-Amz-Expires=1");
    for (name, value) in headers {
        assert_eq!(received.header(name), Some(value));
    }
}

#[test]
fn x11_a_route_without_authorization_leaves_a_payload_hash_alone() {
    let upstream = Upstream::ok();
    let app = App::to(&upstream.uri("/"));
    call(app.address, "POST", "/", &[("x-amz-content-sha256", "UNSIGNED-PAYLOAD")], b"body");
    assert_eq!(upstream.only().header("x-amz-content-sha256"), Some("UNSIGNED-PAYLOAD"));
}

#[test]
fn s11_dots_between_escaped_separators_verify_and_go_out_as_they_came() {
    let dev = App::dev();
    let app = before(&dev);
    for path in ["a%5C..%5Cb", "a\\..\\b", "a%2F..%2Fb", "x/a%2f..%2F.."] {
        let response = get(app.address, &format!("/s/{path}"));
        assert_eq!(response.status, 200, "{path}: {}", response.text());
        assert_eq!(response.json()["path"], format!("/iam/echo/{path}"));
    }
    for path in ["..%5Cb", "a%5C..%5C..%5Cb", "%2e/..", "a%2Fb%5C..%5C..%2Fc"] {
        let response = get(app.address, &format!("/s/{path}"));
        assert_eq!((response.status, response.code().as_str()), (400, "invalid_path"), "{path}");
    }
}
