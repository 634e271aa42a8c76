//! The refresher with a fake source and a clock that the test moves.

use std::{
    collections::VecDeque,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use aws_credential_types::Credentials;
use tokio::{sync::watch, task::JoinHandle};

use super::*;
use crate::credentials::{
    CredentialsUnavailable,
    status::{CallerIdentity, CredentialState},
};

const MINUTE: Duration = Duration::from_mins(1);
/// The shortest session of STS.
const LIFE: Duration = Duration::from_mins(15);

/// A clock that only the test moves.
#[derive(Clone)]
struct TestClock(watch::Sender<SystemTime>);

impl TestClock {
    fn new() -> Self {
        Self(watch::Sender::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_900_000_000)))
    }

    /// Moves the clock and runs the refresher.
    async fn advance(&self, duration: Duration) {
        self.0.send_modify(|now| *now += duration);
        settle().await;
    }
}

impl Clock for TestClock {
    fn now(&self) -> SystemTime {
        *self.0.borrow()
    }

    async fn sleep(&self, duration: Duration) {
        let end = self.now() + duration;
        let _ = self.0.subscribe().wait_for(|now| *now >= end).await;
    }
}

async fn settle() {
    for _ in 0..12 {
        tokio::task::yield_now().await;
    }
}

/// The result of a fake fetch.
#[derive(Clone)]
enum Act {
    /// New keys with this life, or without expiry.
    Give(Option<Duration>),
    /// New keys with this life that outlive their expiry.
    GiveStable(Duration),
    Repeat(Credentials),
    Fail(&'static str),
    Panic,
    Hang,
}

/// A fake source: the acts in turn; the last one repeats.
struct Fake {
    clock: TestClock,
    acts: Mutex<VecDeque<Act>>,
    fetches: AtomicUsize,
    files: Mutex<Option<Stamps>>,
    caller: Option<CallerIdentity>,
}

#[derive(Clone)]
struct FakeFetch(Arc<Fake>);

impl Fetch for FakeFetch {
    async fn name(&self) -> String {
        "fake".to_owned()
    }

    async fn fetch(&self) -> Result<Fetched, FetchError> {
        let number = self.0.fetches.fetch_add(1, Ordering::SeqCst) + 1;
        let act = {
            let mut acts = self.0.acts.lock().unwrap();
            if acts.len() > 1 { acts.pop_front().unwrap() } else { acts[0].clone() }
        };
        // an answer from a network takes time
        tokio::task::yield_now().await;
        let credentials = match act {
            Act::Give(life) => {
                let expiry = life.map(|life| self.0.clock.now() + life);
                Credentials::new(format!("AKID{number}"), "hush", None, expiry, "fake")
            }
            Act::GiveStable(life) => {
                let expiry = Some(self.0.clock.now() + life);
                let credentials = Credentials::new(format!("AKID{number}"), "hush", None, expiry, "fake");
                return Ok(Fetched { outlives_expiry: true, ..credentials.into() });
            }
            Act::Repeat(credentials) => credentials,
            Act::Fail(reason) => return Err(FetchError::Unusable(reason.to_owned())),
            Act::Panic => panic!("in the SDK"),
            Act::Hang => std::future::pending().await,
        };
        Ok(credentials.into())
    }

    async fn caller(&self, _credentials: Credentials) -> Result<CallerIdentity, FetchError> {
        self.0.caller.clone().ok_or_else(|| FetchError::Unreachable("no server".to_owned()))
    }

