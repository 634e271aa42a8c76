//! The thread that follows a source: a fetch in each `reload.interval`, and at each SIGHUP.

use std::{
    io,
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tokio::{
    select,
    signal::unix::{SignalKind, signal},
    sync::Notify,
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use super::{Outcome, SettingsSource, SourceError, fetch::Fetcher};
use crate::{
    metrics::{Metrics, SourceState},
    system::{
        fault_points,
        supervision::{self, Task, supervise_thread},
    },
};

/// Longest wait for the end of the thread, which may be reading files.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);
/// The interval in which failures are logged at most.
const LOGGED_AGAIN: Duration = Duration::from_mins(1);
/// The characters of a digest that are shown.
const SHOWN_DIGEST: usize = 12;

/// Follows a source until it is dropped.
#[derive(Debug)]
pub struct Follower {
    end: CancellationToken,
    thread: JoinHandle<()>,
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.end.cancel();
        // a thread that waits for a restart is not restarted
        self.thread.thread().unpark();
        let until = Instant::now() + STOP_TIMEOUT;
        while !self.thread.is_finished() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// The failure that was logged last.
#[derive(Default)]
struct LoggedFailure(Option<(String, Instant)>);

impl SettingsSource {
    /// Starts the thread. `changed` is notified when another bundle is in use.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn follow(mut self, metrics: Arc<Metrics>, changed: Arc<Notify>) -> io::Result<Follower> {
        let end = CancellationToken::new();
        let mut logged = LoggedFailure::default();
        self.publish(&metrics);
        log::info!("settings of {}: bundle {}{}", self.address, self.shown_bundle(), self.other_source());
        let run = {
            let end = end.clone();
            move || {
                let is_over = || end.is_cancelled();
                supervise_thread(Task::Source, is_over, || {
                    supervision::run_on_runtime(&end, None, async |_| {
                        select! {
                            ended = self.run(&metrics, &changed, &mut logged) => ended,
                            () = end.cancelled() => Ok(()),
                        }
                    })
                });
            }
        };
        let thread = std::thread::Builder::new().name(Task::Source.name().to_owned()).spawn(run)?;
        Ok(Follower { end, thread })
    }

    async fn run(
        &mut self,
        metrics: &Metrics,
        changed: &Notify,
        logged: &mut LoggedFailure,
    ) -> io::Result<()> {
        let mut hangup = signal(SignalKind::hangup())?;
        let mut fetcher = None;
        if let Some(failure) = &self.failure {
            logged.failed(&self.address.to_string(), failure);
        }
        loop {
            let demanded = fetcher.as_ref().map_or(Duration::ZERO, Fetcher::retry_after);
            select! {
                () = sleep(jittered(self.interval).max(demanded)) => {}
                _ = hangup.recv() => logged.forget(),
            }
            fault_points::pass("source");
            let result = self.fetch(&mut fetcher, metrics).await;
            let counts = &metrics.source.counted.outcomes;
            match &result {
                Ok(Outcome::Changed) => {
                    counts.changed.add(1);
                    log::info!("settings of {}: bundle {}", self.address, self.shown_bundle());
                    changed.notify_one();
                }
                Ok(Outcome::Unchanged) => counts.unchanged.add(1),
                Err(SourceError::Mistakes(_)) => counts.rejected.add(1),
                Err(SourceError::Failed(_) | SourceError::Ended) => counts.failed.add(1),
            }
            match &result {
                Ok(_) => logged.succeeded(&self.address.to_string()),
                Err(failure) => logged.failed(&self.address.to_string(), failure),
            }
            self.failure = result.err();
            self.publish(metrics);
        }
    }

    /// Stores the state for the admin port.
    fn publish(&self, metrics: &Metrics) {
        let current = self.cache.current();
        metrics.source.set(SourceState {
            address: self.address.to_string(),
            bundle: current.map(|current| shortened(&current.digest)).unwrap_or_default(),
            serial: current.and_then(|current| current.serial),
            confirmed: self.confirmed,
            failure: self.failure.as_ref().map(ToString::to_string),
        });
    }

    /// The source of a cached bundle that is not the one of `--settings`.
    fn other_source(&self) -> String {
        let current = self.cache.current().filter(|current| current.source != self.address.to_string());
        current.map(|current| format!(" of {}, from the cache", current.source)).unwrap_or_default()
    }

    /// The digest, and the serial number if there is one.
    fn shown_bundle(&self) -> String {
        let Some(current) = self.cache.current() else { return String::new() };
        let digest = shortened(&current.digest);
        current.serial.map_or_else(|| digest.clone(), |serial| format!("{digest}, serial {serial}"))
    }
}

impl LoggedFailure {
    /// Logs a failure when it begins, and when it changes.
    fn failed(&mut self, address: &str, failure: &SourceError) {
        let text = failure.to_string();
        if let Some((last, at)) = &self.0
            && (*last == text || at.elapsed() < LOGGED_AGAIN)
        {
            return;
        }
        match failure {
            SourceError::Failed(_) | SourceError::Ended => {
                log::warn!("settings of {address}: {text}; the last good bundle stays in use");
            }
            SourceError::Mistakes(_) => {
                log::error!(
                    "settings of {address}: the new bundle has mistakes and is ignored; the last good one \
                     stays in use"
                );
                text.lines().for_each(|line| log::error!("{line}"));
            }
        }
        self.0 = Some((text, Instant::now()));
    }

    fn succeeded(&mut self, address: &str) {
        if self.0.take().is_some() {
            log::info!("settings of {address}: available again");
        }
    }

    /// Logs the next failure, also if it is the same.
    fn forget(&mut self) {
        self.0 = None;
    }
}

/// The interval, or up to a tenth less: many sidecars that start together must not fetch together.
fn jittered(interval: Duration) -> Duration {
    interval.mul_f64(1.0 - fastrand::f64() / 10.0)
}

fn shortened(digest: &str) -> String {
    digest.chars().take(SHOWN_DIGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_never_longer_and_at_most_a_tenth_shorter() {
        for _ in 0..1000 {
            let interval = jittered(Duration::from_secs(10));
            assert!((Duration::from_secs(9)..=Duration::from_secs(10)).contains(&interval), "{interval:?}");
        }
    }
}
