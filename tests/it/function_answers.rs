//! Functions' responses at the client: merged headers, bodies of every kind, lengths, limits, failures.

use std::io::{BufReader, Write as _};

use super::support::{App, Http2, Upstream, get, open, read_response, send};

const PROXY: &str = "is_proxy_integration: true";
const PROXY_2: &str = "is_proxy_integration: true\nawsgateway_compatible_payload_version: '2.0'";

/// A Lambda API whose function responds with this, and a sidecar that calls it.
fn answering(rest: &str, answer: &str) -> (Upstream, App) {
    called(rest, "", answer)
}

fn called(rest: &str, headers: &str, answer: &str) -> (Upstream, App) {
    let upstream = Upstream::answering(&format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{headers}\r\n{answer}",
        answer.len()
    ));
    let app = App::listening("h2c: true", "").lambda("f", "/f*", upstream.address, rest).start();
    (upstream, app)
}

/// `Content-Length` of the response to this method, over HTTP/1.1 and HTTP/2.
fn lengths(app: &App, method: &str) -> [Option<String>; 2] {
    let one = send(app.address, format!("{method} /f HTTP/1.1\r\nHost: h\r\n\r\n"));
    let two = Http2::open(app.address).call(method, "http://h/f", &[], b"").unwrap();
    assert_eq!(one.body, two.body);
    [one.header("content-length"), two.header("content-length")].map(|length| length.map(str::to_owned))
}

fn both(length: Option<&str>) -> [Option<String>; 2] {
    [(); 2].map(|()| length.map(str::to_owned))
}

#[test]
fn e2_headers_and_multi_value_headers_are_merged() {
    let answer = r#"{"statusCode":200,"headers":{"Set-Cookie":"csrf=1","X-A":"solo"},
        "multiValueHeaders":{"Set-Cookie":["s=1","t=2"],"x-a":["multi"]}}"#;
    for rest in [PROXY, PROXY_2] {
        let (_upstream, app) = answering(rest, answer);
        let response = get(app.address, "/f");
        assert_eq!(response.all("set-cookie"), ["s=1", "t=2", "csrf=1"], "{rest}");
        assert_eq!(response.all("x-a"), ["multi", "solo"], "{rest}");
    }
}

