//! Secrets in AWS that the settings name: fetches them from Secrets Manager and Parameter Store, and keeps
//! them fresh.
//!
//! `state/builder.rs` passes the references of each version of the settings. Each secret is fetched once for
//! all references, with the credential chain of the process, and its values go into the `SecretStore` from
//! which the settings are read; `state/reload.rs` reads them again when a value changes. A failed refresh
//! keeps the last value. Without any value a route answers 503.
//!
//! ```text
//! secrets/call.rs      one call, and its response
//! secrets/schedule.rs  which secrets are due
//! ```

mod call;
mod schedule;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use secrecy::SecretString;
use tokio::{
    runtime::Handle,
    sync::{Notify, Semaphore},
    task::{AbortHandle, JoinSet},
    time::{Instant, sleep_until, timeout},
};

pub use self::call::SecretCalls;
use self::{
    call::selected,
    schedule::{FollowedSecrets, LogLine},
};
use super::RefresherPool;
use crate::{
    metrics::Metrics,
    settings::{SecretId, SecretReference, SecretStore, Settings},
    system::supervision::{Task, catch_in, supervise},
    tls::TlsError,
};

/// Calls at the same time: 40 a second are allowed for a whole account (quotas of Parameter Store).
const MAX_CALLS: usize = 4;
/// Timeout of `check --credentials`. A person waits for it.
const CHECK_TIMEOUT: Duration = Duration::from_secs(10);

/// Fetches secrets until it is dropped.
#[derive(Debug)]
pub struct SecretFetcher {
    secrets: Arc<Secrets>,
    task: AbortHandle,
}

/// The secrets in use, shared with routes that wait for one.
#[derive(Debug)]
pub struct Secrets {
    store: SecretStore,
    state: Mutex<State>,
    metrics: Arc<Metrics>,
    /// Another set of secrets is followed, or a secret is due early.
    wake: Notify,
    /// A value has changed; the reloader alone waits for it.
    changed: Notify,
    /// A fetch has ended.
    tried: Notify,
}

#[derive(Debug, Default)]
struct State {
    followed: FollowedSecrets,
    /// The number of uses of a value that is not valid for its key.
    refused: u64,
    /// `None` if no secret is followed.
    calls: Option<Arc<SecretCalls>>,
}

impl Drop for SecretFetcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl SecretFetcher {
    /// A fetcher without secrets, on this runtime.
    pub fn start(runtime: &Handle, metrics: Arc<Metrics>) -> Self {
        let secrets = Arc::new(Secrets {
            store: SecretStore::default(),
            state: Mutex::default(),
            metrics,
            wake: Notify::new(),
            changed: Notify::new(),
            tried: Notify::new(),
        });
        let shared = Arc::clone(&secrets);
        let task = supervise(Task::Credentials, move || Arc::clone(&shared).run());
        Self { secrets, task: runtime.spawn(task).abort_handle() }
    }

    pub fn secrets(&self) -> &Arc<Secrets> {
        &self.secrets
    }

    /// Follows the secrets of these settings and no others.
    ///
    /// # Errors
    /// The platform's certificate authorities cannot be used.
    pub fn follow(&self, settings: &Settings, pool: &RefresherPool) -> Result<(), TlsError> {
        let secrets = &self.secrets;
        let calls = settings.secrets_access.as_ref().map(|access| pool.secret_calls(access)).transpose()?;
        let mut state = secrets.lock();
        state.calls = calls.map(Arc::new);
        let interval = settings.secrets.interval;
        state.followed.follow(settings.secret_uses(), interval, &secrets.store, Instant::now());
        state.refused = settings.refused_secrets();
        secrets.count(&state);
        secrets.store.retain(|reference| state.followed.is_followed(reference));
        drop(state);
        secrets.wake.notify_one();
        Ok(())
    }
}

impl Secrets {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The fetched values.
    pub fn store(&self) -> &SecretStore {
        &self.store
    }

    /// Waits for the next change of a value. One task alone may wait.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Waits at most `limit` until each of these secrets has been tried.
    pub async fn tried(&self, references: &[SecretReference], limit: Duration) {
        let all_tried = async {
            loop {
                let tried = self.tried.notified();
                let is_untried = {
                    let state = self.lock();
                    references.iter().any(|reference| state.followed.is_untried(reference, &self.store))
                };
                if !is_untried {
                    return;
                }
                tried.await;
            }
        };
        let _ = timeout(limit, all_tried).await;
    }

    /// True for a followed secret that has not been tried yet.
    pub fn is_untried(&self, reference: &SecretReference) -> bool {
        self.lock().followed.is_untried(reference, &self.store)
    }

