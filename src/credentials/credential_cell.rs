//! The state that a refresher and requests share: the refresher writes keys, requests read them.
//!
//! Reads take no lock and wait only for the first fetch.

use std::{
    pin::pin,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use arc_swap::{ArcSwap, ArcSwapOption};
use aws_credential_types::Credentials;
use tokio::{
    sync::{Notify, watch},
    time::timeout,
};

use super::{
    CredentialsUnavailable,
    fetch::Fetched,
    status::{CallerIdentity, CredentialState, Ready, Status},
};
use crate::{system::wall_clock::Rfc3339, text::listing};

#[derive(Debug)]
pub struct Keys {
    pub credentials: Arc<Credentials>,
    /// The owner, once known.
    pub caller: OnceLock<CallerIdentity>,
    /// The keys may be used past their expiry, until AWS refuses them.
    outlive_expiry: bool,
    accepted: AtomicBool,
    refused: AtomicBool,
    /// The refresher has not handled the refusal yet.
    refusal_open: AtomicBool,
    /// A fetch after the refusal returned the same keys.
    given_again: AtomicBool,
}

/// A refusal of keys by AWS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyRefusal {
    /// AWS never accepted the keys.
    OfUnproven,
    /// AWS had accepted the keys before.
    OfAccepted,
}

impl Keys {
    fn has_expired(&self, now: SystemTime) -> bool {
        self.credentials.expiry().is_some_and(|expiry| now >= expiry)
    }

    /// True for expired keys that are still in use.
    pub fn is_past_expiry(&self, now: SystemTime) -> bool {
        self.has_expired(now) && self.outlive_expiry && !self.refused.load(Ordering::Relaxed)
    }
}

/// The result of the last fetch, for people.
#[derive(Debug, Clone, Default)]
struct Report {
    source: String,
    failure: Option<String>,
}

#[derive(Debug, Default)]
pub struct CredentialCell {
    keys: ArcSwapOption<Keys>,
    report: ArcSwap<Report>,
    /// The routes that sign with the keys, once for each [`RouteGuard`].
    routes: Mutex<Vec<Arc<str>>>,
    /// Fetches that failed.
    failures: AtomicU64,
    first_fetch_over: watch::Sender<bool>,
    /// Wakes requests that wait for new keys.
    published: Notify,
    /// Wakes the refresher for a fetch.
    pub wake: Notify,
}

impl CredentialCell {
    /// The current keys, expired or not.
    pub fn keys(&self) -> Option<Arc<Keys>> {
        self.keys.load_full()
    }

    /// Replaces the current keys.
    pub fn publish(&self, fetched: Fetched) -> Arc<Keys> {
        let Fetched { credentials, caller, outlives_expiry, .. } = fetched;
        let keys = Arc::new(Keys {
            credentials: Arc::new(credentials),
            caller: caller.map(OnceLock::from).unwrap_or_default(),
            outlive_expiry: outlives_expiry,
            accepted: AtomicBool::new(false),
            refused: AtomicBool::new(false),
            refusal_open: AtomicBool::new(false),
            given_again: AtomicBool::new(false),
        });
        self.keys.store(Some(Arc::clone(&keys)));
        self.published.notify_waiters();
        keys
    }

    /// Sets the source's name and the failure of its last fetch, and counts the failure.
    pub fn report(&self, source: &str, failure: Option<String>) {
        if failure.is_some() {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
        self.report.store(Arc::new(Report { source: source.to_owned(), failure }));
    }

    /// `routes a, b: `, for a log line; empty without routes.
    pub fn routes(&self) -> String {
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner).clone();
        routes.sort();
        routes.dedup();
        if routes.is_empty() { String::new() } else { format!("{}: ", listing::routes(&routes)) }
    }

    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Releases the requests that wait for the first fetch.
    pub fn first_fetch_is_over(&self) {
        self.first_fetch_over.send_replace(true);
    }

