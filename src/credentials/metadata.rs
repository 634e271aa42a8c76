//! EC2's metadata service: the role of the instance and its keys
//! (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-security-credentials.html>).
//!
//! The SDK fetches the session token of version 2; it dropped version 1, Kong's default, which is used only
//! with `aws_imds_protocol_version: v1`: without a token, any request that an application can be made to send
//! reaches the keys. The role list and the keys are parsed here for both versions: the SDK's provider panics
//! on an HTML list and extends the expiry of expired keys without a notice.

use std::{error::Error as _, time::Duration};

use aws_config::imds::{
    self,
    client::error::{ImdsError, TokenError},
};
use aws_credential_types::Credentials;
use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use http::{StatusCode, Uri};
use serde::Deserialize;

use super::{aws_transport::AwsTransport, fetch::FetchError, sts::causes};
use crate::system::wall_clock;

/// Timeout of a request of version 1. Outside EC2 nothing listens there, and start-up must not hang.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(1);
const MAX_ATTEMPTS: u32 = 2;
const ROLES_PATH: &str = "/latest/meta-data/iam/security-credentials/";
const TOKEN_PATH: &str = "/latest/api/token";

/// Statuses of a service with version 1 alone, which has no such path or no `PUT`. Other statuses are
/// failures of a service that may have both versions.
const NO_TOKEN_SUPPORT: [u16; 3] = [403, 404, 405];

/// A client of the service, for one version. `endpoint` is its scheme and address.
#[derive(Debug)]
pub enum MetadataService<'a> {
    V1 {
        transport: &'a AwsTransport,
        endpoint: String,
    },
    /// The SDK's client, which sends a session token.
    V2 {
        client: imds::Client,
        endpoint: String,
    },
}

/// The service's JSON with the keys of a role.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RoleKeys {
    code: Option<String>,
    message: Option<String>,
    access_key_id: Option<String>,
    secret_access_key: Option<String>,
    token: Option<String>,
    expiration: Option<String>,
}

/// The service's address, by the SDK's variables, which apply to version 1 too.
pub fn endpoint(environment: impl Fn(&str) -> Option<String>) -> String {
    let given = environment("AWS_EC2_METADATA_SERVICE_ENDPOINT").filter(|value| !value.trim().is_empty());
    let is_six = environment("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE")
        .is_some_and(|value| value.trim().eq_ignore_ascii_case("ipv6"));
    let default = if is_six { "http://[fd00:ec2::254]" } else { "http://169.254.169.254" };
    given.unwrap_or_else(|| default.to_owned())
}

/// Fetches the keys of the instance's role, expired or not.
///
/// # Errors
/// The service does not answer, or the instance has no role.
pub async fn fetch(service: &MetadataService<'_>) -> Result<Credentials, FetchError> {
    let roles = service.get(ROLES_PATH.to_owned()).await?;
    let role = roles.lines().next().map(str::trim).filter(|role| !role.is_empty());
    let role = role.ok_or_else(|| FetchError::Unusable("the instance has no role".to_owned()))?;
    // `RoleName` of <https://docs.aws.amazon.com/IAM/latest/APIReference/API_Role.html>
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte);
    if role.len() > 64 || !role.bytes().all(is_name) {
        let malformed =
            "its list of roles is malformed; does a proxy or another service answer at its address?";
        return Err(FetchError::Unusable(malformed.to_owned()));
    }
    read(&service.get(format!("{ROLES_PATH}{role}")).await?)
}

impl MetadataService<'_> {
    async fn get(&self, path: String) -> Result<String, FetchError> {
        match self {
            Self::V1 { transport, endpoint } => get(transport, &url(endpoint, &path)).await,
            Self::V2 { client, endpoint } => match client.get(&*path).await {
                Ok(answer) => Ok(answer.into()),
                Err(error) => Err(failure(endpoint, &path, &error)),
            },
        }
    }
}

fn url(endpoint: &str, path: &str) -> String {
    format!("{}{path}", endpoint.trim_end_matches('/'))
}

fn failure(endpoint: &str, path: &str, error: &ImdsError) -> FetchError {
    match (error, token_status(error)) {
        // the error's own text quotes the response
        (ImdsError::ErrorResponse(context), _) => {
            let status = context.response().status().as_u16();
            refused(url(endpoint, path), status, role_hint(status))
        }
        (ImdsError::FailedToLoadToken(_), Some(status)) => {
            refused(url(endpoint, TOKEN_PATH), status, token_hint(status))
        }
        _ => FetchError::Unreachable(causes(error)),
    }
}

