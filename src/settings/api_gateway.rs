//! The section `api_gateway` of a route: names and defaults are those of APISIX's `aws-lambda` plugin.

use std::{fmt, time::Duration};

use actix_http::{Uri, header::HeaderValue};
use aws_credential_types::Credentials;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::{
    check::Checker,
    limits::Limits,
    units::{WrittenDuration, WrittenSize, size_text},
    upstream::{Scheme, UpstreamSettings, WrittenUpstream},
};

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
    /// The static keys.
    pub credentials: Credentials,
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

/// The address of a function, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionUri {
    /// Plain or over TLS.
    pub scheme: Scheme,
    /// Name or address to connect to; an IPv6 address is without its brackets.
    pub host: String,
    /// Port to connect to.
    pub port: u16,
    /// The value of `Host`: without the scheme's default port, and what is signed.
    pub authority: String,
    /// The path, escapes as written, never empty.
    pub path: String,
    /// The query, if there is one.
    pub query: Option<String>,
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
pub(super) struct WrittenApiGateway {
    function_uri: Option<String>,
    authorization: Option<WrittenAuthorization>,
    client_authorization: Option<ClientAuthorization>,
    timeout: Option<WrittenDuration>,
    connect_timeout: Option<WrittenDuration>,
    first_byte_timeout: Option<WrittenDuration>,
    idle_timeout: Option<WrittenDuration>,
    ssl_verify: Option<bool>,
    ca_certificate: Option<String>,
    keepalive: Option<bool>,
    keepalive_pool: Option<u32>,
    keepalive_timeout: Option<WrittenDuration>,
    proxy_url: Option<SecretString>,
    max_req_body_size: Option<WrittenSize>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table with `apikey` or `iam`")]
struct WrittenAuthorization {
    apikey: Option<SecretString>,
    iam: Option<WrittenIam>,
}

/// APISIX's page spells the secret both `secretkey` and `secret_key`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table with `accesskey` and `secretkey`")]
struct WrittenIam {
    accesskey: Option<SecretString>,
    #[serde(alias = "secret_key")]
    secretkey: Option<SecretString>,
    session_token: Option<SecretString>,
    aws_region: Option<String>,
    service: Option<String>,
}

impl WrittenApiGateway {
    pub(super) fn check(self, limits: &Limits, checker: &mut Checker<'_>) -> Option<ApiGatewaySettings> {
        let function_uri = match &self.function_uri {
            Some(text) => checker.parsed("function_uri", text, FunctionUri::EXPECTED, FunctionUri::parse),
            None => {
                checker.below("function_uri").mistake("missing", FunctionUri::EXPECTED);
                None
            }
        };
        let authorization = self.authorization.unwrap_or_default().check(&mut checker.below("authorization"));
        let upstream = WrittenUpstream {
            timeout: self.timeout,
            connect_timeout: self.connect_timeout,
            first_byte_timeout: self.first_byte_timeout,
            idle_timeout: self.idle_timeout,
            ssl_verify: self.ssl_verify,
            ca_certificate: self.ca_certificate,
            keepalive: self.keepalive,
            keepalive_pool: self.keepalive_pool,
            keepalive_timeout: self.keepalive_timeout,
            proxy_url: self.proxy_url,
        };
        let upstream = upstream.check(TIMEOUT, checker);
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
    fn check(self, checker: &mut Checker<'_>) -> Option<Authorization> {
        let mut right = true;
        if let Some(key) = &self.apikey
            && !is_header_value(key)
        {
            checker.below("apikey").mistake("empty or not fit for a header", "the API key, visible ASCII");
            right = false;
        }
        let iam = match self.iam {
            None => None,
            Some(written) => {
                let iam = written.check(&mut checker.below("iam"));
                right &= iam.is_some();
                iam
            }
        };
        right.then_some(Authorization { apikey: self.apikey, iam })
    }
}

impl WrittenIam {
    fn check(self, checker: &mut Checker<'_>) -> Option<Iam> {
        let accesskey = required(self.accesskey, "accesskey", "the access key id", checker);
        let secretkey = required(self.secretkey, "secretkey", "the secret access key", checker);
        let token = match self.session_token {
            Some(token) => Some(required(Some(token), "session_token", "the session token", checker)?),
            None => None,
        };
        let expected = "lower-case letters, digits and `-`";
        let mut word = |key, written: Option<String>, default: &str| {
            let text = written.unwrap_or_else(|| default.to_owned());
            checker.parsed(key, &text, expected, |text| is_scope_word(text).then(|| text.to_owned()))
        };
        let region = word("aws_region", self.aws_region, REGION);
        let service = word("service", self.service, SERVICE);
        let credentials = Credentials::new(
            accesskey?.expose_secret(),
            secretkey?.expose_secret(),
            token.map(|token| token.expose_secret().to_owned()),
            None,
            "settings",
        );
        Some(Iam { credentials, region: region?, service: service? })
    }
}

/// A key that has to be there and has to fit into a header.
fn required(
    key: Option<SecretString>,
    name: &str,
    expected: &str,
    checker: &mut Checker<'_>,
) -> Option<SecretString> {
    let problem = match &key {
        None => "missing",
        Some(key) if !is_header_value(key) => "empty or not visible ASCII",
        Some(_) => return key,
    };
    checker.below(name).mistake(problem, expected);
    None
}

pub(super) fn is_header_value(secret: &SecretString) -> bool {
    let text = secret.expose_secret();
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Region and service stand between slashes in the scope, so anything else would change its meaning.
pub(super) fn is_scope_word(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

impl FunctionUri {
    const EXPECTED: &'static str =
        "an http or https URL with a host, without user, fragment or `..`: https://HOST/STAGE/PATH";

    /// Reads an absolute URL; path and query stay as written.
    pub fn parse(text: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        let scheme = match uri.scheme_str()? {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return None,
        };
        let authority = uri.authority()?;
        if text.contains('#') || authority.as_str().contains('@') {
            return None;
        }
        let host = authority.host();
        if host.is_empty() || (authority.as_str().len() > host.len() && authority.port().is_none()) {
            return None;
        }
        let port = authority.port_u16().unwrap_or_else(|| scheme.default_port());
        let path = if uri.path().is_empty() { "/" } else { uri.path() };
        if crate::proxy::target::climbs(path) || !crate::proxy::target::escapes_are_whole(path.as_bytes()) {
            return None;
        }
        let query = uri.query().filter(|query| !query.is_empty());
        if query.is_some_and(|query| !crate::proxy::target::escapes_are_whole(query.as_bytes())) {
            return None;
        }
        let authority =
            if port == scheme.default_port() { host.to_owned() } else { format!("{host}:{port}") };
        HeaderValue::from_str(&authority).ok()?;
        Some(Self {
            scheme,
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port,
            authority,
            path: path.to_owned(),
            query: query.map(str::to_owned),
        })
    }
}

impl fmt::Display for FunctionUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        write!(f, "{scheme}://{}{}", self.authority, self.path)?;
        match &self.query {
            Some(query) => write!(f, "?{query}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_uri_is_taken_apart_and_keeps_its_escapes() {
        let uri =
            FunctionUri::parse("https://abc.execute-api.us-east-1.amazonaws.com/prod/a%2Fb?stage=x").unwrap();
        assert_eq!(uri.host, "abc.execute-api.us-east-1.amazonaws.com");
        assert_eq!(
            (uri.port, uri.path.as_str(), uri.query.as_deref()),
            (443, "/prod/a%2Fb", Some("stage=x"))
        );
        assert_eq!(uri.authority, uri.host);
    }

    #[test]
    fn only_a_port_that_is_not_the_schemes_own_is_in_the_host_header() {
        let authority = |text: &str| FunctionUri::parse(text).unwrap().authority;
        assert_eq!(authority("https://a:443/"), "a");
        assert_eq!(authority("http://a:443/"), "a:443");
        assert_eq!(authority("http://[::1]:3000/x"), "[::1]:3000");
        assert_eq!(FunctionUri::parse("http://[::1]:3000/x").unwrap().host, "::1");
    }

    #[test]
    fn a23_an_empty_path_is_a_slash() {
        assert_eq!(FunctionUri::parse("https://a").unwrap().path, "/");
        assert_eq!(FunctionUri::parse("https://a?x=1").unwrap().path, "/");
    }

    #[test]
    fn what_is_no_plain_url_is_refused() {
        for text in [
            "",
            "abc/def",
            "/path",
            "ftp://a/",
            "https://",
            "https://user:pw@a/",
            "https://a/#f",
            "https://a/../b",
            "https://a/%2e%2E/b",
            "https://a:99999/",
            "https://a/%zz",
        ] {
            assert_eq!(FunctionUri::parse(text), None, "{text}");
        }
    }

    #[test]
    fn debug_shows_neither_api_key_nor_secret_nor_token() {
        let authorization = Authorization {
            apikey: Some("hush-apikey".to_owned().into()),
            iam: Some(Iam {
                credentials: Credentials::new(
                    "AKIDEXAMPLE",
                    "hush-secret",
                    Some("hush-token".into()),
                    None,
                    "t",
                ),
                region: REGION.into(),
                service: SERVICE.into(),
            }),
        };
        let shown = format!("{authorization:?}");
        assert!(!shown.contains("hush"), "{shown}");
    }
}
