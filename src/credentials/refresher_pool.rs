//! The thread that fetches all keys, and the sources in use.
//!
//! Routes with equal settings share a source, so that a hundred routes with one role make one call to STS.
//! The thread is separate from the workers, because TLS with STS would delay requests.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, PoisonError, Weak},
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime},
};

use aws_credential_types::Credentials;
use tokio::{
    runtime::{Builder, Handle},
    task::AbortHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{
    CredentialSource, SourceKind,
    aws_transport::AwsTransport,
    credential_cell::CredentialCell,
    fetch::{Aws, Fetch, FetchError},
    identity::call_failed,
    refresher::{Refresher, SystemClock, checked},
    secrets::{SecretCalls, SecretFetcher},
    status::{CredentialState, Ready, Status},
};
use crate::{
    client::Endpoint,
    metrics::Metrics,
    settings::{CredentialProvider, CredentialSettings, SecretsAccess},
    signing::clock_skew::ClockSkews,
    system::supervision::{Task, supervise},
    tls::{Configurations, TlsError},
};

/// Longest wait for the thread's end; a file system that hangs may block the thread.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);
/// Timeout of `check --credentials` for a source: the fetch and `GetCallerIdentity`. A person waits for it.
const CHECK_TIMEOUT: Duration = Duration::from_secs(10);

/// A source with its refresher, which stops when the last handle is dropped.
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

/// The sources in use, and the TLS settings that they share.
#[derive(Debug, Default)]
struct Sources {
    known: Vec<(CredentialSettings, Weak<SharedSource>)>,
    /// Keys of the settings by their id.
    fixed: HashMap<String, Weak<Credentials>>,
    tls: Configurations,
    /// The clocks of the services with secrets.
    clocks: Arc<Mutex<ClockSkews>>,
}

/// Owns the thread, which stops on drop.
#[derive(Debug)]
pub struct RefresherPool {
    runtime: Handle,
    sources: Mutex<Sources>,
    stop: CancellationToken,
    thread: JoinHandle<()>,
}

impl Drop for RefresherPool {
    fn drop(&mut self) {
        self.stop.cancel();
        // not joined: a file system that hangs must not block the end of the process
        let deadline = Instant::now() + STOP_TIMEOUT;
        while !self.thread.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl RefresherPool {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system has no resources for a thread or an event queue.
    pub fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let thread = std::thread::Builder::new().name("credentials".to_owned()).spawn(move || {
            runtime.block_on(stopped.cancelled());
            // does not wait for a name resolution in progress
            runtime.shutdown_background();
        })?;
        Ok(Self { runtime: handle, sources: Mutex::default(), stop, thread })
    }

    /// The source with these settings; its first handle starts the first fetch.
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
        let shared = match same.and_then(|(_, shared)| shared.upgrade()) {
            Some(shared) => shared,
            None => {
                let shared = Arc::new(self.start_refresher(aws(source, &mut sources.tls)?));
                sources.known.push((source.clone(), Arc::downgrade(&shared)));
                shared
            }
        };
        Ok(CredentialSource { kind: SourceKind::Shared(shared), _route: None })
    }

    /// The calls that fetch secrets, with the keys of the process.
    ///
    /// # Errors
    /// The platform's certificate authorities cannot be used.
    pub fn secret_calls(&self, access: &SecretsAccess) -> Result<SecretCalls, TlsError> {
        let keys = self.source(&access.credentials)?;
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let tls = sources.tls.get(true, None, None)?;
        let transport = AwsTransport { tls, proxy: access.credentials.proxy.clone() };
        let clocks = Arc::clone(&sources.clocks);
        Ok(SecretCalls { access: access.clone(), keys, transport, clocks })
    }

    /// A fetcher of secrets on this thread.
    pub fn secret_fetcher(&self, metrics: Arc<Metrics>) -> SecretFetcher {
        SecretFetcher::start(&self.runtime, metrics)
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

    fn start_refresher(&self, fetch: impl Fetch) -> SharedSource {
        let cell = Arc::new(CredentialCell::default());
        let fetch = Arc::new(fetch);
        let refreshers_cell = Arc::clone(&cell);
        let refresher = supervise(Task::Credentials, move || {
            Refresher::new(Arc::clone(&fetch), SystemClock, Arc::clone(&refreshers_cell)).run()
        });
        SharedSource { cell, refresher: self.runtime.spawn(refresher).abort_handle() }
    }
}

fn aws(source: &CredentialSettings, tls: &mut Configurations) -> Result<Aws, TlsError> {
    let tls = tls.get(true, None, None)?;
    Ok(Aws::new(source.clone(), AwsTransport { tls, proxy: source.proxy.clone() }))
}

/// The result of one fetch.
#[derive(Debug)]
pub struct FetchAttempt {
    pub status: Status,
    /// The reason why the owner of the keys is unknown.
    pub unknown: Option<FetchError>,
}

/// Fetches once and calls `GetCallerIdentity`, for `check --credentials`.
///
/// # Errors
/// The platform's certificate authorities cannot be used.
pub async fn try_once(source: &CredentialSettings) -> Result<FetchAttempt, TlsError> {
    Ok(try_fetch(&aws(source, &mut Configurations::default())?, CHECK_TIMEOUT).await)
}

/// The endpoint of STS or IAM Roles Anywhere for a source whose keys come from there, for `check --connect`.
///
/// # Errors
/// The platform's certificate authorities cannot be used, or there is no such endpoint.
pub async fn key_endpoint(
    source: &CredentialSettings,
    tls: &mut Configurations,
) -> Result<Option<Endpoint>, String> {
    let aws = aws(source, tls).map_err(|error| error.to_string())?;
    aws.key_endpoint().await.map_err(|error| error.to_string())
}

async fn try_fetch(fetch: &impl Fetch, limit: Duration) -> FetchAttempt {
    let source = fetch.name().await;
    let start = tokio::time::Instant::now();
    let late = FetchError::Timeout(limit);
    let fetched = timeout(limit, fetch.fetch()).await.unwrap_or_else(|_| Err(late.clone()));
    let fetched = match fetched.and_then(|fetched| checked(fetched, SystemTime::now())) {
        Err(failure) => {
            let state = CredentialState::Unavailable { reason: failure.to_string() };
            return FetchAttempt { status: Status { source, state }, unknown: None };
        }
        Ok(fetched) => fetched,
    };
    let left = limit.saturating_sub(start.elapsed());
    let asked = timeout(left, fetch.caller(fetched.credentials.clone())).await;
    let asked = asked.unwrap_or_else(|_| Err(call_failed(&late.to_string())));
    let (caller, unknown) = match asked {
        Ok(caller) => (Some(caller), None),
        // STS may have returned the owner with the keys
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
        fetch::Fetched,
        status::CallerIdentity,
        tests::{FakeServer, role_source, sts},
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
        let start = "keys from the settings as role arn:aws:iam::123456789012:role/r, account 123456789012, \
                     arn:aws:sts::";
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
    async fn a_source_without_handles_is_removed() {
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
    async fn a_dropped_pool_ends_its_thread_at_once() {
        let server = FakeServer::start(|_| String::new()).await;
        let pool = RefresherPool::start().unwrap();
        let source = pool.source(&role_source(&server)).unwrap();
        let start = Instant::now();
        drop(pool);
        assert!(start.elapsed() < Duration::from_secs(2));
        assert!(matches!(source.status(SystemTime::now()).state, CredentialState::Waiting));
    }

    /// A source whose `stamps` panics once, in the refresher itself.
    struct PanicsOnce(AtomicBool);

    impl Fetch for PanicsOnce {
        async fn name(&self) -> String {
            "panics once".to_owned()
        }

        async fn fetch(&self) -> Result<Fetched, FetchError> {
            Ok(Credentials::new("AKIDAFTER", "hush", None, None, "test").into())
        }

        async fn caller(&self, _credentials: Credentials) -> Result<CallerIdentity, FetchError> {
            Err(call_failed("no server"))
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
        let shared = pool.start_refresher(PanicsOnce(AtomicBool::new(false)));
        let keys = shared.cell.current(SystemTime::now(), Duration::from_secs(5)).await.unwrap();
        assert_eq!(keys.access_key_id(), "AKIDAFTER");
        assert!(Task::Credentials.failures() > before);
    }

    #[actix_rt::test]
    async fn a_check_of_a_source_times_out() {
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
    async fn k4_keys_are_ready_although_get_caller_identity_times_out() {
        let hangs = FakeServer::start(|_| String::new()).await;
        let source = CredentialSettings { role: None, ..role_source(&hangs) };
        let fetch = aws(&source, &mut Configurations::default()).unwrap();
        let attempt = try_fetch(&fetch, Duration::from_millis(100)).await;
        assert!(matches!(attempt.status.state, CredentialState::Ready(_)), "{attempt:?}");
        let told = attempt.unknown.unwrap().to_string();
        assert!(told.starts_with("calling GetCallerIdentity failed: no answer within 100ms. See"), "{told}");
    }

    #[actix_rt::test]
    async fn the_routes_own_keys_need_no_call() {
        let server = FakeServer::start(|_| String::new()).await;
        let pool = RefresherPool::start().unwrap();
        let source = pool.source(&CredentialSettings { role: None, ..role_source(&server) }).unwrap();
        assert_eq!(source.current(SystemTime::now()).await.unwrap().access_key_id(), "AKIDBASE");
        assert!(server.requests().is_empty());
    }
}
