//! Behaviour cases of APISIX's `aws-lambda` plugin by number (A), with the documented differences.

use std::io::{BufReader, Write};

use apigw_invoker::stand_in::{StandInKeys, StandInOptions};

use super::support::{App, Upstream, call, get, open, read_response, send, upstream::Received};

const IAM: &str = "authorization:\n  iam: { accesskey: AKIDEXAMPLE, secretkey: s }";
const KEY: &str = "authorization:\n  apikey: the-routes-key";
const BOTH: &str =
    "authorization:\n  apikey: the-routes-key\n  iam: { accesskey: AKIDEXAMPLE, secretkey: s }";

fn route(upstream: &Upstream, path: &str, rest: &str) -> App {
    App::with("").gateway("r", "/r/*", &upstream.uri(path), rest).start()
}

/// Target of the outbound request for a request target.
fn target(path: &str, rest: &str, requested: &str) -> String {
    let upstream = Upstream::ok();
    let app = route(&upstream, path, rest);
    assert_eq!(get(app.address, requested).status, 200, "{requested}");
    upstream.only().target().to_owned()
}

#[test]
fn a04_the_functions_body_and_length_come_back_unchanged() {
    let app = App::dev();
    let response = get(app.address, "/aws?name=APISIX");
    assert_eq!((response.status, response.text().as_str()), (200, "\"Hello, APISIX!\""));
    assert_eq!(response.header("content-length"), Some("16"));
    assert_eq!(response.header("transfer-encoding"), None);
}

#[test]
fn a05_the_key_goes_out_as_x_api_key() {
    let upstream = Upstream::ok();
    let app = route(&upstream, "/", KEY);
    get(app.address, "/r/");
    assert_eq!(upstream.only().header("x-api-key"), Some("the-routes-key"));
    assert_eq!(upstream.only().header("authorization"), None);
}