    fn stamps(&self) -> Option<Stamps> {
        self.0.files.lock().unwrap().clone()
    }
}

struct Work {
    clock: TestClock,
    fake: Arc<Fake>,
    cell: Arc<CredentialCell>,
    task: JoinHandle<()>,
}

impl Drop for Work {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Work {
    async fn start(acts: impl IntoIterator<Item = Act>) -> Self {
        let clock = TestClock::new();
        let fake = Arc::new(Fake {
            clock: clock.clone(),
            acts: Mutex::new(acts.into_iter().collect()),
            fetches: AtomicUsize::new(0),
            files: Mutex::default(),
            caller: CallerIdentity::of_arn("arn:aws:iam::123456789012:user/u"),
        });
        let cell = Arc::new(CredentialCell::default());
        let refresher =
            Refresher::new(Arc::new(FakeFetch(Arc::clone(&fake))), clock.clone(), Arc::clone(&cell));
        let task = tokio::spawn(refresher.run());
        settle().await;
        Self { clock, fake, cell, task }
    }

    fn now_do(&self, acts: impl IntoIterator<Item = Act>) {
        *self.fake.acts.lock().unwrap() = acts.into_iter().collect();
    }

    fn fetches(&self) -> usize {
        self.fake.fetches.load(Ordering::SeqCst)
    }

    async fn current(&self) -> Result<Arc<Credentials>, CredentialsUnavailable> {
        self.cell.current(self.clock.now(), Duration::from_millis(20)).await
    }

    async fn id(&self) -> String {
        self.current().await.unwrap().access_key_id().to_owned()
    }