    /// The keys to sign with. Waits at most `limit` for the first fetch.
    pub async fn current(
        &self,
        now: SystemTime,
        limit: Duration,
    ) -> Result<Arc<Credentials>, CredentialsUnavailable> {
        if let Some(credentials) = self.valid(now) {
            return Ok(credentials);
        }
        let mut over = self.first_fetch_over.subscribe();
        // after a timeout there are no keys, and the error below gives the reason
        let _ = timeout(limit, over.wait_for(|over| *over)).await;
        self.valid(now).ok_or_else(|| CredentialsUnavailable(self.unavailable_reason()))
    }

    fn valid(&self, now: SystemTime) -> Option<Arc<Credentials>> {
        let keys = self.keys.load();
        let keys = keys.as_ref()?;
        let is_usable = !keys.has_expired(now) || keys.is_past_expiry(now);
        is_usable.then(|| Arc::clone(&keys.credentials))
    }

    fn unavailable_reason(&self) -> String {
        let Report { source, failure } = &**self.report.load();
        let expiry = self.keys.load().as_ref().and_then(|keys| keys.credentials.expiry());
        let expired = expiry.map(|time| format!("the keys expired at {}", Rfc3339(time)));
        let reasons: Vec<&str> = expired.iter().chain(failure).map(String::as_str).collect();
        let reason = if reasons.is_empty() { "no answer yet".to_owned() } else { reasons.join(", ") };
        if source.is_empty() { reason } else { format!("{source}: {reason}") }
    }

    /// Records that a fetch returned the current keys again. Ends the waits for new ones if AWS refused them.
    pub fn given_again(&self) {
        if let Some(keys) = self.keys.load().as_ref()
            && keys.refused.load(Ordering::Relaxed)
            && !keys.refusal_open.load(Ordering::Acquire)
        {
            keys.given_again.store(true, Ordering::Relaxed);
            self.published.notify_waiters();
        }
    }

    /// Records that AWS accepted these keys. Writes once for each set, and once after each refusal.
    pub fn accepted(&self, used: &Arc<Credentials>) {
        if let Some(keys) = self.keys.load().as_ref()
            && (!keys.accepted.load(Ordering::Relaxed) || keys.given_again.load(Ordering::Relaxed))
            && Arc::ptr_eq(&keys.credentials, used)
        {
            keys.accepted.store(true, Ordering::Relaxed);
            keys.refused.store(false, Ordering::Relaxed);
            keys.given_again.store(false, Ordering::Relaxed);
        }
    }

    /// Requests new keys, once for each refused set.
    pub fn refresh_soon(&self, refused: &Credentials) {
        let keys = self.keys.load();
        if let Some(keys) = keys.as_ref()
            && *keys.credentials == *refused
            && !keys.refused.swap(true, Ordering::Relaxed)
        {
            keys.refusal_open.store(true, Ordering::Release);
            self.wake.notify_one();
        }
    }

    /// Waits at most `limit` until other keys are current; true if they are. Returns at once after their
    /// source returned the refused keys again.
    pub async fn newer_than(&self, refused: &Credentials, limit: Duration) -> bool {
        let are_newer = || match self.keys.load().as_ref() {
            Some(keys) if *keys.credentials != *refused => Some(true),
            Some(keys) if keys.given_again.load(Ordering::Relaxed) => Some(false),
            _ => None,
        };
        let newer = async {
            loop {
                // before the check, so that a publication between the two is not missed
                let mut published = pin!(self.published.notified());
                published.as_mut().enable();
                if let Some(are_newer) = are_newer() {
                    return are_newer;
                }
                published.await;
            }
        };
        timeout(limit, newer).await.unwrap_or(false)
    }

    /// Takes AWS's refusal of the current keys, if there is a new one.
    pub fn take_refusal(&self) -> Option<KeyRefusal> {
        let keys = self.keys.load();
        let keys = keys.as_ref()?;
        let is_open = keys.refusal_open.swap(false, Ordering::Acquire);
        let was_accepted = keys.accepted.load(Ordering::Relaxed);
        is_open.then_some(if was_accepted { KeyRefusal::OfAccepted } else { KeyRefusal::OfUnproven })
    }

