//! IAM Roles Anywhere: `CreateSession` exchanges a route's certificate for the keys of a role.
//!
//! The request is signed by the certificate's key
//! (<https://docs.aws.amazon.com/rolesanywhere/latest/userguide/authentication-sign-process.html>): Signature
//! Version 4 with another algorithm, the serial number in the place of the access key id, and the
//! certificates in headers. The SDK has no such signer.

use std::{borrow::Cow, fmt::Write as _, time::SystemTime};

use aws_credential_types::Credentials;
use aws_smithy_types::body::SdkBody;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use futures_core::future::BoxFuture;
use http::{Request, Response, StatusCode, Uri};
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::{
    aws_transport::{RESPONSE_TIMEOUT, authority},
    chain::ChainSource,
    fetch::{Aws, FetchError, Fetched},
    status::CallerIdentity,
    sts::{MAX_REASON, connection_failure},
};
use crate::{
    settings::{EndpointVariant, RolesAnywhereSettings},
    signing::timestamp::Timestamp,
    text::{aws_hosts::roles_anywhere_host, log_safe::log_safe},
    tls::{IdentityProblem, SigningIdentity},
};

/// The SDK's variables for another endpoint, in the order of precedence.
const ENDPOINT_VARIABLES: [&str; 2] = ["AWS_ENDPOINT_URL_ROLESANYWHERE", "AWS_ENDPOINT_URL"];
const CALL: &str = "CreateSession";

/// A certificate as a source of keys.
#[derive(Debug)]
pub struct RolesAnywhere(pub RolesAnywhereSettings);

impl ChainSource for RolesAnywhere {
    fn name(&self) -> Cow<'_, str> {
        "IAM Roles Anywhere".into()
    }

    fn fetch<'a>(&'a self, aws: &'a Aws) -> BoxFuture<'a, Result<Fetched, FetchError>> {
        Box::pin(create_session(&self.0, aws))
    }
}

/// The URL of IAM Roles Anywhere in the region of the trust anchor.
///
/// # Errors
/// A variable for another endpoint is empty.
pub fn url(settings: &RolesAnywhereSettings, aws: &Aws) -> Result<String, FetchError> {
    aws.refuse_empty(&ENDPOINT_VARIABLES)?;
    let EndpointVariant { fips, dual_stack } = aws.source.variant;
    let of_environment = ENDPOINT_VARIABLES.iter().find_map(|name| aws.variable(name));
    Ok(of_environment
        .unwrap_or_else(|| format!("https://{}", roles_anywhere_host(&settings.region, fips, dual_stack))))
}

/// Reads the certificate anew, because it is renewed, and exchanges it.
async fn create_session(settings: &RolesAnywhereSettings, aws: &Aws) -> Result<Fetched, FetchError> {
    let now = SystemTime::now();
    let identity = settings.identity(now).map_err(unusable)?;
    let url = url(settings, aws)?;
    let uri = format!("{}/sessions", url.trim_end_matches('/'))
        .parse::<Uri>()
        .map_err(|_| FetchError::NotConfigured(format!("{url} is no URL")))?;
    let request = signed(settings, &identity, uri, now)?;
    let call = format!("{CALL} of {}", settings.role_arn);
    let answer = aws.transport.send(request, RESPONSE_TIMEOUT).await.map_err(|error| {
        let cause = connection_failure(&*error).unwrap_or_else(|| error.to_string());
        FetchError::Unreachable(log_safe(&format!("{cause}, which {call} needs"), MAX_REASON))
    })?;
    if answer.status().is_success() { fetched(&answer) } else { Err(refused(call, &answer)) }
}

fn unusable(problem: IdentityProblem) -> FetchError {
    let (setting, problem, cure) = match problem {
        IdentityProblem::Certificate(problem) => {
            ("certificate", problem, "replace it by a valid one, which takes no restart")
        }
        IdentityProblem::Key(problem) => ("key", problem, "replace certificate and key together"),
    };
    FetchError::Unusable(format!("{setting} of roles_anywhere: {problem}; {cure}"))
}

