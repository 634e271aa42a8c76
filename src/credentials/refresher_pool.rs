//! The thread on which all keys are fetched, and the sources in use.
//!
//! `state/builder.rs` asks it for the source of each route; what comes back is shared by all routes with an equal one,
//! so that a hundred routes with one role make one call to STS. It is a thread of its own so that TLS with STS takes
//! no time from requests.

use std::{
    collections::HashMap,
    fmt, io,
    sync::{Arc, Mutex, PoisonError, Weak},
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime},
};

use aws_credential_types::Credentials;
use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
    task::AbortHandle,
    time::timeout,
};

use super::{
    CredentialSource,
    aws_transport::AwsTransport,
    credential_cell::CredentialCell,
    fetch::{Aws, Fetch},
    identity::CallerUnknown,
    refresher::{Refresher, SystemClock, checked},
    status::{CredentialState, Ready, Status},
};
use crate::{
    client::Endpoint,
    settings::{CredentialProvider, CredentialSettings},
    system::supervision::{Task, supervise},
    tls::{Configurations, TlsError},
};

/// A thread that is inside a file system which hangs is left behind.
const LONGEST_END: Duration = Duration::from_secs(1);
/// How long a person who asks whether a source works will wait.
const TRY_LIMIT: Duration = Duration::from_secs(10);

/// A source that a refresher keeps fresh until the last handle is gone.
#[derive(Debug)]
pub struct SharedSource {
    pub cell: Arc<CredentialCell>,
    refresher: AbortHandle,
}

impl Drop for SharedSource {
    fn drop(&mut self) {
        self.refresher.abort();
    }
}

/// The sources in use, and how servers are verified for all of them.
#[derive(Default)]
struct Sources {
    known: Vec<(CredentialSettings, Weak<SharedSource>)>,
    /// Keys of the settings by their id.
    fixed: HashMap<String, Weak<Credentials>>,
    tls: Configurations,
}

/// Owns the thread; all fetching stops when it is dropped.
pub struct RefresherPool {
    runtime: Handle,
    sources: Mutex<Sources>,
    /// Dropped first, which ends the thread.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for RefresherPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefresherPool").finish_non_exhaustive()
    }
}