#[test]
fn a06_a08_a09_s14_what_a_client_brings_to_prove_itself_is_replaced_or_removed() {
    let proofs = [
        ("x-api-key", "mine"),
        ("authorization", "Bearer mine"),
        ("x-amz-date", "20200101T000000Z"),
        ("x-amz-security-token", "mine"),
        ("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
    ];
    let upstream = Upstream::ok();
    let app = route(&upstream, "/", BOTH);
    call(app.address, "GET", "/r/", &proofs, b"");
    let received = upstream.only();
    assert_eq!(received.header("x-api-key"), Some("the-routes-key"));
    assert!(
        received.header("authorization").unwrap().starts_with("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
    );
    assert_ne!(received.header("x-amz-date"), Some("20200101T000000Z"));
    assert_eq!(received.header("x-amz-security-token"), None);
    assert_eq!(received.header("x-amz-content-sha256"), None);
}

#[test]
fn a06_a09_with_client_authorization_pass_the_clients_proofs_win_as_in_apisix() {
    let upstream = Upstream::ok();
    let app = route(&upstream, "/", &format!("{BOTH}\nclient_authorization: pass"));
    call(app.address, "GET", "/r/", &[("x-api-key", "mine"), ("authorization", "Bearer mine")], b"");
    let received = upstream.only();
    assert_eq!(received.header("x-api-key"), Some("mine"));
    assert_eq!(received.header("authorization"), Some("Bearer mine"));
    assert_eq!(received.header("x-amz-date"), None);
}

#[test]
fn a08_with_client_authorization_pass_a_client_without_authorization_is_signed_for() {
    let upstream = Upstream::ok();
    let app = route(&upstream, "/", &format!("{BOTH}\nclient_authorization: pass"));
    call(app.address, "GET", "/r/", &[("x-api-key", "mine")], b"");
    let received = upstream.only();
    assert_eq!(received.header("x-api-key"), Some("mine"));
    assert!(received.header("authorization").unwrap().starts_with("AWS4-HMAC-SHA256 "));
}

#[test]
fn a_route_without_authorization_leaves_the_clients_proofs_alone() {
    let upstream = Upstream::ok();
    let app = route(&upstream, "/", "");
    call(app.address, "GET", "/r/", &[("x-api-key", "mine"), ("authorization", "Bearer mine")], b"");
    assert_eq!(upstream.only().header("x-api-key"), Some("mine"));
    assert_eq!(upstream.only().header("authorization"), Some("Bearer mine"));
}

#[test]
fn a07_key_and_signature_are_both_sent() {
    let app = App::dev();
    assert_eq!(get(app.address, "/both/hello").status, 200);
}

#[test]
fn a10_a_signed_request_carries_authorization_and_x_amz_date() {
    let upstream = Upstream::ok();
    let app = route(&upstream, "/", IAM);
    get(app.address, "/r/");
    let received = upstream.only();
    let date = received.header("x-amz-date").unwrap().to_owned();
    assert!(date.len() == 16 && date.as_bytes()[8] == b'T' && date.ends_with('Z'), "{date}");
    let scope = format!("Credential=AKIDEXAMPLE/{}/us-east-1/execute-api/aws4_request,", &date[..8]);
    let authorization = received.header("authorization").unwrap();
    assert!(authorization.contains(&scope), "{authorization}");
    assert!(authorization.contains("SignedHeaders=host;x-amz-date,"), "{authorization}");
}

#[test]
fn a11_a_signed_query_goes_out_in_strict_escapes_and_verifies() {
    let app = App::dev();
    let response = get(app.address, "/iam/echo?with%20space=a%2Fb%20c&multi=m2&multi=m1&flag&a=*&a-=x+y");
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.json()["query"], "with%20space=a%2Fb%20c&multi=m2&multi=m1&flag=&a=%2A&a-=x%20y");
}

#[test]
fn a12_an_unsigned_query_goes_out_byte_for_byte() {
    let query = "b=2&a=1&a&&flag&c=x/y%2fz+*'&d={|}";
    assert_eq!(target("/", KEY, &format!("/r/?{query}")), format!("/?{query}"));
    assert_eq!(target("/", "", "/r/x?"), "/x?");
}

#[test]
fn a13_no_header_and_no_argument_is_lost() {
    let upstream = Upstream::ok();
    let app = route(&upstream, "/", IAM);
    let names: Vec<String> = (0..80).map(|index| format!("x-h{index}")).collect();
    let headers: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "v")).collect();
    let query: Vec<String> = (0..500).map(|index| format!("k{index}=v")).collect();
    assert_eq!(call(app.address, "GET", &format!("/r/?{}", query.join("&")), &headers, b"").status, 200);
    let received = upstream.only();
    assert!(names.iter().all(|name| received.header(name) == Some("v")));
    assert_eq!(received.target(), format!("/?{}", query.join("&")));
}

#[test]
fn a14_a15_a_chunked_body_arrives_with_its_length_and_the_same_bytes() {
    for rest in [IAM, KEY] {
        let upstream = Upstream::ok();
        let app = route(&upstream, "/", rest);
        let request = "POST /r/ HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n\
            6;x=y\r\n world\r\n0\r\n\r\n";
        assert_eq!(send(app.address, request).status, 200);
        let received = upstream.only();
        assert_eq!(received.header("content-length"), Some("11"));
        assert_eq!(received.body, b"hello world");
    }
}

#[test]
fn a_body_of_known_length_arrives_byte_for_byte_on_signed_and_unsigned_routes() {
    let body: Vec<u8> = (0..200_000_u32).map(|index| u8::try_from(index % 251).unwrap()).collect();
    for rest in [IAM, KEY, ""] {
        let upstream = Upstream::ok();
        let app = route(&upstream, "/", rest);
        let headers = [("content-type", "application/octet-stream")];
        assert_eq!(call(app.address, "PUT", "/r/", &headers, &body).status, 200);
        assert!(upstream.only().body == body);
    }
}