/// The request of `CreateSession`, signed.
fn signed(
    settings: &RolesAnywhereSettings,
    identity: &SigningIdentity,
    uri: Uri,
    now: SystemTime,
) -> Result<Request<SdkBody>, FetchError> {
    let body = json!({
        "profileArn": settings.profile_arn,
        "roleArn": settings.role_arn,
        "trustAnchorArn": settings.trust_anchor_arn,
    })
    .to_string();
    let time = Timestamp::at(now);
    let mut certificates = identity.chain().iter().map(|certificate| BASE64_STANDARD.encode(certificate));
    // in the order of the signature
    let mut headers = vec![
        ("content-type", "application/json".to_owned()),
        ("host", authority(&uri)),
        ("x-amz-date", time.date_time().to_owned()),
        ("x-amz-x509", certificates.next().unwrap_or_default()),
    ];
    let chain: Vec<String> = certificates.collect();
    if !chain.is_empty() {
        headers.push(("x-amz-x509-chain", chain.join(",")));
    }
    // task 1: the canonical request
    let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    let path = uri.path();
    let mut canonical = format!("POST\n{path}\n\n");
    for (name, value) in &headers {
        let _ = writeln!(canonical, "{name}:{value}");
    }
    let _ = write!(canonical, "\n{names}\n{}", hex::encode(Sha256::digest(&body)));
    // task 2: the string to sign
    let (algorithm, day) = (identity.algorithm(), time.day());
    let scope = format!("{day}/{}/rolesanywhere/aws4_request", settings.region);
    let hash = hex::encode(Sha256::digest(&canonical));
    let string_to_sign = format!("{algorithm}\n{}\n{scope}\n{hash}", time.date_time());
    // tasks 3 and 4: the signature, and its header
    let signature = identity
        .sign(string_to_sign.as_bytes())
        .map_err(|error| FetchError::Unusable(format!("key of roles_anywhere: {error}")))?;
    let authorization = format!(
        "{algorithm} Credential={}/{scope}, SignedHeaders={names}, Signature={}",
        identity.serial_number(),
        hex::encode(signature)
    );
    let mut request = Request::post(uri).header("authorization", authorization);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    request
        .body(SdkBody::from(body))
        .map_err(|error| FetchError::NotConfigured(format!("the request of {CALL}: {error}")))
}

/// The response of `CreateSession`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sessions {
    credential_set: Vec<Session>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Session {
    assumed_role_user: Option<AssumedRoleUser>,
    credentials: SessionKeys,
}

