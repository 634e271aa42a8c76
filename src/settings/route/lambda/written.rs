//! Checks of the section `lambda` that need more than one key.

use std::{sync::Arc, time::Duration};

use actix_http::StatusCode;
use secrecy::SecretString;

use super::{
    AnswerSettings, InvocationType, LambdaEndpoint, LambdaSettings,
    function::{FunctionName, is_qualifier},
    keys::{DEFAULT_SESSION_NAME, DEFAULT_TIMEOUT, LambdaParts, WrittenLambda},
    spelling::WrittenObject,
    upstream_url::UpstreamUrl,
};
use crate::{
    settings::{
        CredentialSettings, EndpointVariant, InvokeMode, Scheme,
        process::limits::Limits,
        route::{
            api_gateway::is_scope_word,
            backend::UpstreamServer,
            credentials::{KeyNames, SectionCredentials},
            proxy_rule::ProxyChoice,
            upstream::{BackendConnection, UpstreamSettings},
        },
        source::{check::Checker, key_type::Proof},
    },
    text::{
        aws_hosts::{lambda_host, region_of_lambda_host},
        uri_syntax::{is_loopback, without_brackets},
    },
};

const MIN_KEEPALIVE: Duration = Duration::from_secs(1);
/// The most bytes of the base64 text (Lambda API reference, `Invoke`).
const MAX_CLIENT_CONTEXT: usize = 3583;

impl WrittenLambda {
    pub(in crate::settings) fn check(
        mut self,
        route_id: &str,
        limits: &Limits,
        checker: &mut Checker<'_>,
    ) -> Option<LambdaSettings> {
        self.merge_upstream_url(checker);
        let function = self.function(checker);
        let region = self.region(function.as_ref(), checker);
        let endpoint = self.endpoint(region.as_deref(), checker);
        let client_context = self.client_context(checker);
        self.refuse_stream_of_event(checker);
        let answer = self.answer(checker);
        let payload = self.payload(route_id, function.as_ref(), checker);
        let retry = self.upstream.retry.take().unwrap_or_default();
        self.upstream.retry = Some(retry.for_functions(&mut checker.at("retry")));
        let server = endpoint.as_ref().map(|LambdaEndpoint { scheme, host, port }| UpstreamServer {
            scheme: *scheme,
            host,
            port: *port,
        });
        let connection = self.connection(server, checker);
        let upstream = self.upstream.check(connection, checker);
        if let Some(endpoint) = &endpoint {
            self.refuse_unsigned(endpoint, &upstream, checker);
        }
        let settle = self.settled(checker);
        let source = self.credential_source(region.as_deref(), &upstream, checker);
        let client = self.client.check(source.as_ref(), checker);
        Some(settle(LambdaParts {
            endpoint: endpoint?,
            region: region?,
            source: Arc::new(source?),
            client: client?,
            function: function?.text,
            client_context,
            payload: payload?,
            answer,
            max_request_body: limits.max_request_body,
            upstream: Arc::new(upstream),
        }))
    }

    /// The source of the route's own keys.
    fn credential_source(
        &mut self,
        region: Option<&str>,
        upstream: &UpstreamSettings,
        checker: &mut Checker<'_>,
    ) -> Option<CredentialSettings> {
        let (key_name, key) = one_spelling(
            [("aws_key", self.aws_key.take()), ("aws_access_key", self.aws_access_key.take())],
            checker,
        );
        let (secret_name, secret) = one_spelling(
            [("aws_secret", self.aws_secret.take()), ("aws_secret_key", self.aws_secret_key.take())],
            checker,
        );
        let own = SectionCredentials {
            key,
            secret,
            region: region.unwrap_or_default().to_owned(),
            variant: self.variant(checker),
            proxy: upstream.proxy_rule.for_keys(),
        };
        let names =
            KeyNames { prefix: "aws_", key: key_name, secret: secret_name, session: DEFAULT_SESSION_NAME };
        self.source.check(names, own, checker)
    }

    /// Copies the parts of `upstream_url` to their own keys.
    fn merge_upstream_url(&mut self, checker: &mut Checker<'_>) {
        let Some(url) = self.upstream_url.take() else { return };
        let Some(url) = checker.parsed("upstream_url", &url, UpstreamUrl::EXPECTED, UpstreamUrl::parse)
        else {
            return;
        };
        for (key, contradicts) in [
            ("invocation_type", differ(self.invocation_type, url.invocation_type)),
            ("log_type", differ(self.log_type, url.log_type)),
        ] {
            if contradicts {
                checker.at(key).report("conflicts with upstream_url", "the same in both, or only in one");
            }
        }
        let mut both = |key: &str, own: &mut Option<String>, urls: Option<String>| match (&own, urls) {
            (Some(own), Some(urls)) if *own != urls => {
                let own = checker.quoted(key, own, "the value");
                let urls = checker.quoted("upstream_url", &urls, "another value");
                let problem = format!("{own} conflicts with {urls} in upstream_url");
                checker.at(key).report(problem, "the same in both, or only in one");
            }
            (None, Some(urls)) => *own = Some(urls),
            _ => {}
        };
        both("aws_region", &mut self.aws_region, Some(url.region));
        both("function_name", &mut self.function_name, Some(url.function));
        both("qualifier", &mut self.qualifier, url.qualifier);
        self.invocation_type = self.invocation_type.or(url.invocation_type);
        self.log_type = self.log_type.or(url.log_type);
        if let (Some(WrittenObject(own)), Some(urls)) = (&self.client_context, &url.client_context)
            && own != urls
        {
            let expected = "the same in both, or only in one";
            checker.at("client_context").report("conflicts with upstream_url", expected);
        }
        self.client_context = self.client_context.take().or(url.client_context.map(WrittenObject));
    }

