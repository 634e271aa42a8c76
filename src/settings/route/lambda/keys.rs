//! The keys of the section `lambda`.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{
    ForwardedParts, GatewayEvent, InvocationType, InvokeMode, LambdaEndpoint, LogType, PayloadSettings,
    PayloadVersion, spelling::WrittenObject,
};
use crate::{
    settings::{
        AnswerSettings, EmptyArraysMode, Scheme,
        route::{
            client_credentials::{ClientCredentialSettings, WrittenClientCredentials},
            key_source::{CredentialSettings, WrittenCredentials},
            retry,
            upstream::{SCOPE_WORD, UpstreamSettings, WrittenUpstream},
        },
        source::{
            check::Checker,
            declaration::{KEY_ID, Key, Kind, Standard},
            key_type::{DAY, KeyType, Proof},
        },
    },
    text::units::{OrNone, WrittenDuration},
};

/// A name, a partial or a full ARN, each with or without a qualifier.
const FUNCTION_NAME: &str = concat!(
    "^(arn:aws(-[^:]*)?:lambda:[a-z]+(-[a-z]+)+-[0-9]+:[0-9]{12}:function:",
    "|([a-z]+(-[a-z]+)+-[0-9]+:)?([0-9]{12}:)?(function:)?)",
    r"[A-Za-z0-9_.-]{1,140}(:(\$LATEST\.PUBLISHED|[A-Za-z0-9_$-]{1,128}))?$"
);
const QUALIFIER: &str = r"^(\$LATEST\.PUBLISHED|[A-Za-z0-9_$-]{1,128})$";
const NOT_EMPTY: &str = r"[\s\S]";
/// Kong's default.
pub(super) const DEFAULT_TIMEOUT: Duration = Duration::from_mins(1);
/// Kong's default of `aws_role_session_name`, which trust policies may name.
pub(super) const DEFAULT_SESSION_NAME: &str = "kong";

