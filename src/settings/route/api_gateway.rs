//! The section `api_gateway` of a route: names and defaults are those of APISIX's `aws-lambda` plugin.

use std::{sync::Arc, time::Duration};

use secrecy::{ExposeSecret, SecretString};

use super::{
    backend::UpstreamServer,
    client_credentials::{CallerKeys, ClientCredentialSettings, WrittenClientCredentials},
    connect::Connect,
    credentials::{KeyNames, SectionCredentials, is_visible},
    endpoint_variant::EndpointVariant,
    forward_proxy::HostPort,
    function_uri::FunctionUri,
    key_source::{CredentialSettings, WrittenCredentials},
    proxy_rule::ProxyRule,
    service::{self, PayloadSigning},
    session_name,
    target_hosts::{BY_HOST, HostChoice},
    upstream::{BackendConnection, SCOPE_WORD, Scheme, UpstreamSettings, WrittenUpstream},
};
use crate::{
    settings::{
        process::limits::Limits,
        source::{
            check::Checker,
            declaration::{KEY_ID, Key, Kind, Standard},
            key_type::{DAY, KeyType as _, Proof},
        },
    },
    text::{
        signing_rules::UNSUPPORTED_NAMES,
        units::{OrNone, WrittenDuration, WrittenSize},
        uri_syntax::is_loopback,
    },
};

/// APISIX's default.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(3);
/// A URL of an API or a Function URL. The scheme may be in upper case.
const FUNCTION_URI: &str = r"^[hH][tT][tT][pP][sS]?://[^@/?#*\s]+([/?][^#*\s]*)?$";
/// A name or a wildcard, and a port; no address.
const TARGET_HOST: Kind = Kind::PatternBut(
    concat!(
        r"^(\*\.)?([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)*",
        r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?(:[0-9]{1,5})?$"
    ),
    r"(^|\.)[0-9]+(:[0-9]*)?$|:0+$",
);

section! {
    /// How a route calls an API Gateway endpoint or Function URL, checked.
    #[derive(Debug, Clone, PartialEq)]
    pub struct ApiGatewaySettings, read as WrittenApiGateway, optional "a table about an API Gateway \
        endpoint";

    made ApiGatewayParts {
        /// The URL of the endpoint.
        function_uri: FunctionUri,
        /// The credentials that are sent to AWS.
        authorization: Authorization,
        /// Connections, time limits and retries.
        upstream: Arc<UpstreamSettings>,
        /// The maximum size of a request body in bytes.
        max_req_body_size: OrNone<u64>,
        /// The choice of the host: by the settings, or by the client.
        host_choice: HostChoice,
    }

    /// URL of the endpoint: scheme, host, stage, path and optionally a query. The rest of the request's path,
    /// which the `*` or `{proxy+}` of `uri` matched, is appended. `{name}` in path or query is replaced by
    /// that path parameter. `https://{host}` calls the host that the client names, see "Hosts that clients
    /// name".
    function_uri: String, pattern(FUNCTION_URI), secret_query() => |gateway| gateway.function_uri.to_string();
    /// The hosts that a client may name on a route with `function_uri: https://{host}`: names, or `*.` and a
    /// name for all names below it, with a port if it is not 443.
    hosts: Vec<String>, kind(Kind::List(&TARGET_HOST)) => ApiGatewaySettings::hosts;
    /// Credentials that are sent to AWS: `apikey`, `iam` or both.
    authorization: WrittenAuthorization => |gateway| &gateway.authorization;
    /// Handling of `x-api-key`, `Authorization` and SigV4 headers that a client sends on a route with
    /// `authorization`: `replace` removes them, `pass` forwards them instead of the route's.
    client_authorization: ClientAuthorization = ClientAuthorization::Replace;
    /// Connections are kept open and reused.
    keepalive: bool = true => |gateway| gateway.upstream.keepalive;
    // APISIX's default
    /// How long an idle connection is kept open.
    keepalive_timeout: WrittenDuration [Duration::from_secs(1)..=DAY] = Duration::from_mins(1)
        => |gateway| gateway.upstream.keepalive_timeout;
    // API Gateway's limit (docs.aws.amazon.com, API Gateway quotas). APISIX's default is 64 MiB, which API
    // Gateway would refuse only after all of it was sent
    /// Maximum size of a request body; larger ones get 413. At most `limits.max_request_body`. `none` for no
    /// limit, which needs `payload: unsigned`, because a signed body is held in memory.
    max_req_body_size: OrNone<WrittenSize> [1..=1 << 30] = 10 << 20
        => |gateway| gateway.max_req_body_size;
    ..upstream: WrittenUpstream, with own_upstream;
}

