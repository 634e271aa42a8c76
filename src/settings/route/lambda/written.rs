//! The section as written, and what makes it right: the checks that need more than one key.

use std::{collections::BTreeMap, time::Duration};

use secrecy::SecretString;
use serde::Deserialize;

use super::{
    AnswerSettings, EmptyArraysMode, InvocationType, InvokeMode, LambdaEndpoint, LambdaSettings, LogType,
    PayloadVersion,
    function::{FunctionName, is_qualifier},
    spelling::WrittenObject,
    upstream_url::UpstreamUrl,
};
use crate::{
    settings::{
        EndpointVariant, ForwardProxy, Scheme,
        process::limits::{LONGEST, Limits},
        route::{
            api_gateway::is_scope_word,
            circuit_breaker::WrittenCircuitBreaker,
            connect::WrittenConnect,
            credentials::{Names, WrittenMetadataProtocol, WrittenSource},
            key_source::Source,
            retry::WrittenRetry,
            upstream::WrittenUpstream,
        },
        source::{check::Checker, reader::present},
    },
    text::{
        aws_hosts::{lambda_host, region_of_lambda_host},
        units::WrittenDuration,
        uri_syntax::without_brackets,
    },
};

/// Kong's defaults.
const TIMEOUT: Duration = Duration::from_mins(1);
const KEEPALIVE: Duration = Duration::from_mins(1);
const SHORTEST_KEEPALIVE: Duration = Duration::from_secs(1);
/// Of the base64 text (Lambda API reference, `Invoke`).
const LONGEST_CLIENT_CONTEXT: usize = 3583;
/// How the sessions of a role are called where nothing is written: Kong's default, which trust policies may name.
const SESSION: &str = "kong";

