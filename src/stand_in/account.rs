//! The account of a stand-in: its options, the keys that it issued, and the identity behind a request.

use std::{
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use super::{
    answers::GatewayError,
    functions::ReceivedRequest,
    issued::{IssuedKeys, KeyRegister, Principal},
    metadata::Sessions,
    played::Played,
    runtime::Functions,
    verify::Verifier,
};
use crate::stand_in::{Controls, Fault, StandInKeys};

/// Default pause between two words; slow enough to see them arrive.
const WORDS_PAUSE: Duration = Duration::from_millis(300);
/// "The default is one hour" (`AssumeRole`, STS API reference, `DurationSeconds`).
const LIFE: Duration = Duration::from_hours(1);

#[derive(Debug, Clone)]
pub struct StandInOptions {
    pub keys: StandInKeys,
    /// Seconds by which the stand-in's clock is ahead.
    pub clock_ahead: i64,
    /// Pause between two words of the function `words`.
    pub words_pause: Duration,
    /// Life of issued keys. Below AWS's minimum of 15 minutes it overrides `DurationSeconds`, so that tests
    /// need not wait for an expiry.
    pub life: Duration,
    /// The `ExternalId` that `AssumeRole` requires.
    pub external_id: Option<String>,
    /// The directory that `credentials::environment` writes to. Only the tokens in its files are valid;
    /// without a directory none is.
    pub tokens: Option<PathBuf>,
    /// The certificate of the authority, in DER, that IAM Roles Anywhere trusts; without it none.
    pub trust_anchor: Option<Vec<u8>>,
    /// The fault of every signed call.
    pub fault: Option<Fault>,
    /// The functions that run on this machine.
    pub functions: Option<Functions>,
}

impl StandInOptions {
    /// The defaults, with these keys.
    pub fn new(keys: StandInKeys) -> Self {
        Self {
            keys,
            clock_ahead: 0,
            words_pause: WORDS_PAUSE,
            life: LIFE,
            external_id: None,
            tokens: None,
            trust_anchor: None,
            fault: None,
            functions: None,
        }
    }

    #[must_use]
    pub fn with_fault(self, fault: Fault) -> Self {
        Self { keys: fault.keys(self.keys), clock_ahead: fault.clock_ahead(), fault: Some(fault), ..self }
    }
}

/// The state of a stand-in.
#[derive(Debug)]
pub struct Account {
    pub options: StandInOptions,
    pub controls: Arc<Controls>,
    /// The session tokens of the metadata service.
    pub metadata_sessions: Sessions,
    /// The hosts of the user's own settings; `None` without those.
    played: RwLock<Option<Arc<Played>>>,
    issued: KeyRegister,
}

impl Account {
    pub fn new(options: StandInOptions) -> Self {
        Self {
            options,
            controls: Arc::default(),
            metadata_sessions: Sessions::default(),
            played: RwLock::default(),
            issued: KeyRegister::default(),
        }
    }

    /// The hosts of the user's own settings.
    pub fn played(&self) -> Option<Arc<Played>> {
        self.played.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Plays these hosts from now on.
    pub fn play(&self, played: Played) {
        *self.played.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(played));
    }

    /// Verifies a request to a service in the region of the keys, and returns its signer.
    ///
    /// # Errors
    /// AWS's refusal.
    pub fn caller(&self, call: &ReceivedRequest, service: &str) -> Result<Principal, GatewayError> {
        self.caller_in(call, service, &self.options.keys.region)
    }

    /// Verifies a request to a service in a region, and returns its signer.
    ///
    /// # Errors
    /// AWS's refusal.
    pub fn caller_in(
        &self,
        call: &ReceivedRequest,
        service: &str,
        region: &str,
    ) -> Result<Principal, GatewayError> {
        if self.options.fault == Some(Fault::Expired) && call.headers.contains_key("authorization") {
            return Err(GatewayError::ExpiredToken);
        }
        let (service, region) = match self.options.fault {
            Some(Fault::Region) => (service, &*self.options.keys.region),
            Some(Fault::Service) => (&*self.options.keys.service, region),
            _ => (service, region),
        };
        self.verifier(service, region).verify(call)
    }

    pub fn verifier<'a>(&'a self, service: &'a str, region: &'a str) -> Verifier<'a> {
        Verifier { keys: &self.options.keys, issued: &self.issued, service, region, now: self.now() }
    }

    /// Issues keys with the usual life.
    pub fn issue(&self, identity: Principal) -> IssuedKeys {
        self.issue_for(identity, self.options.life)
    }

    pub fn issue_for(&self, identity: Principal, life: Duration) -> IssuedKeys {
        self.issued.issue(identity, self.now(), life)
    }

    /// All secrets and tokens, given or issued.
    pub fn secrets(&self) -> Vec<String> {
        let keys = &self.options.keys;
        let mut secrets = vec![keys.api_key.clone(), keys.secret_access_key.clone()];
        secrets.extend(keys.session_token.clone());
        secrets.extend(self.issued.secrets());
        secrets.extend(self.metadata_sessions.tokens());
        secrets
    }

    /// The stand-in's clock.
    pub fn now(&self) -> SystemTime {
        let offset = Duration::from_secs(self.options.clock_ahead.unsigned_abs());
        if self.options.clock_ahead < 0 { SystemTime::now() - offset } else { SystemTime::now() + offset }
    }
}
