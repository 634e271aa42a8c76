//! The section `api_gateway` of a route: names and defaults are those of APISIX's `aws-lambda` plugin.

use std::{sync::Arc, time::Duration};

use secrecy::{ExposeSecret, SecretString};

use super::{
    credentials::{Names, OwnKeys, is_visible},
    endpoint_variant::EndpointVariant,
    forward_proxy::ForwardProxy,
    function_uri::FunctionUri,
    key_source::{CredentialSettings, WrittenCredentials},
    service, session_name,
    upstream::{OwnWay, SCOPE_WORD, UpstreamSettings, WrittenUpstream},
};
use crate::{
    settings::{
        process::limits::Limits,
        source::{
            check::Checker,
            declaration::{KEY_ID, Key, Standard},
            key_type::{DAY, KeyType as _, Proof},
        },
    },
    text::units::{WrittenDuration, WrittenSize, size_text},
};

/// APISIX's.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Before each of a Function URL and an API's endpoint stands `http` or `https`, in any case.
const FUNCTION_URI: &str = r"^[hH][tT][tT][pP][sS]?://[^@/?#*\s]+([/?][^#*\s]*)?$";

section! {
    /// How a route calls an API Gateway endpoint or Function URL, checked.
    #[derive(Debug, Clone, PartialEq)]
    pub struct ApiGatewaySettings, read as WrittenApiGateway, optional "a table about an API Gateway endpoint";

    made ApiGatewayParts {
        /// Where the function is.
        function_uri: FunctionUri,
        /// The proof to AWS of who calls.
        authorization: Authorization,
        /// How to reach it.
        upstream: Arc<UpstreamSettings>,
        /// Bytes of a request body.
        max_req_body_size: u64,
    }

    /// The endpoint: scheme, host, stage, path and, if need be, a query. What the `*` of `uri` stood for is appended.
    function_uri: String, pattern(FUNCTION_URI), secret_query() => |gateway| gateway.function_uri.to_string();
    /// The proof to AWS of who calls: `apikey`, `iam` or both.
    authorization: WrittenAuthorization => |gateway| &gateway.authorization;
    /// The treatment of `x-api-key`, `Authorization` and SigV4 headers that a client sends on a route with
    /// `authorization`: `replace` takes them out, `pass` lets them win.
    client_authorization: ClientAuthorization = ClientAuthorization::Replace;
    /// Connections are kept and used again.
    keepalive: bool = true => |gateway| gateway.upstream.keepalive;
    // APISIX's default
    /// How long an idle connection stays.
    keepalive_timeout: WrittenDuration [Duration::from_secs(1)..=DAY] = Duration::from_mins(1)
        => |gateway| gateway.upstream.keepalive_timeout;
    // the payload that API Gateway takes (docs.aws.amazon.com, API Gateway quotas); APISIX's default is 64 MiB, which
    // API Gateway would refuse after all of it was sent
    /// Bytes of a request body, no more than `limits.max_request_body`.
    max_req_body_size: WrittenSize [1..=1 << 30] = 10 << 20 => |gateway| gateway.max_req_body_size;
    ..upstream: WrittenUpstream, with own_upstream;
}

/// The keys of both backends with the defaults that they have here.
fn own_upstream(key: Key) -> Key {
    if key.name == "timeout" { key.standard(Standard::of(TIMEOUT)) } else { key }
}

fn own_source(key: Key) -> Key {
    if key.name == "role_session_name" { key.standard(Standard::Text(session_name::DEFAULT)) } else { key }
}

section! {
    /// The proof that is sent to AWS; both may be set, and both are then sent.
    #[derive(Debug, Clone, Default)]
    pub struct Authorization, read as WrittenAuthorization, filled "a table with `apikey` or `iam`";

    made AuthorizationParts {
        /// Goes out as `x-api-key`.
        apikey: Option<SecretString>,
        /// Signs the request.
        iam: Option<Iam>,
    }

    /// Goes out as `x-api-key`. Keep it out of files: `$env://NAME` or `$file:///path`.
    apikey: Proof => |authorization| &authorization.apikey;
    /// Every request is signed with Signature Version 4; `iam: {}` takes the first keys that are configured, see
    /// "Credentials".
    iam: WrittenIam => |authorization| &authorization.iam;
}