/// The shared keys with the defaults of this backend.
fn own_upstream(key: Key) -> Key {
    if key.name == "timeout" { key.standard(Standard::of(DEFAULT_TIMEOUT)) } else { key }
}

fn own_source(key: Key) -> Key {
    if key.name == "role_session_name" { key.standard(Standard::Text(session_name::DEFAULT)) } else { key }
}

section! {
    /// The credentials that are sent to AWS: an API key, a signature, or both.
    #[derive(Debug, Clone, Default)]
    pub struct Authorization, read as WrittenAuthorization, filled "a table with `apikey` or `iam`";

    made AuthorizationParts {
        /// Sent as `x-api-key`.
        apikey: Option<SecretString>,
        /// Signs the requests.
        iam: Option<Iam>,
    }

    /// API key, sent as `x-api-key`. Keep it out of files: `$env://NAME` or `$file:///path`.
    apikey: Proof => |authorization| &authorization.apikey;
    /// Signs every request with Signature Version 4. `iam: {}` uses the first source of credentials that is
    /// configured, see "Credentials".
    iam: WrittenIam => |authorization| &authorization.iam;
}

section! {
    /// Signature Version 4.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Iam, read as WrittenIam, present "a table with `accesskey` and `secretkey`";

    made IamParts {
        /// The source of the credentials.
        source: Arc<CredentialSettings>,
        /// The keys that callers send.
        client: ClientCredentialSettings,
        /// The region of the endpoint.
        region: String,
        /// Such as `execute-api`, or `lambda` for Function URLs.
        service: String,
        payload: PayloadSigning,
    }

    // no secret: every signature and AWS's logs contain it
    /// Access key id; requires `secretkey`.
    accesskey: Proof, kind(Kind::Proof(KEY_ID)), open() => |iam| iam.source.shown_keys()[0];
    /// Secret access key; requires `accesskey`. Keep it out of files: `$env://NAME` or `$file:///path`.
    secretkey: Proof => |iam| iam.source.shown_keys()[1];
    // APISIX's documentation has both spellings
    /// Another spelling of `secretkey`.
    secret_key: Proof => _;
    /// Region of the endpoint.
    aws_region: String = "us-east-1", pattern(SCOPE_WORD) => |iam| &iam.region;
    /// Service of the signature: `execute-api` for an API, `lambda` for a Function URL, or another service,
    /// such as `s3`, `es`, `aoss`, `aps` or `bedrock`, see "Services". `s3express` is a mistake, because it
    /// needs sessions.
    service: String = "execute-api", kind(Kind::WordBut(UNSUPPORTED_NAMES)) => |iam| &iam.service;
    /// `signed`: signatures cover the body, which is read whole before it is sent. `unsigned`: they do not,
    /// and a body is sent while it arrives; only over TLS or to loopback. `signed` by default, and `unsigned`
    /// for `vpc-lattice-svcs`, which accepts nothing else. `execute-api`, `lambda`, `aoss` and `glacier`
    /// accept only `signed`.
    payload: PayloadSigning => |iam| iam.payload;
    ..source: WrittenCredentials, with own_source;
    ..client: WrittenClientCredentials;
}

