//! An API Gateway endpoint or Function URL behind a route: Apache APISIX's `aws-lambda` plugin.
//!
//! The path after the route's prefix is appended to `function_uri`, the query and headers are forwarded, the
//! key goes into `x-api-key`. The answer passes as it is, but for what belongs to the connection.

mod fault;
mod refusal;
mod request_target;
mod verdict;

use std::sync::Arc;

use actix_http::header::{self, HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};

use self::request_target::request_target;
use super::{Backend, ClientReply, ReplyMode, UpstreamTarget, scope, verdict::Verdict};
use crate::{
    client::{Endpoint, UpstreamReply, aws_error::AwsApi},
    message::{
        error::ProxyError,
        headers,
        inbound::{BodyMode, InboundRequest},
        outbound::{OutboundRequest, Signature},
    },
    settings::{ApiGatewaySettings, ClientAuthorization, FunctionUri},
    text::header_names::AWS_PROOFS,
};

/// The headers by which AWS recognises a caller. `peers.md` A08, A09, S14: a client that may send them can
/// take the place of the route's identity, or break its signature.
const CLIENT_PROOFS: [HeaderName; 5] = {
    let [api_key, authorization, hash, date, token] = AWS_PROOFS;
    [
        HeaderName::from_static(api_key),
        HeaderName::from_static(authorization),
        HeaderName::from_static(hash),
        HeaderName::from_static(date),
        HeaderName::from_static(token),
    ]
};
const API_KEY: HeaderName = HeaderName::from_static(AWS_PROOFS[0]);

/// The backend of a route with `api_gateway`.
#[derive(Debug)]
pub struct ApiGateway {
    target: UpstreamTarget,
    function_uri: FunctionUri,
    api_key: Option<HeaderValue>,
    client_proofs: ClientProofs,
}

/// What becomes of the proofs that a client brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ClientProofs {
    /// The route proves nothing, so they are the client's own business.
    NotOurs,
    /// They are taken out.
    Replaced,
    /// They win.
    Win,
}

impl ApiGateway {
    pub fn new(settings: &ApiGatewaySettings, endpoint: Arc<Endpoint>) -> Self {
        let uri = &settings.function_uri;
        let authorization = &settings.authorization;
        let scope = scope(settings);
        let target = UpstreamTarget {
            endpoint,
            authority: uri.host_header(),
            timeouts: settings.upstream.timeouts,
            body_mode: if scope.is_some() { BodyMode::Buffered } else { BodyMode::Streamed },
            max_request_body: settings.max_req_body_size,
            api: Some(AwsApi::Gateway),
            scope,
        };
        let client_proofs = match settings.client_authorization {
            _ if authorization.is_none() => ClientProofs::NotOurs,
            ClientAuthorization::Replace => ClientProofs::Replaced,
            ClientAuthorization::Pass => ClientProofs::Win,
        };
        let api_key = authorization.apikey.as_ref().map(api_key);
        Self { target, function_uri: uri.clone(), api_key, client_proofs }
    }

    /// Puts the route's key in, and says whether the route's signature goes on.
    fn prove(&self, headers: &mut HeaderMap) -> Signature {
        let mut signature = Signature::Ours;
        match self.client_proofs {
            ClientProofs::NotOurs => {}
            ClientProofs::Replaced => {
                for name in &CLIENT_PROOFS {
                    headers.remove(name);
                }
            }
            ClientProofs::Win => {
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
        let signature = self.prove(&mut headers);
        // rewritten only to be signed: a query that a client has signed itself goes out byte for byte
        let rewrites_query = self.rewrites_query(signature);
        let path_and_query = request_target(&self.function_uri, &inbound, rewrites_query)?;
        headers.insert(header::HOST, self.target.authority.clone());
        Ok(OutboundRequest { method: inbound.method, path_and_query, headers, body: inbound.body, signature })
    }

    fn verdict(&self, upstream: &UpstreamReply) -> Verdict {
        verdict::verdict(upstream)
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
        let UpstreamReply { status, mut headers, body, prelude: _ } = upstream;
        headers::clean_reply(&mut headers);
        Ok(ClientReply { status, headers, body, length: None, notes })
    }

    fn rewrites_query(&self, signature: Signature) -> bool {
        self.target.scope.is_some() && signature == Signature::Ours
    }

    fn why_left_out(&self, name: &HeaderName, outbound: &HeaderMap) -> &'static str {
        if CLIENT_PROOFS.contains(name) {
            match self.client_proofs {
                ClientProofs::Win => "the route's signature replaces it",
                ClientProofs::NotOurs | ClientProofs::Replaced => {
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