section! {
    /// Signature Version 4.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Iam, read as WrittenIam, present "a table with `accesskey` and `secretkey`";

    made IamParts {
        /// Where the keys come from.
        source: Arc<CredentialSettings>,
        /// The region of the endpoint.
        region: String,
        /// `execute-api`, or `lambda` for Function URLs.
        service: String,
    }

    // AWS's logs and every signature name it: it proves nothing
    /// The access key id of the route's own.
    accesskey: Proof, kind(Kind::Proof(KEY_ID)), open() => |iam| iam.source.shown_keys()[0];
    /// Its secret. Keep it out of files: `$env://NAME` or `$file:///path`.
    secretkey: Proof => |iam| iam.source.shown_keys()[1];
    // APISIX's page spells it in both ways
    /// The same as `secretkey`.
    secret_key: Proof => _;
    /// The region of the endpoint.
    aws_region: String = "us-east-1", pattern(SCOPE_WORD) => |iam| &iam.region;
    /// `lambda` for a Function URL. Services whose signatures follow rules of their own (`s3`, `s3express`,
    /// `s3-object-lambda`, `s3-outposts`, `aoss`, `glacier`, `sdb`, `vpc-lattice-svcs`) are a mistake.
    service: String = "execute-api", kind(Kind::WordBut(service::NOT_YET)) => |iam| &iam.service;
    ..source: WrittenCredentials, with own_source;
}

words! {
    /// The treatment of the `x-api-key`, `Authorization` and SigV4 headers that a client sends on a route with
    /// `authorization`.
    pub enum ClientAuthorization {
        /// Replaced by the route's, or removed.
        Replace = "replace",
        /// They win over the route's, as in APISIX.
        Pass = "pass",
    }
}

impl PartialEq for Authorization {
    fn eq(&self, other: &Self) -> bool {
        let key = |of: &Self| of.apikey.as_ref().map(|key| key.expose_secret().to_owned());
        key(self) == key(other) && self.iam == other.iam
    }
}

impl Authorization {
    /// True if the route sends neither an API key nor a signature.
    pub fn is_none(&self) -> bool {
        self.apikey.is_none() && self.iam.is_none()
    }
}

impl WrittenApiGateway {
    pub(in crate::settings) fn check(
        mut self,
        _: &str,
        limits: &Limits,
        checker: &mut Checker<'_>,
    ) -> Option<ApiGatewaySettings> {
        let function_uri = match &self.function_uri {
            Some(text) => checker.parsed("function_uri", text, FunctionUri::EXPECTED, FunctionUri::parse),
            None => {
                checker.at("function_uri").report("missing", FunctionUri::EXPECTED);
                None
            }
        };
        let own = OwnWay {
            timeout: TIMEOUT,
            scheme: function_uri.as_ref().map(|uri| uri.scheme),
            keepalive: checker.settled(declared!(WrittenApiGateway, "keepalive"), self.keepalive),
            keepalive_timeout: checker
                .settled(declared!(WrittenApiGateway, "keepalive_timeout"), self.keepalive_timeout),
        };
        let upstream = self.upstream.check(own, checker);
        let authorization = match self.authorization.take() {
            None => Some(Authorization::default()),
            Some(written) => written.check(upstream.proxy.clone(), &mut checker.at("authorization")),
        };
        let max_req_body_size = self.max_req_body_size(limits, checker);
        let settle = self.settled(checker);
        Some(settle(ApiGatewayParts {
            function_uri: function_uri?,
            authorization: authorization?,
            upstream: Arc::new(upstream),
            max_req_body_size,
        }))
    }