section! {
    /// How a route calls a function by the Invoke API.
    #[derive(Debug, Clone, PartialEq)]
    pub struct LambdaSettings, read as WrittenLambda, optional "a table about a Lambda function";

    made LambdaParts {
        /// The endpoint of the Lambda API.
        endpoint: LambdaEndpoint,
        /// The signing region; empty if an unsigned route has none.
        region: String,
        /// The source of the credentials.
        source: Arc<CredentialSettings>,
        /// The keys that callers send.
        client: ClientCredentialSettings,
        /// Name, partial or full ARN, as written, without the key `qualifier`.
        function: String,
        /// Base64 of JSON, for `X-Amz-Client-Context`.
        client_context: Option<String>,
        /// The event of a call.
        payload: PayloadSettings,
        /// The conversion of the function's response.
        answer: AnswerSettings,
        /// The maximum size of a request body in bytes.
        max_request_body: OrNone<u64>,
        /// Connections, time limits and retries.
        upstream: Arc<UpstreamSettings>,
    }

    /// Function to call: a name, `NAME:QUALIFIER`, a partial or a full ARN.
    function_name: String, pattern(FUNCTION_NAME) => |lambda| &lambda.function;
    /// Version or alias of the function.
    qualifier?: String, pattern(QUALIFIER);
    /// Region of the function. The first of these by default: the region of the ARN, `AWS_REGION`,
    /// `AWS_DEFAULT_REGION`, the region in `host`.
    aws_region: String, pattern(SCOPE_WORD) => |lambda| lambda.own_region();
    /// Access key id; requires `aws_secret`. Without both, see "Credentials".
    aws_key: Proof, kind(Kind::Proof(KEY_ID)), open() => |lambda| lambda.source.shown_keys()[0];
    /// Secret access key; requires `aws_key`. Keep it out of files: `$env://NAME` or `$file:///path`.
    aws_secret: Proof => |lambda| lambda.source.shown_keys()[1];
    // Kong's prototype (Kong/kong#1190)
    /// Another spelling of `aws_key`.
    aws_access_key: Proof, kind(Kind::Proof(KEY_ID)), open() => _;
    /// Another spelling of `aws_secret`.
    aws_secret_key: Proof => _;
    ..source: WrittenCredentials as "aws_", with own_source;
    ..client: WrittenClientCredentials;
    /// `aws-lambda://REGION/FUNCTION?qualifier=…&invocation_type=…&log_type=…&client_context=…`, instead of
    /// the keys `aws_region`, `function_name`, `qualifier`, `invocation_type`, `log_type` and
    /// `client_context`, which is percent-encoded JSON there.
    upstream_url: String, pattern("^aws-lambda://.+"), secret_query() => _;
    /// Host of the Lambda API; by default that of the region, in all of AWS's partitions.
    host: String, kind(Kind::Host) => |lambda| &lambda.endpoint.host;
    /// Port of the Lambda API; with `disable_https`, `80` by default.
    port: u16 [1..=65_535] = 443 => |lambda| lambda.endpoint.port;
    /// Use plain HTTP, for a local Lambda.
    disable_https: bool = false => |lambda| lambda.endpoint.scheme == Scheme::Http;
    /// Sign the calls. `false` is for a local emulator that checks no signature, and needs no credentials:
    /// only with `disable_https: true`, a `host` on loopback and no `proxy_url`.
    sign: bool = true;
    /// Use the FIPS 140 endpoints of the Lambda API and STS. If not set, `AWS_USE_FIPS_ENDPOINT` decides.
    use_fips_endpoint: bool = false => _;
    /// Use the dual-stack (IPv6) endpoints of the Lambda API and STS. If not set,
    /// `AWS_USE_DUALSTACK_ENDPOINT` decides.
    use_dualstack_endpoint: bool = false => _;
    /// `RequestResponse` waits for the function's response, `Event` queues the event and answers 202,
    /// `DryRun` checks parameters and permissions without running the function and answers 204.
    invocation_type: InvocationType = InvocationType::RequestResponse;
    /// `Tail` requests the last 4 KB of the function's log, which are logged at level `debug` and never sent
    /// to the client; `None` requests no log.
    log_type: LogType = LogType::Tail;
    /// `buffered` waits for the whole response; `response_stream` forwards it while the function writes it.
    invoke_mode: InvokeMode = InvokeMode::Buffered;
    /// Table, or text with a JSON object, sent base64-encoded as `X-Amz-Client-Context`.
    client_context: WrittenObject => |lambda| &lambda.client_context;
    /// Tenant id, sent as `X-Amz-Tenant-Id`.
    tenant_id?: TenantId, secret();
    /// Include the request's method in the event.
    forward_request_method: bool = false => |lambda| lambda.forwarded().map(|parts| parts.method);
    /// Include the request's path and query in the event.
    forward_request_uri: bool = false => |lambda| lambda.forwarded().map(|parts| parts.uri);
    /// Include the request's headers in the event.
    forward_request_headers: bool = false => |lambda| lambda.forwarded().map(|parts| parts.headers);
    /// Include the request's body in the event.
    forward_request_body: bool = false => |lambda| lambda.forwarded().map(|parts| parts.body);
    /// Send an API Gateway proxy event; takes precedence over `forward_request_*`.
    awsgateway_compatible: bool = false => |lambda| lambda.event().is_some();
    /// Format of the proxy event and its response: `1.0` as for REST APIs, `2.0` as for HTTP APIs and
    /// Function URLs.
    awsgateway_compatible_payload_version: PayloadVersion = PayloadVersion::V1
        => |lambda| lambda.answer.version;
    /// `requestContext.accountId` of the proxy event; by default the account of the ARN, or `000000000000`.
    account_id: String, pattern(NOT_EMPTY), shown_as_written()
        => |lambda| lambda.event().map(|event| &event.account_id);
    /// `requestContext.apiId` of the proxy event; the route's id by default.
    api_id: String, pattern(NOT_EMPTY), shown_as_written()
        => |lambda| lambda.event().map(|event| &event.api_id);
    /// `requestContext.stage` of the proxy event.
    stage: String = "$default", pattern(NOT_EMPTY), shown_as_written()
        => |lambda| lambda.event().map(|event| &event.stage);
    /// Table for `stageVariables` of the proxy event.
    stage_variables: BTreeMap<String, String> => |lambda| lambda.event().map(|event| &event.stage_variables);
    /// Table, or text with a JSON object, into which the request's body and query arguments are merged; query
    /// arguments then override the body. Not with `awsgateway_compatible` or `forward_request_*`.
    body: WrittenObject => LambdaSettings::merged;
    /// Base64-encode bodies in events; `false` encodes only bodies that are not UTF-8.
    base64_encode_body: bool = true => LambdaSettings::base64_encode_body;
    /// Accepted for compatibility with Kong, without effect: no body is skipped.
    skip_large_bodies: bool = true => _;
    /// The function's response contains status, headers and body.
    is_proxy_integration: bool = false => |lambda| lambda.answer.is_proxy_integration;
    // Kong's range includes interim statuses, which cannot end a response
    /// Status of the response if the function returns `X-Amz-Function-Error: Unhandled`.
    unhandled_status: u16 [200..=999] => |lambda| lambda.answer.unhandled_status;
    /// `legacy` replaces `[]` with `{}` in a function's response that begins with `{` or `[`, and changes
    /// nothing else; not with `is_proxy_integration`.
    empty_arrays_mode: EmptyArraysMode = EmptyArraysMode::Correct => |lambda| lambda.answer.empty_arrays_mode;
    /// Send the client the status with which the Lambda API refuses a call, instead of 500.
    preserve_lambda_api_error_code: bool = false => |lambda| lambda.answer.preserve_lambda_api_error_code;
    /// How long an idle connection is kept open; `0` turns keep-alive off. Less than a second is raised to
    /// one second, with a warning.
    keepalive: WrittenDuration [Duration::ZERO..=DAY] = Duration::from_mins(1) => LambdaSettings::kept;
    ..upstream: WrittenUpstream, with own_upstream;
}