#[test]
fn a_request_without_body_says_length_0_where_its_method_has_one() {
    for (method, length) in
        [("GET", None), ("HEAD", None), ("DELETE", None), ("POST", Some("0")), ("PUT", Some("0"))]
    {
        let upstream = Upstream::ok();
        let app = route(&upstream, "/", IAM);
        call(app.address, method, "/r/", &[], b"");
        assert_eq!(upstream.only().header("content-length"), length, "{method}");
    }
}

#[test]
fn a18_to_a27_the_rest_of_the_path_is_appended_byte_for_byte() {
    for (base, requested, expected) in [
        ("/api", "/r/httptrigger", "/api/httptrigger"),
        ("/api", "/r/http/trigger", "/api/http/trigger"),
        ("/api", "/r///http////trigger", "/api///http////trigger"),
        ("/api", "/r/", "/api"),
        ("/api/", "/r/", "/api/"),
        ("/api/", "/r/x", "/api/x"),
        ("/api/", "/r//x", "/api//x"),
        ("", "/r/openfunction", "/openfunction"),
        ("", "/r/", "/"),
        ("/", "/r/x", "/x"),
        ("/api", "/r/a%2Fb%20c/%C3%A9", "/api/a%2Fb%20c/%C3%A9"),
        ("/api", "/r/x/", "/api/x/"),
        ("/api", "/r/a+b/@x=/;p=1/*", "/api/a+b/@x=/;p=1/*"),
        ("/api", "/r/a/../b/./c", "/api/a/../b/./c"),
        ("/a%2Fb", "/r/c", "/a%2Fb/c"),
    ] {
        for rest in [IAM, KEY] {
            assert_eq!(target(base, rest, requested), expected, "{base} {requested}");
        }
    }
}