    pub fn status(&self, now: SystemTime) -> Status {
        let Report { source, failure } = Report::clone(&self.report.load());
        let state = match self.keys() {
            Some(keys) if keys.given_again.load(Ordering::Relaxed) => {
                let end = Ready::of(&keys.credentials, None, None).key_id_end;
                let reason =
                    format!("AWS refuses the access key ending in {end}, and there are no other keys");
                CredentialState::Unavailable { reason }
            }
            Some(keys) if self.valid(now).is_some() => {
                let ready = Ready::of(&keys.credentials, keys.caller.get().cloned(), failure);
                CredentialState::Ready(Ready { is_past_expiry: keys.is_past_expiry(now), ..ready })
            }
            None if failure.is_none() => CredentialState::Waiting,
            _ => CredentialState::Unavailable {
                reason: failure.unwrap_or_else(|| "the keys have expired".to_owned()),
            },
        };
        let source = if source.is_empty() { "credentials".to_owned() } else { source };
        Status { source, state }
    }
}

/// Lists a route among those that sign with the cell's keys, until dropped.
#[derive(Debug)]
pub struct RouteGuard {
    cell: Arc<CredentialCell>,
    route: Arc<str>,
}

impl RouteGuard {
    pub fn of(cell: &Arc<CredentialCell>, route: &Arc<str>) -> Self {
        cell.routes.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(route));
        Self { cell: Arc::clone(cell), route: Arc::clone(route) }
    }
}

impl Drop for RouteGuard {
    fn drop(&mut self) {
        let mut routes = self.cell.routes.lock().unwrap_or_else(PoisonError::into_inner);
        // other guards of the same route stay
        if let Some(at) = routes.iter().position(|route| *route == self.route) {
            routes.swap_remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(id: &str) -> Credentials {
        Credentials::new(id, "s", None, None, "test")
    }

    #[test]
    fn the_routes_of_a_cell_are_listed_until_their_guards_drop() {
        let cell = Arc::new(CredentialCell::default());
        let user = |route: &str| RouteGuard::of(&cell, &route.into());
        assert_eq!(cell.routes(), "");
        let (one, again) = (user("fn"), user("fn"));
        assert_eq!(cell.routes(), "route fn: ");
        let others: Vec<_> = (0..9).map(|number| user(&format!("r{number}"))).collect();
        assert_eq!(cell.routes(), "routes fn, r0, r1, r2, r3 and 5 more: ");
        drop((one, others));
        assert_eq!(cell.routes(), "route fn: ");
        drop(again);
        assert_eq!(cell.routes(), "");
    }

    #[test]
    fn keys_that_aws_refuses_and_their_source_gives_again_are_not_ready_until_aws_accepts_them() {
        let cell = CredentialCell::default();
        cell.report("environment", None);
        let used = Arc::clone(&cell.publish(keys("AKIDEXAMPLE").into()).credentials);
        let is_ready = || matches!(cell.status(SystemTime::now()).state, CredentialState::Ready(_));
        cell.refresh_soon(&used);
        // the refresher has not fetched since the refusal
        cell.given_again();
        assert!(is_ready());
        assert_eq!(cell.take_refusal(), Some(KeyRefusal::OfUnproven));
        cell.given_again();
        assert_eq!(
            cell.status(SystemTime::now()).to_string(),
            "environment: unavailable: AWS refuses the access key ending in MPLE, and there are no other keys"
        );
        cell.accepted(&used);
        assert!(is_ready());
        // a further refusal counts again
        cell.refresh_soon(&used);
        assert_eq!(cell.take_refusal(), Some(KeyRefusal::OfAccepted));
    }

    const SHORT_WAIT: Duration = Duration::from_millis(20);

    #[actix_rt::test]
    async fn newer_than_returns_at_once_for_other_keys_and_waits_for_them_otherwise() {
        let cell = Arc::new(CredentialCell::default());
        let first = keys("first");
        assert!(!cell.newer_than(&first, SHORT_WAIT).await);
        cell.publish(first.clone().into());
        assert!(!cell.newer_than(&first, SHORT_WAIT).await);
        assert!(cell.newer_than(&keys("none"), Duration::ZERO).await);
        let publisher = {
            let cell = Arc::clone(&cell);
            std::thread::spawn(move || {
                // the same keys again are not newer
                cell.publish(keys("first").into());
                cell.publish(keys("second").into());
            })
        };
        assert!(cell.newer_than(&first, Duration::from_secs(20)).await);
        publisher.join().unwrap();
    }
}
