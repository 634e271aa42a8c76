//! EC2's metadata service in its first version, which the SDK no longer speaks: two plain requests
//! (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-security-credentials.html>).
//!
//! `fetch.rs` comes here only where the settings say `aws_imds_protocol_version: v1`, Kong's default, since
//! without a session token any request that an application can be talked into reaches the keys.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_smithy_types::{DateTime, date_time::Format};
use http::{StatusCode, Uri};
use serde::Deserialize;

use super::way::Way;

/// Off EC2 nobody answers there; a pod waits no longer than this for nothing.
const LIMIT: Duration = Duration::from_secs(1);
const ATTEMPTS: u32 = 2;
const PATH: &str = "/latest/meta-data/iam/security-credentials/";

/// The keys of a role, as the service writes them.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    code: String,
    message: Option<String>,
    access_key_id: Option<String>,
    secret_access_key: Option<String>,
    token: Option<String>,
    expiration: Option<String>,
}

/// Where the service is: the SDK's variables for it hold here too.
pub fn endpoint(environment: impl Fn(&str) -> Option<String>) -> String {
    let given = environment("AWS_EC2_METADATA_SERVICE_ENDPOINT").filter(|value| !value.trim().is_empty());
    let is_six = environment("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE")
        .is_some_and(|value| value.trim().eq_ignore_ascii_case("ipv6"));
    let default = if is_six { "http://[fd00:ec2::254]" } else { "http://169.254.169.254" };
    given.unwrap_or_else(|| default.to_owned())
}

/// Fetches the keys of the instance's role.
///
/// # Errors
/// The service does not answer, or has no role.
pub async fn fetch(way: &Way, endpoint: &str) -> Result<Credentials, String> {
    let base = format!("{}{PATH}", endpoint.trim_end_matches('/'));
    let roles = get(way, &base).await?;
    let role = roles.lines().next().map(str::trim).filter(|role| !role.is_empty());
    let role = role.ok_or("the instance has no role")?;
    // `RoleName` of <https://docs.aws.amazon.com/IAM/latest/APIReference/API_Role.html>
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte);
    if role.len() > 64 || !role.bytes().all(is_name) {
        return Err("it lists a role whose name is none".to_owned());
    }
    let answer = get(way, &format!("{base}{role}")).await?;
    read(&answer)
}

async fn get(way: &Way, url: &str) -> Result<String, String> {
    let uri: Uri = url.parse().map_err(|error| format!("{url} is no URL: {error}"))?;
    let mut last = String::new();
    for _ in 0..ATTEMPTS {
        match way.get(uri.clone(), LIMIT).await {
            Ok(answer) if answer.status() == StatusCode::OK => {
                return Ok(String::from_utf8_lossy(answer.body()).into_owned());
            }
            Ok(answer) if answer.status() == StatusCode::NOT_FOUND => {
                return Err(format!("{url}: status 404; has the instance a role?"));
            }
            Ok(answer) => last = format!("{url}: status {}", answer.status().as_u16()),
            Err(error) => last = format!("{url}: {error}"),
        }
    }
    Err(last)
}

/// Reads the keys. No error quotes what was read.
fn read(text: &str) -> Result<Credentials, String> {
    let answer: Answer =
        serde_json::from_str(text).map_err(|_| "the metadata service's answer is not the JSON of keys")?;
    if answer.code != "Success" {
        return Err(format!("{}: {}", answer.code, answer.message.unwrap_or_default()));
    }
    let (Some(id), Some(secret), Some(token), Some(expiration)) =
        (answer.access_key_id, answer.secret_access_key, answer.token, answer.expiration)
    else {
        return Err("the metadata service's answer lacks a part of the keys".to_owned());
    };
    let expiry = DateTime::from_str(&expiration, Format::DateTime)
        .ok()
        .and_then(|time| SystemTime::try_from(time).ok())
        .ok_or("the metadata service's answer has no time of expiry that is understood")?;
    Ok(Credentials::new(id, secret, Some(token), Some(expiry), "EC2 metadata v1"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::fakes::{Server, ok, way};
    use proptest::prelude::*;

    const KEYS: &str = r#"{"Code":"Success","LastUpdated":"2030-01-01T00:00:00Z","Type":"AWS-HMAC","AccessKeyId":"ASIA1",
        "SecretAccessKey":"hush-secret","Token":"hush-token","Expiration":"2030-01-01T06:00:00Z"}"#;

    async fn fetched(
        answer: impl Fn(&str) -> String + Send + Sync + 'static,
    ) -> (Result<Credentials, String>, Vec<String>) {
        let server = Server::start(answer).await;
        let result = fetch(&way(), &format!("http://{}/", server.address)).await;
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
    async fn an_instance_without_a_role_says_so() {
        let (result, requests) =
            fetched(|_| "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_owned()).await;
        assert!(result.unwrap_err().ends_with("has the instance a role?"));
        assert_eq!(requests.len(), 1);
        assert_eq!(fetched(|_| ok(" \n")).await.0.unwrap_err(), "the instance has no role");
    }

    #[actix_rt::test]
    async fn a_service_that_fails_is_asked_twice() {
        let (result, requests) =
            fetched(|_| "HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n".to_owned()).await;
        assert!(result.unwrap_err().ends_with("status 500"));
        assert_eq!(requests.len(), 2);
    }

    #[actix_rt::test]
    async fn a_service_that_is_not_there_costs_two_seconds() {
        let start = std::time::Instant::now();
        let (result, _) = fetched(|_| String::new()).await;
        assert!(result.unwrap_err().ends_with("no answer within 1s"));
        assert!(start.elapsed() < Duration::from_secs(4));
    }

    #[test]
    fn a_wrong_answer_is_not_quoted() {
        let refused = r#"{"Code":"AssumeRoleUnauthorizedAccess","Message":"EC2 cannot assume the role"}"#;
        assert_eq!(read(refused).unwrap_err(), "AssumeRoleUnauthorizedAccess: EC2 cannot assume the role");
        for text in [
            "hush",
            r#"{"Code":"Success","SecretAccessKey":"hush"}"#,
            r#"{"Code":"Success","SecretAccessKey":3,"Token":"hush"}"#,
            &KEYS.replace("2030-01-01T06:00:00Z", "hush"),
        ] {
            let reason = read(text).unwrap_err();
            assert!(!reason.contains("hush"), "{reason}");
        }
    }

    #[test]
    fn the_sdks_variables_say_where_the_service_is() {
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
                prop::sample::select(vec!["AccessKeyId", "SecretAccessKey", "Token", "Expiration", "Message"]),
                prop::sample::select(vec!["\"hush\"", "1", "null", "[\"hush\"]", "\"2030-01-01T06:00:00Z\"", "\"9999999-99-99\""]),
            ), 0..7),
        ) {
            let members: String = members.iter().map(|(name, value)| format!(",{name:?}:{value}")).collect();
            if let Err(reason) = read(&format!("{{\"Code\":{code}{members}}}")) {
                prop_assert!(!reason.contains("hush"), "{reason}");
            }
        }

        #[test]
        fn no_text_is_taken_for_keys(text in any::<String>()) {
            prop_assert!(read(&text).is_err());
        }
    }
}