    fn function(&self, checker: &mut Checker<'_>) -> Option<FunctionName> {
        let Some(name) = &self.function_name else {
            if checker.has_error("upstream_url") {
                return None;
            }
            checker.at("function_name").report("missing", FunctionName::EXPECTED);
            return None;
        };
        let function = checker.parsed("function_name", name, FunctionName::EXPECTED, FunctionName::parse)?;
        if let Some(qualifier) = &self.qualifier {
            checker.parsed("qualifier", qualifier, "a version, an alias or $LATEST", |text| {
                is_qualifier(text).then_some(())
            })?;
            if function.qualifier.as_ref().is_some_and(|own| own != qualifier) {
                let qualifier = checker.quoted("qualifier", qualifier, "the value");
                let problem = format!("{qualifier} conflicts with the qualifier in function_name");
                checker.at("qualifier").report(problem, "the same in both, or only in one");
            }
        }
        Some(function)
    }

    /// The first of: the key `aws_region`, the ARN, the environment, the host. An unsigned route needs no
    /// region.
    fn region(&self, function: Option<&FunctionName>, checker: &mut Checker<'_>) -> Option<String> {
        let of_arn = function.and_then(|function| function.region.clone());
        let of_process = ["AWS_REGION", "AWS_DEFAULT_REGION"].iter().find_map(|name| checker.variable(name));
        let of_host = self.host.as_deref().and_then(region_of_lambda_host).map(str::to_owned);
        let own = self.aws_region.clone();
        let Some(region) = own.clone().or(of_arn.clone()).or(of_process).or(of_host.clone()) else {
            let keys = ["upstream_url", "function_name", "aws_region", "host", "sign"];
            if keys.iter().any(|key| checker.has_error(key)) {
                // a value with a mistake may contain the region, or make it unnecessary
                return None;
            }
            if self.sign == Some(false) {
                return Some(String::new());
            }
            let expected = "aws_region here, or AWS_REGION or AWS_DEFAULT_REGION in the environment";
            checker.at("aws_region").report("no region or host specified", expected);
            return None;
        };
        if let (Some(own), Some(of_arn)) = (own, of_arn)
            && own != of_arn
        {
            let own = checker.quoted("aws_region", &own, "the value");
            let of_arn = checker.quoted("function_name", &of_arn, "another value");
            let problem = format!("{own} conflicts with {of_arn} in function_name");
            checker.at("aws_region").report(problem, "the region of the ARN");
            return None;
        }
        if let Some(of_host) = of_host.filter(|of_host| *of_host != region) {
            let problem = match (checker.quotable("host", &of_host), checker.quotable("aws_region", &region))
            {
                (Some(of_host), Some(own)) => {
                    format!("is in the region {of_host}, but the route's region is {own}")
                }
                _ => "is in another region than the route".to_owned(),
            };
            checker.at("host").report(problem, "the host of that region, or none");
        }
        let expected = "a region: lower-case letters, digits and `-`, here or in AWS_REGION";
        checker.parsed("aws_region", &region, expected, |text| is_scope_word(text).then(|| text.to_owned()))
    }

    fn endpoint(&self, region: Option<&str>, checker: &mut Checker<'_>) -> Option<LambdaEndpoint> {
        let scheme = self.scheme();
        let port = checker.checked(declared!(WrittenLambda, "port"), self.port);
        let port = port.unwrap_or_else(|| scheme.default_port());
        let host = match &self.host {
            Some(host) => {
                self.refuse_other_hosts(checker);
                let expected = "a host name or an IP address, without scheme and port";
                checker.parsed("host", host, expected, host_name)?
            }
            None => {
                let EndpointVariant { fips, dual_stack } = self.variant(checker);
                lambda_host(region?, fips, dual_stack)
            }
        };
        Some(LambdaEndpoint { scheme, host, port })
    }

    fn variant(&self, checker: &Checker<'_>) -> EndpointVariant {
        EndpointVariant::of(self.use_fips_endpoint, self.use_dualstack_endpoint, checker)
    }

    /// Reports switches of the regional endpoint, which `host` replaces.
    fn refuse_other_hosts(&self, checker: &mut Checker<'_>) {
        for (key, is_on) in [
            ("use_fips_endpoint", self.use_fips_endpoint),
            ("use_dualstack_endpoint", self.use_dualstack_endpoint),
        ] {
            if is_on == Some(true) {
                checker.at(key).report("conflicts with `host`", "one of the two");
            }
        }
    }

