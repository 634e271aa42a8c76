//! One call that fetches a secret: `GetSecretValue` of Secrets Manager or `GetParameter` of Parameter Store.
//!
//! Both are JSON over POST (<https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html>), so no SDK of
//! the services is needed. An error names the secret and quotes AWS's code and message, never another part of
//! a response.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use actix_http::{
    Method,
    header::{self, HeaderMap, HeaderName, HeaderValue},
};
use aws_credential_types::Credentials;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http::{Request, Response, Uri};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::{json, value::RawValue};
use tokio::time::{Duration, timeout};

use crate::{
    credentials::{
        CredentialSource,
        aws_transport::{AwsTransport, RESPONSE_TIMEOUT, authority},
        sts::{MAX_REASON, connection_failure},
    },
    message::{
        outbound::{OutboundRequest, Signature, SignedPayload},
        request_body::RequestBody,
    },
    settings::{SecretId, SecretService, SecretsAccess},
    signing::{
        Scope, Signer,
        clock_skew::{ClockSkew, ClockSkews},
    },
    text::log_safe::log_safe,
};

/// Timeout of a call, with the wait for the first keys.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);
const TARGET: HeaderName = HeaderName::from_static("x-amz-target");
const CONTENT_TYPE: &str = "application/x-amz-json-1.1";
/// Codes of keys that are to be fetched anew.
const STALE_KEYS: [&str; 3] = ["ExpiredToken", "ExpiredTokenException", "UnrecognizedClientException"];

/// The calls with one set of keys.
#[derive(Debug)]
pub struct SecretCalls {
    pub access: SecretsAccess,
    pub keys: CredentialSource,
    pub transport: AwsTransport,
    /// Shared by all calls of the process.
    pub clocks: Arc<Mutex<ClockSkews>>,
}

/// The parts of a call that differ between the services.
struct Operation {
    /// The service in the scope of a signature.
    service: &'static str,
    target: &'static str,
    permission: &'static str,
}

impl Operation {
    fn of(service: SecretService) -> Self {
        match service {
            SecretService::SecretsManager => Self {
                service: "secretsmanager",
                target: "secretsmanager.GetSecretValue",
                permission: "secretsmanager:GetSecretValue",
            },
            SecretService::ParameterStore => {
                Self { service: "ssm", target: "AmazonSSM.GetParameter", permission: "ssm:GetParameter" }
            }
        }
    }
}

impl SecretCalls {
    /// Fetches a secret.
    ///
    /// # Errors
    /// There are no keys, AWS does not answer or refuses, or the secret is no text. The text has the cure.
    pub async fn fetch(&self, id: &SecretId) -> Result<SecretString, String> {
        let late = |_| Err(format!("no answer within {CALL_TIMEOUT:?}"));
        timeout(CALL_TIMEOUT, self.call(id)).await.unwrap_or_else(late)
    }

    async fn call(&self, id: &SecretId) -> Result<SecretString, String> {
        let operation = Operation::of(id.service);
        let keys = self.keys.current(SystemTime::now()).await.map_err(|error| error.to_string())?;
        let url = self.access.url(id.service, &id.region);
        let clock = self.clock(&url);
        let mut response = self.send(id, &operation, &url, &keys, &clock).await?;
        if is_refused_signature(&response.0) && clock.refused(&date(&response.0), response.1) {
            response = self.send(id, &operation, &url, &keys, &clock).await?;
        }
        let (response, _) = response;
        if response.status().is_success() {
            self.keys.accepted(&keys);
            return value(id.service, response.body());
        }
        let (code, message) = refusal(&response);
        if STALE_KEYS.contains(&&*code) {
            self.keys.refresh_soon(&keys);
        }
        Err(refused(&code, &message, &operation))
    }

    /// Sends one request, and returns the response with the time that was signed.
    async fn send(
        &self,
        id: &SecretId,
        operation: &Operation,
        url: &str,
        keys: &Credentials,
        clock: &ClockSkew,
    ) -> Result<(Response<Bytes>, SystemTime), String> {
        let dated = clock.corrected(SystemTime::now());
        let request = signed(id, operation, url, keys, dated)?;
        let response = self.transport.send(request, RESPONSE_TIMEOUT).await.map_err(|error| {
            let cause = connection_failure(&*error).unwrap_or_else(|| error.to_string());
            log_safe(&cause, MAX_REASON)
        })?;
        Ok((response, dated))
    }

    fn clock(&self, url: &str) -> Arc<ClockSkew> {
        let mut clocks = self.clocks.lock().unwrap_or_else(PoisonError::into_inner);
        clocks.get(&url, url.starts_with("https://"))
    }
}

