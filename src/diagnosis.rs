//! What was wrong with a signature that AWS has refused, in one sentence for the log.
//!
//! `proxy/call.rs` keeps what was signed of a call that ends so ([`Evidence`]), which costs other calls nothing; `proxy.rs`
//! asks [`remarks`] before the backend takes the refusal apart. Where AWS says what it would have signed, that is compared
//! part by part (`comparison.rs`); where it does not, its word for the refusal and its sentence have to do
//! (`sentences.rs`). The client sees nothing of all this.

mod comparison;
mod sentences;

use std::{borrow::Cow, time::SystemTime};

pub use self::sentences::region_in;
use actix_http::StatusCode;
use aws_credential_types::Credentials;
use log::Level;

use crate::{
    backend::{
        signature_refusal::{explanation, message, split},
        verdict::error_type,
    },
    client::{ReplyBody, UpstreamReply},
    proxy::outbound::OutboundRequest,
    remark::Remark,
    signing::{Draft, Signer},
};

/// What was signed.
#[derive(Debug)]
pub struct Evidence {
    draft: Draft,
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
    /// The keys have expired.
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

/// Whether an answer with this head is AWS's refusal of a proof.
pub fn concerns(reply: &UpstreamReply) -> bool {
    Reason::of(reply).is_some()
}

impl Evidence {
    /// Of a request as it was before it was signed, with the keys and the time of its signature.
    pub fn of(request: &OutboundRequest, signer: &Signer, keys: &Credentials, dated: SystemTime) -> Self {
        let host = request.headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or_default();
        let scope = signer.scope();
        Self {
            draft: signer.draft(request, keys.session_token(), dated),
            key_id: keys.access_key_id().to_owned(),
            has_token: keys.session_token().is_some(),
            host: host.to_owned(),
            region: scope.region.clone(),
            service: scope.service.clone(),
            dated,
        }
    }

    /// The key's last characters, by which people know it.
    fn key(&self) -> String {
        let skipped = self.key_id.chars().count().saturating_sub(4);
        self.key_id.chars().skip(skipped).collect()
    }
}

/// What the operator should know about an answer: nothing, unless it is a refusal of a proof. `evidence` is there if the
/// route has signed the call.
pub fn remarks(reply: &UpstreamReply, evidence: Option<&Evidence>) -> Vec<Remark> {
    let Some(reason) = Reason::of(reply) else { return Vec::new() };
    let body: &[u8] = if let ReplyBody::Whole(body) = &reply.body { body } else { b"" };
    // AWS writes no other
    let body = str::from_utf8(body).unwrap_or_default();
    let text = message(body).map_or(Cow::Borrowed(body), Cow::Owned);
    let told = match (evidence, explanation(&text)) {
        (Some(evidence), Some((canonical, string_to_sign))) => {
            comparison::told(evidence, canonical, string_to_sign)
        }
        // an explanation that is cut, or half a one, is not for this line: it repeats what was sent
        (Some(evidence), None) => sentences::told(reason, split(&text).0, &reply.headers, evidence),
        (None, _) => sentences::unsigned(reason),
    };
    vec![Remark { level: Level::Warn, text: told }]
}