/// The section as written.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table about a Lambda function")]
pub(in crate::settings) struct WrittenLambda {
    #[serde(deserialize_with = "present")]
    pub(super) aws_key: Option<SecretString>,
    #[serde(deserialize_with = "present")]
    pub(super) aws_secret: Option<SecretString>,
    pub(super) aws_session_token: Option<SecretString>,
    pub(super) aws_profile: Option<String>,
    pub(super) aws_assume_role_arn: Option<String>,
    pub(super) aws_role_session_name: Option<String>,
    pub(super) aws_external_id: Option<String>,
    pub(super) aws_role_duration: Option<WrittenDuration>,
    pub(super) aws_sts_endpoint_url: Option<String>,
    pub(super) aws_imds_protocol_version: Option<WrittenMetadataProtocol>,
    pub(super) aws_region: Option<String>,
    pub(super) function_name: Option<String>,
    pub(super) qualifier: Option<String>,
    pub(super) upstream_url: Option<String>,
    pub(super) invocation_type: Option<InvocationType>,
    pub(super) log_type: Option<LogType>,
    pub(super) invoke_mode: Option<InvokeMode>,
    pub(super) client_context: Option<WrittenObject>,
    pub(super) tenant_id: Option<String>,
    pub(super) host: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) disable_https: Option<bool>,
    pub(super) use_fips_endpoint: Option<bool>,
    pub(super) use_dualstack_endpoint: Option<bool>,
    pub(super) timeout: Option<WrittenDuration>,
    pub(super) connect_timeout: Option<WrittenDuration>,
    pub(super) first_byte_timeout: Option<WrittenDuration>,
    pub(super) idle_timeout: Option<WrittenDuration>,
    pub(super) keepalive: Option<WrittenDuration>,
    pub(super) keepalive_pool: Option<u32>,
    pub(super) proxy_url: Option<SecretString>,
    pub(super) request_timeout: Option<WrittenDuration>,
    pub(super) retry: Option<WrittenRetry>,
    #[serde(deserialize_with = "present")]
    pub(super) circuit_breaker: Option<WrittenCircuitBreaker>,
    pub(super) ssl_verify: Option<bool>,
    pub(super) ca_certificate: Option<String>,
    pub(super) client_certificate: Option<String>,
    pub(super) client_key: Option<SecretString>,
    #[serde(deserialize_with = "present")]
    pub(super) connect: Option<WrittenConnect>,
    pub(super) forward_request_method: Option<bool>,
    pub(super) forward_request_uri: Option<bool>,
    pub(super) forward_request_headers: Option<bool>,
    pub(super) forward_request_body: Option<bool>,
    pub(super) awsgateway_compatible: Option<bool>,
    pub(super) awsgateway_compatible_payload_version: Option<PayloadVersion>,
    pub(super) account_id: Option<String>,
    pub(super) api_id: Option<String>,
    pub(super) stage: Option<String>,
    pub(super) stage_variables: Option<BTreeMap<String, String>>,
    pub(super) body: Option<WrittenObject>,
    pub(super) base64_encode_body: Option<bool>,
    pub(super) skip_large_bodies: Option<bool>,
    pub(super) is_proxy_integration: Option<bool>,
    pub(super) unhandled_status: Option<u16>,
    pub(super) empty_arrays_mode: Option<EmptyArraysMode>,
    pub(super) preserve_lambda_api_error_code: Option<bool>,
}

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
        let tenant_id = self.tenant_id(checker);
        let invoke_mode = self.invoke_mode(checker);
        let answer = self.answer(checker);
        let payload = self.payload(route_id, function.as_ref(), checker);
        let upstream = self.upstream(checker);
        let region = region?;
        let source = self.source(region.clone(), upstream.proxy.clone(), checker);
        Some(LambdaSettings {
            endpoint: endpoint?,
            region,
            source: source?,
            function: function?.text,
            qualifier: self.qualifier,
            invocation_type: self.invocation_type.unwrap_or_default(),
            log_type: self.log_type.unwrap_or_default(),
            invoke_mode,
            client_context,
            tenant_id,
            payload: payload?,
            answer,
            max_request_body: limits.max_request_body,
            upstream,
        })
    }

    /// What `upstream_url` says, as if it had been written in its own keys.
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
                checker
                    .below(key)
                    .mistake("is not what upstream_url says", "the same in both, or only in one");
            }
        }
        let mut both = |key: &str, own: &mut Option<String>, urls: Option<String>| match (&own, urls) {
            (Some(own), Some(urls)) if *own != urls => {
                let own = checker.quoted(key, own, "the value");
                let urls = checker.quoted("upstream_url", &urls, "which is another");
                let problem = format!("{own} is not what upstream_url says, {urls}");
                checker.below(key).mistake(problem, "the same in both, or only in one");
            }
            (None, Some(urls)) => *own = Some(urls),
            _ => {}
        };
        both("aws_region", &mut self.aws_region, Some(url.region));
        both("function_name", &mut self.function_name, Some(url.function));
        both("qualifier", &mut self.qualifier, url.qualifier);
        self.invocation_type = self.invocation_type.or(url.invocation_type);
        self.log_type = self.log_type.or(url.log_type);
    }

    fn function(&self, checker: &mut Checker<'_>) -> Option<FunctionName> {
        let Some(name) = &self.function_name else {
            if checker.is_wrong("upstream_url") {
                return None;
            }
            checker.below("function_name").mistake("missing", FunctionName::EXPECTED);
            return None;
        };
        let function = checker.parsed("function_name", name, FunctionName::EXPECTED, FunctionName::parse)?;
        if let Some(qualifier) = &self.qualifier {
            checker.parsed("qualifier", qualifier, "a version, an alias or $LATEST", |text| {
                is_qualifier(text).then_some(())
            })?;
            if function.qualifier.as_ref().is_some_and(|own| own != qualifier) {
                let qualifier = checker.quoted("qualifier", qualifier, "the value");
                let problem = format!("{qualifier} is not the one in function_name");
                checker.below("qualifier").mistake(problem, "the same in both, or only in one");
            }
        }
        Some(function)
    }

    /// The route's own, else the process's, else what the function's ARN or the host says.
    fn region(&self, function: Option<&FunctionName>, checker: &mut Checker<'_>) -> Option<String> {
        let of_arn = function.and_then(|function| function.region.clone());
        let of_process = ["AWS_REGION", "AWS_DEFAULT_REGION"].iter().find_map(|name| checker.variable(name));
        let of_host = self.host.as_deref().and_then(region_of_lambda_host).map(str::to_owned);
        let own = self.aws_region.clone();
        let Some(region) = own.clone().or(of_arn.clone()).or(of_process).or(of_host.clone()) else {
            if ["upstream_url", "function_name", "aws_region"].iter().any(|key| checker.is_wrong(key)) {
                // it may be there, in what could not be read
                return None;
            }
            let expected = "aws_region here, or AWS_REGION or AWS_DEFAULT_REGION in the environment";
            checker.below("aws_region").mistake("no region or host specified", expected);
            return None;
        };
        if let (Some(own), Some(of_arn)) = (own, of_arn)
            && own != of_arn
        {
            let own = checker.quoted("aws_region", &own, "the value");
            let of_arn = checker.quoted("function_name", &of_arn, "which is another");
            let problem = format!("{own} is not the region of function_name, {of_arn}");
            checker.below("aws_region").mistake(problem, "the region of the ARN");
            return None;
        }
        if let Some(of_host) = of_host.filter(|of_host| *of_host != region) {
            let problem = match (checker.quotable("host", &of_host), checker.quotable("aws_region", &region))
            {
                (Some(of_host), Some(own)) => format!("is of the region {of_host}, and the route's is {own}"),
                _ => "is of another region than the route".to_owned(),
            };
            checker.below("host").mistake(problem, "the host of that region, or none");
        }
        let expected = "a region: lower-case letters, digits and `-`, here or in AWS_REGION";
        checker.parsed("aws_region", &region, expected, |text| is_scope_word(text).then(|| text.to_owned()))
    }

    fn endpoint(&self, region: Option<&str>, checker: &mut Checker<'_>) -> Option<LambdaEndpoint> {
        let scheme = if self.disable_https.unwrap_or(false) { Scheme::Http } else { Scheme::Https };
        let port = checker.number("port", self.port, scheme.default_port(), 1..=65535);
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

    /// A host of one's own is none of the region's.
    fn refuse_other_hosts(&self, checker: &mut Checker<'_>) {
        for (key, is_on) in [
            ("use_fips_endpoint", self.use_fips_endpoint),
            ("use_dualstack_endpoint", self.use_dualstack_endpoint),
        ] {
            if is_on == Some(true) {
                checker.below(key).mistake("`host` is there too", "one of the two");
            }
        }
    }

    fn source(
        &mut self,
        region: String,
        proxy: Option<ForwardProxy>,
        checker: &mut Checker<'_>,
    ) -> Option<Source> {
        let written = WrittenSource {
            key: self.aws_key.take(),
            secret: self.aws_secret.take(),
            session_token: self.aws_session_token.take(),
            profile: self.aws_profile.take(),
            assume_role_arn: self.aws_assume_role_arn.take(),
            role_session_name: self.aws_role_session_name.take(),
            external_id: self.aws_external_id.take(),
            role_duration: self.aws_role_duration,
            sts_endpoint_url: self.aws_sts_endpoint_url.take(),
            imds_protocol_version: self.aws_imds_protocol_version,
            variant: self.variant(checker),
        };
        let names = Names {
            prefix: "aws_",
            key: "aws_key",
            secret: "aws_secret",
            session_token: "aws_session_token",
            session: SESSION,
        };
        written.check(names, region, proxy, checker)
    }

    fn client_context(&self, checker: &mut Checker<'_>) -> Option<String> {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        let WrittenObject(object) = self.client_context.as_ref()?;
        let encoded = STANDARD.encode(serde_json::to_vec(object).ok()?);
        if encoded.len() <= LONGEST_CLIENT_CONTEXT {
            return Some(encoded);
        }
        checker.below("client_context").mistake("too long", "at most 2,687 bytes of JSON");
        None
    }

    fn tenant_id(&self, checker: &mut Checker<'_>) -> Option<String> {
        let text = self.tenant_id.as_ref()?;
        let expected = "1 to 256 letters, digits, blanks or `._:/=+-@`";
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._:/=+-@ ".contains(&byte);
        checker.parsed("tenant_id", text, expected, |text| {
            ((1..=256).contains(&text.len()) && text.bytes().all(fits) && text.trim() == text)
                .then(|| text.to_owned())
        })
    }

    fn invoke_mode(&self, checker: &mut Checker<'_>) -> InvokeMode {
        let mode = self.invoke_mode.unwrap_or_default();
        if mode == InvokeMode::ResponseStream && self.invocation_type == Some(InvocationType::Event) {
            let problem = "an invocation of type Event has no answer to stream";
            checker.below("invoke_mode").mistake(problem, "`buffered`");
        }
        mode
    }

    fn answer(&self, checker: &mut Checker<'_>) -> AnswerSettings {
        let unhandled_status = self.unhandled_status.and_then(|status| {
            let known = actix_http::StatusCode::from_u16(status).ok().filter(|_| status <= 999);
            // the end of an answer is no interim one, which Kong's range lets through
            let known = known.filter(|status| !status.is_informational());
            if known.is_none() {
                let expected = "value should be between 100 and 999, and no interim one";
                let key = "unhandled_status";
                let value =
                    checker.quotable(key, &status.to_string()).unwrap_or_else(|| "the value".to_owned());
                checker.below(key).mistake(format!("{value} is out of range"), expected);
            }
            known
        });
        AnswerSettings {
            is_proxy_integration: self.is_proxy_integration.unwrap_or(false),
            version: self.awsgateway_compatible_payload_version.unwrap_or_default(),
            unhandled_status,
            empty_arrays_mode: self.empty_arrays_mode.unwrap_or_default(),
            preserve_lambda_api_error_code: self.preserve_lambda_api_error_code.unwrap_or(false),
        }
    }

    fn upstream(&mut self, checker: &mut Checker<'_>) -> crate::settings::UpstreamSettings {
        let keepalive = checker.duration("keepalive", self.keepalive, KEEPALIVE, Duration::ZERO..=LONGEST);
        if !keepalive.is_zero() && keepalive < SHORTEST_KEEPALIVE {
            // Kong takes any; a connection looks for its end once a second
            checker.below("keepalive").warn("shorter than 1s, and raised to 1s; `0` keeps no connections");
        }
        // read for Kong's sake: no body is ever spilled to disk, so there is nothing to skip
        let _ = self.skip_large_bodies;
        let written = WrittenUpstream {
            timeout: self.timeout,
            connect_timeout: self.connect_timeout,
            first_byte_timeout: self.first_byte_timeout,
            idle_timeout: self.idle_timeout,
            proxy_url: self.proxy_url.take(),
            ssl_verify: self.ssl_verify,
            ca_certificate: self.ca_certificate.take(),
            client_certificate: self.client_certificate.take(),
            client_key: self.client_key.take(),
            connect: self.connect.take(),
            keepalive: Some(!keepalive.is_zero()),
            keepalive_pool: self.keepalive_pool,
            keepalive_timeout: Some(WrittenDuration(keepalive.max(SHORTEST_KEEPALIVE))),
            request_timeout: self.request_timeout,
            retry: Some(self.retry.take().unwrap_or_default().for_functions(&mut checker.below("retry"))),
            circuit_breaker: self.circuit_breaker.take(),
        };
        let is_plain = self.disable_https == Some(true);
        let scheme = if is_plain { Scheme::Http } else { Scheme::Https };
        written.check(TIMEOUT, Some(scheme), checker)
    }
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
