//! The signature of a route: keys and time are taken for each request, and what AWS answers is told to both.
//!
//! `proxy/call.rs` has a request signed before each attempt, and hands in the head of what comes back.

use std::{
    error::Error,
    sync::Arc,
    time::{Duration, SystemTime},
};

use aws_credential_types::Credentials;

use crate::{
    client::UpstreamReply,
    credentials::CredentialSource,
    message::{
        error::{ErrorKind, ProxyError},
        outbound::OutboundRequest,
    },
    signing::{KeyOwner, Signer, SigningHeaders, clock_skew::ClockSkew, derived_keys::DerivedKeys},
};

/// The signature of a route.
#[derive(Debug)]
pub struct Signing {
    pub signer: Signer,
    /// The route's own keys; `None` where only keys of callers sign.
    pub credentials: Option<CredentialSource>,
    /// The derived keys of callers; `None` on a route that takes none of them.
    pub caller_keys: Option<DerivedKeys>,
    /// By this clock, which routes to the same endpoint share.
    pub clock: Arc<ClockSkew>,
}

/// The keys and the times of one signature.
#[derive(Debug)]
pub struct SignatureRecord {
    pub keys: Arc<Credentials>,
    pub owner: KeyOwner,
    /// The time by our clock.
    pub at: SystemTime,
    /// The time that the signature says.
    pub dated: SystemTime,
}

impl Signing {
    /// Signs a request as it is about to be sent, with the caller's keys or else the route's own. Waits for nothing but
    /// the very first keys of the route.
    ///
    /// # Errors
    /// There is nothing to sign with, or it does not fit into a header.
    pub async fn sign(
        &self,
        outbound: &OutboundRequest,
        caller: Option<&Arc<Credentials>>,
    ) -> Result<(SigningHeaders, SignatureRecord), ProxyError> {
        // the few seconds that the first keys may take are nothing to AWS
        let at = SystemTime::now();
        if let (Some(derived_keys), Some(keys)) = (&self.caller_keys, caller) {
            let dated = self.clock.corrected(at);
            let headers = self.signer.sign_for_caller(outbound, keys, derived_keys, dated);
            let headers = headers.map_err(unavailable)?;
            let keys = Arc::clone(keys);
            return Ok((headers, SignatureRecord { keys, owner: KeyOwner::Caller, at, dated }));
        }
        let Some(source) = &self.credentials else { return Err(unavailable("only keys of callers sign")) };
        let keys = source.current(at).await.map_err(unavailable)?;
        let dated = self.clock.corrected(at);
        let headers = self.signer.sign(outbound, &keys, dated).map_err(unavailable)?;
        Ok((headers, SignatureRecord { keys, owner: KeyOwner::Route, at, dated }))
    }

    /// Waits at most `limit` for keys that replace those that AWS refused; true if there are such keys.
    pub async fn has_newer_keys(&self, refused: &SignatureRecord, limit: Duration) -> bool {
        match &self.credentials {
            Some(source) if refused.owner == KeyOwner::Route => source.newer_than(&refused.keys, limit).await,
            _ => false,
        }
    }

    /// The route's own keys that AWS calls expired are fetched anew, whatever their own expiry says, and the time that
    /// AWS says is compared with ours. Whether the signature was refused for a wrong clock, which is now set right.
    pub fn observe_reply(&self, upstream: &UpstreamReply, used: &SignatureRecord) -> bool {
        if let Some(source) = self.credentials.as_ref().filter(|_| used.owner == KeyOwner::Route) {
            if upstream.is_refusal_for("ExpiredToken") {
                source.refresh_soon(&used.keys);
            } else if !upstream.status.is_client_error() && !upstream.status.is_server_error() {
                source.accepted(&used.keys);
            }
        }
        if is_refused_date(upstream) {
            return self.clock.refused(&upstream.headers, used.dated);
        }
        self.clock.observe(&upstream.headers, used.at);
        false
    }
}

fn unavailable(cause: impl Into<Box<dyn Error + Send + Sync>>) -> ProxyError {
    ProxyError::new(ErrorKind::CredentialsUnavailable, cause)
}

/// Whether AWS may have refused a signature for its date: API Gateway and Lambda have one word for all that is wrong
/// with a signature, STS and S3 have one for the clock.
fn is_refused_date(upstream: &UpstreamReply) -> bool {
    ["InvalidSignature", "SignatureDoesNotMatch", "RequestTimeTooSkewed"]
        .iter()
        .any(|kind| upstream.is_refusal_for(kind))
}