#[test]
fn a25_bytes_that_a_client_should_have_escaped_are_escaped_for_it() {
    let upstream = Upstream::ok();
    let app = route(&upstream, "/", "");
    let mut stream = BufReader::new(open(app.address));
    let request = |line: &str, body: &str| {
        format!("{line} HTTP/1.1\r\nHost: h\r\nX-Name: ü\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    };
    for (line, body) in [("GET /r/ü?q=ü\"<>", ""), ("PUT /r/^`?q=é", "ü é\nü"), ("GET /r/plain?q=ü", "")]
    {
        stream.get_mut().write_all(request(line, body).as_bytes()).unwrap();
        assert_eq!(read_response(&mut stream, false).unwrap().status, 200, "{line}");
    }
    let received = upstream.received();
    let targets: Vec<&str> = received.iter().map(Received::target).collect();
    assert_eq!(targets, ["/%C3%BC?q=%C3%BC%22%3C%3E", "/^%60?q=%C3%A9", "/plain?q=%C3%BC"]);
    assert_eq!(received[1].body, "ü é\nü".as_bytes());
    assert_eq!(received[0].header("x-name"), Some("ü"));

    let dev = App::dev();
    assert_eq!(send(dev.address, "GET /iam/echo/ü//é?q=ü\"^` HTTP/1.1\r\nHost: h\r\n\r\n").status, 200);
}

#[test]
fn a24_a_route_without_asterisk_ignores_the_requests_path() {
    let upstream = Upstream::ok();
    let app = App::with("").gateway("exact", "/hello", &upstream.uri("/prod/fn"), "").start();
    get(app.address, "/hello?a=1");
    assert_eq!(upstream.only().target(), "/prod/fn?a=1");
}

#[test]
fn a20_a25_a26_a27_odd_paths_verify_at_the_other_side() {
    let app = App::dev();
    for path in
        ["a%2Fb", "a//b", "//", "%C3%A9%20x", "a+b/@x=", "x/", "a/./b/../c/", "~*'()!$&,;:", "%25", "{a}|b"]
    {
        let response = get(app.address, &format!("/iam/echo/{path}"));
        assert_eq!(response.status, 200, "{path}: {}", response.text());
        assert_eq!(response.json()["path"], format!("/iam/echo/{path}"));
    }
}

#[test]
fn a28_the_query_of_function_uri_stays_and_goes_before_the_clients() {
    assert_eq!(target("/api?stage=a/b&x", KEY, "/r/p?c=1/2"), "/api/p?stage=a/b&x&c=1/2");
    assert_eq!(target("/api?stage=a/b&x", IAM, "/r/p?c=1/2"), "/api/p?stage=a%2Fb&x=&c=1%2F2");
    assert_eq!(target("/api?stage=a", IAM, "/r/p"), "/api/p?stage=a");
    assert_eq!(target("/api", IAM, "/r/p?"), "/api/p");
}

#[test]
fn a29_the_host_is_the_targets_with_its_port() {
    let upstream = Upstream::ok();
    let app = route(&upstream, "/", IAM);
    call(app.address, "GET", "/r/", &[("x-host", "x")], b"");
    assert_eq!(upstream.only().header("host"), Some(upstream.address.to_string().as_str()));
}

#[test]
fn a30_repeated_headers_stay_repeated_and_in_order() {
    let upstream = Upstream::ok();
    let app = route(&upstream, "/", IAM);
    let headers = [("x-a", "1"), ("cookie", "a=1"), ("x-a", "2"), ("cookie", "b=2"), ("x-a", "1")];
    assert_eq!(call(app.address, "GET", "/r/", &headers, b"").status, 200);
    assert_eq!(upstream.only().all("x-a"), ["1", "2", "1"]);
    assert_eq!(upstream.only().all("cookie"), ["a=1", "b=2"]);
}

#[test]
fn a30_a31_a_signed_request_verifies_with_repeated_spaced_and_foreign_headers() {
    let app = App::dev();
    let headers = [
        ("x-a", "two  blanks"),
        ("x-a", "and\ta tab"),
        ("x-amz-meta-a", "  two  blanks \tand a tab  "),
        ("x-amz-meta-a", "again"),
        ("content-type", "text/plain;  charset=\tutf-8"),
        ("user-agent", "a"),
        ("accept-encoding", "gzip"),
        ("x-latin", "caf\u{e9}"),
        ("x-amz-latin", "caf\u{e9}"),
    ];
    let response = call(app.address, "POST", "/iam/echo", &headers, b"body");
    assert_eq!(response.status, 200, "{}", response.text());
    let arrived = &response.json()["headers"];
    assert_eq!(arrived["x-a"], serde_json::json!(["two  blanks", "and\ta tab"]));
    assert_eq!(arrived["x-amz-meta-a"], serde_json::json!(["two  blanks \tand a tab", "again"]));
    assert_eq!(arrived["content-type"], serde_json::json!(["text/plain;  charset=\tutf-8"]));
}

#[test]
fn a32_temporary_keys_work() {
    let keys = StandInKeys { session_token: Some("tok/en+1==".into()), ..StandInKeys::example() };
    let any = "127.0.0.1:0".parse().unwrap();
    let stand_in = apigw_invoker::stand_in::StandIn::start(any, StandInOptions::new(keys.clone())).unwrap();
    let authorization = format!(
        "authorization:\n  iam: {{ accesskey: {}, secretkey: '{}', session_token: tok/en+1== }}",
        keys.access_key_id, keys.secret_access_key
    );
    let app = App::with("")
        .gateway("r", "/r/*", &format!("http://{}/iam", stand_in.address()), &authorization)
        .start();
    let response = call(app.address, "POST", "/r/echo/x?a=1", &[("x-amz-security-token", "mine")], b"b");
    assert_eq!(response.status, 200, "{}", response.text());
}

#[test]
fn a33_a36_the_upstreams_status_passes_and_redirects_are_not_followed() {
    let app = App::dev();
    for status in [200, 201, 301, 302, 307, 400, 403, 404, 418, 429, 500, 503, 504] {
        let response = get(app.address, &format!("/open/status/{status}"));
        assert_eq!(response.status, status);
        assert_eq!(response.header("location").is_some(), (300..400).contains(&status));
    }
    let unknown = get(app.address, "/key/nowhere");
    assert_eq!(unknown.status, 403);
    assert_eq!(unknown.header("x-amzn-errortype"), Some("MissingAuthenticationTokenException"));
}

#[test]
fn a34_hop_by_hop_headers_and_those_named_in_connection_go_neither_way() {
    let upstream = Upstream::answering(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\n\
         Keep-Alive: timeout=5\r\nTrailer: x\r\nUpgrade: h2c\r\nProxy-Authenticate: Basic\r\nX-Kept: 1\r\n\
         Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n\r\nok",
    );
    let app = route(&upstream, "/", KEY);
    let headers = [
        ("Connection", "X-Mine, x-api-key, TE"),
        ("X-Mine", "1"),
        ("TE", "trailers"),
        ("Keep-Alive", "5"),
        ("Proxy-Connection", "keep-alive"),
        ("Proxy-Authorization", "Basic eA=="),
        ("Trailer", "x"),
        ("Upgrade", "h2c"),
        ("HTTP2-Settings", "AAA"),
        ("X-Kept", "1"),
    ];
    let response = call(app.address, "GET", "/r/", &headers, b"");
    let received = upstream.only();
    assert_eq!(
        received.names(),
        [
            "host",
            "traceparent",
            "via",
            "x-amzn-trace-id",
            "x-api-key",
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-port",
            "x-forwarded-proto",
            "x-kept",
            "x-request-id"
        ]
    );
    assert_eq!(received.header("x-api-key"), Some("the-routes-key"));
    let mut names: Vec<&str> = response.headers.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["content-length", "date", "set-cookie", "set-cookie", "x-kept", "x-request-id"]);
    assert_eq!(response.all("set-cookie"), ["a=1", "b=2"]);
}

#[test]
fn headers_that_aws_would_obey_do_not_reach_it() {
    let upstream = Upstream::ok();
    let app = route(&upstream, "/", IAM);
    let headers = [
        ("X-HTTP-Method-Override", "DELETE"),
        ("x-amzn-vpce-id", "1"),
        ("x-amzn-vpc-id", "1"),
        ("x-amzn-tls-version", "1"),
        ("x-amzn-cipher-suite", "1"),
    ];
    call(app.address, "GET", "/r/", &headers, b"");
    let names = upstream.only().names();
    let is_removed =
        |name: &String| name.starts_with("x-amzn-") && name != "x-amzn-trace-id" || name.contains("override");
    assert!(!names.iter().any(is_removed), "{names:?}");
}

#[test]
fn who_forwards_is_said_and_an_earlier_hop_is_kept() {
    let upstream = Upstream::ok();
    let app = route(&upstream, "/", "");
    let headers = [
        ("X-Forwarded-For", "10.0.0.1"),
        ("X-Forwarded-For", "10.0.0.2"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "evil"),
        ("X-Forwarded-Port", "1"),
        ("Via", "1.1 other"),
    ];
    call(app.address, "GET", "/r/", &headers, b"");
    let received = upstream.only();
    assert_eq!(received.header("x-forwarded-for"), Some("10.0.0.1, 10.0.0.2, 127.0.0.1"));
    assert_eq!(received.header("x-forwarded-proto"), Some("http"));
    assert_eq!(received.header("x-forwarded-host"), Some("localhost"));
    let ports = received.all("x-forwarded-port");
    assert_eq!(ports, [app.address.port().to_string()], "e3: the listener's, not what the client claims");
    let via = received.header("via").unwrap();
    assert!(via.starts_with("1.1 other, 1.1 apigw-invoker-"), "{via}");
}

#[test]
fn a_request_that_comes_back_is_508() {
    // the port is unknown before the sidecar listens, so the loop needs two sidecars
    let (front_port, back_port) = (free_port(), free_port());
    let listen =
        |port: u16| format!("listen: {{ http: '127.0.0.1:{port}' }}\nadmin: {{ address: '127.0.0.1:0' }}\n");
    let front = start_on(&listen(front_port), &format!("http://127.0.0.1:{back_port}/x"));
    let _back = start_on(&listen(back_port), &format!("http://127.0.0.1:{front_port}/x"));
    let response = get(front.address, "/r/");
    assert_eq!((response.status, response.code().as_str()), (508, "loop_detected"));
}

fn start_on(listen: &str, function_uri: &str) -> App {
    let mut builder = App::with("");
    builder.replace_process(listen);
    builder.gateway("r", "/*", function_uri, "").start()
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn the_request_id_is_taken_or_made_passed_on_and_returned() {
    let upstream =
        Upstream::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx-request-id: theirs\r\n\r\n");
    let app = route(&upstream, "/", "");
    let response = call(app.address, "GET", "/r/", &[("X-Request-Id", "my-id-1")], b"");
    assert_eq!(response.all("x-request-id"), ["my-id-1"]);
    assert_eq!(upstream.only().header("x-request-id"), Some("my-id-1"));

    for unfit in ["", "with blank", &"x".repeat(129)] {
        let response = call(app.address, "GET", "/nowhere", &[("X-Request-Id", unfit)], b"");
        let id = response.header("x-request-id").unwrap();
        assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
        assert_eq!(response.json()["request_id"], id);
    }
}

#[test]
fn a_signature_in_the_clients_query_does_not_reach_a_signed_route() {
    assert_eq!(target("/", IAM, "/r/?a=1&X-Amz-Signature=x&X-Amz-Credential=y&X-Amz-Algorithm=z"), "/?a=1");
    assert_eq!(target("/", KEY, "/r/?X-Amz-Signature=x"), "/?X-Amz-Signature=x");
}

#[test]
fn head_and_304_keep_their_length_and_have_no_body() {
    let upstream = Upstream::serving(|request, stream| {
        let status = if request.line.starts_with("HEAD") { "200 OK" } else { "304 Not Modified" };
        write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 1234\r\nETag: \"e\"\r\n\r\n")
    });
    let app = route(&upstream, "/", IAM);
    let mut stream = BufReader::new(open(app.address));
    for method in ["HEAD", "GET", "HEAD", "GET"] {
        write!(stream.get_mut(), "{method} /r/ HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
        let response = read_response(&mut stream, method == "HEAD").unwrap();
        assert_eq!(response.status, if method == "HEAD" { 200 } else { 304 });
        assert_eq!(response.header("content-length"), Some("1234"), "{method}");
        assert_eq!(response.header("etag"), Some("\"e\""));
    }
    assert_eq!(upstream.accepted(), 1, "the connection serves on");
}

#[test]
fn a_large_body_passes_in_both_directions() {
    let app = App::dev();
    let body = vec![b'z'; 5 << 20];
    let response = call(app.address, "POST", "/iam/echo", &[("content-type", "text/plain")], &body);
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.json()["body"]["length"], 5 << 20);
    let response = get(app.address, "/key/bytes/5000000");
    assert_eq!(response.body.len(), 5_000_000);
}

#[test]
fn an_upgrade_is_ignored_and_the_connection_stays() {
    let app = App::dev();
    let request = "GET /open/hello HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let response = send(app.address, request);
    assert_eq!(response.status, 200);
    assert_eq!(response.header("connection"), None);
    assert_eq!(response.header("upgrade"), None);
}

#[test]
fn an_http_1_0_client_is_answered_in_terms_of_1_0() {
    let chunked =
        Upstream::answering("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
    let app = route(&chunked, "/", "");
    let response = send(app.address, "GET /r/ HTTP/1.0\r\nHost: h\r\n\r\n");
    assert_eq!((response.status, response.text().as_str()), (200, "hello"));
    assert_eq!(response.header("transfer-encoding"), None);
    assert!(chunked.only().header("via").unwrap().starts_with("1.0 "));
}
