//! STS calls: `AssumeRole`, `AssumeRoleWithWebIdentity` and `GetCallerIdentity`.
//!
//! The endpoint is the regional one in the partition of the region, by the SDK's rules;
//! `aws_sts_endpoint_url` or `AWS_ENDPOINT_URL_STS` replaces it.

use std::{error::Error, time::SystemTime};

use aws_config::{BehaviorVersion, Region, identity::IdentityCache};
use aws_credential_types::Credentials;
use aws_sdk_sts::{
    Client,
    config::endpoint::{DefaultResolver, Params, ResolveEndpoint as _},
    error::{ProvideErrorMetadata, SdkError},
    types,
};

use super::{
    aws_transport::AwsTransport,
    chain::WebIdentity,
    fetch::{FetchError, Fetched},
    identity::{self, is_clock_error},
    status::CallerIdentity,
};
use crate::{
    message::error::ProxyError,
    settings::{CredentialSettings, EndpointVariant, Role, session_name},
    system::regular_file,
    text::log_safe::log_safe,
};

/// Characters of an error's text. AWS's messages name the action, the role and the caller.
pub(super) const MAX_REASON: usize = 500;

/// The SDK's variables for another endpoint, in the order of precedence.
pub const ENDPOINT_VARIABLES: [&str; 2] = ["AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL"];

/// Calls STS for one source.
#[derive(Debug, Clone)]
pub struct Sts {
    transport: AwsTransport,
    region: Region,
    endpoint: Option<String>,
    variant: EndpointVariant,
}

impl Sts {
    pub fn new(source: &CredentialSettings, transport: AwsTransport) -> Self {
        let region = Region::new(source.region.clone());
        Self { transport, region, endpoint: source.sts_endpoint.clone(), variant: source.variant }
    }

    /// A client that signs with `credentials`, or does not sign.
    async fn client(&self, credentials: Option<Credentials>) -> Client {
        let (_, EndpointVariant { fips, dual_stack }) = self.endpoint();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .region(self.region.clone())
            .http_client(self.transport.client())
            // each client makes one call
            .identity_cache(IdentityCache::no_cache())
            .use_fips(fips)
            .use_dual_stack(dual_stack);
        if let Some(endpoint) = &self.endpoint {
            loader = loader.endpoint_url(endpoint);
        }
        let loader = match credentials {
            Some(credentials) => loader.credentials_provider(credentials),
            None => loader.no_credentials(),
        };
        Client::new(&loader.load().await)
    }

    /// The endpoint of settings or environment, and the variant of the region's endpoint. The SDK refuses a
    /// variant of a given endpoint.
    fn endpoint(&self) -> (Option<String>, EndpointVariant) {
        let of_environment = || ENDPOINT_VARIABLES.iter().find_map(|name| std::env::var(name).ok());
        match self.endpoint.clone().or_else(of_environment) {
            Some(endpoint) => (Some(endpoint), EndpointVariant::default()),
            None => (None, self.variant),
        }
    }

    /// Exchanges keys for those of a role.
    ///
    /// # Errors
    /// STS refuses or does not answer.
    pub async fn assume_role(&self, role: &Role, credentials: Credentials) -> Result<Fetched, FetchError> {
        let seconds = role.duration.map(|duration| i32::try_from(duration.as_secs()).unwrap_or(i32::MAX));
        let call = self.client(Some(credentials)).await.assume_role();
        let answer = call
            .role_arn(&role.arn)
            .role_session_name(session_name(&role.session_name))
            .set_external_id(role.external_id.clone())
            .set_duration_seconds(seconds)
            .send()
            .await
            .map_err(|error| failure(&error, "AssumeRole", &role.arn))?;
        fetched(answer.credentials, answer.assumed_role_user, "AssumeRole")
    }

    /// Exchanges a token for the keys of a role. Reads the token's file anew, because the cluster renews it.
    ///
    /// # Errors
    /// The token cannot be read, or STS refuses or does not answer.
    pub async fn assume_role_with_web_identity(&self, identity: &WebIdentity) -> Result<Fetched, FetchError> {
        let WebIdentity { token_file, role_arn, session_name: name } = identity;
        let token = regular_file::read(token_file).map_err(|error| {
            FetchError::Unreadable(format!("the token file {}", token_file.display()), error.to_string())
        })?;
        let call = self.client(None).await.assume_role_with_web_identity();
        let answer = call
            .role_arn(role_arn)
            .role_session_name(session_name(name))
            .web_identity_token(token.trim_end())
            .send()
            .await
            .map_err(|error| failure(&error, "AssumeRoleWithWebIdentity", role_arn))?;
        fetched(answer.credentials, answer.assumed_role_user, "AssumeRoleWithWebIdentity")
    }

