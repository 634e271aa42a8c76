//! The spelling of header names in events: the client's in payload 1.0, lower case in 2.0.

use std::{
    fs,
    io::{BufReader, Write},
    net::SocketAddr,
};

use serde_json::{Value, json};

use super::support::{
    App, Http2, Upstream, eventually, open,
    process::{Process, binary, end_of, settings},
    read_response, send,
    upstream::Received,
};

const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
const V1: &str = "awsgateway_compatible: true";
const V2: &str = "awsgateway_compatible: true\nawsgateway_compatible_payload_version: 2.0";
/// The names that the sidecar adds to every request over TCP.
const ADDED: [&str; 7] = [
    "Host",
    "Via",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Port",
    "X-Forwarded-Proto",
    "x-request-id",
];

fn event_of(received: &Received) -> Value {
    serde_json::from_slice(&received.body).unwrap()
}

/// The names in an event that the sidecar does not add, sorted.
fn names(event: &Value) -> Vec<String> {
    let of = |map: &Value| -> Vec<String> { map.as_object().unwrap().keys().cloned().collect() };
    let names = of(&event["headers"]);
    if event["version"] == "1.0" {
        assert_eq!(of(&event["multiValueHeaders"]), names);
    }
    let mut others: Vec<String> = names
        .into_iter()
        .filter(|name| !ADDED.contains(&name.as_str()) && name != "X-Amzn-Trace-Id" && name != "traceparent")
        .collect();
    others.sort();
    others
}

/// The event for one request as bytes.
fn event(rest: &str, request: impl AsRef<[u8]>) -> Value {
    let upstream = Upstream::answering(ANSWER);
    let app = App::with("").lambda("f", "/f*", upstream.address, rest).start();
    let response = send(app.address, request);
    assert_eq!(response.status, 200, "{}", response.text());
    event_of(&upstream.only())
}

/// A request with a body; `lines` are its headers, each with its line end.
fn post(lines: &str, body: &str) -> String {
    format!("POST /f HTTP/1.1\r\nHost: h\r\n{lines}Content-Length: {}\r\n\r\n{body}", body.len())
}

#[test]
fn events_1_0_have_the_clients_spelling_and_the_first_of_several() {
    let request = post(
        "Content-Type: text/plain\r\nX-CUSTOM_Name: 1\r\nx-low: 1\r\nx-Two: a\r\nX-TWO: b\r\nx-TWO: c\r\n\
         x-three: a\r\nX-Three: b\r\n!#$%&'*+-.^_`|~9aA: odd\r\nCOOKIE: a=1\r\nCookie: b=2\r\nX-Empty:\r\n",
        "text",
    );
    let event = event(V1, request);
    let expected = [
        "!#$%&'*+-.^_`|~9aA",
        "COOKIE",
        "Content-Type",
        "X-CUSTOM_Name",
        "X-Empty",
        "x-Two",
        "x-low",
        "x-three",
    ];
    assert_eq!(names(&event), expected);
    assert_eq!((&event["headers"]["x-Two"], &event["headers"]["COOKIE"]), (&json!("c"), &json!("a=1; b=2")));
    assert_eq!(event["multiValueHeaders"]["x-Two"], json!(["a", "b", "c"]));
    assert_eq!(event["multiValueHeaders"]["x-three"], json!(["a", "b"]));
}

#[test]
fn names_that_the_sidecar_adds_have_aws_spelling_whatever_the_clients() {
    let lines = "hOST: h\r\nvia: 1.1 a\r\nx-forwarded-FOR: 192.0.2.1\r\nX-FORWARDED-HOST: o\r\n\
                 x-forwarded-port: 1\r\nx-forwarded-proto: https\r\nx-amzn-TRACE-id: Root=1\r\n\
                 X-Request-ID: r1\r\nA: b\r\n";
    for lines in [lines, "host: h\r\nx-request-id: r1\r\n", "Host: h\r\n"] {
        let event = event(V1, format!("GET /f HTTP/1.1\r\n{lines}\r\n"));
        for name in &ADDED[..6] {
            assert!(event["headers"][name].is_string(), "{name} is not in {event:#}");
            assert!(event["multiValueHeaders"][name].is_array(), "{name} is not in {event:#}");
        }
        let of_client = lines.contains("X-Request-ID");
        assert_eq!(event["headers"]["X-Request-ID"].is_string(), of_client, "{event:#}");
        assert_eq!(event["headers"]["x-request-id"].is_string(), !of_client, "{event:#}");
        let headers = event["headers"].as_object().unwrap();
        let mut lowered: Vec<String> = headers.keys().map(|name| name.to_lowercase()).collect();
        lowered.dedup();
        assert_eq!(lowered.len(), headers.len(), "{headers:?}");
    }
    let traced = event(V1, "GET /f HTTP/1.1\r\nHost: h\r\nx-amzn-trace-id: Root=1\r\nTraceParent: x\r\n\r\n");
    assert!(traced["headers"]["X-Amzn-Trace-Id"].is_string(), "{traced:#}");
}