/// True if AWS may have refused a signature because of its time: the code is that of all wrong signatures.
fn is_refused_signature(response: &Response<Bytes>) -> bool {
    const CODES: [&str; 3] = ["InvalidSignatureException", "SignatureDoesNotMatch", "RequestTimeTooSkewed"];
    !response.status().is_success() && CODES.contains(&&*refusal(response).0)
}

/// True for the message of a signature whose time is too far off, in lower-case letters.
fn is_about_the_time(message: &str) -> bool {
    message.contains("signature expired") || message.contains("not yet current")
}

/// The headers of a response with which a clock is corrected.
fn date(response: &Response<Bytes>) -> HeaderMap {
    let value = |name: HeaderName| Some((name.clone(), response.headers().get(name.as_str())?));
    let values = [header::DATE, header::AGE].into_iter().filter_map(value);
    values.filter_map(|(name, value)| Some((name, HeaderValue::from_bytes(value.as_bytes()).ok()?))).collect()
}

/// The request of a call, signed.
fn signed(
    id: &SecretId,
    operation: &Operation,
    url: &str,
    keys: &Credentials,
    now: SystemTime,
) -> Result<Request<SdkBody>, String> {
    let uri: Uri = format!("{url}/").parse().map_err(|_| format!("the endpoint {url} is no URL"))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(format!("the endpoint {url} is no http or https URL"));
    }
    let body = match id.service {
        SecretService::SecretsManager => json!({ "SecretId": id.name }),
        SecretService::ParameterStore => json!({ "Name": id.name, "WithDecryption": true }),
    };
    let body = Bytes::from(body.to_string());
    let mut headers = HeaderMap::new();
    let host = HeaderValue::try_from(authority(&uri)).map_err(|error| error.to_string())?;
    headers.insert(header::HOST, host);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    headers.insert(TARGET, HeaderValue::from_static(operation.target));
    let outbound = OutboundRequest {
        method: Method::POST,
        path_and_query: uri.path().to_owned(),
        headers,
        body: RequestBody::Whole(body.clone()),
        signature: Signature::Ours,
        payload: SignedPayload::Hash,
    };
    let scope = Scope { region: id.region.clone(), service: operation.service.to_owned() };
    let signature = Signer::new(scope).sign(&outbound, keys, now).map_err(|error| error.to_string())?;
    let mut request = Request::post(uri)
        .header("content-type", CONTENT_TYPE)
        .header("x-amz-target", operation.target)
        .header("content-length", body.len());
    for (name, value) in signature.lines() {
        request = request.header(name.as_str(), value);
    }
    request.body(SdkBody::from(body)).map_err(|error| error.to_string())
}

/// The response of `GetSecretValue`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SecretValue {
    secret_string: Option<SecretString>,
    secret_binary: Option<SecretString>,
}

/// The response of `GetParameter`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ParameterValue {
    parameter: Parameter,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Parameter {
    value: SecretString,
}

fn value(service: SecretService, body: &[u8]) -> Result<SecretString, String> {
    // serde's errors quote values
    let unusable = |_| "the response is not the JSON of this service: see the endpoint".to_owned();
    match service {
        SecretService::ParameterStore => {
            let found: ParameterValue = serde_json::from_slice(body).map_err(unusable)?;
            Ok(found.parameter.value)
        }
        SecretService::SecretsManager => {
            let found: SecretValue = serde_json::from_slice(body).map_err(unusable)?;
            match (found.secret_string, found.secret_binary) {
                (Some(text), _) => Ok(text),
                (None, Some(_)) => Err("the secret is binary; store it as text (SecretString)".to_owned()),
                (None, None) => Err("the response has no SecretString: see the endpoint".to_owned()),
            }
        }
    }
}

/// AWS's error code, without its namespace and URL, and its message.
fn refusal(response: &Response<Bytes>) -> (String, String) {
    #[derive(Deserialize, Default)]
    struct Refusal {
        #[serde(rename = "__type")]
        kind: Option<String>,
        #[serde(alias = "Message")]
        message: Option<String>,
    }
    let body: Refusal = serde_json::from_slice(response.body()).unwrap_or_default();
    let header = response.headers().get("x-amzn-errortype").and_then(|code| code.to_str().ok());
    let code = header.map(str::to_owned).or(body.kind).unwrap_or_default();
    let code = code.split(':').next().unwrap_or_default();
    let code = code.rsplit('#').next().unwrap_or_default();
    let code =
        if code.is_empty() { format!("status {}", response.status().as_u16()) } else { code.to_owned() };
    (code, body.message.unwrap_or_default())
}