words! {
    /// Handling of the `x-api-key`, `Authorization` and SigV4 headers that a client sends on a route with
    /// `authorization`.
    pub enum ClientAuthorization {
        /// The route's headers replace the client's.
        Replace = "replace",
        /// The client's headers take precedence over the route's, as in APISIX.
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

    /// True if the route signs requests without their bodies.
    fn has_unsigned_payload(&self) -> bool {
        self.iam.as_ref().is_some_and(|iam| iam.payload == PayloadSigning::Unsigned)
    }
}

impl WrittenApiGateway {
    pub(in crate::settings) fn check(
        mut self,
        _: &str,
        limits: &Limits,
        checker: &mut Checker<'_>,
    ) -> Option<ApiGatewaySettings> {
        let mut function_uri = match &self.function_uri {
            Some(text) => {
                let parse = FunctionUri::parse_with_named_host;
                checker.parsed("function_uri", text, FunctionUri::EXPECTED, parse)
            }
            None => {
                checker.at("function_uri").report("missing", FunctionUri::EXPECTED);
                None
            }
        };
        let host_choice = self.host_choice(function_uri.as_mut(), checker);
        let by_host = function_uri.as_ref().is_some_and(FunctionUri::has_named_host);
        let own = BackendConnection {
            timeout: DEFAULT_TIMEOUT,
            scheme: function_uri.as_ref().map(|uri| uri.scheme),
            server: function_uri.as_ref().map(|uri| UpstreamServer {
                scheme: uri.scheme,
                host: &uri.host,
                port: uri.port,
            }),
            keepalive: checker.settled(declared!(WrittenApiGateway, "keepalive"), self.keepalive),
            keepalive_timeout: checker
                .settled(declared!(WrittenApiGateway, "keepalive_timeout"), self.keepalive_timeout),
        };
        let upstream = self.upstream.check(own, checker);
        if by_host && is_unprotected(function_uri.as_ref(), &upstream.connect) {
            let problem = "`{host}` without TLS needs `connect.address` on loopback";
            checker.at("function_uri").report(problem, "https://{host}");
        }
        let authorization = match self.authorization.take() {
            None => Some(Authorization::default()),
            Some(written) => {
                let rule = &upstream.proxy_rule;
                let is_exposed = function_uri.as_ref().is_some_and(|uri| is_exposed(uri, &upstream.connect));
                written.check(rule, SigningContext { is_exposed, by_host }, &mut checker.at("authorization"))
            }
        };
        self.refuse_two_kinds_of_clients_keys(authorization.as_ref(), checker);
        let streams = authorization.as_ref().is_none_or(Authorization::has_unsigned_payload);
        let max_req_body_size = self.max_req_body_size(streams, limits, checker);
        let settle = self.settled(checker);
        let settings = settle(ApiGatewayParts {
            function_uri: function_uri?,
            authorization: authorization?,
            upstream: Arc::new(upstream),
            max_req_body_size,
            host_choice: host_choice?,
        });
        settings.check_hosts(checker);
        Some(settings)
    }

    /// Reports `pass`, by which a client signs itself or the route does, beside keys of the caller.
    fn refuse_two_kinds_of_clients_keys(
        &self,
        authorization: Option<&Authorization>,
        checker: &mut Checker<'_>,
    ) {
        let iam = authorization.and_then(|authorization| authorization.iam.as_ref());
        let takes_keys = iam.is_some_and(|iam| iam.client.keys != CallerKeys::Off);
        if takes_keys && self.client_authorization == Some(ClientAuthorization::Pass) {
            let problem = "conflicts with `authorization.iam.client_credentials`";
            checker.at("client_authorization").report(problem, "`replace`, or no `client_credentials`");
        }
    }

    /// The maximum size of a request body; `none` is valid only if bodies are sent while they arrive.
    fn max_req_body_size(&self, streams: bool, limits: &Limits, checker: &mut Checker<'_>) -> OrNone<u64> {
        let key = declared!(WrittenApiGateway, "max_req_body_size");
        let most = limits.max_request_body;
        let Some(size) = checker.checked(key, self.max_req_body_size) else {
            let standard = OrNone::<WrittenSize>::standard(key);
            return OrNone(Some(standard.bytes().min(most.bytes())));
        };
        let mut checker = checker.at("max_req_body_size");
        if size.bytes() > most.bytes() {
            checker.report("exceeds `limits.max_request_body`", format!("at most {most}"));
        } else if size.0.is_none() && !streams {
            let problem = "`none` needs bodies that are sent while they arrive";
            checker.report_incomplete(problem, "a size, or `payload: unsigned` in `authorization.iam`");
        }
        size
    }
}

/// The circumstances of a route's signatures.
#[derive(Debug, Clone, Copy)]
struct SigningContext {
    /// Others could read and change the requests on their way.
    is_exposed: bool,
    /// The client names the host, whose name decides about region and service.
    by_host: bool,
}

/// True if a route without TLS could call the host that a client names.
fn is_unprotected(uri: Option<&FunctionUri>, connect: &Connect) -> bool {
    uri.is_some_and(|uri| is_exposed(uri, connect) || uri.scheme == Scheme::Http && connect.address.is_none())
}

/// True if requests leave this machine without TLS.
fn is_exposed(uri: &FunctionUri, connect: &Connect) -> bool {
    let HostPort(connected, _) = connect.place(&uri.host, uri.port);
    uri.scheme == Scheme::Http && !is_loopback(connected)
}

impl WrittenAuthorization {
    fn check(
        mut self,
        proxy: &ProxyRule,
        context: SigningContext,
        checker: &mut Checker<'_>,
    ) -> Option<Authorization> {
        let is_empty = self.apikey.is_none()
            && self.iam.is_none()
            && !checker.has_error("apikey")
            && !checker.has_error("iam");
        if is_empty {
            // an empty section must not lead to unauthenticated requests
            checker.report_incomplete("missing `apikey` or `iam`", "one of them, or no `authorization`");
        }
        let apikey = self.apikey.take().map(|Proof(key)| key);
        let is_valid_key = apikey.as_ref().is_none_or(is_visible);
        if !is_valid_key {
            checker.at("apikey").report("empty or not valid in a header", "the API key, visible ASCII");
        }
        let iam = self.iam.take().map(|written| written.check(proxy, context, &mut checker.at("iam")));
        let is_valid = !is_empty && is_valid_key && iam.as_ref().is_none_or(Option::is_some);
        is_valid.then(|| self.settled(checker)(AuthorizationParts { apikey, iam: iam.flatten() }))
    }
}

impl WrittenIam {
    fn check(mut self, proxy: &ProxyRule, context: SigningContext, checker: &mut Checker<'_>) -> Option<Iam> {
        let expected = "lower-case letters, digits and `-`";
        let mut word = |key: &Key, written: Option<String>| {
            if context.by_host && written.is_none() {
                return Some(BY_HOST.to_owned());
            }
            let text = written.unwrap_or_else(|| String::standard(key));
            checker.parsed(key.name, &text, expected, |text| is_scope_word(text).then(|| text.to_owned()))
        };
        let region_key = declared!(WrittenIam, "aws_region");
        let region = word(region_key, self.aws_region.take());
        let service = word(declared!(WrittenIam, "service"), self.service.take());
        let payload = checker.checked(declared!(WrittenIam, "payload"), self.payload.take());
        let payload = service.as_deref().map(|service| {
            if service == BY_HOST {
                return payload.unwrap_or(PayloadSigning::Signed);
            }
            service::check(service, checker);
            PayloadSigning::check(payload, service, context.is_exposed, checker)
        });
        let region = region?;
        let secret_name =
            if self.secretkey.is_none() && self.secret_key.is_some() { "secret_key" } else { "secretkey" };
        let own = SectionCredentials {
            key: self.accesskey.take().map(|Proof(key)| key),
            secret: self.secret(checker),
            region: if region == BY_HOST { String::standard(region_key) } else { region.clone() },
            variant: EndpointVariant::of(None, None, checker),
            proxy: proxy.for_keys(),
        };
        let names =
            KeyNames { prefix: "", key: "accesskey", secret: secret_name, session: session_name::DEFAULT };
        let source = self.source.check(names, own, checker);
        let client = self.client.check(source.as_ref(), checker);
        let settle = self.settled(checker);
        let (source, client) = (Arc::new(source?), client?);
        Some(settle(IamParts { source, client, region, service: service?, payload: payload? }))
    }

    /// The secret access key under either name.
    fn secret(&mut self, checker: &mut Checker<'_>) -> Option<SecretString> {
        let (one, other) = (self.secretkey.take(), self.secret_key.take());
        if one.is_some() && other.is_some() {
            checker.at("secretkey").report("duplicate key in another spelling", "one of the two");
        }
        one.or(other).map(|Proof(secret)| secret)
    }
}

/// True for a valid region or service. They are separated by slashes in the credential scope.
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
                    proxy: ProxyRule::Off,
                }),
                client: ClientCredentialSettings::default(),
                region: "us-east-1".into(),
                service: "execute-api".into(),
                payload: PayloadSigning::Signed,
            }),
        };
        let shown = format!("{authorization:?}");
        assert!(!shown.contains("hush"), "{shown}");
    }
}
