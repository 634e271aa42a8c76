//! Responses of functions over `Invoke`, and the headers that the API adds.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use super::{
    super::support::{Response, get},
    event_one, event_two, invoke, post, stand_in,
};

const HELLO: &str = "arn:aws:lambda:us-east-1:123456789012:function:hello";

/// Checks the headers that every response of the API has.
#[track_caller]
fn assert_ids(response: &Response) {
    let id = response.header("x-amzn-RequestId").expect("an id");
    let lengths: Vec<usize> = id.split('-').map(str::len).collect();
    assert_eq!(lengths, [8, 4, 4, 4, 12], "{id}");
    assert!(response.header("X-Amzn-Trace-Id").is_some_and(|id| id.starts_with("Root=1-")));
    assert_eq!(response.header("x-amzn-Remapped-Content-Length"), Some("0"));
}

#[test]
fn a_functions_answer_comes_with_the_apis_headers() {
    let stand_in = stand_in();
    let headers = [("content-type", "application/json"), ("x-amz-invocation-type", "RequestResponse")];
    let response = post(&stand_in, &invoke("hello"), &headers, r#"{"name":"Kong"}"#);
    assert_eq!((response.status, response.text().as_str()), (200, "\"Hello, Kong!\""));
    assert_ids(&response);
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert_eq!(response.header("X-Amz-Executed-Version"), Some("$LATEST"));
    assert_eq!(response.header("X-Amz-Function-Error"), None);
    assert_eq!(response.header("X-Amz-Log-Result"), None);
}

#[test]
fn the_end_of_the_log_comes_when_it_is_asked_for() {
    let stand_in = stand_in();
    let logged = |function: &str| {
        let response = post(&stand_in, &invoke(function), &[("x-amz-log-type", "Tail")], "");
        let log = BASE64_STANDARD.decode(response.header("X-Amz-Log-Result").expect("a log")).unwrap();
        let id = response.header("x-amzn-RequestId").unwrap();
        String::from_utf8(log).unwrap().replace(id, "ID")
    };
    let log = logged("hello");
    let start = "START RequestId: ID Version: $LATEST\nEND RequestId: ID\nREPORT RequestId: ID\tDuration: ";
    assert!(log.starts_with(start), "{log}");
    assert!(logged("fail").contains("\n[ERROR] RuntimeError: This function always fails.\nEND "));
    let without = post(&stand_in, &invoke("hello"), &[("x-amz-log-type", "None")], "");
    assert_eq!(without.header("X-Amz-Log-Result"), None);
}

#[test]
fn events_are_queued_and_dry_runs_only_checked() {
    let stand_in = stand_in();
    for (kind, status) in [("Event", 202), ("DryRun", 204)] {
        let headers = [("x-amz-invocation-type", kind), ("x-amz-log-type", "Tail")];
        let response = post(&stand_in, &invoke("fail"), &headers, "{}");
        assert_eq!((response.status, response.text().as_str()), (status, ""), "{kind}");
        assert_ids(&response);
        for absent in ["X-Amz-Executed-Version", "X-Amz-Function-Error", "X-Amz-Log-Result"] {
            assert_eq!(response.header(absent), None, "{kind}");
        }
    }
}

#[test]
fn a_function_goes_by_any_form_of_its_name() {
    let stand_in = stand_in();
    let encoded = HELLO.replace(':', "%3A");
    for (name, version) in [
        ("hello:live", "1"),
        ("hello%3Alive", "1"),
        ("hello%3A%24LATEST", "$LATEST"),
        ("hello", "$LATEST"),
        ("123456789012%3Afunction%3Ahello", "$LATEST"),
        (HELLO, "$LATEST"),
        (&encoded, "$LATEST"),
        (&format!("{encoded}%3Alive"), "1"),
    ] {
        let response = post(&stand_in, &invoke(name), &[], "");
        assert_eq!((response.status, response.text().as_str()), (200, "\"Hello, world!\""), "{name}");
        assert_eq!(response.header("X-Amz-Executed-Version"), Some(version), "{name}");
    }
    let target = format!("{}?Qualifier=%24LATEST", invoke("hello"));
    assert_eq!(post(&stand_in, &target, &[], "").header("X-Amz-Executed-Version"), Some("$LATEST"));
}

#[test]
fn a_function_learns_who_calls_which_version_of_it() {
    let stand_in = stand_in();
    let context = BASE64_STANDARD.encode(r#"{"client":{"app_title":"t"}}"#);
    let headers = [("x-amz-client-context", context.as_str()), ("x-amz-tenant-id", "tenant/1")];
    let response = post(&stand_in, &format!("{}?Qualifier=live", invoke("context")), &headers, "{}");
    assert_eq!(
        response.json(),
        json!({
            "aws_request_id": response.header("x-amzn-RequestId"),
            "invoked_function_arn": "arn:aws:lambda:us-east-1:123456789012:function:context:live",
            "function_version": "1",
            "client_context": { "client": { "app_title": "t" } },
            "tenant_id": "tenant/1",
        })
    );
}

#[test]
fn an_event_comes_back_byte_for_byte() {
    let stand_in = stand_in();
    let event = "{ \"b\" : 1.10, \"a\": [] ,\"é\":12345678901234567890123 }\n";
    assert_eq!(post(&stand_in, &invoke("echo"), &[], event).text(), event);
    assert_eq!(post(&stand_in, &invoke("echo"), &[], "").text(), "{}", "no event is an empty one");
    assert_eq!(post(&stand_in, &invoke("malformed"), &[], "[1]").text(), "\"just text\"");
    assert_eq!(post(&stand_in, &invoke("slow"), &[], r#"{"milliseconds":"1"}"#).text(), "\"at last\"");
}

#[test]
fn what_a_function_raises_is_an_answer_with_a_header() {
    let stand_in = stand_in();
    let response = post(&stand_in, &invoke("fail"), &[], "{}");
    assert_eq!((response.status, response.header("X-Amz-Function-Error")), (200, Some("Unhandled")));
    let body = response.json();
    assert_eq!(body["errorMessage"], "This function always fails.");
    assert_eq!(body["errorType"], "RuntimeError");
    assert_eq!(body["requestId"].as_str(), response.header("x-amzn-RequestId"));
    assert!(body["stackTrace"][0].as_str().is_some_and(|line| line.contains("in handler")));

    let response = post(&stand_in, &invoke("break"), &[], "{}");
    assert_eq!((response.status, response.header("X-Amz-Function-Error")), (200, Some("Unhandled")));
    assert_eq!(response.json()["errorType"], "Runtime.ExitError");

    let response = post(&stand_in, &invoke("gateway"), &[], r#"{"name":"Kong"}"#);
    assert_eq!((response.status, response.header("X-Amz-Function-Error")), (200, Some("Unhandled")));
    assert_eq!(response.json()["errorType"], "ValueError");
}

#[test]
fn an_answer_beyond_the_limit_is_an_error_of_the_function() {
    let stand_in = stand_in();
    let answer = |size: usize| {
        post(&stand_in, &invoke("gateway"), &[], event_one(&format!("/lambda/bytes/{size}"), &Value::Null))
    };
    assert_eq!(answer(4_000_000).header("X-Amz-Function-Error"), None);
    let response = answer(5_000_000);
    assert_eq!(response.header("X-Amz-Function-Error"), Some("Unhandled"));
    assert_eq!(response.json()["errorType"], "Function.ResponseSizeTooLarge");
}

/// Status, headers and body that API Gateway makes of a function's response.
fn made_of(response: &Response) -> (u16, Vec<(String, String)>, Vec<u8>) {
    let answer = response.json();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut headers: Vec<(String, String)> = Vec::new();
    for (name, value) in answer["headers"].as_object().unwrap() {
        headers.push((name.clone(), text(value)));
    }
    for (name, values) in answer["multiValueHeaders"].as_object().into_iter().flatten() {
        headers.extend(values.as_array().unwrap().iter().map(|value| (name.clone(), text(value))));
    }
    for cookie in answer["cookies"].as_array().into_iter().flatten() {
        headers.push(("set-cookie".into(), text(cookie)));
    }
    let body = text(&answer["body"]);
    let body = if answer["isBase64Encoded"] == true {
        BASE64_STANDARD.decode(body).unwrap()
    } else {
        body.into_bytes()
    };
    let status = answer["statusCode"].as_u64().unwrap();
    (u16::try_from(status).unwrap(), headers, body)
}

#[test]
fn by_lambda_the_functions_answer_as_by_api_gateway() {
    let stand_in = stand_in();
    let named = |name: &str| json!({ "name": name });
    for (path, query, parameters) in [
        ("hello", "name=APISIX", named("APISIX")),
        ("hello", "name=a%20b+c", named("a b c")),
        ("hello", "", Value::Null),
        ("status/201", "", Value::Null),
        ("status/204", "", Value::Null),
        ("status/302", "", Value::Null),
        ("status/304", "", Value::Null),
        ("status/503", "", Value::Null),
        ("bytes/1000", "", Value::Null),
        ("bytes/none", "", Value::Null),
        ("cookies", "", Value::Null),
        ("slow/1", "", Value::Null),
        ("words", "", Value::Null),
        ("nothing", "", Value::Null),
    ] {
        let by_api_gateway = get(stand_in.address(), &format!("/open/{path}?{query}"));
        let path = format!("/lambda/{path}");
        for event in [event_one(&path, &parameters), event_two(&path, query)] {
            let (status, headers, body) = made_of(&post(&stand_in, &invoke("gateway"), &[], event));
            assert_eq!((status, &body), (by_api_gateway.status, &by_api_gateway.body), "{path}");
            for name in ["content-type", "etag", "location", "set-cookie", "x-amzn-errortype"] {
                let own = headers.iter().filter(|(own, _)| own == name).map(|(_, value)| value.as_str());
                assert_eq!(own.collect::<Vec<_>>(), by_api_gateway.all(name), "{path} {name}");
            }
        }
    }
}

#[test]
fn a_function_that_writes_is_waited_for() {
    let stand_in = stand_in();
    let sentence = "These words arrive one by one, as the function writes them.\n";
    let plain = post(&stand_in, &invoke("words"), &[], "{}");
    assert_eq!(plain.json(), sentence);
    let (status, headers, body) = made_of(&post(&stand_in, &invoke("words"), &[], event_two("/words", "")));
    assert_eq!((status, body.as_slice()), (200, sentence.as_bytes()));
    assert_eq!(headers, [("content-type".to_owned(), "text/plain; charset=utf-8".to_owned())]);
    assert_eq!(get(stand_in.address(), "/open/words").text(), sentence);
}
