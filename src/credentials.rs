//! Where the keys come from that sign a route's requests.
//!
//! `state/builder.rs` gets a [`CredentialSource`] for each route from the [`Keeper`], and `proxy.rs` asks it for its
//! current keys right before signing. Whatever goes wrong here, nothing goes out unsigned (envoy#47518): the route
//! answers 503 until there are keys again.
//!
//! ```text
//! chain.rs       the sources, and what is configured
//! keeper.rs      one thread, one refresher each     fetch.rs       one fetch of it
//! refresher.rs   when to fetch, by schedule.rs      sts.rs, by way.rs
//! slot.rs        what requests read                 status.rs      what people read, of source_name.rs
//! mounted.rs     a route's own keys in files        profile_chain.rs, process.rs of profiles
//! identity.rs    whose keys they are                metadata.rs, instance_keys.rs of EC2
//! ```

mod at_hand;
mod chain;
#[cfg(test)]
mod fakes;
mod fetch;
mod identity;
mod instance_keys;
mod keeper;
mod metadata;
mod mounted;
mod process;
mod profile_chain;
mod refresher;
mod schedule;
mod sdk_files;
mod shared_files;
mod slot;
mod source_name;
mod status;
mod sts;
mod way;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use aws_credential_types::Credentials;

pub use self::{
    at_hand::{AtHand, at_hand},
    identity::CallerUnknown,
    keeper::{Attempt, Keeper, sts_endpoint, try_once},
    status::{Caller, Ready, State, Status},
};
use self::{keeper::Kept, slot::User};
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
    Kept(Arc<Kept>),
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
    pub fn fixed(credentials: Credentials) -> Self {
        Self { kind: Kind::Fixed(Arc::new(credentials)), _user: None }
    }

    fn kept(kept: Arc<Kept>) -> Self {
        Self { kind: Kind::Kept(kept), _user: None }
    }

    /// The same, named as that of a route in the lines on its keys.
    #[must_use]
    pub fn used_by(self, route: &Arc<str>) -> Self {
        let user = match &self.kind {
            Kind::Fixed(_) => None,
            Kind::Kept(kept) => Some(Arc::new(User::of(&kept.slot, route))),
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
            Kind::Kept(kept) => kept.slot.current(now, FIRST_FETCH_LIMIT).await,
        }
    }

    /// Notes that AWS has accepted these keys, for the pace at which refused ones are replaced.
    pub fn accepted(&self, used: &Arc<Credentials>) {
        if let Kind::Kept(kept) = &self.kind {
            kept.slot.accepted(used);
        }
    }

    /// Asks for new keys because AWS refused these as expired; once for each set, and without waiting.
    pub fn refresh_soon(&self, refused: &Credentials) {
        if let Kind::Kept(kept) = &self.kind {
            kept.slot.refresh_soon(refused);
        }
    }

    /// Waits until there are other keys than those that AWS has refused, no longer than `limit`; whether there are.
    pub async fn newer_than(&self, refused: &Credentials, limit: Duration) -> bool {
        match &self.kind {
            Kind::Fixed(_) => false,
            Kind::Kept(kept) => kept.slot.newer_than(refused, limit).await,
        }
    }

    /// How often its keys could not be fetched so far.
    pub fn refresh_failures(&self) -> u64 {
        match &self.kind {
            Kind::Fixed(_) => 0,
            Kind::Kept(kept) => kept.slot.failures(),
        }
    }

    pub fn status(&self, now: SystemTime) -> Status {
        match &self.kind {
            Kind::Fixed(credentials) => Status {
                source: KeyOrigin::Settings.to_string(),
                state: State::Ready(Ready::of(credentials, None, None)),
            },
            Kind::Kept(kept) => kept.slot.status(now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_rt::test]
    async fn keys_of_the_settings_are_just_there() {
        let source = CredentialSource::fixed(Credentials::new("AKIDEXAMPLE", "hush", None, None, "settings"));
        let keys = source.current(SystemTime::now()).await.unwrap();
        assert_eq!(keys.access_key_id(), "AKIDEXAMPLE");
        source.refresh_soon(&keys);
        let status = source.status(SystemTime::now()).to_string();
        assert_eq!(status, "keys from the settings, access key ending in MPLE, without expiry");
    }

    #[test]
    fn debug_shows_neither_secret_nor_token() {
        let source = CredentialSource::fixed(Credentials::new(
            "AKIDEXAMPLE",
            "hush-secret",
            Some("hush-token".into()),
            None,
            "settings",
        ));
        let shown = format!("{source:?}");
        assert!(!shown.contains("hush"), "{shown}");
    }
}