    /// Calls `GetCallerIdentity` with these keys.
    ///
    /// # Errors
    /// STS refuses the keys, or the call failed.
    pub async fn caller(&self, credentials: Credentials) -> Result<CallerIdentity, FetchError> {
        let key_id = credentials.access_key_id().to_owned();
        let answer = self.client(Some(credentials)).await.get_caller_identity().send().await;
        let answer = answer.map_err(|error| identity::failure(&error, &key_id))?;
        let caller = answer.arn.as_deref().and_then(CallerIdentity::of_arn);
        caller.ok_or_else(|| identity::call_failed("STS answered without an ARN"))
    }

    /// The URL of STS, by the SDK's rules.
    ///
    /// # Errors
    /// The region has no STS.
    pub async fn url(&self) -> Result<String, FetchError> {
        let (endpoint, EndpointVariant { fips, dual_stack }) = self.endpoint();
        let parameters = Params::builder()
            .region(self.region.to_string())
            .use_fips(fips)
            .use_dual_stack(dual_stack)
            .set_endpoint(endpoint)
            .build()
            .map_err(|error| FetchError::NotConfigured(error.to_string()))?;
        let found = DefaultResolver::new().resolve_endpoint(&parameters).await;
        let found = found.map_err(|error| FetchError::NotConfigured(error.to_string()))?;
        Ok(found.url().to_owned())
    }
}

fn fetched(
    keys: Option<types::Credentials>,
    user: Option<types::AssumedRoleUser>,
    call: &'static str,
) -> Result<Fetched, FetchError> {
    let unusable = |what: &str| FetchError::Unusable(format!("STS answers {call} {what}"));
    let keys = keys.ok_or_else(|| unusable("without keys"))?;
    let expiry = SystemTime::try_from(keys.expiration).map_err(|_| unusable("with an invalid expiry"))?;
    let token = Some(keys.session_token);
    let credentials = Credentials::new(keys.access_key_id, keys.secret_access_key, token, Some(expiry), call);
    let caller = user.and_then(|user| CallerIdentity::of_arn(&user.arn));
    Ok(Fetched { caller, ..credentials.into() })
}

/// The error of a failed call. Without a connection the text begins with the host, which operators look for.
fn failure<E: ProvideErrorMetadata + Error + 'static>(
    error: &SdkError<E>,
    call: &str,
    arn: &str,
) -> FetchError
where
    SdkError<E>: Error,
{
    let call = format!("{call} of {arn}");
    if let Some(cause) = connection_failure(error) {
        return FetchError::Unreachable(log_safe(&format!("{cause}, which {call} needs"), MAX_REASON));
    }
    let text = format!("{call}: {}", reason(error));
    let Some(refusal) = error.as_service_error() else { return FetchError::Unreachable(text) };
    let code = refusal.code().unwrap_or_default();
    let is_late = is_clock_error(code, refusal.message().unwrap_or_default());
    let text = if is_late { text + "; set this machine's clock right" } else { text };
    FetchError::Refused { call, code: code.to_owned(), text }
}