    /// Reports `sign: false` unless the calls stay on loopback. AWS refuses unsigned calls, and on a network
    /// anyone could read and change them.
    fn refuse_unsigned(
        &self,
        endpoint: &LambdaEndpoint,
        upstream: &UpstreamSettings,
        checker: &mut Checker<'_>,
    ) {
        if self.sign != Some(false) {
            return;
        }
        let connected = upstream.connect.place(&endpoint.host, endpoint.port).0;
        let (problem, expected) = if self.scheme() == Scheme::Https {
            ("unsigned calls are for a local emulator, without TLS", "`disable_https: true` beside it")
        } else if !is_loopback(&endpoint.host) {
            ("unsigned calls may only go to loopback", "`host` is localhost, 127.0.0.1 or ::1")
        } else if !is_loopback(connected) {
            ("unsigned calls may only go to loopback", "`connect.address` is on loopback, or is removed")
        } else if matches!(upstream.proxy, ProxyChoice::Through(_)) {
            ("unsigned calls may not go through a proxy", "no `proxy_url`, or `proxy_url: none`")
        } else if self.client.client_credentials.is_some() {
            ("conflicts with `client_credentials`", "one of the two")
        } else {
            return;
        };
        checker.at("sign").report_incomplete(problem, expected);
    }

    fn client_context(&self, checker: &mut Checker<'_>) -> Option<String> {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        let WrittenObject(object) = self.client_context.as_ref()?;
        let encoded = STANDARD.encode(serde_json::to_vec(object).ok()?);
        if encoded.len() <= MAX_CLIENT_CONTEXT {
            return Some(encoded);
        }
        checker.at("client_context").report("too long", "at most 2,687 bytes of JSON");
        None
    }

    fn refuse_stream_of_event(&self, checker: &mut Checker<'_>) {
        if self.invoke_mode == Some(InvokeMode::ResponseStream)
            && self.invocation_type == Some(InvocationType::Event)
        {
            let problem = "an invocation of type Event has no answer to stream";
            checker.at("invoke_mode").report(problem, "`buffered`");
        }
    }

    fn answer(&self, checker: &mut Checker<'_>) -> AnswerSettings {
        let key = declared!(WrittenLambda, "unhandled_status");
        let unhandled_status = self.unhandled_status.and_then(|status| {
            let bounds = key.kind.bounds();
            let is_valid = bounds.is_some_and(|(least, most)| (least..=most).contains(&status.into()));
            if !is_valid {
                // Kong's words
                let expected = "value should be between 100 and 999, and no interim one";
                checker.out_of_range(key, &status.to_string(), expected);
            }
            StatusCode::from_u16(status).ok().filter(|_| is_valid)
        });
        let empty_arrays_mode = declared!(WrittenLambda, "empty_arrays_mode");
        let version = declared!(WrittenLambda, "awsgateway_compatible_payload_version");
        AnswerSettings {
            is_proxy_integration: self.is_proxy_integration.unwrap_or(false),
            version: checker.settled(version, self.awsgateway_compatible_payload_version),
            unhandled_status,
            empty_arrays_mode: checker.settled(empty_arrays_mode, self.empty_arrays_mode),
            preserve_lambda_api_error_code: self.preserve_lambda_api_error_code.unwrap_or(false),
        }
    }

    fn connection<'a>(
        &self,
        server: Option<UpstreamServer<'a>>,
        checker: &mut Checker<'_>,
    ) -> BackendConnection<'a> {
        let keepalive = checker.settled(declared!(WrittenLambda, "keepalive"), self.keepalive);
        if !keepalive.is_zero() && keepalive < MIN_KEEPALIVE {
            // Kong accepts any value, but idle connections are checked once a second
            checker.at("keepalive").warn("shorter than 1s, raised to 1s; `0` turns keep-alive off");
        }
        BackendConnection {
            timeout: DEFAULT_TIMEOUT,
            scheme: Some(self.scheme()),
            server,
            keepalive: !keepalive.is_zero(),
            keepalive_timeout: keepalive.max(MIN_KEEPALIVE),
        }
    }

    fn scheme(&self) -> Scheme {
        Scheme::of(self.disable_https != Some(true))
    }
}

/// The value of a key that has two names, with the name that is written.
fn one_spelling(
    [(name, one), (other_name, other)]: [(&'static str, Option<Proof>); 2],
    checker: &mut Checker<'_>,
) -> (&'static str, Option<SecretString>) {
    if one.is_some() && other.is_some() {
        checker.at(other_name).report("duplicate key in another spelling", "one of the two");
    }
    let written = if one.is_none() && other.is_some() { other_name } else { name };
    (written, one.or(other).map(|Proof(value)| value))
}

fn differ<T: PartialEq>(own: Option<T>, other: Option<T>) -> bool {
    own.zip(other).is_some_and(|(own, other)| own != other)
}

fn host_name(text: &str) -> Option<String> {
    let bare = without_brackets(text);
    let is_name = bare.split('.').all(|label| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    });
    (is_name || bare.parse::<std::net::Ipv6Addr>().is_ok()).then(|| bare.to_owned())
}
