//! The section `lambda` of a route: names and defaults are those of Kong's `aws-lambda` plugin.

mod function;
mod keys;
mod payload;
mod spelling;
mod upstream_url;
mod written;

use std::collections::BTreeMap;

use actix_http::{StatusCode, header::HeaderValue};

pub use self::keys::LambdaSettings;
pub(in crate::settings) use self::keys::WrittenLambda;
use super::upstream::{Scheme, host_header};

/// Where the Lambda API is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LambdaEndpoint {
    /// Plain or over TLS.
    pub scheme: Scheme,
    /// Name or address; an IPv6 address is without its brackets.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl LambdaEndpoint {
    /// Host and port, without the scheme's default port.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == self.scheme.default_port() { host } else { format!("{host}:{}", self.port) }
    }

    /// The value of `Host`.
    pub fn host_header(&self) -> HeaderValue {
        host_header(&self.authority())
    }
}

words! {
    /// `X-Amz-Invocation-Type`.
    pub enum InvocationType {
        /// Call it and wait for its answer.
        RequestResponse = "RequestResponse",
        /// Put the event in its queue.
        Event = "Event",
        /// Only find out whether it could be called.
        DryRun = "DryRun",
    }
}

words! {
    /// `X-Amz-Log-Type`.
    pub enum LogType {
        /// The last 4 KB of the function's log come with the answer.
        Tail = "Tail",
        /// They do not.
        None = "None",
    }
}

words! {
    /// Which of the two Invoke APIs is called.
    pub enum InvokeMode {
        /// `Invoke`: the answer comes whole.
        Buffered = "buffered",
        /// `InvokeWithResponseStream`: it comes as the function writes it.
        ResponseStream = "response_stream",
    }
}

/// What a function is given as its event, in Kong's order of precedence.
#[derive(Debug, Clone, PartialEq)]
pub enum PayloadSettings {
    /// `awsgateway_compatible`: the event of an API Gateway.
    Gateway(GatewayEvent),
    /// Any of `forward_request_*`: the parts of the request that are asked for.
    Forward(ForwardedParts),
    /// Otherwise: query and body as one object.
    Merge {
        /// Kong's prototype: an object beneath both, over which the query then wins.
        body: Option<serde_json::Map<String, serde_json::Value>>,
    },
}

/// The version of an API Gateway's event and answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayloadVersion {
    /// REST APIs.
    V1,
    /// HTTP APIs and Function URLs.
    V2,
}

/// The event of an API Gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayEvent {
    /// Its version.
    pub version: PayloadVersion,
    /// Whether bodies go as base64: in 1.0 all of them, in 2.0 those that API Gateway would not take for text.
    /// Without it only what is not UTF-8 does.
    pub base64_encode_body: bool,
    /// Whether the route says so, and does not merely leave it at the default.
    pub base64_is_written: bool,
    /// `requestContext.accountId`.
    pub account_id: String,
    /// `requestContext.apiId`.
    pub api_id: String,
    /// `requestContext.stage`.
    pub stage: String,
    /// `stageVariables`.
    pub stage_variables: BTreeMap<String, String>,
}

/// `forward_request_method`, `_uri`, `_headers`, `_body`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "four switches of Kong's and a fifth")]
pub struct ForwardedParts {
    /// `request_method`.
    pub method: bool,
    /// `request_uri` and `request_uri_args`.
    pub uri: bool,
    /// `request_headers`.
    pub headers: bool,
    /// `request_body`, `request_body_args` and, if need be, `request_body_base64`.
    pub body: bool,
    /// Whether bodies of no known text type go as base64; without it only what is not UTF-8 does.
    pub base64_encode_body: bool,
}

/// What becomes of a function's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnswerSettings {
    /// Whether the answer says status, headers and body.
    pub is_proxy_integration: bool,
    /// Which rules hold for it.
    pub version: PayloadVersion,
    /// The status of an answer with `X-Amz-Function-Error: Unhandled`.
    pub unhandled_status: Option<StatusCode>,
    /// Whether empty arrays become empty objects, as Kong's decoder once made of them.
    pub empty_arrays_mode: EmptyArraysMode,
    /// Whether a refusal of the API keeps its status.
    pub preserve_lambda_api_error_code: bool,
}

words! {
    /// `empty_arrays_mode`.
    pub enum EmptyArraysMode {
        /// Bytes stay as they are.
        Correct = "correct",
        /// `[]` becomes `{}`.
        Legacy = "legacy",
    }
}

#[cfg(test)]
mod tests;