/// The sidecar's own error among the causes of an SDK error, if there was no connection.
pub(super) fn connection_failure(error: &(dyn Error + 'static)) -> Option<String> {
    let mut errors = std::iter::successors(Some(error), |&error| error.source());
    errors.find_map(|error| Some(error.downcast_ref::<ProxyError>()?.causes()))
}

/// Code and message of AWS's refusal, otherwise the causes of the failure. Never the response, which may
/// contain keys.
pub fn reason<E: ProvideErrorMetadata + Error + 'static>(error: &SdkError<E>) -> String
where
    SdkError<E>: Error,
{
    match error.as_service_error() {
        Some(refusal) => {
            // a response without a body has no code
            let status = || error.raw_response().map_or_else(String::new, |raw| raw.status().to_string());
            let code = refusal.code().map_or_else(|| format!("status {}", status()), str::to_owned);
            let message = refusal.message().unwrap_or_default();
            log_safe(format!("{code}: {message}").trim_end_matches(": "), MAX_REASON)
        }
        None => causes(error),
    }
}

/// An error with its causes, without repetitions; for a failed connection the sidecar's own error. Uses
/// `Display` only: the SDK's `Debug` shows whole responses.
pub fn causes(error: &(dyn Error + 'static)) -> String {
    let text = connection_failure(error).unwrap_or_else(|| {
        let mut text = error.to_string();
        for cause in std::iter::successors(error.source(), |&cause| cause.source()) {
            let cause = cause.to_string();
            if !text.contains(&cause) {
                text.extend([": ", &cause]);
            }
        }
        text
    });
    log_safe(&text, MAX_REASON)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::credentials::tests::{FakeServer, role_source, sts, transport};

    fn parameters(request: &str) -> Vec<(String, String)> {
        let body = request.split_once("\r\n\r\n").unwrap().1;
        let mut pairs: Vec<_> = form_urlencoded::parse(body.as_bytes()).into_owned().collect();
        pairs.sort();
        pairs
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn keys() -> Credentials {
        Credentials::new("AKIDBASE", "hush-base", None, None, "settings")
    }

    #[actix_rt::test]
    async fn a_role_is_assumed_as_the_settings_say() {
        let server = sts().await;
        let source = role_source(&server);
        let fetched =
            Sts::new(&source, transport()).assume_role(&source.role.clone().unwrap(), keys()).await.unwrap();
        assert_eq!(fetched.credentials.access_key_id(), "ASIA1");
        assert_eq!(fetched.credentials.session_token(), Some("hush-token"));
        assert!(fetched.credentials.expiry().unwrap() > SystemTime::now());
        assert_eq!(fetched.caller.unwrap().account, "123456789012");
        let requests = server.requests();
        assert_eq!(
            parameters(&requests[0]),
            pairs(&[
                ("Action", "AssumeRole"),
                ("DurationSeconds", "900"),
                ("ExternalId", "external"),
                ("RoleArn", "arn:aws:iam::123456789012:role/r"),
                ("RoleSessionName", "shop-orders"),
                ("Version", "2011-06-15"),
            ])
        );
        assert!(requests[0].contains("Credential=AKIDBASE/"), "{}", requests[0]);
        assert!(requests[0].contains("/eu-west-1/sts/aws4_request"), "{}", requests[0]);
    }

    #[actix_rt::test]
    async fn each_call_reads_the_token_and_sends_it_unsigned() {
        let server = sts().await;
        let directory = tempfile::tempdir().unwrap();
        let token_file = directory.path().join("token");
        let identity = WebIdentity {
            token_file: token_file.clone(),
            role_arn: "arn:aws:iam::123456789012:role/r".to_owned(),
            session_name: "pod".to_owned(),
        };
        let sts = Sts::new(&role_source(&server), transport());
        for token in ["first", "second"] {
            fs::write(&token_file, format!("{token}\n")).unwrap();
            sts.assume_role_with_web_identity(&identity).await.unwrap();
        }
        let requests = server.requests();
        for (request, token) in requests.iter().zip(["first", "second"]) {
            assert!(!request.to_lowercase().contains("authorization:"), "{request}");
            assert_eq!(
                parameters(request),
                pairs(&[
                    ("Action", "AssumeRoleWithWebIdentity"),
                    ("RoleArn", "arn:aws:iam::123456789012:role/r"),
                    ("RoleSessionName", "pod"),
                    ("Version", "2011-06-15"),
                    ("WebIdentityToken", token),
                ])
            );
        }
        fs::remove_file(&token_file).unwrap();
        let reason = sts.assume_role_with_web_identity(&identity).await.unwrap_err().to_string();
        assert!(reason.starts_with(&format!("the token file {}: No such", token_file.display())), "{reason}");
    }

    #[actix_rt::test]
    async fn the_caller_is_parsed_from_stss_response() {
        let server = sts().await;
        let sts = Sts::new(&role_source(&server), transport());
        let caller = sts.caller(keys()).await.unwrap();
        assert_eq!(
            (&*caller.account, &*caller.arn),
            ("123456789012", "arn:aws:sts::123456789012:assumed-role/r/s")
        );
    }

    #[actix_rt::test]
    async fn k4_a_refusal_of_keys_differs_from_a_failed_call() {
        for (code, message, cure) in [
            ("InvalidClientTokenId", "The security token is invalid", "it was deleted or made inactive, "),
            ("SignatureDoesNotMatch", "Signature expired: x", "set this machine's clock right"),
            ("RequestExpired", "Request has expired.", "set this machine's clock right"),
            ("SignatureDoesNotMatch", "The signature x", "the secret key does not belong to it"),
            ("ExpiredToken", "x", "it has expired: replace the keys"),
        ] {
            let server = FakeServer::start(move |_| {
                let body = format!(
                    "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message>\
                     </Error>\
                     <RequestId>r</RequestId></ErrorResponse>"
                );
                format!("HTTP/1.1 403 Forbidden\r\ncontent-length: {}\r\n\r\n{body}", body.len())
            })
            .await;
            let told = Sts::new(&role_source(&server), transport()).caller(keys()).await.unwrap_err();
            let start = format!("STS refuses the access key ending in BASE ({code}: {message}): {cure}");
            assert!(
                matches!(&told, FetchError::Refused { text, .. } if text.starts_with(&start)),
                "{start}\n{told}"
            );
        }
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let source = CredentialSettings {
            sts_endpoint: Some(format!("http://{closed}")),
            ..role_source(&sts().await)
        };
        let told = Sts::new(&source, transport()).caller(keys()).await.unwrap_err();
        let start =
            format!("calling GetCallerIdentity failed: cannot connect to {closed}: connection refused. See");
        assert!(matches!(&told, FetchError::Unreachable(told) if told.starts_with(&start)), "{told}");
    }

    #[actix_rt::test]
    async fn s5_fips_and_dual_stack_are_other_hosts_of_sts() {
        for (fips, dual_stack, host) in [
            (false, false, "sts.us-east-1.amazonaws.com"),
            (true, false, "sts-fips.us-east-1.amazonaws.com"),
            (false, true, "sts.us-east-1.api.aws"),
            (true, true, "sts-fips.us-east-1.api.aws"),
        ] {
            let proxy =
                FakeServer::start(|_| "HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n".to_owned()).await;
            let text = format!("http://{}", proxy.address);
            let transport = AwsTransport {
                proxy: crate::settings::ProxyRule::Url(crate::settings::ForwardProxy::parse(&text).unwrap()),
                ..transport()
            };
            let variant = EndpointVariant { fips, dual_stack };
            let source = role_source(&proxy);
            let region = "us-east-1".to_owned();
            let source = CredentialSettings { sts_endpoint: None, region, variant, ..source };
            assert_eq!(Sts::new(&source, transport.clone()).url().await.unwrap(), format!("https://{host}"));
            assert!(Sts::new(&source, transport).caller(keys()).await.is_err());
            let connected = format!("CONNECT {host}:443 ");
            assert!(proxy.requests()[0].starts_with(&connected), "{:?}", proxy.requests());
        }
    }

    #[actix_rt::test]
    async fn a_refusal_has_awss_code_and_message() {
        let server = FakeServer::start(|_| {
            let body = "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>User x is \
                        not authorized</Message></Error><RequestId>r</RequestId></ErrorResponse>";
            format!("HTTP/1.1 403 Forbidden\r\ncontent-length: {}\r\n\r\n{body}", body.len())
        })
        .await;
        let source = role_source(&server);
        let reason = Sts::new(&source, transport())
            .assume_role(&source.role.clone().unwrap(), keys())
            .await
            .unwrap_err()
            .to_string();
        assert_eq!(
            reason,
            "AssumeRole of arn:aws:iam::123456789012:role/r: AccessDenied: User x is not authorized"
        );
    }

    #[actix_rt::test]
    async fn a_refusal_without_a_body_has_its_status_and_a_clock_error_has_the_cure() {
        let empty =
            FakeServer::start(|_| "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n".to_owned()).await;
        let source = role_source(&empty);
        let role = source.role.clone().unwrap();
        let sts = Sts::new(&source, transport());
        let told = sts.caller(keys()).await.unwrap_err().to_string();
        let start = "calling GetCallerIdentity failed: STS answered status 400. See";
        assert!(told.starts_with(start), "{told}");
        assert_eq!(
            sts.assume_role(&role, keys()).await.unwrap_err().to_string(),
            "AssumeRole of arn:aws:iam::123456789012:role/r: status 400"
        );
        let late = FakeServer::start(|_| {
            let body = "<ErrorResponse><Error><Code>RequestExpired</Code>\
                        <Message>Request has expired.</Message></Error></ErrorResponse>";
            format!("HTTP/1.1 400 Bad Request\r\ncontent-length: {}\r\n\r\n{body}", body.len())
        })
        .await;
        let told = Sts::new(&role_source(&late), transport())
            .assume_role(&role, keys())
            .await
            .unwrap_err()
            .to_string();
        let end = "RequestExpired: Request has expired.; set this machine's clock right";
        assert!(told.ends_with(end), "{told}");
    }

    #[actix_rt::test]
    async fn an_invalid_response_is_not_quoted() {
        let server = FakeServer::start(|_| crate::credentials::tests::ok("<hush-secret>hush-token")).await;
        let source = role_source(&server);
        let reason = Sts::new(&source, transport())
            .assume_role(&source.role.clone().unwrap(), keys())
            .await
            .unwrap_err()
            .to_string();
        assert!(!reason.contains("hush"), "{reason}");
    }

    #[actix_rt::test]
    async fn an_unreachable_endpoint_is_named() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let source = CredentialSettings {
            sts_endpoint: Some(format!("http://{address}")),
            ..role_source(&sts().await)
        };
        let reason = Sts::new(&source, transport())
            .assume_role(&source.role.clone().unwrap(), keys())
            .await
            .unwrap_err()
            .to_string();
        assert!(reason.starts_with(&format!("cannot connect to {address}")), "{reason}");
        assert!(reason.ends_with(", which AssumeRole of arn:aws:iam::123456789012:role/r needs"), "{reason}");
    }
}
