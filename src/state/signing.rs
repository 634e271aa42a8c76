//! The signature of a route: keys and time are taken for each request, and what AWS answers is told to both.
//!
//! `proxy/call.rs` has a request signed before each attempt, and hands in the head of what comes back.

use std::{sync::Arc, time::SystemTime};

use aws_credential_types::Credentials;

use crate::{
    client::UpstreamReply,
    credentials::CredentialSource,
    message::{
        error::{ErrorKind, ProxyError},
        outbound::OutboundRequest,
    },
    signing::{Signer, SigningHeaders, clock_skew::ClockSkew},
};

/// The signature of a route.
#[derive(Debug)]
pub struct Signing {
    pub signer: Signer,
    pub credentials: CredentialSource,
    /// By this clock, which routes to the same endpoint share.
    pub clock: Arc<ClockSkew>,
}

/// The keys and the times of one signature.
#[derive(Debug)]
pub struct SignatureRecord {
    pub keys: Arc<Credentials>,
    /// The time by our clock.
    pub at: SystemTime,
    /// The time that the signature says.
    pub dated: SystemTime,
}

impl Signing {
    /// Signs a request as it is about to be sent, and says with what. Waits for nothing but the very first keys.
    ///
    /// # Errors
    /// There is nothing to sign with, or it does not fit into a header.
    pub async fn sign(
        &self,
        outbound: &OutboundRequest,
    ) -> Result<(SigningHeaders, SignatureRecord), ProxyError> {
        let unavailable = |cause: String| ProxyError::new(ErrorKind::CredentialsUnavailable, cause);
        // the few seconds that the first keys may take are nothing to AWS
        let at = SystemTime::now();
        let keys = self.credentials.current(at).await;
        let keys = keys.map_err(|cause| unavailable(cause.to_string()))?;
        let dated = self.clock.corrected(at);
        let headers = self.signer.sign(outbound, &keys, dated);
        let headers = headers.map_err(|cause| unavailable(cause.to_string()))?;
        Ok((headers, SignatureRecord { keys, at, dated }))
    }

    /// Keys that AWS calls expired are fetched anew, whatever their own expiry says, and the time that AWS says is
    /// compared with ours. Whether the signature was refused for a wrong clock, which is now set right.
    pub fn observe_reply(&self, upstream: &UpstreamReply, used: &SignatureRecord) -> bool {
        if upstream.is_refusal_for("ExpiredToken") {
            self.credentials.refresh_soon(&used.keys);
        } else if !upstream.status.is_client_error() && !upstream.status.is_server_error() {
            self.credentials.accepted(&used.keys);
        }
        if is_refused_date(upstream) {
            return self.clock.refused(&upstream.headers, used.dated);
        }
        self.clock.observe(&upstream.headers, used.at);
        false
    }
}

/// Whether AWS may have refused a signature for its date: API Gateway and Lambda have one word for all that is wrong
/// with a signature, STS and S3 have one for the clock.
fn is_refused_date(upstream: &UpstreamReply) -> bool {
    ["InvalidSignature", "SignatureDoesNotMatch", "RequestTimeTooSkewed"]
        .iter()
        .any(|kind| upstream.is_refusal_for(kind))
}
