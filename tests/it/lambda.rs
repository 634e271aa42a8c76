//! Behaviour cases of Kong's `aws-lambda` plugin by number (K, R), over real sockets: the call to the Lambda
//! API, and the client's response.

use std::{cell::Cell, io::Write};

use serde_json::{Value, json};

use super::support::{App, Response, Upstream, call, get, send};

/// A sidecar whose route `/f*` calls a function at this upstream.
fn before(upstream: &Upstream, rest: &str) -> App {
    App::with("").lambda("f", "/f*", upstream.address, rest).start()
}

/// The event of a request.
fn event(rest: &str, request: impl Fn(&App) -> Response) -> Value {
    let upstream = function("{}");
    let app = before(&upstream, rest);
    let response = request(&app);
    assert_eq!(response.status, 200, "{}", response.text());
    serde_json::from_slice(&upstream.only().body).unwrap()
}

/// A Lambda API whose function returns these bytes.
fn function(answer: &str) -> Upstream {
    api(200, "", answer)
}

fn api(status: u16, headers: &str, body: &str) -> Upstream {
    Upstream::answering(&format!(
        "HTTP/1.1 {status} Whatever\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{headers}\r\n\
         {body}",
        body.len()
    ))
}

const PROXY: &str = "is_proxy_integration: true";

