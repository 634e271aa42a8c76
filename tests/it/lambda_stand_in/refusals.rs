//! Refusals of the Lambda API: status, error type and message.

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use super::{
    super::support::{Response, call, send},
    Signatory, invoke, post, stand_in, stream,
};

/// Checks status and error type; returns the body.
#[track_caller]
fn refusal(response: &Response, status: u16, kind: &str) -> Value {
    assert_eq!(
        (response.status, response.header("x-amzn-ErrorType")),
        (status, Some(kind)),
        "{}",
        response.text()
    );
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert!(response.header("x-amzn-RequestId").is_some(), "AWS's support finds a call by it");
    assert_eq!(response.header("x-amz-apigw-id"), None, "this is no API Gateway");
    response.json()
}

#[test]
fn a_call_without_a_signature_is_refused() {
    let stand_in = stand_in();
    for target in [invoke("hello"), stream("words")] {
        let response = call(stand_in.address(), "POST", &target, &[], b"{}");
        assert_eq!(
            refusal(&response, 403, "MissingAuthenticationTokenException"),
            json!({ "message": "Missing Authentication Token" })
        );
    }
}

#[test]
fn a_wrong_signature_is_refused_by_both_operations() {
    let stand_in = stand_in();
    for target in [invoke("hello"), stream("words")] {
        let refused = |signatory: Signatory| {
            let response = signatory.post(&stand_in, &target, &[], b"{}");
            let body = refusal(&response, 403, "InvalidSignatureException");
            body["message"].as_str().expect("a message").to_owned()
        };
        let message = refused(Signatory::with("lambda", |keys| keys.secret_access_key = "another".into()));
        assert!(message.starts_with("The request signature we calculated does not match"), "{message}");
        assert_eq!(
            refused(Signatory::with("lambda", |keys| keys.service = "execute-api".into())),
            "Credential should be scoped to correct service: 'lambda'."
        );
        assert_eq!(
            refused(Signatory::with("lambda", |keys| keys.region = "eu-west-1".into())),
            "Credential should be scoped to a valid region, not 'eu-west-1'."
        );
        let mut late = Signatory::known("lambda");
        late.at -= Duration::from_mins(6);
        let message = refused(late);
        assert!(message.starts_with("Signature expired: "), "{message}");
    }
}

#[test]
fn an_unknown_access_key_id_is_refused() {
    let stand_in = stand_in();
    for signatory in [
        Signatory::with("lambda", |keys| keys.access_key_id = "AKIDANOTHER".into()),
        Signatory::with("lambda", |keys| keys.session_token = Some("theirs".into())),
    ] {
        let response = signatory.post(&stand_in, &invoke("hello"), &[], b"{}");
        assert_eq!(
            refusal(&response, 403, "UnrecognizedClientException"),
            json!({ "message": "The security token included in the request is invalid." })
        );
    }
}

#[test]
fn a_signature_covers_body_query_function_and_headers() {
    let stand_in = stand_in();
    let target = format!("{}?Qualifier=live", invoke("hello"));
    let signature = Signatory::known("lambda").sign("POST", &target, &[], b"{}");
    let send = |target: &str, more: &[(&str, &str)], body: &[u8]| {
        let signature = signature.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let headers: Vec<(&str, &str)> = signature.chain(more.iter().copied()).collect();
        call(stand_in.address(), "POST", target, &headers, body)
    };
    assert_eq!(send(&target, &[], b"{}").status, 200);
    for response in [
        send(&target, &[], b"[]"),
        send(&target.replace("live", "1"), &[], b"{}"),
        send(&target.replace("hello", "echo"), &[], b"{}"),
        send(&target, &[("x-amz-invocation-type", "DryRun")], b"{}"),
    ] {
        refusal(&response, 403, "InvalidSignatureException");
    }
    // other parts of the request are not checked
    assert_eq!(
        send(&target, &[("x-api-key", "theirs"), ("content-type", "application/json")], b"{}").status,
        200
    );
}

#[test]
fn an_unknown_function_is_not_found() {
    let stand_in = stand_in();
    let arn = "arn:aws:lambda:us-east-1:123456789012:function:";
    for (target, missing) in [
        (invoke("nobody"), "nobody"),
        (stream("nobody"), "nobody"),
        (invoke("hello%3Adead"), "hello:dead"),
        (format!("{}?Qualifier=7", invoke("hello")), "hello:7"),
    ] {
        assert_eq!(
            refusal(&post(&stand_in, &target, &[], "{}"), 404, "ResourceNotFoundException"),
            json!({ "Type": "User", "Message": format!("Function not found: {arn}{missing}") })
        );
    }
    let elsewhere = "arn%3Aaws%3Alambda%3Aeu-west-1%3A123456789012%3Afunction%3Ahello";
    refusal(&post(&stand_in, &invoke(elsewhere), &[], "{}"), 404, "ResourceNotFoundException");
}

