//! The section `api_gateway` of a route: names and defaults are those of APISIX's `aws-lambda` plugin.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::key_source::Source;
use super::{
    circuit_breaker::WrittenCircuitBreaker,
    connect::WrittenConnect,
    credentials::{Names, WrittenMetadataProtocol, WrittenSource, is_visible},
    function_uri::FunctionUri,
    retry::WrittenRetry,
    service,
    upstream::{UpstreamSettings, WrittenUpstream},
};
use crate::settings::{
    EndpointVariant, ForwardProxy, process::limits::Limits, source::check::Checker, source::reader::present,
};
use crate::text::units::{WrittenDuration, WrittenSize, size_text};

/// The payload that API Gateway takes (docs.aws.amazon.com, API Gateway quotas). APISIX's default is 64 MiB,
/// which API Gateway would refuse after all of it was sent.
const MAX_REQUEST_BODY: u64 = 10 << 20;
/// APISIX's.
const TIMEOUT: Duration = Duration::from_secs(3);
const REGION: &str = "us-east-1";
const SERVICE: &str = "execute-api";

/// How a route calls an API Gateway endpoint or Function URL, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiGatewaySettings {
    /// Where the function is.
    pub function_uri: FunctionUri,
    /// What proves to AWS who calls.
    pub authorization: Authorization,
    /// What becomes of the proofs that a client brings.
    pub client_authorization: ClientAuthorization,
    /// How to reach it.
    pub upstream: UpstreamSettings,
    /// Bytes of a request body.
    pub max_req_body_size: u64,
}

/// What is sent to AWS as proof; both may be set, and both are then sent.
#[derive(Debug, Clone, Default)]
pub struct Authorization {
    /// Goes out as `x-api-key`.
    pub apikey: Option<SecretString>,
    /// Signs the request.
    pub iam: Option<Iam>,
}

/// Signature Version 4.
#[derive(Debug, Clone, PartialEq)]
pub struct Iam {
    /// Where the keys come from.
    pub source: Source,
    /// The region of the endpoint.
    pub region: String,
    /// `execute-api`, or `lambda` for Function URLs.
    pub service: String,
}

/// What becomes of the `x-api-key`, `Authorization` and SigV4 headers that a client sends on a route with
/// `authorization`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuthorization {
    /// Replaced by the route's, or removed.
    #[default]
    Replace,
    /// They win over the route's, as in APISIX.
    Pass,
}

impl PartialEq for Authorization {
    fn eq(&self, other: &Self) -> bool {
        let key = |of: &Self| of.apikey.as_ref().map(|key| key.expose_secret().to_owned());
        key(self) == key(other) && self.iam == other.iam
    }
}

impl Authorization {
    /// Whether the route proves anything at all.
    pub fn is_none(&self) -> bool {
        self.apikey.is_none() && self.iam.is_none()
    }
}

