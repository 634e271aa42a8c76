//! Signatures that AWS's signers for Python and for C calculate alike and that a third party's verifier accepts.

use apigw_invoker::signing::Scope;
use aws_credential_types::Credentials;

use super::{ACCESS_KEY_ID, SECRET_ACCESS_KEY, authorization, header_map, outbound, sign, time};

const API: &str = "abc123def4.execute-api.us-east-1.amazonaws.com";
const ALWAYS_SIGNED: &str = "host;x-amz-date";

/// What the signed requests have in common is in here; what they differ in is its fields.
struct Golden<'a> {
    service: &'a str,
    host: &'a str,
    access_key_id: &'a str,
    session_token: Option<&'a str>,
    headers: &'a [(&'a str, &'a str)],
    body: &'a str,
}

/// A call of an API with long-lived keys, no body and no header of its own.
const PLAIN: Golden<'_> = Golden {
    service: "execute-api",
    host: API,
    access_key_id: ACCESS_KEY_ID,
    session_token: None,
    headers: &[],
    body: "",
};

impl Golden<'_> {
    #[track_caller]
    fn assert_signature(&self, method: &str, target: &str, signed_headers: &str, signature: &str) {
        let token = self.session_token.map(str::to_owned);
        let credentials = Credentials::new(self.access_key_id, SECRET_ACCESS_KEY, token, None, "test");
        let lines = [("host", self.host)].into_iter().chain(self.headers.iter().copied());
        let mut request = outbound(method, target, header_map(lines), self.body.as_bytes());
        let scope = Scope { region: "us-east-1".into(), service: self.service.into() };
        sign(&mut request, scope, &credentials, time("2026-11-20T12:00:00Z"));
        let expected = format!(
            "AWS4-HMAC-SHA256 Credential={}/20261120/us-east-1/{}/aws4_request, \
             SignedHeaders={signed_headers}, Signature={signature}",
            self.access_key_id, self.service
        );
        assert_eq!(authorization(&request), expected);
    }
}

#[test]
fn golden_an_escape_in_the_path_is_escaped_once_more() {
    PLAIN.assert_signature(
        "POST",
        "/prod/a%2Fb",
        ALWAYS_SIGNED,
        "f8a3b5499d4aa1eab89b2a3ccf060fb83c310a6c53f4a79e2bbd0aa2a82fed1f",
    );
}

#[test]
fn golden_empty_and_dot_segments_are_resolved_in_what_is_signed() {
    PLAIN.assert_signature(
        "POST",
        "/prod/a//b/../c",
        ALWAYS_SIGNED,
        "f708410069aa6caab358752b61509975bb1788806a29be83b7bb826033c632c1",
    );
}

#[test]
fn golden_utf_8_in_the_path_is_signed_by_its_escapes() {
    PLAIN.assert_signature(
        "POST",
        "/prod/caf%C3%A9%20x",
        ALWAYS_SIGNED,
        "eac4abf8bae38da1773a994c0fedbe225e7d7b6b207923c488c7a38d7b8364a8",
    );
}

#[test]
fn golden_reserved_characters_of_the_path_are_escaped_in_what_is_signed() {
    PLAIN.assert_signature(
        "POST",
        "/prod/a+b/@x=",
        ALWAYS_SIGNED,
        "d7a165c91dda4725af84ce1f19c473d024d9d3ddc5ef5c1f3df387a7acde96b5",
    );
}

#[test]
fn golden_a_query_is_signed_in_order_with_a_value_for_every_name() {
    PLAIN.assert_signature(
        "GET",
        "/prod?b=2&a=1&a&c=x%2Fy",
        ALWAYS_SIGNED,
        "c9669257fcdd90117be2db38f682c7238b3ecfebefdfb112b5e0b113b238b4a6",
    );
}

#[test]
fn golden_body_and_content_type_are_signed() {
    let call = Golden { headers: &[("content-type", "application/json")], body: r#"{"a":1}"#, ..PLAIN };
    call.assert_signature(
        "POST",
        "/prod/p",
        "content-type;host;x-amz-date",
        "5bb991c64a330e1d70e7cdac78ad9fcefc1939e17e9b0807bd2a3c9ac9194ad0",
    );
}

#[test]
fn golden_the_token_of_temporary_keys_is_signed() {
    let call = Golden { access_key_id: "ASIAEXAMPLE", session_token: Some("tok/en+1=="), ..PLAIN };
    call.assert_signature(
        "POST",
        "/prod/p",
        "host;x-amz-date;x-amz-security-token",
        "8deb86aad5dcd1f3eeea8dafe72f41209ca5d84cc89fb88c610b43d27a0881f6",
    );
}

#[test]
fn golden_a_lambda_invocation_by_arn_is_signed_with_its_own_headers() {
    let call = Golden {
        service: "lambda",
        host: "lambda.us-east-1.amazonaws.com",
        headers: &[("x-amz-invocation-type", "RequestResponse")],
        body: "{}",
        ..PLAIN
    };
    call.assert_signature(
        "POST",
        "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A123456789012%3Afunction%3Afn%3Alive/invocations",
        "host;x-amz-date;x-amz-invocation-type",
        "fcaeacbbc88a27d9f5d338fc1e26a9a2af5bddf53b92598f5c598541d4e89349",
    );
}
