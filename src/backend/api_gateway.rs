//! Backend for an API Gateway endpoint or a Function URL, modelled on Apache APISIX's `aws-lambda` plugin.
//!
//! The path after the route's prefix is appended to `function_uri`, query and headers are forwarded, and the
//! API key is sent in `x-api-key`. The response is passed on without its hop-by-hop headers.

mod fault;
mod object_store_refusal;
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
        error::{ErrorKind, ProxyError},
        inbound::{BodyMode, InboundRequest},
        outbound::{OutboundRequest, Signature, SignedPayload},
    },
    settings::{ApiGatewaySettings, ClientAuthorization, PayloadSigning, service},
    signing::UNSIGNED_TRAILER,
    text::{
        header_names::{ClientProofs, is_aws_proof},
        signing_rules::{self, SigningRules},
    },
};

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const CONTENT_SHA256: HeaderName = HeaderName::from_static("x-amz-content-sha256");
/// The start of the words for `aws-chunked` bodies. All but [`UNSIGNED_TRAILER`] stand for signed chunks.
const STREAMING: &[u8] = b"STREAMING-";
/// The names of the trailers behind an `aws-chunked` body.
const TRAILER: HeaderName = HeaderName::from_static("x-amz-trailer");

#[derive(Debug)]
pub struct ApiGateway {
    target: UpstreamTarget,
    settings: Arc<ApiGatewaySettings>,
    api_key: Option<HeaderValue>,
    client_auth: ClientAuth,
    /// The rules of the service that the route signs for.
    rules: Option<SigningRules>,
    payload: SignedPayload,
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

impl ClientAuth {
    fn proofs(self, rules: Option<SigningRules>) -> ClientProofs {
        match (self, rules) {
            (Self::Forward | Self::Prefer, _) => ClientProofs::Pass,
            (Self::Remove, Some(rules)) if rules.is_object_store => ClientProofs::DropAllButPayload,
            (Self::Remove, _) => ClientProofs::Drop,
        }
    }
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
        let rules = scope.as_ref().map(|scope| signing_rules::of(&scope.service));
        let signs_payload =
            authorization.iam.as_ref().is_none_or(|iam| iam.payload == PayloadSigning::Signed);
        let target = UpstreamTarget {
            endpoint,
            authority: uri.host_header(),
            timeouts: settings.upstream.timeouts,
            body_mode: match rules {
                None => BodyMode::Streamed,
                Some(_) if signs_payload => BodyMode::Buffered,
                Some(rules) if rules.is_object_store => BodyMode::StreamedWithLength,
                Some(_) => BodyMode::StreamedAlways,
            },
            max_request_body: settings.max_req_body_size.bytes(),
            client_proofs: client_auth.proofs(rules),
            api: Some(match rules {
                Some(rules) if rules.is_object_store => AwsApi::ObjectStore,
                _ => AwsApi::Gateway,
            }),
            has_doubtful_scope: scope
                .as_ref()
                .is_some_and(|scope| !service::doubts(&uri.host, &scope.region, &scope.service).is_empty()),
            scope,
        };
        let api_key = authorization.apikey.as_ref().map(api_key);
        let payload = if signs_payload { SignedPayload::Hash } else { SignedPayload::Unsigned };
        Self { target, settings: Arc::clone(settings), api_key, client_auth, rules, payload }
    }

    /// The signer of a request with these headers of the client.
    fn signature(&self, headers: &HeaderMap) -> Signature {
        let prefers_clients = self.client_auth == ClientAuth::Prefer;
        if prefers_clients && headers.contains_key(header::AUTHORIZATION) {
            Signature::Clients
        } else {
            Signature::Ours
        }
    }

    /// Adds the route's API key, unless the client has one and may.
    fn authorize(&self, headers: &mut HeaderMap) {
        if self.client_auth == ClientAuth::Prefer && headers.contains_key(API_KEY) {
            return;
        }
        if let Some(key) = &self.api_key {
            headers.insert(API_KEY, key.clone());
        }
    }

    /// The payload that the route's signature covers: an `aws-chunked` body remains as it is for a service
    /// that decodes it.
    ///
    /// # Errors
    /// The client has signed the chunks, with the signature that the route's replaces.
    fn signed_payload(&self, rules: SigningRules, headers: &HeaderMap) -> Result<SignedPayload, ProxyError> {
        if !rules.is_object_store {
            return Ok(self.payload);
        }
        match headers.get(CONTENT_SHA256).map(HeaderValue::as_bytes) {
            Some(payload) if payload == UNSIGNED_TRAILER.as_bytes() => Ok(SignedPayload::UnsignedTrailer),
            Some(payload) if payload.starts_with(STREAMING) => Err(ErrorKind::ChunksSigned.into()),
            // an SDK without keys leaves the header out
            None if headers.contains_key(TRAILER) => Ok(SignedPayload::UnsignedTrailer),
            _ => Ok(self.payload),
        }
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
        let headers = &mut inbound.headers;
        let signature = self.signature(headers);
        // a target that the client has signed is forwarded byte for byte
        let rules = self.rules.filter(|_| signature == Signature::Ours);
        let payload = rules.map(|rules| self.signed_payload(rules, headers)).transpose()?;
        let payload = payload.unwrap_or_default();
        self.authorize(headers);
        if payload == SignedPayload::UnsignedTrailer {
            headers.insert(CONTENT_SHA256, HeaderValue::from_static(UNSIGNED_TRAILER));
        } else if rules.is_some_and(|rules| rules.is_object_store) {
            headers.remove(CONTENT_SHA256);
        }
        let path_form = rules.map(|rules| rules.path);
        let path_and_query = request_target(&self.settings.function_uri, &inbound, path_form)?;
        let InboundRequest { method, mut headers, body, .. } = inbound;
        headers.insert(header::HOST, self.target.authority.clone());
        Ok(OutboundRequest { method, path_and_query, headers, body, signature, payload })
    }

    /// A status may also come from the function behind the API, which has then run. API Gateway marks its own
    /// responses with `x-amzn-ErrorType` (API Gateway developer guide, "Gateway response types"). HTTP APIs
    /// never send it, so the source of their responses is unknown.
    fn verdict(&self, upstream: &UpstreamReply) -> Verdict {
        let is_for = |known: fn(&str) -> bool| error_type(&upstream.headers).is_some_and(known);
        match upstream.status {
            StatusCode::FORBIDDEN if is_for(is_expiry) => Verdict::KeysExpired,
            // Amazon S3 (its API reference, "List of error codes")
            StatusCode::BAD_REQUEST if upstream.xml_code().is_some_and(|code| code == "ExpiredToken") => {
                Verdict::KeysExpired
            }
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
        match self.rules {
            Some(rules) if rules.is_object_store => object_store_refusal::reply_mode(upstream),
            Some(_) => refusal::reply_mode(upstream),
            None => refusal::reply_mode_unsigned(upstream),
        }
    }

    fn reply(&self, mut upstream: UpstreamReply) -> Result<ClientReply, ProxyError> {
        let mut notes = match self.rules {
            Some(rules) if rules.is_object_store => {
                object_store_refusal::without_secrets(&mut upstream);
                Vec::new()
            }
            Some(_) => refusal::without_explanation(&mut upstream),
            None => Vec::new(),
        };
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
