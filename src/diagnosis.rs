//! Cause and cure of a call that AWS has refused, in one sentence for the log.
//!
//! `proxy/call.rs` keeps what was sent of a call that ends so ([`RefusedCall`]), which costs other calls
//! nothing; `proxy.rs` asks [`diagnose`] before the backend takes the refusal apart. A refused signature is
//! compared part by part where AWS says what it would have signed (`comparison.rs`); where it does not, its
//! word for the refusal and its sentence have to do (`sentences.rs`). Refusals for other reasons, such as an
//! API key or a quota, are in `denial.rs`. The client sees nothing of all this.

mod comparison;
mod denial;
mod sentences;

use std::{borrow::Cow, time::SystemTime};

use self::denial::Denial;
use actix_http::{
    StatusCode,
    header::{self, HeaderValue},
};
use aws_credential_types::Credentials;
use log::Level;

use crate::{
    client::aws_error::{AwsApi, error_type},
    client::{ReplyBody, UpstreamReply},
    message::{log_note::LogNote, outbound::OutboundRequest, redaction::key_id_end},
    signing::{
        Signer, SigningInput,
        explanation::{explanation, message, split},
    },
};

/// The header that carries an API key (API Gateway developer guide, API key sources).
const API_KEY: &str = "x-api-key";

/// Facts about a route that decide which advice fits it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Caller {
    /// The route has keys to sign with.
    pub signs: bool,
    /// The interface that is called, on which the keys of the route's settings depend.
    pub api: AwsApi,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum ApiKey {
    #[default]
    None,
    /// The route's `authorization.apikey`.
    OfRoute,
    /// One that the client sent.
    OfClient,
}

impl ApiKey {
    /// The route's own is marked as sensitive by `backend/api_gateway.rs`, a client's is not.
    fn of(request: &OutboundRequest) -> Self {
        match request.headers.get(API_KEY) {
            None => Self::None,
            Some(key) if key.is_sensitive() => Self::OfRoute,
            Some(_) => Self::OfClient,
        }
    }
}

/// A call that AWS has refused, as it went out.
#[derive(Debug, Default)]
pub struct RefusedCall {
    host: String,
    api_key: ApiKey,
    caller: Caller,
    /// True where the client has signed the call itself.
    is_signed_by_client: bool,
    /// There if the route has signed the call.
    signed: Option<SignedRequest>,
}

#[derive(Debug)]
pub struct Diagnosis {
    /// The label for the metric of refusals that are not about a signature; `None` for those that are.
    pub denial: Option<&'static str>,
    pub note: LogNote,
}

/// The parts of a signature that AWS's own are compared with.
#[derive(Debug)]
pub struct SignedRequest {
    signing_input: SigningInput,
    key_id: String,
    has_token: bool,
    host: String,
    region: String,
    service: String,
    dated: SystemTime,
}

/// AWS's reasons to refuse a proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    /// The signature is not the one that AWS computes, or not of the right time or place.
    Signature,
    /// `Authorization` is not as it should be.
    Incomplete,
    /// There is none, or the path or the method is unknown.
    Missing,
    /// The key's id is unknown, or its token is another's.
    UnknownKey,
    Expired,
}

impl Reason {
    /// By the names that API Gateway, Lambda and the services of the query protocol have for them.
    fn named(error_type: &str) -> Option<Self> {
        Some(match error_type.strip_suffix("Exception").unwrap_or(error_type) {
            "InvalidSignature" | "SignatureDoesNotMatch" | "RequestTimeTooSkewed" | "RequestExpired" => {
                Self::Signature
            }
            "IncompleteSignature" => Self::Incomplete,
            "MissingAuthenticationToken" => Self::Missing,
            "UnrecognizedClient" | "InvalidClientTokenId" | "InvalidAccessKeyId" => Self::UnknownKey,
            "ExpiredToken" => Self::Expired,
            _ => return None,
        })
    }

    fn of(reply: &UpstreamReply) -> Option<Self> {
        let is_refusal = matches!(
            reply.status,
            StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED | StatusCode::BAD_REQUEST
        );
        if is_refusal { error_type(&reply.headers).and_then(Self::named) } else { None }
    }
}

/// True for an answer whose head is a refusal that [`diagnose`] may have something to say about.
pub fn concerns(reply: &UpstreamReply) -> bool {
    Reason::of(reply).is_some() || Denial::of(reply).is_some()
}

impl RefusedCall {
    /// Takes down what was sent; `signed` is what the route's signature was made of.
    pub fn of(request: &OutboundRequest, signed: Option<SignedRequest>, caller: Caller) -> Self {
        let host = request.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let authorization = request.headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
        let is_signed = authorization.is_some_and(|value| value.starts_with(b"AWS4-"))
            || request.path_and_query.contains("X-Amz-Signature=");
        Self {
            host: host.to_owned(),
            api_key: ApiKey::of(request),
            caller,
            is_signed_by_client: signed.is_none() && is_signed,
            signed,
        }
    }
}

impl SignedRequest {
    /// Of a request as it was before it was signed, with the keys and the time of its signature.
    pub fn of(request: &OutboundRequest, signer: &Signer, keys: &Credentials, dated: SystemTime) -> Self {
        let host = request.headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or_default();
        let scope = signer.scope();
        Self {
            signing_input: signer.signing_input(request, keys.session_token(), dated),
            key_id: keys.access_key_id().to_owned(),
            has_token: keys.session_token().is_some(),
            host: host.to_owned(),
            region: scope.region.clone(),
            service: scope.service.clone(),
            dated,
        }
    }

    /// The key's last characters, by which people know it.
    fn key(&self) -> &str {
        key_id_end(&self.key_id)
    }
}

/// The cause and the cure of a refusal, or `None` for any other answer.
pub fn diagnose(reply: &UpstreamReply, call: &RefusedCall) -> Option<Diagnosis> {
    let body: &[u8] = if let ReplyBody::Whole(body) = &reply.body { body } else { b"" };
    // AWS writes no other
    let body = str::from_utf8(body).unwrap_or_default();
    let (denial, text) = match Reason::of(reply) {
        Some(reason) => (None, refused_signature(reason, reply, body, call)),
        None => {
            let denial = Denial::of(reply)?;
            (Some(denial.label()), denial.sentence(body, call)?)
        }
    };
    Some(Diagnosis { denial, note: LogNote { level: Level::Warn, text } })
}

fn refused_signature(reason: Reason, reply: &UpstreamReply, body: &str, call: &RefusedCall) -> String {
    let text = message(body).map_or(Cow::Borrowed(body), Cow::Owned);
    match (&call.signed, explanation(&text)) {
        (Some(signed_request), Some((canonical, string_to_sign))) => {
            comparison::told(signed_request, canonical, string_to_sign)
        }
        // an explanation that is cut, or half a one, is not for this line: it repeats what was sent
        (Some(signed_request), None) => {
            sentences::told(reason, split(&text).0, &reply.headers, signed_request, call.caller)
        }
        (None, _) => sentences::unsigned(reason, call.caller),
    }
}