#[test]
fn a_function_of_another_account_is_denied_with_names_that_clients_should_not_see() {
    let stand_in = stand_in();
    let response = post(&stand_in, &invoke("210987654321%3Afunction%3Ahello"), &[], "{}");
    let body = refusal(&response, 403, "AccessDeniedException");
    let message = body["Message"].as_str().expect("a message");
    assert!(message.starts_with("User: arn:aws:iam::123456789012:user/dev is not authorized"), "{message}");
}

#[test]
fn invalid_parameters_are_refused() {
    let stand_in = stand_in();
    let refused = |target: &str, headers: &[(&str, &str)], kind: &str| {
        refusal(&post(&stand_in, target, headers, "{}"), 400, kind);
    };
    let hello = invoke("hello");
    refused(&invoke("a%20b"), &[], "ValidationException");
    refused(&hello, &[("x-amz-invocation-type", "Sometimes")], "ValidationException");
    refused(&hello, &[("x-amz-log-type", "Head")], "ValidationException");
    refused(&format!("{}?Qualifier=1", invoke("hello%3Alive")), &[], "InvalidParameterValueException");
    for context in ["e30", "%%%", &BASE64_STANDARD.encode("[]"), &BASE64_STANDARD.encode("text")] {
        refused(&hello, &[("x-amz-client-context", context)], "InvalidRequestContentException");
    }
    let long = BASE64_STANDARD.encode(json!({ "a": "a".repeat(3000) }).to_string());
    refused(&hello, &[("x-amz-client-context", &long)], "InvalidRequestContentException");
}

#[test]
fn an_event_that_is_not_json_is_refused() {
    let stand_in = stand_in();
    for event in [&b"text"[..], b"{\"a\":}", b"{} {}", b"\"\xff\""] {
        let body =
            refusal(&post(&stand_in, &invoke("echo"), &[], event), 400, "InvalidRequestContentException");
        assert_eq!(body["Type"], "User");
        let message = body["message"].as_str().expect("a message");
        assert!(message.starts_with("Could not parse request body into json: "), "{message}");
    }
}

#[test]
fn an_event_has_another_limit_when_it_is_queued() {
    let stand_in = stand_in();
    let text = |length: usize| format!("\"{}\"", "a".repeat(length - 2));
    let too_large = |headers: &[(&str, &str)], length: usize| {
        let response = post(&stand_in, &invoke("malformed"), headers, text(length));
        let body = refusal(&response, 413, "RequestEntityTooLargeException");
        body["message"].as_str().expect("a message").to_owned()
    };
    assert_eq!(post(&stand_in, &invoke("malformed"), &[], text(6_291_456)).status, 200);
    let over = "Request must be smaller than 6291456 bytes for the InvokeFunction operation";
    assert_eq!(too_large(&[], 6_291_457), over);
    let event = [("x-amz-invocation-type", "Event")];
    assert_eq!(post(&stand_in, &invoke("malformed"), &event, text(1_048_576)).status, 202);
    assert_eq!(
        too_large(&event, 1_048_577),
        "1048577 byte payload is too large for the Event invocation type (limit 1048576 bytes)"
    );
}

#[test]
fn a_body_beyond_all_limits_is_refused_unread() {
    let stand_in = stand_in();
    let head = format!("POST {} HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999\r\n\r\n", invoke("hello"));
    refusal(&send(stand_in.address(), head), 413, "RequestEntityTooLargeException");
}

#[test]
fn a_body_that_is_said_to_be_no_json_is_refused() {
    let stand_in = stand_in();
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""] {
        let response = post(&stand_in, &invoke("hello"), &[("content-type", content_type)], "{}");
        refusal(&response, 415, "UnsupportedMediaTypeException");
    }
    for content_type in ["application/json", "Application/JSON; charset=utf-8", "application/octet-stream"] {
        let response = post(&stand_in, &invoke("hello"), &[("content-type", content_type)], "{}");
        assert_eq!(response.status, 200, "{content_type}: {}", response.text());
    }
}

#[test]
fn headers_that_only_a_vpc_endpoint_may_add_are_refused() {
    let stand_in = stand_in();
    for name in
        ["x-amzn-cipher-suite", "x-amzn-tls-version", "X-Amzn-Vpc-Id", "x-amzn-vpce-config", "x-amzn-vpce-id"]
    {
        let body = refusal(
            &post(&stand_in, &invoke("hello"), &[(name, "theirs")], "{}"),
            403,
            "AccessDeniedException",
        );
        assert_eq!(
            body["Message"],
            "The request includes reserved HTTP headers. Reserved headers are required only for Lambda \
             private link requests."
        );
    }
}

#[test]
fn other_paths_and_methods_are_no_operation() {
    let stand_in = stand_in();
    for (method, target) in [
        ("GET", invoke("hello")),
        ("POST", "/2015-03-31/functions".to_owned()),
        ("POST", "/2015-03-31/functions/hello/invocations/".to_owned()),
        ("POST", "/2015-03-31/functions/hello/response-streaming-invocations".to_owned()),
        ("POST", "/2021-11-15/functions/words/invocations".to_owned()),
    ] {
        let response = call(stand_in.address(), method, &target, &[], b"");
        refusal(&response, 404, "UnknownOperationException");
    }
}