/// A valid tenant id (Lambda API reference, `Invoke`).
#[derive(Debug, serde::Deserialize)]
#[serde(transparent)]
pub struct TenantId(String);

impl KeyType for TenantId {
    type Checked = String;
    const KIND: Kind =
        Kind::Pattern("^[A-Za-z0-9._:/=+@-]([A-Za-z0-9._:/=+@ -]{0,254}[A-Za-z0-9._:/=+@-])?$");

    fn standard(_: &Key) -> String {
        String::new()
    }

    fn checked(self, key: &Key, checker: &mut Checker<'_>) -> Option<String> {
        let expected = "1 to 256 letters, digits, blanks or `._:/=+-@`";
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._:/=+-@ ".contains(&byte);
        checker.parsed(key.name, &self.0, expected, |text| {
            ((1..=256).contains(&text.len()) && text.bytes().all(fits) && text.trim() == text)
                .then(|| text.to_owned())
        })
    }
}

/// The shared keys with the defaults of this backend.
fn own_upstream(key: Key) -> Key {
    match key.name {
        "timeout" => key.standard(Standard::of(DEFAULT_TIMEOUT)),
        "retry" => retry::of_functions(key),
        _ => key,
    }
}

fn own_source(key: Key) -> Key {
    if key.name == "role_session_name" { key.standard(Standard::Text(DEFAULT_SESSION_NAME)) } else { key }
}

impl LambdaSettings {
    fn own_region(&self) -> Option<&String> {
        Some(&self.region).filter(|region| !region.is_empty())
    }

    fn event(&self) -> Option<&GatewayEvent> {
        if let PayloadSettings::Gateway(event) = &self.payload { Some(event) } else { None }
    }

    fn forwarded(&self) -> Option<&ForwardedParts> {
        if let PayloadSettings::Forward(parts) = &self.payload { Some(parts) } else { None }
    }

    fn merged(&self) -> Option<&serde_json::Map<String, serde_json::Value>> {
        if let PayloadSettings::Merge { body } = &self.payload { body.as_ref() } else { None }
    }

    fn base64_encode_body(&self) -> Option<bool> {
        let event = self.event().map(|event| event.base64_encode_body);
        event.or_else(|| self.forwarded().map(|parts| parts.base64_encode_body))
    }

    fn kept(&self) -> Duration {
        if self.upstream.keepalive { self.upstream.keepalive_timeout } else { Duration::ZERO }
    }
}