/// The section as written.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table about an API Gateway endpoint")]
pub(in crate::settings) struct WrittenApiGateway {
    function_uri: Option<String>,
    #[serde(deserialize_with = "present")]
    authorization: Option<WrittenAuthorization>,
    client_authorization: Option<ClientAuthorization>,
    timeout: Option<WrittenDuration>,
    connect_timeout: Option<WrittenDuration>,
    first_byte_timeout: Option<WrittenDuration>,
    idle_timeout: Option<WrittenDuration>,
    ssl_verify: Option<bool>,
    ca_certificate: Option<String>,
    client_certificate: Option<String>,
    client_key: Option<SecretString>,
    #[serde(deserialize_with = "present")]
    connect: Option<WrittenConnect>,
    keepalive: Option<bool>,
    keepalive_pool: Option<u32>,
    keepalive_timeout: Option<WrittenDuration>,
    proxy_url: Option<SecretString>,
    request_timeout: Option<WrittenDuration>,
    retry: Option<WrittenRetry>,
    #[serde(deserialize_with = "present")]
    circuit_breaker: Option<WrittenCircuitBreaker>,
    max_req_body_size: Option<WrittenSize>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table with `apikey` or `iam`")]
struct WrittenAuthorization {
    #[serde(deserialize_with = "present")]
    apikey: Option<SecretString>,
    #[serde(deserialize_with = "present")]
    iam: Option<WrittenIam>,
}

/// APISIX's page spells the secret both `secretkey` and `secret_key`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table with `accesskey` and `secretkey`")]
struct WrittenIam {
    #[serde(deserialize_with = "present")]
    accesskey: Option<SecretString>,
    #[serde(alias = "secret_key", deserialize_with = "present")]
    secretkey: Option<SecretString>,
    session_token: Option<SecretString>,
    profile: Option<String>,
    assume_role_arn: Option<String>,
    role_session_name: Option<String>,
    external_id: Option<String>,
    role_duration: Option<WrittenDuration>,
    sts_endpoint_url: Option<String>,
    imds_protocol_version: Option<WrittenMetadataProtocol>,
    aws_region: Option<String>,
    service: Option<String>,
}

impl WrittenApiGateway {
    pub(in crate::settings) fn check(
        self,
        limits: &Limits,
        checker: &mut Checker<'_>,
    ) -> Option<ApiGatewaySettings> {
        let function_uri = match &self.function_uri {
            Some(text) => checker.parsed("function_uri", text, FunctionUri::EXPECTED, FunctionUri::parse),
            None => {
                checker.below("function_uri").mistake("missing", FunctionUri::EXPECTED);
                None
            }
        };
        let upstream = WrittenUpstream {
            timeout: self.timeout,
            connect_timeout: self.connect_timeout,
            first_byte_timeout: self.first_byte_timeout,
            idle_timeout: self.idle_timeout,
            ssl_verify: self.ssl_verify,
            ca_certificate: self.ca_certificate,
            client_certificate: self.client_certificate,
            client_key: self.client_key,
            connect: self.connect,
            keepalive: self.keepalive,
            keepalive_pool: self.keepalive_pool,
            keepalive_timeout: self.keepalive_timeout,
            proxy_url: self.proxy_url,
            request_timeout: self.request_timeout,
            retry: self.retry,
            circuit_breaker: self.circuit_breaker,
        };
        let upstream = upstream.check(TIMEOUT, function_uri.as_ref().map(|uri| uri.scheme), checker);
        let authorization = match self.authorization {
            None => Some(Authorization::default()),
            Some(written) => written.check(upstream.proxy.clone(), &mut checker.below("authorization")),
        };
        let default = MAX_REQUEST_BODY.min(limits.max_request_body);
        let max_req_body_size =
            checker.size("max_req_body_size", self.max_req_body_size, default, 1..=u64::MAX);
        if max_req_body_size > limits.max_request_body {
            checker.below("max_req_body_size").mistake(
                "exceeds `limits.max_request_body`",
                format!("at most {}", size_text(limits.max_request_body)),
            );
        }
        Some(ApiGatewaySettings {
            function_uri: function_uri?,
            authorization: authorization?,
            client_authorization: self.client_authorization.unwrap_or_default(),
            upstream,
            max_req_body_size,
        })
    }
}

impl WrittenAuthorization {
    fn check(self, proxy: Option<ForwardProxy>, checker: &mut Checker<'_>) -> Option<Authorization> {
        let mut right = true;
        if self.apikey.is_none()
            && self.iam.is_none()
            && !checker.is_wrong("apikey")
            && !checker.is_wrong("iam")
        {
            // meant to prove something, and would prove nothing
            checker.mistake("neither `apikey` nor `iam` is there", "one of them, or no `authorization`");
            right = false;
        }
        if let Some(key) = &self.apikey
            && !is_visible(key)
        {
            checker.below("apikey").mistake("empty or not fit for a header", "the API key, visible ASCII");
            right = false;
        }
        let iam = match self.iam {
            None => None,
            Some(written) => {
                let iam = written.check(proxy, &mut checker.below("iam"));
                right &= iam.is_some();
                iam
            }
        };
        right.then_some(Authorization { apikey: self.apikey, iam })
    }
}

impl WrittenIam {
    fn check(self, proxy: Option<ForwardProxy>, checker: &mut Checker<'_>) -> Option<Iam> {
        let expected = "lower-case letters, digits and `-`";
        let mut word = |key, written: Option<String>, default: &str| {
            let text = written.unwrap_or_else(|| default.to_owned());
            checker.parsed(key, &text, expected, |text| is_scope_word(text).then(|| text.to_owned()))
        };
        let region = word("aws_region", self.aws_region, REGION);
        let service = word("service", self.service, SERVICE).filter(|service| {
            let problem = service::unsupported(service);
            let is_supported = problem.is_none();
            if let Some(problem) = problem {
                checker.below("service").mistake(problem, service::EXPECTED);
            }
            is_supported
        });
        let source = WrittenSource {
            key: self.accesskey,
            secret: self.secretkey,
            session_token: self.session_token,
            profile: self.profile,
            assume_role_arn: self.assume_role_arn,
            role_session_name: self.role_session_name,
            external_id: self.external_id,
            role_duration: self.role_duration,
            sts_endpoint_url: self.sts_endpoint_url,
            imds_protocol_version: self.imds_protocol_version,
            variant: EndpointVariant::of(None, None, checker),
        };
        let names = Names {
            prefix: "",
            key: "accesskey",
            secret: "secretkey",
            session_token: "session_token",
            session: super::session_name::DEFAULT,
        };
        let region = region?;
        let source = source.check(names, region.clone(), proxy, checker);
        Some(Iam { source: source?, region, service: service? })
    }
}

/// Region and service stand between slashes in the scope, so anything else would change its meaning.
pub(in crate::settings) fn is_scope_word(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use aws_credential_types::Credentials;

    use super::*;
    use crate::settings::{MetadataProtocol, Origin};

    #[test]
    fn debug_shows_neither_api_key_nor_secret_nor_token() {
        let authorization = Authorization {
            apikey: Some("hush-apikey".to_owned().into()),
            iam: Some(Iam {
                source: Source {
                    origin: Origin::Keys(Credentials::new(
                        "AKIDEXAMPLE",
                        "hush-secret",
                        Some("hush-token".into()),
                        None,
                        "t",
                    )),
                    role: None,
                    region: REGION.into(),
                    sts_endpoint: None,
                    variant: EndpointVariant::default(),
                    metadata: MetadataProtocol::V2,
                    proxy: None,
                },
                region: REGION.into(),
                service: SERVICE.into(),
            }),
        };
        let shown = format!("{authorization:?}");
        assert!(!shown.contains("hush"), "{shown}");
    }
}
