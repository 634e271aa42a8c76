//! Where the keys come from that sign a route's requests.
//!
//! `state/builder.rs` gets a [`CredentialSource`] for each route from the [`RefresherPool`], and `proxy.rs` asks it
//! for its current keys right before signing. Whatever goes wrong here, nothing goes out unsigned (envoy#47518): the
//! route answers 503 until there are keys again.
//!
//! ```text
//! chain.rs            the sources, and what is configured
//! refresher_pool.rs   one thread, one refresher each
//! refresher.rs        when to fetch, by schedule.rs
//! credential_cell.rs  what requests read
//! fetch.rs            one fetch of it; sts.rs, by aws_transport.rs
//! status.rs           what people read, of source_name.rs
//! mounted.rs          a route's own keys in files
//! profile_chain.rs    and process.rs: keys of profiles
//! identity.rs         whose keys they are
//! metadata.rs         and instance_keys.rs: keys of EC2
//! ```

mod aws_transport;
mod chain;
mod credential_cell;
#[cfg(test)]
mod fakes;
mod fetch;
mod identity;
mod instance_keys;
mod metadata;
mod mounted;
mod offline;
mod process;
mod profile_chain;
mod refresher;
mod refresher_pool;
mod schedule;
mod sdk_files;
mod shared_files;
mod source_name;
mod status;
mod sts;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use aws_credential_types::Credentials;

use self::{credential_cell::User, refresher_pool::SharedSource};
pub use self::{
    identity::CallerUnknown,
    offline::{OfflineCredentials, known_offline},
    refresher_pool::{FetchAttempt, RefresherPool, sts_endpoint, try_once},
    status::{CallerIdentity, CredentialState, Ready, Status},
};
use crate::text::key_source::KeyOrigin;

/// How long a request waits for the very first fetch of its source.
const FIRST_FETCH_LIMIT: Duration = Duration::from_secs(5);

/// The keys of one source; clones are the same source.
#[derive(Debug, Clone)]
pub struct CredentialSource {
    kind: Kind,
    /// The route that has this handle, for the log.
    _user: Option<Arc<User>>,
}

#[derive(Debug, Clone)]
enum Kind {
    /// Keys that stand in the settings and never change.
    Fixed(Arc<Credentials>),
    /// Keys that are kept fresh.
    Shared(Arc<SharedSource>),
}

/// A source has no keys to give.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no credentials: {0}")]
pub struct CredentialsUnavailable(String);

impl CredentialsUnavailable {
    /// Says why, without any secret.
    pub fn because(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

impl CredentialSource {
    /// Keys that never change.
    pub fn fixed(credentials: Arc<Credentials>) -> Self {
        Self { kind: Kind::Fixed(credentials), _user: None }
    }

    /// The same number for all that sign with the same keys, as long as one of them is there.
    pub fn address(&self) -> usize {
        match &self.kind {
            Kind::Fixed(credentials) => Arc::as_ptr(credentials).addr(),
            Kind::Shared(shared) => Arc::as_ptr(shared).addr(),
        }
    }

    fn shared(shared: Arc<SharedSource>) -> Self {
        Self { kind: Kind::Shared(shared), _user: None }
    }

    /// The same, named as that of a route in the lines on its keys.
    #[must_use]
    pub fn used_by(self, route: &Arc<str>) -> Self {
        let user = match &self.kind {
            Kind::Fixed(_) => None,
            Kind::Shared(shared) => Some(Arc::new(User::of(&shared.cell, route))),
        };
        Self { _user: user, ..self }
    }

    /// The keys to sign with now. Waits for the very first fetch alone, and no longer than five seconds.
    ///
    /// # Errors
    /// There are none that have not expired, for the reason given.
    pub async fn current(&self, now: SystemTime) -> Result<Arc<Credentials>, CredentialsUnavailable> {
        match &self.kind {
            Kind::Fixed(credentials) => Ok(Arc::clone(credentials)),
            Kind::Shared(shared) => shared.cell.current(now, FIRST_FETCH_LIMIT).await,
        }
    }

    /// Notes that AWS has accepted these keys, for the pace at which refused ones are replaced.
    pub fn accepted(&self, used: &Arc<Credentials>) {
        if let Kind::Shared(shared) = &self.kind {
            shared.cell.accepted(used);
        }
    }

    /// Asks for new keys because AWS refused these as expired; once for each set, and without waiting.
    pub fn refresh_soon(&self, refused: &Credentials) {
        if let Kind::Shared(shared) = &self.kind {
            shared.cell.refresh_soon(refused);
        }
    }

    /// Waits until there are other keys than those that AWS has refused, no longer than `limit`; whether there are.
    pub async fn newer_than(&self, refused: &Credentials, limit: Duration) -> bool {
        match &self.kind {
            Kind::Fixed(_) => false,
            Kind::Shared(shared) => shared.cell.newer_than(refused, limit).await,
        }
    }

    /// How often its keys could not be fetched so far.
    pub fn refresh_failures(&self) -> u64 {
        match &self.kind {
            Kind::Fixed(_) => 0,
            Kind::Shared(shared) => shared.cell.failures(),
        }
    }

    pub fn status(&self, now: SystemTime) -> Status {
        match &self.kind {
            Kind::Fixed(credentials) => Status {
                source: KeyOrigin::Settings.to_string(),
                state: CredentialState::Ready(Ready::of(credentials, None, None)),
            },
            Kind::Shared(shared) => shared.cell.status(now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_rt::test]
    async fn keys_of_the_settings_are_just_there() {
        let keys = Credentials::new("AKIDEXAMPLE", "hush", None, None, "settings");
        let source = CredentialSource::fixed(Arc::new(keys));
        let keys = source.current(SystemTime::now()).await.unwrap();
        assert_eq!(keys.access_key_id(), "AKIDEXAMPLE");
        source.refresh_soon(&keys);
        let status = source.status(SystemTime::now()).to_string();
        assert_eq!(status, "keys from the settings, access key ending in MPLE, without expiry");
    }

    #[test]
    fn debug_shows_neither_secret_nor_token() {
        let keys =
            Credentials::new("AKIDEXAMPLE", "hush-secret", Some("hush-token".into()), None, "settings");
        let source = CredentialSource::fixed(Arc::new(keys));
        let shown = format!("{source:?}");
        assert!(!shown.contains("hush"), "{shown}");
    }
}