    fn state(&self) -> CredentialState {
        self.cell.status(self.clock.now()).state
    }
}

#[actix_rt::test]
async fn a_thousand_rotations_leave_no_gap() {
    let work = Work::start([Act::Give(Some(LIFE))]).await;
    while work.fetches() < 1_000 {
        work.clock.advance(Duration::from_secs(20)).await;
        let keys = work.current().await.expect("a gap");
        let left = keys.expiry().unwrap().duration_since(work.clock.now()).unwrap();
        // refreshed at three quarters of its life, give or take a tenth
        assert!(left >= 3 * MINUTE, "{left:?}");
    }
}

#[actix_rt::test]
async fn a_failure_until_just_before_expiry_is_not_noticed() {
    let work = Work::start([Act::Give(Some(LIFE)), Act::Fail("down")]).await;
    for second in 1..LIFE.as_secs() {
        if second == LIFE.as_secs() - 4 {
            work.now_do([Act::Give(Some(LIFE))]);
        }
        work.clock.advance(Duration::from_secs(1)).await;
        work.current().await.expect("old keys serve until they expire");
    }
    assert!(work.fetches() > 5);
    work.clock.advance(Duration::from_secs(1)).await;
    assert_ne!(work.id().await, "AKID1");
    let CredentialState::Ready(ready) = work.state() else { panic!() };
    assert_eq!(ready.last_failure, None);
}

#[actix_rt::test]
async fn expired_keys_are_not_given_and_the_source_recovers_by_itself() {
    let work = Work::start([Act::Give(Some(LIFE)), Act::Fail("AccessDenied: no")]).await;
    for _ in 0..14 {
        work.clock.advance(MINUTE).await;
    }
    let CredentialState::Ready(ready) = work.state() else { panic!() };
    assert_eq!(ready.last_failure.as_deref(), Some("AccessDenied: no"));
    work.clock.advance(MINUTE).await;
    let reason = work.current().await.unwrap_err().to_string();
    assert!(reason.starts_with("no credentials: fake: the keys expired at 20"), "{reason}");
    assert!(reason.ends_with(", AccessDenied: no"), "{reason}");
    assert_eq!(work.state(), CredentialState::Unavailable { reason: "AccessDenied: no".into() });
    work.now_do([Act::Give(Some(LIFE))]);
    // the longest wait between attempts
    work.clock.advance(MINUTE).await;
    work.current().await.unwrap();
}

#[actix_rt::test]
async fn the_old_keys_serve_while_a_refresh_hangs() {
    let work = Work::start([Act::Give(Some(LIFE)), Act::Hang, Act::Give(Some(LIFE))]).await;
    while work.fetches() < 2 {
        work.clock.advance(Duration::from_secs(5)).await;
    }
    assert_eq!(work.id().await, "AKID1");
    work.clock.advance(ATTEMPT_TIMEOUT).await;
    let CredentialState::Ready(ready) = work.state() else { panic!() };
    assert_eq!(ready.last_failure.as_deref(), Some("no answer within 20s"));
    work.clock.advance(2 * MINUTE).await;
    assert_eq!(work.id().await, "AKID3");
}

#[actix_rt::test]
async fn a_panic_is_a_failure_like_any_other() {
    let work = Work::start([Act::Panic, Act::Give(Some(LIFE))]).await;
    let reason = work.current().await.unwrap_err().to_string();
    assert!(reason.contains("the fetch panicked at src/credentials/refresher/tests.rs:"), "{reason}");
    work.clock.advance(MINUTE).await;
    assert_eq!(work.id().await, "AKID2");
}

#[actix_rt::test]
async fn a_refusal_during_a_fetch_causes_no_second_fetch() {
    let work = Work::start([Act::Give(Some(LIFE))]).await;
    let old = work.current().await.unwrap();
    work.now_do([Act::Hang, Act::Give(Some(LIFE))]);
    while work.fetches() < 2 {
        work.clock.advance(Duration::from_secs(5)).await;
    }
    work.cell.refresh_soon(&old);
    work.clock.advance(ATTEMPT_TIMEOUT).await;
    work.clock.advance(MINUTE).await;
    assert_eq!((work.fetches(), work.id().await.as_str()), (3, "AKID3"));
    work.clock.advance(MINUTE).await;
    assert_eq!(work.fetches(), 3);
}

#[actix_rt::test]
async fn a_hundred_requests_wait_for_one_fetch() {
    let work = Work::start([Act::Give(Some(LIFE))]).await;
    let cell = Arc::new(CredentialCell::default());
    let before = work.fetches();
    let now = work.clock.now();
    let waiting: Vec<_> = (0..100)
        .map(|_| {
            let cell = Arc::clone(&cell);
            tokio::spawn(async move { cell.current(now, Duration::from_secs(5)).await })
        })
        .collect();
    settle().await;
    let refresher =
        Refresher::new(Arc::new(FakeFetch(Arc::clone(&work.fake))), work.clock.clone(), Arc::clone(&cell));
    let task = tokio::spawn(refresher.run());
    for request in waiting {
        assert_eq!(request.await.unwrap().unwrap().access_key_id(), "AKID2");
    }
    assert_eq!(work.fetches(), before + 1);
    task.abort();
}

#[actix_rt::test]
async fn a_request_waits_for_the_first_fetch_up_to_the_limit() {
    let work = Work::start([Act::Hang]).await;
    let start = std::time::Instant::now();
    let reason = work.current().await.unwrap_err().to_string();
    assert_eq!(reason, "no credentials: fake: no answer yet");
    assert!(start.elapsed() < Duration::from_secs(2));
    assert_eq!(work.state(), CredentialState::Waiting);
    work.clock.advance(ATTEMPT_TIMEOUT).await;
    let reason = work.current().await.unwrap_err().to_string();
    assert_eq!(reason, "no credentials: fake: no answer within 20s");
}

#[actix_rt::test]
async fn refused_keys_are_fetched_again_once() {
    let work = Work::start([Act::Give(Some(LIFE))]).await;
    let refused = work.current().await.unwrap();
    for _ in 0..100 {
        work.cell.refresh_soon(&refused);
    }
    settle().await;
    assert_eq!((work.fetches(), work.id().await.as_str()), (2, "AKID2"));
    // a request that was signed before the rotation comes back late
    work.cell.refresh_soon(&refused);
    settle().await;
    assert_eq!(work.fetches(), 2);
}

#[actix_rt::test]
async fn a_source_that_returns_refused_keys_again_is_fetched_once_more_only() {
    let keys = Credentials::new("AKIDSAME", "hush", None, None, "fake");
    let work = Work::start([Act::Repeat(keys.clone())]).await;
    for _ in 0..100 {
        work.cell.refresh_soon(&keys);
        settle().await;
    }
    assert_eq!(work.fetches(), 2);
}

#[actix_rt::test]
async fn an_upstream_that_refuses_all_keys_does_not_set_the_pace_of_fetches() {
    let work = Work::start([Act::Give(Some(LIFE))]).await;
    // ten minutes of requests
    for _ in 0..6_000 {
        let keys = work.current().await.unwrap();
        work.cell.refresh_soon(&keys);
        work.clock.advance(Duration::from_millis(100)).await;
    }
    let fetches = work.fetches();
    assert!((10..80).contains(&fetches), "{fetches}");
    // a refresh by time ends the row
    while work.fetches() < fetches + 3 {
        work.clock.advance(MINUTE).await;
    }
    let (fetches, refused) = (work.fetches(), work.current().await.unwrap());
    work.cell.refresh_soon(&refused);
    settle().await;
    assert_eq!(work.fetches(), fetches + 1);
}

#[actix_rt::test]
async fn s3_refused_keys_are_replaced_at_once_where_aws_had_accepted_them() {
    let work = Work::start([Act::Give(Some(LIFE))]).await;
    for refusals in 1..=10 {
        let keys = work.current().await.unwrap();
        work.cell.accepted(&keys);
        work.cell.refresh_soon(&keys);
        settle().await;
        assert_eq!(work.fetches(), 1 + refusals);
        assert_ne!(work.current().await.unwrap(), keys);
    }
}

#[actix_rt::test]
async fn s9_no_request_waits_once_a_source_returned_refused_keys_again() {
    let keys = Credentials::new("AKIDSAME", "hush", None, None, "fake");
    let work = Work::start([Act::Repeat(keys.clone())]).await;
    work.cell.refresh_soon(&keys);
    assert!(!work.cell.newer_than(&keys, Duration::from_hours(1)).await);
    assert!(!work.cell.newer_than(&keys, Duration::from_hours(1)).await);
}

#[actix_rt::test]
async fn x3_the_zero_time_is_an_expiry_like_any_other() {
    let zero = SystemTime::UNIX_EPOCH - Duration::from_hours(17_259_888);
    let keys = Credentials::new("AKIDZERO", "hush", None, Some(zero), "fake");
    let work = Work::start([Act::Repeat(keys), Act::Give(Some(LIFE))]).await;
    let reason = work.current().await.unwrap_err().to_string();
    assert!(reason.ends_with("keys with an invalid expiry, in 1970 or earlier"), "{reason}");
    work.clock.advance(MINUTE).await;
    assert_eq!((work.id().await.as_str(), work.cell.failures()), ("AKID2", 1));
}

#[actix_rt::test]
async fn x13_an_expiry_after_the_year_9999_is_its_end() {
    let late = SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_336_799);
    let work = Work::start([Act::Repeat(Credentials::new("AKIDLATE", "hush", None, Some(late), "f"))]).await;
    let status = work.cell.status(work.clock.now()).to_string();
    assert!(status.ends_with(", expires 9999-12-31T23:59:59Z"), "{status}");
}

#[actix_rt::test]
async fn s4_keys_of_the_metadata_service_serve_past_their_expiry_until_aws_refuses_them() {
    let work = Work::start([Act::GiveStable(LIFE), Act::Fail("status 500")]).await;
    let keys = work.current().await.unwrap();
    for _ in 0..60 {
        work.clock.advance(MINUTE).await;
        assert_eq!(work.current().await.unwrap(), keys);
    }
    let CredentialState::Ready(ready) = work.state() else { panic!() };
    assert!(ready.is_past_expiry && ready.last_failure.as_deref() == Some("status 500"));
    work.cell.refresh_soon(&keys);
    assert!(work.current().await.is_err());
    assert!(matches!(work.state(), CredentialState::Unavailable { .. }));
    work.now_do([Act::GiveStable(LIFE)]);
    work.clock.advance(MINUTE).await;
    assert_ne!(work.current().await.unwrap(), keys);
}

#[actix_rt::test]
async fn s4_expired_keys_of_the_metadata_service_are_used_and_fetched_again() {
    let work = Work::start([Act::GiveStable(Duration::ZERO), Act::GiveStable(LIFE)]).await;
    assert_eq!(work.id().await, "AKID1");
    assert_eq!(work.cell.failures(), 1);
    work.clock.advance(MINUTE).await;
    assert_eq!(work.id().await, "AKID2");
}

#[actix_rt::test]
async fn keys_that_have_expired_by_this_clock_are_a_failure() {
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
    let keys = Credentials::new("AKIDOLD", "hush", None, Some(old), "fake");
    let work = Work::start([Act::Repeat(keys)]).await;
    let reason = work.current().await.unwrap_err().to_string();
    assert!(reason.contains("expired at 1970-01-01T00:00:01Z; is this machine's clock right?"), "{reason}");
}

#[actix_rt::test]
async fn keys_without_expiry_are_fetched_again_when_their_file_changes() {
    let work = Work::start([Act::Give(None)]).await;
    work.clock.advance(60 * MINUTE).await;
    assert_eq!(work.fetches(), 1);
    drop(work);

    let work = Work::start([Act::Give(None)]).await;
    *work.fake.files.lock().unwrap() = Some(Stamps::default());
    // the refresher checks the files from the next fetch on
    work.cell.refresh_soon(&work.current().await.unwrap());
    settle().await;
    work.clock.advance(POLL_INTERVAL).await;
    assert_eq!(work.fetches(), 2);
    *work.fake.files.lock().unwrap() = Some(Stamps::of([std::path::PathBuf::from("/")]));
    work.clock.advance(POLL_INTERVAL).await;
    assert_eq!((work.fetches(), work.id().await.as_str()), (3, "AKID3"));
}

#[actix_rt::test]
async fn the_caller_is_looked_up_after_the_keys_are_in_use() {
    let work = Work::start([Act::Give(Some(LIFE))]).await;
    let CredentialState::Ready(ready) = work.state() else { panic!() };
    assert_eq!(ready.caller.unwrap().account, "123456789012");
    // half of a short id
    assert_eq!(ready.key_id_end, "D1");
}

#[actix_rt::test]
async fn each_kind_of_failure_is_logged_once() {
    let clock = TestClock::new();
    let work = Work::start([Act::Hang]).await;
    let mut refresher =
        Refresher::new(Arc::new(FakeFetch(Arc::clone(&work.fake))), clock, Arc::clone(&work.cell));
    for reason in ["at 10:15", "at 10:16", "other", "at 10:17"] {
        refresher.failed(&FetchError::Unusable(reason.to_owned()));
    }
    assert_eq!(refresher.warned, ["other", "at :"]);
    let keys = Credentials::new("AKID", "hush", None, None, "fake");
    refresher.succeeded(keys.into());
    assert!(refresher.warned.is_empty());
}

#[test]
fn keys_that_no_header_can_hold_never_replace_others() {
    let now = SystemTime::now();
    let fetched = |id: &str, secret: &str, token: Option<&str>| {
        Fetched::from(Credentials::new(id, secret, token.map(str::to_owned), None, "t"))
    };
    assert!(checked(fetched("AKID", "secret", Some("token")), now).is_ok());
    for (id, secret, token) in [
        ("", "s", None),
        ("AKID\n", "s", None),
        ("AKID", "", None),
        ("AKID", "s ", None),
        ("AKID", "s", Some("")),
    ] {
        let reason = checked(fetched(id, secret, token), now).unwrap_err().to_string();
        assert!(reason.ends_with("empty or not visible ASCII"), "{reason}");
    }
}
