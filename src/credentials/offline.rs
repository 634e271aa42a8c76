//! A route's keys as far as they are known without a call: for `explain`, which sends nothing.
//!
//! `fetch.rs` says what is configured; where the keys themselves stand there, they are at hand.

use aws_credential_types::Credentials;
use aws_types::os_shim_internal::Env;

use super::{
    fetch, source_name,
    status::{CredentialState, Status},
};
use crate::settings::CredentialSettings;

/// A source, and the keys that are at hand.
#[derive(Debug)]
pub struct OfflineCredentials {
    pub source: String,
    /// The keys, unless somebody would have to be asked for them.
    pub keys: Option<Credentials>,
}

/// Looks at settings, environment and files, and at nothing else.
pub async fn known_offline(source: &CredentialSettings) -> OfflineCredentials {
    match fetch::choice(source, &Env::real()).await {
        Ok(choice) => {
            // a role's keys are STS's to give
            let keys = choice.known().filter(|_| source.role.is_none()).cloned();
            OfflineCredentials { source: source_name::name(source, Some(&*choice)), keys }
        }
        Err(reason) => {
            let status = Status {
                source: source_name::name(source, None),
                state: CredentialState::Unavailable { reason },
            };
            OfflineCredentials { source: status.to_string(), keys: None }
        }
    }
}