impl Drop for RefresherPool {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // it has nothing to say, and a file system that hangs must not keep the process from ending
            let patience = Instant::now() + LONGEST_END;
            while !thread.is_finished() && Instant::now() < patience {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

impl RefresherPool {
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
    pub fn source(&self, source: &CredentialSettings) -> Result<CredentialSource, TlsError> {
        if let (CredentialProvider::Keys(keys), None) = (&source.origin, &source.role) {
            return Ok(CredentialSource::fixed(self.fixed(keys)));
        }
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        sources.known.retain(|(_, shared)| shared.strong_count() > 0);
        let same = sources.known.iter().find(|(known, _)| known == source);
        if let Some(shared) = same.and_then(|(_, shared)| shared.upgrade()) {
            return Ok(CredentialSource::shared(shared));
        }
        let shared = Arc::new(self.keep(aws(source, &mut sources.tls)?));
        sources.known.push((source.clone(), Arc::downgrade(&shared)));
        Ok(CredentialSource::shared(shared))
    }

    /// The keys of the settings, once for all routes with equal ones.
    fn fixed(&self, keys: &Credentials) -> Arc<Credentials> {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let known = sources.fixed.get(keys.access_key_id()).and_then(Weak::upgrade);
        known.filter(|known| **known == *keys).unwrap_or_else(|| {
            let keys = Arc::new(keys.clone());
            sources.fixed.insert(keys.access_key_id().to_owned(), Arc::downgrade(&keys));
            keys
        })
    }

    /// Lets go of keys of the settings that no route has any more.
    pub fn forget_unused(&self) {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        sources.fixed.retain(|_, keys| keys.strong_count() > 0);
    }

    fn keep(&self, fetch: impl Fetch) -> SharedSource {
        let cell = Arc::new(CredentialCell::default());
        let fetch = Arc::new(fetch);
        let of_refresher = Arc::clone(&cell);
        let refresher = supervise(Task::Credentials, move || {
            Refresher::new(Arc::clone(&fetch), SystemClock, Arc::clone(&of_refresher)).run()
        });
        SharedSource { cell, refresher: self.runtime.spawn(refresher).abort_handle() }
    }
}

fn aws(source: &CredentialSettings, tls: &mut Configurations) -> Result<Aws, TlsError> {
    let tls = tls.get(true, None, None)?;
    Ok(Aws::new(source.clone(), AwsTransport { tls, proxy: source.proxy.clone() }))
}

/// One attempt with a source.
#[derive(Debug)]
pub struct FetchAttempt {
    pub status: Status,
    /// Why it is not known whose keys they are, if there are any and it is not.
    pub unknown: Option<CallerUnknown>,
}

/// Fetches once and asks whose keys they are, within ten seconds: for `check --credentials`.
///
/// # Errors
/// The platform's certificate authorities cannot be used.
pub async fn try_once(source: &CredentialSettings) -> Result<FetchAttempt, TlsError> {
    Ok(try_fetch(&aws(source, &mut Configurations::default())?, TRY_LIMIT).await)
}

/// Where STS is for a source whose keys come from there, for `check --connect`.
///
/// # Errors
/// The platform's certificate authorities cannot be used, or there is no such place.
pub async fn sts_endpoint(
    source: &CredentialSettings,
    tls: &mut Configurations,
) -> Result<Option<Endpoint>, String> {
    aws(source, tls).map_err(|error| error.to_string())?.sts_endpoint().await
}

async fn try_fetch(fetch: &impl Fetch, limit: Duration) -> FetchAttempt {
    let source = fetch.name().await;
    let start = tokio::time::Instant::now();
    let late = || format!("no answer within {}", humantime::format_duration(limit));
    let fetched = timeout(limit, fetch.fetch())
        .await
        .unwrap_or_else(|_| Err(late()))
        .and_then(|fetched| checked(fetched, SystemTime::now()));
    let fetched = match fetched {
        Err(reason) => {
            return FetchAttempt {
                status: Status { source, state: CredentialState::Unavailable { reason } },
                unknown: None,
            };
        }
        Ok(fetched) => fetched,
    };
    let left = limit.saturating_sub(start.elapsed());
    let asked = timeout(left, fetch.caller(fetched.credentials.clone())).await;
    let (caller, unknown) = match asked.unwrap_or_else(|_| Err(CallerUnknown::unasked(&late()))) {
        Ok(caller) => (Some(caller), None),
        // STS has said it when it gave the keys
        Err(unknown) => (fetched.caller, Some(unknown)),
    };
    let ready = Ready::of(&fetched.credentials, caller, None);
    FetchAttempt { status: Status { source, state: CredentialState::Ready(ready) }, unknown }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicBool, Ordering},
        time::SystemTime,
    };

    use super::*;
    use crate::credentials::{
        fakes::{FakeServer, role_source, sts},
        status::CallerIdentity,
        sts::Fetched,
    };
    use crate::system::file_stamps::Stamps;

    #[actix_rt::test]
    async fn a_hundred_routes_with_one_role_make_one_call() {
        let server = sts().await;
        let pool = RefresherPool::start().unwrap();
        let sources: Vec<_> = (0..100).map(|_| pool.source(&role_source(&server)).unwrap()).collect();
        for source in &sources {
            let keys = source.current(SystemTime::now()).await.unwrap();
            assert_eq!(keys.access_key_id(), "ASIA1");
        }
        assert_eq!(server.requests().len(), 1);
        let status = sources[0].status(SystemTime::now()).to_string();
        let start = "keys from the settings as role arn:aws:iam::123456789012:role/r, account 123456789012, arn:aws:sts::";
        assert!(status.starts_with(start), "{status}");
        let shown = format!("{:?}", sources[0]);
        assert!(!shown.contains("hush"), "{shown}");
    }

    #[actix_rt::test]
    async fn another_role_is_another_source() {
        let server = sts().await;
        let pool = RefresherPool::start().unwrap();
        let one = role_source(&server);
        let mut other = one.clone();
        other.role.as_mut().unwrap().arn.push('2');
        let ids = [pool.source(&one).unwrap(), pool.source(&other).unwrap()];
        for source in &ids {
            source.current(SystemTime::now()).await.unwrap();
        }
        assert_eq!(server.requests().len(), 2);
    }

