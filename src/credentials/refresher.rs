//! The background refresh of one source's keys.
//!
//! `refresher_pool.rs` runs one refresher for each source, so that a source has at most one fetch at a time.
//! Failed refreshes leave the keys in use until they expire: peers that dropped keys earlier, or gave up,
//! stopped signing after some hours (envoy#41047, kgateway#5253).

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::timeout;

use super::{
    credential_cell::{CredentialCell, Keys},
    fetch::{Fetch, FetchError, Fetched},
    schedule::{self, RefusalPacing},
    status::{CredentialState, Ready, Status},
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

/// Timeout of one fetch; longer than a call of the SDK with all its retries.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(20);
/// Timeout of `GetCallerIdentity`; short, because its result only feeds the log and `/ready`.
const CALLER_TIMEOUT: Duration = Duration::from_secs(5);
/// Interval between looks at the files and at the clock, which jumps when it is set or the machine slept.
const POLL_INTERVAL: Duration = Duration::from_secs(5);

/// Characters of a failure's text.
const MAX_REASON: usize = 1000;
/// Failures that are remembered, so that each is logged once.
const MAX_WARNED: usize = 16;

/// The time source; tests move their own.
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

pub struct Refresher<F, C> {
    fetch: Arc<F>,
    clock: C,
    cell: Arc<CredentialCell>,
    /// The source's name as of the last fetch.
    name: String,
    /// Consecutive failures.
    failures: u32,
    refusals: RefusalPacing,
    /// The log has the line about the current keys in use past their expiry.
    warned_past_expiry: bool,
    /// [`FetchError::log_key`] of the failures in the log, the latest first.
    warned: Vec<String>,
}

impl<F: Fetch, C: Clock> Refresher<F, C> {
    pub fn new(fetch: Arc<F>, clock: C, cell: Arc<CredentialCell>) -> Self {
        let refusals = RefusalPacing::new(clock.now());
        Self {
            fetch,
            clock,
            cell,
            name: String::new(),
            failures: 0,
            refusals,
            warned_past_expiry: false,
            warned: Vec::new(),
        }
    }

    /// Fetches and waits in an endless loop.
    pub async fn run(mut self) {
        self.name = self.fetch.name().await;
        self.cell.report(&self.name, None);
        loop {
            fault_points::pass("credentials");
            // before the fetch: a change during the fetch must cause another one
            let files = self.fetch.stamps();
            let due = self.attempt().await;
            self.cell.first_fetch_is_over();
            self.wait(due, files.as_ref()).await;
        }
    }

    /// Fetches once and returns the time of the next fetch; `None` for keys without expiry.
    async fn attempt(&mut self) -> Option<SystemTime> {
        // a panic in the SDK must not end the refresher
        let fetch = catch_in(async {
            fault_points::pass("credentials-fetch");
            (self.fetch.name().await, self.fetch.fetch().await)
        });
        let result = tokio::select! {
            fetched = fetch => match fetched {
                Ok((name, result)) => {
                    self.name = name;
                    result
                }
                Err(panicked) => {
                    // `failed` logs the reason
                    Task::Credentials.count_failure();
                    Err(FetchError::Panicked(panicked))
                }
            },
            () = self.clock.sleep(ATTEMPT_TIMEOUT) => Err(FetchError::Timeout(ATTEMPT_TIMEOUT)),
        };
        match result.and_then(|fetched| checked(fetched, self.clock.now())) {
            Ok(fetched) => self.succeeded(fetched),
            Err(failure) => Some(self.failed(&failure)),
        }
    }

    fn succeeded(&mut self, fetched: Fetched) -> Option<SystemTime> {
        let (now, expiry) = (self.clock.now(), fetched.credentials.expiry());
        let expired = expiry.filter(|expiry| *expiry <= now);
        if let Some(failure) = &fetched.base_failure {
            self.failures = 0;
            self.warn(failure);
        } else if expired.is_none() {
            self.failures = 0;
            if !self.warned.is_empty() {
                self.warned.clear();
                log::info!("credentials: {}: works again", self.name);
            }
            self.cell.report(&self.name, None);
        }
        // a source may return the same keys again; AWS's refusal of them stays in force
        let is_same = self.cell.keys().is_some_and(|keys| *keys.credentials == fetched.credentials);
        if is_same {
            self.cell.given_again();
        } else {
            self.warned_past_expiry = false;
            let keys = self.cell.publish(fetched);
            if expired.is_none() {
                let cell = Arc::clone(&self.cell);
                let logged = log_new_keys(Arc::clone(&self.fetch), self.name.clone(), keys, cell);
                tokio::spawn(supervision::once(Task::Credentials, "the task that logs new keys", logged));
            }
        }
        match expired {
            // the service cannot renew the keys; they stay in use
            Some(expiry) => Some(self.failed(&FetchError::Unusable(expired_text(expiry)))),
            None => Some(schedule::refresh_at(now, expiry?, fastrand::f64())),
        }
    }

    fn failed(&mut self, failure: &FetchError) -> SystemTime {
        self.failures = self.failures.saturating_add(1);
        self.warn(failure);
        let now = self.clock.now();
        let expiry = self.cell.keys().and_then(|keys| keys.credentials.expiry());
        let left = expiry.and_then(|expiry| expiry.duration_since(now).ok());
        wall_clock::later(now, schedule::back_off(self.failures, left, fastrand::f64()))
    }

    /// Logs each kind of failure once, and reports each failure for `/ready` and the metric.
    fn warn(&mut self, failure: &FetchError) {
        // servers wrote parts of the text
        let reason = log_safe(&failure.to_string(), MAX_REASON);
        let key = failure.log_key();
        if self.warned.contains(&key) {
            log::debug!("credentials: {}: {reason}", self.name);
        } else {
            self.warned.truncate(MAX_WARNED - 1);
            self.warned.insert(0, key);
            log::warn!("credentials: {}: {reason}", self.name);
        }
        self.cell.report(&self.name, Some(reason));
    }

    /// Logs once for each set of keys that they are in use past their expiry.
    fn warn_past_expiry(&mut self) {
        let Some(keys) = self.cell.keys().filter(|keys| keys.is_past_expiry(self.clock.now())) else {
            return;
        };
        if !std::mem::replace(&mut self.warned_past_expiry, true) {
            let ready = Ready::of(&keys.credentials, keys.caller.get().cloned(), None);
            log::warn!(
                "credentials: {}: not refreshed in time: {}; the metadata service returns no newer keys, so \
                 these stay in use",
                self.name,
                Ready { is_past_expiry: true, ..ready }
            );
        }
    }

    /// Waits until the next fetch is due, the files change, or AWS refuses the keys.
    async fn wait(&mut self, mut due: Option<SystemTime>, files: Option<&Stamps>) {
        let mut refused = false;
        loop {
            self.warn_past_expiry();
            let left = due.map(|due| due.duration_since(self.clock.now()).unwrap_or_default());
            if left.is_some_and(|left| left.is_zero()) {
                if !refused && self.failures == 0 {
                    self.refusals.end_row();
                }
                return;
            }
            tokio::select! {
                () = self.clock.sleep(left.unwrap_or(POLL_INTERVAL).min(POLL_INTERVAL)) => {}
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

/// Logs new keys with their owner. The keys are in use meanwhile.
async fn log_new_keys(fetch: Arc<impl Fetch>, source: String, keys: Arc<Keys>, cell: Arc<CredentialCell>) {
    if keys.caller.get().is_none() {
        let credentials = aws_credential_types::Credentials::clone(&keys.credentials);
        match timeout(CALLER_TIMEOUT, fetch.caller(credentials)).await {
            Ok(Ok(caller)) => {
                // no other task sets it
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

/// False for a time that was not set, such as Go's zero time in the year 1, which is clamped to 1970.
fn is_set(expiry: SystemTime) -> bool {
    expiry > SystemTime::UNIX_EPOCH
}

fn expired_text(expiry: SystemTime) -> String {
    if is_set(expiry) {
        format!("it gives keys that expired at {}", Rfc3339(expiry))
    } else {
        "it gives keys with an invalid expiry, in 1970 or earlier".to_owned()
    }
}

/// Checks fetched keys before they replace others, and clamps their expiry.
///
/// # Errors
/// The keys do not fit in a header, or have expired by this machine's clock and do not outlive their expiry.
pub fn checked(mut fetched: Fetched, now: SystemTime) -> Result<Fetched, FetchError> {
    let expiry = fetched.credentials.expiry_mut();
    *expiry = expiry.map(wall_clock::clamped);
    let credentials = &fetched.credentials;
    for (name, part) in [
        ("access key id", Some(credentials.access_key_id())),
        ("secret access key", Some(credentials.secret_access_key())),
        ("session token", credentials.session_token()),
    ] {
        if part.is_some_and(|part| !is_key(part)) {
            let invalid = format!("it gives a {name} that is empty or not visible ASCII");
            return Err(FetchError::Unusable(invalid));
        }
    }
    match credentials.expiry() {
        Some(expiry) if expiry <= now && !fetched.outlives_expiry => {
            let clock = if is_set(expiry) { "; is this machine's clock right?" } else { "" };
            Err(FetchError::Unusable(expired_text(expiry) + clock))
        }
        _ => Ok(fetched),
    }
}

#[cfg(test)]
mod tests;
