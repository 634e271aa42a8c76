//! The log of the process on standard error.
//!
//! `env_logger` formats the lines (`logging/format.rs`), and a thread of `logging/queue.rs` writes them, so that a slow
//! reader never blocks a request. The level comes from the settings and is toggled by SIGUSR1. Libraries log warnings
//! only, because at finer levels they log headers, and so secrets.

mod format;
mod queue;

use std::{
    io,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use env_logger::{Builder, Target};
use log::LevelFilter;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    settings::{Log, LogFormat},
    system::{
        fault_points,
        supervision::{Task, supervise_until_over},
        terminal::Paint,
    },
};

/// Time limit for writing the last lines at the end of the process.
const LONGEST_END: Duration = Duration::from_secs(1);

/// The level of the settings, to which SIGUSR1 returns.
static CONFIGURED: Mutex<LevelFilter> = Mutex::new(LevelFilter::Off);

/// A guard of the log: dropping it flushes the queue.
#[derive(Debug)]
pub struct Logging(());

impl Drop for Logging {
    fn drop(&mut self) {
        flush();
    }
}

/// Starts logging.
///
/// The filters name targets of libraries whose lines repeat ours: an interrupted response, which `actix-http` logs, is
/// logged by `message/error.rs` with the request id.
pub fn start(settings: &Log) -> Logging {
    let mut builder = Builder::new();
    builder
        .filter_level(settings.level.min(LevelFilter::Warn))
        // the level in use is applied before the filters
        .filter_module("apigw_invoker", LevelFilter::Debug)
        .filter_module("access", LevelFilter::Debug)
        .filter_module("actix_http", LevelFilter::Off)
        // `credentials/refresher.rs` logs each failure to get credentials once; the SDK logs it each time, and may
        // quote a response that holds keys
        .filter_module("aws_", LevelFilter::Off);
    match settings.format {
        LogFormat::Text if Paint::of_errors().is_on() => builder.format(format::coloured_text),
        LogFormat::Text => builder.format(format::text),
        LogFormat::Json => builder.format(format::json),
    };
    match queue::start() {
        Ok(lines) => builder.target(Target::Pipe(Box::new(lines))),
        // without a thread, lines are written by the thread that logs them
        Err(_) => builder.target(Target::Stderr),
    };
    if builder.try_init().is_err() {
        log::debug!("logging has been started before");
    }
    set_level(settings.level);
    Logging(())
}

/// Sets the least severe level that is logged.
pub fn set_level(level: LevelFilter) {
    *CONFIGURED.lock().unwrap_or_else(PoisonError::into_inner) = level;
    log::set_max_level(level);
}

/// Flushes the queue, within a second.
pub fn flush() {
    queue::flush(LONGEST_END);
}

/// Lines dropped because standard error was read too slowly.
pub fn dropped_lines() -> u64 {
    queue::dropped()
}

/// Installs the handler of SIGUSR1, which toggles between debug and the level of the settings. It runs on the current
/// runtime.
///
/// # Errors
/// The handler cannot be installed.
pub fn install_level_signal() -> io::Result<()> {
    let mut signals = signal(SignalKind::user_defined1())?;
    actix_rt::spawn(async move {
        let toggle = async || {
            while signals.recv().await.is_some() {
                fault_points::pass("signal");
                toggle_debug();
            }
        };
        supervise_until_over(Task::Log, toggle).await;
    });
    Ok(())
}

fn toggle_debug() {
    let configured = *CONFIGURED.lock().unwrap_or_else(PoisonError::into_inner);
    let next = next_level(log::max_level(), configured);
    // logged while the level allows it, whichever way it changes
    log::set_max_level(LevelFilter::Debug);
    log::info!("SIGUSR1: log level is now {}", next.as_str().to_ascii_lowercase());
    log::set_max_level(next);
}

fn next_level(current: LevelFilter, configured: LevelFilter) -> LevelFilter {
    match (current, configured) {
        (LevelFilter::Debug, LevelFilter::Debug) => LevelFilter::Info,
        (LevelFilter::Debug, configured) => configured,
        _ => LevelFilter::Debug,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_toggles_between_debug_and_the_settings() {
        for configured in [LevelFilter::Off, LevelFilter::Warn, LevelFilter::Info] {
            assert_eq!(next_level(configured, configured), LevelFilter::Debug);
            assert_eq!(next_level(LevelFilter::Debug, configured), configured);
        }
        assert_eq!(next_level(LevelFilter::Debug, LevelFilter::Debug), LevelFilter::Info);
        assert_eq!(next_level(LevelFilter::Info, LevelFilter::Debug), LevelFilter::Debug);
    }
}
