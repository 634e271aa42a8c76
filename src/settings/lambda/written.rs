//! The section as written, and what makes it right: the checks that need more than one key.

use std::{collections::BTreeMap, time::Duration};

use secrecy::SecretString;
use serde::Deserialize;

use super::{
    AnswerSettings, EmptyArraysMode, ForwardedParts, GatewayEvent, InvocationType, InvokeMode,
    LambdaEndpoint, LambdaSettings, LogType, PayloadSettings, PayloadVersion,
    function::{FunctionName, is_qualifier},
    partition::{lambda_host, region_of},
    spelling::WrittenBody,
    upstream_url::UpstreamUrl,
};
use crate::credentials::Source;
use crate::settings::{
    ForwardProxy, Scheme,
    api_gateway::is_scope_word,
    check::Checker,
    limits::{LONGEST, Limits},
    reader::present,
    source::{Names, WrittenMetadataProtocol, WrittenSource},
    units::WrittenDuration,
    upstream::WrittenUpstream,
};

/// Kong's defaults.
const TIMEOUT: Duration = Duration::from_mins(1);
const KEEPALIVE: Duration = Duration::from_mins(1);
/// Of the base64 text (Lambda API reference, `Invoke`).
const LONGEST_CLIENT_CONTEXT: usize = 3583;
/// The account of a function that is called by its name alone.
const NO_ACCOUNT: &str = "000000000000";
/// How the sessions of a role are called where nothing is written: Kong's default, which trust policies may name.
const SESSION: &str = "kong";
/// The stage of an API without stages.
const NO_STAGE: &str = "$default";

/// The section as written.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table about a Lambda function")]
pub(in crate::settings) struct WrittenLambda {
    #[serde(deserialize_with = "present")]
    aws_key: Option<SecretString>,
    #[serde(deserialize_with = "present")]
    aws_secret: Option<SecretString>,
    aws_session_token: Option<SecretString>,
    aws_profile: Option<String>,
    aws_assume_role_arn: Option<String>,
    aws_role_session_name: Option<String>,
    aws_external_id: Option<String>,
    aws_role_duration: Option<WrittenDuration>,
    aws_sts_endpoint_url: Option<String>,
    aws_imds_protocol_version: Option<WrittenMetadataProtocol>,
    aws_region: Option<String>,
    function_name: Option<String>,
    qualifier: Option<String>,
    upstream_url: Option<String>,
    invocation_type: Option<InvocationType>,
    log_type: Option<LogType>,
    invoke_mode: Option<InvokeMode>,
    client_context: Option<String>,
    tenant_id: Option<String>,
    host: Option<String>,
    port: Option<u16>,
    disable_https: Option<bool>,
    use_fips_endpoint: Option<bool>,
    use_dualstack_endpoint: Option<bool>,
    timeout: Option<WrittenDuration>,
    connect_timeout: Option<WrittenDuration>,
    first_byte_timeout: Option<WrittenDuration>,
    idle_timeout: Option<WrittenDuration>,
    keepalive: Option<WrittenDuration>,
    keepalive_pool: Option<u32>,
    proxy_url: Option<SecretString>,
    ssl_verify: Option<bool>,
    ca_certificate: Option<String>,
    forward_request_method: Option<bool>,
    forward_request_uri: Option<bool>,
    forward_request_headers: Option<bool>,
    forward_request_body: Option<bool>,
    awsgateway_compatible: Option<bool>,
    awsgateway_compatible_payload_version: Option<PayloadVersion>,
    account_id: Option<String>,
    api_id: Option<String>,
    stage: Option<String>,
    stage_variables: Option<BTreeMap<String, String>>,
    body: Option<WrittenBody>,
    base64_encode_body: Option<bool>,
    skip_large_bodies: Option<bool>,
    is_proxy_integration: Option<bool>,
    unhandled_status: Option<u16>,
    empty_arrays_mode: Option<EmptyArraysMode>,
    preserve_lambda_api_error_code: Option<bool>,
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
        let mut both = |key: &str, own: &mut Option<String>, urls: Option<String>| match (&own, urls) {
            (Some(own), Some(urls)) if *own != urls => {
                let problem = format!("`{own}` is not what upstream_url says, `{urls}`");
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
            checker.below("function_name").mistake("missing", FunctionName::EXPECTED);
            return None;
        };
        let function = checker.parsed("function_name", name, FunctionName::EXPECTED, FunctionName::parse)?;
        if let Some(qualifier) = &self.qualifier {
            checker.parsed("qualifier", qualifier, "a version, an alias or $LATEST", |text| {
                is_qualifier(text).then_some(())
            })?;
            if function.qualifier.as_ref().is_some_and(|own| own != qualifier) {
                let problem = format!("`{qualifier}` is not the one in function_name");
                checker.below("qualifier").mistake(problem, "the same in both, or only in one");
            }
        }
        Some(function)
    }