#[test]
fn events_2_0_and_kongs_own_stay_in_lower_case() {
    let request = post("Content-Type: text/plain\r\nX-A: 1\r\nX-a: 2\r\nX-Forwarded-For: a\r\n", "text");
    for (rest, headers) in [(V2, "headers"), ("forward_request_headers: true", "request_headers")] {
        let event = event(rest, &request);
        let headers = event[headers].as_object().unwrap();
        assert!(headers.contains_key("x-a") && headers.contains_key("x-forwarded-for"), "{event:#}");
        for name in headers.keys() {
            assert_eq!(*name, name.to_lowercase(), "{event:#}");
        }
    }
}

#[test]
fn each_request_of_a_pipeline_has_its_own_spelling() {
    let upstream = Upstream::answering(ANSWER);
    let app = App::with("").lambda("f", "/f*", upstream.address, V1).start();
    // bodies that look like heads
    let body = "GET /f HTTP/1.1\r\nX-BODY: 1\r\nx-A: 2\r\n\r\n";
    let chunked = format!(
        "POST /f HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nx-A: 1\r\n\r\n{:x}\r\n{body}\r\n0\r\n\
         X-TRAILER: t\r\n\r\n",
        body.len()
    );
    let requests = [
        post("X-A: 1\r\n", body),
        post("x-a: 1\r\n", body),
        chunked,
        "GET /f HTTP/1.1\nHost: h\nX-a: 1\n\n".to_owned(),
        "\r\n\r\nGET /f?<x> HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nX-BODY: 1\r\n\r\n".to_owned(),
        "GET /f HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nx-A: 1\r\n\r\n".to_owned(),
        "GET /f HTTP/1.1\r\nhost: h\r\nx-a: 1\r\n\r\n".to_owned(),
    ];
    let mut stream = open(app.address);
    stream.write_all(requests.concat().as_bytes()).unwrap();
    let mut reader = BufReader::new(stream);
    for _ in &requests {
        assert_eq!(read_response(&mut reader, false).unwrap().status, 200);
    }
    let seen: Vec<_> = upstream.received().iter().map(|received| names(&event_of(received))).collect();
    let expected = [&["X-A"][..], &["x-a"], &["x-A"], &["X-a"], &["X-A", "X-BODY"], &["x-A"], &["x-a"]];
    assert_eq!(seen, expected);
}

#[test]
fn a_head_that_arrives_in_pieces_keeps_its_spelling() {
    let upstream = Upstream::answering(ANSWER);
    let app = App::with("").lambda("f", "/f*", upstream.address, V1).start();
    let long: String = (0..80).map(|number| format!("X-Long-{number:02}: {}\r\n", "v".repeat(700))).collect();
    let many: Vec<String> = (0..80).map(|number| format!("X-Long-{number:02}")).collect();
    let mut stream = open(app.address);
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    for (request, piece, expected) in [
        (post("X-A: 1\r\nx-B: 2\r\n", "body"), 1, vec!["X-A".to_owned(), "x-B".to_owned()]),
        (post(&long, "body"), 5000, many.clone()),
        (post(&long, "body"), usize::MAX, many),
    ] {
        for part in request.as_bytes().chunks(piece.min(request.len())) {
            stream.write_all(part).unwrap();
        }
        assert_eq!(read_response(&mut reader, false).unwrap().status, 200);
        assert_eq!(names(&event_of(upstream.received().last().unwrap())), expected);
    }
}