    #[actix_rt::test]
    async fn a_source_that_nobody_uses_is_forgotten() {
        let server = sts().await;
        let pool = RefresherPool::start().unwrap();
        for count in 1..=2 {
            let source = pool.source(&role_source(&server)).unwrap();
            source.current(SystemTime::now()).await.unwrap();
            assert_eq!(server.requests().len(), count);
        }
    }

    #[actix_rt::test]
    async fn refused_keys_are_fetched_anew() {
        let server = sts().await;
        let pool = RefresherPool::start().unwrap();
        let source = pool.source(&role_source(&server)).unwrap();
        let refused = source.current(SystemTime::now()).await.unwrap();
        source.refresh_soon(&refused);
        for _ in 0..500 {
            if source.current(SystemTime::now()).await.unwrap() != refused {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the same keys after five seconds");
    }

    #[actix_rt::test]
    async fn a_dropped_keeper_ends_its_thread_at_once() {
        let server = FakeServer::start(|_| String::new()).await;
        let pool = RefresherPool::start().unwrap();
        let source = pool.source(&role_source(&server)).unwrap();
        let start = Instant::now();
        drop(pool);
        assert!(start.elapsed() < Duration::from_secs(2));
        assert!(matches!(source.status(SystemTime::now()).state, CredentialState::Waiting));
    }

    /// A source that kills its refresher once: the refresher itself looks at the files.
    struct Deadly(AtomicBool);

    impl Fetch for Deadly {
        async fn name(&self) -> String {
            "deadly".to_owned()
        }

        async fn fetch(&self) -> Result<Fetched, String> {
            Ok(Credentials::new("AKIDAFTER", "hush", None, None, "test").into())
        }

        async fn caller(&self, _credentials: Credentials) -> Result<CallerIdentity, CallerUnknown> {
            Err(CallerUnknown::unasked("nobody is there"))
        }

        fn stamps(&self) -> Option<Stamps> {
            assert!(self.0.swap(true, Ordering::SeqCst), "the fault");
            None
        }
    }

    #[actix_rt::test]
    async fn x3_a_refresher_that_panics_is_counted_and_starts_again() {
        let before = Task::Credentials.failures();
        let pool = RefresherPool::start().unwrap();
        let shared = pool.keep(Deadly(AtomicBool::new(false)));
        let keys = shared.cell.current(SystemTime::now(), Duration::from_secs(5)).await.unwrap();
        assert_eq!(keys.access_key_id(), "AKIDAFTER");
        assert!(Task::Credentials.failures() > before);
    }

    #[actix_rt::test]
    async fn a_source_is_tried_within_a_limit() {
        let works = sts().await;
        let attempt = try_once(&role_source(&works)).await.unwrap();
        let status = attempt.status.to_string();
        assert!(status.contains(", account 123456789012, "), "{status}");
        assert_eq!(attempt.unknown, None);
        assert!(works.requests()[1].contains("Action=GetCallerIdentity&"), "{:?}", works.requests());
        let hangs = FakeServer::start(|_| String::new()).await;
        let fetch = aws(&role_source(&hangs), &mut Configurations::default()).unwrap();
        let status = try_fetch(&fetch, Duration::from_millis(100)).await.status.to_string();
        assert!(status.ends_with(": unavailable: no answer within 100ms"), "{status}");
    }

    #[actix_rt::test]
    async fn k4_keys_whose_owner_nobody_tells_in_time_are_there_nonetheless() {
        let hangs = FakeServer::start(|_| String::new()).await;
        let source = CredentialSettings { role: None, ..role_source(&hangs) };
        let fetch = aws(&source, &mut Configurations::default()).unwrap();
        let attempt = try_fetch(&fetch, Duration::from_millis(100)).await;
        assert!(matches!(attempt.status.state, CredentialState::Ready(_)), "{attempt:?}");
        let told = attempt.unknown.unwrap().to_string();
        assert!(told.starts_with("calling GetCallerIdentity failed: no answer within 100ms. See"), "{told}");
    }

    #[actix_rt::test]
    async fn the_routes_own_keys_need_nobody() {
        let server = FakeServer::start(|_| String::new()).await;
        let pool = RefresherPool::start().unwrap();
        let source = pool.source(&CredentialSettings { role: None, ..role_source(&server) }).unwrap();
        assert_eq!(source.current(SystemTime::now()).await.unwrap().access_key_id(), "AKIDBASE");
        assert!(server.requests().is_empty());
    }
}
