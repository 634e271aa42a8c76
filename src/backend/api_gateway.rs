//! Backend for an API Gateway endpoint or a Function URL, modelled on Apache APISIX's `aws-lambda` plugin.
//!
//! The path after the route's prefix is appended to `function_uri`, query and headers are forwarded, and the
//! API key is sent in `x-api-key`. The response is passed on without its hop-by-hop headers.

mod fault;
mod refusal;
mod request_target;

use std::sync::Arc;

use actix_http::{
    StatusCode,
    header::{self, HeaderMap, HeaderName, HeaderValue},
};
use secrecy::{ExposeSecret, SecretString};

use self::request_target::request_target;
use super::{Backend, ClientReply, ReplyMode, UpstreamTarget, Verdict, scope};
use crate::{
    client::{
        Endpoint, UpstreamReply,
        aws_error::{AwsApi, error_type, is_expiry, is_throttling},
    },
    message::{
        error::ProxyError,
        inbound::{BodyMode, InboundRequest},
        outbound::{OutboundRequest, Signature},
    },
    settings::{ApiGatewaySettings, ClientAuthorization},
    text::header_names::is_aws_proof,
};

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

#[derive(Debug)]
pub struct ApiGateway {
    target: UpstreamTarget,
    settings: Arc<ApiGatewaySettings>,
    api_key: Option<HeaderValue>,
    client_auth: ClientAuth,
}

/// Handling of the headers by which AWS recognises a caller in a client's request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ClientAuth {
    /// Forwarded: the route has no authorization.
    Forward,
    /// Removed before the backend sees them.
    Remove,
    /// Forwarded instead of the route's authorization.
    Prefer,
}

impl ApiGateway {
    pub fn new(settings: &Arc<ApiGatewaySettings>, endpoint: Arc<Endpoint>) -> Self {
        let uri = &settings.function_uri;
        let authorization = &settings.authorization;
        let scope = scope(&**settings);
        let client_auth = match settings.client_authorization {
            _ if authorization.is_none() => ClientAuth::Forward,
            ClientAuthorization::Replace => ClientAuth::Remove,
            ClientAuthorization::Pass => ClientAuth::Prefer,
        };
        let target = UpstreamTarget {
            endpoint,
            authority: uri.host_header(),
            timeouts: settings.upstream.timeouts,
            body_mode: if scope.is_some() { BodyMode::Buffered } else { BodyMode::Streamed },
            max_request_body: settings.max_req_body_size,
            drops_proofs: client_auth == ClientAuth::Remove,
            api: Some(AwsApi::Gateway),
            scope,
        };
        let api_key = authorization.apikey.as_ref().map(api_key);
        Self { target, settings: Arc::clone(settings), api_key, client_auth }
    }

    /// Adds the route's API key and returns whose signature the request carries.
    fn authorize(&self, headers: &mut HeaderMap) -> Signature {
        let mut signature = Signature::Ours;
        match self.client_auth {
            ClientAuth::Forward | ClientAuth::Remove => {}
            ClientAuth::Prefer => {
                if headers.contains_key(header::AUTHORIZATION) {
                    signature = Signature::Clients;
                }
                if headers.contains_key(API_KEY) {
                    return signature;
                }
            }
        }
        if let Some(key) = &self.api_key {
            headers.insert(API_KEY, key.clone());
        }
        signature
    }
}

#[expect(clippy::expect_used, reason = "the settings take no key that is not visible ASCII")]
fn api_key(key: &SecretString) -> HeaderValue {
    let mut value = HeaderValue::from_str(key.expose_secret()).expect("a checked API key");
    value.set_sensitive(true);
    value
}

impl Backend for ApiGateway {
    fn target(&self) -> &UpstreamTarget {
        &self.target
    }

    fn request(&self, mut inbound: InboundRequest) -> Result<OutboundRequest, ProxyError> {
        let mut headers = std::mem::take(&mut inbound.headers);
        let signature = self.authorize(&mut headers);
        // a query that the client has signed is forwarded byte for byte
        let rewrites_query = self.rewrites_query(signature);
        let path_and_query = request_target(&self.settings.function_uri, &inbound, rewrites_query)?;
        headers.insert(header::HOST, self.target.authority.clone());
        Ok(OutboundRequest { method: inbound.method, path_and_query, headers, body: inbound.body, signature })
    }

    /// A status may also come from the function behind the API, which has then run. API Gateway marks its own
    /// responses with `x-amzn-ErrorType` (API Gateway developer guide, "Gateway response types"). HTTP APIs
    /// never send it, so the source of their responses is unknown.
    fn verdict(&self, upstream: &UpstreamReply) -> Verdict {
        let is_for = |known: fn(&str) -> bool| error_type(&upstream.headers).is_some_and(known);
        match upstream.status {
            StatusCode::FORBIDDEN if is_for(is_expiry) => Verdict::KeysExpired,
            StatusCode::TOO_MANY_REQUESTS if is_for(is_throttling) => Verdict::Throttled,
            // not 502: the function has run and its response is invalid for API Gateway
            StatusCode::INTERNAL_SERVER_ERROR
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
                if is_for(|_| true) =>
            {
                Verdict::Unavailable
            }
            _ => Verdict::Final,
        }
    }

    fn reply_mode(&self, upstream: &UpstreamReply) -> ReplyMode {
        if self.target.scope.is_some() {
            refusal::reply_mode(upstream)
        } else {
            refusal::reply_mode_unsigned(upstream)
        }
    }

    fn reply(&self, mut upstream: UpstreamReply) -> Result<ClientReply, ProxyError> {
        let signs = self.target.scope.is_some();
        let mut notes = if signs { refusal::without_explanation(&mut upstream) } else { Vec::new() };
        notes.extend(fault::note(&upstream));
        let UpstreamReply { status, headers, body, prelude: _ } = upstream;
        Ok(ClientReply { status, headers, body, length: None, notes })
    }

    fn rewrites_query(&self, signature: Signature) -> bool {
        self.target.scope.is_some() && signature == Signature::Ours
    }

    fn why_left_out(&self, name: &HeaderName, outbound: &HeaderMap) -> &'static str {
        if is_aws_proof(name.as_str()) {
            match self.client_auth {
                ClientAuth::Prefer => "the route's signature replaces it",
                ClientAuth::Forward | ClientAuth::Remove => {
                    "the route has its own authorization (client_authorization: replace)"
                }
            }
        } else if outbound.contains_key(name) {
            "the sidecar sets it itself"
        } else {
            "it is only for the sidecar"
        }
    }
}
