//! Both Lambda APIs end to end: a client, the sidecar, and functions of the stand-in that respond buffered or
//! word by word.

use std::{
    io::{BufRead, BufReader, Read, Write},
    time::Duration,
};

use apigw_invoker::stand_in::{StandInKeys, StandInOptions};

use super::support::{App, call, get, open, read_response};

const STREAM: &str = "invoke_mode: response_stream";
const GATEWAY: &str = "awsgateway_compatible: true\nis_proxy_integration: true";

/// The stand-in, and a sidecar whose routes `/FUNCTION*` call these functions.
fn functions(functions: &[&str], rest: &str) -> (App, App) {
    let options =
        StandInOptions { words_pause: Duration::ZERO, ..StandInOptions::new(StandInKeys::example()) };
    let stand_in = App::dev_with(options);
    let keys = StandInKeys::example();
    let mut builder = App::with("");
    for function in functions {
        let route = format!(
            "function_name: {function}\naws_key: {}\naws_secret: {}\naws_region: {}\nhost: {}\nport: {}\n\
             disable_https: true\n{rest}",
            keys.access_key_id,
            keys.secret_access_key,
            keys.region,
            stand_in.stand_in().ip(),
            stand_in.stand_in().port(),
        );
        let indented: String = route.lines().map(|line| format!("  {line}\n")).collect();
        builder = builder.route(function, &format!("uri: /{function}*\nlambda:\n{indented}"));
    }
    (stand_in, builder.start())
}

#[test]
fn a_route_moved_to_lambda_answers_the_client_as_before() {
    let app = App::dev();
    for (method, target, body) in [
        ("GET", "hello?name=APISIX", &b""[..]),
        ("GET", "hello?name=%C3%BC+b", b""),
        ("HEAD", "hello", b""),
        ("GET", "status/404", b""),
        ("GET", "status/204", b""),
        ("GET", "status/304", b""),
        ("POST", "status/500", b"x"),
        ("GET", "bytes/100000", b""),
        ("GET", "cookies", b""),
    ] {
        let by = |stage: &str| call(app.address, method, &format!("/{stage}/{target}"), &[], body);
        let (gateway, lambda) = (by("open"), by("lambda"));
        assert_eq!((lambda.status, &lambda.body), (gateway.status, &gateway.body), "{method} {target}");
        for name in ["content-type", "content-length", "set-cookie", "etag"] {
            assert_eq!(lambda.all(name), gateway.all(name), "{name} of {method} {target}");
        }
    }
}

#[test]
fn what_a_function_is_told_is_what_the_client_sent() {
    let app = App::dev();
    let headers = [("X-A", "1"), ("X-A", "2"), ("Cookie", "a=1; b=2"), ("Content-Type", "application/x-odd")];
    let echo = call(app.address, "PATCH", "/lambda/echo/a%2Fb//c/?x=1&x=%C3%BC&y", &headers, b"\x00\xff");
    assert_eq!(echo.status, 200, "{}", echo.text());
    let echo = echo.json();
    assert_eq!((&echo["method"], &echo["path"]), (&"PATCH".into(), &"/lambda/echo/a%2Fb//c/".into()));
    assert_eq!(echo["headers"]["x-a"], serde_json::json!(["1", "2"]));
    assert_eq!(echo["body"]["length"], 2);
}

#[test]
fn words_arrive_while_the_function_still_writes() {
    let (_stand_in, app) = functions(&["words"], &format!("{GATEWAY}\n{STREAM}"));
    let response = get(app.address, "/words");
    assert_eq!(response.status, 200);
    assert_eq!(response.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(response.header("transfer-encoding"), Some("chunked"));
    assert_eq!(response.text().trim(), "These words arrive one by one, as the function writes them.");

    // with the default pause the first word arrives long before the last one is written
    let app = App::dev();
    let mut stream = BufReader::new(open(app.address));
    stream.get_mut().write_all(b"GET /words HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").unwrap();
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        stream.read_line(&mut line).unwrap();
    }
    let mut first = [0; 64];
    let length = stream.read(&mut first).unwrap();
    let first = String::from_utf8_lossy(&first[..length]).into_owned();
    assert!(first.contains("These") && !first.contains("them"), "{first:?}");
}

#[test]
fn without_proxy_integration_the_bytes_are_the_answer() {
    let (_stand_in, app) = functions(&["words", "echo"], STREAM);
    let words = get(app.address, "/words");
    assert_eq!((words.status, words.header("content-type")), (200, Some("application/octet-stream")));
    assert_eq!(words.text().trim(), "These words arrive one by one, as the function writes them.");
    assert_eq!(get(app.address, "/echo?a=1").text(), r#"{"a":"1"}"#);
}

#[test]
fn a_function_that_does_not_stream_answers_as_ever() {
    let (_stand_in, app) = functions(&["gateway"], &format!("{GATEWAY}\n{STREAM}"));
    let response = get(app.address, "/gateway/hello?name=Kong");
    assert_eq!((response.status, response.text().as_str()), (200, "\"Hello, Kong!\""));
}

#[test]
fn a_stream_that_ends_too_soon_breaks_the_clients_connection() {
    for rest in [STREAM.to_owned(), format!("{GATEWAY}\n{STREAM}")] {
        let (_stand_in, app) = functions(&["break"], &rest);
        for request in ["GET /break HTTP/1.1\r\nHost: h\r\n\r\n", "GET /break HTTP/1.0\r\n\r\n"] {
            let mut stream = open(app.address);
            stream.write_all(request.as_bytes()).unwrap();
            let outcome = read_response(&mut BufReader::new(stream), false);
            assert!(outcome.is_err(), "a clean {outcome:?}");
        }
    }
}

#[test]
fn a_function_that_fails_before_it_writes_is_an_answer_of_its_own() {
    let (_stand_in, app) = functions(&["fail"], STREAM);
    let response = get(app.address, "/fail");
    assert_eq!((response.status, response.header("x-amz-function-error")), (200, Some("Unhandled")));
    assert!(response.json()["errorMessage"].is_string(), "{}", response.text());
    let (_stand_in, app) = functions(&["fail"], &format!("{STREAM}\nunhandled_status: 503"));
    assert_eq!(get(app.address, "/fail").status, 503);
    for mode in ["", STREAM] {
        let (_stand_in, app) = functions(&["fail", "malformed"], &format!("{GATEWAY}\n{mode}"));
        assert_eq!(get(app.address, "/fail").code(), "function_failed");
        assert_eq!(get(app.address, "/malformed").code(), "function_response_invalid");
    }
}

#[test]
fn qualifier_context_and_tenant_arrive() {
    let (_stand_in, app) = functions(
        &["context"],
        "qualifier: live\nclient_context: '{\"custom\":{\"a\":\"1\"}}'\ntenant_id: team-1",
    );
    let context = get(app.address, "/context").json();
    assert!(context["invoked_function_arn"].as_str().unwrap().ends_with(":context:live"), "{context}");
    assert_eq!((&context["function_version"], &context["tenant_id"]), (&"1".into(), &"team-1".into()));
    assert_eq!(context["client_context"]["custom"]["a"], "1");
}

#[test]
fn a_function_that_is_not_there_is_500_without_its_arn() {
    let (_stand_in, app) = functions(&["nothing"], GATEWAY);
    let response = get(app.address, "/nothing");
    assert_eq!((response.status, response.code().as_str()), (500, "lambda_rejected"));
    assert!(!response.text().contains("arn"), "{}", response.text());
}
