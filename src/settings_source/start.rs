//! The first fetch of a bundle, with retries, and the signals that end it.

use std::time::{Duration, Instant};

use tokio::{
    select,
    signal::unix::{Signal, SignalKind, signal},
    time::{sleep, timeout},
};

use super::{SettingsSource, SourceError};
use crate::{metrics::Metrics, settings::SettingsLoader};

/// Timeout of a fetch that is not retried, and of the first fetch of a start with a cached bundle.
const SINGLE_FETCH_TIMEOUT: Duration = Duration::from_secs(10);
/// Each fetch may take this long, even if the wait ends earlier.
const MIN_FETCH_TIMEOUT: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// Retries and signals of the first fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartPolicy {
    /// One fetch, for a command that shows settings.
    Once,
    /// Retries until this time has passed if there is no cached bundle. SIGTERM and SIGINT end the start, and
    /// SIGHUP retries at once: process 1 of a container has no default action for signals
    /// (`pid_namespaces(7)`), and a killed process leaves its temporary directory.
    Service(Duration),
}

/// SIGTERM, SIGINT and SIGHUP since the beginning of the start.
#[derive(Debug)]
pub struct EarlySignals {
    pub terminate: Signal,
    pub interrupt: Signal,
    pub hangup: Signal,
}

impl EarlySignals {
    fn install() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits at most `limit`; false if a signal ends the start meanwhile.
    async fn sleep(&mut self, limit: Duration) -> bool {
        select! {
            () = sleep(limit) => true,
            _ = self.hangup.recv() => true,
            _ = self.terminate.recv() => false,
            _ = self.interrupt.recv() => false,
        }
    }
}

impl SettingsSource {
    /// The first fetch, within the limits of the policy.
    pub(super) async fn first_bundle(
        &mut self,
        policy: StartPolicy,
        say: impl FnMut(&str),
    ) -> Result<(), SourceError> {
        let wait = match policy {
            StartPolicy::Once => return self.fetch_at_start(Duration::ZERO, &mut None, say).await,
            StartPolicy::Service(wait) => wait,
        };
        let signals = EarlySignals::install().map_err(|error| SourceError::Failed(error.to_string()))?;
        let mut signals = Some(signals);
        let started = self.fetch_at_start(wait, &mut signals, say).await;
        self.signals = signals;
        started
    }

    async fn fetch_at_start(
        &mut self,
        wait: Duration,
        signals: &mut Option<EarlySignals>,
        mut say: impl FnMut(&str),
    ) -> Result<(), SourceError> {
        let has_cached = self.cache.current().is_some();
        let wait = if has_cached { wait.min(SINGLE_FETCH_TIMEOUT) } else { wait };
        let until = Instant::now() + wait;
        let metrics = Metrics::new();
        let (mut said, mut pause) = (String::new(), FIRST_PAUSE);
        let mut fetcher = None;
        loop {
            let left = until.saturating_duration_since(Instant::now()).max(MIN_FETCH_TIMEOUT);
            let limit = if wait.is_zero() { SINGLE_FETCH_TIMEOUT } else { left };
            let error = match unless_ended(signals, timeout(limit, self.fetch(&mut fetcher, &metrics))).await
            {
                None => return Err(SourceError::Ended),
                Some(Ok(Ok(_))) => return Ok(()),
                Some(Ok(Err(error))) => error,
                Some(Err(_)) => {
                    let limit = if wait.is_zero() { limit } else { wait };
                    SourceError::Failed(format!("no bundle within {limit:?}"))
                }
            };
            if has_cached {
                self.failure = Some(error);
                self.read_interval();
                return Ok(());
            }
            if matches!(error, SourceError::Mistakes(_)) {
                return Err(error);
            }
            let reason = format!("settings of {}: {error}", self.address);
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(SourceError::Failed(reason));
            }
            if reason != said {
                say(&format!("{reason}; retrying for {wait:?} at most"));
                said = reason;
            }
            let is_ended = match signals {
                Some(signals) => !signals.sleep(pause.min(left)).await,
                None => false,
            };
            if is_ended {
                return Err(SourceError::Ended);
            }
            pause = (pause * 2).min(MAX_PAUSE);
        }
    }

    /// The interval of the cached settings. Their mistakes are reported by the command that reads them.
    fn read_interval(&mut self) {
        if let Ok(settings) = SettingsLoader::of_link(self.link()).load_again() {
            self.interval = settings.reload.interval;
        }
    }
}

/// The output of `work`; `None` if a signal ends the start before.
async fn unless_ended<T>(signals: &mut Option<EarlySignals>, work: impl Future<Output = T>) -> Option<T> {
    let Some(signals) = signals else { return Some(work.await) };
    select! {
        done = work => Some(done),
        _ = signals.terminate.recv() => None,
        _ = signals.interrupt.recv() => None,
    }
}
