//! Keeps the keys of one source fresh, for as long as somebody uses it.
//!
//! `refresher_pool.rs` runs one refresher for each source, so there is one fetch at a time however many routes wait.
//! `schedule.rs` says when the next one is due, `fetch.rs` does it, `credential_cell.rs` takes what comes. Keys serve
//! until they truly expire, whatever fails before: peers that dropped them earlier, or never came back, stopped
//! signing after some hours (envoy#41047, kgateway#5253).

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{task::JoinSet, time::timeout};

use super::{
    credential_cell::{CredentialCell, Keys},
    fetch::Fetch,
    schedule::{self, Refusals},
    status::{CredentialState, Ready, Status},
    sts::Fetched,
};
use crate::{
    settings::is_key,
    system::{
        fault_points,
        file_stamps::Stamps,
        supervision::{self, Task, catch_in},
        wall_clock::{self, Rfc3339},
    },
    text::log_safe::log_safe,
};

/// The SDK's own retries of one call end before.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(20);
/// Whose keys they are is nice to know.
const CALLER_LIMIT: Duration = Duration::from_secs(5);
/// How often files are looked at, and the clock, which may have been set or stood still while the machine slept.
const LOOK: Duration = Duration::from_secs(5);

/// Characters of a failure that are told.
const LONGEST_REASON: usize = 1000;
/// Reasons that the log is taken to remember.
const MOST_WARNED: usize = 16;

/// The time; tests have their own.
pub trait Clock: Send + Sync + 'static {
    fn now(&self) -> SystemTime;
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send;
}

#[derive(Debug, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

/// Keeps one source fresh.
pub struct Refresher<F, C> {
    fetch: Arc<F>,
    clock: C,
    cell: Arc<CredentialCell>,
    /// Which source it is, as far as is known.
    name: String,
    /// Failures in a row.
    failures: u32,
    refusals: Refusals,
    /// The log knows that the keys in force serve past their expiry.
    told_past_expiry: bool,
    /// The failures that the log knows, so that each is said once; the last first.
    warned: Vec<String>,
}

impl<F: Fetch, C: Clock> Refresher<F, C> {
    /// A refresher that fills `cell`.
    pub fn new(fetch: Arc<F>, clock: C, cell: Arc<CredentialCell>) -> Self {
        let refusals = Refusals::none(clock.now());
        Self {
            fetch,
            clock,
            cell,
            name: String::new(),
            failures: 0,
            refusals,
            told_past_expiry: false,
            warned: Vec::new(),
        }
    }

    /// Fetches and waits, for ever.
    pub async fn run(mut self) {
        self.name = self.fetch.name().await;
        self.cell.report(&self.name, None);
        loop {
            fault_points::pass("credentials");
            // before the fetch: what changes while it is under way is fetched again
            let files = self.fetch.stamps();
            let due = self.attempt().await;
            self.cell.first_fetch_is_over();
            self.wait(due, files.as_ref()).await;
        }
    }

    /// One fetch; returns when the next one is due, if time alone makes it so.
    async fn attempt(&mut self) -> Option<SystemTime> {
        let fetch = Arc::clone(&self.fetch);
        // a task of its own, ended with this function: a panic in the SDK must not end the refresher
        let mut task = JoinSet::new();
        task.spawn(catch_in(async move {
            fault_points::pass("credentials-fetch");
            (fetch.name().await, fetch.fetch().await)
        }));
        let result = tokio::select! {
            Some(joined) = task.join_next() => match joined {
                Ok(Ok((name, result))) => {
                    self.name = name;
                    result
                }
                Ok(Err(panicked)) => {
                    // the reason is logged with the other failures of this source
                    Task::Credentials.count_failure();
                    Err(format!("the fetch {panicked}"))
                }
                Err(_) => Err("the fetch was cancelled".to_owned()),
            },
            () = self.clock.sleep(ATTEMPT_LIMIT) => Err(format!("no answer within {ATTEMPT_LIMIT:?}")),
        };
        match result.and_then(|fetched| checked(fetched, self.clock.now())) {
            Ok(fetched) => self.succeeded(fetched),
            Err(reason) => Some(self.failed(&reason)),
        }
    }

    fn succeeded(&mut self, fetched: Fetched) -> Option<SystemTime> {
        let (now, expiry) = (self.clock.now(), fetched.credentials.expiry());
        let expired = expiry.filter(|expiry| *expiry <= now);
        if let Some(remark) = &fetched.base_failure {
            self.failures = 0;
            self.warn(remark);
        } else if expired.is_none() {
            self.failures = 0;
            if !self.warned.is_empty() {
                self.warned.clear();
                log::info!("credentials: {}: works again", self.name);
            }
            self.cell.report(&self.name, None);
        }
        // a source may give the same keys again; they stay refused if AWS refused them
        let known = self.cell.keys().is_some_and(|keys| *keys.credentials == fetched.credentials);
        if known {
            self.cell.given_again();
        } else {
            self.told_past_expiry = false;
            let keys = self.cell.publish(fetched);
            if expired.is_none() {
                let cell = Arc::clone(&self.cell);
                let introduced = introduce(Arc::clone(&self.fetch), self.name.clone(), keys, cell);
                tokio::spawn(supervision::once(Task::Credentials, "the task that logs new keys", introduced));
            }
        }
        match expired {
            // the service has trouble itself, and the keys serve on meanwhile
            Some(expiry) => Some(self.failed(&format!("it gives keys {}", expired_at(expiry)))),
            None => Some(schedule::refresh_at(now, expiry?, fastrand::f64())),
        }
    }

