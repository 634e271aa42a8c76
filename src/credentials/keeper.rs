//! The thread on which all keys are fetched, and the sources in use.
//!
//! `snapshot.rs` asks it for the source of each route; what comes back is shared by all routes with an equal one,
//! so that a hundred routes with one role make one call to STS. It is a thread of its own so that TLS with STS takes
//! no time from requests.

use std::{
    fmt, io,
    sync::{Arc, Mutex, PoisonError, Weak},
    thread::JoinHandle,
    time::Duration,
};

use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
    task::AbortHandle,
    time::timeout,
};

use super::{
    CredentialSource, Origin, Source,
    fetch::{Aws, Fetch},
    http::Way,
    refresher::{Refresher, SystemClock},
    slot::Slot,
    status::{Ready, State, Status},
};
use crate::tls::{Configurations, TlsError};

/// How long a person who asks whether a source works will wait.
const TRY_LIMIT: Duration = Duration::from_secs(10);

/// A source that a refresher keeps fresh until the last handle is gone.
#[derive(Debug)]
pub struct Kept {
    /// Where its keys are.
    pub slot: Arc<Slot>,
    refresher: AbortHandle,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.refresher.abort();
    }
}

/// Owns the thread; all fetching stops when it is dropped.
pub struct Keeper {
    runtime: Handle,
    sources: Mutex<Vec<(Source, Weak<Kept>)>>,
    /// Dropped first, which ends the thread.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper").finish_non_exhaustive()
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // it has nothing to say
            let _ = thread.join();
        }
    }
}

impl Keeper {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system gives no thread or no event queue.
    pub fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("credentials".to_owned()).spawn(move || {
            // an error is what a dropped sender gives
            let _ = runtime.block_on(stopped);
            // a name that is being resolved would hold the program up
            runtime.shutdown_background();
        })?;
        Ok(Self { runtime: handle, sources: Mutex::default(), stop: Some(stop), thread: Some(thread) })
    }

    /// The keys of `source`; the first handle starts the first fetch.
    ///
    /// # Errors
    /// The platform's certificate authorities cannot be used.
    pub fn source(&self, source: &Source) -> Result<CredentialSource, TlsError> {
        if let (Origin::Keys(keys), None) = (&source.origin, &source.role) {
            return Ok(CredentialSource::fixed(keys.clone()));
        }
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        sources.retain(|(_, kept)| kept.strong_count() > 0);
        let known = sources.iter().find(|(known, _)| known == source).and_then(|(_, kept)| kept.upgrade());
        if let Some(kept) = known {
            return Ok(CredentialSource::kept(kept));
        }
        let kept = Arc::new(self.keep(aws(source)?));
        sources.push((source.clone(), Arc::downgrade(&kept)));
        Ok(CredentialSource::kept(kept))
    }

    fn keep(&self, fetch: impl Fetch) -> Kept {
        let slot = Arc::new(Slot::new());
        let refresher = Refresher::new(fetch, SystemClock, Arc::clone(&slot));
        Kept { slot, refresher: self.runtime.spawn(refresher.run()).abort_handle() }
    }
}

fn aws(source: &Source) -> Result<Aws, TlsError> {
    let tls = Configurations::default().get(true, None)?;
    Ok(Aws::new(source.clone(), Way { tls, proxy: source.proxy.clone() }))
}

/// Fetches once and asks whose keys they are, within ten seconds: for `check --credentials`.
///
/// # Errors
/// The platform's certificate authorities cannot be used.
pub async fn try_once(source: &Source) -> Result<Status, TlsError> {
    Ok(try_fetch(&aws(source)?, TRY_LIMIT).await)
}

async fn try_fetch(fetch: &impl Fetch, limit: Duration) -> Status {
    let source = fetch.name().await;
    let start = tokio::time::Instant::now();
    let fetched = timeout(limit, fetch.fetch())
        .await
        .unwrap_or_else(|_| Err(format!("no answer within {}", humantime::format_duration(limit))));
    let state = match fetched {
        Err(reason) => State::Unavailable { reason },
        Ok(fetched) => {
            let asked = async {
                match fetched.caller {
                    Some(caller) => Some(caller),
                    None => fetch.caller(fetched.credentials.clone()).await,
                }
            };
            let left = limit.saturating_sub(start.elapsed());
            let caller = timeout(left, asked).await.unwrap_or_default();
            State::Ready(Ready::of(&fetched.credentials, caller, None))
        }
    };
    Status { source, state }
}