#[test]
fn names_that_do_not_reach_the_function_do_not_reach_it_in_another_spelling() {
    let lines = "Connection: close, X-Hop\r\nX-Hop: 1\r\nTE: trailers\r\nKeep-Alive: 1\r\n\
                 X-Amzn-Vpce-Id: v\r\nX-HTTP-Method-Override: PUT\r\nExpect: 100-continue\r\nX-A: 1\r\n";
    assert_eq!(names(&event(V1, format!("GET /f HTTP/1.1\r\nHost: h\r\n{lines}\r\n"))), ["X-A"]);
}

#[test]
fn a_name_that_is_no_token_is_refused_on_every_route() {
    let upstream = Upstream::answering(ANSWER);
    let app = App::with("").lambda("f", "/f*", upstream.address, V1).start();
    for name in ["X A", "X\"A", "X-\u{e9}", "X-A ", "", "X(A)", "X\0A"] {
        let response = send(app.address, format!("GET /f HTTP/1.1\r\nHost: h\r\n{name}: 1\r\n\r\n"));
        assert_eq!(response.status, 400, "{name:?}");
    }
    assert!(upstream.received().is_empty());
}

#[test]
fn http_2_has_lower_case_but_for_the_names_that_the_sidecar_adds() {
    let upstream = Upstream::answering(ANSWER);
    let app = App::listening("h2c: true", "").lambda("f", "/f*", upstream.address, V1).start();
    let headers = [("content-type", "text/plain"), ("x-a", "1"), ("x-forwarded-for", "192.0.2.1")];
    let answer = Http2::open(app.address).call("POST", "http://h/f", &headers, b"text").unwrap();
    assert_eq!(answer.status, 200);
    let event = event_of(&upstream.only());
    assert_eq!(names(&event), ["content-type", "x-a"]);
    assert_eq!(event["headers"]["X-Forwarded-For"], "192.0.2.1, 127.0.0.1");
}

#[test]
fn a_route_that_is_added_later_has_the_spelling_on_an_open_connection() {
    let upstream = Upstream::answering(ANSWER);
    let route = |rest: &str| {
        let SocketAddr::V4(address) = upstream.address else { panic!("IPv4") };
        format!(
            "uri: /f*\nlambda:\n  function_name: f\n  aws_region: us-east-1\n  aws_key: AKIDEXAMPLE\n  \
             aws_secret: s\n  host: {}\n  port: {}\n  disable_https: true\n  awsgateway_compatible: true\n  \
             awsgateway_compatible_payload_version: {rest}\n",
            address.ip(),
            address.port()
        )
    };
    let process = "listen: { http: '127.0.0.1:0' }\nreload: { interval: 100ms }\n";
    let directory = settings(process, &[("r", &route("2.0"))]);
    let (_process, address) = Process::run(directory.path());
    let mut stream = open(address);
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut last_names = || {
        stream.write_all(b"GET /f HTTP/1.1\r\nHost: h\r\nX-A: 1\r\n\r\n").unwrap();
        assert_eq!(read_response(&mut reader, false).unwrap().status, 200);
        let event = event_of(upstream.received().last().unwrap());
        let is_spelled = event["headers"].as_object().unwrap().contains_key("X-A");
        (event["version"].as_str().unwrap().to_owned(), is_spelled)
    };
    assert_eq!(last_names(), ("2.0".to_owned(), false));
    for version in ["1.0", "2.0", "1.0"] {
        fs::write(directory.path().join("routes/r.yaml"), route(version)).unwrap();
        eventually("the new version", || {
            let (found, is_spelled) = last_names();
            assert_eq!(is_spelled, found == "1.0");
            found == version
        });
    }
}

#[test]
fn explain_prints_the_event_in_the_spelling_of_its_arguments() {
    let keys = "function_name: f, aws_region: us-east-1, aws_key: AKIDEXAMPLE, aws_secret: s";
    let route = format!("uri: /f*\nlambda: {{ {keys}, {V1} }}\n");
    let directory = settings("", &[("r", &route)]);
    let mut explain = binary(&["explain", "GET", "/f", "-H", "X-Custom: 1", "-H", "x-CUSTOM: 2", "--output"]);
    let ended = end_of(explain.arg("json").arg("--settings").arg(directory.path()));
    let explanation: Value = serde_json::from_str(&ended.output).unwrap_or_else(|_| panic!("{ended:?}"));
    let event = explanation["outbound"]["body"]["text"].as_str().unwrap();
    assert_eq!(names(&serde_json::from_str(event).unwrap()), ["X-Custom"]);
}