#[test]
fn k01_the_query_is_the_event_and_the_functions_answer_the_clients() {
    let upstream = api(200, "x-amzn-RequestId: id-1\r\n", r#"{"key1":"v1"}"#);
    let app = before(&upstream, "");
    let response = get(app.address, "/f?key1=v1&key2=v2");
    assert_eq!((response.status, response.text().as_str()), (200, r#"{"key1":"v1"}"#));
    assert_eq!(response.header("content-length"), Some("13"));
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert_eq!(response.header("x-amzn-requestid"), Some("id-1"));
    assert_eq!(upstream.only().body, br#"{"key1":"v1","key2":"v2"}"#);
}

#[test]
fn k04_k05_query_and_form_are_merged_and_the_body_wins() {
    let event = event("", |app| {
        let form = [("Content-Type", "application/x-www-form-urlencoded")];
        call(app.address, "POST", "/f?key1=q&key2=q", &form, b"key2=body&key3=b+c")
    });
    assert_eq!(event, json!({ "key1": "q", "key2": "body", "key3": "b c" }));
}

#[test]
fn a_form_of_too_many_arguments_is_400_and_never_sent() {
    let upstream = function("{}");
    for rest in ["", "forward_request_body: true"] {
        let app = before(&upstream, rest);
        let form = [("Content-Type", "application/x-www-form-urlencoded")];
        let response = call(app.address, "POST", "/f", &form, "a&".repeat(3_000_000).as_bytes());
        assert_eq!((response.status, response.code().as_str()), (400, "invalid_body"), "{rest}");
    }
    assert_eq!(upstream.accepted(), 0);
}

#[test]
fn k08_a_body_that_cannot_be_merged_is_415_or_400_and_never_sent() {
    let upstream = function("{}");
    let app = before(&upstream, "");
    for (content_type, status, code) in [
        ("text/plain", 415, "unsupported_media_type"),
        ("application/json", 400, "invalid_body"),
        ("application/json; charset=utf-8", 400, "invalid_body"),
    ] {
        let response = call(app.address, "POST", "/f", &[("Content-Type", content_type)], b"{not json");
        assert_eq!((response.status, response.code().as_str()), (status, code), "{content_type}");
    }
    assert_eq!(call(app.address, "POST", "/f", &[], b"x").status, 415);
    assert_eq!(upstream.accepted(), 0);
}

#[test]
fn k36_the_call_is_a_signed_post_of_json_to_the_invoke_api() {
    let upstream = function("{}");
    let app = before(&upstream, "qualifier: $LATEST\ntenant_id: t 1\nclient_context: '{}'");
    assert_eq!(get(app.address, "/f").status, 200);
    let call = upstream.only();
    assert_eq!(call.line, "POST /2015-03-31/functions/MyLambda/invocations?Qualifier=%24LATEST HTTP/1.1");
    assert_eq!(call.header("host"), Some(upstream.address.to_string().as_str()));
    assert_eq!(call.header("x-amz-invocation-type"), Some("RequestResponse"));
    assert_eq!(call.header("x-amz-log-type"), Some("Tail"));
    assert_eq!(call.header("x-amz-tenant-id"), Some("t 1"));
    assert_eq!(call.header("x-amz-client-context"), Some("e30="));
    let authorization = call.header("authorization").unwrap();
    let signed = "SignedHeaders=content-type;host;x-amz-client-context;x-amz-date;x-amz-invocation-type;\
                  x-amz-log-type;x-amz-tenant-id";
    assert!(authorization.contains("/us-east-1/lambda/aws4_request"), "{authorization}");
    assert!(authorization.contains(signed), "{authorization}");
}

#[test]
fn an_arn_is_escaped_as_the_sdks_escape_it() {
    let upstream = function("{}");
    let arn = "arn:aws:lambda:us-east-1:123456789012:function:f:live";
    let app = before(&upstream, &format!("function_name: '{arn}'"));
    assert_eq!(get(app.address, "/f").status, 200);
    let path = "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A123456789012%3Afunction%3Af%3Alive/\
        invocations";
    assert_eq!(upstream.only().target(), path);
}

#[test]
fn no_header_of_a_client_but_its_trace_reaches_the_lambda_api() {
    let upstream = function("{}");
    let app = before(&upstream, "");
    let headers = [
        ("Authorization", "Basic eDp5"),
        ("X-Amz-Invocation-Type", "Event"),
        ("X-Amz-Log-Type", "None"),
        ("X-Amz-Client-Context", "e30="),
        ("X-Amz-Security-Token", "t"),
        ("X-Amzn-RequestId", "not-a-uuid"),
        ("X-Amzn-Vpc-Id", "vpc-1"),
        ("X-Custom", "1"),
        ("Cookie", "a=1"),
        ("User-Agent", "test"),
        ("Accept-Encoding", "gzip"),
    ];
    assert_eq!(call(app.address, "DELETE", "/f", &headers, b"").status, 200);
    let call = upstream.only();
    let names = [
        "authorization",
        "content-length",
        "content-type",
        "host",
        "traceparent",
        "x-amz-date",
        "x-amz-invocation-type",
        "x-amz-log-type",
        "x-amzn-trace-id",
    ];
    assert_eq!(call.names(), names);
    assert_eq!(call.header("x-amz-invocation-type"), Some("RequestResponse"));
}

#[test]
fn k34_an_event_is_202_and_k35_a_dry_run_204() {
    for (kind, status) in [("Event", 202), ("DryRun", 204)] {
        let upstream = Upstream::answering(&format!(
            "HTTP/1.1 {status} Whatever\r\nx-amzn-RequestId: id-1\r\n{}\r\n",
            if status == 202 { "Content-Length: 0\r\n" } else { "" }
        ));
        for rest in ["", PROXY] {
            let app = before(&upstream, &format!("invocation_type: {kind}\n{rest}"));
            let response = get(app.address, "/f");
            assert_eq!((response.status, response.body.len()), (status, 0), "{kind} {rest}");
            assert_eq!(response.header("x-amzn-requestid"), Some("id-1"));
        }
        let call = &upstream.received()[0];
        assert_eq!((call.header("x-amz-invocation-type"), call.header("x-amz-log-type")), (Some(kind), None));
    }
}

#[test]
fn k37_the_log_tail_never_reaches_the_client() {
    let tail = "X-Amz-Log-Result: U1RBUlQgaHVzaA==\r\nX-Amz-Executed-Version: $LATEST\r\n";
    let upstream = api(200, tail, r#"{"statusCode":200,"body":"x"}"#);
    for rest in ["", PROXY] {
        let response = get(before(&upstream, rest).address, "/f");
        assert_eq!(response.status, 200);
        assert_eq!(response.header("x-amz-log-result"), None);
        assert_eq!(response.header("x-amz-executed-version"), Some("$LATEST"));
    }
}

#[test]
fn k46_a_host_that_does_not_exist_is_502_without_its_name() {
    let app = App::with("")
        .route(
            "f",
            "uri: /f\nlambda: { function_name: f, aws_region: ab-cdef-1, aws_key: a, aws_secret: s, \
             host: lambda.invalid, timeout: 2000 }\n",
        )
        .start();
    let response = get(app.address, "/f");
    assert_eq!((response.status, response.code().as_str()), (502, "upstream_connect"));
    assert!(!response.text().contains("invalid"));
}

#[test]
fn r01_a_function_that_is_too_slow_is_504() {
    let upstream = Upstream::serving(|_, stream| {
        // stays open until the sidecar's timeout
        let _ = std::io::Read::read(stream, &mut [0]);
        Ok(())
    });
    let response = get(before(&upstream, "timeout: 100").address, "/f");
    assert_eq!((response.status, response.code().as_str()), (504, "upstream_timeout"));
}

#[test]
fn r02_a_refusal_of_the_api_is_500_and_r03_keeps_its_status_on_request() {
    let message = r#"{"Message":"User: arn:aws:iam::123456789012:user/x is not authorized"}"#;
    for (status, retry) in [(403, None), (404, None), (429, Some("7")), (502, None)] {
        let header = retry.map(|after| format!("Retry-After: {after}\r\n")).unwrap_or_default();
        let upstream = api(status, &header, message);
        let response = get(before(&upstream, PROXY).address, "/f");
        assert_eq!((response.status, response.code().as_str()), (500, "lambda_rejected"));
        assert_eq!(response.header("retry-after"), retry);
        assert!(!response.text().contains("arn"), "{}", response.text());

        let kept = "preserve_lambda_api_error_code: true";
        let response = get(before(&upstream, kept).address, "/f");
        assert_eq!(response.status, status);
        assert_eq!(response.text(), r#"{"message":"Upstream Lambda invocation failed"}"#);
        assert_eq!(response.header("retry-after"), retry);
    }
}

#[test]
fn r03_a_refusal_keeps_its_status_however_long_it_is_and_if_it_breaks_off() {
    let kept = "preserve_lambda_api_error_code: true";
    let long = api(403, "", &format!(r#"{{"Message":"{}"}}"#, "x".repeat(200_000)));
    let broken = Upstream::serving(|_, stream| {
        stream.write_all(b"HTTP/1.1 429 Whatever\r\nContent-Length: 100\r\nRetry-After: 7\r\n\r\n{\"Mess")?;
        Err(std::io::ErrorKind::ConnectionAborted.into())
    });
    for (upstream, status) in [(long, 403), (broken, 429)] {
        let response = get(before(&upstream, kept).address, "/f");
        assert_eq!(response.status, status);
        assert_eq!(response.text(), r#"{"message":"Upstream Lambda invocation failed"}"#);
        let response = get(before(&upstream, "").address, "/f");
        assert_eq!((response.status, response.code().as_str()), (500, "lambda_rejected"));
    }
}

#[test]
fn r04_to_r08_a_failed_function() {
    let failed = r#"{"errorMessage":"boom","errorType":"Error"}"#;
    let upstream = api(200, "X-Amz-Function-Error: Unhandled\r\n", failed);
    let status = |rest: &str| {
        let response = get(before(&upstream, rest).address, "/f");
        if response.status != 502 {
            assert_eq!(response.text(), failed, "{rest}");
            assert_eq!(response.header("x-amz-function-error"), Some("Unhandled"), "{rest}");
        }
        response.status
    };
    assert_eq!(status(""), 200);
    assert_eq!(status("unhandled_status: 412"), 412);
    assert_eq!(status(PROXY), 502);
    assert_eq!(status(&format!("{PROXY}\nunhandled_status: 412")), 412);
    let handled = api(200, "X-Amz-Function-Error: Handled\r\n", failed);
    assert_eq!(get(before(&handled, "unhandled_status: 412").address, "/f").status, 200);
}

#[test]
fn r14_the_functions_status_headers_and_body_are_the_answer() {
    let upstream = function(
        r#"{"statusCode":201,"headers":{"X-A":"1","x-amzn-RequestId":"mine"},
            "multiValueHeaders":{"Set-Cookie":["a=1","b=2"]},"body":"hello"}"#,
    );
    let app = before(&upstream, PROXY);
    let response = get(app.address, "/f");
    assert_eq!((response.status, response.text().as_str()), (201, "hello"));
    assert_eq!(response.header("content-length"), Some("5"));
    assert_eq!((response.header("x-a"), response.all("x-amzn-requestid")), (Some("1"), vec!["mine"]));
    assert_eq!(response.all("set-cookie"), ["a=1", "b=2"]);
    let head = call(app.address, "HEAD", "/f", &[], b"");
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (201, Some("5"), 0));
}

#[test]
fn r13_r24_r36_bodies_may_be_missing_encoded_or_the_whole_answer() {
    let answer =
        |body: &str, rest: &str| get(before(&function(body), &format!("{PROXY}\n{rest}")).address, "/f");
    let empty = answer(r#"{"statusCode":201}"#, "");
    assert_eq!((empty.status, empty.header("content-length")), (201, Some("0")));
    assert_eq!(answer(r#"{"statusCode":200,"isBase64Encoded":true,"body":"dGVzdA=="}"#, "").body, b"test");
    let none = answer(r#"{"statusCode":204,"body":"x"}"#, "");
    assert_eq!((none.status, none.body.len()), (204, 0));
    let bare = answer(r#"{"hello":[]}"#, "awsgateway_compatible_payload_version: 2.0");
    assert_eq!((bare.status, bare.text().as_str()), (200, r#"{"hello":[]}"#));
    assert_eq!(answer(r#"{"hello":[]}"#, "").code(), "function_response_invalid");
}

#[test]
fn r17_to_r33_an_invalid_function_response_is_502_without_the_cause() {
    for body in [
        "",
        "not json",
        "[]",
        "null",
        r#"{"statusCode":"hello"}"#,
        r#"{"statusCode":99}"#,
        r#"{"statusCode":101}"#,
        r#"{"statusCode":600}"#,
        r#"{"statusCode":200,"headers":"x"}"#,
        r#"{"statusCode":200,"isBase64Encoded":true,"body":1}"#,
        r#"{"statusCode":200,"isBase64Encoded":"abc"}"#,
        r#"{"statusCode":200,"isBase64Encoded":true,"body":"!"}"#,
        r#"{"statusCode":200,"headers":{"a b":"c"}}"#,
        r#"{"statusCode":200,"headers":{"a":"b\r\nc: d"}}"#,
    ] {
        let response = get(before(&function(body), PROXY).address, "/f");
        assert_eq!((response.status, response.code().as_str()), (502, "function_response_invalid"), "{body}");
        assert!(response.text().contains("The function's response was malformed\""), "{}", response.text());
    }
}

#[test]
fn r31_r35_framing_headers_of_a_function_are_removed() {
    let upstream = function(
        r#"{"statusCode":200,"headers":{"Transfer-Encoding":"chunked","Content-Length":"3",
            "Connection":"close, X-Hop","X-Hop":"1"},"body":"hello"}"#,
    );
    let response = get(before(&upstream, PROXY).address, "/f");
    assert_eq!((response.text().as_str(), response.header("content-length")), ("hello", Some("5")));
    for name in ["transfer-encoding", "connection", "x-hop"] {
        assert_eq!(response.header(name), None, "{name}");
    }
}

#[test]
fn a_function_response_that_need_not_be_parsed_is_forwarded_byte_for_byte() {
    let odd = "{ \"a\" : [ ], \"n\": 12345678901234567890.10 }";
    assert_eq!(get(before(&function(odd), "").address, "/f").text(), odd);
    let legacy = get(before(&function(odd), "empty_arrays_mode: legacy").address, "/f").text();
    assert_eq!(legacy, r#"{ "a" : {}, "n": 12345678901234567890.10 }"#);
}

#[test]
fn an_event_that_is_too_large_is_413_names_the_limit_and_is_never_sent() {
    let upstream = function("{}");
    let gateway = "awsgateway_compatible: true";
    let app = before(&upstream, gateway);
    let response = call(app.address, "POST", "/f", &[], &vec![b'x'; 5 << 20]);
    assert_eq!((response.status, response.code().as_str()), (413, "payload_too_large"));
    assert!(response.text().contains("6MiB") && response.text().contains("the event"), "{}", response.text());
    let app = before(&upstream, &format!("{gateway}\ninvocation_type: Event"));
    let response = call(app.address, "POST", "/f", &[], &vec![b'x'; 1 << 20]);
    assert_eq!(response.status, 413);
    assert!(response.text().contains("1MiB"), "{}", response.text());
    assert_eq!(upstream.accepted(), 0);
}

#[test]
fn k11_the_forwarded_parts_are_those_that_were_asked_for() {
    let all = "forward_request_method: true\nforward_request_uri: true\nforward_request_headers: true\n\
        forward_request_body: true";
    let event = event(all, |app| {
        send(
            app.address,
            "POST /f/a%2Fb?x=1&x=2&flag HTTP/1.1\r\nHost: me.example\r\nContent-Type: application/xml\r\n\
             X-A: 1\r\nContent-Length: 6\r\n\r\n<xml/>",
        )
    });
    assert_eq!(event["request_method"], "POST");
    assert_eq!(event["request_uri"], "/f/a%2Fb?x=1&x=2&flag");
    assert_eq!(event["request_uri_args"], json!({ "x": ["1", "2"], "flag": true }));
    assert_eq!(event["request_headers"]["host"], "me.example");
    assert_eq!(event["request_headers"]["x-a"], "1");
    assert_eq!((&event["request_body"], &event["request_body_args"]), (&json!("<xml/>"), &json!({})));
}

#[test]
fn a_gateways_events_have_what_the_request_had() {
    let request = |app: &App| {
        send(
            app.address,
            "PUT /f/a%2Fb?x=1&x=2 HTTP/1.1\r\nHost: me.example\r\nCookie: a=1; b=2\r\nX-A: 1\r\nX-A: 2\r\n\
             Content-Length: 2\r\n\r\nhi",
        )
    };
    let first = event("awsgateway_compatible: true\nstage: prod\nstage_variables: { V: w }", request);
    assert_eq!(
        (&first["version"], &first["httpMethod"], &first["path"]),
        (&json!("1.0"), &json!("PUT"), &json!("/f/a%2Fb"))
    );
    assert_eq!(first["multiValueHeaders"]["x-a"], json!(["1", "2"]));
    assert_eq!(first["multiValueQueryStringParameters"]["x"], json!(["1", "2"]));
    assert_eq!((&first["body"], &first["isBase64Encoded"]), (&json!("aGk="), &json!(true)));
    assert_eq!(first["requestContext"]["stage"], "prod");
    assert_eq!(first["requestContext"]["identity"]["sourceIp"], "127.0.0.1");
    assert_eq!(first["stageVariables"], json!({ "V": "w" }));
    let second = event("awsgateway_compatible: true\nawsgateway_compatible_payload_version: 2.0", request);
    assert_eq!(
        (&second["version"], &second["rawPath"], &second["rawQueryString"]),
        (&json!("2.0"), &json!("/f/a%2Fb"), &json!("x=1&x=2"))
    );
    assert_eq!(second["cookies"], json!(["a=1", "b=2"]));
    assert_eq!(second["headers"]["x-a"], "1,2");
    assert_eq!(second["requestContext"]["http"]["method"], "PUT");
}

#[test]
fn e3_a_gateways_events_have_the_port_that_the_client_connected_to_and_2_0_the_bodys_length() {
    for version in ["1.0", "2.0"] {
        let port = Cell::new(0);
        let rest = format!("awsgateway_compatible: true\nawsgateway_compatible_payload_version: {version}");
        let event = event(&rest, |app| {
            port.set(app.address.port());
            send(
                app.address,
                "POST /f HTTP/1.1\r\nHost: h:1\r\nX-Forwarded-Port: 2\r\nTransfer-Encoding: chunked\r\n\r\n\
                 2\r\nhi\r\n0\r\n\r\n",
            )
        });
        assert_eq!(event["headers"]["x-forwarded-port"], port.get().to_string());
        let length = (version == "2.0").then(|| json!("2"));
        assert_eq!(event["headers"].get("content-length"), length.as_ref());
    }
}

#[test]
fn e6_a_body_without_a_type_is_json_by_payload_1_0_and_plain_text_by_2_0() {
    for (version, expected) in [("1.0", "application/json"), ("2.0", "text/plain; charset=utf-8")] {
        let upstream = function(r#"{"statusCode":200,"body":"Hello"}"#);
        let rest = format!("{PROXY}\nawsgateway_compatible_payload_version: {version}");
        let response = get(before(&upstream, &rest).address, "/f");
        assert_eq!((response.text().as_str(), response.header("content-type")), ("Hello", Some(expected)));
    }
}

#[test]
fn a_route_without_keys_sends_nothing_and_is_503() {
    let upstream = function("{}");
    let route = format!(
        "uri: /f\nlambda: {{ function_name: f, aws_region: us-east-1, host: 127.0.0.1, port: {}, \
         disable_https: true }}\n",
        upstream.address.port()
    );
    let app = App::with("").route("f", &route).start();
    let response = get(app.address, "/f");
    assert_eq!((response.status, response.code().as_str()), (503, "credentials_unavailable"));
    assert_eq!(upstream.accepted(), 0);
}

#[test]
fn a_call_whose_connection_breaks_is_not_made_twice() {
    let upstream = Upstream::serving(|request, stream| {
        if request.connection == 0 && request.body == b"{\"n\":\"1\"}" {
            return stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
        }
        Err(std::io::ErrorKind::ConnectionAborted.into())
    });
    let app = before(&upstream, "");
    assert_eq!(get(app.address, "/f?n=1").status, 200);
    assert_eq!(get(app.address, "/f?n=2").status, 502, "a function must not run twice");
    assert_eq!(upstream.received().len(), 2);
}