    /// Fetches these secrets soon, because AWS refused a key that may have come from one. At most twice a
    /// minute for each.
    pub fn refresh_soon<'r>(&self, references: impl Iterator<Item = &'r SecretReference>) {
        self.lock().followed.refresh_soon(references, Instant::now());
        self.wake.notify_one();
    }

    /// The reason why a secret has no value, with the cure.
    pub fn reason(&self, reference: &SecretReference) -> String {
        match self.lock().followed.problem(reference) {
            Some(problem) => format!("{reference}: {problem}"),
            None => format!("{reference}: being fetched"),
        }
    }

    async fn run(self: Arc<Self>) {
        self.lock().followed.restart();
        let mut calls = JoinSet::new();
        loop {
            let next = self.start_due(&mut calls);
            let has_room = calls.len() < MAX_CALLS;
            let due = async {
                match next {
                    Some(next) if has_room => sleep_until(next).await,
                    _ => std::future::pending().await,
                }
            };
            tokio::select! {
                () = due => {}
                () = self.wake.notified() => {}
                Some(ended) = calls.join_next() => {
                    if let Ok((id, fetched)) = ended {
                        self.record(&id, &fetched);
                    }
                }
            }
        }
    }

    /// Starts the calls that are due, and returns the time of the next one.
    fn start_due(&self, running: &mut JoinSet<(SecretId, Result<SecretString, String>)>) -> Option<Instant> {
        let mut state = self.lock();
        let calls = state.calls.clone()?;
        for id in state.followed.take_due(Instant::now(), MAX_CALLS - running.len()) {
            let calls = Arc::clone(&calls);
            running.spawn(async move {
                let fetched = catch_in(calls.fetch(&id)).await;
                let fetched = fetched.unwrap_or_else(|panicked| {
                    Task::Credentials.count_failure();
                    Err(format!("the fetch {panicked}"))
                });
                (id, fetched)
            });
        }
        state.followed.next_due()
    }

    fn record(&self, id: &SecretId, fetched: &Result<SecretString, String>) {
        let outcomes = &self.metrics.secrets.fetches;
        if fetched.is_ok() {
            outcomes.succeeded.add(1);
        } else {
            outcomes.failed.add(1);
        }
        let mut state = self.lock();
        let recorded = state.followed.record(id, fetched, &self.store, Instant::now(), fastrand::f64());
        self.count(&state);
        drop(state);
        for LogLine { level, text } in recorded.lines {
            log::log!(level, "{text}");
        }
        self.tried.notify_waiters();
        if recorded.has_changed {
            self.changed.notify_one();
        }
    }

    fn count(&self, current: &State) {
        let (missing, stale) = current.followed.missing_and_stale(&self.store);
        self.metrics.secrets.missing.set(missing);
        self.metrics.secrets.stale.set(stale + current.refused);
    }
}

/// The result of fetching the value of a reference once.
#[derive(Debug)]
pub struct SecretAttempt {
    pub reference: SecretReference,
    /// The routes and other users that name it.
    pub users: Vec<String>,
    pub problem: Option<String>,
}

/// Fetches each secret of the settings once into `store`, for `check --credentials`.
///
/// # Errors
/// A thread cannot be started, or the platform's certificate authorities cannot be used.
pub async fn fetch_once(settings: &Settings, store: &SecretStore) -> io::Result<Vec<SecretAttempt>> {
    let Some(access) = &settings.secrets_access else { return Ok(Vec::new()) };
    let pool = RefresherPool::start()?;
    let calls = Arc::new(pool.secret_calls(access).map_err(io::Error::other)?);
    let mut uses: BTreeMap<SecretReference, Vec<String>> = BTreeMap::new();
    for (reference, user) in settings.secret_uses() {
        uses.entry(reference.clone()).or_default().push(user);
    }
    let ids: BTreeSet<SecretId> = uses.keys().map(|reference| reference.id.clone()).collect();
    let room = Arc::new(Semaphore::new(MAX_CALLS));
    let mut running = JoinSet::new();
    for id in ids {
        let (calls, room) = (Arc::clone(&calls), Arc::clone(&room));
        running.spawn(async move {
            let _permit = room.acquire().await;
            let fetched = timeout(CHECK_TIMEOUT, calls.fetch(&id)).await;
            (id, fetched.unwrap_or_else(|_| Err(format!("no answer within {CHECK_TIMEOUT:?}"))))
        });
    }
    let fetched: BTreeMap<_, _> = running.join_all().await.into_iter().collect();
    let attempt = |(reference, users): (SecretReference, Vec<String>)| {
        let whole = fetched.get(&reference.id).map(|fetched| fetched.as_ref().map_err(String::clone));
        let value = whole.map(|whole| whole.and_then(|value| selected(value, reference.key.as_deref())));
        let problem = match value {
            Some(Ok(value)) => {
                store.publish(&reference, value);
                None
            }
            Some(Err(problem)) => Some(problem),
            None => Some("the fetch panicked".to_owned()),
        };
        SecretAttempt { reference, users, problem }
    };
    Ok(uses.into_iter().map(attempt).collect())
}
