//! The examples of Amazon S3's documentation ("Signature calculations for the Authorization header:
//! transferring payload in a single chunk",
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>).
//!
//! The first two sign headers that the sidecar does not sign, so their canonical requests are built here; the
//! others are signed by the signer.

use apigw_invoker::{
    signing::{
        Scope,
        canonical::{CanonicalRequest, SignedHeader, SignedValue},
        hash, string_to_sign,
    },
    text::{signing_rules::CanonicalPath, uri_syntax::path::make_strict},
};
use aws_credential_types::Credentials;
use aws_sigv4::sign::v4;

use super::{authorization, header_map, header_text, outbound, sign, time};

const HOST: &str = "examplebucket.s3.amazonaws.com";
const DATE: &str = "20130524T000000Z";
const SCOPE: &str = "20130524/us-east-1/s3/aws4_request";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// The signature of a request with these signed headers.
fn signature(method: &str, path: &str, headers: &[(&str, &str)], payload: &[u8]) -> String {
    let mut path = path.to_owned();
    make_strict(&mut path);
    let payload_hash = hash(payload);
    let headers: Vec<SignedHeader<'_>> =
        headers.iter().map(|(name, value)| SignedHeader { name, value: SignedValue::Added(value) }).collect();
    let request = CanonicalRequest {
        method,
        path: &path,
        path_form: CanonicalPath::EncodedOnce,
        query: "",
        headers: &headers,
        payload_hash: &payload_hash,
    };
    let text = string_to_sign(DATE, SCOPE, &request.write().text);
    let key = v4::generate_signing_key(SECRET, time("2013-05-24T00:00:00Z"), "us-east-1", "s3");
    v4::calculate_signature(key, text.as_bytes())
}

#[test]
fn get_object_with_a_range_has_the_documented_signature() {
    let headers =
        [("host", HOST), ("range", "bytes=0-9"), ("x-amz-content-sha256", EMPTY), ("x-amz-date", DATE)];
    assert_eq!(
        signature("GET", "/test.txt", &headers, b""),
        "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
    );
}

#[test]
fn put_object_has_the_documented_signature() {
    let payload = b"Welcome to Amazon S3.";
    let payload_hash = hash(payload);
    let headers = [
        ("date", "Fri, 24 May 2013 00:00:00 GMT"),
        ("host", HOST),
        ("x-amz-content-sha256", &*payload_hash),
        ("x-amz-date", DATE),
        ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
    ];
    assert_eq!(
        signature("PUT", "/test$file.text", &headers, payload),
        "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"
    );
}

#[test]
fn requests_without_other_headers_get_the_documented_signatures() {
    for (target, signature) in [
        ("/?lifecycle", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
        ("/?max-keys=2&prefix=J", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
    ] {
        let mut request = outbound("GET", target, header_map([("host", HOST)]), b"");
        let credentials = Credentials::new("AKIAIOSFODNN7EXAMPLE", SECRET, None, None, "test");
        let scope = Scope { region: "us-east-1".into(), service: "s3".into() };
        sign(&mut request, scope, &credentials, time("2013-05-24T00:00:00Z"));
        let expected = format!(
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/{SCOPE}, \
             SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature={signature}"
        );
        assert_eq!(authorization(&request), expected, "{target}");
        let sent = |name: &'static str| {
            header_text(&request, actix_http::header::HeaderName::from_static(name)).map(str::to_owned)
        };
        assert_eq!(sent("x-amz-content-sha256").as_deref(), Some(EMPTY));
    }
}