/// The status of the response to the token request, if there was one.
fn token_status(error: &ImdsError) -> Option<u16> {
    let cause = error.source()?.downcast_ref::<SdkError<TokenError, HttpResponse>>()?;
    Some(cause.raw_response()?.status().as_u16())
}

fn token_hint(status: u16) -> &'static str {
    if NO_TOKEN_SUPPORT.contains(&status) {
        " and no session token; if it knows version 1 alone, as older services do, set \
         `imds_protocol_version: v1` (`aws_imds_protocol_version` in `lambda`)"
    } else {
        " and no session token"
    }
}

fn role_hint(status: u16) -> &'static str {
    if status == 404 { "; has the instance a role?" } else { "" }
}

fn refused(url: String, status: u16, hint: &str) -> FetchError {
    let text = format!("{url}: status {status}{hint}");
    FetchError::Refused { call: url, code: status.to_string(), text }
}

async fn get(transport: &AwsTransport, url: &str) -> Result<String, FetchError> {
    let invalid = |error| FetchError::NotConfigured(format!("{url} is no URL: {error}"));
    let uri: Uri = url.parse().map_err(invalid)?;
    let mut last = FetchError::Unreachable(String::new());
    for _ in 0..MAX_ATTEMPTS {
        match transport.get(uri.clone(), ATTEMPT_TIMEOUT).await {
            Ok(answer) if answer.status() == StatusCode::OK => {
                return Ok(String::from_utf8_lossy(answer.body()).into_owned());
            }
            Ok(answer) => {
                let status = answer.status().as_u16();
                last = refused(url.to_owned(), status, role_hint(status));
                if status == 404 {
                    break;
                }
            }
            Err(error) => last = FetchError::Unreachable(format!("{url}: {error}")),
        }
    }
    Err(last)
}