/// The text of a refusal, with its cure.
fn refused(code: &str, message: &str, operation: &Operation) -> String {
    let text = log_safe(format!("{code}: {message}").trim_end_matches(": "), MAX_REASON);
    let lower = message.to_ascii_lowercase();
    let permission = operation.permission;
    let cure = if is_about_the_time(&lower) {
        "set this machine's clock right".to_owned()
    } else {
        match code {
            "AccessDeniedException" | "AccessDenied" if lower.contains("kms:") => {
                "allow kms:Decrypt on the secret's key".to_owned()
            }
            "AccessDeniedException" | "AccessDenied" => {
                format!(
                    "allow {permission} on it, and kms:Decrypt on its key if that is not the service's own"
                )
            }
            "ResourceNotFoundException" | "ParameterNotFound" | "ParameterVersionNotFound" => {
                "create it in this region and account, or correct the reference".to_owned()
            }
            "DecryptionFailure" | "InvalidKeyId" => "see that its KMS key exists and is enabled".to_owned(),
            code if STALE_KEYS.contains(&code) || code == "InvalidSignatureException" => {
                "see the keys of the process with `apigw-invoker check --credentials`".to_owned()
            }
            _ => return text,
        }
    };
    format!("{text}; {cure}")
}

/// The whole secret, or a member of its JSON object.
///
/// # Errors
/// The secret is no JSON object, or has no such member. The text quotes no value.
pub fn selected(value: &SecretString, key: Option<&str>) -> Result<SecretString, String> {
    let Some(key) = key else { return Ok(value.clone()) };
    let members: BTreeMap<String, &RawValue> = serde_json::from_str(value.expose_secret())
        .map_err(|_| "the secret is no JSON object: leave the key out, with a `/` at the end".to_owned())?;
    let Some(member) = members.get(key) else {
        return Err("the secret's JSON object has no such member: correct the key".to_owned());
    };
    let raw = member.get();
    match raw.as_bytes() {
        [b'"', ..] => serde_json::from_str(raw).map_err(|_| "the member is no valid text".to_owned()),
        // numbers keep their digits
        [b'-' | b'0'..=b'9' | b't' | b'f', ..] => Ok(raw.to_owned().into()),
        _ => Err("the member is null, a list or a table: only a text, a number or a boolean can be used"
            .to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_selects_a_text_a_number_or_a_boolean() {
        let secret: SecretString =
            r#"{"a":"hush \"é","n":12345678901234567890123,"b":true,"x":null,"l":[1]}"#.into();
        let member = |key: &str| selected(&secret, Some(key)).map(|value| value.expose_secret().to_owned());
        assert_eq!(member("a").unwrap(), "hush \"é");
        assert_eq!(member("n").unwrap(), "12345678901234567890123");
        assert_eq!(member("b").unwrap(), "true");
        for wrong in ["x", "l", "A", ""] {
            let problem = member(wrong).unwrap_err();
            assert!(!problem.contains("hush"), "{problem}");
        }
        assert_eq!(selected(&"hush".into(), None).unwrap().expose_secret(), "hush");
        assert!(!selected(&"hush".into(), Some("a")).unwrap_err().contains("hush"));
    }

    #[test]
    fn a_refusal_has_its_code_its_message_and_the_cure() {
        let operation = Operation::of(SecretService::SecretsManager);
        let refusal = |header: Option<&str>, body: &'static str| {
            let mut response = Response::builder().status(400);
            if let Some(code) = header {
                response = response.header("x-amzn-errortype", code);
            }
            let (code, message) = refusal(&response.body(Bytes::from(body)).unwrap());
            refused(&code, &message, &operation)
        };
        let denied =
            r#"{"__type":"com.amazonaws#AccessDeniedException","Message":"User x is not authorized"}"#;
        assert_eq!(
            refusal(None, denied),
            "AccessDeniedException: User x is not authorized; allow secretsmanager:GetSecretValue on it, and \
             kms:Decrypt on its key if that is not the service's own"
        );
        assert!(
            refusal(Some("ResourceNotFoundException:http://x/"), "{}")
                .starts_with("ResourceNotFoundException; create")
        );
        assert_eq!(refusal(None, "<html>hush"), "status 400");
        let late = r#"{"__type":"InvalidSignatureException","message":"Signature expired: 1 is now"}"#;
        assert!(refusal(None, late).ends_with("; set this machine's clock right"));
    }

    #[test]
    fn a_response_that_is_no_secret_is_not_quoted() {
        for body in ["", "hush", "[]", r#"{"SecretString":["hush"]}"#, r#"{"SecretBinary":"aHVzaA=="}"#, "{}"]
        {
            for service in [SecretService::SecretsManager, SecretService::ParameterStore] {
                let problem = value(service, body.as_bytes()).unwrap_err();
                assert!(!problem.contains("hush") && !problem.contains("aHVz"), "{problem}");
            }
        }
    }
}
