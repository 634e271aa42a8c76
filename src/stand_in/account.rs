//! The account that a stand-in plays: what it was told, what it has issued, and who a request comes from.
//!
//! `stand_in.rs` makes one and hands it to each service with a request.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{
    answers::Refusal,
    functions::ReceivedRequest,
    issued::{Identity, IssuedKeys, Register},
    metadata::Sessions,
    verify::{self, Demand, VerifiedSignature},
};
use crate::stand_in::{Controls, Fault, options::StandInOptions};

/// All that a stand-in knows.
#[derive(Debug)]
pub struct Account {
    pub options: StandInOptions,
    /// What it is told while it runs.
    pub controls: Arc<Controls>,
    /// The sessions of its metadata service.
    pub metadata_sessions: Sessions,
    issued: Register,
}

impl Account {
    /// One that has issued nothing yet.
    pub fn new(options: StandInOptions) -> Self {
        Self {
            options,
            controls: Arc::default(),
            metadata_sessions: Sessions::default(),
            issued: Register::default(),
        }
    }

    /// Who has signed a request to a service.
    ///
    /// # Errors
    /// What AWS would refuse it for.
    pub fn caller(&self, call: &ReceivedRequest, service: &str) -> Result<Identity, Refusal> {
        let request = VerifiedSignature {
            method: call.method.as_str(),
            path: &call.path,
            query: &call.query,
            headers: &call.headers,
            body: &call.body,
        };
        if self.options.fault == Some(Fault::Expired) && call.headers.contains_key("authorization") {
            return Err(Refusal::ExpiredToken);
        }
        let keys = &self.options.keys;
        verify::verify(&request, &Demand { keys, issued: &self.issued, service, now: self.now() })
    }

    /// Hands out keys that end at the usual time.
    pub fn issue(&self, identity: Identity) -> IssuedKeys {
        self.issue_for(identity, self.options.life)
    }

    /// Hands out keys that live this long.
    pub fn issue_for(&self, identity: Identity, life: Duration) -> IssuedKeys {
        self.issued.issue(identity, self.now(), life)
    }

    /// Whatever it has been told or has handed out that nobody else may see.
    pub fn secrets(&self) -> Vec<String> {
        let keys = &self.options.keys;
        let mut secrets = vec![keys.api_key.clone(), keys.secret_access_key.clone()];
        secrets.extend(keys.session_token.clone());
        secrets.extend(self.issued.secrets());
        secrets.extend(self.metadata_sessions.tokens());
        secrets
    }

    pub fn now(&self) -> SystemTime {
        self.options.now()
    }
}