    fn failed(&mut self, reason: &str) -> SystemTime {
        self.failures = self.failures.saturating_add(1);
        self.warn(reason);
        let now = self.clock.now();
        let expiry = self.cell.keys().and_then(|keys| keys.credentials.expiry());
        let left = expiry.and_then(|expiry| expiry.duration_since(now).ok());
        wall_clock::later(now, schedule::back_off(self.failures, left, fastrand::f64()))
    }

    /// A line in the log for each kind of failure, and a report of each for `/ready` and the metric.
    fn warn(&mut self, reason: &str) {
        // others had a hand in it
        let reason = log_safe(reason, LONGEST_REASON);
        // the same but for a time or a count is no news
        let kind: String = reason.chars().filter(|char| !char.is_ascii_digit()).collect();
        if self.warned.contains(&kind) {
            log::debug!("credentials: {}: {reason}", self.name);
        } else {
            self.warned.truncate(MOST_WARNED - 1);
            self.warned.insert(0, kind);
            log::warn!("credentials: {}: {reason}", self.name);
        }
        self.cell.report(&self.name, Some(reason));
    }

    /// A line in the log, once for each set of keys, when they serve past their expiry.
    fn tell_past_expiry(&mut self) {
        let Some(keys) = self.cell.keys().filter(|keys| keys.is_past_expiry(self.clock.now())) else {
            return;
        };
        if !std::mem::replace(&mut self.told_past_expiry, true) {
            let ready = Ready::of(&keys.credentials, keys.caller.get().cloned(), None);
            log::warn!(
                "credentials: {}: not refreshed in time: {}; the metadata service returns no newer keys, so \
                 these stay in use",
                self.name,
                Ready { is_past_expiry: true, ..ready }
            );
        }
    }

    /// Until the next fetch is due, the files change, or AWS refuses the keys.
    async fn wait(&mut self, mut due: Option<SystemTime>, files: Option<&Stamps>) {
        let mut refused = false;
        loop {
            self.tell_past_expiry();
            let left = due.map(|due| due.duration_since(self.clock.now()).unwrap_or_default());
            if left.is_some_and(|left| left.is_zero()) {
                if !refused && self.failures == 0 {
                    self.refusals.forget();
                }
                return;
            }
            tokio::select! {
                () = self.clock.sleep(left.unwrap_or(LOOK).min(LOOK)) => {}
                () = self.cell.wake.notified() => {}
            }
            if let Some(refusal) = self.cell.take_refusal() {
                refused = true;
                let now = self.clock.now();
                let soon = wall_clock::later(now, self.refusals.pause(refusal, now, fastrand::f64()));
                due = Some(due.map_or(soon, |due| due.min(soon)));
            }
            if files.is_some() && self.fetch.stamps().as_ref() != files {
                return;
            }
        }
    }
}

/// The log's line on new keys, once it is known whose they are; they serve meanwhile.
async fn introduce(fetch: Arc<impl Fetch>, source: String, keys: Arc<Keys>, cell: Arc<CredentialCell>) {
    if keys.caller.get().is_none() {
        let credentials = aws_credential_types::Credentials::clone(&keys.credentials);
        match timeout(CALLER_LIMIT, fetch.caller(credentials)).await {
            Ok(Ok(caller)) => {
                // nobody else sets it
                let _ = keys.caller.set(caller);
            }
            Ok(Err(unknown)) => log::debug!("{unknown}"),
            Err(_) => {}
        }
    }
    let ready = Ready::of(&keys.credentials, keys.caller.get().cloned(), None);
    let routes = cell.routes();
    log::info!("credentials: {routes}{}", Status { source, state: CredentialState::Ready(ready) });
}

/// A time that is not set, such as Go's zero time in the year 1, is clamped to 1970.
fn is_sensible(expiry: SystemTime) -> bool {
    expiry > SystemTime::UNIX_EPOCH
}

fn expired_at(expiry: SystemTime) -> String {
    if is_sensible(expiry) {
        format!("that expired at {}", Rfc3339(expiry))
    } else {
        "with an invalid expiry, in 1970 or earlier".to_owned()
    }
}

/// Checks keys before they take the place of good ones, and clamps their expiry.
///
/// # Errors
/// No header can hold them, or they have expired by this machine's clock and do not outlive their expiry.
pub fn checked(mut fetched: Fetched, now: SystemTime) -> Result<Fetched, String> {
    let expiry = fetched.credentials.expiry_mut();
    *expiry = expiry.map(wall_clock::clamped);
    let credentials = &fetched.credentials;
    for (name, part) in [
        ("access key id", Some(credentials.access_key_id())),
        ("secret access key", Some(credentials.secret_access_key())),
        ("session token", credentials.session_token()),
    ] {
        if part.is_some_and(|part| !is_key(part)) {
            return Err(format!("it gives a {name} that is empty or not visible ASCII"));
        }
    }
    match credentials.expiry() {
        Some(expiry) if expiry <= now && !fetched.outlives_expiry => {
            let clock = if is_sensible(expiry) { "; is this machine's clock right?" } else { "" };
            Err(format!("it gives keys {}{clock}", expired_at(expiry)))
        }
        _ => Ok(fetched),
    }
}

#[cfg(test)]
mod tests;
