//! Credentials: where the keys that sign a route's requests come from, and how they stay fresh.
//!
//! `state/builder.rs` gets a [`CredentialSource`] for each route from the [`RefresherPool`], and
//! `state/signing.rs` gets the current keys from it right before signing. Without keys a route answers 503; a
//! request never goes out unsigned (envoy#47518).
//!
//! ```text
//! chain.rs            the sources, and which one is configured
//! refresher_pool.rs   the thread for all fetches, one refresher for each source
//! refresher.rs        when to fetch, by schedule.rs
//! credential_cell.rs  the keys that requests read
//! fetch.rs            one fetch; sts.rs calls STS, over aws_transport.rs
//! status.rs           the state of a source, for people
//! mounted.rs          a route's own keys in files
//! roles_anywhere.rs   a certificate of a route, exchanged at IAM Roles Anywhere
//! profile_chain.rs    chains of profiles; process.rs runs their programs
//! shared_files.rs     the files of profiles; sdk_files.rs has those that only the SDK reads
//! identity.rs         the owner of keys
//! metadata.rs         EC2's metadata service
//! secrets.rs          secrets in AWS that the settings name, fetched with these keys
//! ```

mod aws_transport;
mod chain;
mod credential_cell;
mod fetch;
mod identity;
mod metadata;
mod mounted;
mod process;
mod profile_chain;
mod refresher;
mod refresher_pool;
mod roles_anywhere;
mod schedule;
mod sdk_files;
mod secrets;
mod shared_files;
mod status;
mod sts;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use aws_credential_types::Credentials;

use self::{credential_cell::RouteGuard, refresher_pool::SharedSource};
pub use self::{
    fetch::{FetchError, OfflineCredentials, known_offline},
    refresher_pool::{FetchAttempt, RefresherPool, key_endpoint, try_once},
    secrets::{SecretAttempt, SecretFetcher, Secrets, fetch_once},
    status::{CallerIdentity, CredentialState, Ready, Status},
};
use crate::text::key_source::KeyOrigin;

/// Longest wait of a request for the first fetch of its source, after which the route answers 503: a client
/// must not wait for a source that never answers.
const FIRST_FETCH_TIMEOUT: Duration = Duration::from_secs(5);

/// The keys of one source. Clones share the source.
#[derive(Debug, Clone)]
pub struct CredentialSource {
    kind: SourceKind,
    /// Keeps the route's id in the log lines about these keys.
    _route: Option<Arc<RouteGuard>>,
}

#[derive(Debug, Clone)]
enum SourceKind {
    /// Keys in the settings, which never change.
    Fixed(Arc<Credentials>),
    /// Keys that a refresher keeps fresh.
    Shared(Arc<SharedSource>),
}

/// A source without usable keys; the reason contains no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no credentials: {0}")]
pub struct CredentialsUnavailable(String);

impl CredentialSource {
    /// A source of keys that never change.
    pub fn fixed(credentials: Arc<Credentials>) -> Self {
        Self { kind: SourceKind::Fixed(credentials), _route: None }
    }

    /// The same number for all routes that sign with the same keys, as long as one of them exists.
    pub fn address(&self) -> usize {
        match &self.kind {
            SourceKind::Fixed(credentials) => Arc::as_ptr(credentials).addr(),
            SourceKind::Shared(shared) => Arc::as_ptr(shared).addr(),
        }
    }

    /// The same source; log lines about its keys name the route until the result is dropped.
    #[must_use]
    pub fn used_by(self, route: &Arc<str>) -> Self {
        let guard = match &self.kind {
            SourceKind::Fixed(_) => None,
            SourceKind::Shared(shared) => Some(Arc::new(RouteGuard::of(&shared.cell, route))),
        };
        Self { _route: guard, ..self }
    }

    /// The keys to sign with. Waits at most `FIRST_FETCH_TIMEOUT`, and only for the first fetch.
    ///
    /// # Errors
    /// No keys, or expired ones.
    pub async fn current(&self, now: SystemTime) -> Result<Arc<Credentials>, CredentialsUnavailable> {
        match &self.kind {
            SourceKind::Fixed(credentials) => Ok(Arc::clone(credentials)),
            SourceKind::Shared(shared) => shared.cell.current(now, FIRST_FETCH_TIMEOUT).await,
        }
    }

    /// Records that AWS accepted these keys. Refused keys without that are replaced more slowly.
    pub fn accepted(&self, used: &Arc<Credentials>) {
        if let SourceKind::Shared(shared) = &self.kind {
            shared.cell.accepted(used);
        }
    }

    /// Requests new keys because AWS refused these as expired; once for each set, without waiting.
    pub fn refresh_soon(&self, refused: &Credentials) {
        if let SourceKind::Shared(shared) = &self.kind {
            shared.cell.refresh_soon(refused);
        }
    }

    /// Waits at most `limit` for keys that replace those that AWS refused; true if there are such keys.
    pub async fn newer_than(&self, refused: &Credentials, limit: Duration) -> bool {
        match &self.kind {
            SourceKind::Fixed(_) => false,
            SourceKind::Shared(shared) => shared.cell.newer_than(refused, limit).await,
        }
    }

    /// Number of failed fetches.
    pub fn refresh_failures(&self) -> u64 {
        match &self.kind {
            SourceKind::Fixed(_) => 0,
            SourceKind::Shared(shared) => shared.cell.failures(),
        }
    }

    pub fn status(&self, now: SystemTime) -> Status {
        match &self.kind {
            SourceKind::Fixed(credentials) => Status {
                source: KeyOrigin::Settings.to_string(),
                state: CredentialState::Ready(Ready::of(credentials, None, None)),
            },
            SourceKind::Shared(shared) => shared.cell.status(now),
        }
    }
}

#[cfg(test)]
mod tests;