    fn max_req_body_size(&self, limits: &Limits, checker: &mut Checker<'_>) -> u64 {
        let key = declared!(WrittenApiGateway, "max_req_body_size");
        let Some(size) = checker.checked(key, self.max_req_body_size) else {
            return WrittenSize::standard(key).min(limits.max_request_body);
        };
        if size > limits.max_request_body {
            checker.at("max_req_body_size").report(
                "exceeds `limits.max_request_body`",
                format!("at most {}", size_text(limits.max_request_body)),
            );
        }
        size
    }
}

impl WrittenAuthorization {
    fn check(mut self, proxy: Option<ForwardProxy>, checker: &mut Checker<'_>) -> Option<Authorization> {
        let mut right = true;
        if self.apikey.is_none()
            && self.iam.is_none()
            && !checker.has_error("apikey")
            && !checker.has_error("iam")
        {
            // meant to prove something, and would prove nothing
            checker.report("missing `apikey` or `iam`", "one of them, or no `authorization`");
            right = false;
        }
        let apikey = self.apikey.take().map(|Proof(key)| key);
        if apikey.as_ref().is_some_and(|key| !is_visible(key)) {
            checker.at("apikey").report("empty or not valid in a header", "the API key, visible ASCII");
            right = false;
        }
        let iam = match self.iam.take() {
            None => None,
            Some(written) => {
                let iam = written.check(proxy, &mut checker.at("iam"));
                right &= iam.is_some();
                iam
            }
        };
        right.then(|| self.settled(checker)(AuthorizationParts { apikey, iam }))
    }
}

impl WrittenIam {
    fn check(mut self, proxy: Option<ForwardProxy>, checker: &mut Checker<'_>) -> Option<Iam> {
        let expected = "lower-case letters, digits and `-`";
        let mut word = |key: &Key, written: Option<String>| {
            let text = written.unwrap_or_else(|| String::standard(key));
            checker.parsed(key.name, &text, expected, |text| is_scope_word(text).then(|| text.to_owned()))
        };
        let region = word(declared!(WrittenIam, "aws_region"), self.aws_region.take());
        let service = word(declared!(WrittenIam, "service"), self.service.take()).filter(|service| {
            let problem = service::unsupported(service);
            let is_supported = problem.is_none();
            if let Some(problem) = problem {
                checker.at("service").report(problem, service::EXPECTED);
            }
            is_supported
        });
        let region = region?;
        let own = OwnKeys {
            key: self.accesskey.take().map(|Proof(key)| key),
            secret: self.secret(checker),
            region: region.clone(),
            variant: EndpointVariant::of(None, None, checker),
            proxy,
        };
        let names =
            Names { prefix: "", key: "accesskey", secret: "secretkey", session: session_name::DEFAULT };
        let source = self.source.check(names, own, checker);
        let settle = self.settled(checker);
        Some(settle(IamParts { source: Arc::new(source?), region, service: service? }))
    }

    /// The secret in either of its spellings.
    fn secret(&mut self, checker: &mut Checker<'_>) -> Option<SecretString> {
        let (one, other) = (self.secretkey.take(), self.secret_key.take());
        if one.is_some() && other.is_some() {
            checker.at("secretkey").report("duplicate key in another spelling", "one of the two");
        }
        one.or(other).map(|Proof(secret)| secret)
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
    use crate::settings::{CredentialProvider, MetadataProtocol};

    #[test]
    fn debug_shows_neither_api_key_nor_secret_nor_token() {
        let authorization = Authorization {
            apikey: Some("hush-apikey".to_owned().into()),
            iam: Some(Iam {
                source: Arc::new(CredentialSettings {
                    origin: CredentialProvider::Keys(Credentials::new(
                        "AKIDEXAMPLE",
                        "hush-secret",
                        Some("hush-token".into()),
                        None,
                        "t",
                    )),
                    role: None,
                    region: "us-east-1".into(),
                    sts_endpoint: None,
                    variant: EndpointVariant::default(),
                    metadata: MetadataProtocol::V2,
                    proxy: None,
                }),
                region: "us-east-1".into(),
                service: "execute-api".into(),
            }),
        };
        let shown = format!("{authorization:?}");
        assert!(!shown.contains("hush"), "{shown}");
    }
}
