//! API Gateway's response to a refused signature is forwarded unchanged: status, error type and message.

use apigw_invoker::stand_in::{StandInKeys, StandInOptions};
use serde_json::json;

use super::super::support::{App, Response, call, get};

const SIGNATURE_MISMATCH: &str = "The request signature we calculated does not match the signature you \
    provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for \
    details.";

/// The sidecar of `dev` with the usual keys, in front of a stand-in with other keys.
fn before(keys: StandInKeys) -> App {
    App::dev_with(StandInOptions::new(keys))
}

/// Response to a signed call if the upstream's clock is this many seconds ahead.
fn with_clock_ahead(clock_ahead: i64) -> Response {
    let app = App::dev_with(StandInOptions { clock_ahead, ..StandInOptions::new(StandInKeys::example()) });
    get(app.address, "/iam/echo")
}

/// An unsigned route to this stage of the stand-in.
fn without_proof(app: &App, stage: &str) -> App {
    App::with("").gateway("r", "/r/*", &format!("http://{}/{stage}", app.stand_in()), "").start()
}

/// Checks everything except the message, which is returned.
#[track_caller]
fn refusal(response: &Response, kind: &str) -> String {
    assert_eq!(response.status, 403, "{}", response.text());
    assert_eq!(response.all("x-amzn-ErrorType"), [kind], "{}", response.text());
    assert_eq!(response.header("content-type"), Some("application/json"));
    // ids that AWS's support asks for
    for id in ["x-amzn-RequestId", "x-amz-apigw-id"] {
        assert!(response.header(id).is_some_and(|id| !id.is_empty()), "no {id}");
    }
    let body = response.json();
    let message = body["message"].as_str().unwrap_or_default().to_owned();
    assert_eq!(body, json!({ "message": message }), "nothing else is in it");
    message
}

#[test]
fn a_wrong_api_key_is_forbidden() {
    let app = before(StandInKeys {
        api_key: "another-key-of-at-least-20-characters".into(),
        ..StandInKeys::example()
    });
    for target in ["/key/hello", "/both/hello"] {
        let response = get(app.address, target);
        assert_eq!(refusal(&response, "ForbiddenException"), "Forbidden");
        assert_eq!(response.text(), r#"{"message":"Forbidden"}"#);
    }
}

#[test]
fn a_missing_api_key_is_forbidden_in_the_same_words() {
    let dev = App::dev();
    let app = without_proof(&dev, "key");
    let response = get(app.address, "/r/hello");
    assert_eq!(refusal(&response, "ForbiddenException"), "Forbidden");
    assert_eq!(response.text(), r#"{"message":"Forbidden"}"#);
    assert_eq!(response.text(), get(dev.stand_in(), "/key/hello").text(), "as without the sidecar");
}

#[test]
fn a_wrong_secret_key_is_refused_without_what_should_have_been_signed() {
    let app = before(StandInKeys { secret_access_key: "another".into(), ..StandInKeys::example() });
    let response = call(app.address, "POST", "/iam/echo/a%2Fb?b=2&a=x+y", &[], b"");
    let message = refusal(&response, "InvalidSignatureException");
    assert_eq!(message, SIGNATURE_MISMATCH, "the query and the session token are not the client's to see");
    let direct = get(app.stand_in(), "/iam/echo?X=1");
    assert_eq!(direct.status, 403);
}

#[test]
fn a_wrong_region_is_refused_with_api_gateways_own_words() {
    let app = before(StandInKeys { region: "eu-west-1".into(), ..StandInKeys::example() });
    assert_eq!(
        refusal(&get(app.address, "/iam/echo"), "InvalidSignatureException"),
        "Credential should be scoped to a valid region, not 'us-east-1'."
    );
}

#[test]
fn a_wrong_service_is_refused_with_api_gateways_own_words() {
    let app = before(StandInKeys { service: "lambda".into(), ..StandInKeys::example() });
    assert_eq!(
        refusal(&get(app.address, "/iam/echo"), "InvalidSignatureException"),
        "Credential should be scoped to correct service: 'lambda'."
    );
}

#[test]
fn an_unknown_access_key_id_is_refused() {
    let app = before(StandInKeys { access_key_id: "AKIDANOTHER".into(), ..StandInKeys::example() });
    assert_eq!(
        refusal(&get(app.address, "/iam/echo"), "UnrecognizedClientException"),
        "The security token included in the request is invalid."
    );
}

#[test]
fn temporary_keys_without_their_token_are_refused() {
    let app = before(StandInKeys { session_token: Some("tok/en+1==".into()), ..StandInKeys::example() });
    // a session token sent by the client does not replace it
    let headers = [("x-amz-security-token", "tok/en+1==")];
    assert_eq!(
        refusal(&call(app.address, "GET", "/iam/echo", &headers, b""), "UnrecognizedClientException"),
        "The security token included in the request is invalid."
    );
}

#[test]
fn a_clock_that_is_slow_is_refused_with_both_times() {
    let message = refusal(&with_clock_ahead(360), "InvalidSignatureException");
    assert!(message.starts_with("Signature expired: 20"), "{message}");
    assert!(message.contains("Z is now earlier than 20") && message.ends_with("Z - 5 min.)"), "{message}");
}

#[test]
fn a_clock_that_is_fast_is_refused_with_both_times() {
    let message = refusal(&with_clock_ahead(-360), "InvalidSignatureException");
    assert!(message.starts_with("Signature not yet current: 20"), "{message}");
    assert!(message.contains("Z is still later than 20") && message.ends_with("Z + 5 min.)"), "{message}");
}

#[test]
fn a_clock_that_is_four_minutes_off_is_forgiven() {
    for clock_ahead in [-240, 240] {
        let response = with_clock_ahead(clock_ahead);
        assert_eq!(response.status, 200, "{clock_ahead}: {}", response.text());
    }
}

#[test]
fn a_call_without_authorization_is_refused_as_without_the_sidecar() {
    let dev = App::dev();
    let app = without_proof(&dev, "iam");
    let response = get(app.address, "/r/echo");
    assert_eq!(refusal(&response, "MissingAuthenticationTokenException"), "Missing Authentication Token");
    let direct = get(dev.stand_in(), "/iam/echo");
    assert_eq!((response.status, &response.body), (direct.status, &direct.body));
}

#[test]
fn an_authorization_that_is_not_sigv4_is_refused_with_the_missing_parts() {
    let dev = App::dev();
    let app = without_proof(&dev, "iam");
    let refused = |authorization| {
        let response = call(app.address, "GET", "/r/echo", &[("authorization", authorization)], b"");
        refusal(&response, "IncompleteSignatureException")
    };
    assert_eq!(refused("Bearer theirs"), "Authorization header requires 'Credential' parameter.");
    assert_eq!(
        refused("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261120/us-east-1/execute-api/aws4_request"),
        "Authorization header requires 'SignedHeaders' parameter."
    );
}