/// Parses the keys. No error quotes the input.
fn read(text: &str) -> Result<Credentials, FetchError> {
    let unusable = |what: &str| FetchError::Unusable(format!("the metadata service's answer {what}"));
    let keys: RoleKeys = serde_json::from_str(text).map_err(|_| unusable("is not valid JSON with keys"))?;
    if let Some(code) = keys.code.filter(|code| code != "Success") {
        let text = format!("{code}: {}", keys.message.unwrap_or_default());
        return Err(FetchError::Refused { call: ROLES_PATH.to_owned(), code, text });
    }
    let (Some(id), Some(secret), Some(token), Some(expiration)) =
        (keys.access_key_id, keys.secret_access_key, keys.token, keys.expiration)
    else {
        return Err(unusable("lacks the access key id or the secret"));
    };
    let expiry = wall_clock::parse(&expiration).ok_or_else(|| unusable("has no valid expiry"))?;
    Ok(Credentials::new(id, secret, Some(token), Some(expiry), "EC2 metadata"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::tests::{FakeServer, ok, transport};
    use proptest::prelude::*;

    const KEYS: &str = r#"{"Code":"Success","LastUpdated":"2030-01-01T00:00:00Z","Type":"AWS-HMAC",
        "AccessKeyId":"ASIA1","SecretAccessKey":"hush-secret","Token":"hush-token",
        "Expiration":"2030-01-01T06:00:00Z"}"#;

    async fn fetched(
        answer: impl Fn(&str) -> String + Send + Sync + 'static,
    ) -> (Result<Credentials, String>, Vec<String>) {
        let server = FakeServer::start(answer).await;
        let transport = transport();
        let service =
            MetadataService::V1 { transport: &transport, endpoint: format!("http://{}/", server.address) };
        let result = fetch(&service).await.map_err(|failure| failure.to_string());
        (result, server.requests())
    }

    #[actix_rt::test]
    async fn two_plain_requests_give_the_keys_of_the_role() {
        let (keys, requests) = fetched(|request| {
            ok(if request.starts_with("GET /latest/meta-data/iam/security-credentials/ ") {
                "my-role\n"
            } else {
                KEYS
            })
        })
        .await;
        let keys = keys.unwrap();
        assert_eq!(keys.access_key_id(), "ASIA1");
        assert_eq!((keys.secret_access_key(), keys.session_token()), ("hush-secret", Some("hush-token")));
        assert_eq!(humantime::format_rfc3339(keys.expiry().unwrap()).to_string(), "2030-01-01T06:00:00Z");
        assert!(
            requests[1].starts_with("GET /latest/meta-data/iam/security-credentials/my-role HTTP/1.1\r\n")
        );
        assert!(requests.iter().all(|request| !request.to_lowercase().contains("token")), "{requests:?}");
    }

    #[actix_rt::test]
    async fn an_instance_without_a_role_is_named_as_the_cause() {
        let (result, requests) =
            fetched(|_| "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_owned()).await;
        assert!(result.unwrap_err().ends_with("has the instance a role?"));
        assert_eq!(requests.len(), 1);
        assert_eq!(fetched(|_| ok(" \n")).await.0.unwrap_err(), "the instance has no role");
    }

    #[actix_rt::test]
    async fn a_service_that_fails_is_called_twice() {
        let (result, requests) =
            fetched(|_| "HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n".to_owned()).await;
        assert!(result.unwrap_err().ends_with("status 500"));
        assert_eq!(requests.len(), 2);
    }

    #[actix_rt::test]
    async fn a_service_that_never_answers_times_out_after_two_seconds() {
        let start = std::time::Instant::now();
        let (result, _) = fetched(|_| String::new()).await;
        assert!(result.unwrap_err().ends_with("no answer within 1s"));
        assert!(start.elapsed() < Duration::from_secs(4));
    }

    #[actix_rt::test]
    async fn x15_an_html_list_of_roles_is_refused_without_a_quote() {
        for list in ["<html><body>hush</body></html>", "a role", "../x", &"r".repeat(65)] {
            let list = list.to_owned();
            let (result, requests) = fetched(move |_| ok(&list)).await;
            let reason = result.unwrap_err();
            assert!(
                reason.starts_with("its list of roles is malformed") && !reason.contains("hush"),
                "{reason}"
            );
            assert_eq!(requests.len(), 1);
        }
    }

    #[test]
    fn an_invalid_response_is_not_quoted() {
        let refused = r#"{"Code":"AssumeRoleUnauthorizedAccess","Message":"EC2 cannot assume the role"}"#;
        assert_eq!(
            read(refused).unwrap_err().to_string(),
            "AssumeRoleUnauthorizedAccess: EC2 cannot assume the role"
        );
        for text in [
            "hush",
            r#"{"Code":"Success","SecretAccessKey":"hush"}"#,
            r#"{"Code":"Success","SecretAccessKey":3,"Token":"hush"}"#,
            &KEYS.replace("2030-01-01T06:00:00Z", "hush"),
        ] {
            let reason = read(text).unwrap_err().to_string();
            assert!(!reason.contains("hush"), "{reason}");
        }
    }

    #[test]
    fn the_sdks_variables_set_the_services_address() {
        let at = |name: &'static str, value: &'static str| {
            endpoint(move |asked| (asked == name).then(|| value.to_owned()))
        };
        assert_eq!(at("-", ""), "http://169.254.169.254");
        assert_eq!(at("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1"), "http://127.0.0.1:1");
        assert_eq!(at("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "IPv6"), "http://[fd00:ec2::254]");
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic_or_is_quoted(
            code in prop::sample::select(vec!["\"Success\"", "1", "null"]),
            members in prop::collection::vec((
                prop::sample::select(vec![
                    "AccessKeyId", "SecretAccessKey", "Token", "Expiration", "Message",
                ]),
                prop::sample::select(vec![
                    "\"hush\"", "1", "null", "[\"hush\"]", "\"2030-01-01T06:00:00Z\"", "\"9999999-99-99\"",
                ]),
            ), 0..7),
        ) {
            let members: String = members.iter().map(|(name, value)| format!(",{name:?}:{value}")).collect();
            if let Err(reason) = read(&format!("{{\"Code\":{code}{members}}}")) {
                prop_assert!(!reason.to_string().contains("hush"), "{reason}");
            }
        }

        #[test]
        fn text_at_random_is_refused_without_a_panic(text in any::<String>()) {
            prop_assert!(read(&text).is_err());
        }
    }
}