#[derive(Deserialize)]
struct AssumedRoleUser {
    arn: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SessionKeys {
    access_key_id: String,
    secret_access_key: String,
    session_token: String,
    expiration: String,
}

fn fetched(answer: &Response<Bytes>) -> Result<Fetched, FetchError> {
    // serde's errors quote values
    let unusable = |what: &str| FetchError::Unusable(format!("IAM Roles Anywhere answers {CALL} {what}"));
    let sessions: Sessions = serde_json::from_slice(answer.body()).map_err(|_| unusable("without keys"))?;
    let session = sessions.credential_set.into_iter().next().ok_or_else(|| unusable("without keys"))?;
    let SessionKeys { access_key_id, secret_access_key, session_token, expiration } = session.credentials;
    let expiry = humantime::parse_rfc3339(&expiration).map_err(|_| unusable("with an invalid expiry"))?;
    let credentials =
        Credentials::new(access_key_id, secret_access_key, Some(session_token), Some(expiry), CALL);
    let caller = session.assumed_role_user.and_then(|user| CallerIdentity::of_arn(&user.arn));
    Ok(Fetched { caller, ..credentials.into() })
}

/// AWS's refusal: its code in a header, and its message in JSON.
fn refused(call: String, answer: &Response<Bytes>) -> FetchError {
    #[derive(Deserialize, Default)]
    struct Refusal {
        #[serde(alias = "Message")]
        message: Option<String>,
    }
    let status = answer.status();
    let code = answer.headers().get("x-amzn-errortype").and_then(|code| code.to_str().ok());
    // `CODE:URL`
    let code = code.and_then(|code| code.split(':').next());
    let code = code.map_or_else(|| format!("status {}", status.as_u16()), str::to_owned);
    let refusal: Refusal = serde_json::from_slice(answer.body()).unwrap_or_default();
    let message = refusal.message.unwrap_or_default();
    let mut text = format!("{call}: {}", format!("{code}: {message}").trim_end_matches(": "));
    if let Some(cure) = cure(status, &message) {
        let _ = write!(text, "; {cure}");
    }
    FetchError::Refused { call, code, text: log_safe(&text, MAX_REASON) }
}

/// The cure for a refusal whose message does not name it.
fn cure(status: StatusCode, message: &str) -> Option<&'static str> {
    let message = message.to_ascii_lowercase();
    if message.contains("signature expired") || message.contains("not yet current") {
        Some("set this machine's clock right")
    } else if status == StatusCode::FORBIDDEN {
        Some(
            "see that the trust anchor trusts the certificate's authority, that the profile has the role, \
             and that the role's trust policy allows rolesanywhere.amazonaws.com",
        )
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use aws_types::os_shim_internal::Env;

    use super::*;
    use crate::{
        credentials::tests::{FakeServer, ok, role_source, transport},
        settings::{CredentialProvider, CredentialSettings, PemSource},
    };

    /// A certificate until 2126 with an intermediate certificate, and its key.
    const CERTIFICATE: &str = include_str!("../../tests/it/credentials/keys/rsa.crt");
    const KEY: &str = include_str!("../../tests/it/credentials/keys/rsa.pkcs8.pem");

    fn settings() -> RolesAnywhereSettings {
        RolesAnywhereSettings {
            trust_anchor_arn: "arn:aws:rolesanywhere:us-east-1:123456789012:trust-anchor/a-1".to_owned(),
            profile_arn: "arn:aws:rolesanywhere:us-east-1:123456789012:profile/p-1".to_owned(),
            role_arn: "arn:aws:iam::123456789012:role/reader".to_owned(),
            region: "us-east-1".to_owned(),
            certificate: PemSource::Text(CERTIFICATE.to_owned().into()),
            key: PemSource::Text(KEY.to_owned().into()),
        }
    }

    fn aws(server: &FakeServer) -> Aws {
        let source = CredentialSettings {
            origin: CredentialProvider::RolesAnywhere(settings()),
            role: None,
            ..role_source(server)
        };
        let url = format!("http://{}", server.address);
        let environment = Env::from_slice(&[("AWS_ENDPOINT_URL_ROLESANYWHERE", &url)]);
        Aws { environment, ..Aws::new(source, transport()) }
    }

    async fn failure(response: String) -> FetchError {
        let server = FakeServer::start(move |_| response.clone()).await;
        create_session(&settings(), &aws(&server)).await.unwrap_err()
    }

    /// The value is that of AWS Labs' package `iam-rolesanywhere-session` 3.0.0: signatures of RSA have no
    /// random part.
    #[test]
    fn a_signature_is_that_of_awss_own_client() {
        let now = humantime::parse_rfc3339("2027-01-01T12:00:00Z").unwrap();
        let identity = settings().identity(now).unwrap();
        let uri = Uri::from_static("https://rolesanywhere.us-east-1.amazonaws.com/sessions");
        let request = signed(&settings(), &identity, uri, now).unwrap();
        let head = "AWS4-X509-RSA-SHA256 Credential=644801205362787776815901954526398164424346116659/\
                    20270101/us-east-1/rolesanywhere/aws4_request, \
                    SignedHeaders=content-type;host;x-amz-date;x-amz-x509;x-amz-x509-chain, Signature=";
        let signature = concat!(
            "c250469cb48b788aca24615846f079c69276c008aee5395e23893f3ed9647ae8fba222b348e99767d259383c",
            "88a18552275d410f8d28ff9b83dbcbab8286995bb9878b5c08578bc46276d4343640f8f6e9950db04567a6cb",
            "397bf11d076cb81ff7248a90f09e0478b4cef4b15a3aaf89c9f0f45bf6469e601d0fd28948af0211e1431c18",
            "6478153e5c8160e1a9dcbd0ca2b464414746b9dd0cb4aed6655419edadf887ba10847d2db275c4613029dc4e",
            "749133f39138e926959f538b0005020a1cafe1a50db828a9c899f65892f1d89cdeb872c9ea6f48cd3d7698ab",
            "f85e27682c4753338d8bc8c4b0fbfb90a27272ac01f33a61924d5f5de2d515856f8aeb54",
        );
        assert_eq!(request.headers()["authorization"], format!("{head}{signature}"));
    }

    #[actix_rt::test]
    async fn a_session_is_created_at_the_endpoint_of_the_environment() {
        let body = r#"{"credentialSet": [{
            "assumedRoleUser": {"arn": "arn:aws:sts::123456789012:assumed-role/reader/70f1"},
            "credentials": {"accessKeyId": "ASIA1", "secretAccessKey": "hush", "sessionToken": "hush-token",
                "expiration": "2126-11-20T12:00:00Z"}}]}"#;
        let server = FakeServer::start(move |_| ok(body)).await;
        let fetched = create_session(&settings(), &aws(&server)).await.unwrap();
        assert_eq!(fetched.credentials.session_token(), Some("hush-token"));
        assert!(fetched.credentials.expiry().is_some());
        assert_eq!(fetched.caller.unwrap().account, "123456789012");
        let request = &server.requests()[0];
        assert!(request.starts_with("POST /sessions HTTP/1.1\r\n"), "{request}");
        assert!(request.contains(&format!("host: {}\r\n", server.address)), "{request}");
    }

    #[actix_rt::test]
    async fn a_refusal_has_awss_code_and_message_and_a_cure() {
        let refusal = |status: &str, code: &str, message: &str| {
            let body = json!({ "message": message }).to_string();
            let length = body.len();
            format!("HTTP/1.1 {status}\r\nx-amzn-errortype: {code}\r\ncontent-length: {length}\r\n\r\n{body}")
        };
        let call = "CreateSession of arn:aws:iam::123456789012:role/reader: ";
        for (response, text) in [
            (
                refusal("403 No", "AccessDeniedException:http://x", "Untrusted signing certificate"),
                "AccessDeniedException: Untrusted signing certificate; see that the trust anchor trusts",
            ),
            (
                refusal("403 No", "AccessDeniedException", "Signature expired: x"),
                "AccessDeniedException: Signature expired: x; set this machine's clock right",
            ),
            (
                refusal("404 No", "ResourceNotFoundException", "Profile not found"),
                "ResourceNotFoundException: Profile not found",
            ),
            ("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n".to_owned(), "status 500"),
        ] {
            let failure = failure(response).await.to_string();
            assert!(failure.starts_with(&format!("{call}{text}")), "{failure}");
        }
    }

    #[actix_rt::test]
    async fn an_invalid_response_is_not_quoted() {
        for body in ["hush", r#"{"credentialSet": []}"#, r#"{"credentialSet": "hush"}"#] {
            let failure = failure(ok(body)).await.to_string();
            assert_eq!(failure, "IAM Roles Anywhere answers CreateSession without keys");
        }
    }

    #[test]
    fn debug_shows_neither_certificate_nor_key() {
        let shown = format!("{:?}", RolesAnywhere(settings()));
        let lines = CERTIFICATE.lines().chain(KEY.lines());
        assert!(lines.into_iter().all(|line| !shown.contains(line)), "{shown}");
    }
}
