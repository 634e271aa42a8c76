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
    text::units::WrittenDuration,
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
pub(super) const TIMEOUT: Duration = Duration::from_mins(1);
/// The name of a role's sessions where none is written: Kong's default, which trust policies may name.
pub(super) const SESSION: &str = "kong";

section! {
    /// How a route calls a function by the Invoke API, checked.
    #[derive(Debug, Clone, PartialEq)]
    pub struct LambdaSettings, read as WrittenLambda, optional "a table about a Lambda function";

    made LambdaParts {
        /// Where the Lambda API is.
        endpoint: LambdaEndpoint,
        /// The region that signatures are for.
        region: String,
        /// Where the keys come from.
        source: Arc<CredentialSettings>,
        /// Name, partial or full ARN, as written.
        function: String,
        /// Base64 of JSON, for `X-Amz-Client-Context`.
        client_context: Option<String>,
        /// The event that the function is given.
        payload: PayloadSettings,
        /// The treatment of its answer.
        answer: AnswerSettings,
        /// Bytes of a request body.
        max_request_body: u64,
        /// How to reach the API.
        upstream: Arc<UpstreamSettings>,
    }

    /// A name, `NAME:QUALIFIER`, a partial or a full ARN.
    function_name: String, pattern(FUNCTION_NAME) => |lambda| &lambda.function;
    /// A version or alias.
    qualifier?: String, pattern(QUALIFIER);
    /// The region; by default the ARN's, `AWS_REGION`, `AWS_DEFAULT_REGION`, or the host's.
    aws_region: String, pattern(SCOPE_WORD) => |lambda| &lambda.region;
    /// The access key id of the route's own; see "Credentials".
    aws_key: Proof, kind(Kind::Proof(KEY_ID)), open() => |lambda| lambda.source.shown_keys()[0];
    /// Its secret. Keep it out of files: `$env://NAME` or `$file:///path`.
    aws_secret: Proof => |lambda| lambda.source.shown_keys()[1];
    ..source: WrittenCredentials as "aws_", with own_source;
    /// `aws-lambda://REGION/FUNCTION?qualifier=…&invocation_type=…&log_type=…` instead of those keys.
    upstream_url: String, pattern("^aws-lambda://.+"), secret_query() => _;
    /// The Lambda API's host; by region by default, in all of AWS's partitions.
    host: String, kind(Kind::Host) => |lambda| &lambda.endpoint.host;
    /// The Lambda API's port; `80` by default with `disable_https`.
    port: u16 [1..=65_535] = 443 => |lambda| lambda.endpoint.port;
    /// Plain HTTP, for a local Lambda.
    disable_https: bool = false => |lambda| lambda.endpoint.scheme == Scheme::Http;
    /// The hosts with FIPS 140, for the Lambda API and STS; by default as `AWS_USE_FIPS_ENDPOINT` says.
    use_fips_endpoint: bool = false => _;
    /// The hosts with IPv6, for the Lambda API and STS; by default as `AWS_USE_DUALSTACK_ENDPOINT` says.
    use_dualstack_endpoint: bool = false => _;
    /// `Event` queues the event and answers 202, `DryRun` 204.
    invocation_type: InvocationType = InvocationType::RequestResponse;
    /// `None` asks for no log. The tail goes to the sidecar's own log at level debug, never to the client.
    log_type: LogType = LogType::Tail;
    /// `response_stream` passes the function's answer on as it is written.
    invoke_mode: InvokeMode = InvokeMode::Buffered;
    /// A table, or a text with a JSON object, sent as `X-Amz-Client-Context`.
    client_context: WrittenObject => |lambda| &lambda.client_context;
    /// Sent as `X-Amz-Tenant-Id`.
    tenant_id?: TenantId, secret();
    /// The event has the request's method.
    forward_request_method: bool = false => |lambda| lambda.forwarded().map(|parts| parts.method);
    /// The event has the request's target.
    forward_request_uri: bool = false => |lambda| lambda.forwarded().map(|parts| parts.uri);
    /// The event has the request's headers.
    forward_request_headers: bool = false => |lambda| lambda.forwarded().map(|parts| parts.headers);
    /// The event has the request's body.
    forward_request_body: bool = false => |lambda| lambda.forwarded().map(|parts| parts.body);
    /// The event is an API Gateway's; goes before `forward_request_*`.
    awsgateway_compatible: bool = false => |lambda| lambda.event().is_some();
    /// `2.0` as HTTP APIs and Function URLs have it.
    awsgateway_compatible_payload_version: PayloadVersion = PayloadVersion::V1 => |lambda| lambda.answer.version;
    /// Of the event's `requestContext`; the ARN's by default.
    account_id: String, pattern(NOT_EMPTY), shown_as_written() => |lambda| lambda.event().map(|event| &event.account_id);
    /// Of the event's `requestContext`; the route's id by default.
    api_id: String, pattern(NOT_EMPTY), shown_as_written() => |lambda| lambda.event().map(|event| &event.api_id);
    /// Of the event's `requestContext`.
    stage: String = "$default", pattern(NOT_EMPTY), shown_as_written() => |lambda| lambda.event().map(|event| &event.stage);
    /// A table for the event's `stageVariables`.
    stage_variables: BTreeMap<String, String> => |lambda| lambda.event().map(|event| &event.stage_variables);
    /// An object beneath body and query, of which the query then wins; only where the two are merged.
    body: WrittenObject => LambdaSettings::merged;
    /// `false` encodes only what is not UTF-8.
    base64_encode_body: bool = true => LambdaSettings::base64_encode_body;
    /// Accepted; no body is ever skipped.
    skip_large_bodies: bool = true => _;
    /// The function's answer says status, headers and body.
    is_proxy_integration: bool = false => |lambda| lambda.answer.is_proxy_integration;
    // the end of an answer is no interim one, which Kong's range lets through
    /// The status of an answer with `X-Amz-Function-Error: Unhandled`.
    unhandled_status: u16 [200..=999] => |lambda| lambda.answer.unhandled_status;
    /// `legacy` makes `{}` of `[]` in the function's answer if that begins with `{` or `[`, and changes nothing else in
    /// it; not with `is_proxy_integration`.
    empty_arrays_mode: EmptyArraysMode = EmptyArraysMode::Correct => |lambda| lambda.answer.empty_arrays_mode;
    /// A refusal of the API keeps its status.
    preserve_lambda_api_error_code: bool = false => |lambda| lambda.answer.preserve_lambda_api_error_code;
    /// How long an idle connection stays; `0` keeps none, and less than a second is raised to one, with a warning.
    keepalive: WrittenDuration [Duration::ZERO..=DAY] = Duration::from_mins(1) => LambdaSettings::kept;
    ..upstream: WrittenUpstream, with own_upstream;
}

/// A name of a tenant, as Lambda takes it (Lambda API reference, `Invoke`).
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

/// The keys of both backends with the defaults that they have here.
fn own_upstream(key: Key) -> Key {
    match key.name {
        "timeout" => key.standard(Standard::of(TIMEOUT)),
        "retry" => retry::of_functions(key),
        _ => key,
    }
}

fn own_source(key: Key) -> Key {
    if key.name == "role_session_name" { key.standard(Standard::Text(SESSION)) } else { key }
}

impl LambdaSettings {
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