#[test]
fn e2_of_several_content_types_the_last_stays() {
    for (members, kept) in [
        (
            r#""headers":{"Content-Type":"text/a"},"multiValueHeaders":{"content-type":["text/b","text/c"]}"#,
            "text/c",
        ),
        (r#""multiValueHeaders":{"Content-Type":["text/b"],"content-type":["text/c"]}"#, "text/c"),
        (r#""headers":{"Content-Type":"text/a","content-type":"text/b"}"#, "text/b"),
        (r#""headers":{"Content-Type":"text/a"},"multiValueHeaders":{"content-type":["text/b"]}"#, "text/b"),
    ] {
        for rest in [PROXY, PROXY_2] {
            let (_upstream, app) = answering(rest, &format!(r#"{{"statusCode":200,{members},"body":"b"}}"#));
            assert_eq!(get(app.address, "/f").all("content-type"), [kept], "{members} {rest}");
        }
    }
}

#[test]
fn e7_e9_a_null_flag_is_false_and_a_body_that_is_no_string_is_json() {
    let answer = r#"{"statusCode":200,"isBase64Encoded":null,"body":{"response": "yes"}}"#;
    for rest in [PROXY, PROXY_2] {
        let (_upstream, app) = answering(rest, answer);
        let response = get(app.address, "/f");
        assert_eq!((response.status, response.text().as_str()), (200, r#"{"response": "yes"}"#));
        assert_eq!(response.header("content-type"), Some("application/json"));
    }
}

#[test]
fn e8_function_failed_and_function_response_invalid_are_different_codes() {
    let raised = r#"{"errorType":"ValueError","errorMessage":"hush"}"#;
    let (_upstream, app) = called(PROXY, "X-Amz-Function-Error: Unhandled\r\n", raised);
    let response = get(app.address, "/f");
    assert_eq!((response.status, response.code().as_str()), (502, "function_failed"));
    assert_eq!(response.json()["message"], "The function failed");
    assert!(!response.text().contains("hush"));
}

#[test]
fn c6_an_answer_to_head_has_the_functions_length_or_none() {
    for (answer, head, get) in [
        (r#"{"statusCode":200,"headers":{"Content-Length":"1234"},"body":""}"#, Some("1234"), Some("0")),
        (r#"{"statusCode":200,"body":""}"#, None, Some("0")),
        (r#"{"statusCode":200}"#, None, Some("0")),
        (r#"{"statusCode":404,"headers":{"content-length":"x"}}"#, None, Some("0")),
        (r#"{"statusCode":200,"body":"hello"}"#, Some("5"), Some("5")),
        (r#"{"statusCode":200,"headers":{"Content-Length":"3"},"body":"hello"}"#, Some("3"), Some("5")),
        (r#"{"statusCode":304,"headers":{"Content-Length":"1234"}}"#, Some("1234"), Some("1234")),
        (r#"{"statusCode":304}"#, None, None),
        (r#"{"statusCode":204,"headers":{"Content-Length":"1234"}}"#, None, None),
    ] {
        let (_upstream, app) = answering(PROXY, answer);
        assert_eq!(lengths(&app, "HEAD"), both(head), "HEAD {answer}");
        assert_eq!(lengths(&app, "GET"), both(get), "GET {answer}");
    }
}

#[test]
fn c6_a_functions_wrong_length_frames_nothing() {
    for length in ["3", "9999"] {
        let answer =
            format!(r#"{{"statusCode":200,"headers":{{"Content-Length":"{length}"}},"body":"hello"}}"#);
        let (_upstream, app) = answering(PROXY, &answer);
        let mut stream = open(app.address);
        for _ in 0..2 {
            stream
                .write_all(b"HEAD /f HTTP/1.1\r\nHost: h\r\n\r\nGET /f HTTP/1.1\r\nHost: h\r\n\r\n")
                .unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let head = read_response(&mut reader, true).unwrap();
            assert_eq!(head.header("content-length"), Some(length));
            let whole = read_response(&mut reader, false).unwrap();
            assert_eq!((whole.text().as_str(), whole.header("content-length")), ("hello", Some("5")));
        }
    }
}

#[test]
fn c12_a_status_without_a_name_has_an_empty_reason() {
    let (_upstream, app) = answering(PROXY, r#"{"statusCode":599,"body":"x"}"#);
    let mut stream = open(app.address);
    stream.write_all(b"GET /f HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut BufReader::new(stream), &mut line).unwrap();
    assert_eq!(line, "HTTP/1.1 599 \r\n");
    assert_eq!(Http2::open(app.address).get("/f").status, 599);
}

#[test]
fn e10_both_backends_take_as_many_and_as_large_headers() {
    let lines = |count: usize, value: &str| -> Vec<(String, String)> {
        (0..count).map(|number| (format!("x-{number:03}"), value.to_owned())).collect()
    };
    let long = "v".repeat(60 << 10);
    for (lines, expected) in
        [(lines(190, "1"), 200), (lines(201, "1"), 502), (lines(1, &long), 200), (lines(2, &long), 502)]
    {
        let written: String = lines.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let upstream =
            Upstream::answering(&format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{written}\r\nok"));
        let app = App::to(&format!("http://{}", upstream.address));
        let passed = get(app.address, "/");
        let headers: serde_json::Map<_, _> =
            lines.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
        let answer = serde_json::json!({ "statusCode": 200, "headers": headers, "body": "ok" });
        let (_upstream, app) = answering(PROXY, &answer.to_string());
        let described = get(app.address, "/f");
        for response in [passed, described] {
            assert_eq!(response.status, expected, "{} lines", lines.len());
            if expected == 200 {
                let (name, value) = lines.last().unwrap();
                assert_eq!(response.header(name), Some(value.as_str()));
            }
        }
    }
}

#[test]
fn x15_a_header_that_would_end_its_line_is_502_on_either_backend() {
    for name in [r#"x\"y"#, r"x\u0000", r"x\r\ny: 1"] {
        let (_upstream, app) =
            answering(PROXY, &format!(r#"{{"statusCode":200,"headers":{{"{name}":"1"}}}}"#));
        assert_eq!(get(app.address, "/f").code(), "function_response_invalid", "{name}");
    }
    for value in [r"a\r\nx-b: 1", r"a\n", r"a\r", r"a\u0000", r"a\u007f"] {
        for member in [format!(r#""headers":{{"x-a":"{value}"}}"#), format!(r#""cookies":["{value}"]"#)] {
            let (_upstream, app) = answering(PROXY, &format!(r#"{{"statusCode":200,{member}}}"#));
            let response = get(app.address, "/f");
            assert_eq!(response.code(), "function_response_invalid", "{member}");
            assert_eq!((response.header("x-b"), response.header("x-a")), (None, None));
        }
    }
    for line in ["x\"y: 1", "x\0: 1", "x-a: a\0", "x-a: a\u{7f}"] {
        let upstream =
            Upstream::answering(&format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{line}\r\n\r\n"));
        let response = get(App::to(&format!("http://{}", upstream.address)).address, "/");
        assert_eq!(response.code(), "upstream_protocol", "{line:?}");
    }
}
