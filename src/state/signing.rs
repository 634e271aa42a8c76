//! The signing of a route's requests with current credentials and a corrected clock.
//!
//! `proxy/call.rs` signs before each attempt, and passes the response head back: AWS's refusals refresh the credentials
//! and correct the clock.

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

/// Signer, credentials and clock of a route.
#[derive(Debug)]
pub struct Signing {
    /// Shared by routes with the same scope and credentials.
    pub signer: Arc<Signer>,
    pub credentials: CredentialSource,
    /// Shared by routes to the same endpoint.
    pub clock: Arc<ClockSkew>,
}

/// The credentials and times of one signature.
#[derive(Debug)]
pub struct SignatureRecord {
    pub keys: Arc<Credentials>,
    /// The time of this machine's clock.
    pub at: SystemTime,
    /// The corrected time that was signed.
    pub dated: SystemTime,
}

impl Signing {
    /// Signs a request right before it is sent. Waits only for the first credentials of the process.
    ///
    /// # Errors
    /// There are no credentials, or they do not fit into a header.
    pub async fn sign(
        &self,
        outbound: &OutboundRequest,
    ) -> Result<(SigningHeaders, SignatureRecord), ProxyError> {
        let unavailable = |cause: String| ProxyError::new(ErrorKind::CredentialsUnavailable, cause);
        // AWS accepts a date of some seconds ago, so it may be taken before the first credentials arrive
        let at = SystemTime::now();
        let keys = self.credentials.current(at).await;
        let keys = keys.map_err(|cause| unavailable(cause.to_string()))?;
        let dated = self.clock.corrected(at);
        let headers = self.signer.sign(outbound, &keys, dated);
        let headers = headers.map_err(|cause| unavailable(cause.to_string()))?;
        Ok((headers, SignatureRecord { keys, at, dated }))
    }

    /// Refreshes credentials that AWS calls expired, also before their own expiry, and observes AWS's date. Returns
    /// true if AWS refused the signature because of the clock and the clock has been corrected.
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

/// True if AWS may have refused a signature because of its date. API Gateway and Lambda have one error code for all
/// wrong signatures; STS and S3 have one for the clock.
fn is_refused_date(upstream: &UpstreamReply) -> bool {
    ["InvalidSignature", "SignatureDoesNotMatch", "RequestTimeTooSkewed"]
        .iter()
        .any(|kind| upstream.is_refusal_for(kind))
}
