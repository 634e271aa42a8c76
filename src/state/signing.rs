//! The signing of a route's requests with current credentials and a corrected clock.
//!
//! `proxy/call.rs` signs before each attempt, and passes the response head back: AWS's refusals refresh the
//! credentials and correct the clock.

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
    signing::{
        KeyOwner, Signer, SigningHeaders, SigningInput, clock_skew::ClockSkew, derived_keys::DerivedKeys,
    },
    state::waiting::NamedSecrets,
};

/// Signer, credentials and clock of a route.
#[derive(Debug)]
pub struct Signing {
    /// Shared by routes with the same scope and credentials.
    pub signer: Arc<Signer>,
    /// The route's own keys; `None` if only keys of callers sign.
    pub credentials: Option<CredentialSource>,
    /// The derived keys of callers; `None` on a route without `client_credentials`.
    pub caller_keys: Option<Box<DerivedKeys>>,
    /// Shared by routes to the same endpoint.
    pub clock: Arc<ClockSkew>,
    /// The secrets in AWS that the route's settings name; `None` without any.
    pub secrets: Option<NamedSecrets>,
}

/// The credentials and times of one signature.
#[derive(Debug)]
pub struct SignatureRecord {
    pub keys: Arc<Credentials>,
    pub owner: KeyOwner,
    /// The time of this machine's clock.
    pub at: SystemTime,
    /// The corrected time that was signed.
    pub dated: SystemTime,
}

impl Signing {
    /// Signs a request right before it is sent, and returns the texts that were signed too. Signs
    /// with the keys of its caller or, without these, of the route.
    /// Waits only for the first credentials of the process.
    ///
    /// # Errors
    /// There are no credentials, or they do not fit into a header.
    pub async fn sign(
        &self,
        outbound: &OutboundRequest,
        caller: Option<&Arc<Credentials>>,
    ) -> Result<(SigningHeaders, SignatureRecord, SigningInput), ProxyError> {
        // AWS accepts a date of some seconds ago, so it may be taken before the first credentials arrive
        let at = SystemTime::now();
        if let (Some(derived_keys), Some(keys)) = (&self.caller_keys, caller) {
            let dated = self.clock.corrected(at);
            let headers = self.signer.sign_for_caller(outbound, keys, derived_keys, dated);
            let (headers, input) = headers.map_err(unavailable)?;
            let keys = Arc::clone(keys);
            return Ok((headers, SignatureRecord { keys, owner: KeyOwner::Caller, at, dated }, input));
        }
        let Some(source) = &self.credentials else { return Err(unavailable("only keys of callers sign")) };
        let keys = source.current(at).await.map_err(unavailable)?;
        let dated = self.clock.corrected(at);
        let (headers, input) = self.signer.sign_with_input(outbound, &keys, dated).map_err(unavailable)?;
        Ok((headers, SignatureRecord { keys, owner: KeyOwner::Route, at, dated }, input))
    }

    /// Waits at most `limit` for keys that replace those that AWS refused; true if there are such keys.
    /// Keys of callers are never replaced.
    pub async fn has_newer_keys(&self, refused: &SignatureRecord, limit: Duration) -> bool {
        match &self.credentials {
            Some(source) if refused.owner == KeyOwner::Route => source.newer_than(&refused.keys, limit).await,
            _ => false,
        }
    }

    /// Refreshes credentials of the route that AWS calls expired, also before their own expiry, and observes
    /// AWS's date. Returns true if AWS refused the signature because of the clock and the clock has been
    /// corrected.
    pub fn observe_reply(&self, upstream: &UpstreamReply, used: &SignatureRecord) -> bool {
        if let Some(source) = self.credentials.as_ref().filter(|_| used.owner == KeyOwner::Route) {
            if is_refused_token(upstream) {
                source.refresh_soon(&used.keys);
            } else if !upstream.status.is_client_error() && !upstream.status.is_server_error() {
                source.accepted(&used.keys);
            }
            if let Some(secrets) = self.secrets.as_ref().filter(|_| is_refused_key(upstream)) {
                secrets.refresh_soon();
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

/// True if AWS refused a key, which may have been replaced by another in the meantime.
fn is_refused_key(upstream: &UpstreamReply) -> bool {
    const REFUSALS: [&str; 5] = [
        "UnrecognizedClient",
        "InvalidClientTokenId",
        "InvalidAccessKeyId",
        "InvalidSignature",
        "SignatureDoesNotMatch",
    ];
    REFUSALS.iter().any(|kind| upstream.is_refusal_for(kind))
}

/// True if AWS calls the keys expired.
fn is_refused_token(upstream: &UpstreamReply) -> bool {
    upstream.is_refusal_for("ExpiredToken") || upstream.xml_code().is_some_and(|code| code == "ExpiredToken")
}

/// True if AWS may have refused a signature because of its date. API Gateway and Lambda have one error code
/// for all wrong signatures; STS and S3 have one for the clock, which S3 writes in the body.
fn is_refused_date(upstream: &UpstreamReply) -> bool {
    const SKEWED: &str = "RequestTimeTooSkewed";
    ["InvalidSignature", "SignatureDoesNotMatch", SKEWED].iter().any(|kind| upstream.is_refusal_for(kind))
        || upstream.xml_code().is_some_and(|code| code == SKEWED)
}