    /// The route's own, else the process's, else what the function's ARN or the host says.
    fn region(&self, function: Option<&FunctionName>, checker: &mut Checker<'_>) -> Option<String> {
        let of_arn = function.and_then(|function| function.region.clone());
        let of_process = ["AWS_REGION", "AWS_DEFAULT_REGION"].iter().find_map(|name| checker.variable(name));
        let of_host = self.host.as_deref().and_then(region_of).map(str::to_owned);
        let own = self.aws_region.clone();
        let Some(region) = own.clone().or(of_arn.clone()).or(of_process).or(of_host) else {
            let expected = "aws_region here, or AWS_REGION or AWS_DEFAULT_REGION in the environment";
            checker.below("aws_region").mistake("no region or host specified", expected);
            return None;
        };
        if let (Some(own), Some(of_arn)) = (own, of_arn)
            && own != of_arn
        {
            let problem = format!("`{own}` is not the region of function_name, `{of_arn}`");
            checker.below("aws_region").mistake(problem, "the region of the ARN");
            return None;
        }
        let expected = "a region: lower-case letters, digits and `-`";
        checker.parsed("aws_region", &region, expected, |text| is_scope_word(text).then(|| text.to_owned()))
    }

    fn endpoint(&self, region: Option<&str>, checker: &mut Checker<'_>) -> Option<LambdaEndpoint> {
        let scheme = if self.disable_https.unwrap_or(false) { Scheme::Http } else { Scheme::Https };
        let port = checker.number("port", self.port, scheme.default_port(), 1..=65535);
        let host = match &self.host {
            Some(host) => {
                let expected = "a host name or an IP address, without scheme and port";
                checker.parsed("host", host, expected, host_name)?
            }
            None => lambda_host(
                region?,
                self.use_fips_endpoint.unwrap_or(false),
                self.use_dualstack_endpoint.unwrap_or(false),
            ),
        };
        Some(LambdaEndpoint { scheme, host, port })
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
        let text = self.client_context.as_ref()?;
        let expected = "a JSON object of at most 2,687 bytes";
        checker.parsed("client_context", text, expected, |text| {
            let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).ok()?;
            let encoded = STANDARD.encode(serde_json::to_vec(&object).ok()?);
            (encoded.len() <= LONGEST_CLIENT_CONTEXT).then_some(encoded)
        })
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
                let expected = "value should be between 100 and 999, and no interim status";
                checker.below("unhandled_status").mistake(format!("{status} is out of range"), expected);
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

    fn payload(
        &mut self,
        route_id: &str,
        function: Option<&FunctionName>,
        checker: &mut Checker<'_>,
    ) -> Option<PayloadSettings> {
        let on = |switch: Option<bool>| switch.unwrap_or(false);
        let base64_encode_body = self.base64_encode_body.unwrap_or(true);
        let forwarded = ForwardedParts {
            method: on(self.forward_request_method),
            uri: on(self.forward_request_uri),
            headers: on(self.forward_request_headers),
            body: on(self.forward_request_body),
            base64_encode_body,
        };
        let payload = if on(self.awsgateway_compatible) {
            let account = function.and_then(|function| function.account.clone());
            let mut text = |key: &str, written: &Option<String>, default: &str| {
                let text = written.clone().unwrap_or_else(|| default.to_owned());
                checker.parsed(key, &text, "a text that is not empty", |text| {
                    (!text.is_empty()).then(|| text.to_owned())
                })
            };
            PayloadSettings::Gateway(GatewayEvent {
                version: self.awsgateway_compatible_payload_version.unwrap_or_default(),
                base64_encode_body,
                account_id: text("account_id", &self.account_id, account.as_deref().unwrap_or(NO_ACCOUNT))?,
                api_id: text("api_id", &self.api_id, route_id)?,
                stage: text("stage", &self.stage, NO_STAGE)?,
                stage_variables: self.stage_variables.take().unwrap_or_default(),
            })
        } else if forwarded.method || forwarded.uri || forwarded.headers || forwarded.body {
            PayloadSettings::Forward(forwarded)
        } else {
            return Some(PayloadSettings::Merge { body: self.body.take().map(|body| body.0) });
        };
        if self.body.is_some() {
            let problem =
                "is merged with query and body, which awsgateway_compatible and forward_request_* replace";
            checker.below("body").mistake(problem, "no `body`, or neither of them");
        }
        Some(payload)
    }

    fn upstream(&self, checker: &mut Checker<'_>) -> crate::settings::UpstreamSettings {
        let keepalive = checker.duration("keepalive", self.keepalive, KEEPALIVE, Duration::ZERO..=LONGEST);
        // read for Kong's sake: no body is ever spilled to disk, so there is nothing to skip
        let _ = self.skip_large_bodies;
        let written = WrittenUpstream {
            timeout: self.timeout,
            connect_timeout: self.connect_timeout,
            first_byte_timeout: self.first_byte_timeout,
            idle_timeout: self.idle_timeout,
            proxy_url: self.proxy_url.clone(),
            ssl_verify: self.ssl_verify,
            ca_certificate: self.ca_certificate.clone(),
            keepalive: Some(!keepalive.is_zero()),
            keepalive_pool: self.keepalive_pool,
            keepalive_timeout: Some(WrittenDuration(keepalive.max(Duration::from_secs(1)))),
        };
        written.check(TIMEOUT, checker)
    }
}

fn host_name(text: &str) -> Option<String> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let is_name = bare.split('.').all(|label| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    });
    (is_name || bare.parse::<std::net::Ipv6Addr>().is_ok()).then(|| bare.to_owned())
}
