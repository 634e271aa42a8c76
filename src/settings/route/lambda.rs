//! The section `lambda` of a route. Names and defaults are those of Kong's `aws-lambda` plugin.

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

/// The endpoint of the Lambda API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LambdaEndpoint {
    pub scheme: Scheme,
    /// Name or address; an IPv6 address has no brackets.
    pub host: String,
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
        /// Waits for the function's response.
        RequestResponse = "RequestResponse",
        /// Queues the event.
        Event = "Event",
        /// Checks parameters and permissions without running the function.
        DryRun = "DryRun",
    }
}

words! {
    /// `X-Amz-Log-Type`.
    pub enum LogType {
        /// The response contains the last 4 KB of the function's log.
        Tail = "Tail",
        /// The response contains no log.
        None = "None",
    }
}

words! {
    /// The Invoke API that is called.
    pub enum InvokeMode {
        /// `Invoke`: the response arrives as a whole.
        Buffered = "buffered",
        /// `InvokeWithResponseStream`: the response is streamed.
        ResponseStream = "response_stream",
    }
}

/// The event of a call, in Kong's order of precedence.
#[derive(Debug, Clone, PartialEq)]
pub enum PayloadSettings {
    /// `awsgateway_compatible`: an API Gateway proxy event.
    Gateway(GatewayEvent),
    /// `forward_request_*`: the selected parts of the request.
    Forward(ForwardedParts),
    /// Otherwise: query arguments and body merged into one object.
    Merge {
        /// The object that both are merged into, as in Kong's prototype; query arguments then override the
        /// body.
        body: Option<serde_json::Map<String, serde_json::Value>>,
    },
}

/// The version of an API Gateway proxy event and its response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayloadVersion {
    /// REST APIs.
    V1,
    /// HTTP APIs and Function URLs.
    V2,
}

/// An API Gateway proxy event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayEvent {
    pub version: PayloadVersion,
    /// Bodies are base64-encoded: all in 1.0, and in 2.0 those whose type is not text for API Gateway.
    /// Without it, only bodies that are not UTF-8.
    pub base64_encode_body: bool,
    /// The route or `defaults` sets `base64_encode_body`.
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

impl GatewayEvent {
    /// True if header names keep their case, as in events of REST APIs.
    pub fn keeps_spelling(&self) -> bool {
        self.version == PayloadVersion::V1
    }
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
    /// `request_body`, `request_body_args` and, for base64, `request_body_base64`.
    pub body: bool,
    /// Bodies whose type is not text are base64-encoded. Without it, only bodies that are not UTF-8.
    pub base64_encode_body: bool,
}

/// The conversion of a function's response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnswerSettings {
    /// The response contains status, headers and body.
    pub is_proxy_integration: bool,
    /// The version of the response's format.
    pub version: PayloadVersion,
    /// The status for `X-Amz-Function-Error: Unhandled`.
    pub unhandled_status: Option<StatusCode>,
    pub empty_arrays_mode: EmptyArraysMode,
    /// The client gets the status with which the Lambda API refuses a call.
    pub preserve_lambda_api_error_code: bool,
}

words! {
    /// `empty_arrays_mode`.
    pub enum EmptyArraysMode {
        /// Arrays stay unchanged.
        Correct = "correct",
        /// `[]` becomes `{}`, as in old versions of Kong.
        Legacy = "legacy",
    }
}

#[cfg(test)]
mod tests;
